//! The backbones by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What turns images into features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackboneChoice {
    /// A vision transformer when weights are given or installed, else superpixels.
    #[default]
    Auto,
    /// SLIC regions; needs no weights.
    Superpixel,
    /// The pixels of the image downscaled; needs no weights.
    Pixel,
    /// A frozen vision transformer; needs a weights file.
    Vit,
}
