//! AdamW over the network's parameters, with state that can be stored.

use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, SimpleOptimizer};

use crate::model::Network;
use crate::tensor::{self, Backend, Device, Tensor};

/// AdamW with betas 0.9/0.999 and epsilon 1e-8, PyTorch's defaults (burn's differ), one state per parameter.
pub struct Optimiser {
    rule: AdamW,
    states: Vec<Option<AdamWState<Backend, 2>>>,
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
