//! What a good clustering of a graph is: the losses that a network is trained with, label-free.
//!
//! Every objective takes a batch of graphs and the soft assignments S of their nodes, zero on padding, and gives one
//! loss per graph. A second form of the same loss is of one graph on the host, without a tape, and gives the gradient too.

mod association;
mod config;
mod correlation;
mod cross_entropy;
mod normalised_cut;

pub use association::normalised_association;
pub use config::{ObjectiveConfig, ObjectiveKind};
pub use correlation::{collection_correlation, correlation};
pub use cross_entropy::cross_entropy;
pub use normalised_cut::{NormalisedCutTerms, normalised_cut};

use serde::{Deserialize, Serialize};

use crate::graph::{Batch, Graph};
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

    /// What [`Objective::losses`] says of one graph, with its gradient.
    ///
    /// # Shapes
    /// assignment S `[N, K]`
    ///
    /// # Panics
    /// For the cross-entropy, if the graph has no targets for K classes.
    pub fn differentiate(self, graph: &Graph, assignment: &[f32], clusters: usize) -> Differentiated {
        if self == Objective::CrossEntropy {
            let targets = graph.targets.as_ref().expect("a graph with targets");
            return cross_entropy::differentiate(targets, assignment, clusters);
        }
        let product = graph.affinity_product(assignment, clusters);
        let assigned = Assigned { assignment, product: &product, degrees: &graph.degrees, clusters };
        match self {
            Objective::Ncut { balance } => normalised_cut::differentiate(&assigned, balance),
            Objective::Cc => correlation::differentiate(&assigned),
            Objective::Association | Objective::CrossEntropy => association::differentiate(&assigned),
        }
    }

    /// What [`Objective::scaled_losses`] says of one graph, with its gradient.
    ///
    /// # Panics
    /// As [`Objective::differentiate`].
    pub fn differentiate_scaled(self, graph: &Graph, assignment: &[f32], clusters: usize) -> Differentiated {
        let mut found = self.differentiate(graph, assignment, clusters);
        if self == Objective::Cc {
            let magnitude = graph.magnitude();
            found.loss /= f64::from(magnitude);
            found.gradient.iter_mut().for_each(|value| *value /= magnitude);
        }
        found
    }
}

/// The loss of one graph and its gradient with respect to the assignment.
#[derive(Debug, Clone, PartialEq)]
pub struct Differentiated {
    pub loss: f64,
    /// Row-major `[N, K]`.
    pub gradient: Vec<f32>,
}

/// Below it a volume is none.
const SMALLEST_VOLUME: f64 = 1e-12;

/// One graph's nodes in soft clusters, on the host.
struct Assigned<'a> {
    /// S, `[N, K]`.
    assignment: &'a [f32],
    /// W S, `[N, K]`.
    product: &'a [f32],
    /// Row sums of W, `[N]`.
    degrees: &'a [f32],
    /// K.
    clusters: usize,
}

impl<'a> Assigned<'a> {
    /// S, W S and the row sum of W of every node.
    fn nodes(&self) -> impl Iterator<Item = (&'a [f32], &'a [f32], f32)> {
        let rows = self.assignment.chunks_exact(self.clusters).zip(self.product.chunks_exact(self.clusters));
        rows.zip(self.degrees).map(|((row, product), &degree)| (row, product, degree))
    }

    /// S_kᵀWS_k of every cluster.
    fn associations(&self) -> Vec<f64> {
        let mut associations = vec![0.0f64; self.clusters];
        for (row, product, _) in self.nodes() {
            for ((sum, &value), &product) in associations.iter_mut().zip(row).zip(product) {
                *sum += f64::from(value) * f64::from(product);
            }
        }
        associations
    }
}
