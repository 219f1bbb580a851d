//! Collections of images without a number of clusters: one vector per image, and groups among them.
//!
//! [`ClusterModel::fit`] groups [`Vectors`] by correlation clustering, the paper's way, or by one of its baselines;
//! [`ClusterModel::predict`] puts new vectors into the same clusters. A model can be kept as the bytes of a file.
//! [`alpha_sweep`] says over which range of α the result is the same, [`map()`] lays the vectors out in the plane, and
//! [`Classes`] hold the clusters against classes that people gave the images.

mod classes;
mod components;
mod correlation;
mod error;
mod map;
mod model;
mod neighbours;
mod partition;
mod propagation;
mod reliance;
mod settings;
mod spectral;
mod spread;
mod sweep;
mod vectors;

pub use classes::{ClassScores, Classes};
pub use error::ClusterError;
pub use map::map;
pub use model::{ClusterHeader, ClusterModel, Fitted, Membership, Provenance};
use reliance::agreement;
pub use reliance::{Doubt, Reliance};
pub use settings::{ClusterConfig, ClusterNetwork, Method, Propagation};
pub use sweep::{AlphaSweep, StableRange, SweepPoint, alpha_sweep};
pub use vectors::{Scaling, Vectors};

use serde::Serialize;

use crate::event::Observer;
use crate::model::NetworkConfig;
use crate::tensor::Device;

/// One image and where it belongs.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusteredImage {
    /// Relative to the collection, `/` between folders; the row's number where only vectors were given.
    pub name: String,
    pub cluster: u32,
    /// See [`Membership::confidence`].
    pub confidence: f64,
    /// Its place on the map of the collection, in [−1, 1]².
    pub place: [f32; 2],
}

/// How a method came to its clusters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FitDetails {
    /// The objective of the method: −Σ_ij W_ij [i and j together] for correlation, the sum of squared distances from the
    /// centres for k-means, none for the others.
    pub objective: Option<f64>,
    /// Mean adjusted Rand index of the other restarts' clusters with those that were kept; none without others, and for
    /// components.
    pub restart_agreement: Option<f64>,
    /// Correlation only: every restart.
    pub restarts: Vec<Restart>,
    /// Correlation only: the restart that the clusters are from.
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

/// Groups of scaled vectors.
struct Grouping {
    /// The cluster of every vector, `[N]`, numbered from the largest.
    clusters: Vec<u32>,
    /// Vectors in every cluster, `[K]`, descending.
    sizes: Vec<usize>,
    details: FitDetails,
}

/// Groups vectors that are on their scale already.
fn group(
    vectors: &Vectors,
    settings: &ClusterConfig,
    network: &ClusterNetwork,
    device: &Device,
    observer: &dyn Observer,
) -> Result<Grouping, ClusterError> {
    let (clusters, details) = match settings.method {
        Method::Correlation => {
            let &ClusterNetwork { hidden, dropout } = network;
            let clusters = settings.network_clusters();
            let network =
                NetworkConfig { input: vectors.width(), hidden, clusters, dropout, root_weight: false, scale: 1.0 };
            correlation::correlation(vectors, settings, &network, settings.most_clusters(), device, observer)?
        }
        Method::Components => (components::components(vectors, device, observer)?, FitDetails::default()),
        Method::Spectral => {
            let most = settings.most_clusters().unwrap_or(vectors.count());
            let (found, eigenvalues) = spectral::spectral(vectors, most, settings.restarts, settings.seed)?;
            let restart_agreement = agreement(&found.starts, found.kept);
            let mut starts = found.starts;
            (starts.swap_remove(found.kept), FitDetails { eigenvalues, restart_agreement, ..FitDetails::default() })
        }
        Method::Kmeans => {
            let clusters = settings.clusters.ok_or(ClusterError::NumberNeeded)?;
            if clusters > vectors.count() {
                return Err(ClusterError::TooFew { clusters, count: vectors.count() });
            }
            let found = vectors.k_means(clusters, settings.restarts, settings.seed);
            let (objective, restart_agreement) = (Some(found.squared_distances), agreement(&found.starts, found.kept));
            let mut starts = found.starts;
            (starts.swap_remove(found.kept), FitDetails { objective, restart_agreement, ..FitDetails::default() })
        }
    };
    let (clusters, sizes) = numbered_by_size(&clusters);
    Ok(Grouping { clusters, sizes, details })
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

    fn sizes(values: &[f32], method: Method, clusters: Option<usize>) -> Result<Vec<usize>, ClusterError> {
        let vectors = Vectors::new(values.to_vec(), 2)?;
        let settings = ClusterConfig { method, clusters, epochs: Some(30), restarts: 2, ..ClusterConfig::default() };
        let network = ClusterNetwork { hidden: [8, 4], dropout: 0.25 };
        Ok(group(&vectors, &settings, &network, &tensor::cpu(), &Silent)?.sizes)
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
                assert_eq!(sizes(values, method, Some(1)).unwrap(), [values.len() / 2], "{method:?} {values:?}");
            }
            assert_eq!(sizes(values, Method::Correlation, None).unwrap(), [values.len() / 2], "{values:?}");
        }
        assert_eq!(sizes(&[1.0, 2.0, 1.0, 2.0], Method::Spectral, None).unwrap(), [2]);
        assert_eq!(sizes(&[1.0, 2.0, 1.0, 2.0], Method::Components, None).unwrap(), [2]);
        // Vectors of zeros have no positive inner product.
        assert_eq!(sizes(&[0.0; 6], Method::Components, None).unwrap(), [1, 1, 1]);
    }

    #[test]
    fn what_k_means_needs_is_said() {
        assert!(matches!(sizes(&[1.0; 4], Method::Kmeans, None), Err(ClusterError::NumberNeeded)));
        let too_few = sizes(&[1.0; 4], Method::Kmeans, Some(3));
        assert!(matches!(too_few, Err(ClusterError::TooFew { clusters: 3, count: 2 })));
    }
}
