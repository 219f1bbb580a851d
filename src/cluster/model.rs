//! Clusters that new vectors can join, and the file that keeps them.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::partition::scores;
use super::vectors::{FittedScaling, Vectors};
use super::{ClusterConfig, ClusterError, ClusterNetwork, FitDetails, Method, Reliance, group};
use crate::event::{Event, Observer};
use crate::model::container::{self, ContainerError, Kind, NamedMatrix};
use crate::numerics::argmax;
use crate::tensor::Device;

const KIND: Kind = Kind { name: "clustering", format: 1 };

/// What a file of clusters says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterHeader {
    /// This and the next two as in [`Provenance`].
    pub config: serde_json::Value,
    pub backbone: Option<String>,
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

/// Where the vectors of a collection are from, for the file that keeps its clusters; all empty for vectors that are just
/// given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Provenance {
    /// The resolved configuration of the run, without paths, device and threads.
    pub config: serde_json::Value,
    /// What turned images into vectors: `vit`, `superpixel` or `pixel`; none where vectors were given.
    pub backbone: Option<String>,
    /// blake3 of the backbone's weights file, where there is one.
    pub backbone_hash: Option<String>,
}

/// The clusters of a collection, which new vectors can join.
///
/// Correlation clustering: the cluster k in which a vector lowers the objective most if it joins, argmax f·s_k − c n_k with
/// the clusters' sums s_k and sizes n_k. This is the objective's own rule and needs nothing else; the collection's own
/// vectors stay where they are by it, since no single move lowers the objective any more. (The network would need the
/// collection's vectors to propagate a new one, and its answer is not the final one of the collection either.)
/// The other methods: the cluster with the nearest mean.
///
/// # Example
/// ```
/// use deepcut::settings::ClusterConfig;
/// use deepcut::{ClusterModel, ClusterNetwork, DeviceChoice, Provenance, Vectors, event::Silent};
///
/// // Six vectors of two channels.
/// let vectors = Vectors::new(vec![1.0, 0.1, 0.9, 0.0, 0.8, 0.1, 0.0, 1.0, 0.1, 0.7, 0.1, 0.9], 2)?;
/// let settings = ClusterConfig { epochs: Some(20), ..ClusterConfig::default() };
/// let (network, from) = (ClusterNetwork::default(), Provenance::default());
/// let fitted = ClusterModel::fit(&vectors, &settings, &network, from, &DeviceChoice::Cpu.open()?, &Silent)?;
/// assert_eq!(fitted.clusters, [0, 0, 0, 1, 1, 1]);
///
/// let model = ClusterModel::from_bytes(&fitted.model.to_bytes()?)?;
/// assert_eq!(model.predict(&Vectors::new(vec![0.5, 3.0], 2)?)[0].cluster, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterModel {
    header: ClusterHeader,
    scaling: FittedScaling,
    /// s_k, row-major `[K, D]`, of scaled vectors.
    sums: Vec<f64>,
}

/// The clusters found in a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    pub model: ClusterModel,
    /// The cluster of every vector, `[N]`, numbered from the largest.
    pub clusters: Vec<u32>,
    /// How sure it is that every vector belongs where it is, `[N]`; see [`Membership::confidence`].
    pub confidences: Vec<f64>,
    pub details: FitDetails,
    pub reliance: Reliance,
}

/// Where a vector belongs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Membership {
    pub cluster: u32,
    /// In [0, 1]. Correlation clustering: 1 − (second best gain / best gain), the second no less than 0; 1 if no other
    /// cluster attracts the vector, 0 if another does as much or none does. The other methods: the same of distances,
    /// 1 − nearest / second nearest.
    pub confidence: f64,
}

impl ClusterModel {
    /// Scales vectors as the settings say and groups them; the observer is warned of what speaks against relying on it.
    ///
    /// The same vectors and settings give the same clusters on one machine, whatever the number of threads.
    ///
    /// # Shapes
    /// vectors `[N, D]`, unscaled → clusters and confidences `[N]`, K of them by the method
    ///
    /// # Errors
    /// If a setting is out of its range or does not suit the vectors, or the observer interrupts.
    pub fn fit(
        vectors: &Vectors,
        settings: &ClusterConfig,
        network: &ClusterNetwork,
        provenance: Provenance,
        device: &Device,
        observer: &dyn Observer,
    ) -> Result<Fitted, ClusterError> {
        settings.validate()?;
        let scaling = vectors.fit(settings.scaling);
        let scaled = scaling.apply(vectors.clone());
        let found = group(&scaled, settings, network, device, observer)?;
        let reliance = Reliance::new(vectors, &scaled, settings, &found);
        reliance.doubts.iter().for_each(|doubt| observer.observe(Event::Warning(doubt.to_string())));
        let header = ClusterHeader {
            config: provenance.config,
            backbone: provenance.backbone,
            backbone_hash: provenance.backbone_hash,
            method: settings.method,
            offset: scaled.largest_product() / settings.alpha,
            width: scaled.width(),
            sizes: found.sizes.iter().map(|&size| size as u64).collect(),
            unit_length: scaling.unit_length,
            standardised: scaling.channels.is_some(),
            objective: found.details.objective,
            seed: settings.seed,
        };
        let model = ClusterModel::from_clusters(header, scaling, &scaled, &found.clusters);
        let confidences = model.confidences(&scaled, &found.clusters);
        Ok(Fitted { model, clusters: found.clusters, confidences, details: found.details, reliance })
    }

