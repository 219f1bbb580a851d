//! From the bytes of a picture to 8-bit sRGB, within limits.

use std::io::Cursor;

use image::error::UnsupportedError;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::header::{self, Declared, DeclaredSize};
use super::jpeg;
use super::orientation::upright;
use super::picture::Picture;
use crate::raster::Raster;

/// How large a picture may be; compared with its header before memory is taken for its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecodeConfig {
    /// Largest width × height, in millions of pixels.
    pub max_megapixels: u64,
    /// Most memory that decoding may take, in mebibytes: for the pixels in the file's own layout, for what the decoder
    /// works on them with, and for the result of 3 bytes per pixel. A larger file is not read.
    pub max_mebibytes: u64,
}

/// For what has no part in the picture's size, such as colour profiles.
const SLACK_BYTES: u64 = 16 << 20;

impl Default for DecodeConfig {
    fn default() -> Self {
        Self { max_megapixels: 100, max_mebibytes: 512 }
    }
}

/// Why bytes could not be decoded. The messages do not name the file: whoever read it knows its name.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the file is empty; remove it or get it again")]
    Empty,

    #[error("not an image in a known format (jpg, png, webp, bmp, gif); convert it or leave it out")]
    UnknownFormat,

    #[error("its kind of image is not supported ({source}); convert it to an ordinary jpg or png")]
    Unsupported { source: UnsupportedError },

    #[error("the image has no pixels ({width}x{height}); remove it or get it again")]
    NoPixels { width: u32, height: u32 },

    #[error(
        "{width}x{height} pixels are more than {max_megapixels} megapixels; shrink the image or raise \
         pixels.max_megapixels"
    )]
    TooManyPixels { width: u32, height: u32, max_megapixels: u64 },

    #[error(
        "decoding it takes more than {max_mebibytes} MiB of memory; shrink or convert the image or raise \
         pixels.max_mebibytes"
    )]
    TooMuchMemory { max_mebibytes: u64 },

    #[error("decoding it takes more memory than its size explains; get it again or convert it anew")]
    MoreThanDeclared,

    #[error("the file is cut off before the image ends; get it again")]
    Truncated,

    #[error("the image is broken ({source}); get it again or convert it anew")]
    Broken { source: ImageError },
}

/// Decodes a JPEG, PNG, WebP, BMP or GIF (of animations the first frame) to 8-bit sRGB, turned upright as its EXIF
/// orientation says. The format is recognised from the content.
///
/// Grey is repeated in the three channels; 16 bits are rounded to 8; palettes are looked up; CMYK and YCCK become RGB by
/// the usual product with black, without a colour profile. An alpha channel is dropped as `convert("RGB")` of PIL does:
/// nothing is composited, a transparent pixel shows the colour stored for it. Other colour profiles are not applied.
///
/// A file that is cut off is an error, never a picture with a grey end.
pub fn decode(bytes: &[u8], limits: &DecodeConfig) -> Result<Picture, DecodeError> {
    decode_announced(bytes, limits, |_| ())
}

/// The same; `announce` is told how many bytes it will take besides the file's own before they are taken.
pub(super) fn decode_announced(
    bytes: &[u8],
    limits: &DecodeConfig,
    announce: impl FnOnce(u64),
) -> Result<Picture, DecodeError> {
    let header =
        header::declared(&mut Cursor::new(bytes)).map_err(|source| DecodeError::Broken { source: source.into() });
    let Declared { format, size } = header??;
    // Profiles and frames may ask for memory that the picture's size does not explain.
    let explained = size.map_or(u64::MAX, |size| size.bytes().saturating_add(SLACK_BYTES));
    let most = limits.max_mebibytes.saturating_mul(1 << 20);
    let failed = |error| match DecodeError::from_image(error, limits) {
        DecodeError::TooMuchMemory { .. } if explained < most => DecodeError::MoreThanDeclared,
        other => other,
    };
    let mut budget = Limits::default();
    budget.max_alloc = Some(most.min(explained));
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(budget.clone());
    let mut decoder = reader.into_decoder().map_err(failed)?;

    let (width, height) = decoder.dimensions();
    let size = DeclaredSize { width, height, bytes_per_pixel: 3 };
    size.check(limits)?;
    let pixels = size.pixels();
    let uncounted_bytes = check_container(bytes, format)?.saturating_mul(pixels);
    // The decoders read orientation from EXIF; a file without a legible one is upright.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let color = decoder.color_type();
    let result_bytes = if color == ColorType::Rgb8 { 0 } else { size.bytes() };
    let stored_bytes = decoder.total_bytes().saturating_add(uncounted_bytes);
    let turned_bytes = if orientation == Orientation::NoTransforms { 0 } else { size.bytes().saturating_mul(2) };
    let needed = stored_bytes.saturating_add(result_bytes).max(turned_bytes);
    if needed > most {
        return Err(too_much_memory(limits));
    }
    // The decoder of JPEG copies the file.
    announce(needed.saturating_add(if format == ImageFormat::Jpeg { bytes.len() as u64 } else { 0 }));
    budget.reserve(decoder.total_bytes()).map_err(failed)?;
    decoder.set_limits(budget).map_err(failed)?;
    let size = |side: u32| usize::try_from(side).map_err(|_| too_much_memory(limits));
    let (width, height) = (size(width)?, size(height)?);
    let count = usize::try_from(pixels).map_err(|_| too_much_memory(limits))?;
    let values = if color == ColorType::Rgb8 {
        let mut values = vec![[0u8; 3]; count];
        decoder.read_image(values.as_flattened_mut()).map_err(failed)?;
        values
    } else {
        let total = usize::try_from(decoder.total_bytes()).map_err(|_| too_much_memory(limits))?;
        let mut stored = vec![0u8; total];
        decoder.read_image(&mut stored).map_err(failed)?;
        rgb_from_stored(&stored, color)
            .ok_or_else(|| failed(ImageError::Unsupported(unsupported_color(format, color))))?
    };
    let picture = Picture::from(upright(Raster::from_values(width, height, values), orientation));
    Ok(Picture { orientation: orientation.to_exif(), ..picture })
}

