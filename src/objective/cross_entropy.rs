//! The cross-entropy with a teacher's answer.

use super::Differentiated;
use crate::graph::Batch;
use crate::tensor::{self, Tensor};

/// Of which there is a logarithm.
const SMALLEST_PROBABILITY: f32 = 1e-7;

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
    -(targets * assignment.clamp_min(SMALLEST_PROBABILITY).log()).sum_dim(1).sum_dim(2) / counts
}

/// The same loss of one graph, and its gradient.
///
/// # Shapes
/// targets, assignment `[N, C]`
pub(super) fn differentiate(targets: &[f32], assignment: &[f32], classes: usize) -> Differentiated {
    assert_eq!(targets.len(), assignment.len(), "targets for every class");
    let nodes = (assignment.len() / classes) as f32;
    let pairs = || targets.iter().zip(assignment);
    let loss = pairs().map(|(&target, &value)| f64::from(target * value.max(SMALLEST_PROBABILITY).ln())).sum::<f64>();
    let of_value = |(&target, &value): (&f32, &f32)| {
        if value >= SMALLEST_PROBABILITY { -target / value / nodes } else { 0.0 }
    };
    Differentiated { loss: -loss / f64::from(nodes), gradient: pairs().map(of_value).collect() }
}
