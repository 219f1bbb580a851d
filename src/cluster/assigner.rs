//! Clusters that new vectors can join, and the file that keeps them.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::partition::{largest, scores};
use super::vectors::{FittedScaling, Vectors};
use super::{Clustering, Method};
use crate::model::container::{self, ContainerError, Kind, NamedMatrix};

const KIND: Kind = Kind { name: "clustering", format: 1 };

/// What a file of clusters says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignerHeader {
    /// The resolved configuration of the run, without paths, device and threads.
    pub config: serde_json::Value,
    /// What turned images into vectors: `vit`, `superpixel` or `pixel`; none where vectors were given.
    pub backbone: Option<String>,
    /// blake3 of the backbone's weights file, where there is one.
    pub backbone_hash: Option<String>,
    pub method: Method,
    /// Correlation only: c = max(F Fᵀ)/α of the collection.
    pub offset: f64,
    /// Channels of a vector.
    pub width: usize,
    /// Images in every cluster, descending.
    pub sizes: Vec<u64>,
    /// Whether vectors are brought to unit length.
    pub unit_length: bool,
    /// Whether channels are standardised first.
    pub standardised: bool,
    /// The objective of the collection's clusters.
    pub objective: Option<f64>,
    pub seed: u64,
}

/// Puts vectors into the clusters of a collection.
///
/// Correlation clustering: the cluster k in which a vector lowers the objective most if it joins, argmax f·s_k − c n_k with
/// the clusters' sums s_k and sizes n_k. This is the objective's own rule and needs nothing else; the collection's own
/// vectors stay where they are by it, since no single move lowers the objective any more. (The network would need the
/// collection's vectors to propagate a new one, and its answer is not the final one of the collection either.)
/// The other methods: the cluster with the nearest mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Assigner {
    pub header: AssignerHeader,
    scaling: FittedScaling,
    /// s_k, row-major `[K, D]`, of scaled vectors.
    sums: Vec<f64>,
}

/// Where a vector belongs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assignment {
    pub cluster: u32,
    /// In [0, 1]. Correlation clustering: 1 − (second best gain / best gain), the second no less than 0; 1 if no other
    /// cluster attracts the vector, 0 if another does as much or none does. The other methods: the same of distances,
    /// 1 − nearest / second nearest.
    pub confidence: f64,
}

