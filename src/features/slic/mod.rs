//! SLIC superpixels: k-means over colour and place, where a centre only sees the pixels around it.

mod cluster;
mod connect;
mod smooth;

use cluster::Windows;

use crate::raster::{LabelMap, RgbImage};

/// A blur wider than this leaves nothing to segment, and its kernel must stay finite.
const LARGEST_SIGMA: f32 = 100.0;

/// What [`slic`] needs to know besides the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlicParameters {
    /// Number of seeds aimed at; the grid and the merging of small pieces make the result differ by a few.
    pub regions: usize,
    /// Weight of place against colour: the Lab difference that counts as much as one grid step.
    pub compactness: f32,
    /// Gaussian smoothing of the Lab image before clustering, in pixels; 0 for none.
    pub sigma: f32,
}

/// Divides `image` into about `parameters.regions` compact regions of similar colour.
///
/// Seeds lie on a regular grid of step S ≈ √(pixels / regions). Each of 10 rounds gives every pixel to the nearest of the
/// centres about 2S away per axis or less, then moves every centre to the mean of its pixels, where
///
/// ```text
/// distance² = ‖ΔLab‖² / compactness² + (Δx² + Δy²) / S²
/// ```
///
/// Afterwards every region is made 4-connected: pieces under half the mean region size join an earlier region that they
/// touch, pieces over three times that size are cut. The image's range is first stretched to 0..255, so that
/// `compactness` means the same for faint and strong images. Settings out of range are brought to the nearest sensible
/// value; there are never more seeds than pixels.
///
/// Source: Achanta et al., "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods", TPAMI 2012. Differs from
/// the paper as scikit-image's `slic` does: smoothing, stretching, seeds not moved to the lowest gradient, a window of ±2S.
///
/// # Shapes
/// `[height, width]` pixels → labels `[height, width]` in 0..regions, each in use, and the number of regions.
pub fn slic(image: &RgbImage, parameters: &SlicParameters) -> (LabelMap, usize) {
    let (clusters, seeds) = clustered(image, parameters, Windows::OfTiles);
    connect::connected(&clusters, seeds)
}

/// The clusters of [`slic`] as they are, in one piece each or in several, with the seed that each comes from as its label.
/// Equal to scikit-image's `slic` without `enforce_connectivity`, but for the last digits of its arithmetic: there a centre
/// sees no pixel further than 2S away, S being the step of a grid of as many cells as there are seeds.
///
/// # Shapes
/// `[height, width]` pixels → labels `[height, width]` in 0..seeds, and the number of seeds
pub fn slic_clusters(image: &RgbImage, parameters: &SlicParameters) -> (LabelMap, usize) {
    clustered(image, parameters, Windows::OfPixels)
}

/// The number of seeds in an image of this size where about `regions` are aimed at.
pub fn slic_seeds(width: usize, height: usize, regions: usize) -> usize {
    cluster::seeds(width, height, regions)
}

fn clustered(image: &RgbImage, parameters: &SlicParameters, windows: Windows) -> (LabelMap, usize) {
    let (width, height) = (image.width, image.height);
    if width == 0 || height == 0 {
        return (LabelMap::from_values(width, height, Vec::new()), 0);
    }
    let compactness = usable(parameters.compactness, 1e-3, 1e6);
    let mut planes = smooth::lab_planes(&stretched(image), 1.0 / compactness);
    if parameters.sigma > 0.0 {
        let kernel = smooth::gaussian_kernel(usable(parameters.sigma, 0.0, LARGEST_SIGMA));
        planes = planes.map(|plane| smooth::smoothed(plane, width, height, &kernel));
    }
    cluster::clusters(&planes, width, height, parameters.regions, windows)
}

/// `value` within its range; NaN counts as too small.
fn usable(value: f32, lowest: f32, highest: f32) -> f32 {
    if value > lowest { value.min(highest) } else { lowest }
}

