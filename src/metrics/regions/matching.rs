//! Measures of segments that are matched one to one.

use super::segments::{Pair, SharedPixels};
use crate::numerics::optimal_assignment::maximum_assignment;

/// Σ IoU of the pairs / number of the annotator's segments, and the share of pixels in both segments of a pair, for the
/// matching with the largest sum of IoU.
pub fn by_iou(shared: &SharedPixels) -> (f64, f64) {
    let (rows, pixels) = (shared.truth.areas_px.len(), shared.pixels());
    if pixels == 0 {
        // Nothing to find, nothing found.
        return (1.0, 1.0);
    }
    let (mut iou_sum, mut matched_px) = (0.0, 0);
    for Pair { shared_px, iou, .. } in matched(shared, |pair| pair.iou) {
        iou_sum += iou;
        matched_px += shared_px;
    }
    (iou_sum / rows as f64, matched_px as f64 / pixels as f64)
}

/// Σ area of the predicted segment · IoU of the pairs / pixels, and the share of pixels in both segments of a pair, for the
/// matching with the most shared pixels; of several such ones, that with the largest first figure.
///
/// The first is scikit-learn's `jaccard_score(prediction, truth, average="weighted")` after the matched segments have been given
/// one number each.
pub fn by_shared_pixels(shared: &SharedPixels) -> (f64, f64) {
    let pixels = shared.pixels();
    if pixels == 0 {
        return (1.0, 1.0);
    }
    let weighted_iou = |pair: &Pair| shared.predicted.areas_px[pair.predicted] as f64 * pair.iou / pixels as f64;
    // The weighted IoUs of a matching add up to 1 at most: halved, to less than any pixel.
    let weight = |pair: &Pair| pair.shared_px as f64 + weighted_iou(pair) / 2.0;
    let (mut weighted_iou_sum, mut matched_px) = (0.0, 0);
    for pair in matched(shared, weight) {
        weighted_iou_sum += weighted_iou(&pair);
        matched_px += pair.shared_px;
    }
    (weighted_iou_sum, matched_px as f64 / pixels as f64)
}

/// The pairs of the one-to-one matching with the largest sum of weights. Pairs that do not touch have weight 0 and are none.
fn matched<'a>(shared: &'a SharedPixels, weight: impl Fn(&Pair) -> f64) -> impl Iterator<Item = Pair> + 'a {
    let columns = shared.predicted.areas_px.len();
    let mut weights = vec![0.0; shared.shared_px.len()];
    for pair in shared.pairs() {
        weights[pair.truth * columns + pair.predicted] = weight(&pair);
    }
    let partners = maximum_assignment(&weights, columns).into_iter().enumerate();
    let pairs = partners.filter_map(|(truth, predicted)| Some(shared.pair(truth, predicted?)));
    pairs.filter(|pair| pair.shared_px > 0)
}
