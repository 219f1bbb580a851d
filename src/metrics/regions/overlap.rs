//! Measures of segments that may serve, and be served by, any number of others.

use super::segments::{Pair, SharedPixels};

/// The covering of the annotation by the prediction: Σ over its segments of their area · the best IoU with any predicted segment,
/// / pixels.
pub fn covering(shared: &SharedPixels) -> f64 {
    let pixels = shared.pixels();
    if pixels == 0 {
        return 1.0;
    }
    let mut best = vec![0.0; shared.truth.areas_px.len()];
    for Pair { truth, iou, .. } in shared.pairs() {
        best[truth] = iou.max(best[truth]);
    }
    let areas_px = shared.truth.areas_px.iter();
    areas_px.zip(best).map(|(&area_px, iou)| area_px as f64 * iou).sum::<f64>() / pixels as f64
}

/// The undersegmentation error: Σ over all pairs of segments that touch of the smaller of the two parts into which the annotation
/// cuts the predicted one, / pixels.
pub fn undersegmentation_error(shared: &SharedPixels) -> f64 {
    let leak_px = |pair: Pair| pair.shared_px.min(shared.predicted.areas_px[pair.predicted] - pair.shared_px);
    match shared.pixels() {
        0 => 0.0,
        pixels => shared.pairs().map(leak_px).sum::<u64>() as f64 / pixels as f64,
    }
}

/// Σ IoU / number of the annotator's segments, and the share of right pixels, of the labelling that gives every predicted segment
/// to the annotator's segment it shares most pixels with (the one of the lower label, where several do).
pub fn of_oracle(shared: &SharedPixels) -> (f64, f64) {
    let pixels = shared.pixels();
    if pixels == 0 {
        return (1.0, 1.0);
    }
    let mut owners: Vec<Option<Pair>> = vec![None; shared.predicted.areas_px.len()];
    for pair in shared.pairs() {
        let owner = &mut owners[pair.predicted];
        if owner.is_none_or(|other| pair.shared_px > other.shared_px) {
            *owner = Some(pair);
        }
    }
    let areas_px = &shared.truth.areas_px;
    let (mut given_px, mut right_px) = (vec![0; areas_px.len()], vec![0; areas_px.len()]);
    for Pair { truth, predicted, shared_px, .. } in owners.into_iter().flatten() {
        given_px[truth] += shared.predicted.areas_px[predicted];
        right_px[truth] += shared_px;
    }
    let ious = (0..areas_px.len()).map(|truth| {
        let union_px = areas_px[truth] + given_px[truth] - right_px[truth];
        right_px[truth] as f64 / union_px as f64
    });
    (ious.sum::<f64>() / areas_px.len() as f64, right_px.iter().sum::<u64>() as f64 / pixels as f64)
}
