//! The graph, the network, the objectives and the optimiser against the official code's numbers.
//!
//! `tests/golden/gnn_*.safetensors` hold one small graph each, and what the official DeepCut code (commit f09c691)
//! with PyTorch made of it, dropout off. Tolerances: forward 1e-5, gradients 1e-4 relative, parameters after ten steps
//! 1e-4.

use deepcut::event::Silent;
use deepcut::graph::{Affinity, Batch, Graph};
use deepcut::model::{Network, NetworkConfig};
use deepcut::nodes::{Adjacency, Layout, NodeFeatures};
use deepcut::numerics::random;
use deepcut::objective::{Objective, correlation, normalised_cut};
use deepcut::tensor::{self, Tensor};
use deepcut::train::{Choice, Optimiser, Setup, TrainConfig, TrainOutcome, train};

use crate::golden::Golden;

struct Case {
    golden: Golden,
    affinity: Affinity,
    clusters: usize,
}

fn cases() -> Vec<Case> {
    let case = |name, affinity, clusters| Case { golden: Golden::open(name), affinity, clusters };
    vec![
        case("gnn_ncut_k2", Affinity::NonNegative, 2),
        case("gnn_ncut_k5", Affinity::NonNegative, 5),
        case("gnn_cc_k10", Affinity::Correlation { alpha: 3.0 }, 10),
    ]
}

impl Case {
    fn nodes(&self) -> NodeFeatures {
        NodeFeatures {
            values: self.golden.floats("features"),
            channels: 24,
            layout: Layout::Grid { rows: 6, columns: 10 },
            adjacency: Adjacency::Complete,
        }
    }

    fn graph(&self) -> Graph {
        Graph::build(&self.nodes(), self.affinity)
    }

    fn config(&self) -> NetworkConfig {
        NetworkConfig {
            input: 24,
            hidden: [16, 8],
            clusters: self.clusters,
            dropout: 0.0,
            root_weight: false,
            scale: 1.0,
        }
    }

    /// Parameter values under a prefix such as `param0`; the golden weights are `[out, in]`, ours `[in, out]`.
    fn parameters(&self, prefix: &str) -> Vec<Vec<f32>> {
        let parameter = |(name, [rows, columns]): (&str, [usize; 2])| {
            let values = self.golden.floats(&format!("{prefix}.{name}"));
            if rows == 1 { values } else { transposed(&values, columns, rows) }
        };
        self.config().parameter_shapes().into_iter().map(parameter).collect()
    }

    fn loss(&self, batch: &Batch, assignment: Tensor<3>) -> Tensor<3> {
        let objective = match self.affinity {
            Affinity::NonNegative | Affinity::AboveMean => Objective::Ncut { balance: 1.0 },
            Affinity::Correlation { .. } => Objective::Cc,
        };
        objective.losses(batch, assignment)
    }
}

fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

fn assert_close(what: &str, actual: &[f32], expected: &[f32], absolute: f32, relative: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= absolute + relative * e.abs(), "{what}[{index}]: {a} is not {e}");
    }
}

#[test]
fn propagation_matches_the_official_matrix() {
    for case in cases() {
        let propagation = case.golden.floats("propagation");
        let features = case.golden.floats("features");
        let expected: Vec<f32> = (0..60 * 24)
            .map(|index| {
                let (row, channel) = (index / 24, index % 24);
                (0..60).map(|node| propagation[row * 60 + node] * features[node * 24 + channel]).sum()
            })
            .collect();
        assert_close("propagated", &case.graph().propagated, &expected, 1e-5, 1e-5);
        let affinity = case.golden.floats("affinity");
        let degrees: Vec<f32> = affinity.chunks_exact(60).map(|row| row.iter().sum()).collect();
        assert_close("degrees", &case.graph().degrees, &degrees, 1e-4, 1e-5);
    }
}

