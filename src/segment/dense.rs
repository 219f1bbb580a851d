//! The optimisation of one complete graph on the processor, written out: a network of this size spends more time between
//! tensor operations than in them.
//!
//! Nodes are worked on in blocks that stay in cache, each by one thread; sums over blocks are taken in their order, so that
//! results do not depend on the number of threads.

use std::borrow::Cow;

use rayon::prelude::*;

use super::PerImageConfig;
use crate::graph::{Graph, MOST_FORMED_NODES, SymmetricMatrix, Weights};
use crate::model::{Network, NetworkConfig};
use crate::numerics::product::{Matrix, add_product};
use crate::numerics::random;
use crate::numerics::vectorised::{elu, elu_backward};
use crate::objective::Objective;
use crate::train::HostOptimiser;

/// Nodes that go through the network together.
const BLOCK: usize = 64;

/// Channels whose weights one thread gathers the gradient of.
const CHANNEL_BLOCK: usize = 96;

/// A graph's W as products with it need it.
enum Affinities<'a> {
    Formed(Cow<'a, SymmetricMatrix>),
    /// W = X Xᵀ − offset.
    Correlation {
        offset: f32,
    },
}

/// One graph with a network that is optimised on it.
pub struct DenseOptimiser<'a> {
    graph: &'a Graph,
    affinities: Affinities<'a>,
    config: &'a NetworkConfig,
    /// As [`Network::values`] gives them.
    parameters: Vec<Vec<f32>>,
}

/// What a forward pass leaves for the backward pass, row-major.
#[derive(Default)]
struct Activations {
    /// After the convolution's ELU, `[N, hidden[0]]`.
    convolved: Vec<f32>,
    /// After the head's first ELU, `[N, hidden[1]]`.
    hidden: Vec<f32>,
    /// The same after dropout.
    kept: Vec<f32>,
    /// S, `[N, K]`.
    assignment: Vec<f32>,
}

impl<'a> DenseOptimiser<'a> {
    /// Whether a graph and an objective can be treated so.
    pub fn handles(graph: &Graph, network: &NetworkConfig, objective: Objective) -> bool {
        let complete = match graph.weights {
            Weights::NonNegative { .. } => graph.nodes() <= MOST_FORMED_NODES,
            Weights::Correlation { .. } => true,
            Weights::Edges { .. } => false,
        };
        complete && graph.nodes() > 0 && !network.root_weight && objective.has_host_form()
    }

    /// Starts from the values of `network`.
    ///
    /// # Panics
    /// If the graph has listed edges.
    pub fn new(graph: &'a Graph, network: &'a Network) -> Self {
        let affinities = match &graph.weights {
            Weights::NonNegative { offset, scale } => Affinities::Formed(match &graph.affinities {
                Some(formed) => Cow::Borrowed(formed),
                None => Cow::Owned(SymmetricMatrix::of_products(&graph.features, graph.channels, *offset, *scale)),
            }),
            Weights::Correlation { offset } => Affinities::Correlation { offset: *offset },
            Weights::Edges { .. } => panic!("listed edges are no complete graph"),
        };
        DenseOptimiser { graph, affinities, config: network.config(), parameters: network.values() }
    }

    /// Optimises with dropout on; the assignment `[N, K]` of the last training forward, and the loss before every step.
    pub fn run(mut self, objective: Objective, config: &PerImageConfig) -> (Vec<f32>, Vec<f64>) {
        let mut losses = Vec::with_capacity(config.epochs());
        let mut activations = Activations::default();
        let mut optimiser = HostOptimiser::new(config.weight_decay, &self.parameters);
        let (network, nodes) = (self.config, self.graph.nodes());
        let mask_of =
            |epoch: usize| network.dropout_mask(&mut random::stream(config.seed, "dropout", epoch as u64), nodes);
        let mut mask = mask_of(0);
        for epoch in 0..config.epochs() {
            self.forward(mask.as_deref(), &mut activations);
            let product = self.product(&activations.assignment);
            let differentiated = objective
                .differentiate(self.graph, &activations.assignment, &product, self.config.clusters)
                .expect("an objective that is handled here");
            losses.push(differentiated.loss);
            if epoch + 1 == config.epochs() {
                // The answer is that of this forward pass: nothing would see a further step.
                break;
            }
            let backward = || self.backward(mask.as_deref(), &activations, &differentiated.gradient);
            let (gradients, next_mask) = rayon::join(backward, || mask_of(epoch + 1));
            optimiser.step(config.learning_rate(), &mut self.parameters, &gradients);
            mask = next_mask;
        }
        if config.epochs() == 0 {
            self.forward(None, &mut activations);
        }
        (activations.assignment, losses)
    }

