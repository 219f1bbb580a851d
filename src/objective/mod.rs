//! What a good clustering of a graph is: the losses that a network is trained with, label-free.
//!
//! Every objective takes a batch of graphs and the soft assignments S of their nodes, zero on padding, and gives one
//! loss per graph.

mod association;
mod config;
mod correlation;
mod cross_entropy;
mod gradient;
mod normalised_cut;

pub use association::normalised_association;
pub use config::{ObjectiveConfig, ObjectiveKind};
pub use correlation::correlation;
pub use cross_entropy::cross_entropy;
pub use gradient::Differentiated;
pub use normalised_cut::{NormalisedCutTerms, normalised_cut};

use serde::{Deserialize, Serialize};

use crate::graph::Batch;
use crate::tensor::Tensor;

/// What a network is trained for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Normalised association: the K-way normalised cut, which needs no balance term.
    Association,
    /// Normalised cut with a balance term.
    Ncut {
        /// Weight of the balance term; the paper uses 1.
        balance: f64,
    },
    /// Correlation clustering: the number of clusters follows from the affinities, K is only its maximum.
    Cc,
    /// To say what a teacher says: the batch's targets.
    CrossEntropy,
}

impl Objective {
    /// The loss of every graph as its source writes it; correlation clustering grows with the graph and its features.
    ///
    /// # Shapes
    /// masked assignment `[B, N, K]` → `[B, 1, 1]`
    ///
    /// # Panics
    /// For the cross-entropy, if the batch has no targets for K classes.
    pub fn losses(self, batch: &Batch, assignment: Tensor<3>) -> Tensor<3> {
        match self {
            Objective::Association => normalised_association(batch, assignment),
            Objective::Ncut { balance } => {
                let terms = normalised_cut(batch, assignment);
                terms.cut + terms.balance.mul_scalar(balance)
            }
            Objective::Cc => correlation(batch, assignment),
            Objective::CrossEntropy => cross_entropy(batch, assignment),
        }
    }

    /// The loss of every graph on a scale that does not depend on the graph's size, so that graphs of a batch count
    /// equally: the others are free of scale, correlation clustering is divided by [`Batch::magnitude`].
    ///
    /// # Shapes
    /// masked assignment `[B, N, K]` → `[B, 1, 1]`
    pub fn scaled_losses(self, batch: &Batch, assignment: Tensor<3>) -> Tensor<3> {
        let losses = self.losses(batch, assignment);
        match self {
            Objective::Cc => losses / batch.magnitude.clone(),
            _ => losses,
        }
    }
}
