//! The network that a trainer improves: on the processor graph by graph, written out; elsewhere by tensors of whole batches.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::optimiser::Moments;
use super::{Choice, HostOptimiser, Optimiser, ResumeState, Setup};
use crate::graph::{Batch, Graph};
use crate::model::{Activations, HostNetwork, Network};
use crate::numerics::argmax;
use crate::tensor;

/// Steps after which a running average keeps half of what it was.
const WARMING: usize = 9;

/// A network and how it learns.
pub(super) enum Learner {
    Host {
        /// As [`Network::values`] gives them.
        parameters: Vec<Vec<f32>>,
        /// Their running average, once one was asked for.
        average: Option<Vec<Vec<f32>>>,
        optimiser: HostOptimiser,
    },
    Tensors {
        network: Network,
        average: Option<Network>,
        optimiser: Optimiser,
    },
}

impl Learner {
    /// The network that `setup` begins with, or that of a saved state, where the device does best.
    pub fn new(setup: &Setup, resumed: Option<&ResumeState>) -> Learner {
        if tensor::is_cpu(setup.device) {
            Learner::on_host(setup, resumed)
        } else {
            Learner::by_tensors(setup, resumed)
        }
    }

    fn on_host(setup: &Setup, resumed: Option<&ResumeState>) -> Learner {
        let decay = setup.config.weight_decay;
        let fresh = || setup.network.init(setup.config.seed, setup.start, setup.device).values();
        let parameters = resumed.map_or_else(fresh, |state| state.parameters.clone());
        let optimiser = match resumed {
            Some(state) if !state.moments.is_empty() => HostOptimiser::restored(decay, state.steps, &state.moments),
            _ => HostOptimiser::new(decay, &parameters),
        };
        let average = averaged(setup, resumed).cloned();
        Learner::Host { parameters, average, optimiser }
    }

    fn by_tensors(setup: &Setup, resumed: Option<&ResumeState>) -> Learner {
        let shapes: Vec<[usize; 2]> = setup.network.parameter_shapes().into_iter().map(|(_, shape)| shape).collect();
        let mut optimiser = Optimiser::new(setup.config.weight_decay, shapes.len());
        let network = match resumed {
            Some(state) => {
                optimiser.restore(state.steps, &state.moments, &shapes, setup.device);
                Network::from_values(&setup.network, &state.parameters, setup.device)
            }
            None => setup.network.init(setup.config.seed, setup.start, setup.device),
        };
        let average = averaged(setup, resumed).map(|values| Network::from_values(&setup.network, values, setup.device));
        Learner::Tensors { network, average, optimiser }
    }

    /// One step against the gradient of the mean loss of `graphs`, dropout on; gives that loss.
    ///
    /// The dropout mask is one of all graphs, each of the size of the largest.
    pub fn step(&mut self, setup: &Setup, graphs: &[Arc<Graph>], mut dropout: ChaCha8Rng, learning_rate: f64) -> f64 {
        match self {
            Learner::Host { parameters, optimiser, .. } => {
                let largest = graphs.iter().map(|graph| graph.nodes()).max().unwrap_or(0);
                let mask = setup.network.dropout_mask(&mut dropout, graphs.len() * largest);
                let hidden = setup.network.hidden[1];
                let network = HostNetwork { config: &setup.network, parameters };
                let of_graph = |(index, graph): (usize, &Arc<Graph>)| {
                    let mask = mask.as_ref().map(|mask| &mask[index * largest * hidden..][..graph.nodes() * hidden]);
                    let mut activations = Activations::default();
                    network.forward(graph, mask, &mut activations);
                    let assignment = &activations.assignment;
                    let found = setup.objective.differentiate_scaled(graph, assignment, setup.network.clusters);
                    (found.loss, network.backward(graph, mask, &activations, &found.gradient))
                };
                let of_graphs: Vec<(f64, Vec<Vec<f32>>)> = graphs.par_iter().enumerate().map(of_graph).collect();
                let count = graphs.len() as f64;
                let loss = of_graphs.iter().map(|(loss, _)| loss).sum::<f64>() / count;
                // Graph after graph, so that the sums do not depend on the number of threads.
                let mut gradients: Vec<Vec<f32>> = parameters.iter().map(|values| vec![0.0; values.len()]).collect();
                for (_, found) in &of_graphs {
                    let values = gradients.iter_mut().flatten().zip(found.iter().flatten());
                    values.for_each(|(sum, value)| *sum += value);
                }
                gradients.iter_mut().flatten().for_each(|sum| *sum /= count as f32);
                optimiser.step(learning_rate, parameters, &gradients);
                loss
            }
            Learner::Tensors { network, optimiser, .. } => {
                let batch = Batch::collate(graphs, &tensor::autodiff(setup.device));
                let losses = |assignment| setup.objective.scaled_losses(&batch, assignment);
                optimiser.descend_on_batch(network, &batch, losses, dropout, learning_rate).loss
            }
        }
    }

