//! A picture of how an image was divided: every region in the mean of its colours.

use std::borrow::Cow;

use super::overlay::scaled_down;
use crate::raster::{Raster, RgbImage};

/// How much of a region's outline is black on bright regions, and white on dark ones.
const OUTLINE_OPACITY: f64 = 0.7;

/// Regions from this luma on are bright.
const BRIGHT: f64 = 128.0;

/// Every region of `image` filled with the mean of its 8-bit colours, and a line of one pixel where it ends to the right or
/// below; black where the mask is 0.
///
/// The picture is scaled so that its longer side has at most `max_side` pixels; it is never enlarged. Means are those of the image as it
/// is. A mask of another size is stretched over the whole image.
///
/// # Shapes
/// image `[H, W]`, mask `[h, w]` → `[s·H, s·W]` with s = min(1, max_side / max(H, W))
pub fn mean_colours<V: Copy + Into<u16>>(image: &RgbImage, mask: &Raster<V>, max_side: usize) -> RgbImage {
    if image.values.is_empty() || mask.values.is_empty() {
        return image.clone();
    }
    let of_image = match (mask.width, mask.height) == (image.width, image.height) {
        true => Cow::Borrowed(mask),
        false => Cow::Owned(mask.resized_nearest(image.width, image.height)),
    };
    let means = means(image, &of_image);
    let scaled = scaled_down(image, max_side);
    let (width, height) = (scaled.width, scaled.height);
    let mask = mask.resized_nearest(width, height).map(Into::into);
    let differs = |x: usize, y: usize, value: u16| x < width && y < height && mask.at(x, y) != value;
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let colour = |(x, y): (usize, usize)| {
        let value = mask.at(x, y);
        let mean = means[usize::from(value)];
        let is_outline = value > 0 && (differs(x + 1, y, value) || differs(x, y + 1, value));
        let colour = if is_outline { outlined(mean) } else { mean };
        colour.map(|channel| channel.round() as u8)
    };
    RgbImage::from_values(width, height, places.map(colour).collect())
}

/// The mean colour of every value up to the largest, black of 0 and of those that do not occur.
fn means<V: Copy + Into<u16>>(image: &RgbImage, mask: &Raster<V>) -> Vec<[f64; 3]> {
    let values = || mask.values.iter().map(|&value| usize::from(value.into()));
    let mut sums = vec![[0u64; 4]; values().max().unwrap_or(0) + 1];
    for (value, &[red, green, blue]) in values().zip(&image.values) {
        let one = [red, green, blue, 1].map(u64::from);
        sums[value].iter_mut().zip(one).for_each(|(sum, value)| *sum += value);
    }
    sums[0] = [0; 4];
    let mean = |[red, green, blue, count]: [u64; 4]| [red, green, blue].map(|sum| sum as f64 / count.max(1) as f64);
    sums.into_iter().map(mean).collect()
}

/// The colour of a region's outline, which stands out from the region whatever is beside it.
fn outlined(mean: [f64; 3]) -> [f64; 3] {
    let luma = 0.299 * mean[0] + 0.587 * mean[1] + 0.114 * mean[2];
    let line = if luma < BRIGHT { 255.0 } else { 0.0 };
    mean.map(|channel| channel + OUTLINE_OPACITY * (line - channel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_filled_with_the_means_of_all_their_pixels() {
        // Bright stripes on the left, dark ones on the right, and a column without data.
        let pixel = |place: usize| match place % 9 {
            x @ 0..4 => [200 + 20 * (x % 2) as u8, 180, 100],
            x @ 4..8 => [10, 20 * (x % 2) as u8, 40],
            _ => [255; 3],
        };
        let image = RgbImage::from_values(9, 4, (0..36).map(pixel).collect());
        let mask = Raster::from_values(9, 4, (0..36).map(|place| [700u16, 3, 0][place % 9 / 4]).collect());
        let picture = mean_colours(&image, &mask, 9);
        let row = &picture.values[9..18];
        assert_eq!(
            (row[0], row[2], row[4], row[6], row[8]),
            ([210, 180, 100], [210, 180, 100], [10, 10, 40], [10, 10, 40], [0; 3])
        );
        assert!(
            row[3][0] < 100 && row[7][0] > 150,
            "outlines are dark on bright regions, and bright on dark ones: {row:?}"
        );

        // Scaled down, means are as they were; the picture of an image of one region has no line.
        let large = mean_colours(&image, &mask.resized_nearest(18, 8), 6);
        assert_eq!((large.width, large.height, large.at(0, 0)), (6, 3, [210, 180, 100]));
        let one = mean_colours(&RgbImage::filled(5, 4, [7, 8, 9]), &Raster::filled(1, 1, 1u8), 100);
        assert_eq!(one, RgbImage::filled(5, 4, [7, 8, 9]));
    }
}
