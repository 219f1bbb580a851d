//! A binary mask against a binary ground truth.

use super::{MetricError, same_size, share};
use crate::raster::Mask;

/// The weight β² that salient-object papers give to recall in F_β (Achanta et al. 2009).
pub const BETA_SQUARED: f64 = 0.3;

/// How many pixels of a prediction are right and wrong in which way.
///
/// Counts of several images can be added up, which gives scores over all their pixels. The tables of this method use
/// the mean of scores per image instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overlap {
    /// Foreground in both.
    pub both_px: u64,
    /// Foreground in the prediction only.
    pub predicted_only_px: u64,
    /// Foreground in the ground truth only.
    pub truth_only_px: u64,
    /// Background in both.
    pub neither_px: u64,
}

impl Overlap {
    /// Counts the pixels of two masks (any value but 0 is foreground), without those where `void` is not 0.
    ///
    /// # Shapes
    /// All three `[height, width]`.
    pub fn of(prediction: &Mask, truth: &Mask, void: &Mask) -> Result<Self, MetricError> {
        same_size(prediction, truth, "ground truth")?;
        same_size(prediction, void, "mask of void pixels")?;
        let mut counts = [0u64; 4];
        for ((&predicted, &truth), &void) in prediction.values.iter().zip(&truth.values).zip(&void.values) {
            counts[usize::from(predicted != 0) + 2 * usize::from(truth != 0)] += u64::from(void == 0);
        }
        let [neither_px, predicted_only_px, truth_only_px, both_px] = counts;
        Ok(Self { both_px, predicted_only_px, truth_only_px, neither_px })
    }

    /// Intersection over union of the foregrounds; 1 if both are empty.
    pub fn iou(&self) -> f64 {
        share(self.both_px, self.both_px + self.predicted_only_px + self.truth_only_px)
    }

    /// Share of pixels whose label is right; 1 if no pixel counts.
    pub fn accuracy(&self) -> f64 {
        let right = self.both_px + self.neither_px;
        share(right, right + self.predicted_only_px + self.truth_only_px)
    }

    /// Share of the predicted foreground that is true; of an empty one 1 if there was nothing to find, else 0.
    pub fn precision(&self) -> f64 {
        match self.both_px + self.predicted_only_px {
            0 if self.truth_only_px > 0 => 0.0,
            predicted => share(self.both_px, predicted),
        }
    }

    /// Share of the true foreground that is found; of an empty one 1 if nothing was predicted, else 0.
    pub fn recall(&self) -> f64 {
        match self.both_px + self.truth_only_px {
            0 if self.predicted_only_px > 0 => 0.0,
            truth => share(self.both_px, truth),
        }
    }

    /// F_β = (1 + β²) · precision · recall / (β² · precision + recall) with `beta_squared` = β²; 1 if both masks are
    /// empty.
    pub fn f_beta(&self, beta_squared: f64) -> f64 {
        f_beta(self.precision(), self.recall(), beta_squared)
    }
}

/// F_β from precision and recall; 0 if both are 0.
pub(super) fn f_beta(precision: f64, recall: f64, beta_squared: f64) -> f64 {
    let denominator = beta_squared * precision + recall;
    if denominator == 0.0 { 0.0 } else { (1.0 + beta_squared) * precision * recall / denominator }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[u8]) -> Mask {
        Mask::from_values(values.len(), 1, values.to_vec())
    }

    #[test]
    fn scores_of_small_masks() {
        /// Prediction, truth, IoU, accuracy, F_β.
        type Case = (&'static [u8], &'static [u8], f64, f64, f64);
        let cases: [Case; 6] = [
            (&[1, 1, 0, 0], &[255, 255, 0, 0], 1.0, 1.0, 1.0),
            (&[3, 2, 1, 0], &[0, 255, 255, 255], 0.5, 0.5, 2.0 / 3.0),
            (&[1, 1, 1, 1], &[0, 0, 0, 9], 0.25, 0.25, 1.3 * 0.25 / (0.3 * 0.25 + 1.0)),
            (&[0, 0, 0, 0], &[0, 0, 0, 9], 0.0, 0.75, 0.0),
            (&[0, 1, 0, 0], &[0, 0, 0, 0], 0.0, 0.75, 0.0),
            (&[0, 0, 0, 0], &[0, 0, 0, 0], 1.0, 1.0, 1.0),
        ];
        for (prediction, truth, iou, accuracy, f_beta) in cases {
            let found = Overlap::of(&mask(prediction), &mask(truth), &mask(&[0; 4])).unwrap();
            let f_beta = (found.f_beta(BETA_SQUARED), f_beta);
            for (found, expected) in [(found.iou(), iou), (found.accuracy(), accuracy), f_beta] {
                assert!((found - expected).abs() < 1e-12, "{prediction:?} {truth:?}: {found} instead of {expected}");
            }
        }
    }

    #[test]
    fn void_pixels_count_nowhere() {
        let (prediction, truth) = (mask(&[1, 1, 0, 0, 1]), mask(&[1, 0, 1, 0, 1]));
        let overlap = Overlap::of(&prediction, &truth, &mask(&[0, 1, 7, 0, 255])).unwrap();
        assert_eq!(overlap, Overlap { both_px: 1, neither_px: 1, ..Overlap::default() });
        let overlap = Overlap::of(&prediction, &truth, &mask(&[1; 5])).unwrap();
        assert_eq!((overlap.iou(), overlap.accuracy()), (1.0, 1.0));
    }

    #[test]
    fn sizes_must_agree() {
        let error = Overlap::of(&mask(&[1, 2]), &mask(&[1]), &mask(&[0])).unwrap_err();
        assert!(error.to_string().starts_with("the ground truth has 1x1 pixels, the prediction 2x1;"), "{error}");
        assert!(Overlap::of(&mask(&[1, 2]), &mask(&[1, 2]), &mask(&[1])).is_err());
    }
}
