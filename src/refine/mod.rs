//! From clusters to objects: which clusters are background, masks that follow the image, and what they hold.

mod background;
pub mod bilateral;
mod components;
mod objects;
mod teaching;
mod upscale;

pub use background::{BackgroundRule, BorderStatistics};
pub use components::{Components, components, components_by, fill_holes, largest_component};
pub use objects::{CutNodes, FoundObject, ObjectsConfig, Split};
pub use teaching::TeachingConfig;
pub use upscale::{Cells, Upscale};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::numerics::range::InvalidSetting;
use crate::raster::{Mask, RgbImage};
use bilateral::BilateralConfig;

/// What is done to a mask once it has the size of its image.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RefineConfig {
    /// How the pixels of an image follow from the cells of a grid. Superpixels have outlines of their own.
    pub upscale: Upscale,
    pub method: RefineMethod,
    /// Keep only the largest connected part of the foreground, as the paper does after the bilateral solver.
    pub largest_component: bool,
    /// Settings of the method `bilateral`.
    pub bilateral: BilateralConfig,
}

/// How a mask is fitted to the edges of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefineMethod {
    /// Not at all: the image has no say in its mask.
    #[default]
    None,
    /// The bilateral solver with the settings under `refine.bilateral`, whose defaults are DeepCut's.
    Bilateral,
    /// The bilateral solver with TokenCut's settings.
    BilateralTokencut,
}

impl RefineConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.bilateral.validate()
    }

    /// Refines a mask of the size of `image`; where `outside` is 1 it becomes background.
    pub fn apply(
        &self,
        image: &RgbImage,
        mask: Mask,
        outside: Option<&Mask>,
        is_foreground: impl Fn(u8) -> bool,
    ) -> Mask {
        let mut mask = match self.method {
            RefineMethod::None => mask,
            RefineMethod::Bilateral => bilateral::refine(image, &mask, self.bilateral),
            RefineMethod::BilateralTokencut => bilateral::refine(image, &mask, BilateralConfig::token_cut()),
        };
        if let Some(outside) = outside {
            mask.values.iter_mut().zip(&outside.values).for_each(|(value, outside)| *value *= 1 - outside);
        }
        if self.largest_component { largest_component(&mask, is_foreground) } else { mask }
    }
}
