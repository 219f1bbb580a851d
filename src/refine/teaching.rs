//! How a first network's masks become what a second one learns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bilateral::{self, BilateralConfig};
use crate::numerics::range::{InvalidSetting, within};
use crate::pixels::resize_lanczos;
use crate::raster::{Mask, RgbImage};

/// How one network teaches another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TeachingConfig {
    /// Larger images are scaled down to this longer side, in pixels, before masks are fitted to them: patches are far
    /// coarser, and the time of the solver grows with the pixels.
    pub longest_side_px: usize,
    /// The hidden sizes of the network that is taught, as a share of its teacher's; rounded up.
    pub student_share: f64,
    /// Most epochs in which a network learns what the eigenvector gives, which is right in most images and wrong in some: what images have
    /// in common is learnt first, and the mistakes after it. Half as many where every image is seen in several views (`train.views`).
    pub epochs: usize,
    /// A network that learns from the eigenvector is the running average of its parameters over all steps, of which each keeps this
    /// share: of a few images the last step, or the best of some epochs, is as much an accident as what it learnt. 0 keeps the last
    /// step's.
    pub averaging: f64,
    /// How masks are fitted to the edges of their images. The cells of brightness lie between DeepCut's, four levels wide, and
    /// TokenCut's, which are sixteen: so masks follow edges, and shading within an object does not stop them.
    pub bilateral: BilateralConfig,
}

impl Default for TeachingConfig {
    fn default() -> Self {
        let bilateral = BilateralConfig { sigma_luma: 8.0, ..BilateralConfig::DEEPCUT };
        TeachingConfig { longest_side_px: 512, student_share: 0.5, epochs: 12, averaging: 0.98, bilateral }
    }
}

impl TeachingConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("longest_side_px", self.longest_side_px as f64, 16.0, 16_384.0)?;
        within("epochs", self.epochs, 1, 1_000_000)?;
        within("averaging", self.averaging, 0.0, 0.9999)?;
        within("student_share", self.student_share, 0.01, 1.0)?;
        self.bilateral.validate()
    }

    /// The hidden size of the network that is taught.
    pub fn student_size(&self, size: usize) -> usize {
        ((size as f64 * self.student_share).ceil() as usize).max(1)
    }

    /// A mask over an image, of any size, fitted to the image's edges.
    ///
    /// # Shapes
    /// → the image's size, at most `longest_side_px` on the longer side
    pub fn fitted(&self, image: &RgbImage, mask: &Mask) -> Mask {
        let longest = image.width.max(image.height);
        if longest <= self.longest_side_px {
            return bilateral::refine(image, mask, self.bilateral);
        }
        let scaled = |side: usize| (side * self.longest_side_px).div_ceil(longest);
        bilateral::refine(&resize_lanczos(image, scaled(image.width), scaled(image.height)), mask, self.bilateral)
    }
}
