//! What a run was asked for: every room's own configuration, resolved from defaults, file and flags in one place.

mod resolve;
mod resolved;

pub use resolve::{ConfigError, resolve, with_overrides};
pub use resolved::{NeedlessPrecision, Purpose, Resolved};

use serde::{Deserialize, Serialize};

use crate::cluster::ClusterConfig;
use crate::features::vit::VitConfig;
use crate::features::{BackboneChoice, PixelConfig, SuperpixelConfig};
use crate::output::CacheConfig;
use crate::pixels::DecodeLimits;
use crate::refine::{ObjectsConfig, RefineConfig, TeachingConfig};
use crate::segment::{Legend, PartsConfig, PerImageConfig};
use crate::train::TrainConfig;

/// Every setting of a run. A configuration file holds the same keys in TOML; what it leaves out has its default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What turns images into features.
    pub backbone: BackboneChoice,
    pub data: DataConfig,
    pub pixels: DecodeLimits,
    pub vit: VitConfig,
    pub superpixel: SuperpixelConfig,
    pub pixel: PixelConfig,
    pub cache: CacheConfig,
    pub graph: GraphConfig,
    pub model: ModelConfig,
    pub objective: ObjectiveConfig,
    pub train: TrainConfig,
    pub segment: PerImageConfig,
    pub parts: PartsConfig,
    pub cluster: ClusterConfig,
    pub refine: RefineConfig,
    pub teaching: TeachingConfig,
    pub objects: ObjectsConfig,
    pub output: OutputConfig,
}

/// Which images of a collection are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Most images a network is trained on; a larger collection is sampled at random. A few thousand images determine
    /// a network of this size. 0 takes all.
    pub max_images: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig { max_images: 20_000 }
    }
}

/// How nodes become a graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphConfig {
    /// Correlation clustering only: in [1, ∞), smaller gives more clusters. The official code uses 3.
    pub alpha: f64,
}

impl Default for GraphConfig {
    fn default() -> Self {
        GraphConfig { alpha: 3.0 }
    }
}

/// Sizes of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Output channels of the graph convolution and of the head's first layer.
    pub hidden: [usize; 2],
    /// Clusters; for correlation clustering the most there may be. Default: 2, for cc 10.
    pub clusters: Option<usize>,
    /// Share of the head's hidden units dropped during training.
    pub dropout: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig { hidden: [64, 32], clusters: None, dropout: 0.25 }
    }
}

/// What the network is trained for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// Default: association for `train`, ncut, the paper's, for `segment`.
    pub kind: Option<ObjectiveKind>,
    /// Of parts. Default: that of the objects; for `train` with a transformer, where none is chosen, cc.
    pub parts: Option<ObjectiveKind>,
    /// ncut only: weight of the balance term; the paper uses 1.
    pub balance: f64,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        ObjectiveConfig { kind: None, parts: None, balance: 1.0 }
    }
}

/// A clustering objective by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectiveKind {
    /// Normalised association: the normalised cut with a ratio of its own for every cluster.
    Association,
    /// Normalised cut as in the paper: one ratio for all clusters and a balance term.
    Ncut,
    /// Correlation clustering.
    Cc,
}

/// What results look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputConfig {
    /// Overlays are scaled down to at most this many pixels on their longer side.
    pub overlay_side_px: usize,
}

impl Default for OutputConfig {
    fn default() -> Self {
        OutputConfig { overlay_side_px: 1024 }
    }
}

impl ObjectiveKind {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            ObjectiveKind::Association => "association",
            ObjectiveKind::Ncut => "ncut",
            ObjectiveKind::Cc => "cc",
        }
    }
}

impl Settings {
    /// Number of clusters, K, for an objective.
    fn clusters_for(&self, objective: ObjectiveKind) -> usize {
        self.model.clusters.unwrap_or(match objective {
            ObjectiveKind::Association | ObjectiveKind::Ncut => 2,
            ObjectiveKind::Cc => 10,
        })
    }

