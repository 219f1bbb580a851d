//! The correlation clustering objective.

use super::{Assigned, Differentiated};
use crate::graph::Batch;
use crate::tensor::{self, Tensor};

/// Correlation clustering of soft assignments: −Σ_ij W_ij (S Sᵀ)_ij = −Tr(SᵀWS), not normalised.
///
/// Nodes in one cluster gain their affinity, positive or negative, so the number of clusters in use follows from W.
/// Source: Aflalo et al. 2022, arXiv 2212.05853, Eq. 11, after Bagon and Galun 2011, arXiv 1112.2903. For complete
/// graphs the trace is evaluated in closed form, without any N×N matrix (see [`Batch::affinity_trace`]).
///
/// # Shapes
/// masked assignment `[B, N, K]` → `[B, 1, 1]`
pub fn correlation(batch: &Batch, assignment: Tensor<3>) -> Tensor<3> {
    -batch.affinity_trace(assignment)
}

/// The same loss of one graph, and its gradient −2WS.
pub(super) fn differentiate(assigned: &Assigned) -> Differentiated {
    let gradient = assigned.product.iter().map(|&value| -2.0 * value).collect();
    Differentiated { loss: -assigned.associations().iter().sum::<f64>(), gradient }
}

/// The same loss of a whole collection with W = F Fᵀ − c · 11ᵀ, divided by `magnitude`: −(‖FᵀS‖² − c ‖Sᵀ1‖²) / magnitude,
/// and its gradient G = −2 (F FᵀS − c 1 1ᵀS) / magnitude.
///
/// Both are computed without a tape. The loss is quadratic in S, so Σ S∘G has the right gradient for what S was made of,
/// and no copy of F is kept for a backward pass.
///
/// # Shapes
/// features F `[N, D]`, assignment S `[N, K]` → loss, `[N, K]`
pub fn collection_correlation(
    features: &Tensor<2>,
    offset: f64,
    magnitude: f64,
    assignment: Tensor<2>,
) -> (f64, Tensor<2>) {
    let together = features.clone().transpose().matmul(assignment.clone());
    let sizes = assignment.clone().sum_dim(0);
    let gradient = features.clone().matmul(together) - sizes.mul_scalar(offset);
    let gradient = gradient.mul_scalar(-2.0 / magnitude);
    // The loss is half of Σ S∘G, being quadratic.
    let loss = tensor::into_vec((assignment * gradient.clone()).sum_dim(0).sum_dim(1));
    (0.5 * f64::from(loss[0]), gradient)
}
