//! What a run was asked for: every room's own configuration, resolved from defaults, file and flags in one place.

mod listing;
mod resolve;
mod resolved;

pub use listing::{ConfigKey, ConfigKind, ConfigRoom, ConfigValue, config_rooms};
pub use resolve::{ConfigError, resolve, resolve_over, with_overrides};
pub use resolved::{NeedlessPrecision, Purpose, Resolved};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::cluster::ClusterConfig;
pub use crate::dataset::SampleConfig;
pub use crate::features::vit::VitConfig;
pub use crate::features::{BackboneChoice, PixelConfig, SuperpixelConfig};
pub use crate::graph::GraphConfig;
pub use crate::model::ModelConfig;
pub use crate::objective::{ObjectiveConfig, ObjectiveKind};
pub use crate::output::{CacheConfig, OutputConfig};
pub use crate::pixels::{AlphaUse, Bands, DecodeConfig, NoData, ValueRange};
pub use crate::refine::{ObjectsConfig, RefineConfig, TeachingConfig};
pub use crate::segment::grapl::GraplConfig;
pub use crate::segment::regions::RegionsConfig;
pub use crate::segment::{PartsConfig, PerImageConfig};
pub use crate::train::TrainConfig;

use crate::segment::Legend;

/// Every setting of a run. A configuration file holds the same keys in TOML; what it leaves out has its default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub backbone: BackboneChoice,
    pub data: SampleConfig,
    pub pixels: DecodeConfig,
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
    pub regions: RegionsConfig,
    pub grapl: GraplConfig,
    pub cluster: ClusterConfig,
    pub refine: RefineConfig,
    pub teaching: TeachingConfig,
    pub objects: ObjectsConfig,
    pub output: OutputConfig,
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
        let in_room = |room: &'static str| move |invalid| ConfigError::Setting { room, invalid };
        self.data.validate().map_err(in_room("data"))?;
        self.model.validate().map_err(in_room("model"))?;
        self.graph.validate().map_err(in_room("graph"))?;
        self.objective.validate().map_err(in_room("objective"))?;
        self.train.validate().map_err(in_room("train"))?;
        self.segment.validate().map_err(in_room("segment"))?;
        self.output.validate().map_err(in_room("output"))?;
        self.vit.validate().map_err(in_room("vit"))?;
        self.cluster.validate().map_err(in_room("cluster"))?;
        self.superpixel.validate().map_err(in_room("superpixel"))?;
        self.pixel.validate().map_err(in_room("pixel"))?;
        self.parts.validate().map_err(in_room("parts"))?;
        self.grapl.validate().map_err(in_room("grapl"))?;
        if Legend::new(self.clusters_for(self.objective.kind()) - 1, self.parts.foreground, self.parts.background)
            .is_none()
        {
            return Err(ConfigError::TooManyLabels);
        }
        self.regions.validate().map_err(in_room("regions"))?;
        self.objects.validate().map_err(in_room("objects"))?;
        self.teaching.validate().map_err(in_room("teaching"))?;
        self.refine.bilateral.validate().map_err(in_room("refine.bilateral"))?;
        self.refine.cut.validate().map_err(in_room("refine.cut"))
    }
}
