//! Resizing and normalising, as the features were trained with.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::raster::{Raster, RgbImage};

/// Resizes to exactly `width` × `height`, whatever the aspect, by convolution with a Lanczos kernel of radius 3 that is
/// stretched by the scale when shrinking (antialiasing). Agrees with `LANCZOS` of PIL to a level of rounding.
///
/// A target or an image without pixels gives black.
///
/// # Shapes
/// `[image.height, image.width]` → `[height, width]`
///
/// # Panics
/// If a side has more than `u32::MAX` pixels, which no decoded image has.
pub fn resize_lanczos(image: &RgbImage, width: usize, height: usize) -> RgbImage {
    if width == 0 || height == 0 || image.values.is_empty() {
        return Raster::filled(width, height, [0u8; 3]);
    }
    // The two passes one after the other, as in PIL: the kernel overshoots at edges and the result is cut to 0..255
    // after each pass, so the order shows, by up to 7 levels beside sharp edges.
    let across = convolved(image, width, image.height);
    convolved(&across, width, height)
}

/// One call of the convolution; a pass along an axis whose size stays is left out.
fn convolved(image: &RgbImage, width: usize, height: usize) -> RgbImage {
    let mut target = Raster::filled(width, height, [0u8; 3]);
    let side = |pixels: usize| u32::try_from(pixels).expect("a side of an image fits 32 bits, as documented");
    let source = ImageRef::new(side(image.width), side(image.height), image.values.as_flattened(), PixelType::U8x3)
        .expect("a raster holds width x height values");
    let mut view = Image::from_slice_u8(side(width), side(height), target.values.as_flattened_mut(), PixelType::U8x3)
        .expect("a raster holds width x height values");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    Resizer::new().resize(&source, &mut view, &options).expect("both sides are 8-bit RGB and the whole source is used");
    target
}

/// Normalises every channel: (v/255 − mean) / standard deviation.
///
/// # Shapes
/// `[image.height, image.width]` of RGB → `[3, image.height, image.width]`, channel-major
pub fn normalise(image: &RgbImage, mean: [f32; 3], standard_deviation: [f32; 3]) -> Vec<f32> {
    let mut values = Vec::with_capacity(3 * image.values.len());
    for channel in 0..3 {
        // A channel takes 256 values only.
        let table: [f32; 256] =
            std::array::from_fn(|value| (value as f32 / 255.0 - mean[channel]) / standard_deviation[channel]);
        values.extend(image.values.iter().map(|pixel| table[usize::from(pixel[channel])]));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_one_after_the_other() {
        let image = Raster::from_values(2, 1, vec![[0, 51, 255], [255, 102, 0]]);
        let values = normalise(&image, [0.0, 0.2, 0.5], [1.0, 0.5, 0.25]);
        for (value, expected) in values.iter().zip([0.0, 1.0, 0.0, 0.4, 2.0, -2.0]) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
    }

    #[test]
    fn a_flat_image_stays_flat_and_the_same_size_changes_nothing() {
        let flat = Raster::filled(7, 5, [10u8, 200, 255]);
        for (width, height) in [(1, 1), (3, 9), (40, 2)] {
            assert_eq!(resize_lanczos(&flat, width, height), Raster::filled(width, height, [10, 200, 255]));
        }
        let values = (0..35u8).map(|value| [value * 7, 255 - value, value ^ 0x55]).collect();
        let image = Raster::from_values(7, 5, values);
        assert_eq!(resize_lanczos(&image, 7, 5), image);
        assert!(resize_lanczos(&image, 0, 3).values.is_empty());
        assert_eq!(resize_lanczos(&Raster::filled(0, 0, [0; 3]), 2, 1), Raster::filled(2, 1, [0; 3]));
    }
}
