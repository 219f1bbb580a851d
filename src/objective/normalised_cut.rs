//! The relaxed normalised cut.

use super::{Assigned, Differentiated, SMALLEST_VOLUME};
use crate::graph::Batch;
use crate::tensor::{self, Tensor};

/// Keeps the gradient of a root finite at 0 and is lost in rounding elsewhere.
const ROOT_ADDEND: f64 = 1e-12;

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
    let cut = -association / volume.clamp_min(SMALLEST_VOLUME);

    let overlap = assignment.clone().transpose().matmul(assignment);
    let norm = |values: Tensor<3>| sum(values.clone() * values).add_scalar(ROOT_ADDEND).sqrt();
    let normalised = overlap.clone() / norm(overlap.clone());
    let identity = tensor::identity(clusters, &overlap.device()).mul_scalar(1.0 / (clusters as f64).sqrt());
    let balance = norm(normalised - identity.unsqueeze());
    NormalisedCutTerms { cut, balance }
}

/// The same loss of one graph with its terms weighted, and its gradient.
pub(super) fn differentiate(assigned: &Assigned, balance: f64) -> Differentiated {
    let clusters = assigned.clusters;
    let association: f64 = assigned.associations().iter().sum();
    let weighted = |(row, _, degree): (&[f32], &[f32], f32)| {
        f64::from(degree) * row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>()
    };
    let volume: f64 = assigned.nodes().map(weighted).sum();
    let bounded = volume.max(SMALLEST_VOLUME);
    // d/dS of −a/v: −2WS/v + (a/v²) 2DS.
    let by_product = (-2.0 / bounded) as f32;
    let by_degree = if volume > SMALLEST_VOLUME { (2.0 * association / bounded.powi(2)) as f32 } else { 0.0 };
    let (imbalance, by_assignment) = imbalance(assigned.assignment, clusters);
    let mut gradient = Vec::with_capacity(assigned.assignment.len());
    for (row, product, degree) in assigned.nodes() {
        gradient.extend((0..clusters).map(|k| {
            let column = (0..clusters).map(|other| row[other] * by_assignment[other * clusters + k]);
            by_product * product[k] + by_degree * degree * row[k] + balance as f32 * column.sum::<f32>()
        }));
    }
    Differentiated { loss: balance.mul_add(imbalance, -association / bounded), gradient }
}

/// The balance term b = ‖O/‖O‖ − I/√K‖ of O = SᵀS, and the matrix B `[K, K]` with which its gradient is S B.
fn imbalance(assignment: &[f32], clusters: usize) -> (f64, Vec<f32>) {
    let mut overlap = vec![0.0f64; clusters * clusters];
    for row in assignment.chunks_exact(clusters) {
        for (one, &value) in row.iter().enumerate() {
            for (other, &second) in row.iter().enumerate() {
                overlap[one * clusters + other] += f64::from(value) * f64::from(second);
            }
        }
    }
    let norm = |values: &[f64]| (values.iter().map(|value| value * value).sum::<f64>() + ROOT_ADDEND).sqrt();
    let length = norm(&overlap);
    let target = (clusters as f64).sqrt().recip();
    let difference: Vec<f64> = overlap
        .iter()
        .enumerate()
        .map(|(place, value)| value / length - if place % (clusters + 1) == 0 { target } else { 0.0 })
        .collect();
    let distance = norm(&difference);
    // With the unit difference U: db/dO = U/‖O‖ − O (U:O)/‖O‖³, symmetric, and dO/dS doubles it.
    let along: f64 = difference.iter().zip(&overlap).map(|(one, other)| one * other).sum::<f64>() / distance;
    let gradient = difference.iter().zip(&overlap).map(|(difference, overlap)| {
        (2.0 * (difference / distance / length - overlap * along / length.powi(3))) as f32
    });
    (distance, gradient.collect())
}
