//! What a user may choose about the network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::numerics::range::{InvalidSetting, require, within};

/// Sizes of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Output channels of the graph convolution and of the head's first layer.
    pub hidden: [usize; 2],
    /// Clusters; for correlation clustering the most there may be. Default: 2, for cc 10.
    pub clusters: Option<usize>,
    /// Share of the head's hidden units dropped during training.
    pub dropout: f64,
    /// What features are multiplied by before the network sees them. Default: √D / 3.5 for D channels of unit length, 1 for
    /// others, for correlation clustering, and for training by the normalised cut. A random network turns rows of unit length into values so small that ten steps do not leave the start.
    pub scale: Option<f64>,
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig { hidden: [64, 32], clusters: None, dropout: 0.25, scale: None }
    }
}

impl ModelConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("clusters", self.clusters.unwrap_or(2), 2, 255)?;
        let are_sizes = self.hidden.iter().all(|size| (1..=4096).contains(size));
        require(are_sizes, "hidden", format_args!("{:?}", self.hidden), "two sizes from 1 to 4096")?;
        within("dropout", self.dropout, 0.0, 0.9)?;
        within("scale", self.scale.unwrap_or(1.0), 1e-3, 1e3)
    }
}
