//! Settings of the bilateral solver.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::numerics::range::{InvalidSetting, within};

/// Least and greatest values. Below one pixel or one step of colour, cells would only become empty; and the key of a cell
/// has room for as many steps of colour.
const SIGMA: (f64, f64) = (1.0, 1e6);
const LAMBDA: (f64, f64) = (0.0, 1e9);
/// Without any confidence there would be no unique solution.
const CONFIDENCE: (f64, f64) = (1e-6, 1.0);
const TOLERANCE: (f64, f64) = (0.0, 1.0);
const DIAGONAL: (f64, f64) = (1e-300, 1.0);
const MOST_BISTOCHASTIC_ITERATIONS: usize = 10_000;
const MOST_ITERATIONS: usize = 1_000_000;

/// How strongly and over what distance the bilateral solver smooths a mask. The default is DeepCut's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BilateralConfig {
    /// Side of a cell of the grid in the image, in pixels: 1 to 1 000 000.
    pub sigma_spatial: f64,
    /// Side of a cell in brightness, of 255: 1 to 1 000 000.
    pub sigma_luma: f64,
    /// Side of a cell in each of the two colour differences, of 255: 1 to 1 000 000.
    pub sigma_chroma: f64,
    /// Weight of smoothness against the given mask: 0 to 1 000 000 000.
    pub lambda: f64,
    /// How much the given mask is believed, the same at every pixel: 0.000001 to 1.
    pub confidence: f64,
    /// Steps that balance the blurred grid: 0 to 10 000.
    pub bistochastic_iterations: usize,
    /// Most steps of the conjugate gradients: 0 to 1 000 000.
    pub iterations: usize,
    /// The conjugate gradients end once the residual is below this share of the right-hand side: 0 to 1.
    pub tolerance: f64,
    /// Least diagonal entry that the preconditioner divides by: 1e-300 to 1.
    pub smallest_diagonal: f64,
}

impl Default for BilateralConfig {
    fn default() -> Self {
        BilateralConfig::DEEPCUT
    }
}

impl BilateralConfig {
    /// The settings of DeepCut's published code.
    pub const DEEPCUT: BilateralConfig = BilateralConfig {
        sigma_spatial: 24.0,
        sigma_luma: 4.0,
        sigma_chroma: 4.0,
        lambda: 256.0,
        confidence: 0.999,
        bistochastic_iterations: 10,
        iterations: 25,
        tolerance: 1e-5,
        smallest_diagonal: 1e-5,
    };

    /// The settings of TokenCut's published code: coarser in brightness and colour, finer in place, all else the same.
    pub fn token_cut() -> BilateralConfig {
        BilateralConfig { sigma_spatial: 16.0, sigma_luma: 16.0, sigma_chroma: 8.0, ..BilateralConfig::default() }
    }

    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        for (setting, value, (lowest, highest)) in self.ranges() {
            within(setting, value, lowest, highest)?;
        }
        Ok(())
    }

    /// Every setting brought to the nearest usable value, NaN to the default.
    pub(super) fn usable(&self) -> BilateralConfig {
        let default = BilateralConfig::default();
        let usable = |value: f64, default: f64, (lowest, highest): (f64, f64)| {
            if value.is_nan() { default } else { value.clamp(lowest, highest) }
        };
        BilateralConfig {
            sigma_spatial: usable(self.sigma_spatial, default.sigma_spatial, SIGMA),
            sigma_luma: usable(self.sigma_luma, default.sigma_luma, SIGMA),
            sigma_chroma: usable(self.sigma_chroma, default.sigma_chroma, SIGMA),
            lambda: usable(self.lambda, default.lambda, LAMBDA),
            confidence: usable(self.confidence, default.confidence, CONFIDENCE),
            bistochastic_iterations: self.bistochastic_iterations.min(MOST_BISTOCHASTIC_ITERATIONS),
            iterations: self.iterations.min(MOST_ITERATIONS),
            tolerance: usable(self.tolerance, default.tolerance, TOLERANCE),
            smallest_diagonal: usable(self.smallest_diagonal, default.smallest_diagonal, DIAGONAL),
        }
    }

    /// Name, value, least and greatest of every setting.
    fn ranges(&self) -> [(&'static str, f64, (f64, f64)); 9] {
        let balancing = self.bistochastic_iterations as f64;
        [
            ("sigma_spatial", self.sigma_spatial, SIGMA),
            ("sigma_luma", self.sigma_luma, SIGMA),
            ("sigma_chroma", self.sigma_chroma, SIGMA),
            ("lambda", self.lambda, LAMBDA),
            ("confidence", self.confidence, CONFIDENCE),
            ("bistochastic_iterations", balancing, (0.0, MOST_BISTOCHASTIC_ITERATIONS as f64)),
            ("iterations", self.iterations as f64, (0.0, MOST_ITERATIONS as f64)),
            ("tolerance", self.tolerance, TOLERANCE),
            ("smallest_diagonal", self.smallest_diagonal, DIAGONAL),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named_and_usable_ones_stay() {
        let default = BilateralConfig::default();
        let cases = [
            (default, None),
            (BilateralConfig::token_cut(), None),
            (BilateralConfig { sigma_spatial: 0.0, ..default }, Some("sigma_spatial")),
            (BilateralConfig { sigma_luma: f64::NAN, ..default }, Some("sigma_luma")),
            (BilateralConfig { sigma_chroma: 0.9, ..default }, Some("sigma_chroma")),
            (BilateralConfig { lambda: -1.0, ..default }, Some("lambda")),
            (BilateralConfig { confidence: 0.0, ..default }, Some("confidence")),
            (BilateralConfig { bistochastic_iterations: usize::MAX, ..default }, Some("bistochastic_iterations")),
            (BilateralConfig { iterations: usize::MAX, ..default }, Some("iterations")),
            (BilateralConfig { tolerance: f64::INFINITY, ..default }, Some("tolerance")),
            (BilateralConfig { smallest_diagonal: 0.0, ..default }, Some("smallest_diagonal")),
        ];
        for (config, refused) in cases {
            assert_eq!(config.validate().err().map(|error| error.setting), refused, "{config:?}");
            assert_eq!(config.usable().validate(), Ok(()), "{config:?}");
            assert_eq!(config.usable() == config, refused.is_none(), "{config:?}");
        }
    }

    #[test]
    fn settings_are_read_from_toml() {
        let read = toml::from_str::<BilateralConfig>("sigma_spatial = 16\nsigma_luma = 16\nsigma_chroma = 8");
        assert_eq!(read.unwrap(), BilateralConfig::token_cut());
        assert!(toml::from_str::<BilateralConfig>("sigma = 3").is_err());
    }
}