#[test]
fn forward_matches() {
    for case in cases() {
        let graphs = [case.graph()];
        let batch = Batch::collate(&graphs, &tensor::cpu());
        let network = Network::from_values(&case.config(), &case.parameters("param0"), &tensor::cpu());
        let logits = tensor::into_vec(network.logits(batch.propagated.clone(), None, None));
        assert_close("logits", &logits, &case.golden.floats("logits"), 1e-5, 1e-5);
        let assignment = network.assign(&batch, None);
        assert_close("S", &tensor::into_vec(assignment.clone()), &case.golden.floats("assignment0"), 1e-5, 0.0);
        let loss = tensor::into_vec(case.loss(&batch, assignment.clone()));
        let expected = case.golden.floats("losses")[0];
        assert_close("loss", &loss, &[expected], 1e-5, 1e-5);
        if case.affinity == Affinity::NonNegative {
            let terms = normalised_cut(&batch, assignment);
            assert_close("cut", &tensor::into_vec(terms.cut), &case.golden.floats("cut_term0"), 1e-5, 0.0);
            assert_close("balance", &tensor::into_vec(terms.balance), &case.golden.floats("ortho_term0"), 1e-5, 0.0);
        }
    }
}

/// Loss and gradients of every parameter at the given values.
fn gradients(case: &Case, graphs: &[Graph], values: &[Vec<f32>]) -> (f32, Vec<Vec<f32>>) {
    let recording = tensor::autodiff(&tensor::cpu());
    let batch = Batch::collate(graphs, &recording);
    let mut network = Network::from_values(&case.config(), values, &recording);
    for parameter in network.parameters_mut() {
        parameter.value = parameter.value.clone().require_grad();
    }
    let loss = case.loss(&batch, network.assign(&batch, None)).sum_dim(0);
    let tape = loss.backward();
    let gradient = |parameter: &deepcut::model::Parameter| tensor::into_vec(parameter.value.grad(&tape).unwrap());
    let gradients = network.parameters().iter().map(gradient).collect();
    (tensor::into_vec(loss.inner())[0], gradients)
}

#[test]
fn gradients_match() {
    for case in cases() {
        let (_, gradients) = gradients(&case, &[case.graph()], &case.parameters("param0"));
        for ((actual, expected), (name, _)) in
            gradients.iter().zip(case.parameters("grad0")).zip(case.config().parameter_shapes())
        {
            let scale = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            assert_close(name, actual, &expected, 1e-4 * scale + 1e-7, 0.0);
        }
    }
}

#[test]
fn gradients_match_finite_differences() {
    for case in cases() {
        let values = case.parameters("param0");
        let graphs = [case.graph()];
        let (_, gradients) = gradients(&case, &graphs, &values);
        let batch = Batch::collate(&graphs, &tensor::cpu());
        let loss_at = |values: &[Vec<f32>]| {
            let network = Network::from_values(&case.config(), values, &tensor::cpu());
            f64::from(tensor::into_vec(case.loss(&batch, network.assign(&batch, None)))[0])
        };
        // Along the gradient itself the difference is largest, hence least lost in single precision.
        for (index, gradient) in gradients.iter().enumerate() {
            let norm = gradient.iter().map(|value| value * value).sum::<f32>().sqrt();
            let step = 0.02f32;
            let moved = |sign: f32| {
                let mut moved = values.clone();
                for (value, slope) in moved[index].iter_mut().zip(gradient) {
                    *value += sign * step * slope / norm;
                }
                loss_at(&moved)
            };
            let slope = (moved(1.0) - moved(-1.0)) / (2.0 * f64::from(step));
            let error = (slope - f64::from(norm)).abs() / f64::from(norm);
            assert!(error < 0.02, "parameter {index}: slope {slope}, gradient {norm}");
        }
    }
}

#[test]
fn ten_steps_match() {
    for case in cases() {
        let graph = [case.graph()];
        let mut network = Network::from_values(&case.config(), &case.parameters("param0"), &tensor::cpu());
        let mut optimiser = Optimiser::new(0.01, 6);
        for (step, expected_loss) in case.golden.floats("losses").into_iter().enumerate() {
            let (loss, gradients) = gradients(&case, &graph, &network.values());
            assert_close("loss", &[loss], &[expected_loss], 2e-5, 2e-5);
            let gradients = gradients
                .iter()
                .zip(case.config().parameter_shapes())
                .map(|(values, (_, shape))| tensor::from_slice(values, shape, &tensor::cpu()))
                .collect();
            optimiser.step(1e-3, &mut network, gradients);
            for (prefix, at) in [("param1", 0), ("param10", 9)] {
                if step == at {
                    for (actual, expected) in network.values().iter().zip(case.parameters(prefix)) {
                        assert_close(prefix, actual, &expected, 1e-4, 0.0);
                    }
                }
            }
        }
        let batch = Batch::collate(&graph, &tensor::cpu());
        let assignment = tensor::into_vec(network.assign(&batch, None));
        assert_close("S after ten steps", &assignment, &case.golden.floats("assignment_end"), 1e-4, 0.0);
    }
}

