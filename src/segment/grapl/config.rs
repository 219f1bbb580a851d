//! What can be chosen of the methods that divide images patch by patch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::numerics::range::{InvalidSetting, require, within};

/// Fewest pixels along a patch: two convolutions of three pixels leave one.
pub const LEAST_PATCH: usize = 5;

/// How images are divided into regions patch by patch, by the methods `grapl` and `slic-cut`, and the patches that the network
/// of `regions.by` = "patch-network" learns; the defaults are those of GraPL's official code.
///
/// Source: Wasserman and Szafir, "GraPL: Unsupervised Image Segmentation by Graph-based Patch Learning", arXiv 2311.01475.
/// Where the paper's text and its official code differ, the code made the paper's tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GraplConfig {
    /// Patches along each side of the image, which becomes a square: 2 to 64.
    pub patches: usize,
    /// The longest side of that square in pixels, from 5 for every patch on, at most 2048. Larger images are reduced to it; the
    /// official code reduces none.
    pub side: usize,
    /// Regions that SLIC is asked for at the start; its grid makes 16 of 14. 1 to 200.
    pub regions: usize,
    /// Weight of place against colour in SLIC: the Lab difference that counts as much as the spacing of two regions. 0.001 to
    /// 1 000 000.
    pub compactness: f32,
    /// Gaussian smoothing before SLIC, in pixels: 0 (none) to 100.
    pub sigma: f32,
    /// What it costs to part two patches that touch and are alike, in nats of probability; 0 parts them freely.
    pub lambda: f64,
    /// Which patches belong together in the graph that is cut.
    pub affinity: PatchAffinity,
    /// grapl only: steps of every round of training, with a cut between two rounds. The paper prints [40, 32, 22, 12].
    pub steps: Vec<usize>,
    /// grapl and the network of `regions.by`: learning rate of Adam, for the latter at its highest.
    pub learning_rate: f64,
    /// grapl only: weight of the loss by which neighbouring patches are to be alike, the paper's μ.
    pub continuity: f64,
    /// grapl only: which loss ends the first round once it is below 1.
    pub stop: StoppingLoss,
    /// grapl only: where the network's answers lie in the image.
    pub positions: Positions,
}

/// How much two patches belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PatchAffinity {
    /// By their mean colours in three components of a cubic kernel, times 32, and by their distance.
    #[default]
    Colour,
    /// By their mean colours as they are and by their distance, as the paper's text has it.
    MeanColour,
    /// By their distance alone; a cut costs as much less as there are patches along a side.
    Position,
    /// Each with its four neighbours, all alike.
    Uniform,
}

/// A loss of the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StoppingLoss {
    /// That of labels and continuity together.
    #[default]
    Total,
    /// That of labels alone, as the paper's text has it.
    CrossEntropy,
}

/// Where the answers of a network that sees whole patches lie in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// They are stretched over the image, which moves them by up to half a patch.
    #[default]
    Stretched,
    /// In the middle of what the network has seen, beyond the border with the border's pixels repeated.
    Exact,
}

impl Default for GraplConfig {
    fn default() -> Self {
        GraplConfig {
            patches: 32,
            side: 512,
            regions: 14,
            compactness: 0.1,
            sigma: 10.0,
            lambda: 64.0,
            affinity: PatchAffinity::default(),
            steps: vec![40, 32, 22, 19],
            learning_rate: 0.01,
            continuity: 3.0,
            stop: StoppingLoss::default(),
            positions: Positions::default(),
        }
    }
}

impl GraplConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("patches", self.patches, 2, 64)?;
        within("side", self.side, LEAST_PATCH * self.patches, 2048)?;
        within("regions", self.regions, 1, 200)?;
        within("compactness", f64::from(self.compactness), 1e-3, 1e6)?;
        within("sigma", f64::from(self.sigma), 0.0, 100.0)?;
        within("lambda", self.lambda, 0.0, 1e12)?;
        let counts = || self.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let is_usable = (1..=100).contains(&self.steps.len()) && self.steps.iter().all(|&steps| steps <= 10_000);
        require(is_usable, "steps", format_args!("[{}]", counts()), "1 to 100 numbers of at most 10000")?;
        let rate = self.learning_rate;
        require(rate > 0.0 && rate <= 1.0, "learning_rate", rate, "above 0 and at most 1")?;
        within("continuity", self.continuity, 0.0, 1e6)
    }

    /// Pixels along every patch of an image of this size: as many as its longer side needs, within the limits.
    pub fn patch_pixels(&self, width: usize, height: usize) -> usize {
        width.max(height).div_ceil(self.patches).clamp(LEAST_PATCH, self.most_patch_pixels())
    }

    /// The most pixels along a patch.
    pub fn most_patch_pixels(&self) -> usize {
        (self.side / self.patches).max(LEAST_PATCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_range() {
        let default = GraplConfig::default();
        assert_eq!(default.validate(), Ok(()));
        for (config, setting) in [
            (GraplConfig { patches: 1, ..default.clone() }, "patches"),
            (GraplConfig { side: 159, ..default.clone() }, "side"),
            (GraplConfig { regions: 0, ..default.clone() }, "regions"),
            (GraplConfig { compactness: 0.0, ..default.clone() }, "compactness"),
            (GraplConfig { sigma: f32::NAN, ..default.clone() }, "sigma"),
            (GraplConfig { lambda: -1.0, ..default.clone() }, "lambda"),
            (GraplConfig { steps: Vec::new(), ..default.clone() }, "steps"),
            (GraplConfig { steps: vec![10_001], ..default.clone() }, "steps"),
            (GraplConfig { learning_rate: 0.0, ..default.clone() }, "learning_rate"),
            (GraplConfig { continuity: f64::INFINITY, ..default.clone() }, "continuity"),
        ] {
            assert_eq!(config.validate().unwrap_err().setting, setting);
        }
    }

    #[test]
    fn patches_are_as_large_as_their_image_needs_within_limits() {
        let config = GraplConfig::default();
        for (width, height, pixels) in [(321, 481, 16), (1, 1, 5), (20, 10_000, 16), (512, 512, 16), (200, 10, 7)] {
            assert_eq!(config.patch_pixels(width, height), pixels, "{width}x{height}");
        }
    }
}