/// The image's full range brought to 0..255, all channels by the same line. A constant image stays as it is.
fn stretched(image: &RgbImage) -> RgbImage {
    let (lowest, highest) =
        image.values.iter().flatten().fold((u8::MAX, u8::MIN), |(low, high), &value| (low.min(value), high.max(value)));
    if lowest >= highest || (lowest, highest) == (u8::MIN, u8::MAX) {
        return image.clone();
    }
    let (offset, range) = (u32::from(lowest), u32::from(highest) - u32::from(lowest));
    // Values below the lowest do not occur; the quotient is at most 255.
    let line: [u8; 256] =
        std::array::from_fn(|value| (((value as u32).saturating_sub(offset) * 255 + range / 2) / range).min(255) as u8);
    image.map(|pixel| pixel.map(|value| line[usize::from(value)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Raster;

    const PARAMETERS: SlicParameters = SlicParameters { regions: 16, compactness: 10.0, sigma: 1.0 };

    /// A deterministic noisy image: two colours side by side, plus a small pseudo-random change of every channel.
    fn halves(width: usize, height: usize, noise: u32) -> RgbImage {
        let mut state = 1u32;
        let values = (0..width * height).map(|pixel| {
            let base = if pixel % width < width / 2 { [40, 60, 200] } else { [210, 180, 30] };
            base.map(|value: u8| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                value + ((state >> 16) % (noise + 1)) as u8
            })
        });
        Raster::from_values(width, height, values.collect())
    }

    /// Sizes of the 4-connected pieces of equal label, by label.
    fn pieces(labels: &LabelMap, regions: usize) -> Vec<usize> {
        let (mut seen, mut pieces) = (vec![false; labels.values.len()], vec![0; regions]);
        for start in 0..seen.len() {
            if std::mem::replace(&mut seen[start], true) {
                continue;
            }
            pieces[labels.values[start] as usize] += 1;
            let mut open = vec![start];
            while let Some(pixel) = open.pop() {
                let (x, y) = (pixel % labels.width, pixel / labels.width);
                for (x, y) in [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)] {
                    if x < labels.width && y < labels.height && labels.at(x, y) == labels.values[start] {
                        let next = y * labels.width + x;
                        if !std::mem::replace(&mut seen[next], true) {
                            open.push(next);
                        }
                    }
                }
            }
        }
        pieces
    }

    #[test]
    fn every_image_gives_connected_regions_without_gaps() {
        let wild = SlicParameters { regions: 0, compactness: f32::NAN, sigma: f32::INFINITY };
        let cases = [
            (halves(1, 1, 0), PARAMETERS),
            (halves(1, 9, 3), PARAMETERS),
            (halves(200, 3, 9), PARAMETERS),
            (halves(3, 2, 9), SlicParameters { regions: 1000, ..PARAMETERS }),
            (halves(64, 48, 40), PARAMETERS),
            (halves(64, 48, 40), SlicParameters { compactness: 0.01, sigma: 0.0, ..PARAMETERS }),
            (halves(64, 48, 40), SlicParameters { regions: 300, compactness: 1.0, sigma: 0.0 }),
            (halves(20, 30, 40), wild),
            (Raster::filled(50, 40, [7; 3]), PARAMETERS),
            (Raster::filled(50, 40, [7; 3]), SlicParameters { regions: 1, ..PARAMETERS }),
        ];
        for (image, parameters) in cases {
            let (labels, regions) = slic(&image, &parameters);
            let name = format!("{}x{} {parameters:?}", image.width, image.height);
            assert!(regions >= 1, "{name}");
            assert_eq!(pieces(&labels, regions), vec![1; regions], "{name}");
            assert_eq!(slic(&image, &parameters), (labels, regions), "{name}");
        }
        assert_eq!(slic(&Raster::filled(0, 4, [0; 3]), &PARAMETERS).1, 0);
    }

    #[test]
    fn a_flat_image_becomes_the_grid() {
        let (labels, regions) = slic(&Raster::filled(40, 40, [90, 120, 20]), &PARAMETERS);
        assert_eq!(regions, 16);
        // Seeds at 5, 15, 25, 35; a pixel half-way belongs to the earlier one in the first round.
        for (x, y, label) in [(0, 0, 0), (9, 9, 0), (12, 2, 1), (39, 39, 15), (2, 38, 12)] {
            assert_eq!(labels.at(x, y), label, "({x}, {y})");
        }
    }

    #[test]
    fn no_region_crosses_a_strong_edge() {
        let (width, height) = (60, 40);
        // Unsmoothed: a blurred edge has a colour of its own, which one side or the other must take.
        let (labels, regions) = slic(&halves(width, height, 12), &SlicParameters { sigma: 0.0, ..PARAMETERS });
        let mut sides = vec![[0; 2]; regions];
        for (pixel, &label) in labels.values.iter().enumerate() {
            sides[label as usize][usize::from(pixel % width >= width / 2)] += 1;
        }
        let strays: i32 = sides.iter().map(|[left, right]| *left.min(right)).sum();
        assert_eq!(strays, 0);
    }
}
