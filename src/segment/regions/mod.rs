//! All regions of an image, with labels that mean the same in every image of a collection: a code book of what patches look
//! like, learned once, and a graph cut per image.
//!
//! Source of the cut and its edges: "GraPL: Graph-based Patch Learning" (arXiv 2311.01475), whose network for every image the
//! code book replaces.

mod checkpoint;
mod code_book;
mod divide;
mod patch_kinds;

pub use checkpoint::{PatchSizes, RegionCheckpoint, RegionHeader};
pub use code_book::{COLOURS, CodeBook, PatchSample};
pub use divide::{Divided, Nodes, divide};
pub use patch_kinds::{PatchKinds, PatchPicture, colour_book};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::numerics::range::{InvalidSetting, require};

/// How whole images are divided into regions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RegionsConfig {
    /// Kinds of regions that `train` looks for in the collection, at most 255; 0 looks for objects instead.
    pub labels: usize,
    /// What tells the kinds apart.
    pub by: KindsBy,
    /// How much a boundary costs against what patches look like: larger gives fewer regions.
    pub lambda: f64,
    /// What is compared along a boundary; with a patch network always colours.
    pub affinity: RegionAffinity,
    /// Number the connected regions of every image by themselves, instead of giving them the labels of their kinds.
    pub split: bool,
    /// Directions in which features are compared with the code book: the principal ones of the collection.
    pub components: usize,
    /// Connected regions of fewer nodes join the neighbour with which they share the longest boundary.
    pub least_nodes: usize,
}

/// What tells kinds of regions apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KindsBy {
    /// The backbone's features and mean colours of nodes, grouped by k-means
    #[default]
    CodeBook,
    /// GraPL's network, trained once on patches of the collection; only without a transformer
    PatchNetwork,
}

/// What two nodes are compared by along a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RegionAffinity {
    /// The backbone's features, each of unit length
    #[default]
    Features,
    /// Mean colours, as GraPL compares them
    Colour,
}

impl Default for RegionsConfig {
    fn default() -> Self {
        RegionsConfig {
            labels: 0,
            by: KindsBy::CodeBook,
            lambda: 8.0,
            affinity: RegionAffinity::Features,
            split: false,
            components: 16,
            least_nodes: 4,
        }
    }
}

/// Masks of 8 bits have so many values beside that of missing data.
const MOST_LABELS: usize = u8::MAX as usize;

impl RegionsConfig {
    /// Refuses to look for no regions at all.
    pub fn asked_for(&self) -> Result<(), InvalidSetting> {
        require(self.labels > 0, "labels", self.labels, "2 to 255")
    }

    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let labels = self.labels != 1 && self.labels <= MOST_LABELS;
        require(labels, "labels", self.labels, "0, or 2 to 255")?;
        let lambda = self.lambda.is_finite() && self.lambda >= 0.0;
        require(lambda, "lambda", self.lambda, "finite and not negative")?;
        require(self.components > 0, "components", self.components, "at least 1")?;
        require(self.least_nodes > 0, "least_nodes", self.least_nodes, "at least 1")
    }
}