#[test]
fn closed_form_correlation_equals_the_dense_formula() {
    let case = &cases()[2];
    let graphs = [case.graph()];
    let batch = Batch::collate(&graphs, &tensor::cpu());
    let affinity = case.golden.floats("affinity");
    let mut generator = random::stream(5, "assignment", 0);
    let raw = random::uniform(&mut generator, 1.0, 60 * 10);
    let assignment: Vec<f32> = raw.chunks_exact(10).flat_map(softmax).collect();
    let mut expected = 0.0f64;
    for i in 0..60 {
        for j in 0..60 {
            let overlap: f32 = (0..10).map(|k| assignment[i * 10 + k] * assignment[j * 10 + k]).sum();
            expected -= f64::from(affinity[i * 60 + j]) * f64::from(overlap);
        }
    }
    let loss = correlation(&batch, tensor::from_slice(&assignment, [1, 60, 10], &tensor::cpu()));
    assert_close("CC", &tensor::into_vec(loss), &[expected as f32], 0.0, 1e-5);
}

fn softmax(row: &[f32]) -> Vec<f32> {
    let total: f32 = row.iter().map(|value| value.exp()).sum();
    row.iter().map(|value| value.exp() / total).collect()
}

/// Graphs of 60, 37 and 11 nodes with the given affinity.
fn unequal_graphs(case: &Case) -> Vec<Graph> {
    [60, 37, 11]
        .into_iter()
        .map(|count| {
            let mut nodes = case.nodes();
            nodes.values.truncate(count * 24);
            nodes.layout = Layout::Grid { rows: 1, columns: count };
            Graph::build(&nodes, case.affinity)
        })
        .collect()
}

#[test]
fn padding_changes_neither_losses_nor_gradients() {
    for case in cases() {
        let graphs = unequal_graphs(&case);
        let values = case.parameters("param0");
        let (together, gradients_together) = gradients(&case, &graphs, &values);
        let mut alone = 0.0;
        let mut gradients_alone = vec![Vec::new(); 6];
        for graph in &graphs {
            let (loss, gradients) = gradients(&case, std::slice::from_ref(graph), &values);
            alone += loss;
            for (sum, gradient) in gradients_alone.iter_mut().zip(gradients) {
                sum.resize(gradient.len(), 0.0f32);
                sum.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value);
            }
        }
        assert_close("loss", &[together], &[alone], 1e-5, 1e-5);
        for (together, alone) in gradients_together.iter().zip(&gradients_alone) {
            let scale = alone.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            assert_close("gradient", together, alone, 1e-5 * scale, 1e-4);
        }
    }
}

#[test]
fn the_order_of_nodes_does_not_matter() {
    for case in cases() {
        let graph = case.graph();
        let order = random::permutation(&mut random::stream(9, "permutation", 0), 60);
        let network = Network::from_values(&case.config(), &case.parameters("param0"), &tensor::cpu());
        let run = |graph: Graph| {
            let graphs = [graph];
            let batch = Batch::collate(&graphs, &tensor::cpu());
            let assignment = network.assign(&batch, None);
            (tensor::into_vec(assignment.clone()), tensor::into_vec(case.loss(&batch, assignment))[0])
        };
        let mut nodes = case.nodes();
        nodes.values = order.iter().flat_map(|&node| nodes.values[node * 24..(node + 1) * 24].to_vec()).collect();
        let (assignment, loss) = run(graph);
        let (permuted_assignment, permuted_loss) = run(Graph::build(&nodes, case.affinity));
        let expected: Vec<f32> = order
            .iter()
            .flat_map(|&node| assignment[node * case.clusters..(node + 1) * case.clusters].to_vec())
            .collect();
        assert_close("S", &permuted_assignment, &expected, 1e-5, 0.0);
        assert_close("loss", &[permuted_loss], &[loss], 1e-5, 1e-5);
    }
}

