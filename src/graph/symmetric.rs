//! Symmetric matrices on the processor, of which only half is ever formed.

use std::borrow::Cow;

use rayon::prelude::*;

use super::Graph;
use crate::numerics::product::{Matrix, add_product};
use crate::numerics::vectorised::{add_symmetric_products, shift_and_clamp};

/// Columns that are formed at once: those of a usual graph stay in the cache of one core.
const BAND: usize = 128;

/// A symmetric matrix `[N, N]`, as bands of columns from the diagonal down.
#[derive(Debug, Clone, PartialEq)]
pub struct SymmetricMatrix {
    order: usize,
    /// Row-major, `[N − start, columns]` each.
    bands: Vec<Vec<f32>>,
}

impl SymmetricMatrix {
    /// M_ij = max(x_i·x_j − offset, 0) · scale.
    ///
    /// # Shapes
    /// features X `[N, D]`
    pub fn of_products(features: &[f32], channels: usize, offset: f32, scale: f32) -> SymmetricMatrix {
        let order = features.len() / channels;
        let starts: Vec<usize> = (0..order).step_by(BAND).collect();
        let bands = starts.into_par_iter().map(|start| band(features, channels, start, offset, scale)).collect();
        SymmetricMatrix { order, bands }
    }

    /// Bytes that its values take.
    pub fn bytes(&self) -> usize {
        self.bands.iter().map(|band| size_of_val(band.as_slice())).sum()
    }

    /// How many entries are zero.
    pub fn zeros(&self) -> usize {
        let of_band = |band: &[f32], columns: usize| {
            let zeros = |values: &[f32]| values.iter().filter(|&&value| value == 0.0).count();
            let (square, below) = band.split_at(columns * columns);
            zeros(square) + 2 * zeros(below)
        };
        self.bands.iter().enumerate().map(|(index, band)| of_band(band, self.columns(index))).sum()
    }

    /// M V for few columns: every entry is read once.
    ///
    /// # Shapes
    /// V `[N, K]` → `[N, K]`
    pub fn times_few(&self, values: &[f32], columns: usize) -> Vec<f32> {
        let parts = self.bands.par_iter().enumerate();
        let parts: Vec<Vec<f32>> =
            parts.map(|(index, band)| part_of_product(band, &values[index * BAND * columns..], columns)).collect();
        let mut product = vec![0.0; values.len()];
        for (index, part) in parts.into_iter().enumerate() {
            add_part(&mut product[index * BAND * columns..], &part, columns);
        }
        product
    }

    /// M V for many columns, every row by one thread.
    ///
    /// # Shapes
    /// V `[N, K]` → `[N, K]`
    pub fn times_many(&self, values: &[f32], columns: usize) -> Vec<f32> {
        let mut product = vec![0.0; values.len()];
        product.par_chunks_mut(BAND * columns).enumerate().for_each(|(index, target)| {
            let (start, own) = (index * BAND, self.columns(index));
            // What lies left of the diagonal, in the bands before, and then what lies above it, as the mirrored band.
            for (before, band) in self.bands[..index].iter().enumerate() {
                let first = before * BAND;
                let rows = &band[(start - first) * BAND..(start - first + own) * BAND];
                let values = &values[first * columns..(first + BAND) * columns];
                add_product(target, Matrix::of_rows(rows, BAND), Matrix::of_rows(values, columns));
            }
            let mirrored = Matrix::of_rows(&self.bands[index], own).transposed();
            add_product(target, mirrored, Matrix::of_rows(&values[start * columns..], columns));
        });
        product
    }

    /// Columns of a band.
    fn columns(&self, index: usize) -> usize {
        (self.order - index * BAND).min(BAND)
    }
}

/// W S with W_ij = max(x_i·x_j − offset, 0) · scale, for graphs padded to `nodes`, each with its offset and scale. W is that
/// which a graph has, or is formed and not kept.
///
/// Bands are worked on by all threads and added in their order, so that the sums do not depend on the number of threads.
///
/// # Shapes
/// assignment `[B, N, K]` → `[B, N, K]`
pub(super) fn product(
    graphs: &[&Graph],
    parameters: &[[f32; 2]],
    assignment: &[f32],
    nodes: usize,
    clusters: usize,
) -> Vec<f32> {
    let bands = graphs.iter().enumerate();
    let bands: Vec<(usize, usize)> =
        bands.flat_map(|(index, graph)| (0..graph.nodes()).step_by(BAND).map(move |start| (index, start))).collect();
    let rows = |index: usize, start: usize| (index * nodes + start) * clusters;
    let of_band = |&(index, start): &(usize, usize)| {
        let graph = &graphs[index];
        let [offset, scale] = parameters[index];
        let band = match &graph.affinities {
            Some(formed) => Cow::Borrowed(&formed.bands[start / BAND]),
            None => Cow::Owned(band(&graph.features, graph.channels, start, offset, scale)),
        };
        part_of_product(&band, &assignment[rows(index, start)..rows(index, graph.nodes())], clusters)
    };
    let parts: Vec<Vec<f32>> = bands.par_iter().map(of_band).collect();

    let mut product = vec![0.0; assignment.len()];
    for ((index, start), part) in bands.into_iter().zip(parts) {
        add_part(&mut product[rows(index, start)..], &part, clusters);
    }
    product
}

