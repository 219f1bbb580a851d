//! What can go wrong while writing or reading results.

use std::io;
use std::path::{Path, PathBuf};

/// A result file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("cannot create the folder {}: {source}; choose another or check its permissions", path.display())]
    CreateFolder { path: PathBuf, source: io::Error },

    #[error("cannot write {}: {source}; check permissions and free space, then repeat the command", path.display())]
    Write { path: PathBuf, source: io::Error },

    #[error("{} exists and is not an ordinary file; choose another path for the output", path.display())]
    OccupiedTarget { path: PathBuf },

    #[error("cannot read {}: {source}; check that the file exists and may be read", path.display())]
    Read { path: PathBuf, source: io::Error },

    #[error("cannot use {} as a mask: {source}", path.display())]
    Mask { path: PathBuf, source: MaskError },
}

impl OutputError {
    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_path_buf(), source }
    }
}

/// Bytes that are no mask as this project writes them.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    #[error("not a complete PNG ({0}); write the mask again")]
    Broken(#[from] png::DecodingError),

    #[error("the PNG holds {0:?} pixels of {1:?} bits; convert it to palette or grey with at most 8 bits")]
    UnsupportedPixels(png::ColorType, png::BitDepth),

    #[error("{width}x{height} pixels are more than this program reads; cut the mask into smaller ones")]
    TooLarge { width: u32, height: u32 },
}

/// A picture that its file format cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error(
        "PNG cannot hold a mask of {width}x{height} pixels with this text: {source}; check its size and its keywords"
    )]
    Png { width: usize, height: usize, source: png::EncodingError },

    #[error("JPEG cannot hold a picture of {width}x{height} pixels: {source}; make it smaller")]
    Jpeg { width: usize, height: usize, source: image::ImageError },

    #[error("no picture can be {width}x{height} pixels large; check its size")]
    Size { width: usize, height: usize },
}
