//! Collections of images without a number of clusters: one vector per image, and groups among them.
//!
//! [`cluster`] groups [`Vectors`] by correlation clustering, the paper's way, or by one of its baselines. What it finds
//! can be kept as an [`Assigner`], which puts new vectors into the same clusters and can be written to a file.

mod assigner;
mod components;
mod correlation;
mod k_means;
mod map;
mod neighbours;
mod partition;
mod propagation;
mod spectral;
mod spread;
mod vectors;

pub use assigner::{Assigner, AssignerHeader, Assignment};
pub use map::map;
pub use spectral::MOST_VECTORS as MOST_SPECTRAL_VECTORS;
pub use vectors::{FittedScaling, Scaling, Vectors};

use serde::{Deserialize, Serialize};

use crate::event::Observer;
use crate::model::NetworkConfig;
use crate::numerics::range::{InvalidSetting, within};
use crate::tensor::Device;

/// How a collection is grouped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// What groups are.
    pub method: Method,
    /// Correlation only: in [1, ∞), smaller gives more clusters. The paper uses 3.
    pub alpha: f64,
    /// Most clusters (correlation, spectral; default 10), or how many (k-means, which needs it).
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

/// What groups are, and who finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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

/// The default of [`ClusterConfig::clusters`] where it is a maximum.
const MOST_CLUSTERS: usize = 10;

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
    /// Most clusters of correlation and spectral clustering.
    pub fn most_clusters(&self) -> usize {
        self.clusters.unwrap_or(MOST_CLUSTERS)
    }

    /// Refuses settings that nothing could be grouped with.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("alpha", self.alpha, 1.0, 1e6)?;
        within("clusters", self.most_clusters() as f64, 1.0, 1000.0)?;
        within("restarts", self.restarts as f64, 1.0, 1000.0)?;
        within("epochs", self.epochs.unwrap_or(1) as f64, 1.0, 1e6)?;
        within("learning_rate", self.learning_rate.unwrap_or(1.0), f64::MIN_POSITIVE, 10.0)?;
        within("weight_decay", self.weight_decay, 0.0, 1.0)?;
        within("smallest_share", self.smallest_share, 0.0, 0.5)?;
        within("neighbours", self.neighbours as f64, 1.0, 1000.0)
    }
}

/// Why vectors cannot be grouped.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClusterError {
    #[error("there is nothing to group")]
    Empty,
    #[error("vector {row} (counted from 0) holds {value}; only finite values can be grouped")]
    NotFinite { row: usize, value: f32 },
    #[error("vector {row} (counted from 0) is too long for single precision; divide all vectors by a large number")]
    TooLong { row: usize },
    #[error("k-means needs to know the number of clusters; give it with --clusters K")]
    NumberNeeded,
    #[error("{clusters} clusters cannot be made of {count} images; give a smaller --clusters")]
    TooFew { clusters: usize, count: usize },
    #[error("spectral clustering is limited to {most} images and these are {count}; use --method correlation")]
    TooManyForSpectral { most: usize, count: usize },
    #[error("the eigenvalues of these vectors' Laplacian could not be found; use --method correlation")]
    NoEigenvalues,
    #[error("interrupted")]
    Interrupted,
}

/// Groups of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustering {
    /// The cluster of every vector, `[N]`, numbered from the largest.
    pub clusters: Vec<u32>,
    /// Vectors in every cluster, `[K]`, descending.
    pub sizes: Vec<usize>,
    /// The objective of the method: −Σ_ij W_ij [i and j together] for correlation, the sum of squared distances from the
    /// centres for k-means, none for the others.
    pub objective: Option<f64>,
    /// Correlation only: every restart.
    pub restarts: Vec<Restart>,
    /// Correlation only: the restart that these clusters are from.
    pub best_restart: Option<usize>,
    /// Correlation only: `exact` or `sparse`.
    pub propagation: Option<&'static str>,
    /// Spectral only: the smallest eigenvalues of the normalised Laplacian, ascending.
    pub eigenvalues: Vec<f64>,
}

/// One restart of correlation clustering.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Restart {
    /// Objective and number of clusters of the network's most probable clusters.
    pub network_objective: f64,
    pub network_clusters: usize,
    /// The same after moves, merges and splits.
    pub objective: f64,
    pub clusters: usize,
    /// The network's loss before every step, divided by N² max(F Fᵀ).
    #[serde(skip)]
    pub curve: Vec<f64>,
}