/// The columns from `start` on, of max(X Xᵀ − offset, 0) · scale from the diagonal down.
fn band(features: &[f32], channels: usize, start: usize, offset: f32, scale: f32) -> Vec<f32> {
    let features = &features[start * channels..];
    let own = &features[..features.len().min(BAND * channels)];
    let mut band = vec![0.0; features.len() / channels * (own.len() / channels)];
    add_product(&mut band, Matrix::of_rows(features, channels), Matrix::of_rows(own, channels).transposed());
    shift_and_clamp(&mut band, offset, scale);
    band
}

/// What a band adds to M V, by columns: `[K, N − start]`.
///
/// # Shapes
/// V from the band's first column on, `[N − start, K]`
fn part_of_product(band: &[f32], values: &[f32], columns: usize) -> Vec<f32> {
    let length = values.len() / columns;
    let column = |column| values.iter().skip(column).step_by(columns).copied();
    let vectors: Vec<f32> = (0..columns).flat_map(column).collect();
    let mut part = vec![0.0; vectors.len()];
    add_symmetric_products(&mut part, band, &vectors, length);
    part
}

fn add_part(target: &mut [f32], part: &[f32], columns: usize) {
    let length = part.len() / columns;
    for (column, part) in part.chunks_exact(length).enumerate() {
        for (target, value) in target.iter_mut().skip(column).step_by(columns).zip(part) {
            *target += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Affinity;
    use crate::nodes::{Adjacency, Layout, NodeFeatures};
    use crate::numerics::random;

    /// Random values in ±1.
    fn values(count: usize, purpose: &str) -> Vec<f32> {
        random::uniform(&mut random::stream(1, purpose, count as u64), 1.0, count)
    }

    /// max(x_i·x_j − offset, 0) · scale times V, written out.
    fn reference(
        features: &[f32],
        channels: usize,
        offset: f64,
        scale: f64,
        values: &[f32],
        columns: usize,
    ) -> Vec<f64> {
        let row = |node: usize| &features[node * channels..(node + 1) * channels];
        let count = features.len() / channels;
        let mut product = vec![0.0; count * columns];
        for i in 0..count {
            for j in 0..count {
                let sum: f64 = row(i).iter().zip(row(j)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                for k in 0..columns {
                    product[i * columns + k] += (sum - offset).max(0.0) * scale * f64::from(values[j * columns + k]);
                }
            }
        }
        product
    }

    fn assert_close(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} is not {expected}");
        }
    }

    #[test]
    fn half_a_matrix_does_what_the_whole_does() {
        let (channels, offset, scale) = (5, 0.25, 0.5);
        // One node, whole bands, and a last band that is cut short.
        for count in [1, BAND, 2 * BAND + 77] {
            let features = values(count * channels, "features");
            let matrix = SymmetricMatrix::of_products(&features, channels, offset, scale);
            let reference = |values: &[f32], columns| {
                reference(&features, channels, f64::from(offset), f64::from(scale), values, columns)
            };
            let (few, many) = (values(count * 3, "few"), values(count * 40, "many"));
            assert_close(&matrix.times_few(&few, 3), &reference(&few, 3));
            assert_close(&matrix.times_many(&many, 40), &reference(&many, 40));
            let identity: Vec<f32> =
                (0..count * count).map(|place| f32::from(u8::from(place % (count + 1) == 0))).collect();
            let whole = matrix.times_many(&identity, count);
            assert_eq!(matrix.zeros(), whole.iter().filter(|&&value| value == 0.0).count());
        }
    }

    #[test]
    fn the_product_of_a_batch_is_that_of_its_graphs() {
        let (channels, clusters) = (5, 3);
        let graph = |count: usize| {
            let layout = Layout::Grid { rows: 1, columns: count };
            let values = values(count * channels, "features");
            let nodes = NodeFeatures { values, channels, layout, adjacency: Adjacency::Complete };
            Graph::build(&nodes, Affinity::NonNegative)
        };
        let graphs: Vec<Graph> = [1, BAND, 2 * BAND + 77].map(graph).into();
        let (nodes, parameters) = (2 * BAND + 77, [[0.0, 0.5], [0.1, 1.0], [0.2, 2.0]]);
        let assignment = values(3 * nodes * clusters, "assignment");
        let found = product(&graphs.iter().collect::<Vec<_>>(), &parameters, &assignment, nodes, clusters);
        for (index, graph) in graphs.iter().enumerate() {
            let own = index * nodes * clusters..(index + 1) * nodes * clusters;
            let (found, padding) = found[own.clone()].split_at(graph.nodes() * clusters);
            let [offset, scale] = parameters[index].map(f64::from);
            assert_close(found, &reference(&graph.features, channels, offset, scale, &assignment[own], clusters));
            assert!(padding.iter().all(|&value| value == 0.0));
        }
    }
}
