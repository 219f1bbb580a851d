//! Maps of graded saliency against binary ground truth: the largest F_β over all thresholds.

use super::overlap::{Overlap, f_beta};
use super::{MetricError, same_size};
use crate::raster::{Mask, Raster};

/// Thresholds t = 0 to 254: foreground is saliency > t, so that neither "everything" nor "nothing" is among them by
/// itself.
const THRESHOLDS: usize = 255;

/// Precision and recall at every threshold, averaged over the images added.
///
/// The order of the averages is part of the definition: precision and recall are averaged over images first, F_β is
/// computed from the averages, and the largest over thresholds counts (Achanta et al. 2009, as in salient-object tables).
/// It differs from the mean over images of each image's own largest F_β.
#[derive(Debug, Clone)]
pub struct SaliencyCurve {
    image_count: u64,
    precision_sums: [f64; THRESHOLDS],
    recall_sums: [f64; THRESHOLDS],
}

impl Default for SaliencyCurve {
    fn default() -> Self {
        Self { image_count: 0, precision_sums: [0.0; THRESHOLDS], recall_sums: [0.0; THRESHOLDS] }
    }
}

impl SaliencyCurve {
    /// Adds one image: its `saliency` (0 to 255) against `truth` (any value but 0 is foreground), without pixels where
    /// `void` is not 0.
    ///
    /// # Shapes
    /// All three `[height, width]`.
    pub fn add(&mut self, saliency: &Raster<u8>, truth: &Mask, void: &Mask) -> Result<(), MetricError> {
        same_size(saliency, truth, "ground truth")?;
        same_size(saliency, void, "mask of void pixels")?;
        // Pixels of every saliency, [background, foreground].
        let mut histogram = [[0u64; 2]; 256];
        for ((&value, &truth), &void) in saliency.values.iter().zip(&truth.values).zip(&void.values) {
            histogram[usize::from(value)][usize::from(truth != 0)] += u64::from(void == 0);
        }
        let total = |class: usize| histogram.iter().map(|counts| counts[class]).sum::<u64>();
        let mut overlap = Overlap { truth_only_px: total(1), neither_px: total(0), ..Overlap::default() };
        for threshold in (0..THRESHOLDS).rev() {
            let [background, foreground] = histogram[threshold + 1];
            overlap.both_px += foreground;
            overlap.truth_only_px -= foreground;
            overlap.predicted_only_px += background;
            overlap.neither_px -= background;
            self.precision_sums[threshold] += overlap.precision();
            self.recall_sums[threshold] += overlap.recall();
        }
        self.image_count += 1;
        Ok(())
    }

    /// The largest F_β over thresholds with `beta_squared` = β²; none without images.
    pub fn maximum(&self, beta_squared: f64) -> Option<f64> {
        let images = self.image_count as f64;
        let means = self.precision_sums.iter().zip(&self.recall_sums);
        let scores = means.map(|(precision, recall)| f_beta(precision / images, recall / images, beta_squared));
        (self.image_count > 0).then(|| scores.fold(0.0, f64::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::BETA_SQUARED;

    fn row(values: &[u8]) -> Mask {
        Mask::from_values(values.len(), 1, values.to_vec())
    }

    #[test]
    fn binary_masks_give_their_own_f_beta() {
        let (mask, truth) = (row(&[255, 255, 255, 0, 0]), row(&[255, 255, 0, 255, 0]));
        let mut curve = SaliencyCurve::default();
        assert_eq!(curve.maximum(BETA_SQUARED), None);
        let void = row(&[0; 5]);
        curve.add(&mask, &truth, &void).unwrap();
        let expected = Overlap::of(&mask, &truth, &void).unwrap().f_beta(BETA_SQUARED);
        let found = curve.maximum(BETA_SQUARED).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found}");
    }

    #[test]
    fn the_best_threshold_is_shared_by_all_images() {
        // Perfect at thresholds 10 to 99 for the first image, at 50 to 199 for the second.
        let mut curve = SaliencyCurve::default();
        curve.add(&row(&[10, 100, 100]), &row(&[0, 1, 1]), &row(&[0; 3])).unwrap();
        curve.add(&row(&[50, 200, 255, 255]), &row(&[0, 1, 1, 0]), &row(&[0, 0, 0, 1])).unwrap();
        assert_eq!(curve.maximum(BETA_SQUARED), Some(1.0));
        // At any threshold one of these two is wrong: precision (1 + 0) / 2, recall (1 + 0) / 2.
        let mut curve = SaliencyCurve::default();
        curve.add(&row(&[10, 0]), &row(&[1, 0]), &row(&[0; 2])).unwrap();
        curve.add(&row(&[0, 10]), &row(&[1, 0]), &row(&[0; 2])).unwrap();
        let found = curve.maximum(BETA_SQUARED).unwrap();
        assert!((found - 0.5).abs() < 1e-12, "{found}");
    }
}
