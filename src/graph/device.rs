//! Graphs of a whole batch by tensor operations alone: nothing is read back before the caller asks.

use super::propagation::{LEAST_RANGE, Propagation};
use super::tiles::{BATCH_TILE_ENTRIES, Tiles};
use super::{Affinity, Graph, Weights};
use crate::tensor::Tensor;

/// The complete graphs of B images with N nodes of D channels each, on their device.
#[derive(Debug, Clone)]
pub struct DeviceGraphs {
    /// X, `[B, N, D]`.
    pub features: Tensor<3>,
    /// P = Â X, `[B, N, D]`.
    pub propagated: Tensor<3>,
    /// Row sums of W, `[B, N, 1]`.
    degrees: Tensor<3>,
    /// Offset and scale of W (see [`Weights`]), `[B, 1, 1]` each.
    parameters: [Tensor<3>; 2],
    /// Correlation clustering only: share of affinities that are not positive, `[B, 1, 1]`.
    negative_share: Option<Tensor<3>>,
}

impl DeviceGraphs {
    /// The same as [`Graph::build`] for every image of the batch.
    ///
    /// # Shapes
    /// `[B, N, D]`, without padding
    pub fn build(features: Tensor<3>, affinity: Affinity) -> DeviceGraphs {
        DeviceGraphs::build_in_tiles(features, affinity, BATCH_TILE_ENTRIES)
    }

    fn build_in_tiles(features: Tensor<3>, affinity: Affinity, tile_entries: usize) -> DeviceGraphs {
        let nodes = features.dims()[1];
        let squared_norms = features.clone().powi_scalar(2).sum_dim(2);
        // By Cauchy–Schwarz the largest entry of F Fᵀ lies on its diagonal.
        let largest = squared_norms.clone().max_dim(1);
        let [offset, scale] = match affinity {
            Affinity::NonNegative => above(largest.zeros_like(), largest),
            Affinity::AboveMean => above(features.clone().mean_dim(1).powi_scalar(2).sum_dim(2), largest),
            Affinity::Correlation { alpha } => [largest.clone().div_scalar(alpha), largest.ones_like()],
        };
        let weighted = |products: Tensor<3>| (products - offset.clone()) * scale.clone();
        let missing_loop = weighted(squared_norms).lower_equal_elem(0.0).float();

        let positive = |products| weighted(products).clamp_min(0.0);
        let tiles = Tiles::new(features.clone(), tile_entries, positive);
        let found = tiles.propagate(&missing_loop, matches!(affinity, Affinity::Correlation { .. }));
        let degrees = match affinity {
            Affinity::NonNegative | Affinity::AboveMean => found.row_sums,
            // The signed row sums f_i·Σf_j − N·offset; message passing used the positive part only.
            Affinity::Correlation { .. } => {
                let total = features.clone().sum_dim(1).swap_dims(1, 2);
                features.clone().matmul(total) - offset.clone().mul_scalar(nodes as f64)
            }
        };
        let negative_share = found.not_positive.map(|counts| counts.div_scalar(nodes as f64).mean_dim(1));
        DeviceGraphs { features, propagated: found.propagated, degrees, parameters: [offset, scale], negative_share }
    }

    /// All values of every graph as one row, to be brought to the host at once.
    ///
    /// # Shapes
    /// → `[B, N·D + N·D + N + 3]`
    pub fn rows(self) -> Tensor<2> {
        let graphs = self.features.dims()[0];
        let shares = self.negative_shares();
        let rows = |values: Tensor<3>| values.reshape([graphs as i64, -1]);
        let [offset, scale] = self.parameters;
        let mut values = [self.features, self.propagated, self.degrees, offset, scale].map(rows).to_vec();
        values.push(shares);
        Tensor::cat(values, 1)
    }

    /// The share of affinities that are not positive, for correlation clustering; else zeros.
    ///
    /// # Shapes
    /// → `[B, 1]`
    pub fn negative_shares(&self) -> Tensor<2> {
        let shares = self.negative_share.clone().unwrap_or_else(|| self.parameters[0].zeros_like());
        shares.flatten(1, 2)
    }

