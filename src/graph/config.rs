//! What a user may choose about graphs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::numerics::range::{InvalidSetting, require};

/// How nodes become a graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

impl GraphConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        require(self.alpha >= 1.0 && self.alpha.is_finite(), "alpha", self.alpha, "at least 1")
    }
}
