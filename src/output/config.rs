//! What a user may choose about pictures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::numerics::range::{InvalidSetting, within};

/// What results look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

impl OutputConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("overlay_side_px", self.overlay_side_px, 1, 16_384)
    }
}
