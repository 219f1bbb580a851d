//! W, its row sums, and P = Â X.

use super::tiles::{GRAPH_TILE_ENTRIES, Tiles};
use super::{Affinity, Graph, SymmetricMatrix, Weights};
use crate::nodes::Edge;
use crate::numerics::vectorised::add_squared_norms;
use crate::tensor;

/// The positions that each node covers, and of these on the border, `[N]` each.
pub(super) type Coverage = (Vec<f32>, Vec<f32>);

/// What the graph of an image consists of, besides the places of its nodes; see [`super::Graph`].
pub(super) struct Propagation {
    pub propagated: Vec<f32>,
    pub degrees: Vec<f32>,
    pub weights: Weights,
    pub negative_share: Option<f32>,
    pub affinities: Option<SymmetricMatrix>,
}

impl Propagation {
    /// Joins the propagation with the nodes it is of, their features `[N, D]`.
    pub fn into_graph(self, features: Vec<f32>, channels: usize, (area, border): Coverage) -> Graph {
        let Propagation { propagated, degrees, weights, negative_share, affinities } = self;
        Graph {
            channels,
            features,
            propagated,
            degrees,
            weights,
            negative_share,
            area,
            border,
            targets: None,
            affinities,
        }
    }
}

/// Most nodes of a graph whose W is formed at once, in 8 MiB; of a larger one it is formed in tiles, twice.
pub const MOST_FORMED_NODES: usize = 2048;

/// The complete graph of features `[N, D]`, on the processor; `keep` hands W on where it is non-negative and was formed at
/// once.
pub(super) fn over_features(
    features: Vec<f32>,
    channels: usize,
    affinity: Affinity,
    keep: bool,
    coverage: Coverage,
) -> Graph {
    let values = features.as_slice();
    let count = values.len() / channels;
    let mut squared_norms = vec![0.0; count];
    add_squared_norms(&mut squared_norms, values, channels);
    // By Cauchy–Schwarz the largest entry of F Fᵀ lies on its diagonal.
    let largest = squared_norms.iter().copied().fold(0.0f32, f32::max);
    let above = |offset: f32| {
        let range = largest - offset;
        Weights::NonNegative { offset, scale: if range > LEAST_RANGE * largest { 1.0 / range } else { 0.0 } }
    };
    let weights = match affinity {
        Affinity::NonNegative => above(0.0),
        Affinity::AboveMean => above(mean_product(values, channels)),
        Affinity::Correlation { alpha } => Weights::Correlation { offset: (f64::from(largest) / alpha) as f32 },
    };
    // W's positive part is max(x_i·x_j − offset, 0) · scale.
    let [offset, scale] = weights.parameters();
    let missing_loop: Vec<f32> =
        squared_norms.iter().map(|norm| if (norm - offset) * scale > 0.0 { 0.0 } else { 1.0 }).collect();

    let positive = Positive { values, channels, offset, scale, missing_loop };
    let counted = matches!(affinity, Affinity::Correlation { .. });
    let OverPositive { propagated, row_sums, not_positive, formed } =
        if count <= MOST_FORMED_NODES { positive.propagate_formed(counted) } else { positive.propagate_tiled(counted) };

    let degrees = match &weights {
        // The signed row sums f_i·Σf_j − N·offset; message passing used the positive part only.
        Weights::Correlation { offset } => {
            let total = sum_of_rows(values, channels);
            values
                .chunks_exact(channels)
                .map(|row| {
                    let product: f64 = row.iter().zip(&total).map(|(value, sum)| f64::from(*value) * sum).sum();
                    (product - count as f64 * f64::from(*offset)) as f32
                })
                .collect()
        }
        _ => row_sums,
    };
    let negative_share = not_positive.map(|number| (number / (count as f64 * count as f64).max(1.0)) as f32);
    let affinities = formed.filter(|_| keep && !counted);
    Propagation { propagated, degrees, weights, negative_share, affinities }.into_graph(features, channels, coverage)
}

/// The positive part of W, max(x_i·x_j − offset, 0) · scale, of features `[N, D]`.
struct Positive<'a> {
    values: &'a [f32],
    channels: usize,
    offset: f32,
    scale: f32,
    /// 1 where the diagonal is not positive, else 0, `[N]`.
    missing_loop: Vec<f32>,
}

/// Below this share of the largest inner product, what the others differ by is rounding: such nodes are all alike, and no
/// affinity tells them apart.
pub(super) const LEAST_RANGE: f32 = 1e-5;

/// The mean of X Xᵀ, ‖mean of x‖².
fn mean_product(values: &[f32], channels: usize) -> f32 {
    let count = (values.len() / channels).max(1) as f64;
    sum_of_rows(values, channels).into_iter().map(|sum| (sum / count).powi(2)).sum::<f64>() as f32
}

