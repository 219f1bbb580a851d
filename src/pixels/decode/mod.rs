//! From the bytes of a picture to 8-bit sRGB, within limits: samples as they are stored, the bands that are shown, the range of
//! values from black to white, opacity, and where there is no data.

mod alpha;
mod animation;
mod bands;
mod colour;
mod edges;
pub(super) mod error;
mod formats;
mod memory;
mod nodata;
mod range;
mod stored;

use std::io::Cursor;

use image::metadata::Orientation;

use self::error::DecodeError;
use super::header;
use super::orientation::upright;
use super::page::Page;
use super::picture::Picture;
use super::settings::{AlphaUse, DecodeConfig, ValueRange};
use crate::files::Format;
use crate::raster::{Mask, Raster, RgbImage};

pub use memory::{Samples, picture_of_samples};
pub use stored::{StoredSamples, stored_samples};

/// What the reader of a format gives.
struct Decoded {
    pixels: Pixels,
    /// How the picture is turned upright.
    orientation: Orientation,
    remarks: Vec<String>,
}

/// Samples as they are stored. What most pictures hold is what comes out, and is not copied.
#[derive(Debug, PartialEq)]
enum Pixels {
    Rgb { image: RgbImage, lossless: bool },
    Page(Page),
}

/// What a picture of a width and height (upright) is resized to before anything else is done with it, across and down; none where
/// all of its pixels count.
pub type ResizedTo<'a> = dyn Fn(usize, usize) -> Option<[usize; 2]> + 'a;

/// Decodes a JPEG, PNG, TIFF, WebP, BMP or GIF (of several frames or pages the first) to 8-bit sRGB, turned upright as its
/// EXIF orientation says. The format is recognised from the content.
///
/// Grey is repeated in the three channels; which bands are shown, which values become black and white, what becomes of
/// transparent pixels and which are without data is set ([`DecodeConfig`]), and [`Picture::remarks`] say what was not plain.
/// Palettes are looked up; CMYK and YCCK become RGB by the usual product with black, without a colour profile. Other colour
/// profiles are not applied.
///
/// A file that is cut off is an error, never a picture with a grey end.
pub fn decode(bytes: &[u8], settings: &DecodeConfig) -> Result<Picture, DecodeError> {
    decode_announced(bytes, None, settings, None, |_| ())
}

/// The same, of one of several frames or pages if its number is given, counted from 0. Where the picture is resized anyway, it may
/// come out at a fraction of its size that is at least twice what it is resized to: a JPEG is read faster so. `announce` is told
/// how many bytes it will take besides the file's own before they are taken.
pub(super) fn decode_announced(
    bytes: &[u8],
    frame: Option<u32>,
    settings: &DecodeConfig,
    target: Option<&ResizedTo>,
    announce: impl FnOnce(u64),
) -> Result<Picture, DecodeError> {
    let header = header::declared(&mut Cursor::new(bytes), frame.unwrap_or(0));
    let declared = header.map_err(|source| DecodeError::Broken { reason: source.to_string() })??;
    let decoded = match (declared.format, frame) {
        (Format::Tiff, _) => formats::tiff(bytes, &declared, frame, settings, announce)?,
        (Format::Gif | Format::WebP | Format::Png, Some(frame)) => {
            animation::frame(bytes, &declared, frame, settings, announce)?
        }
        (Format::Png, None) => formats::png(bytes, &declared, settings, announce)?,
        #[cfg(feature = "avif")]
        (Format::Avif, _) => formats::avif(bytes, &declared, settings, announce)?,
        (Format::Jpeg, _) => formats::jpeg(bytes, &declared, settings, target, announce)?,
        (Format::WebP | Format::Bmp | Format::Gif, _) => {
            formats::common(bytes, &declared, formats::container(bytes, declared.format)?, settings, announce)?
        }
    };
    let Decoded { pixels, orientation, mut remarks } = decoded;
    let (image, outside) = match pixels {
        Pixels::Rgb { image, lossless } if is_shown_as_stored(settings) => {
            let outside = nodata::of_image(&image, lossless, settings, &mut remarks);
            (image, outside)
        }
        Pixels::Rgb { image, lossless } => {
            let mut page = Page::of_bytes(image.width, image.height, 3, image.values.into_flattened());
            page.lossless = lossless;
            shown(page, settings, &mut remarks)?
        }
        Pixels::Page(page) => shown(page, settings, &mut remarks)?,
    };
    let image = match &outside {
        Some(outside) => nodata::filled(image, outside).ok_or(DecodeError::NoData)?,
        None => image,
    };
    let outside = outside.map(|outside| upright(outside, orientation));
    Ok(Picture { image: upright(image, orientation), outside, remarks, orientation: orientation.to_exif() })
}

/// Whether red, green and blue of eight bits stay what they are.
fn is_shown_as_stored(settings: &DecodeConfig) -> bool {
    settings.bands.is_none() && matches!(settings.range, ValueRange::Auto | ValueRange::Full)
}

/// What a page looks like, and where it has no data.
fn shown(
    page: Page,
    settings: &DecodeConfig,
    remarks: &mut Vec<String>,
) -> Result<(RgbImage, Option<Mask>), DecodeError> {
    // In the file's own units, before anything is looked up.
    let by_value = nodata::by_value(&page, settings, remarks);
    let mut page = colour::looked_up(page)?;
    let bands = bands::chosen(&mut page, settings, remarks)?;
    let opacity = match settings.alpha {
        AlphaUse::Ignore => None,
        AlphaUse::Composite | AlphaUse::Mask => alpha::opacity(&page, remarks),
    };
    let mut outside = by_value.or_else(|| nodata::empty_edges(&page, bands, settings, remarks));
    if let (AlphaUse::Mask, Some(opacity)) = (settings.alpha, &opacity) {
        outside = alpha::without_transparent(outside, opacity, &page, remarks);
    }
    let counts = |pixel: usize| {
        outside.as_ref().is_none_or(|outside| outside.values[pixel] == 0)
            && opacity.as_ref().is_none_or(|opacity| opacity[pixel] > 0)
    };
    let range = range::chosen(&page, bands, settings, counts, remarks);
    let mut image = range::scaled(&page, bands, range);
    if let Some(opacity) = &opacity {
        alpha::composite(&mut image, opacity, page.alpha.is_some_and(|alpha| alpha.premultiplied), remarks);
    }
    Ok((Raster::from_values(page.width, page.height, image), outside))
}

#[cfg(test)]
mod mend_tests;
#[cfg(test)]
mod reduced_tests;
#[cfg(test)]
mod tests;
