//! What an image can be had from: a file of a collection, or an image that is in memory already.

use std::path::{Path, PathBuf};

use super::{DecodeLimits, decode};
use crate::dataset::Record;
use crate::raster::RgbImage;

/// An item of a dataset of images.
pub trait ImageItem: Send {
    /// Its content; the error is the reason for which it is left out.
    fn content(&self, limits: &DecodeLimits) -> Result<ImageContent, String>;

    /// What it is called in messages, where it has a name.
    fn path(&self) -> Option<&Path> {
        None
    }
}

/// What an image is made of, not yet decoded.
#[derive(Debug, Clone)]
pub struct ImageContent {
    /// blake3 of the file's bytes, or of an image's size and pixels.
    pub hash: blake3::Hash,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    File(Vec<u8>),
    Image(RgbImage),
}

impl ImageContent {
    /// Reads a file; the error is the reason for which it is left out.
    pub fn read(path: &Path, limits: &DecodeLimits) -> Result<ImageContent, String> {
        // A file larger than any image within the limits is not read into memory at all.
        let limit = limits.max_mebibytes.saturating_mul(1 << 20);
        let length = std::fs::metadata(path).map_err(|error| format!("cannot read it: {error}"))?.len();
        if length > limit {
            return Err(format!(
                "the file has {} MiB, more than pixels.max_mebibytes = {}",
                length >> 20,
                limits.max_mebibytes
            ));
        }
        let bytes = std::fs::read(path).map_err(|error| format!("cannot read it: {error}"))?;
        Ok(ImageContent { hash: blake3::hash(&bytes), source: Source::File(bytes) })
    }

    /// The image; the error is the reason for which it is left out.
    pub fn decode(&self, limits: &DecodeLimits) -> Result<RgbImage, String> {
        match &self.source {
            Source::File(bytes) => decode(bytes, limits).map_err(|error| error.to_string()),
            Source::Image(image) => Ok(image.clone()),
        }
    }
}

impl ImageItem for Record {
    fn content(&self, limits: &DecodeLimits) -> Result<ImageContent, String> {
        ImageContent::read(&self.path, limits)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

impl ImageItem for PathBuf {
    fn content(&self, limits: &DecodeLimits) -> Result<ImageContent, String> {
        ImageContent::read(self, limits)
    }

    fn path(&self) -> Option<&Path> {
        Some(self)
    }
}

impl ImageItem for RgbImage {
    fn content(&self, _limits: &DecodeLimits) -> Result<ImageContent, String> {
        if self.values.is_empty() {
            return Err("the image has no pixels".into());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.width as u64).to_le_bytes()).update(self.values.as_flattened());
        Ok(ImageContent { hash: hasher.finalize(), source: Source::Image(self.clone()) })
    }
}