    /// S = softmax(MLP(ELU(P Θ + b))).
    fn forward(&self, mask: Option<&[f32]>, into: &mut Activations) {
        let (count, [first, second], clusters) = (self.graph.nodes(), self.config.hidden, self.config.clusters);
        into.convolved.resize(count * first, 0.0);
        into.hidden.resize(count * second, 0.0);
        into.kept.resize(count * second, 0.0);
        into.assignment.resize(count * clusters, 0.0);
        let scale = self.config.scale as f32;
        let convolution: Vec<f32> = self.parameters[0].iter().map(|weight| weight * scale).collect();
        let weights = [&convolution, &self.parameters[2], &self.parameters[4]];
        let affine = |target: &mut [f32], input: &[f32], layer: usize| {
            let (weight, bias) = (weights[layer], &self.parameters[2 * layer + 1]);
            target.chunks_exact_mut(bias.len()).for_each(|row| row.copy_from_slice(bias));
            add_product(target, Matrix::of_rows(input, weight.len() / bias.len()), Matrix::of_rows(weight, bias.len()));
        };
        let layers = (
            self.graph.propagated.par_chunks(BLOCK * self.graph.channels),
            into.convolved.par_chunks_mut(BLOCK * first),
            into.hidden.par_chunks_mut(BLOCK * second),
            into.kept.par_chunks_mut(BLOCK * second),
            into.assignment.par_chunks_mut(BLOCK * clusters),
        );
        layers.into_par_iter().enumerate().for_each(|(block, (input, convolved, hidden, kept, assignment))| {
            affine(convolved, input, 0);
            elu(convolved);
            affine(hidden, convolved, 1);
            elu(hidden);
            kept.copy_from_slice(hidden);
            if let Some(mask) = mask {
                let mask = &mask[block * BLOCK * second..];
                kept.iter_mut().zip(mask).for_each(|(value, mask)| *value *= mask);
            }
            affine(assignment, kept, 2);
            assignment.chunks_exact_mut(clusters).for_each(softmax);
        });
    }

    /// W S.
    ///
    /// # Shapes
    /// `[N, K]` → `[N, K]`
    fn product(&self, assignment: &[f32]) -> Vec<f32> {
        let (count, clusters) = (self.graph.nodes(), self.config.clusters);
        match &self.affinities {
            Affinities::Formed(affinities) => affinities.times_few(assignment, clusters),
            Affinities::Correlation { offset } => {
                // W S = X (Xᵀ S) − offset · 1 (1ᵀ S).
                let features = Matrix::of_rows(&self.graph.features, self.graph.channels);
                let mut together = vec![0.0; clusters * self.graph.channels];
                add_product(&mut together, Matrix::of_rows(assignment, clusters).transposed(), features);
                let mut sizes = vec![0.0; clusters];
                add_rows(&mut sizes, assignment);
                let subtracted: Vec<f32> = sizes.iter().map(|size| -offset * size).collect();
                let mut product = subtracted.repeat(count);
                add_product(&mut product, features, Matrix::of_rows(&together, self.graph.channels).transposed());
                product
            }
        }
    }

