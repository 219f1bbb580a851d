//! The optimisation of one complete graph on the processor, without tensor operations.

use std::borrow::Cow;

use super::PerImageConfig;
use crate::graph::{Graph, MOST_FORMED_NODES, Weights};
use crate::model::{Activations, HostNetwork, Network, NetworkConfig};
use crate::numerics::random;
use crate::objective::Objective;
use crate::train::HostOptimiser;

/// One graph with a network that is optimised on it.
pub struct DenseOptimiser<'a> {
    /// With its affinities, where they can be formed.
    graph: Cow<'a, Graph>,
    config: &'a NetworkConfig,
    /// As [`Network::values`] gives them.
    parameters: Vec<Vec<f32>>,
}

impl<'a> DenseOptimiser<'a> {
    /// Whether a graph can be treated so.
    pub fn handles(graph: &Graph) -> bool {
        let complete = match graph.weights {
            Weights::NonNegative { .. } => graph.nodes() <= MOST_FORMED_NODES,
            Weights::Correlation { .. } => true,
            Weights::Edges { .. } => false,
        };
        complete && graph.nodes() > 0
    }

    /// Starts from the values of `network`.
    pub fn new(graph: &'a Graph, network: &'a Network) -> Self {
        let is_formed = graph.affinities.is_some() || matches!(graph.weights, Weights::Correlation { .. });
        let graph = if is_formed { Cow::Borrowed(graph) } else { Cow::Owned(graph.clone().keeping_affinities()) };
        DenseOptimiser { graph, config: network.config(), parameters: network.values() }
    }

    /// Optimises with dropout on; the assignment `[N, K]` of the last training forward, and the loss before every step.
    pub fn run(mut self, objective: Objective, config: &PerImageConfig) -> (Vec<f32>, Vec<f64>) {
        let mut losses = Vec::with_capacity(config.epochs());
        let mut activations = Activations::default();
        let mut optimiser = HostOptimiser::new(config.weight_decay, &self.parameters);
        let (graph, network) = (self.graph.as_ref(), self.config);
        let mask_of = |epoch: usize| {
            network.dropout_mask(&mut random::stream(config.seed, "dropout", epoch as u64), graph.nodes())
        };
        let mut mask = mask_of(0);
        for epoch in 0..config.epochs() {
            let host = HostNetwork { config: network, parameters: &self.parameters };
            host.forward(graph, mask.as_deref(), &mut activations);
            let differentiated = objective.differentiate(graph, &activations.assignment, network.clusters);
            losses.push(differentiated.loss);
            if epoch + 1 == config.epochs() {
                // The answer is that of this forward pass: nothing would see a further step.
                break;
            }
            let backward = || host.backward(graph, mask.as_deref(), &activations, &differentiated.gradient);
            let (gradients, next_mask) = rayon::join(backward, || mask_of(epoch + 1));
            optimiser.step(config.learning_rate(), &mut self.parameters, &gradients);
            mask = next_mask;
        }
        if config.epochs() == 0 {
            let host = HostNetwork { config: network, parameters: &self.parameters };
            host.forward(graph, None, &mut activations);
        }
        (activations.assignment, losses)
    }
}