    /// The graph that a row of [`DeviceGraphs::rows`] holds.
    ///
    /// # Panics
    /// If the row is none of nodes as many as `coverage` is of, with so many `channels`.
    pub fn from_row(row: &[f32], channels: usize, affinity: Affinity, coverage: (Vec<f32>, Vec<f32>)) -> Graph {
        let nodes = coverage.0.len();
        let (features, rest) = row.split_at(nodes * channels);
        let (propagated, rest) = rest.split_at(nodes * channels);
        let (degrees, rest) = rest.split_at(nodes);
        let &[offset, scale, share] = rest else { panic!("a row holds one graph of {nodes} nodes") };
        let (weights, negative_share) = match affinity {
            Affinity::NonNegative | Affinity::AboveMean => (Weights::NonNegative { offset, scale }, None),
            Affinity::Correlation { .. } => (Weights::Correlation { offset }, Some(share)),
        };
        let [features, propagated, degrees] = [features, propagated, degrees].map(<[f32]>::to_vec);
        Propagation { propagated, degrees, weights, negative_share, affinities: None }
            .into_graph(features, channels, coverage)
    }
}

/// Offset and scale of W = max(x_i·x_j − offset, 0) / (largest − offset); W is zero where all nodes are alike.
fn above(offset: Tensor<3>, largest: Tensor<3>) -> [Tensor<3>; 2] {
    let range = largest.clone() - offset.clone();
    let is_flat = range.clone().lower_equal(largest.mul_scalar(LEAST_RANGE));
    [offset, range.clamp_min(f32::MIN_POSITIVE).recip().mask_fill(is_flat, 0.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{Adjacency, Layout, NodeFeatures};
    use crate::numerics::random;
    use crate::tensor;

    #[test]
    fn a_batch_holds_the_graph_of_every_image() {
        let (nodes, channels) = (23, 5);
        let mut values = random::uniform(&mut random::stream(4, "test", 0), 1.0, 3 * nodes * channels);
        // An image without any content between two others, and a node without any in the last.
        values[nodes * channels..2 * nodes * channels].fill(0.0);
        values[2 * nodes * channels..][..channels].fill(0.0);
        let layout = Layout::Grid { rows: 1, columns: nodes };
        let features = || tensor::from_slice(&values, [3, nodes, channels], &tensor::cpu());
        for affinity in [Affinity::NonNegative, Affinity::AboveMean, Affinity::Correlation { alpha: 2.0 }] {
            // All of W at once, bands of four rows, single rows.
            for tile_entries in [BATCH_TILE_ENTRIES, 4 * 3 * nodes, 1] {
                let graphs = DeviceGraphs::build_in_tiles(features(), affinity, tile_entries);
                let rows = tensor::into_vec(graphs.rows());
                let row_length = rows.len() / 3;
                for (row, values) in rows.chunks_exact(row_length).zip(values.chunks_exact(nodes * channels)) {
                    let found = DeviceGraphs::from_row(row, channels, affinity, layout.coverage());
                    let nodes = NodeFeatures {
                        values: values.to_vec(),
                        channels,
                        layout: layout.clone(),
                        adjacency: Adjacency::Complete,
                    };
                    let expected = Graph::build(&nodes, affinity);
                    assert_eq!((&found.features, &found.area), (&expected.features, &expected.area));
                    let close = |found: &[f32], expected: &[f32], what: &str| {
                        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                        assert!(worst < 2e-5, "{what} of {affinity:?} in tiles of {tile_entries}: off by {worst}");
                        assert!(found.iter().all(|value| value.is_finite()));
                    };
                    close(&found.propagated, &expected.propagated, "propagated");
                    close(&found.degrees, &expected.degrees, "degrees");
                    let share = |graph: &Graph| graph.negative_share.map_or(vec![], |share| vec![share]);
                    assert_eq!(share(&found).len(), share(&expected).len());
                    close(&share(&found), &share(&expected), "negative share");
                }
            }
        }
    }
}
