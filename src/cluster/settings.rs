//! How a collection is grouped.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::vectors::Scaling;
use crate::numerics::range::{InvalidSetting, within};

/// How a collection is grouped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// What groups are.
    pub method: Method,
    /// Correlation only: in [1, ∞), smaller gives more clusters. The paper uses 3.
    pub alpha: f64,
    /// Most clusters (correlation; default as many as there are; spectral; default 10), or how many (k-means, which needs
    /// it).
    pub clusters: Option<usize>,
    /// Fresh starts of correlation and k-means; the lowest objective is kept.
    pub restarts: usize,
    /// Steps of the optimiser in every restart. Default: 200, and fewer, longer ones for more than 4000 vectors.
    pub epochs: Option<usize>,
    /// Learning rate of AdamW. Default: 0.2 / epochs.
    pub learning_rate: Option<f64>,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Correlation only: share of the collection that both sides of a split cluster hold at least (and two images).
    pub smallest_share: f64,
    /// How vectors are scaled.
    pub scaling: Scaling,
    /// Correlation only: whether features propagate between all pairs or between neighbours.
    pub propagation: Propagation,
    /// Neighbours of a vector in sparse propagation.
    pub neighbours: usize,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        ClusterConfig {
            method: Method::Correlation,
            alpha: 3.0,
            clusters: None,
            restarts: 4,
            epochs: None,
            learning_rate: None,
            weight_decay: 0.01,
            smallest_share: 0.01,
            scaling: Scaling::Auto,
            propagation: Propagation::Auto,
            neighbours: 32,
            seed: 0,
        }
    }
}

/// The graph network of correlation clustering; its input and its clusters follow from the vectors and the settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterNetwork {
    /// Output channels of the graph convolution and of the head's first layer.
    pub hidden: [usize; 2],
    /// Share of the head's hidden units dropped during training, in [0, 1).
    pub dropout: f64,
}

impl Default for ClusterNetwork {
    fn default() -> Self {
        ClusterNetwork { hidden: [64, 32], dropout: 0.25 }
    }
}

/// What groups are, and who finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Correlation clustering by the graph network; the number of clusters follows from the objective.
    Correlation,
    /// Connected components of the pairs with positive inner products.
    Components,
    /// Spectral clustering; the number of clusters is where the normalised Laplacian's eigenvalues leave the largest gap.
    Spectral,
    /// k-means with a known number of clusters.
    Kmeans,
}

/// Between which pairs features are propagated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Exact up to 100 000 vectors, sparse above.
    #[default]
    Auto,
    /// Between all pairs.
    Exact,
    /// Between neighbours found by random projection trees. Only where the network starts from depends on it: the
    /// objective that decides is always that of all pairs.
    Sparse,
}

/// Outputs of the network where nothing limits the clusters: splits go on from there.
const NETWORK_CLUSTERS: usize = 10;
/// The default of [`ClusterConfig::clusters`] for spectral clustering.
const MOST_SPECTRAL_CLUSTERS: usize = 10;

impl Method {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Method::Correlation => "correlation",
            Method::Components => "components",
            Method::Spectral => "spectral",
            Method::Kmeans => "kmeans",
        }
    }
}

impl ClusterConfig {
    /// Most clusters that the method may find; none where nothing limits it, and for k-means, which is told how many.
    pub fn most_clusters(&self) -> Option<usize> {
        match self.method {
            Method::Correlation => self.clusters,
            Method::Spectral => Some(self.clusters.unwrap_or(MOST_SPECTRAL_CLUSTERS)),
            Method::Components | Method::Kmeans => None,
        }
    }

    /// Clusters among which the network of correlation clustering chooses.
    pub fn network_clusters(&self) -> usize {
        self.clusters.unwrap_or(NETWORK_CLUSTERS)
    }

    /// Refuses settings that nothing could be grouped with.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("alpha", self.alpha, 1.0, 1e6)?;
        within("clusters", self.clusters.unwrap_or(1) as f64, 1.0, 1000.0)?;
        within("restarts", self.restarts as f64, 1.0, 1000.0)?;
        within("epochs", self.epochs.unwrap_or(1) as f64, 1.0, 1e6)?;
        within("learning_rate", self.learning_rate.unwrap_or(1.0), f64::MIN_POSITIVE, 10.0)?;
        within("weight_decay", self.weight_decay, 0.0, 1.0)?;
        within("smallest_share", self.smallest_share, 0.0, 0.5)?;
        within("neighbours", self.neighbours as f64, 1.0, 1000.0)
    }
}