/// Groups vectors that are on their scale already.
///
/// `hidden` and `dropout` are the network's.
pub fn cluster(
    vectors: &Vectors,
    config: &ClusterConfig,
    hidden: [usize; 2],
    dropout: f64,
    device: &Device,
    observer: &dyn Observer,
) -> Result<Clustering, ClusterError> {
    let most = config.most_clusters();
    let mut clustering = Clustering {
        clusters: Vec::new(),
        sizes: Vec::new(),
        objective: None,
        restarts: Vec::new(),
        best_restart: None,
        propagation: None,
        eigenvalues: Vec::new(),
    };
    let clusters = match config.method {
        Method::Correlation => {
            let network = NetworkConfig { input: vectors.width(), hidden, clusters: most, dropout, root_weight: false };
            let found = correlation::correlation(vectors, config, &network, device, observer)?;
            clustering.objective = Some(found.objective);
            clustering.restarts = found.restarts;
            clustering.best_restart = Some(found.best_restart);
            clustering.propagation = Some(found.propagation);
            found.clusters
        }
        Method::Components => components::components(vectors, device, observer)?,
        Method::Spectral => {
            let found = spectral::spectral(vectors, most, config.restarts, config.seed)?;
            clustering.eigenvalues = found.eigenvalues;
            found.clusters
        }
        Method::Kmeans => {
            let clusters = config.clusters.ok_or(ClusterError::NumberNeeded)?;
            if clusters > vectors.count() {
                return Err(ClusterError::TooFew { clusters, count: vectors.count() });
            }
            let found = k_means::k_means(vectors, clusters, config.restarts, config.seed);
            clustering.objective = Some(found.squared_distances);
            found.clusters
        }
    };
    (clustering.clusters, clustering.sizes) = numbered_by_size(&clusters);
    Ok(clustering)
}

/// Renumbers clusters from the largest to the smallest, of equal ones the first met first, and drops empty ones.
fn numbered_by_size(clusters: &[u32]) -> (Vec<u32>, Vec<usize>) {
    let mut found: std::collections::BTreeMap<u32, (usize, usize)> = std::collections::BTreeMap::new();
    for (position, &cluster) in clusters.iter().enumerate() {
        found.entry(cluster).or_insert((0, position)).0 += 1;
    }
    let mut order: Vec<(u32, (usize, usize))> = found.into_iter().collect();
    order.sort_by_key(|&(_, (size, first))| (std::cmp::Reverse(size), first));
    let numbers: std::collections::BTreeMap<u32, u32> =
        order.iter().enumerate().map(|(number, (cluster, _))| (*cluster, number as u32)).collect();
    (clusters.iter().map(|cluster| numbers[cluster]).collect(), order.into_iter().map(|(_, (size, _))| size).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use crate::tensor;

    fn grouped(values: &[f32], method: Method, clusters: Option<usize>) -> Result<Clustering, ClusterError> {
        let vectors = Vectors::new(values.to_vec(), 2)?;
        let config = ClusterConfig { method, clusters, epochs: Some(30), restarts: 2, ..ClusterConfig::default() };
        cluster(&vectors, &config, [8, 4], 0.25, &tensor::cpu(), &Silent)
    }

    #[test]
    fn clusters_are_numbered_by_size() {
        assert_eq!(numbered_by_size(&[7, 2, 2, 9]), (vec![1, 0, 0, 2], vec![2, 1, 1]));
        assert_eq!(numbered_by_size(&[]), (vec![], vec![]));
    }

    #[test]
    fn one_vector_equal_vectors_and_zeros_are_one_cluster() {
        for values in [&[1.0, 2.0][..], &[1.0, 2.0, 1.0, 2.0], &[3.0; 20], &[0.0; 6]] {
            for method in [Method::Correlation, Method::Spectral, Method::Kmeans] {
                let clustering = grouped(values, method, Some(1)).unwrap();
                assert_eq!(clustering.sizes, [values.len() / 2], "{method:?} {values:?}");
            }
            let clustering = grouped(values, Method::Correlation, None).unwrap();
            assert_eq!(clustering.sizes, [values.len() / 2], "{values:?}");
        }
        assert_eq!(grouped(&[1.0, 2.0, 1.0, 2.0], Method::Spectral, None).unwrap().sizes, [2]);
        assert_eq!(grouped(&[1.0, 2.0, 1.0, 2.0], Method::Components, None).unwrap().sizes, [2]);
        // Vectors of zeros have no positive inner product.
        assert_eq!(grouped(&[0.0; 6], Method::Components, None).unwrap().sizes, [1, 1, 1]);
    }

    #[test]
    fn what_k_means_needs_is_said() {
        assert_eq!(grouped(&[1.0; 4], Method::Kmeans, None), Err(ClusterError::NumberNeeded));
        assert_eq!(grouped(&[1.0; 4], Method::Kmeans, Some(3)), Err(ClusterError::TooFew { clusters: 3, count: 2 }));
    }
}
