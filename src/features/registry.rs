//! The backbones that there are, one entry each: what a configuration calls it, and how it is made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::vit::{VitConfig, VitExtractor};
use super::{Extractor, PixelConfig, PixelExtractor, SuperpixelConfig, SuperpixelExtractor};
use crate::tensor::Device;
use crate::weights::{StateDict, WeightsError};

/// The settings of all backbones; each looks at its own.
#[derive(Debug, Clone, Copy)]
pub struct BackboneSettings<'a> {
    pub vit: &'a VitConfig,
    pub superpixel: &'a SuperpixelConfig,
    pub pixel: &'a PixelConfig,
}

/// An extractor of any kind.
pub type BoxedExtractor = Box<dyn Extractor + Send + Sync>;

/// How a backbone is made.
#[derive(Clone, Copy)]
pub(super) enum Make {
    /// From its settings alone.
    Plain(fn(&BackboneSettings) -> BoxedExtractor),
    /// With the weights of a network that others trained.
    Weights(fn(&BackboneSettings, &StateDict, &Device) -> Result<BoxedExtractor, WeightsError>),
}

macro_rules! backbones {
    ($($(#[$meaning:meta])* $variant:ident = $name:literal, $make:expr;)*) => {
        /// What turns images into features.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
        pub enum BackboneChoice {
            /// A vision transformer when weights are given or installed, else superpixels.
            #[default]
            #[serde(rename = "auto")]
            Auto,
            $($(#[$meaning])* #[serde(rename = $name)] $variant,)*
        }

        impl BackboneChoice {
            /// What configurations call the choices.
            pub const NAMES: &[&str] = &["auto", $($name),*];

            /// The backbone that is chosen; none where the choice is left open.
            pub fn entry(self) -> Option<Entry> {
                match self {
                    BackboneChoice::Auto => None,
                    $(BackboneChoice::$variant => Some(Entry { name: $name, make: $make }),)*
                }
            }
        }
    };
}

backbones! {
    /// SLIC regions; needs no weights.
    Superpixel = "superpixel", Make::Plain(|settings| Box::new(SuperpixelExtractor::new(*settings.superpixel)));
    /// The pixels of the image downscaled; needs no weights.
    Pixel = "pixel", Make::Plain(|settings| Box::new(PixelExtractor::new(*settings.pixel)));
    /// A frozen vision transformer; needs a weights file.
    Vit = "vit", Make::Weights(|settings, weights, device| {
        Ok(Box::new(VitExtractor::new(weights, settings.vit.clone(), device.clone())?))
    });
}

/// One of the backbones.
#[derive(Clone, Copy)]
pub struct Entry {
    name: &'static str,
    pub(super) make: Make,
}

impl Entry {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Whether it can only be made with weights.
    pub fn needs_weights(self) -> bool {
        matches!(self.make, Make::Weights(_))
    }
}
