//! Normalisation of every channel by the statistics of a batch, and the tanh after it.

use crate::numerics::vectorised::{Dropout, combine, dropped_tanh, scaled_tanh};

/// How much of a batch's statistics goes into the running ones.
const MOMENTUM: f32 = 0.1;
/// Added to variances.
const EPSILON: f32 = 1e-5;

/// Mean and variance of every channel, over the batches of late.
#[derive(Debug, Clone)]
pub struct Running {
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// Mean and 1 / standard deviation of a channel in a batch.
#[derive(Debug, Clone, Copy)]
pub struct Statistics {
    pub mean: f32,
    pub inverse: f32,
}

impl Running {
    pub fn new(channels: usize) -> Running {
        Running { mean: vec![0.0; channels], variance: vec![1.0; channels] }
    }

    /// The statistics of a batch of `count` values in each channel from their Σ x and Σ x², which join the running ones.
    pub fn take_in(&mut self, moments: &[[f64; 2]], count: f64) -> Vec<Statistics> {
        let mut statistics = Vec::with_capacity(moments.len());
        for (([sum, squares], mean), variance) in moments.iter().zip(&mut self.mean).zip(&mut self.variance) {
            let batch_mean = sum / count;
            let batch_variance = (squares / count - batch_mean * batch_mean).max(0.0);
            let unbiased = batch_variance * count / (count - 1.0).max(1.0);
            *mean += MOMENTUM * (batch_mean as f32 - *mean);
            *variance += MOMENTUM * (unbiased as f32 - *variance);
            let inverse = 1.0 / (batch_variance as f32 + EPSILON).sqrt();
            statistics.push(Statistics { mean: batch_mean as f32, inverse });
        }
        statistics
    }

    pub fn statistics(&self) -> Vec<Statistics> {
        let channels = self.mean.iter().zip(&self.variance);
        channels.map(|(&mean, variance)| Statistics { mean, inverse: 1.0 / (variance + EPSILON).sqrt() }).collect()
    }
}

/// The planes of every channel.
pub fn planes(values: &[f32], channels: usize) -> impl Iterator<Item = &[f32]> {
    values.chunks_exact(values.len() / channels)
}

/// tanh of normalised planes, `[channels, …]`.
pub fn normalise(into: &mut Vec<f32>, values: &[f32], affine: &[[f32; 2]]) {
    into.resize(values.len(), 0.0);
    let length = values.len() / affine.len();
    for ((into, values), &[scale, shift]) in into.chunks_exact_mut(length).zip(values.chunks_exact(length)).zip(affine)
    {
        scaled_tanh(into, values, scale, shift);
    }
}

/// The same with dropout.
pub fn normalise_and_drop(into: &mut Vec<f32>, values: &[f32], affine: &[[f32; 2]], draws: &[u8], rate: f64) {
    into.resize(values.len(), 0.0);
    let length = values.len() / affine.len();
    let of_planes = into.chunks_exact_mut(length).zip(values.chunks_exact(length)).zip(draws.chunks_exact(2 * length));
    for (((into, values), draws), &[scale, shift]) in of_planes.zip(affine) {
        dropped_tanh(into, values, scale, shift, Dropout::new(draws, rate));
    }
}

/// For every plane its gradient · a + its value · b + c.
pub fn combine_planes(gradients: &mut [f32], values: &[f32], ways_back: &[[f32; 3]]) {
    let length = values.len() / ways_back.len();
    for ((gradients, values), &[a, b, c]) in
        gradients.chunks_exact_mut(length).zip(values.chunks_exact(length)).zip(ways_back)
    {
        combine(gradients, values, a, b, c);
    }
}
