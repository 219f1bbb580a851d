//! W, its row sums, and P = Â X.

use super::{Affinity, Graph, Weights};
use crate::features::Edge;
use crate::tensor::{self, Tensor};

/// What the graph of an image consists of, besides the places of its nodes; see [`super::Graph`].
pub(super) struct Propagation {
    pub propagated: Vec<f32>,
    pub degrees: Vec<f32>,
    pub weights: Weights,
    pub negative_share: Option<f32>,
    pub affinities: Option<Vec<f32>>,
}

impl Propagation {
    /// Joins the propagation with the nodes it is of: features `[N, D]`, and the positions each node covers, and of these
    /// on the border, `[N]` each.
    pub fn into_graph(self, features: Vec<f32>, width: usize, (area, border): (Vec<f32>, Vec<f32>)) -> Graph {
        let Propagation { propagated, degrees, weights, negative_share, affinities } = self;
        Graph { width, features, propagated, degrees, weights, negative_share, area, border, targets: None, affinities }
    }
}

/// Entries of W that are held at once; graphs of up to 2048 nodes form W exactly once.
const TILE_ENTRIES: usize = 1 << 22;

/// Propagation over the complete graph on the processor, W in tiles of rows so that memory is O(N·tile) at any N; `keep`
/// hands W on where it is non-negative and was formed in one tile.
///
/// # Shapes
/// features `[N, D]` → propagated `[N, D]`, degrees `[N]`
pub(super) fn over_features(values: &[f32], width: usize, affinity: Affinity, keep: bool) -> Propagation {
    let device = &tensor::cpu();
    let count = values.len() / width;
    let squared_norms: Vec<f32> =
        values.chunks_exact(width).map(|row| row.iter().map(|value| value * value).sum()).collect();
    // By Cauchy–Schwarz the largest entry of F Fᵀ lies on its diagonal.
    let largest = squared_norms.iter().copied().fold(0.0f32, f32::max);
    let weights = match affinity {
        Affinity::NonNegative => {
            let scale = if largest > 0.0 { 1.0 / largest } else { 0.0 };
            Weights::NonNegative { scale }
        }
        Affinity::Correlation { alpha } => Weights::Correlation { offset: (f64::from(largest) / alpha) as f32 },
    };
    let positive = |products: Tensor<2>| match &weights {
        Weights::NonNegative { scale } => products.clamp_min(0.0).mul_scalar(*scale),
        Weights::Correlation { offset } => products.sub_scalar(*offset).clamp_min(0.0),
        Weights::Edges { .. } => products,
    };
    let missing_loop: Vec<f32> = squared_norms
        .iter()
        .map(|&norm| {
            let diagonal = match &weights {
                Weights::NonNegative { scale } => norm * scale,
                Weights::Correlation { offset } => norm - offset,
                Weights::Edges { .. } => 0.0,
            };
            if diagonal > 0.0 { 0.0 } else { 1.0 }
        })
        .collect();

    let features = tensor::from_slice(values, [count, width], device);
    let transposed = features.clone().transpose();
    let tile_rows = (TILE_ENTRIES / count.max(1)).max(1);
    let tile = |start: usize| {
        let end = (start + tile_rows).min(count);
        positive(features.clone().slice([start..end, 0..width]).matmul(transposed.clone()))
    };
    let starts: Vec<usize> = (0..count).step_by(tile_rows).collect();
    let mut row_sums: Vec<f32> = Vec::with_capacity(count);
    let mut not_positive = 0.0f64;
    let mut kept_tile = None;
    for &start in &starts {
        let rows = tile(start);
        row_sums.extend(tensor::into_vec(rows.clone().sum_dim(1)));
        if matches!(affinity, Affinity::Correlation { .. }) {
            let per_row = tensor::into_vec(rows.clone().equal_elem(0.0).float().sum_dim(1));
            not_positive += per_row.iter().map(|&count| f64::from(count)).sum::<f64>();
        }
        kept_tile = (starts.len() == 1).then_some(rows);
    }
    // A tiny positive self-loop can be lost in the product's rounding, which leaves a node without any degree.
    let inverse_root = |degree: f32| if degree > 0.0 { 1.0 / degree.sqrt() } else { 0.0 };
    let inverse_roots: Vec<f32> =
        row_sums.iter().zip(&missing_loop).map(|(sum, extra)| inverse_root(sum + extra)).collect();
    let inverse_roots = tensor::from_slice(&inverse_roots, [count, 1], device);
    let missing_loop = tensor::from_slice(&missing_loop, [count, 1], device);

    let keep = keep && affinity == Affinity::NonNegative;
    let scaled = features.clone() * inverse_roots.clone();
    let mut propagated = Vec::with_capacity(count * width);
    for &start in &starts {
        let rows = kept_tile.clone().unwrap_or_else(|| tile(start));
        let end = start + rows.dims()[0];
        let loops = missing_loop.clone().slice([start..end, 0..1]) * scaled.clone().slice([start..end, 0..width]);
        let result = (rows.matmul(scaled.clone()) + loops) * inverse_roots.clone().slice([start..end, 0..1]);
        propagated.extend(tensor::into_vec(result));
    }

    let affinities = kept_tile.filter(|_| keep).map(tensor::into_vec);

    let degrees = match &weights {
        // The signed row sums f_i·Σf_j − N·offset; message passing used the positive part only.
        Weights::Correlation { offset } => {
            let mut total = vec![0.0f64; width];
            for row in values.chunks_exact(width) {
                row.iter().zip(&mut total).for_each(|(value, sum)| *sum += f64::from(*value));
            }
            values
                .chunks_exact(width)
                .map(|row| {
                    let product: f64 = row.iter().zip(&total).map(|(value, sum)| f64::from(*value) * sum).sum();
                    (product - count as f64 * f64::from(*offset)) as f32
                })
                .collect()
        }
        _ => row_sums,
    };
    let negative_share = matches!(affinity, Affinity::Correlation { .. })
        .then(|| (not_positive / (count as f64 * count as f64).max(1.0)) as f32);
    Propagation { propagated, degrees, weights, negative_share, affinities }
}

