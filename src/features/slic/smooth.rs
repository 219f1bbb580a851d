//! The image as SLIC compares it: Lab planes, smoothed.

use crate::numerics::add_scaled;
use crate::pixels::lab_from_rgb;
use crate::raster::RgbImage;

/// Lab channels one plane each, so that the inner loops read contiguous numbers, times `scale`.
pub(super) fn lab_planes(image: &RgbImage, scale: f32) -> [Vec<f32>; 3] {
    let lab = lab_from_rgb(image);
    std::array::from_fn(|channel| lab.values.iter().map(|pixel| pixel[channel] * scale).collect())
}

/// Samples of a Gaussian up to 4σ, summing to one.
pub(super) fn gaussian_kernel(sigma: f32) -> Vec<f32> {
    let radius = (4.0 * sigma + 0.5) as i32;
    let sample = |offset: i32| (-0.5 * (f64::from(offset) / f64::from(sigma)).powi(2)).exp();
    let total: f64 = (-radius..=radius).map(sample).sum();
    (-radius..=radius).map(|offset| (sample(offset) / total) as f32).collect()
}

/// Convolves a plane with `kernel` along both axes; beyond the border the image is mirrored, the edge pixel doubled.
pub(super) fn smoothed(mut plane: Vec<f32>, width: usize, height: usize, kernel: &[f32]) -> Vec<f32> {
    let radius = kernel.len() / 2;
    let columns: Vec<usize> = (0..width + 2 * radius).map(|x| mirrored(x, radius, width)).collect();
    let mut padded = vec![0.0; columns.len()];
    for row in plane.chunks_exact_mut(width) {
        for (target, &column) in padded.iter_mut().zip(&columns) {
            *target = row[column];
        }
        row.fill(0.0);
        for (tap, &weight) in kernel.iter().enumerate() {
            add_scaled(row, &padded[tap..tap + width], weight);
        }
    }
    let mut result = vec![0.0; plane.len()];
    for (y, row) in result.chunks_exact_mut(width).enumerate() {
        for (tap, &weight) in kernel.iter().enumerate() {
            let source = mirrored(y + tap, radius, height) * width;
            add_scaled(row, &plane[source..source + width], weight);
        }
    }
    result
}

/// The position in 0..size that stands for `padded - radius` when the axis is mirrored at both ends.
fn mirrored(padded: usize, radius: usize, size: usize) -> usize {
    let period = 2 * size;
    let position = (padded + period - radius % period) % period;
    if position < size { position } else { period - 1 - position }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_constant_and_spreads_a_point() {
        let kernel = gaussian_kernel(0.8);
        assert_eq!(kernel.len(), 7);
        for (width, height) in [(1, 1), (2, 9), (12, 5)] {
            let constant = smoothed(vec![3.0; width * height], width, height, &kernel);
            assert!(constant.iter().all(|value| (value - 3.0).abs() < 1e-5));
        }
        let mut point = vec![0.0; 81];
        point[4 * 9 + 4] = 1.0;
        let spread = smoothed(point, 9, 9, &kernel);
        for (x, y) in [(4, 4), (5, 4), (3, 6), (1, 7), (0, 4)] {
            let tap = |position: usize| kernel.get((position + 3).wrapping_sub(4)).copied().unwrap_or(0.0);
            assert!((spread[y * 9 + x] - tap(x) * tap(y)).abs() < 1e-7, "({x}, {y})");
        }
    }

    #[test]
    fn mirroring_doubles_the_edge_pixel() {
        let mirror = |size: usize| (0..9).map(|padded| mirrored(padded, 3, size)).collect::<Vec<_>>();
        assert_eq!(mirror(4), [2, 1, 0, 0, 1, 2, 3, 3, 2]);
        assert_eq!(mirror(1), [0; 9]);
        assert_eq!(mirror(2), [1, 1, 0, 0, 1, 1, 0, 0, 1]);
    }
}
