//! AdamW over the network's parameters: by tensors on any device, and on the host, with state that can be stored.
//!
//! Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.

use burn::optim::{AdamW, AdamWConfig, AdamWState, SimpleOptimizer};

use rand_chacha::ChaCha8Rng;

use crate::graph::Batch;
use crate::model::Network;
use crate::tensor::{self, Backend, Tensor};

/// The averaging of gradients and of their squares, and what is added to the root: PyTorch's defaults, burn's differ.
const BETAS: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;

/// AdamW by tensors, one state per parameter.
pub struct Optimiser {
    rule: AdamW,
    states: Vec<Option<AdamWState<Backend, 2>>>,
}

/// AdamW on the host: the rule of [`Optimiser`], for gradients that are no tensors.
pub struct HostOptimiser {
    weight_decay: f32,
    moments: Vec<Moments>,
    steps: i32,
}

/// What a step over a batch was taken from.
pub struct Descent {
    /// The mean loss before the step.
    pub loss: f64,
    /// The assignments before the step, `[B, N, K]`, on the plain device.
    pub assignment: Tensor<3>,
}

/// The state of one parameter, on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

impl Optimiser {
    /// A fresh optimiser for `parameters` parameters.
    pub fn new(weight_decay: f64, parameters: usize) -> Optimiser {
        let config = AdamWConfig::new()
            .with_beta_1(BETAS[0])
            .with_beta_2(BETAS[1])
            .with_epsilon(EPSILON)
            .with_weight_decay(weight_decay as f32);
        Optimiser { rule: config.build(), states: vec![None; parameters] }
    }

    /// One step: every parameter moves against its gradient, both `[in, out]` on the plain device.
    pub fn step(&mut self, learning_rate: f64, network: &mut Network, gradients: Vec<Tensor<2>>) {
        for ((parameter, gradient), state) in network.parameters_mut().iter_mut().zip(gradients).zip(&mut self.states) {
            let (value, next) = self.rule.step(learning_rate, parameter.value.clone(), gradient, state.take());
            parameter.value = value;
            *state = next;
        }
    }

    /// One step against the gradient of a scalar, dropout on; gives what else `scalar` gave.
    ///
    /// `scalar` makes a tensor of one value, and whatever the caller wants to keep, of the recording network and of a dropout
    /// mask `[B, N, hidden[1]]` for `[B, N]` `nodes`, drawn from `dropout`; none if the network drops nothing.
    pub fn descend<T, const D: usize>(
        &mut self,
        network: &mut Network,
        [graphs, nodes]: [usize; 2],
        mut dropout: ChaCha8Rng,
        learning_rate: f64,
        scalar: impl FnOnce(&Network, Option<Tensor<3>>) -> (Tensor<D>, T),
    ) -> T {
        let tracked = network.recording();
        let shape = [graphs, nodes, network.config().hidden[1]];
        let device = tracked.parameters()[0].value.device();
        let mask = network.config().dropout_mask(&mut dropout, graphs * nodes);
        let mask = mask.map(|mask| tensor::from_vec(mask, shape, &device));
        let (scalar, kept) = scalar(&tracked, mask);
        let tape = scalar.backward();
        let gradients = tracked.parameters().iter().map(|parameter| {
            let gradient = parameter.value.grad(&tape);
            // A parameter that the scalar does not depend on.
            gradient.unwrap_or_else(|| parameter.value.clone().inner().zeros_like())
        });
        self.step(learning_rate, network, gradients.collect());
        kept
    }

    /// One step on the mean of `losses`, which maps assignments `[B, N, K]` to `[B, 1, 1]`, over a batch of recording
    /// tensors.
    pub fn descend_on_batch(
        &mut self,
        network: &mut Network,
        batch: &Batch,
        losses: impl FnOnce(Tensor<3>) -> Tensor<3>,
        dropout: ChaCha8Rng,
        learning_rate: f64,
    ) -> Descent {
        let [graphs, nodes, _] = batch.propagated.dims();
        let mean_loss = |network: &Network, mask: Option<Tensor<3>>| {
            let assignment = network.assign(batch, mask);
            let loss = losses(assignment.clone()).sum_dim(0).div_scalar(graphs as f64);
            (loss.clone(), (loss.inner(), assignment.inner()))
        };
        let (loss, assignment) = self.descend(network, [graphs, nodes], dropout, learning_rate, mean_loss);
        Descent { loss: f64::from(tensor::into_vec(loss)[0]), assignment }
    }
}