/// Propagation over listed edges.
///
/// # Shapes
/// features `[N, D]` → propagated `[N, D]`, degrees `[N]`
pub(super) fn over_edges(values: &[f32], width: usize, edges: &[Edge], affinity: Affinity) -> Propagation {
    let count = values.len() / width;
    let offset = match affinity {
        Affinity::NonNegative => 0.0,
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
    let row = |node: usize| node * width..(node + 1) * width;
    let mut propagated = vec![0.0f32; count * width];
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
    Propagation { propagated, degrees, weights, negative_share, affinities: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{Adjacency, Layout, NodeFeatures};
    use crate::graph::Graph;
    use crate::numerics::random;

    fn nodes(count: usize, width: usize, adjacency: Adjacency) -> NodeFeatures {
        NodeFeatures {
            values: random::uniform(&mut random::stream(3, "test", 0), 1.0, count * width),
            width,
            layout: Layout::Grid { rows: 1, columns: count },
            adjacency,
        }
    }

    /// The formula of NUMERICS written out on a full matrix in double precision.
    fn reference(features: &NodeFeatures, weight: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let (count, width) = (features.nodes(), features.width);
        let looped = |i: usize, j: usize| {
            let value = weight(i, j).max(0.0);
            if i == j && value == 0.0 { 1.0 } else { value }
        };
        let degree: Vec<f64> = (0..count).map(|i| (0..count).map(|j| looped(i, j)).sum()).collect();
        let mut result = vec![0.0; count * width];
        for i in 0..count {
            for j in 0..count {
                let entry = looped(i, j) / (degree[i] * degree[j]).sqrt();
                for channel in 0..width {
                    result[i * width + channel] += entry * f64::from(features.values[j * width + channel]);
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
        let row = |n: usize| &nodes.values[n * nodes.width..(n + 1) * nodes.width];
        row(i).iter().zip(row(j)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    #[test]
    fn tiles_give_the_same_as_the_full_matrix() {
        // More nodes than one tile, so that the second pass recomputes its tiles.
        let features = nodes(TILE_ENTRIES.isqrt() + 60, 3, Adjacency::Complete);
        let largest = (0..features.nodes()).map(|i| product(&features, i, i)).fold(0.0, f64::max);
        for (affinity, offset) in [(Affinity::NonNegative, 0.0), (Affinity::Correlation { alpha: 3.0 }, largest / 3.0)]
        {
            let scale = if offset == 0.0 { largest } else { 1.0 };
            let expected = reference(&features, |i, j| (product(&features, i, j) - offset) / scale);
            let graph = Graph::build(&features, affinity, &tensor::cpu());
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
            let graph = Graph::build(&features, affinity, &tensor::cpu());
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
            let graph = Graph::build(&features, affinity, &tensor::cpu());
            assert!(graph.propagated.iter().chain(&graph.degrees).all(|value| *value == 0.0));
        }
    }
}
