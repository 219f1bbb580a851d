//! Objectives without golden numbers of the official code, against their formulas written out.

use deepcut::graph::{Affinity, Batch, Graph, Weights};
use deepcut::model::NetworkConfig;
use deepcut::nodes::{Adjacency, Edge, Layout, NodeFeatures};
use deepcut::numerics::random;
use deepcut::objective::Objective;
use deepcut::tensor;

const WIDTH: usize = 6;
const CLUSTERS: usize = 3;

fn assert_close(what: &str, actual: f64, expected: f64, tolerance: f64) {
    assert!((actual - expected).abs() <= tolerance, "{what}: {actual}, expected {expected}");
}

/// Graphs of 9, 5 and 1 nodes, complete or with edges between neighbours in a row.
fn graphs(affinity: Affinity, complete: bool) -> Vec<Graph> {
    let graph = |count: usize| {
        let edge =
            |first: usize| Edge { first: first as u32, second: first as u32 + 1, weight: 0.2 + first as f32 / 9.0 };
        let nodes = NodeFeatures {
            values: random::uniform(&mut random::stream(3, "features", count as u64), 1.0, count * WIDTH),
            channels: WIDTH,
            layout: Layout::Grid { rows: 1, columns: count },
            adjacency: if complete {
                Adjacency::Complete
            } else {
                Adjacency::Edges((1..count).map(|n| edge(n - 1)).collect())
            },
        };
        Graph::build(&nodes, affinity)
    };
    [9, 5, 1].map(graph).into()
}