impl HostOptimiser {
    /// A fresh optimiser for parameters of these sizes.
    pub fn new(weight_decay: f64, parameters: &[Vec<f32>]) -> HostOptimiser {
        let zeros = |values: &Vec<f32>| vec![0.0; values.len()];
        let moments = parameters.iter().map(|values| Moments { first: zeros(values), second: zeros(values) }).collect();
        HostOptimiser { weight_decay: weight_decay as f32, moments, steps: 0 }
    }

    /// Continues from a state of which so many steps were taken.
    pub fn restored(weight_decay: f64, steps: usize, moments: &[Moments]) -> HostOptimiser {
        HostOptimiser { weight_decay: weight_decay as f32, moments: moments.to_vec(), steps: steps as i32 }
    }

    /// The moments of every parameter.
    pub fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// One step: every parameter moves against its gradient.
    pub fn step(&mut self, learning_rate: f64, parameters: &mut [Vec<f32>], gradients: &[Vec<f32>]) {
        self.steps += 1;
        let [first_beta, second_beta] = BETAS;
        let [first_bias, second_bias] = BETAS.map(|beta| 1.0 - beta.powi(self.steps));
        let rate = learning_rate as f32;
        let kept = 1.0 - rate * self.weight_decay;
        for ((values, gradient), Moments { first, second }) in
            parameters.iter_mut().zip(gradients).zip(&mut self.moments)
        {
            for (((value, &gradient), first), second) in values.iter_mut().zip(gradient).zip(first).zip(second) {
                *first = first_beta * *first + (1.0 - first_beta) * gradient;
                *second = second_beta * *second + (1.0 - second_beta) * gradient * gradient;
                let step = (*first / first_bias) / ((*second / second_bias).sqrt() + EPSILON);
                *value = *value * kept - rate * step;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NetworkConfig;
    use crate::numerics::random;

    #[test]
    fn the_host_takes_the_steps_that_tensors_take() {
        let config =
            NetworkConfig { input: 7, hidden: [6, 5], clusters: 3, dropout: 0.0, root_weight: false, scale: 1.0 };
        let mut network = config.init(4, 0, &tensor::cpu());
        let mut parameters = network.values();
        let (mut by_tensors, mut on_host) = (Optimiser::new(0.1, 6), HostOptimiser::new(0.1, &parameters));
        for step in 0..20 {
            let mut generator = random::stream(4, "gradients", step);
            // Large and small ones, and none at all in the last parameter.
            let gradient = |(index, values): (usize, &Vec<f32>)| {
                let bound = [10.0, 1.0, 1e-3, 1e-6, 1e-9, 0.0][index];
                random::uniform(&mut generator, bound, values.len())
            };
            let gradients: Vec<Vec<f32>> = parameters.iter().enumerate().map(gradient).collect();
            let shapes = config.parameter_shapes().into_iter().map(|(_, shape)| shape);
            let tensors =
                gradients.iter().zip(shapes).map(|(values, shape)| tensor::from_slice(values, shape, &tensor::cpu()));
            by_tensors.step(1e-2, &mut network, tensors.collect());
            on_host.step(1e-2, &mut parameters, &gradients);
            for (found, expected) in parameters.concat().iter().zip(network.values().concat()) {
                assert!((found - expected).abs() < 2e-6, "step {step}: {found} is not {expected}");
            }
        }
        for (found, expected) in on_host.moments.iter().zip(by_tensors.states.iter().flatten()) {
            let [first, second] = [&expected.momentum.moment_1, &expected.momentum.moment_2]
                .map(|values| tensor::into_vec(values.clone()));
            let pairs = found.first.iter().zip(first).chain(found.second.iter().zip(second));
            pairs.for_each(|(found, expected)| assert!((found - expected).abs() <= 1e-5 * expected.abs()));
        }
    }
}
