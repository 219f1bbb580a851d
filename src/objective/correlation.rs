//! The correlation clustering objective.

use crate::graph::Batch;
use crate::tensor::Tensor;

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
