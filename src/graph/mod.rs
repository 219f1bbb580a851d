//! Nodes → graph: affinities between nodes, and features propagated over them.
//!
//! A propagated graph is all that the network and the objective ever need of an image. Propagation does not depend on
//! any parameter, so it is done once per image, and every epoch afterwards is a small multilayer perceptron.

mod batch;
mod device;
mod product;
mod propagation;
mod proximity;
mod storage;
mod subgraph;
mod symmetric;
mod tiles;

pub use batch::Batch;
pub use device::DeviceGraphs;
pub use propagation::MOST_FORMED_NODES;
pub use proximity::{Proximity, deviation};
pub use storage::GraphBytesError;
pub use subgraph::centre;
pub use symmetric::SymmetricMatrix;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nodes::{Adjacency, Edge, NodeFeatures};
use crate::numerics::range::{InvalidSetting, require};

/// How nodes become a graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GraphConfig {
    /// Correlation clustering only: in [1, ∞), smaller gives more clusters. The official code uses 3.
    pub alpha: f64,
    /// Normalised cut and association between all pairs only: what is taken from inner products before those that are
    /// negative become zero.
    /// Default: the mean for association and the eigenvector, nothing for the paper's normalised cut.
    pub offset: Option<Offset>,
}

/// What is taken from the inner products of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Offset {
    /// Their mean over the image: nearly all cosines of a transformer's keys are positive, and a graph of them is almost
    /// the same everywhere.
    Mean,
    /// Nothing, as in the paper.
    None,
}

impl Default for GraphConfig {
    fn default() -> Self {
        GraphConfig { alpha: 3.0, offset: None }
    }
}

impl GraphConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        require(self.alpha >= 1.0 && self.alpha.is_finite(), "alpha", self.alpha, "at least 1")
    }
}

/// How affinities follow from features.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Affinity {
    /// Normalised cut: W = max(F Fᵀ, 0) / max(F Fᵀ). On listed edges: the weights as they are.
    /// Differs from the paper: the division is the official code's.
    NonNegative,
    /// Normalised cut: W = max(F Fᵀ − m, 0) / (max(F Fᵀ) − m), with m the mean of F Fᵀ, which is ‖mean of f‖².
    /// On listed edges: the weights as they are.
    /// Differs from the paper, where m is 0.
    AboveMean,
    /// Correlation clustering: W = F Fᵀ − max(F Fᵀ)/α, positive and negative.
    /// On listed edges: w − max(w)/α; pairs without an edge have no affinity.
    Correlation {
        /// In [1, ∞); smaller gives more clusters.
        alpha: f64,
    },
}

/// The graph of one image, on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Channels per node, D.
    pub channels: usize,
    /// X, row-major `[N, D]`.
    pub features: Vec<f32>,
    /// P = Â X, row-major `[N, D]`.
    pub propagated: Vec<f32>,
    /// Row sums of W, `[N]`.
    pub degrees: Vec<f32>,
    /// How to apply W.
    pub weights: Weights,
    /// Correlation clustering only: share of all affinities that are not positive (the paper's Table 4 counts these); of
    /// listed edges, among the listed.
    pub negative_share: Option<f32>,
    /// Positions of the layout's raster that each node covers, `[N]`.
    pub area: Vec<f32>,
    /// Of these, how many lie on the image border, `[N]`.
    pub border: Vec<f32>,
    /// What a network is taught of every node, the share of each of C classes, row-major `[N, C]`; none unless there was
    /// a teacher.
    pub targets: Option<Vec<f32>>,
    /// W itself, where it was to be kept, is non-negative and of at most [`MOST_FORMED_NODES`].
    pub affinities: Option<SymmetricMatrix>,
}

impl Graph {
    /// With W formed, where it is non-negative and not too large: worth it where W is used again and again.
    pub fn keeping_affinities(mut self) -> Graph {
        if let Weights::NonNegative { offset, scale } = self.weights
            && self.affinities.is_none()
            && self.nodes() <= MOST_FORMED_NODES
        {
            self.affinities = Some(SymmetricMatrix::of_products(&self.features, self.channels, offset, scale));
        }
        self
    }