    /// Checks every value against its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let clusters = self.clusters_for(self.objective.kind.unwrap_or(ObjectiveKind::Association));
        let checks: &[(bool, &str, String)] = &[
            ((2..=255).contains(&clusters), "model.clusters must be from 2 to 255", clusters.to_string()),
            (
                self.model.hidden.iter().all(|size| (1..=4096).contains(size)),
                "model.hidden must be two sizes from 1 to 4096",
                format!("{:?}", self.model.hidden),
            ),
            (
                (0.0..=0.9).contains(&self.model.dropout),
                "model.dropout must be from 0 to 0.9",
                self.model.dropout.to_string(),
            ),
            (
                self.graph.alpha >= 1.0 && self.graph.alpha.is_finite(),
                "graph.alpha must be at least 1",
                self.graph.alpha.to_string(),
            ),
            (
                (0.0..=1e6).contains(&self.objective.balance),
                "objective.balance must be from 0 to 1000000",
                self.objective.balance.to_string(),
            ),
            (
                (1..=1_000_000).contains(&self.train.epochs),
                "train.epochs must be from 1 to 1000000",
                self.train.epochs.to_string(),
            ),
            (
                (1..=4096).contains(&self.train.batch_size),
                "train.batch_size must be from 1 to 4096",
                self.train.batch_size.to_string(),
            ),
            (
                self.train.learning_rate > 0.0 && self.train.learning_rate <= 10.0,
                "train.learning_rate must be above 0 and at most 10",
                self.train.learning_rate.to_string(),
            ),
            (
                (0.0..=1.0).contains(&self.train.weight_decay),
                "train.weight_decay must be from 0 to 1",
                self.train.weight_decay.to_string(),
            ),
            (
                self.train.held_out > 0.0 && self.train.held_out <= 0.9,
                "train.held_out must be above 0 and at most 0.9",
                self.train.held_out.to_string(),
            ),
            (
                (1..=1_000_000).contains(&self.segment.epochs),
                "segment.epochs must be from 1 to 1000000",
                self.segment.epochs.to_string(),
            ),
            (
                self.segment.learning_rate > 0.0 && self.segment.learning_rate <= 10.0,
                "segment.learning_rate must be above 0 and at most 10",
                self.segment.learning_rate.to_string(),
            ),
            (
                (0.0..=1.0).contains(&self.segment.weight_decay),
                "segment.weight_decay must be from 0 to 1",
                self.segment.weight_decay.to_string(),
            ),
            (
                (1..=16_384).contains(&self.output.overlay_side_px),
                "output.overlay_side_px must be from 1 to 16384",
                self.output.overlay_side_px.to_string(),
            ),
            (
                (1..=8192).contains(&self.vit.input_side),
                "vit.input_side must be from 1 to 8192",
                self.vit.input_side.to_string(),
            ),
            (
                self.vit.stride.is_none_or(|stride| stride >= 1),
                "vit.stride must be at least 1",
                format!("{:?}", self.vit.stride),
            ),
            (
                (1..=1_000_000).contains(&self.vit.maximum_nodes),
                "vit.maximum_nodes must be from 1 to 1000000",
                self.vit.maximum_nodes.to_string(),
            ),
            (
                self.vit.standard_deviation.iter().all(|value| *value > 0.0),
                "vit.standard_deviation must be above 0",
                format!("{:?}", self.vit.standard_deviation),
            ),
        ];
        for (holds, rule, value) in checks {
            if !holds {
                return Err(ConfigError::Value(format!("{rule}, not {value}")));
            }
        }
        self.cluster.validate().map_err(|error| ConfigError::Value(format!("[cluster] {error}")))?;
        self.superpixel.validate().map_err(|error| ConfigError::Value(format!("[superpixel] {error}")))?;
        self.pixel.validate().map_err(|error| ConfigError::Value(format!("[pixel] {error}")))?;
        self.parts.validate().map_err(|error| ConfigError::Value(format!("[parts] {error}")))?;
        if Legend::new(clusters - 1, self.parts.foreground, self.parts.background).is_none() {
            return Err(ConfigError::Value(
                "model.clusters, parts.foreground and parts.background are more than the 255 values of a mask".into(),
            ));
        }
        self.objects.validate().map_err(|error| ConfigError::Value(format!("[objects] {error}")))?;
        self.teaching.validate().map_err(|error| ConfigError::Value(format!("[teaching] {error}")))?;
        self.refine.validate().map_err(|error| ConfigError::Value(format!("[refine.bilateral] {error}")))
    }
}