/// A few graphs with two groups of nodes each, the same two groups in all.
fn two_group_graphs(affinity: Affinity) -> Vec<Graph> {
    (0..12u64)
        .map(|index| {
            let count = 20 + index as usize;
            let noise = random::uniform(&mut random::stream(1, "noise", index), 0.3, count * 4);
            let values = (0..count * 4).map(|position| {
                let (node, channel) = (position / 4, position % 4);
                noise[position] + if (node % 3 == 0) == (channel < 2) { 1.0 } else { 0.0 }
            });
            let nodes = NodeFeatures {
                values: values.collect(),
                channels: 4,
                layout: Layout::Grid { rows: 1, columns: count },
                adjacency: Adjacency::Complete,
            };
            Graph::build(&nodes, affinity)
        })
        .collect()
}

fn trained(graphs: &[Graph], objective: Objective, clusters: usize, threads: usize, stop_after: usize) -> Network {
    let config = TrainConfig { epochs: 30, batch_size: 5, learning_rate: 1e-2, ..TrainConfig::default() };
    let network = NetworkConfig { input: 4, hidden: [16, 8], clusters, dropout: 0.25, root_weight: false, scale: 1.0 };
    let setup = Setup {
        source: &graphs.to_vec(),
        network: network.clone(),
        objective,
        config: &config,
        start: 0,
        epochs: config.epochs,
        choice: Choice::LowestLoss,
        fingerprint: "test".into(),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut saved = None;
    let run = |resume, saved: &mut Option<Vec<u8>>, fail: bool| {
        let mut save = |state: &deepcut::train::ResumeState| {
            *saved = Some(state.to_bytes(&network).unwrap());
            if fail && state.curve.len() == stop_after { Err("killed".into()) } else { Ok(()) }
        };
        pool.install(|| train(&setup, resume, &mut save, &Silent))
    };
    let mut outcome = run(None, &mut saved, stop_after > 0);
    if stop_after > 0 {
        assert!(outcome.is_err());
        let state = deepcut::train::ResumeState::from_bytes(&saved.take().unwrap(), &network).unwrap();
        outcome = run(Some(state), &mut saved, false);
    }
    let Ok(TrainOutcome::Finished(trained)) = outcome else { panic!("training did not finish") };
    assert!(!trained.collapsed);
    trained.network
}

#[test]
fn training_separates_groups_and_gives_the_same_bytes_however_it_runs() {
    for (objective, affinity, clusters) in [
        (Objective::Association, Affinity::NonNegative, 2),
        (Objective::Ncut { balance: 1.0 }, Affinity::NonNegative, 2),
        (Objective::Cc, Affinity::Correlation { alpha: 3.0 }, 4),
    ] {
        let graphs = two_group_graphs(affinity);
        let network = trained(&graphs, objective, clusters, 1, 0);
        let batch = Batch::collate(&graphs, &tensor::cpu());
        let rows = tensor::into_vec(network.assign(&batch, None));
        let nodes = rows.len() / clusters / graphs.len();
        let (mut agreeing, mut total) = (0, 0);
        for (graph, rows) in graphs.iter().zip(rows.chunks_exact(nodes * clusters)) {
            let labels: Vec<usize> = rows.chunks_exact(clusters).map(deepcut::numerics::argmax).collect();
            total += graph.nodes();
            agreeing += (0..graph.nodes()).filter(|node| (labels[*node] == labels[0]) == (node % 3 == 0)).count();
        }
        assert!(agreeing * 100 >= total * 97, "{agreeing} of {total} nodes are in their group with {objective:?}");
        for (threads, stop_after) in [(2, 0), (1, 1), (2, 17)] {
            let other = trained(&graphs, objective, clusters, threads, stop_after);
            assert_eq!(network.values(), other.values(), "{threads} threads, stopped after {stop_after}");
        }
    }
}