    /// Adds the parameters after so many steps to their running average, if that is what will be chosen. The first of them are few:
    /// they count less than they would in the long run, so that nothing of the random start remains.
    pub fn average(&mut self, choice: Choice, steps: usize) {
        let Choice::Average(decay) = choice else { return };
        let kept = decay.min(steps as f64 / (steps + WARMING) as f64);
        match self {
            Learner::Host { parameters, average, .. } => {
                let values = average.get_or_insert_with(|| parameters.clone()).iter_mut().flatten();
                for (average, &value) in values.zip(parameters.iter().flatten()) {
                    *average = kept as f32 * *average + (1.0 - kept) as f32 * value;
                }
            }
            Learner::Tensors { network, average, .. } => {
                let parameters = average.get_or_insert_with(|| network.clone()).parameters_mut().iter_mut();
                for (average, parameter) in parameters.zip(network.parameters()) {
                    let value = parameter.value.clone().mul_scalar(1.0 - kept);
                    average.value = average.value.clone().mul_scalar(kept) + value;
                }
            }
        }
    }

    /// The mean loss of graphs without dropout, adding their nodes per cluster to `counts`: that of what [`Learner::chosen`] gives.
    pub fn losses(&self, setup: &Setup, graphs: &[Arc<Graph>], counts: &mut [f64]) -> f64 {
        let clusters = setup.network.clusters;
        let mut count = |rows: &[f32]| rows.chunks_exact(clusters).for_each(|row| counts[argmax(row)] += 1.0);
        let total: f64 = match self {
            Learner::Host { parameters, average, .. } => {
                let parameters = average.as_ref().unwrap_or(parameters);
                let network = HostNetwork { config: &setup.network, parameters };
                let of_graph = |graph: &Arc<Graph>| {
                    let mut activations = Activations::default();
                    network.forward(graph, None, &mut activations);
                    let found = setup.objective.differentiate_scaled(graph, &activations.assignment, clusters);
                    (found.loss, activations.assignment)
                };
                let of_graphs: Vec<(f64, Vec<f32>)> = graphs.par_iter().map(of_graph).collect();
                of_graphs.iter().for_each(|(_, assignment)| count(assignment));
                of_graphs.iter().map(|(loss, _)| loss).sum()
            }
            Learner::Tensors { network, average, .. } => {
                let batch = Batch::collate(graphs, setup.device);
                let assignment = average.as_ref().unwrap_or(network).assign(&batch, None);
                let losses = tensor::into_vec(setup.objective.scaled_losses(&batch, assignment.clone()));
                let [_, nodes, _] = assignment.dims();
                let rows = tensor::into_vec(assignment);
                for (rows, &nodes) in rows.chunks_exact(nodes * clusters).zip(&batch.counts) {
                    count(&rows[..nodes * clusters]);
                }
                losses.iter().map(|&loss| f64::from(loss)).sum()
            }
        };
        total / graphs.len() as f64
    }

    /// The values of the parameters.
    pub fn parameters(&self) -> Vec<Vec<f32>> {
        match self {
            Learner::Host { parameters, .. } => parameters.clone(),
            Learner::Tensors { network, .. } => network.values(),
        }
    }

    /// The values of what is kept if training ends here: the average, where there is one.
    pub fn chosen(&self) -> Vec<Vec<f32>> {
        match self {
            Learner::Host { parameters, average, .. } => average.as_ref().unwrap_or(parameters).clone(),
            Learner::Tensors { network, average, .. } => average.as_ref().unwrap_or(network).values(),
        }
    }

    /// The moments of every parameter, once there was a step.
    pub fn moments(&self) -> Vec<Moments> {
        match self {
            Learner::Host { optimiser, .. } => optimiser.moments().to_vec(),
            Learner::Tensors { optimiser, .. } => optimiser.state().1,
        }
    }
}