/// W_ij as the graph defines it.
fn weight(graph: &Graph, one: usize, other: usize) -> f64 {
    let row = |node: usize| &graph.features[node * WIDTH..(node + 1) * WIDTH];
    let product: f64 = row(one).iter().zip(row(other)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    match &graph.weights {
        Weights::NonNegative { offset, scale } => (product - f64::from(*offset)).max(0.0) * f64::from(*scale),
        Weights::Correlation { offset } => product - f64::from(*offset),
        Weights::Edges { edges, offset } => {
            let ends = (one.min(other) as u32, one.max(other) as u32);
            let found = edges.iter().find(|edge| (edge.first, edge.second) == ends);
            found.map_or(0.0, |edge| f64::from(edge.weight - offset))
        }
    }
}

/// Random soft assignments of every graph, padded to the largest.
fn assignments(graphs: &[Graph], classes: usize) -> Vec<f32> {
    let nodes = graphs.iter().map(Graph::nodes).max().unwrap();
    let mut values = Vec::new();
    for (index, graph) in graphs.iter().enumerate() {
        let raw = random::uniform(&mut random::stream(4, "assignment", index as u64), 2.0, graph.nodes() * classes);
        for row in raw.chunks_exact(classes) {
            let total: f32 = row.iter().map(|value| value.exp()).sum();
            values.extend(row.iter().map(|value| value.exp() / total));
        }
        values.resize((index + 1) * nodes * classes, 0.0);
    }
    values
}

#[test]
fn normalised_association_is_its_formula_and_its_gradient_the_slope() {
    for complete in [true, false] {
        let graphs = graphs(Affinity::NonNegative, complete);
        let (most, values) = (9, assignments(&graphs, CLUSTERS));
        let losses = |values: &[f32]| -> Vec<f64> {
            let place = |index: usize, node: usize, k: usize| f64::from(values[(index * most + node) * CLUSTERS + k]);
            let of_graph = |(index, graph): (usize, &Graph)| {
                let ratio = |k: usize| {
                    let (mut within, mut volume) = (0.0, 0.0);
                    for i in 0..graph.nodes() {
                        for j in 0..graph.nodes() {
                            within += place(index, i, k) * weight(graph, i, j) * place(index, j, k);
                            volume += place(index, i, k) * weight(graph, i, j);
                        }
                    }
                    if volume > 0.0 { within / volume } else { 0.0 }
                };
                -(0..CLUSTERS).map(ratio).sum::<f64>() / CLUSTERS as f64
            };
            graphs.iter().enumerate().map(of_graph).collect()
        };

        let recording = tensor::autodiff(&tensor::cpu());
        let batch = Batch::collate(&graphs, &recording);
        let assignment = tensor::from_slice(&values, [3, most, CLUSTERS], &recording).require_grad();
        let found = Objective::Association.losses(&batch, assignment.clone());
        for (found, expected) in tensor::into_vec(found.clone().inner()).into_iter().zip(losses(&values)) {
            assert_close("loss", f64::from(found), expected, 1e-5);
        }
        let tape = found.sum().backward();
        let gradient = tensor::into_vec(assignment.grad(&tape).unwrap());
        for index in 0..values.len() {
            if index / CLUSTERS % most >= graphs[index / CLUSTERS / most].nodes() {
                continue;
            }
            let moved = |step: f32| {
                let mut moved = values.clone();
                moved[index] += step;
                losses(&moved).iter().sum::<f64>()
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert_close("gradient", f64::from(gradient[index]), slope, 2e-4);
        }
    }
}

#[test]
fn every_kind_of_weights_has_the_affinities_of_its_clusters() {
    for (affinity, complete) in [
        (Affinity::NonNegative, true),
        (Affinity::NonNegative, false),
        (Affinity::Correlation { alpha: 2.0 }, true),
        (Affinity::Correlation { alpha: 2.0 }, false),
    ] {
        let graphs = graphs(affinity, complete);
        let values = assignments(&graphs, CLUSTERS);
        for batch in
            [Batch::collate(&graphs, &tensor::cpu()), Batch::collate(&graphs, &tensor::cpu()).with_formed_weights()]
        {
            let assignment = tensor::from_slice(&values, [3, 9, CLUSTERS], &tensor::cpu());
            let found = tensor::into_vec(batch.associations(assignment));
            for (index, graph) in graphs.iter().enumerate() {
                for k in 0..CLUSTERS {
                    let place = |node: usize| f64::from(values[(index * 9 + node) * CLUSTERS + k]);
                    let pairs = (0..graph.nodes()).flat_map(|i| (0..graph.nodes()).map(move |j| (i, j)));
                    let expected = pairs.map(|(i, j)| place(i) * weight(graph, i, j) * place(j)).sum();
                    assert_close("S_k W S_k", f64::from(found[index * CLUSTERS + k]), expected, 1e-5);
                }
            }
        }
    }
}

#[test]
fn cross_entropy_is_the_mean_over_real_nodes() {
    let mut graphs = graphs(Affinity::NonNegative, true);
    let values = assignments(&graphs, 2);
    let device = tensor::cpu();
    assert!(Batch::collate(&graphs, &device).targets.is_none());
    let mut expected = Vec::new();
    for (index, graph) in graphs.iter_mut().enumerate() {
        let targets: Vec<f32> =
            (0..graph.nodes()).flat_map(|node| [node as f32 / 8.0, 1.0 - node as f32 / 8.0]).collect();
        let entropies = targets.iter().zip(&values[index * 18..]).map(|(target, share)| -target * share.ln());
        expected.push(entropies.sum::<f32>() / graph.nodes() as f32);
        graph.targets = Some(targets);
    }
    let batch = Batch::collate(&graphs, &device);
    let losses = Objective::CrossEntropy.losses(&batch, tensor::from_slice(&values, [3, 9, 2], &device));
    for (found, expected) in tensor::into_vec(losses).into_iter().zip(expected) {
        assert_close("cross-entropy", f64::from(found), f64::from(expected), 1e-6);
    }
    // One graph without a teacher: the batch has none.
    graphs[1].targets = None;
    assert!(Batch::collate(&graphs, &device).targets.is_none());
}

#[test]
fn a_root_weight_adds_what_a_node_is_by_itself() {
    let device = tensor::cpu();
    let with_root =
        NetworkConfig { input: WIDTH, hidden: [4, 3], clusters: 2, dropout: 0.0, root_weight: true, scale: 1.0 };
    let network = with_root.init(7, 0, &device);
    let parameters = network.values();
    let mut graph = graphs(Affinity::NonNegative, true).remove(0);
    let logits = |network: &deepcut::model::Network, graph: &Graph| {
        tensor::into_vec(network.assign(&Batch::collate(std::slice::from_ref(graph), &device), None))
    };
    let found = logits(&network, &graph);
    // With equal weights for X and P the network is one without root on X + P.
    let mut equal = parameters.clone();
    equal[6] = equal[0].clone();
    let plain = NetworkConfig { root_weight: false, ..with_root.clone() };
    let expected = {
        let mut sum = graph.clone();
        sum.propagated.iter_mut().zip(&sum.features).for_each(|(propagated, value)| *propagated += value);
        logits(&deepcut::model::Network::from_values(&plain, &parameters[..6], &device), &sum)
    };
    let equal = logits(&deepcut::model::Network::from_values(&with_root, &equal, &device), &graph);
    for (found, expected) in equal.iter().zip(expected) {
        assert_close("S", f64::from(*found), f64::from(expected), 1e-6);
    }
    // Its own weight counts.
    graph.features.iter_mut().for_each(|value| *value = -*value);
    assert_ne!(logits(&network, &graph), found);
}
