//! Opacity: what nobody sees does not count.

use crate::pixels::page::Page;
use crate::raster::{Mask, Raster};

/// What transparent pixels are laid over.
const GREY: u32 = 128;

/// The opacity of every pixel, 0 to 255; none where the page has none, or one that is 0 everywhere and so cannot be meant.
pub(super) fn opacity(page: &Page, remarks: &mut Vec<String>) -> Option<Vec<u8>> {
    let band = page.alpha?.band;
    let most = page.full_range().1;
    let opacity: Vec<u8> =
        (0..page.pixels()).map(|pixel| (255.0 * page.at(pixel, band) / most).round() as u8).collect();
    if opacity.iter().all(|&opacity| opacity == 0) {
        remarks.push("its alpha channel is 0 everywhere and was ignored".into());
        return None;
    }
    Some(opacity)
}

/// Lays colours over mid-grey.
pub(super) fn composite(image: &mut [[u8; 3]], opacity: &[u8], premultiplied: bool, remarks: &mut Vec<String>) {
    let mut transparent = 0usize;
    for (pixel, &opacity) in image.iter_mut().zip(opacity) {
        if opacity == u8::MAX {
            continue;
        }
        transparent += usize::from(opacity == 0);
        let opacity = u32::from(opacity);
        let behind = GREY * (255 - opacity);
        for channel in pixel {
            let own = u32::from(*channel) * if premultiplied { 255 } else { opacity };
            *channel = ((own + behind + 127) / 255).min(255) as u8;
        }
    }
    if transparent > 0 {
        let percent = 100.0 * transparent as f64 / image.len() as f64;
        remarks.push(format!("{percent:.1} % of its pixels are transparent; `pixels.alpha` says what becomes of them"));
    }
}

/// Pixels without data, with those that are wholly transparent.
pub(super) fn without_transparent(
    outside: Option<Mask>,
    opacity: &[u8],
    page: &Page,
    remarks: &mut Vec<String>,
) -> Option<Mask> {
    if opacity.iter().all(|&opacity| opacity > 0) {
        return outside;
    }
    let mut outside = outside.unwrap_or_else(|| Raster::filled(page.width, page.height, 0));
    for (outside, &opacity) in outside.values.iter_mut().zip(opacity) {
        *outside |= u8::from(opacity == 0);
    }
    remarks.push("its transparent pixels are without data".into());
    Some(outside)
}
