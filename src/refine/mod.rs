//! From clusters to objects: which clusters are background, masks that follow the image, and what they hold.

mod background;
pub mod bilateral;
mod components;
pub mod cut;
mod numbered;
mod objects;
mod teaching;
mod upscale;

pub use background::{BackgroundRule, BorderStatistics};
pub use components::{Components, components, components_by, fill_holes, largest_bounds, largest_component};
pub use cut::{CutConfig, Shares};
pub use numbered::NumberedNodes;
pub use objects::{CutNodes, FoundObject, ObjectsConfig, Split};
pub use teaching::TeachingConfig;
pub use upscale::{Cells, Upscale};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::raster::{Mask, RgbImage};
use bilateral::BilateralConfig;

/// What is done to a mask once it has the size of its image.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RefineConfig {
    /// How the pixels of an image follow from the cells of a grid. Superpixels have outlines of their own.
    pub upscale: Upscale,
    /// How a mask is fitted to the edges of its image. Default: with a transformer, by the bilateral solver, unless objects are
    /// divided into parts; superpixels have outlines of their own, and their masks stay as they are.
    pub method: Option<RefineMethod>,
    /// Keep only the largest connected part of the foreground, as the paper does after the bilateral solver.
    pub largest_component: bool,
    /// Settings of the method `bilateral`.
    pub bilateral: BilateralConfig,
    /// Settings of the method `cut`.
    pub cut: CutConfig,
}

/// How a mask is fitted to the edges of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefineMethod {
    /// Not at all: the image has no say in its mask.
    None,
    /// The bilateral solver with the settings under `refine.bilateral`, whose defaults are DeepCut's.
    Bilateral,
    /// The bilateral solver with TokenCut's settings.
    BilateralTokencut,
    /// A graph cut between the network's probabilities and the colours of pixels near the mask's boundaries.
    Cut,
}

impl RefineConfig {
    /// Refines a mask of the size of `image`; where `outside` is 1 it becomes background. `class_of` maps a mask value to the
    /// class that it belongs to, a column of `shares`; class 0 is background.
    pub fn apply(
        &self,
        image: &RgbImage,
        mask: Mask,
        shares: Shares,
        outside: Option<&Mask>,
        class_of: impl Fn(u8) -> u8,
    ) -> Mask {
        let mut mask = match self.method {
            None | Some(RefineMethod::None) => mask,
            Some(RefineMethod::Bilateral) => bilateral::refine(image, &mask, self.bilateral),
            Some(RefineMethod::BilateralTokencut) => bilateral::refine(image, &mask, BilateralConfig::token_cut()),
            Some(RefineMethod::Cut) => cut::refine(image, mask, shares, outside, &class_of, self.cut),
        };
        if let Some(outside) = outside {
            mask.values.iter_mut().zip(&outside.values).for_each(|(value, outside)| *value *= 1 - outside);
        }
        if self.largest_component { largest_component(&mask, |value| class_of(value) > 0) } else { mask }
    }
}
