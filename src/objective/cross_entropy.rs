//! The cross-entropy with a teacher's answer.

use crate::graph::Batch;
use crate::tensor::{self, Tensor};

/// Mean over nodes of −Σ_c t_c ln s_c, in nats, t the shares of the classes in the batch's targets.
///
/// # Shapes
/// masked assignment `[B, N, C]` → `[B, 1, 1]`
///
/// # Panics
/// If the batch has no targets for C classes.
pub fn cross_entropy(batch: &Batch, assignment: Tensor<3>) -> Tensor<3> {
    let targets = batch.targets.clone().expect("a batch with targets");
    assert_eq!(targets.dims(), assignment.dims(), "targets for every class");
    let counts: Vec<f32> = batch.counts.iter().map(|&count| count as f32).collect();
    let counts = tensor::from_slice(&counts, [counts.len(), 1, 1], &assignment.device());
    // Padding has no targets. Below the bound the logarithm ends, and with it the gradient of that class in that node.
    -(targets * assignment.clamp_min(1e-7).log()).sum_dim(1).sum_dim(2) / counts
}
