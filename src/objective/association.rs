//! The normalised association.

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
    -(associations / volumes.clamp_min(1e-12)).mean_dim(2)
}
