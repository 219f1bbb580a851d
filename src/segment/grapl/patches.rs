//! A square image as patches.

use crate::raster::{LabelMap, RgbImage};

/// Colours of a pixel.
pub const CHANNELS: usize = 3;

/// A square image, divided into a grid of equal patches, as the network sees it.
#[derive(Debug, Clone)]
pub struct PatchImage {
    /// Channel-major `[3, side, side]`.
    planes: Vec<f32>,
    side: usize,
    /// Patches along each side.
    patches: usize,
}

impl PatchImage {
    /// The image with its range, that of all channels together, brought to −1..1; an image of one value is 0.
    ///
    /// # Panics
    /// If the image is no square of whole patches.
    pub fn new(image: &RgbImage, patches: usize) -> PatchImage {
        assert_eq!(image.width, image.height, "a square image");
        let values = image.values.as_flattened();
        let (lowest, highest) =
            values.iter().fold((u8::MAX, 0), |(low, high), &value| (low.min(value), high.max(value)));
        let range = f32::from(highest.saturating_sub(lowest));
        let scaled = |value: u8| match range {
            0.0 => 0.0,
            range => 2.0 * f32::from(value - lowest) / range - 1.0,
        };
        let plane = |channel: usize| image.values.iter().map(move |pixel| scaled(pixel[channel]));
        PatchImage::of_planes((0..CHANNELS).flat_map(plane).collect(), image.width, patches)
    }

    /// The same of values that are scaled.
    ///
    /// # Shapes
    /// planes `[3, side, side]`
    ///
    /// # Panics
    /// If these are no square of whole patches.
    pub fn of_planes(planes: Vec<f32>, side: usize, patches: usize) -> PatchImage {
        assert_eq!(planes.len(), CHANNELS * side * side, "planes of one side");
        assert!(side.is_multiple_of(patches), "a side of whole patches");
        PatchImage { planes, side, patches }
    }

    pub fn side(&self) -> usize {
        self.side
    }

    /// Patches along each side.
    pub fn patches(&self) -> usize {
        self.patches
    }

    /// Pixels along each side of a patch.
    pub fn patch_side(&self) -> usize {
        self.side / self.patches
    }

    /// Channel-major `[3, side, side]`.
    pub fn planes(&self) -> &[f32] {
        &self.planes
    }

    /// The pixels of some patches.
    ///
    /// # Shapes
    /// numbers of patches, row by row, `[n]` → `[3, n, patch_side, patch_side]`
    pub fn of_patches(&self, numbers: &[usize]) -> Vec<f32> {
        let (side, patch_side) = (self.side, self.patch_side());
        let mut values = Vec::with_capacity(CHANNELS * numbers.len() * patch_side * patch_side);
        for plane in self.planes.chunks_exact(side * side) {
            for number in numbers {
                let (top, left) = (number / self.patches * patch_side, number % self.patches * patch_side);
                for row in top..top + patch_side {
                    values.extend_from_slice(&plane[row * side + left..][..patch_side]);
                }
            }
        }
        values
    }

    /// The mean colour of every patch.
    ///
    /// # Shapes
    /// → `[patches²]`, each of 3 channels
    pub fn mean_colours(&self) -> Vec<[f64; CHANNELS]> {
        let area = (self.patch_side() * self.patch_side()) as f64;
        let mean = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum::<f64>() / area;
        let colour = |number: usize| {
            let values = self.of_patches(&[number]);
            let mut means = values.chunks_exact(values.len() / CHANNELS).map(mean);
            std::array::from_fn(|_| means.next().unwrap_or_default())
        };
        (0..self.patches * self.patches).map(colour).collect()
    }
}

/// How many pixels of every patch have each label.
///
/// # Shapes
/// labels `[side, side]` below `count` → row-major `[patches², count]`
///
/// # Panics
/// If the labels are no square of whole patches.
pub fn label_counts(labels: &LabelMap, count: usize, patches: usize) -> Vec<u32> {
    let patch_side = labels.width / patches;
    assert!(patch_side * patches == labels.width && labels.width == labels.height, "a square of whole patches");
    let mut counts = vec![0; patches * patches * count];
    for (pixel, &label) in labels.values.iter().enumerate() {
        let (row, column) = (pixel / labels.width / patch_side, pixel % labels.width / patch_side);
        counts[(row * patches + column) * count + label as usize] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Raster;

    #[test]
    fn patches_have_the_pixels_and_the_mean_colours_of_their_places() {
        let values = (0..16u8).map(|pixel| [pixel, 15 - pixel, 0]).collect();
        let image = PatchImage::new(&Raster::from_values(4, 4, values), 2);
        let unscaled = |value: f32| ((value + 1.0) * 7.5).round();
        let pixels: Vec<f32> = image.of_patches(&[1, 2]).into_iter().map(unscaled).collect();
        assert_eq!(pixels[..8], [2.0, 3.0, 6.0, 7.0, 8.0, 9.0, 12.0, 13.0]);
        assert_eq!(pixels[8..12], [13.0, 12.0, 9.0, 8.0]);
        let means = image.mean_colours();
        assert!((means[1][0] - (4.5 / 7.5 - 1.0)).abs() < 1e-6 && (means[3][2] + 1.0).abs() < 1e-9, "{means:?}");
        let flat = PatchImage::new(&Raster::filled(4, 4, [7; 3]), 2);
        assert!(flat.planes().iter().all(|&value| value == 0.0));
    }

    #[test]
    fn labels_are_counted_patch_by_patch() {
        let labels = LabelMap::from_values(4, 4, vec![0, 0, 1, 2, 0, 2, 1, 1, 2, 2, 2, 2, 2, 2, 0, 0]);
        assert_eq!(label_counts(&labels, 3, 2), [3, 0, 1, 0, 3, 1, 0, 0, 4, 2, 0, 2]);
    }
}
