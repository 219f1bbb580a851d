//! Position embeddings for any grid of patches.

use crate::numerics::add_scaled;

/// How a square grid of positions is resized to another grid; always bicubic with half-pixel centres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interpolation {
    /// As DINO does: asks for a scale of (target + offset) / side rather than for a size, and the sampling position follows
    /// that scale. a = −0.75; samples beyond the edge take the edge's value. A grid of the stored size stays.
    ///
    /// Source: `interpolate_pos_encoding` of DINO (Caron et al. 2021, arXiv 2104.14294).
    Scaled { offset: f64 },
    /// To the size itself. With `antialias` a = −0.5, the kernel is as much wider as the grid is reduced, and samples beyond
    /// the edge do not count.
    ///
    /// Source: `torch.nn.functional.interpolate`; the kernel of Keys 1981.
    ToSize { antialias: bool },
}

/// Samples with their weights.
type Taps = Vec<(usize, f32)>;

impl Interpolation {
    /// Resizes a square grid of position embeddings to `rows` × `columns`.
    ///
    /// # Shapes
    /// `grid` `[side · side, width]` → `[rows · columns, width]`
    pub fn resize(self, grid: &[f32], side: usize, width: usize, rows: usize, columns: usize) -> Vec<f32> {
        if rows == side && columns == side {
            return grid.to_vec();
        }
        let (row_taps, column_taps) = (self.taps(side, rows), self.taps(side, columns));
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

    /// The samples behind every one of `target` positions along an axis of `side` samples.
    fn taps(self, side: usize, target: usize) -> Vec<Taps> {
        let scale = match self {
            Interpolation::Scaled { offset } => (target as f64 + offset) / side as f64,
            Interpolation::ToSize { .. } => target as f64 / side as f64,
        };
        // In single precision from here on, as the references sample.
        let step = (1.0 / scale) as f32;
        let of_position = |position: usize| match self {
            Interpolation::ToSize { antialias: true } => smoothed_taps(side, position, step),
            _ => four_taps(side, position, step),
        };
        (0..target).map(of_position).collect()
    }
}

/// The four samples around a position; those beyond an edge are the edge's.
fn four_taps(side: usize, position: usize, step: f32) -> Taps {
    let source = (position as f32 + 0.5) * step - 0.5;
    let first = source.floor();
    let fraction = source - first;
    let tap = |offset: isize| {
        let sample = (first as isize + offset).clamp(0, side as isize - 1);
        (sample as usize, cubic((fraction - offset as f32).abs(), -0.75))
    };
    [-1, 0, 1, 2].map(tap).to_vec()
}

/// The samples under a kernel that is `step` times as wide where the grid is reduced.
fn smoothed_taps(side: usize, position: usize, step: f32) -> Taps {
    let widening = step.max(1.0);
    let (centre, reach) = (step * (position as f32 + 0.5), 2.0 * widening);
    let first = (centre - reach + 0.5).max(0.0) as usize;
    let end = ((centre + reach + 0.5) as usize).min(side);
    let weight = |sample: usize| cubic(((sample as f32 - centre + 0.5) / widening).abs(), -0.5);
    let total: f32 = (first..end).map(weight).sum();
    (first..end).map(|sample| (sample, weight(sample) / total)).collect()
}

/// The cubic convolution kernel at a distance ≥ 0.
fn cubic(x: f32, a: f32) -> f32 {
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Interpolation; 3] = [
        Interpolation::Scaled { offset: 0.1 },
        Interpolation::ToSize { antialias: false },
        Interpolation::ToSize { antialias: true },
    ];

    #[test]
    fn weights_sum_to_one_and_a_constant_stays() {
        for interpolation in ALL {
            for (side, target) in [(8, 8), (14, 35), (28, 9), (1, 4)] {
                for taps in interpolation.taps(side, target) {
                    assert!((taps.iter().map(|tap| tap.1).sum::<f32>() - 1.0).abs() < 1e-5, "{interpolation:?}");
                }
            }
            assert!(interpolation.resize(&[0.5; 12], 2, 3, 3, 5).iter().all(|value| (value - 0.5).abs() < 1e-6));
        }
    }

    #[test]
    fn the_stored_grid_is_untouched() {
        let grid: Vec<f32> = (0..18).map(|value| value as f32).collect();
        assert!(ALL.iter().all(|interpolation| interpolation.resize(&grid, 3, 2, 3, 3) == grid));
    }
}
