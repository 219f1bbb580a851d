//! AdamW over the network's parameters, with state that can be stored.

use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, SimpleOptimizer};

use rand_chacha::ChaCha8Rng;

use crate::graph::Batch;
use crate::model::Network;
use crate::numerics::random;
use crate::tensor::{self, Backend, Device, Tensor};

/// AdamW with betas 0.9/0.999 and epsilon 1e-8, PyTorch's defaults (burn's differ), one state per parameter.
pub struct Optimiser {
    rule: AdamW,
    states: Vec<Option<AdamWState<Backend, 2>>>,
}

/// What a step was taken from.
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
            .with_beta_1(0.9)
            .with_beta_2(0.999)
            .with_epsilon(1e-8)
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

    /// One step on the mean of `losses` over a batch of recording tensors, dropout on.
    ///
    /// `losses` maps the assignment `[B, N, K]` to `[B, 1, 1]`; the dropout mask is drawn from `dropout`.
    pub fn descend(
        &mut self,
        network: &mut Network,
        batch: &Batch,
        losses: impl FnOnce(Tensor<3>) -> Tensor<3>,
        mut dropout: ChaCha8Rng,
        learning_rate: f64,
    ) -> Descent {
        let mut tracked = network.clone();
        for parameter in tracked.parameters_mut() {
            parameter.value = Tensor::from_inner(parameter.value.clone()).require_grad();
        }
        let config = network.config();
        let mask = (config.dropout > 0.0).then(|| {
            let [graphs, nodes, _] = batch.propagated.dims();
            let shape = [graphs, nodes, config.hidden[1]];
            let mask = random::dropout_mask(&mut dropout, config.dropout, shape.iter().product());
            tensor::from_vec(mask, shape, &batch.propagated.device())
        });
        let assignment = tracked.assign(batch, mask);
        let loss = losses(assignment.clone()).sum_dim(0).div_scalar(batch.counts.len() as f64);
        let tape = loss.backward();
        let gradients = tracked.parameters().iter().map(|parameter| {
            let gradient = parameter.value.grad(&tape);
            // A parameter that the loss does not depend on.
            gradient.unwrap_or_else(|| parameter.value.clone().inner().zeros_like())
        });
        self.step(learning_rate, network, gradients.collect());
        Descent { loss: f64::from(tensor::into_vec(loss.inner())[0]), assignment: assignment.inner() }
    }

    /// Number of steps taken, and the moments of every parameter once there was a step.
    pub fn state(&self) -> (usize, Vec<Moments>) {
        let steps = self.states.first().and_then(Option::as_ref).map_or(0, |state| state.momentum.time);
        let moments = self.states.iter().flatten().map(|state| Moments {
            first: tensor::into_vec(state.momentum.moment_1.clone()),
            second: tensor::into_vec(state.momentum.moment_2.clone()),
        });
        (steps, moments.collect())
    }

    /// Continues from what [`Optimiser::state`] gave; `shapes` are the parameters'.
    pub fn restore(&mut self, steps: usize, moments: &[Moments], shapes: &[[usize; 2]], device: &Device) {
        for ((state, stored), &shape) in self.states.iter_mut().zip(moments).zip(shapes) {
            let mut momentum = AdaptiveMomentumState::new(
                steps,
                tensor::from_slice(&stored.first, shape, device),
                tensor::from_slice(&stored.second, shape, device),
            );
            momentum.max_moment_2 = None;
            *state = Some(AdamWState::new(momentum));
        }
    }
}