/// `[N, D]` → `[D]`.
pub(super) fn sum_of_rows(values: &[f32], channels: usize) -> Vec<f64> {
    let mut total = vec![0.0f64; channels];
    for row in values.chunks_exact(channels) {
        row.iter().zip(&mut total).for_each(|(value, sum)| *sum += f64::from(*value));
    }
    total
}

/// What propagation over W's positive part gives.
struct OverPositive {
    propagated: Vec<f32>,
    row_sums: Vec<f32>,
    /// How many entries of W are not positive, where they were to be counted.
    not_positive: Option<f64>,
    formed: Option<SymmetricMatrix>,
}

impl Positive<'_> {
    /// With half of the matrix formed at once.
    fn propagate_formed(&self, count_not_positive: bool) -> OverPositive {
        let channels = self.channels;
        let matrix = SymmetricMatrix::of_products(self.values, channels, self.offset, self.scale);
        let row_sums = matrix.times_few(&vec![1.0; self.missing_loop.len()], 1);
        // A tiny positive self-loop can be lost in the product's rounding, which leaves a node without any degree.
        let inverse_root = |degree: f32| if degree > 0.0 { 1.0 / degree.sqrt() } else { 0.0 };
        let inverse_roots: Vec<f32> =
            row_sums.iter().zip(&self.missing_loop).map(|(sum, extra)| inverse_root(sum + extra)).collect();
        let mut scaled = self.values.to_vec();
        for (row, inverse) in scaled.chunks_exact_mut(channels).zip(&inverse_roots) {
            row.iter_mut().for_each(|value| *value *= inverse);
        }
        let mut propagated = matrix.times_many(&scaled, channels);
        let rows = propagated.chunks_exact_mut(channels).zip(scaled.chunks_exact(channels));
        for ((row, own), (missing, inverse)) in rows.zip(self.missing_loop.iter().zip(&inverse_roots)) {
            row.iter_mut().zip(own).for_each(|(value, own)| *value = (*value + missing * own) * inverse);
        }
        let not_positive = count_not_positive.then(|| matrix.zeros() as f64);
        OverPositive { propagated, row_sums, not_positive, formed: Some(matrix) }
    }

    /// With the matrix formed in tiles, twice.
    fn propagate_tiled(&self, count_not_positive: bool) -> OverPositive {
        let (count, device) = (self.missing_loop.len(), tensor::cpu());
        let features = tensor::from_slice(self.values, [1, count, self.channels], &device);
        let missing_loop = tensor::from_slice(&self.missing_loop, [1, count, 1], &device);
        let tiles = Tiles::new(features, GRAPH_TILE_ENTRIES, |products| {
            products.sub_scalar(self.offset).clamp_min(0.0).mul_scalar(self.scale)
        });
        let found = tiles.propagate(&missing_loop, count_not_positive);
        let sum = |counts| tensor::into_vec(counts).into_iter().map(f64::from).sum();
        OverPositive {
            propagated: tensor::into_vec(found.propagated),
            row_sums: tensor::into_vec(found.row_sums),
            not_positive: found.not_positive.map(sum),
            formed: None,
        }
    }
}

