//! Which images of a collection are used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which images of a collection are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SampleConfig {
    /// Most images a network is trained on; a larger collection is sampled at random. A few thousand images determine
    /// a network of this size. 0 takes all.
    pub max_images: usize,
}

impl Default for SampleConfig {
    fn default() -> Self {
        SampleConfig { max_images: 20_000 }
    }
}
