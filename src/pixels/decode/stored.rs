//! The samples of a picture as whole numbers, for pictures whose values stand for something else than light.

use std::io::Cursor;

use super::error::DecodeError;
use super::{Pixels, formats};
use crate::files::Format;
use crate::pixels::header;
use crate::pixels::page::Page;
use crate::pixels::png::Opened;
use crate::pixels::settings::DecodeConfig;

/// The samples of the first frame or page of a picture as its file stores them: neither scaled nor turned upright, places in
/// a palette as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSamples {
    pub width: usize,
    pub height: usize,
    /// Samples of a pixel, with an alpha channel if there is one; 1 for palettes of PNG and TIFF, 3 for other palettes.
    pub bands: usize,
    /// `[height, width, bands]`.
    pub values: Vec<u32>,
}

/// Reads the samples of a picture of any format that is read, within the same limits as [`decode`](super::decode()).
pub fn stored_samples(bytes: &[u8], settings: &DecodeConfig) -> Result<StoredSamples, DecodeError> {
    let header = header::declared(&mut Cursor::new(bytes), 0);
    let declared = header.map_err(|source| DecodeError::Broken { reason: source.to_string() })??;
    declared.size.map_or(Ok(()), |size| size.check(settings))?;
    let most = settings.max_mebibytes.saturating_mul(1 << 20);
    if declared.size.map_or(0, |size| size.bytes()) > most {
        return Err(DecodeError::too_much_memory(settings));
    }
    let pixels = match declared.format {
        Format::Png => {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            Pixels::Page(Opened::new(bytes, most, false)?.read()?)
        }
        Format::Tiff => formats::tiff(bytes, &declared, None, settings, |_| ())?.pixels,
        Format::Jpeg => formats::jpeg(bytes, &declared, settings, None, |_| ())?.pixels,
        #[cfg(feature = "avif")]
        Format::Avif => formats::avif(bytes, &declared, settings, |_| ())?.pixels,
        Format::WebP | Format::Bmp | Format::Gif => {
            let container = formats::container(bytes, declared.format)?;
            formats::common(bytes, &declared, container, settings, |_| ())?.pixels
        }
    };
    let page = match pixels {
        Pixels::Page(page) => page,
        Pixels::Rgb { image, .. } => Page::of_bytes(image.width, image.height, 3, image.values.into_flattened()),
    };
    let (width, height, bands) = (page.width, page.height, page.bands);
    let values = if page.planar { interleaved(&page) } else { whole(page.values.len(), |index| page.values.at(index)) };
    Ok(StoredSamples { width, height, bands, values: values.ok_or(DecodeError::NoWholeNumbers)? })
}

fn interleaved(page: &Page) -> Option<Vec<u32>> {
    whole(page.pixels() * page.bands, |index| page.at(index / page.bands, index % page.bands))
}

/// None unless all are whole numbers.
fn whole(count: usize, value: impl Fn(usize) -> f64) -> Option<Vec<u32>> {
    let number = |value: f64| (value as u32 as f64 == value).then_some(value as u32);
    (0..count).map(|index| number(value(index))).collect()
}
