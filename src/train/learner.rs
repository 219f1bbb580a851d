//! The network that a trainer improves, graph by graph on the processor: the step is written out, as it would be for tensors of
//! whole batches, whose kernels a GPU would have to be waited for longer than the whole training takes.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::optimiser::Moments;
use super::{Choice, HostOptimiser, ResumeState, Setup};
use crate::graph::Graph;
use crate::model::{Activations, HostNetwork};
use crate::numerics::argmax;
use crate::tensor;

/// Steps after which a running average keeps half of what it was.
const WARMING: usize = 9;

/// A network and how it learns.
pub(super) struct Learner {
    /// As [`crate::model::Network::values`] gives them.
    parameters: Vec<Vec<f32>>,
    /// Their running average, once one was asked for.
    average: Option<Vec<Vec<f32>>>,
    optimiser: HostOptimiser,
}

impl Learner {
    /// The network that `setup` begins with, or that of a saved state.
    pub fn new(setup: &Setup, resumed: Option<&ResumeState>) -> Learner {
        let decay = setup.config.weight_decay;
        let fresh = || setup.network.init(setup.config.seed, setup.start, &tensor::cpu()).values();
        let parameters = resumed.map_or_else(fresh, |state| state.parameters.clone());
        let optimiser = match resumed {
            Some(state) if !state.moments.is_empty() => HostOptimiser::restored(decay, state.steps, &state.moments),
            _ => HostOptimiser::new(decay, &parameters),
        };
        // A saved state has the average as what it would keep.
        let average = resumed
            .filter(|state| matches!(setup.choice, Choice::Average(_)) && state.steps > 0)
            .map(|state| state.best_parameters.clone());
        Learner { parameters, average, optimiser }
    }

    /// One step against the gradient of the mean loss of `graphs`, dropout on; gives that loss.
    ///
    /// The dropout mask is one of all graphs, each of the size of the largest.
    pub fn step(&mut self, setup: &Setup, graphs: &[Arc<Graph>], mut dropout: ChaCha8Rng, learning_rate: f64) -> f64 {
        let Learner { parameters, optimiser, .. } = self;
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

    /// Adds the parameters after so many steps to their running average, if that is what will be chosen. The first of them are few:
    /// they count less than they would in the long run, so that nothing of the random start remains.
    pub fn average(&mut self, choice: Choice, steps: usize) {
        let Choice::Average(decay) = choice else { return };
        let kept = decay.min(steps as f64 / (steps + WARMING) as f64);
        let values = self.average.get_or_insert_with(|| self.parameters.clone()).iter_mut().flatten();
        for (average, &value) in values.zip(self.parameters.iter().flatten()) {
            *average = kept as f32 * *average + (1.0 - kept) as f32 * value;
        }
    }

    /// The mean loss of graphs without dropout, adding their nodes per cluster to `counts`: that of what [`Learner::chosen`] gives.
    pub fn losses(&self, setup: &Setup, graphs: &[Arc<Graph>], counts: &mut [f64]) -> f64 {
        let clusters = setup.network.clusters;
        let network = HostNetwork { config: &setup.network, parameters: self.kept() };
        let of_graph = |graph: &Arc<Graph>| {
            let mut activations = Activations::default();
            network.forward(graph, None, &mut activations);
            let found = setup.objective.differentiate_scaled(graph, &activations.assignment, clusters);
            (found.loss, activations.assignment)
        };
        let of_graphs: Vec<(f64, Vec<f32>)> = graphs.par_iter().map(of_graph).collect();
        for row in of_graphs.iter().flat_map(|(_, assignment)| assignment.chunks_exact(clusters)) {
            counts[argmax(row)] += 1.0;
        }
        of_graphs.iter().map(|(loss, _)| loss).sum::<f64>() / graphs.len() as f64
    }

    /// The values of the parameters.
    pub fn parameters(&self) -> Vec<Vec<f32>> {
        self.parameters.clone()
    }

    /// The values of what is kept if training ends here: the average, where there is one.
    pub fn chosen(&self) -> Vec<Vec<f32>> {
        self.kept().clone()
    }

    /// The moments of every parameter, once there was a step.
    pub fn moments(&self) -> Vec<Moments> {
        self.optimiser.moments().to_vec()
    }

    fn kept(&self) -> &Vec<Vec<f32>> {
        self.average.as_ref().unwrap_or(&self.parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Affinity, Batch};
    use crate::model::{Network, NetworkConfig};
    use crate::nodes::{Adjacency, Edge, Layout, NodeFeatures};
    use crate::numerics::random;
    use crate::objective::Objective;
    use crate::train::{Optimiser, TrainConfig};

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
        Arc::new(Graph { targets: Some(targets), ..Graph::build(&nodes, affinity) })
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
            let (config, source) = (TrainConfig::default(), Vec::<Graph>::new());
            let setup = Setup {
                source: &source,
                network,
                objective,
                config: &config,
                start: 0,
                epochs: 1,
                choice: Choice::Average(0.6),
                fingerprint: String::new(),
            };
            let mut host = Learner::new(&setup, None);
            let mut tensors = setup.network.init(config.seed, 0, &tensor::cpu());
            let mut optimiser = Optimiser::new(config.weight_decay, tensors.parameters().len());
            let mut average: Option<Vec<f32>> = None;
            for step in 0..6 {
                let dropout = || random::stream(1, "dropout", step);
                let found = host.step(&setup, &graphs, dropout(), 1e-2);
                host.average(setup.choice, step as usize + 1);

                let batch = Batch::collate(&graphs, &tensor::autodiff(&tensor::cpu()));
                let losses = |assignment| objective.scaled_losses(&batch, assignment);
                let expected = optimiser.descend_on_batch(&mut tensors, &batch, losses, dropout(), 1e-2).loss;
                let values = tensors.values().concat();
                let kept = 0.6f64.min((step + 1) as f64 / (step + 10) as f64) as f32;
                let before = average.unwrap_or_else(|| values.clone());
                let averaged = before.iter().zip(&values).map(|(before, now)| kept * before + (1.0 - kept) * now);
                let averaged: Vec<f32> = averaged.collect();

                assert!((found - expected).abs() < 2e-5, "{objective:?}, step {step}: {found}, not {expected}");
                for (found, expected) in [(host.parameters(), &values), (host.chosen(), &averaged)] {
                    let worst = found.concat().iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(worst < 1e-3, "{objective:?}, step {step}: off by {worst}");
                }
                average = Some(averaged);
            }
            let mut counts = [0.0; 2];
            let found = host.losses(&setup, &graphs, &mut counts);
            let batch = Batch::collate(&graphs, &tensor::cpu());
            let chosen = Network::from_values(&setup.network, &host.chosen(), &tensor::cpu());
            let losses = tensor::into_vec(objective.scaled_losses(&batch, chosen.assign(&batch, None)));
            let expected = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / 4.0;
            assert!((found - expected).abs() < 1e-4, "{objective:?}: {found}, not {expected}");
            assert_eq!(counts.iter().sum::<f64>(), 176.0);
        }
    }
}
