//! Samples that stand for colours in another way than by brightness: red, green and blue of eight bits.

use super::error::DecodeError;
use crate::pixels::page::{Colour, Page, Values};

/// Looks up palettes and turns CMYK and YCbCr into red, green and blue; other pages stay as they are.
pub(super) fn looked_up(page: Page) -> Result<Page, DecodeError> {
    let bands = match page.colour {
        Colour::Light | Colour::WhiteIsZero => return Ok(page),
        Colour::Palette(_) => 1,
        Colour::YCbCr => 3,
        Colour::Cmyk => 4,
    };
    let is_narrow = page.bits == 8 || page.colour != Colour::YCbCr;
    if page.bands < bands || !is_narrow || !matches!(page.values, Values::U8(_) | Values::U16(_)) {
        return Err(DecodeError::Unsupported { what: "colours of such samples".into() });
    }
    let most = page.full_range().1;
    let colour = |pixel: usize| match &page.colour {
        Colour::Palette(colours) => colours.get(page.at(pixel, 0) as usize).copied(),
        Colour::Cmyk => Some(rgb_from_inks([0, 1, 2, 3].map(|band| 1.0 - page.at(pixel, band) / most))),
        _ => Some(rgb_from_luma([0, 1, 2].map(|band| page.at(pixel, band) as f32))),
    };
    let values: Option<Vec<[u8; 3]>> = (0..page.pixels()).map(colour).collect();
    let values = values.ok_or_else(|| DecodeError::Broken { reason: "a colour is not in its palette".into() })?;
    let looked_up = Page::of_bytes(page.width, page.height, 3, values.into_flattened());
    Ok(Page { lossless: page.lossless, ..looked_up })
}

/// The usual product of what every ink leaves of the light with what black leaves of it.
fn rgb_from_inks([cyan, magenta, yellow, black]: [f64; 4]) -> [u8; 3] {
    [cyan, magenta, yellow].map(|left| (255.0 * left * black).round() as u8)
}

/// T.871: full range.
fn rgb_from_luma([luma, blue, red]: [f32; 3]) -> [u8; 3] {
    let (blue, red) = (blue - 128.0, red - 128.0);
    let colours = [luma + 1.402 * red, luma - 0.344_136 * blue - 0.714_136 * red, luma + 1.772 * blue];
    colours.map(|value| value.round() as u8)
}