/// Finds cut-off files by their container where the decoder is silent about them, and gives the bytes per pixel that
/// the decoder takes without counting them.
fn check_container(bytes: &[u8], format: ImageFormat) -> Result<u64, DecodeError> {
    match format {
        ImageFormat::Jpeg => {
            let structure = jpeg::structure(bytes);
            if !structure.complete {
                return Err(DecodeError::Truncated);
            }
            // Coefficients of 16 bits each.
            Ok(if structure.holds_coefficients { 2 * u64::from(structure.components) } else { 0 })
        }
        ImageFormat::WebP => {
            // RIFF: the size of all that follows it stands in bytes 4 to 7. Some writers forget the last padding byte.
            let size = bytes.get(4..8).and_then(|field| field.try_into().ok()).map_or(0, u32::from_le_bytes);
            if (bytes.len() as u64) + 1 < u64::from(size) + 8 {
                return Err(DecodeError::Truncated);
            }
            // Lossless pictures are decoded as RGBA, lossy ones as planes of luma and chroma, beside the result.
            Ok(4)
        }
        _ => Ok(0),
    }
}

/// Pixels in the layout `color`, 16-bit ones in native byte order, as 8-bit RGB; none for a layout that none of the
/// five formats has.
fn rgb_from_stored(stored: &[u8], color: ColorType) -> Option<Vec<[u8; 3]>> {
    // v · 255 / 65535 = v / 257, rounded.
    let eight_bits = |low_or_high: [u8; 2]| ((u32::from(u16::from_ne_bytes(low_or_high)) + 128) / 257) as u8;
    Some(match color {
        ColorType::L8 => stored.iter().map(|&grey| [grey; 3]).collect(),
        ColorType::La8 => stored.as_chunks::<2>().0.iter().map(|&[grey, _]| [grey; 3]).collect(),
        ColorType::Rgb8 => stored.as_chunks::<3>().0.to_vec(),
        ColorType::Rgba8 => stored.as_chunks::<4>().0.iter().map(|&[red, green, blue, _]| [red, green, blue]).collect(),
        ColorType::L16 => stored.as_chunks::<2>().0.iter().map(|&grey| [eight_bits(grey); 3]).collect(),
        ColorType::La16 => stored.as_chunks::<4>().0.iter().map(|&[a, b, ..]| [eight_bits([a, b]); 3]).collect(),
        ColorType::Rgb16 | ColorType::Rgba16 => {
            let pixels = stored.chunks_exact(if color == ColorType::Rgb16 { 6 } else { 8 });
            pixels.map(|pixel| [0, 2, 4].map(|at| eight_bits([pixel[at], pixel[at + 1]]))).collect()
        }
        _ => return None,
    })
}

fn unsupported_color(format: ImageFormat, color: ColorType) -> UnsupportedError {
    UnsupportedError::from_format_and_kind(format.into(), image::error::UnsupportedErrorKind::Color(color.into()))
}

fn too_much_memory(limits: &DecodeConfig) -> DecodeError {
    DecodeError::TooMuchMemory { max_mebibytes: limits.max_mebibytes }
}

impl DecodeError {
    fn from_image(error: ImageError, limits: &DecodeConfig) -> Self {
        match error {
            ImageError::Limits(_) => too_much_memory(limits),
            ImageError::Unsupported(source) => Self::Unsupported { source },
            ImageError::IoError(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => Self::Truncated,
            source => Self::Broken { source },
        }
    }
}

#[cfg(test)]
mod tests;
