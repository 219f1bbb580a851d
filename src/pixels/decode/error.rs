//! Why a picture cannot be decoded.

use image::ImageError;

use crate::pixels::settings::DecodeConfig;

/// Why bytes could not be decoded. The messages do not name the file: whoever read it knows its name.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the file is empty; remove it or get it again")]
    Empty,

    #[error("not an image in a known format (jpg, png, tif, webp, bmp, gif); convert it or leave it out")]
    UnknownFormat,

    #[error("{kind}, which is not read; convert it to png, tif or jpg, or leave it out")]
    OtherKind { kind: &'static str },

    #[error("its kind of image is not supported ({what}); convert it to an ordinary jpg, png or tif")]
    Unsupported { what: String },

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

    #[error("the image is broken ({reason}); get it again or convert it anew")]
    Broken { reason: String },

    #[error("it has no band {band}, only {bands}; choose others with `pixels.bands` or leave it out")]
    NoBand { band: u16, bands: usize },

    #[error("all of its pixels are without data; leave it out, or take them all with `pixels.nodata` = \"none\"")]
    NoData,

    #[error("its values are no whole numbers of 32 bits; write it again as whole numbers")]
    NoWholeNumbers,
}

impl DecodeError {
    /// More than the limits allow.
    pub(in crate::pixels) fn too_much_memory(limits: &DecodeConfig) -> Self {
        Self::TooMuchMemory { max_mebibytes: limits.max_mebibytes }
    }

    pub(in crate::pixels) fn from_image(error: ImageError, limits: &DecodeConfig) -> Self {
        match error {
            ImageError::Limits(_) => Self::too_much_memory(limits),
            ImageError::Unsupported(source) => Self::Unsupported { what: source.to_string() },
            ImageError::IoError(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => Self::Truncated,
            source => Self::Broken { reason: source.to_string() },
        }
    }
}
