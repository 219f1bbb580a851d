//! Position embeddings for any grid of patches.

use crate::numerics::add_scaled;

/// Resizes a square grid of position embeddings to `rows` × `columns`, as DINO does.
///
/// Bicubic with a = −0.75 and half-pixel centres. DINO asks for a scale of (target + 0.1) / side rather than for a
/// size, and the sampling position follows that scale: source = (target + 0.5) / scale − 0.5. Samples beyond the edge
/// take the edge's value. A grid of the stored size is returned unchanged.
///
/// Source: `interpolate_pos_encoding` of DINO (Caron et al. 2021, arXiv 2104.14294); kernel of Keys 1981.
///
/// # Shapes
/// `grid` `[side · side, width]` → `[rows · columns, width]`
pub fn interpolate(grid: &[f32], side: usize, width: usize, rows: usize, columns: usize) -> Vec<f32> {
    if rows == side && columns == side {
        return grid.to_vec();
    }
    let (row_taps, column_taps) = (taps(side, rows), taps(side, columns));
    // First along the columns, then along the rows: [side, columns, width], then [rows, columns, width].
    let mut across = vec![0.0f32; side * columns * width];
    for row in 0..side {
        for (column, taps) in column_taps.iter().enumerate() {
            let target = &mut across[(row * columns + column) * width..][..width];
            for &(source, weight) in taps {
                add_scaled(target, &grid[(row * side + source) * width..][..width], weight);
            }
        }
    }
    let line = columns * width;
    let mut resized = vec![0.0f32; rows * line];
    for (target, taps) in resized.chunks_exact_mut(line).zip(&row_taps) {
        for &(source, weight) in taps {
            add_scaled(target, &across[source * line..][..line], weight);
        }
    }
    resized
}

/// The four samples, with their weights, behind every one of `target` positions along an axis of `side` samples.
fn taps(side: usize, target: usize) -> Vec<[(usize, f32); 4]> {
    let scale = (target as f64 + 0.1) / side as f64;
    (0..target)
        .map(|position| {
            // In single precision from here on, as the reference samples.
            let source = (position as f32 + 0.5) * (1.0 / scale) as f32 - 0.5;
            let first = source.floor();
            let fraction = source - first;
            [-1, 0, 1, 2].map(|offset: isize| {
                let sample = (first as isize + offset).clamp(0, side as isize - 1);
                (sample as usize, cubic((fraction - offset as f32).abs()))
            })
        })
        .collect()
}

/// The cubic convolution kernel with a = −0.75 at distance 0 ≤ x ≤ 2.
fn cubic(x: f32) -> f32 {
    const A: f32 = -0.75;
    if x <= 1.0 { ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0 } else { ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_a_constant_stays() {
        for (side, target) in [(8, 8), (14, 35), (28, 9), (1, 4)] {
            for taps in taps(side, target) {
                assert!((taps.iter().map(|tap| tap.1).sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
        assert!(interpolate(&[0.5; 12], 2, 3, 3, 5).iter().all(|value| (value - 0.5).abs() < 1e-6));
    }

    #[test]
    fn the_stored_grid_is_untouched() {
        let grid: Vec<f32> = (0..18).map(|value| value as f32).collect();
        assert_eq!(interpolate(&grid, 3, 2, 3, 3), grid);
    }
}
