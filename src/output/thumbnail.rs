//! Pictures small enough that a page can hold hundreds.

use super::overlay::fit;
use super::{EncodeError, encode_jpeg};
use crate::pixels::resize_lanczos;
use crate::raster::RgbImage;

/// The longer side of a report's thumbnails.
pub const THUMBNAIL_SIDE_PX: usize = 160;

/// Small enough for hundreds on a page, good enough to recognise what is shown.
const QUALITY: u8 = 72;

/// `image` as a JPEG whose longer side has at most `max_side` pixels; it is never enlarged.
///
/// # Shapes
/// `[H, W]` → `[s·H, s·W]` with s = min(1, max_side / max(H, W))
pub fn thumbnail(image: &RgbImage, max_side: usize) -> Result<Vec<u8>, EncodeError> {
    // An image without pixels, which no format holds, has no proportions either.
    if image.values.is_empty() {
        return encode_jpeg(image, QUALITY);
    }
    let (width, height) = fit(image.width, image.height, max_side);
    if (width, height) == (image.width, image.height) {
        return encode_jpeg(image, QUALITY);
    }
    encode_jpeg(&resize_lanczos(image, width, height), QUALITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_keep_proportions_and_are_never_enlarged() {
        for ((width, height), max_side, expected) in [
            ((320, 160), 160, (160, 80)),
            ((100, 401), 160, (40, 160)),
            ((30, 20), 160, (30, 20)),
            ((5000, 3), 160, (160, 1)),
            ((7, 7), 0, (1, 1)),
        ] {
            let jpeg = thumbnail(&RgbImage::filled(width, height, [90, 120, 30]), max_side).unwrap();
            assert_eq!(image::load_from_memory(&jpeg).unwrap().to_rgb8().dimensions(), expected);
        }
        assert!(matches!(thumbnail(&RgbImage::filled(0, 5, [0; 3]), 160), Err(EncodeError::Size { .. })));
    }
}