/// The running average that a saved state has, which is what it would keep.
fn averaged<'a>(setup: &Setup, resumed: Option<&'a ResumeState>) -> Option<&'a Vec<Vec<f32>>> {
    resumed
        .filter(|state| matches!(setup.choice, Choice::Average(_)) && state.steps > 0)
        .map(|state| &state.best_parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Affinity;
    use crate::model::NetworkConfig;
    use crate::nodes::{Adjacency, Edge, Layout, NodeFeatures};
    use crate::numerics::random;
    use crate::objective::Objective;
    use crate::train::TrainConfig;

    /// A graph of so many nodes with two groups of features, and what a teacher of two classes says of them.
    fn graph(count: usize, adjacency: Adjacency, affinity: Affinity) -> Arc<Graph> {
        let channels = 7;
        let mut values = random::uniform(&mut random::stream(5, "features", count as u64), 0.5, count * channels);
        for (place, value) in values.iter_mut().enumerate() {
            *value += if place / channels % 3 == place % 2 { 1.0 } else { 0.2 };
        }
        let layout = Layout::Grid { rows: 1, columns: count };
        let nodes = NodeFeatures { values, channels, layout, adjacency };
        let share = |node: usize| if node.is_multiple_of(3) { 0.9 } else { 0.25 };
        let targets = (0..count).flat_map(|node| [share(node), 1.0 - share(node)]).collect();
        Arc::new(Graph { targets: Some(targets), ..Graph::build(&nodes, affinity, &tensor::cpu()) })
    }

    #[test]
    fn the_host_learns_as_tensors_do() {
        let chain = |count: u32| {
            Adjacency::Edges((1..count).map(|node| Edge { first: node - 1, second: node, weight: 0.3 }).collect())
        };
        let complete = |_: u32| Adjacency::Complete;
        let (above, correlation) = (Affinity::AboveMean, Affinity::Correlation { alpha: 3.0 });
        type Of<'a> = &'a dyn Fn(u32) -> Adjacency;
        let cases: [(Objective, Of, Affinity, bool); 6] = [
            (Objective::Association, &complete, above, false),
            (Objective::Ncut { balance: 1.0 }, &complete, Affinity::NonNegative, false),
            (Objective::Cc, &complete, correlation, false),
            (Objective::CrossEntropy, &complete, above, true),
            (Objective::Association, &chain, Affinity::NonNegative, false),
            (Objective::Cc, &chain, correlation, true),
        ];
        for (objective, adjacency, affinity, root_weight) in cases {
            let graphs = [70u32, 40, 1, 65].map(|count| graph(count as usize, adjacency(count), affinity));
            let network =
                NetworkConfig { input: 7, hidden: [6, 5], clusters: 2, dropout: 0.25, root_weight, scale: 1.5 };
            let (config, source, device) = (TrainConfig::default(), Vec::<Graph>::new(), tensor::cpu());
            let setup = Setup {
                source: &source,
                network,
                objective,
                config: &config,
                start: 0,
                epochs: 1,
                choice: Choice::Average(0.6),
                device: &device,
                fingerprint: String::new(),
            };
            let (mut host, mut tensors) = (Learner::on_host(&setup, None), Learner::by_tensors(&setup, None));
            for step in 0..6 {
                let dropout = || random::stream(1, "dropout", step);
                let losses = [&mut host, &mut tensors].map(|learner| {
                    let loss = learner.step(&setup, &graphs, dropout(), 1e-2);
                    learner.average(setup.choice, step as usize + 1);
                    loss
                });
                assert!((losses[0] - losses[1]).abs() < 2e-5, "{objective:?}, step {step}: {losses:?}");
                for of in [Learner::parameters, Learner::chosen] {
                    let parameters = [&host, &tensors].map(|learner| of(learner).concat());
                    let pairs = parameters[0].iter().zip(&parameters[1]);
                    let worst = pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
                    assert!(worst < 1e-3, "{objective:?}, step {step}: off by {worst}");
                }
            }
            let mut counts = [[0.0; 2]; 2];
            let losses =
                [host.losses(&setup, &graphs, &mut counts[0]), tensors.losses(&setup, &graphs, &mut counts[1])];
            assert!((losses[0] - losses[1]).abs() < 1e-4, "{objective:?}: {losses:?}");
            assert_eq!(counts[0].iter().sum::<f64>(), 176.0);
        }
    }
}
