//! A decoded picture, and what is known of its pixels.

use std::ops::Deref;

use crate::raster::{Mask, RgbImage};

/// What decoding gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub image: RgbImage,
    /// 1 where the picture has no data, `[height, width]` as `image`; none where all of it has. Such pixels are outside of
    /// the image: they are in no graph, and nothing is found there.
    pub outside: Option<Mask>,
    /// What a reader of the results should know of how the pixels were read: one sentence each.
    pub remarks: Vec<String>,
    /// The EXIF orientation by which the pixels were turned upright: 1 where they lay so in the file.
    pub orientation: u8,
}

impl From<RgbImage> for Picture {
    /// All of it has data.
    fn from(image: RgbImage) -> Picture {
        Picture { image, outside: None, remarks: Vec::new(), orientation: 1 }
    }
}

impl Deref for Picture {
    type Target = RgbImage;

    fn deref(&self) -> &RgbImage {
        &self.image
    }
}