    /// Gradients of all parameters from that of the assignment `[N, K]`.
    fn backward(&self, mask: Option<&[f32]>, activations: &Activations, gradient: &[f32]) -> Vec<Vec<f32>> {
        let ([first, second], clusters) = (self.config.hidden, self.config.clusters);
        let (channels, parameters) = (self.graph.channels, &self.parameters);
        let mut of_convolution = vec![0.0; activations.convolved.len()];
        let blocks = (
            of_convolution.par_chunks_mut(BLOCK * first),
            activations.convolved.par_chunks(BLOCK * first),
            activations.hidden.par_chunks(BLOCK * second),
            activations.kept.par_chunks(BLOCK * second),
            activations.assignment.par_chunks(BLOCK * clusters),
            gradient.par_chunks(BLOCK * clusters),
        );
        let blocks = blocks.into_par_iter().enumerate();
        let blocks = blocks.map(|(block, (convolution, convolved, hidden, kept, assignment, gradient))| {
            let mut sums: Vec<Vec<f32>> = parameters.iter().skip(1).map(|values| vec![0.0; values.len()]).collect();
            let [convolution_bias, weight, bias, last_weight, last_bias] = &mut sums[..] else {
                unreachable!("the convolution and two layers have six parameters")
            };
            let mut logits = gradient.to_vec();
            for (gradient, probabilities) in logits.chunks_exact_mut(clusters).zip(assignment.chunks_exact(clusters)) {
                softmax_backward(gradient, probabilities);
            }
            add_rows(last_bias, &logits);
            let logits = Matrix::of_rows(&logits, clusters);
            add_product(last_weight, Matrix::of_rows(kept, second).transposed(), logits);

            let mut inner = vec![0.0; hidden.len()];
            add_product(&mut inner, logits, Matrix::of_rows(&parameters[4], clusters).transposed());
            if let Some(mask) = mask {
                inner.iter_mut().zip(&mask[block * BLOCK * second..]).for_each(|(value, mask)| *value *= mask);
            }
            elu_backward(&mut inner, hidden);
            add_rows(bias, &inner);
            let inner = Matrix::of_rows(&inner, second);
            add_product(weight, Matrix::of_rows(convolved, first).transposed(), inner);

            add_product(convolution, inner, Matrix::of_rows(&parameters[2], second).transposed());
            elu_backward(convolution, convolved);
            add_rows(convolution_bias, convolution);
            sums
        });
        let of_blocks: Vec<Vec<Vec<f32>>> = blocks.collect();

        // The convolution's weight: every thread some channels, of all nodes in their order.
        let mut convolution_weight = vec![0.0; channels * first];
        convolution_weight.par_chunks_mut(CHANNEL_BLOCK * first).enumerate().for_each(|(part, sums)| {
            let own = sums.len() / first;
            let inputs = self.graph.propagated.chunks(BLOCK * channels);
            for (input, gradient) in inputs.zip(of_convolution.chunks(BLOCK * first)) {
                let input = Matrix::of_rows(input, channels).columns(part * CHANNEL_BLOCK, own);
                add_product(sums, input.transposed(), Matrix::of_rows(gradient, first));
            }
            sums.iter_mut().for_each(|sum| *sum *= self.config.scale as f32);
        });

        let mut gradients = vec![convolution_weight];
        gradients.extend(parameters.iter().skip(1).map(|values| vec![0.0; values.len()]));
        for sums in of_blocks {
            for (gradient, sum) in gradients[1..].iter_mut().zip(sums) {
                add_rows(gradient, &sum);
            }
        }
        gradients
    }
}

/// Adds every row of `values` to `sums`.
fn add_rows(sums: &mut [f32], values: &[f32]) {
    for row in values.chunks_exact(sums.len()) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|value| *value = (*value - largest).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
}

/// The gradient of the logits from that of the probabilities, in place.
fn softmax_backward(gradient: &mut [f32], probabilities: &[f32]) {
    let mean: f32 = gradient.iter().zip(probabilities).map(|(gradient, probability)| gradient * probability).sum();
    gradient
        .iter_mut()
        .zip(probabilities)
        .for_each(|(gradient, probability)| *gradient = probability * (*gradient - mean));
}
