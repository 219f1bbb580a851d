//! What holds for every input: bounds of the losses, closed forms, and the equality of batches and single graphs.

use deepcut::graph::{Affinity, Batch, Graph};
use deepcut::nodes::{Adjacency, Edge, Layout, NodeFeatures};
use deepcut::objective::{Objective, correlation, normalised_cut};
use deepcut::tensor;
use proptest::prelude::*;

/// Features of 2 to 12 nodes, and soft assignments to K clusters, K from 2 to 5.
fn any_case() -> impl Strategy<Value = (NodeFeatures, Vec<f32>, usize)> {
    (2usize..=12, 1usize..=5, 2usize..=5, any::<bool>()).prop_flat_map(|(nodes, channels, clusters, complete)| {
        let values = prop::collection::vec(-2.0f32..2.0, nodes * channels);
        let logits = prop::collection::vec(-6.0f32..6.0, nodes * clusters);
        let weights = prop::collection::vec(0.0f32..1.0, nodes * nodes);
        (values, logits, weights).prop_map(move |(values, logits, weights)| {
            let adjacency = if complete { Adjacency::Complete } else { Adjacency::Edges(edges(nodes, &weights)) };
            let layout = Layout::Grid { rows: 1, columns: nodes };
            let assignment = logits.chunks_exact(clusters).flat_map(softmax).collect();
            (NodeFeatures { values, channels, layout, adjacency }, assignment, clusters)
        })
    })
}

/// About half of all pairs.
fn edges(nodes: usize, weights: &[f32]) -> Vec<Edge> {
    let pairs = (0..nodes).flat_map(|first| (first + 1..nodes).map(move |second| (first, second)));
    pairs
        .filter(|(first, second)| weights[second * nodes + first] < 0.5)
        .map(|(first, second)| Edge {
            first: first as u32,
            second: second as u32,
            weight: weights[first * nodes + second],
        })
        .collect()
}

fn softmax(row: &[f32]) -> Vec<f32> {
    let total: f32 = row.iter().map(|value| value.exp()).sum();
    row.iter().map(|value| value.exp() / total).collect()
}

/// W written out, `[N, N]`.
fn dense(nodes: &NodeFeatures, affinity: Affinity) -> Vec<f64> {
    let count = nodes.nodes();
    let row = |node: usize| &nodes.values[node * nodes.channels..(node + 1) * nodes.channels];
    let product =
        |i: usize, j: usize| -> f64 { row(i).iter().zip(row(j)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let mut matrix = vec![0.0; count * count];
    let largest;
    match &nodes.adjacency {
        Adjacency::Complete => {
            largest = (0..count).map(|i| product(i, i)).fold(0.0, f64::max);
            (0..count * count).for_each(|index| matrix[index] = product(index / count, index % count));
        }
        Adjacency::Edges(edges) => {
            largest = edges.iter().map(|edge| f64::from(edge.weight)).fold(0.0, f64::max);
            for edge in edges {
                let offset = if let Affinity::Correlation { alpha } = affinity { largest / alpha } else { 0.0 };
                let (i, j) = (edge.first as usize, edge.second as usize);
                matrix[i * count + j] = f64::from(edge.weight) - offset;
                matrix[j * count + i] = matrix[i * count + j];
            }
            return matrix;
        }
    }
    let mean = matrix.iter().sum::<f64>() / matrix.len() as f64;
    for value in &mut matrix {
        *value = match affinity {
            Affinity::AboveMean if largest - mean > 1e-5 * largest => (*value - mean).max(0.0) / (largest - mean),
            Affinity::AboveMean => 0.0,
            Affinity::NonNegative if largest > 0.0 => value.max(0.0) / largest,
            Affinity::NonNegative => 0.0,
            Affinity::Correlation { alpha } => *value - largest / alpha,
        };
    }
    matrix
}

/// Tr(SᵀMS) of a dense M.
fn trace(matrix: &[f64], assignment: &[f32], clusters: usize) -> f64 {
    let count = assignment.len() / clusters;
    let overlap = |i: usize, j: usize| -> f64 {
        (0..clusters).map(|k| f64::from(assignment[i * clusters + k]) * f64::from(assignment[j * clusters + k])).sum()
    };
    (0..count * count).map(|index| matrix[index] * overlap(index / count, index % count)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn normalised_cut_stays_in_its_bounds_and_equals_the_dense_formula(
        (nodes, assignment, clusters) in any_case(), above_mean in proptest::bool::ANY
    ) {
        let device = tensor::cpu();
        let affinity = if above_mean { Affinity::AboveMean } else { Affinity::NonNegative };
        let graphs = [Graph::build(&nodes, affinity)];
        let batch = Batch::collate(&graphs, &device);
        let tensor = tensor::from_slice(&assignment, [1, nodes.nodes(), clusters], &device);
        let terms = normalised_cut(&batch, tensor);
        let (cut, balance) = (tensor::into_vec(terms.cut)[0], tensor::into_vec(terms.balance)[0]);
        prop_assert!((-1.0 - 1e-5..=1e-5).contains(&cut), "cut {cut}");
        prop_assert!((0.0..=2.0).contains(&balance), "balance {balance}");

        let matrix = dense(&nodes, affinity);
        let count = nodes.nodes();
        let mut degrees = vec![0.0; count * count];
        (0..count).for_each(|i| degrees[i * count + i] = matrix[i * count..(i + 1) * count].iter().sum());
        let volume = trace(&degrees, &assignment, clusters);
        if volume > 1e-3 {
            let expected = -trace(&matrix, &assignment, clusters) / volume;
            prop_assert!((f64::from(cut) - expected).abs() < 1e-4, "cut {cut}, dense {expected}");
        }
    }

    #[test]
    fn correlation_equals_the_dense_formula((nodes, assignment, clusters) in any_case(), alpha in 1.0f64..8.0) {
        let device = tensor::cpu();
        let affinity = Affinity::Correlation { alpha };
        let graphs = [Graph::build(&nodes, affinity)];
        let batch = Batch::collate(&graphs, &device);
        let tensor = tensor::from_slice(&assignment, [1, nodes.nodes(), clusters], &device);
        let found = f64::from(tensor::into_vec(correlation(&batch, tensor.clone()))[0]);
        let expected = -trace(&dense(&nodes, affinity), &assignment, clusters);
        prop_assert!((found - expected).abs() <= 1e-3 + 1e-4 * expected.abs(), "{found}, dense {expected}");
        let scaled = tensor::into_vec(Objective::Cc.scaled_losses(&batch, tensor))[0];
        prop_assert!((-1.0 - 1e-5..=1.0 + 1e-5).contains(&scaled), "the scaled loss is {scaled}");
    }
}
