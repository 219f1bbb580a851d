//! What a good clustering of a graph is: the losses that the network is trained with, label-free.
//!
//! Every objective takes a batch of graphs and the soft assignments S of their nodes, zero on padding, and gives one
//! loss per graph.

mod correlation;
mod normalised_cut;

pub use correlation::correlation;
pub use normalised_cut::{NormalisedCutTerms, normalised_cut};

use serde::{Deserialize, Serialize};

use crate::graph::Batch;
use crate::tensor::Tensor;

/// The clustering objective.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Normalised cut with a balance term.
    Ncut {
        /// Weight of the balance term; the paper uses 1.
        balance: f64,
    },
    /// Correlation clustering: the number of clusters follows from the affinities, K is only its maximum.
    Cc,
}

impl Objective {
    /// The loss of every graph as the paper writes it; correlation clustering grows with the graph and its features.
    ///
    /// # Shapes
    /// masked assignment `[B, N, K]` → `[B, 1, 1]`
    pub fn losses(self, batch: &Batch, assignment: Tensor<3>) -> Tensor<3> {
        match self {
            Objective::Ncut { balance } => {
                let terms = normalised_cut(batch, assignment);
                terms.cut + terms.balance.mul_scalar(balance)
            }
            Objective::Cc => correlation(batch, assignment),
        }
    }

    /// The loss of every graph on a scale that does not depend on the graph's size, so that graphs of a batch count
    /// equally: N-cut is free of scale, correlation clustering is divided by [`Batch::magnitude`].
    ///
    /// # Shapes
    /// masked assignment `[B, N, K]` → `[B, 1, 1]`
    pub fn scaled_losses(self, batch: &Batch, assignment: Tensor<3>) -> Tensor<3> {
        let losses = self.losses(batch, assignment);
        match self {
            Objective::Ncut { .. } => losses,
            Objective::Cc => losses / batch.magnitude.clone(),
        }
    }
}
