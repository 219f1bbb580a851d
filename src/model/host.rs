//! The network on the processor, written out for one graph: a network of this size spends more time between tensor
//! operations than in them.
//!
//! Nodes are worked on in blocks that stay in cache, each by one thread; sums over blocks are taken in their order, so that
//! results do not depend on the number of threads.

use rayon::prelude::*;

use super::NetworkConfig;
use crate::graph::Graph;
use crate::numerics::product::{Matrix, add_product};
use crate::numerics::vectorised::{elu, elu_backward};

/// Nodes that go through the network together.
const BLOCK: usize = 64;

/// Channels whose weights one thread gathers the gradient of.
const CHANNEL_BLOCK: usize = 96;

/// Where a root weight is among the parameters.
const ROOT: usize = 6;

/// The values of a network.
#[derive(Debug, Clone, Copy)]
pub struct HostNetwork<'a> {
    pub config: &'a NetworkConfig,
    /// As [`Network::values`](super::Network::values) gives them.
    pub parameters: &'a [Vec<f32>],
}

/// What a forward pass leaves for the backward pass, row-major.
#[derive(Debug, Default)]
pub struct Activations {
    /// After the convolution's ELU, `[N, hidden[0]]`.
    convolved: Vec<f32>,
    /// After the head's first ELU, `[N, hidden[1]]`.
    hidden: Vec<f32>,
    /// The same after dropout.
    kept: Vec<f32>,
    /// S, `[N, K]`.
    pub assignment: Vec<f32>,
}

impl HostNetwork<'_> {
    /// What [`Network::assign`](super::Network::assign) gives for a batch of one graph; `mask` is that of dropout,
    /// `[N, hidden[1]]`.
    pub fn forward(&self, graph: &Graph, mask: Option<&[f32]>, into: &mut Activations) {
        let (count, [first, second], clusters) = (graph.nodes(), self.config.hidden, self.config.clusters);
        into.convolved.resize(count * first, 0.0);
        into.hidden.resize(count * second, 0.0);
        into.kept.resize(count * second, 0.0);
        into.assignment.resize(count * clusters, 0.0);
        let scale = self.config.scale as f32;
        let scaled = |weights: &Vec<f32>| weights.iter().map(|weight| weight * scale).collect::<Vec<f32>>();
        let (convolution, root) = (scaled(&self.parameters[0]), self.parameters.get(ROOT).map(scaled));
        let weights = [&convolution, &self.parameters[2], &self.parameters[4]];
        let affine = |target: &mut [f32], input: &[f32], layer: usize| {
            let (weight, bias) = (weights[layer], &self.parameters[2 * layer + 1]);
            target.chunks_exact_mut(bias.len()).for_each(|row| row.copy_from_slice(bias));
            add_product(target, Matrix::of_rows(input, weight.len() / bias.len()), Matrix::of_rows(weight, bias.len()));
        };
        let layers = (
            graph.propagated.par_chunks(BLOCK * graph.channels),
            into.convolved.par_chunks_mut(BLOCK * first),
            into.hidden.par_chunks_mut(BLOCK * second),
            into.kept.par_chunks_mut(BLOCK * second),
            into.assignment.par_chunks_mut(BLOCK * clusters),
        );
        layers.into_par_iter().enumerate().for_each(|(block, (input, convolved, hidden, kept, assignment))| {
            affine(convolved, input, 0);
            if let Some(root) = &root {
                let features = &graph.features[block * BLOCK * graph.channels..][..input.len()];
                let features = Matrix::of_rows(features, graph.channels);
                add_product(convolved, features, Matrix::of_rows(root, first));
            }
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

    /// Gradients of all parameters from that of the assignment `[N, K]`; `mask` as that of the forward pass.
    pub fn backward(
        &self,
        graph: &Graph,
        mask: Option<&[f32]>,
        activations: &Activations,
        gradient: &[f32],
    ) -> Vec<Vec<f32>> {
        let ([first, second], clusters) = (self.config.hidden, self.config.clusters);
        let parameters = &self.parameters;
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
            let after_convolution = &parameters[1..ROOT];
            let mut sums: Vec<Vec<f32>> = after_convolution.iter().map(|values| vec![0.0; values.len()]).collect();
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

        let mut gradients = vec![self.of_inputs(&graph.propagated, &of_convolution)];
        gradients.extend(parameters[1..ROOT].iter().map(|values| vec![0.0; values.len()]));
        for sums in of_blocks {
            for (gradient, sum) in gradients[1..].iter_mut().zip(sums) {
                add_rows(gradient, &sum);
            }
        }
        if parameters.len() > ROOT {
            gradients.push(self.of_inputs(&graph.features, &of_convolution));
        }
        gradients
    }

    /// The gradient of a weight of the convolution from its inputs and that of its outputs: every thread some channels, of all
    /// nodes in their order.
    ///
    /// # Shapes
    /// inputs `[N, D]`, gradient `[N, hidden[0]]` → `[D, hidden[0]]`
    fn of_inputs(&self, inputs: &[f32], gradient: &[f32]) -> Vec<f32> {
        let NetworkConfig { input: channels, hidden: [first, _], .. } = *self.config;
        let mut weight = vec![0.0; channels * first];
        weight.par_chunks_mut(CHANNEL_BLOCK * first).enumerate().for_each(|(part, sums)| {
            let own = sums.len() / first;
            for (input, gradient) in inputs.chunks(BLOCK * channels).zip(gradient.chunks(BLOCK * first)) {
                let input = Matrix::of_rows(input, channels).columns(part * CHANNEL_BLOCK, own);
                add_product(sums, input.transposed(), Matrix::of_rows(gradient, first));
            }
            sums.iter_mut().for_each(|sum| *sum *= self.config.scale as f32);
        });
        weight
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