impl Assigner {
    /// Remembers the clusters of `vectors`, which are scaled by `scaling` already; fills in what the header says of them.
    pub fn new(header: AssignerHeader, scaling: FittedScaling, vectors: &Vectors, found: &Clustering) -> Assigner {
        let width = vectors.width();
        let mut sums = vec![0.0; found.sizes.len() * width];
        for (row, &cluster) in found.clusters.iter().enumerate() {
            let sum = &mut sums[cluster as usize * width..][..width];
            sum.iter_mut().zip(vectors.row(row)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        // As the file will hold them, so that a run and its checkpoint agree.
        sums.iter_mut().for_each(|sum| *sum = f64::from(*sum as f32));
        let header = AssignerHeader {
            width,
            sizes: found.sizes.iter().map(|&size| size as u64).collect(),
            unit_length: scaling.unit_length,
            standardised: scaling.channels.is_some(),
            objective: found.objective,
            ..header
        };
        Assigner { header, scaling, sums }
    }

    /// Number of clusters, K.
    pub fn count(&self) -> usize {
        self.header.sizes.len()
    }

    /// Vectors as they come on the scale of the collection.
    pub fn scale(&self, vectors: Vectors) -> Vectors {
        self.scaling.apply(vectors)
    }

    /// The cluster of every vector, all on the collection's scale.
    pub fn assign(&self, vectors: &Vectors) -> Vec<Assignment> {
        let assign = |row: usize| {
            let preference = self.preferences(vectors.row(row));
            let cluster = largest(&preference) as u32;
            Assignment { cluster, confidence: self.confidence(&preference, cluster) }
        };
        (0..vectors.count()).into_par_iter().with_min_len(64).map(assign).collect()
    }

    /// How sure it is that the collection's own vectors belong where they are.
    pub fn confidences(&self, vectors: &Vectors, clusters: &[u32]) -> Vec<f64> {
        let confidence = |row: usize| self.confidence(&self.preferences(vectors.row(row)), clusters[row]);
        (0..clusters.len()).into_par_iter().with_min_len(64).map(confidence).collect()
    }

    /// For every cluster what a vector gains in it, or minus its distance from the cluster's mean.
    fn preferences(&self, vector: &[f32]) -> Vec<f64> {
        let mut preferences = vec![0.0; self.count()];
        if self.header.method == Method::Correlation {
            let sizes: Vec<f64> = self.header.sizes.iter().map(|&size| size as f64).collect();
            scores(vector, &self.sums, &sizes, self.header.offset, &mut preferences);
            return preferences;
        }
        for (cluster, preference) in preferences.iter_mut().enumerate() {
            let size = self.header.sizes[cluster] as f64;
            let sum = &self.sums[cluster * vector.len()..][..vector.len()];
            let squared = |(value, sum): (&f32, &f64)| (f64::from(*value) - sum / size).powi(2);
            *preference = -vector.iter().zip(sum).map(squared).sum::<f64>().sqrt();
        }
        preferences
    }

    fn confidence(&self, preferences: &[f64], cluster: u32) -> f64 {
        let own = preferences[cluster as usize];
        let others = preferences.iter().enumerate().filter(|(other, _)| *other != cluster as usize);
        let second = others.map(|(_, preference)| *preference).fold(f64::NEG_INFINITY, f64::max);
        let confidence = if self.header.method == Method::Correlation {
            if own > 0.0 { 1.0 - second.max(0.0) / own } else { 0.0 }
        } else if second == f64::NEG_INFINITY {
            1.0
        } else if second < 0.0 {
            1.0 - own / second
        } else {
            0.0
        };
        confidence.clamp(0.0, 1.0)
    }

    /// The file's bytes; the same clusters always give the same bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ContainerError> {
        let matrix = |name: &str, rows: usize, values: Vec<f32>| NamedMatrix {
            name: name.to_string(),
            shape: [rows, self.header.width],
            values,
        };
        let sums = self.sums.iter().map(|&sum| sum as f32).collect();
        let mut matrices = vec![matrix("cluster.sums", self.count(), sums)];
        if let Some([shifts, factors]) = &self.scaling.channels {
            matrices.push(matrix("scaling.shifts", 1, shifts.clone()));
            matrices.push(matrix("scaling.factors", 1, factors.clone()));
        }
        container::write(KIND, &self.header, &matrices)
    }

    /// Reads and checks the bytes of a file of clusters.
    pub fn from_bytes(bytes: &[u8]) -> Result<Assigner, ContainerError> {
        let (header, mut matrices): (AssignerHeader, _) = container::read(KIND, bytes)?;
        if header.width == 0 || header.sizes.is_empty() || header.sizes.contains(&0) || !header.offset.is_finite() {
            return Err(ContainerError::Content("it describes no clusters".into()));
        }
        let sums = container::remove(&mut matrices, "cluster.sums", [header.sizes.len(), header.width])?;
        let mut channels = None;
        if header.standardised {
            let mut take = |name: &str| container::remove(&mut matrices, name, [1, header.width]);
            channels = Some([take("scaling.shifts")?, take("scaling.factors")?]);
        }
        if !channels.iter().flatten().chain([&sums]).flatten().all(|value| value.is_finite()) {
            return Err(ContainerError::Content("its clusters have no finite places".into()));
        }
        let scaling = FittedScaling { channels, unit_length: header.unit_length };
        Ok(Assigner { scaling, sums: sums.into_iter().map(f64::from).collect(), header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ClusterConfig, Scaling, cluster};
    use crate::event::Silent;
    use crate::numerics::random;
    use crate::tensor;

    fn header(method: Method, offset: f64) -> AssignerHeader {
        AssignerHeader {
            config: serde_json::Value::Null,
            backbone: None,
            backbone_hash: None,
            method,
            offset,
            width: 0,
            sizes: Vec::new(),
            unit_length: false,
            standardised: false,
            objective: None,
            seed: 0,
        }
    }

    #[test]
    fn a_collections_own_vectors_stay_where_they_are_and_the_file_says_the_same() {
        let centres = random::uniform(&mut random::stream(8, "centres", 0), 1.0, 4 * 12);
        let noise = random::uniform(&mut random::stream(8, "noise", 0), 0.9, 100 * 12);
        let values = noise.iter().enumerate().map(|(i, n)| 3.0 + centres[i / 12 % 4 * 12 + i % 12] + n).collect();
        let raw = Vectors::new(values, 12).unwrap();
        let scaling = raw.fit(Scaling::Standardised);
        let vectors = scaling.apply(raw.clone());
        for method in [Method::Correlation, Method::Kmeans] {
            let config = ClusterConfig { method, clusters: Some(6), epochs: Some(40), ..ClusterConfig::default() };
            let found = cluster(&vectors, &config, [16, 8], 0.25, &tensor::cpu(), &Silent).unwrap();
            assert!(found.sizes.len() > 1);
            let offset = vectors.largest_product() / config.alpha;
            let assigner = Assigner::new(header(method, offset), scaling.clone(), &vectors, &found);
            let read = Assigner::from_bytes(&assigner.to_bytes().unwrap()).unwrap();
            assert_eq!(read, assigner);
            let assigned = read.assign(&read.scale(raw.clone()));
            let clusters: Vec<u32> = assigned.iter().map(|assignment| assignment.cluster).collect();
            assert_eq!(clusters, found.clusters, "{method:?}");
            let confidences: Vec<f64> = assigned.iter().map(|assignment| assignment.confidence).collect();
            assert_eq!(confidences, assigner.confidences(&vectors, &clusters));
            assert!(confidences.iter().all(|confidence| (0.0..=1.0).contains(confidence)));
        }
    }

    #[test]
    fn confidence_compares_the_two_best_clusters() {
        let vectors = Vectors::new(vec![1.0, 0.0, 0.0, 1.0], 2).unwrap();
        let found = Clustering {
            clusters: vec![0, 1],
            sizes: vec![1, 1],
            objective: None,
            restarts: Vec::new(),
            best_restart: None,
            propagation: None,
            eigenvalues: Vec::new(),
        };
        let none = FittedScaling { channels: None, unit_length: false };
        let new = Vectors::new(vec![1.0, 0.0, 0.7, 0.7, -1.0, -1.0, 0.8, 0.5], 2).unwrap();
        let of = |method, offset| Assigner::new(header(method, offset), none.clone(), &vectors, &found).assign(&new);
        let correlation: Vec<f64> = of(Method::Correlation, 0.25).iter().map(|a| a.confidence).collect();
        for (confidence, expected) in correlation.iter().zip([1.0, 0.0, 0.0, 1.0 - 0.25 / 0.55]) {
            assert!((confidence - expected).abs() < 1e-6, "{correlation:?}");
        }
        let means: Vec<f64> = of(Method::Kmeans, 0.0).iter().map(|a| a.confidence).collect();
        assert!(means[0] == 1.0 && means[1] < 1e-9 && means[3] > 0.3, "{means:?}");
    }
}