/// The graph of features `[N, D]` with listed edges.
pub(super) fn over_edges(
    features: Vec<f32>,
    channels: usize,
    edges: &[Edge],
    affinity: Affinity,
    coverage: Coverage,
) -> Graph {
    let values = features.as_slice();
    let count = values.len() / channels;
    let offset = match affinity {
        Affinity::NonNegative | Affinity::AboveMean => 0.0,
        Affinity::Correlation { alpha } => {
            let largest = edges.iter().map(|edge| edge.weight).fold(0.0f32, f32::max);
            (f64::from(largest) / alpha) as f32
        }
    };
    let mut degrees = vec![0.0f32; count];
    // No edge joins a node with itself, so every self-loop is the missing one, of weight 1.
    let mut positive_degrees = vec![1.0f32; count];
    for edge in edges {
        let weight = edge.weight - offset;
        for node in [edge.first as usize, edge.second as usize] {
            degrees[node] += weight;
            positive_degrees[node] += weight.max(0.0);
        }
    }
    let row = |node: usize| node * channels..(node + 1) * channels;
    let mut propagated = vec![0.0f32; count * channels];
    for node in 0..count {
        let scale = 1.0 / positive_degrees[node];
        for (target, value) in propagated[row(node)].iter_mut().zip(&values[row(node)]) {
            *target = scale * value;
        }
    }
    for edge in edges.iter().filter(|edge| edge.weight > offset) {
        let (first, second) = (edge.first as usize, edge.second as usize);
        let scale = (edge.weight - offset) / (positive_degrees[first] * positive_degrees[second]).sqrt();
        for (target, source) in [(first, second), (second, first)] {
            for (sum, value) in propagated[row(target)].iter_mut().zip(&values[row(source)]) {
                *sum += scale * value;
            }
        }
    }
    let negative_share = matches!(affinity, Affinity::Correlation { .. }).then(|| {
        let not_positive = edges.iter().filter(|edge| edge.weight <= offset).count();
        not_positive as f32 / edges.len().max(1) as f32
    });
    let weights = Weights::Edges { edges: edges.to_vec(), offset };
    let propagation = Propagation { propagated, degrees, weights, negative_share, affinities: None };
    propagation.into_graph(features, channels, coverage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::nodes::{Adjacency, Layout, NodeFeatures};
    use crate::numerics::random;

    fn nodes(count: usize, channels: usize, adjacency: Adjacency) -> NodeFeatures {
        NodeFeatures {
            values: random::uniform(&mut random::stream(3, "test", 0), 1.0, count * channels),
            channels,
            layout: Layout::Grid { rows: 1, columns: count },
            adjacency,
        }
    }

    /// The formula of NUMERICS written out on a full matrix in double precision.
    fn reference(features: &NodeFeatures, weight: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let (count, channels) = (features.nodes(), features.channels);
        let looped = |i: usize, j: usize| {
            let value = weight(i, j).max(0.0);
            if i == j && value == 0.0 { 1.0 } else { value }
        };
        let degree: Vec<f64> = (0..count).map(|i| (0..count).map(|j| looped(i, j)).sum()).collect();
        let mut result = vec![0.0; count * channels];
        for i in 0..count {
            for j in 0..count {
                let entry = looped(i, j) / (degree[i] * degree[j]).sqrt();
                for channel in 0..channels {
                    result[i * channels + channel] += entry * f64::from(features.values[j * channels + channel]);
                }
            }
        }
        result
    }

    fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64) {
        assert_eq!(actual.len(), expected.len());
        for (a, e) in actual.iter().zip(expected) {
            assert!((f64::from(*a) - e).abs() <= tolerance, "{a} is not {e}");
        }
    }

    fn product(nodes: &NodeFeatures, i: usize, j: usize) -> f64 {
        let row = |n: usize| &nodes.values[n * nodes.channels..(n + 1) * nodes.channels];
        row(i).iter().zip(row(j)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    #[test]
    fn tiles_give_the_same_as_the_full_matrix() {
        let features = nodes(MOST_FORMED_NODES + 60, 3, Adjacency::Complete);
        let largest = (0..features.nodes()).map(|i| product(&features, i, i)).fold(0.0, f64::max);
        for (affinity, offset) in [(Affinity::NonNegative, 0.0), (Affinity::Correlation { alpha: 3.0 }, largest / 3.0)]
        {
            let scale = if offset == 0.0 { largest } else { 1.0 };
            let expected = reference(&features, |i, j| (product(&features, i, j) - offset) / scale);
            let graph = Graph::build(&features, affinity);
            assert_close(&graph.propagated, &expected, 2e-5);
        }
    }

    #[test]
    fn edges_give_the_same_as_the_full_matrix() {
        let edge = |first, second, weight| Edge { first, second, weight };
        let edges = vec![edge(0, 1, 0.9), edge(1, 2, 0.2), edge(0, 3, 0.5)];
        let features = nodes(5, 4, Adjacency::Edges(edges.clone()));
        for (affinity, offset) in [(Affinity::NonNegative, 0.0), (Affinity::Correlation { alpha: 3.0 }, 0.3)] {
            let weight = |i: usize, j: usize| {
                let listed =
                    edges.iter().find(|edge| (edge.first as usize, edge.second as usize) == (i.min(j), i.max(j)));
                listed.map_or(0.0, |edge| f64::from(edge.weight) - offset)
            };
            let graph = Graph::build(&features, affinity);
            assert_close(&graph.propagated, &reference(&features, weight), 1e-6);
            let degrees: Vec<f64> = (0..5).map(|i| (0..5).map(|j| weight(i, j)).sum()).collect();
            assert_close(&graph.degrees, &degrees, 1e-6);
        }
    }

    #[test]
    fn features_of_zeros_give_finite_graphs() {
        let mut features = nodes(6, 3, Adjacency::Complete);
        features.values.fill(0.0);
        for affinity in [Affinity::NonNegative, Affinity::Correlation { alpha: 3.0 }] {
            let graph = Graph::build(&features, affinity);
            assert!(graph.propagated.iter().chain(&graph.degrees).all(|value| *value == 0.0));
        }
    }
}