    /// Remembers the clusters of scaled vectors.
    fn from_clusters(header: ClusterHeader, scaling: FittedScaling, scaled: &Vectors, clusters: &[u32]) -> Self {
        let width = header.width;
        let mut sums = vec![0.0; header.sizes.len() * width];
        for (row, &cluster) in clusters.iter().enumerate() {
            let sum = &mut sums[cluster as usize * width..][..width];
            sum.iter_mut().zip(scaled.row(row)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        // As the file will hold them, so that a run and its checkpoint agree.
        sums.iter_mut().for_each(|sum| *sum = f64::from(*sum as f32));
        ClusterModel { header, scaling, sums }
    }

    /// What the model says about itself.
    pub fn header(&self) -> &ClusterHeader {
        &self.header
    }

    /// Number of clusters, K.
    pub fn count(&self) -> usize {
        self.header.sizes.len()
    }

    /// Unscaled vectors on the scale of the collection, as [`map()`](super::map()) needs them.
    pub fn scale(&self, vectors: Vectors) -> Vectors {
        self.scaling.apply(vectors)
    }

    /// The cluster of every new vector.
    ///
    /// # Shapes
    /// vectors `[N, D]`, unscaled → `[N]`
    ///
    /// # Panics
    /// If the vectors have not as many channels as those of the collection, [`ClusterHeader::width`].
    pub fn predict(&self, vectors: &Vectors) -> Vec<Membership> {
        assert_eq!(vectors.width(), self.header.width, "vectors of the same kind as the collection's");
        let membership = |row: usize| {
            let mut vector = vectors.row(row).to_vec();
            self.scaling.apply_to_one(&mut vector);
            let preferences = self.preferences(&vector);
            let cluster = argmax(&preferences) as u32;
            Membership { cluster, confidence: self.confidence(&preferences, cluster) }
        };
        (0..vectors.count()).into_par_iter().with_min_len(64).map(membership).collect()
    }

    /// How sure it is that the collection's own vectors, scaled, belong where they are.
    fn confidences(&self, scaled: &Vectors, clusters: &[u32]) -> Vec<f64> {
        let confidence = |row: usize| self.confidence(&self.preferences(scaled.row(row)), clusters[row]);
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
    ///
    /// # Errors
    /// If a single bit is not as it was written, or the file is of another kind or version.
    pub fn from_bytes(bytes: &[u8]) -> Result<ClusterModel, ContainerError> {
        let (header, mut matrices): (ClusterHeader, _) = container::read(KIND, bytes)?;
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
        Ok(ClusterModel { scaling, sums: sums.into_iter().map(f64::from).collect(), header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Scaling;
    use crate::event::Silent;
    use crate::numerics::random;
    use crate::tensor;

    #[test]
    fn a_collections_own_vectors_stay_where_they_are_and_the_file_says_the_same() {
        let centres = random::uniform(&mut random::stream(8, "centres", 0), 1.0, 4 * 12);
        let noise = random::uniform(&mut random::stream(8, "noise", 0), 0.9, 100 * 12);
        let values = noise.iter().enumerate().map(|(i, n)| 3.0 + centres[i / 12 % 4 * 12 + i % 12] + n).collect();
        let vectors = Vectors::new(values, 12).unwrap();
        let network = ClusterNetwork { hidden: [16, 8], dropout: 0.25 };
        for method in [Method::Correlation, Method::Kmeans] {
            let scaling = Scaling::Standardised;
            let settings =
                ClusterConfig { method, clusters: Some(6), epochs: Some(40), scaling, ..ClusterConfig::default() };
            let from = Provenance { backbone: Some("superpixel".into()), ..Provenance::default() };
            let fitted = ClusterModel::fit(&vectors, &settings, &network, from, &tensor::cpu(), &Silent).unwrap();
            assert!(fitted.model.count() > 1);
            let read = ClusterModel::from_bytes(&fitted.model.to_bytes().unwrap()).unwrap();
            assert_eq!(read, fitted.model);
            let (clusters, confidences): (Vec<u32>, Vec<f64>) =
                read.predict(&vectors).iter().map(|membership| (membership.cluster, membership.confidence)).unzip();
            assert_eq!((clusters, &confidences), (fitted.clusters, &fitted.confidences), "{method:?}");
            assert!(confidences.iter().all(|confidence| (0.0..=1.0).contains(confidence)));
            let settings = ClusterConfig { alpha: 0.5, ..settings };
            let refused =
                ClusterModel::fit(&vectors, &settings, &network, Provenance::default(), &tensor::cpu(), &Silent);
            assert!(matches!(refused, Err(ClusterError::Setting(_))));
        }
    }

    #[test]
    fn confidence_compares_the_two_best_clusters() {
        let vectors = Vectors::new(vec![1.0, 0.0, 0.0, 1.0], 2).unwrap();
        let new = Vectors::new(vec![1.0, 0.0, 0.7, 0.7, -1.0, -1.0, 0.8, 0.5], 2).unwrap();
        let confidences = |method, offset| -> Vec<f64> {
            let header = ClusterHeader {
                config: serde_json::Value::Null,
                backbone: None,
                backbone_hash: None,
                method,
                offset,
                width: 2,
                sizes: vec![1, 1],
                unit_length: false,
                standardised: false,
                objective: None,
                seed: 0,
            };
            let scaling = FittedScaling { channels: None, unit_length: false };
            let model = ClusterModel::from_clusters(header, scaling, &vectors, &[0, 1]);
            model.predict(&new).iter().map(|membership| membership.confidence).collect()
        };
        let correlation = confidences(Method::Correlation, 0.25);
        for (confidence, expected) in correlation.iter().zip([1.0, 0.0, 0.0, 1.0 - 0.25 / 0.55]) {
            assert!((confidence - expected).abs() < 1e-6, "{correlation:?}");
        }
        let means = confidences(Method::Kmeans, 0.0);
        assert!(means[0] == 1.0 && means[1] < 1e-9 && means[3] > 0.3, "{means:?}");
    }
}
