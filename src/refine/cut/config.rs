//! Settings of the graph cut.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::numerics::range::{InvalidSetting, within};

const MOST_BAND_PX: usize = 1000;
const MOST: f64 = 1e6;

/// How far and how strongly the graph cut moves the boundaries of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CutConfig {
    /// How far from the mask's boundaries pixels may change, in pixels of the image, or of its reduced copy if it has more
    /// than half a million: 1 to 1000.
    pub band_px: usize,
    /// What a boundary between two equal pixels costs, in nats of the network's probabilities: 0 to 1 000 000.
    pub smoothness: f64,
    /// How much less a boundary costs where colours change: 0 to 1 000 000; 0 goes by its length alone.
    pub contrast: f64,
}

impl Default for CutConfig {
    fn default() -> Self {
        CutConfig { band_px: 16, smoothness: 10.0, contrast: 1.0 }
    }
}

impl CutConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("band_px", self.band_px, 1, MOST_BAND_PX)?;
        within("smoothness", self.smoothness, 0.0, MOST)?;
        within("contrast", self.contrast, 0.0, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let default = CutConfig::default();
        let cases = [
            (default, None),
            (CutConfig { band_px: 0, ..default }, Some("band_px")),
            (CutConfig { band_px: usize::MAX, ..default }, Some("band_px")),
            (CutConfig { smoothness: f64::NAN, ..default }, Some("smoothness")),
            (CutConfig { contrast: -1.0, ..default }, Some("contrast")),
        ];
        for (config, refused) in cases {
            assert_eq!(config.validate().err().map(|error| error.setting), refused, "{config:?}");
        }
    }
}
