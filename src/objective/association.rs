//! The normalised association.

use super::{Assigned, Differentiated, SMALLEST_VOLUME};
use crate::graph::Batch;
use crate::tensor::Tensor;

/// Mean normalised association of soft clusters, negative: −(1/K) Σ_k S_kᵀWS_k / S_kᵀD1, in [−1, 0] for non-negative W.
///
/// D is the diagonal matrix of W's row sums, W's diagonal included. For hard assignments it is the normalised cut up to
/// constants: Ncut = K − Σ_k S_kᵀWS_k / S_kᵀD1. Every cluster has a denominator of its own, so that an empty one gains
/// nothing and no balance term is needed, which in the paper's objective pulls clusters towards equal sizes.
/// Source: Shi and Malik, "Normalized Cuts and Image Segmentation", PAMI 2000; Yu and Shi, "Multiclass Spectral
/// Clustering", ICCV 2003.
/// Differs from the paper: its Eq. 9 divides one sum over all clusters by another and adds a balance term.
///
/// # Shapes
/// masked assignment `[B, N, K]` → `[B, 1, 1]`
pub fn normalised_association(batch: &Batch, assignment: Tensor<3>) -> Tensor<3> {
    let associations = batch.associations(assignment.clone());
    let volumes = (assignment * batch.degrees.clone()).sum_dim(1);
    // A cluster without any volume has no association either: 0, not 0/0.
    -(associations / volumes.clamp_min(SMALLEST_VOLUME)).mean_dim(2)
}

/// The same loss of one graph, and its gradient.
pub(super) fn differentiate(assigned: &Assigned) -> Differentiated {
    let (associations, clusters) = (assigned.associations(), assigned.clusters);
    let mut volumes = vec![0.0f64; clusters];
    for (row, _, degree) in assigned.nodes() {
        for (volume, &value) in volumes.iter_mut().zip(row) {
            *volume += f64::from(value) * f64::from(degree);
        }
    }
    let share = |k: usize| associations[k] / volumes[k].max(SMALLEST_VOLUME);
    let per_cluster = |value: &dyn Fn(usize) -> f64| (0..clusters).map(|k| value(k) as f32).collect::<Vec<f32>>();
    // d/dS of −a/(K v): −(2WS − (a/v) D)/(K v); below the least volume v is constant.
    let by_product = per_cluster(&|k| -2.0 / volumes[k].max(SMALLEST_VOLUME) / clusters as f64);
    let by_degree = per_cluster(&|k| {
        if volumes[k] > SMALLEST_VOLUME { share(k) / volumes[k] / clusters as f64 } else { 0.0 }
    });
    let mut gradient = Vec::with_capacity(assigned.assignment.len());
    for (_, product, degree) in assigned.nodes() {
        gradient.extend((0..clusters).map(|k| by_product[k] * product[k] + by_degree[k] * degree));
    }
    Differentiated { loss: -(0..clusters).map(share).sum::<f64>() / clusters as f64, gradient }
}