    /// An upper bound of Σ_ij |W_ij|, above zero: what makes objectives of unequal graphs comparable. That of a complete graph with
    /// plain inner products is N² · max‖x‖²; a list of edges is simply summed.
    pub fn magnitude(&self) -> f32 {
        let pairs = (self.nodes() * self.nodes()) as f32;
        let bound = match &self.weights {
            Weights::NonNegative { .. } => pairs,
            Weights::Correlation { .. } => {
                let norms =
                    self.features.chunks_exact(self.channels).map(|row| row.iter().map(|value| value * value).sum());
                pairs * norms.fold(0.0f32, f32::max)
            }
            Weights::Edges { edges, offset } => edges.iter().map(|edge| 2.0 * (edge.weight - offset).abs()).sum(),
        };
        bound.max(f32::MIN_POSITIVE)
    }

    /// Bytes that its values take.
    pub fn bytes(&self) -> usize {
        let Graph { features, propagated, degrees, area, border, targets, affinities, .. } = self;
        let arrays = [features, propagated, degrees, area, border].into_iter().chain(targets);
        let edges = if let Weights::Edges { edges, .. } = &self.weights { size_of_val(edges.as_slice()) } else { 0 };
        arrays.map(|array| size_of_val(array.as_slice())).sum::<usize>()
            + edges
            + affinities.as_ref().map_or(0, SymmetricMatrix::bytes)
    }
}

/// The affinity matrix of a graph without forming it.
#[derive(Debug, Clone, PartialEq)]
pub enum Weights {
    /// W_ij = max(x_i·x_j − offset, 0) · scale.
    NonNegative { offset: f32, scale: f32 },
    /// W_ij = x_i·x_j − offset.
    Correlation { offset: f32 },
    /// W_ij = weight − offset for the listed pairs i < j, symmetric, zero elsewhere.
    Edges { edges: Vec<Edge>, offset: f32 },
}

impl Weights {
    /// Offset and scale.
    fn parameters(&self) -> [f32; 2] {
        match *self {
            Weights::NonNegative { offset, scale } => [offset, scale],
            Weights::Correlation { offset } | Weights::Edges { offset, .. } => [offset, 1.0],
        }
    }
}

impl Graph {
    /// Builds the graph of an image and propagates its features, on the processor; those of whole batches are [`DeviceGraphs`].
    ///
    /// Message passing uses the positive entries of W only: Â = D^-½ (W⁺ with self-loops) D^-½, where a positive
    /// diagonal entry is kept as the self-loop, a missing one becomes 1, and D holds the row sums of that matrix.
    /// Differs from the paper: its Eq. 4 writes an unweighted mean; this is the official code's propagation.
    pub fn build(nodes: &NodeFeatures, affinity: Affinity) -> Graph {
        Graph::build_and_keep(nodes, affinity, false)
    }

    /// The same with W kept where that is possible, for those who apply it many times.
    pub fn build_keeping_affinities(nodes: &NodeFeatures, affinity: Affinity) -> Graph {
        Graph::build_and_keep(nodes, affinity, true)
    }

    fn build_and_keep(nodes: &NodeFeatures, affinity: Affinity, keep: bool) -> Graph {
        let (features, coverage) = (nodes.values.clone(), nodes.layout.coverage());
        match &nodes.adjacency {
            Adjacency::Complete => propagation::over_features(features, nodes.channels, affinity, keep, coverage),
            Adjacency::Edges(edges) => propagation::over_edges(features, nodes.channels, edges, affinity, coverage),
        }
    }

    /// Whether no two nodes differ, so that there is nothing to tell apart.
    pub fn is_uniform(&self) -> bool {
        let mut rows = self.features.chunks_exact(self.channels.max(1));
        rows.next().is_none_or(|first| rows.all(|row| row == first))
    }

    /// Number of nodes, N.
    pub fn nodes(&self) -> usize {
        self.degrees.len()
    }
}
