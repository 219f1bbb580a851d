//! The relaxed normalised cut.

use crate::graph::Batch;
use crate::tensor::{self, Tensor};

/// The two terms of the normalised cut of every graph, each `[B, 1, 1]`.
pub struct NormalisedCutTerms {
    /// −Tr(SᵀWS) / Tr(SᵀDS), in [−1, 0] for non-negative W.
    pub cut: Tensor<3>,
    /// ‖SᵀS / ‖SᵀS‖_F − I/√K‖_F, in [0, 2].
    pub balance: Tensor<3>,
}

/// Normalised cut of soft assignments.
///
/// D is the diagonal matrix of W's row sums, W's diagonal included.
/// Source: Aflalo et al. 2022, arXiv 2212.05853, Eq. 9, after Bianchi et al. 2020, arXiv 1907.00481.
/// Differs from the paper: its Eq. 9 lost the minus sign of the first term.
///
/// # Shapes
/// masked assignment `[B, N, K]` → two of `[B, 1, 1]`
pub fn normalised_cut(batch: &Batch, assignment: Tensor<3>) -> NormalisedCutTerms {
    let [_, _, clusters] = assignment.dims();
    let sum = |values: Tensor<3>| values.sum_dim(1).sum_dim(2);

    let association = batch.affinity_trace(assignment.clone());
    let volume = sum(assignment.clone() * assignment.clone() * batch.degrees.clone());
    // A graph without any affinity has volume 0 and association 0: its cut is 0, not 0/0.
    let cut = -association / volume.clamp_min(1e-12);

    let overlap = assignment.clone().transpose().matmul(assignment);
    // The tiny addend keeps the gradient of the root finite at 0 and is lost in rounding elsewhere.
    let norm = |values: Tensor<3>| sum(values.clone() * values).add_scalar(1e-12).sqrt();
    let normalised = overlap.clone() / norm(overlap.clone());
    let identity = tensor::identity(clusters, &overlap.device()).mul_scalar(1.0 / (clusters as f64).sqrt());
    let balance = norm(normalised - identity.unsqueeze());
    NormalisedCutTerms { cut, balance }
}
