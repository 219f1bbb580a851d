//! A whole segmentation against several people's: the BSDS500 protocol.

use std::collections::BTreeMap;

use super::{MetricError, mean, same_size};
use crate::numerics::optimal_assignment::maximum_assignment;
use crate::raster::LabelMap;

/// Most pairs of segments that are matched, so that a broken file cannot ask for all memory.
const MAX_SEGMENT_PAIRS: usize = 1 << 24;

/// The scores of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegionScores {
    /// Mean over annotators of Σ IoU over matched pairs / number of the annotator's segments: an unmatched one scores 0.
    pub iou: f64,
    /// Mean over annotators of the share of pixels in both segments of a matched pair.
    pub accuracy: f64,
    /// Segments of the prediction.
    pub segment_count: usize,
}

/// Compares a segmentation with every annotation of its image.
///
/// Per annotator, segments of the prediction and of the annotation are paired one to one such that the sum of the pairs'
/// IoU is largest (maximum-weight assignment). Pairs that do not touch are not matched. The IoU is averaged over the
/// annotator's segments, so surplus segments of the prediction cost only what they take away from others. A label's
/// value means nothing, and a segment need not be connected. The score of the image is the mean over annotators.
///
/// # Shapes
/// - `prediction`, each of `annotations`: `[height, width]`
pub fn region_scores(prediction: &LabelMap, annotations: &[LabelMap]) -> Result<RegionScores, MetricError> {
    let scores = annotations.iter().map(|truth| against_one(prediction, truth));
    let (ious, accuracies): (Vec<f64>, Vec<f64>) = scores.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let (iou, accuracy) = mean(ious).zip(mean(accuracies)).ok_or(MetricError::NoAnnotation)?;
    Ok(RegionScores { iou, accuracy, segment_count: Segments::of(prediction).areas_px.len() })
}

/// The segments of a label map, numbered by ascending label.
struct Segments {
    /// `[pixels]`: the number of each pixel's segment.
    numbers: Vec<usize>,
    /// `[segments]`
    areas_px: Vec<u64>,
}

impl Segments {
    fn of(map: &LabelMap) -> Self {
        let mut number_of_label: BTreeMap<u32, usize> = map.values.iter().map(|&label| (label, 0)).collect();
        for (number, value) in number_of_label.values_mut().enumerate() {
            *value = number;
        }
        let numbers: Vec<usize> = map.values.iter().map(|label| number_of_label[label]).collect();
        let mut areas_px = vec![0; number_of_label.len()];
        for &number in &numbers {
            areas_px[number] += 1;
        }
        Self { numbers, areas_px }
    }
}

/// IoU and accuracy against one annotator.
fn against_one(prediction: &LabelMap, truth: &LabelMap) -> Result<(f64, f64), MetricError> {
    same_size(prediction, truth, "annotation")?;
    let (predicted, annotated) = (Segments::of(prediction), Segments::of(truth));
    let (rows, columns) = (annotated.areas_px.len(), predicted.areas_px.len());
    if rows == 0 {
        // An image without pixels: nothing to find, nothing found.
        return Ok((1.0, 1.0));
    }
    if rows.checked_mul(columns).is_none_or(|pairs| pairs > MAX_SEGMENT_PAIRS) {
        return Err(MetricError::TooManySegments { truth: rows, predicted: columns });
    }
    let mut shared_px = vec![0u64; rows * columns];
    for (row, column) in annotated.numbers.iter().zip(&predicted.numbers) {
        shared_px[row * columns + column] += 1;
    }
    let union_px =
        |pair: usize| annotated.areas_px[pair / columns] + predicted.areas_px[pair % columns] - shared_px[pair];
    // No segment is empty, so no union is.
    let ious: Vec<f64> = (0..shared_px.len()).map(|pair| shared_px[pair] as f64 / union_px(pair) as f64).collect();
    let (mut iou_sum, mut matched_px) = (0.0, 0);
    for (row, column) in maximum_assignment(&ious, columns).into_iter().enumerate() {
        // Pairs that the assignment makes without need have IoU 0 and add nothing.
        let Some(column) = column else { continue };
        iou_sum += ious[row * columns + column];
        matched_px += shared_px[row * columns + column];
    }
    let pixels = truth.values.len() as f64;
    Ok((iou_sum / rows as f64, matched_px as f64 / pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[u32]) -> LabelMap {
        LabelMap::from_values(values.len(), 1, values.to_vec())
    }

    #[test]
    fn scores_of_small_segmentations() {
        // prediction, annotation, IoU, accuracy
        let cases: [(&[u32], &[u32], f64, f64); 6] = [
            (&[7, 7, 3, 3], &[1, 1, 2, 2], 1.0, 1.0),
            // One segment can serve one only: IoU (1/2 + 0) / 2.
            (&[0, 0, 0, 0], &[1, 1, 2, 2], 0.25, 0.5),
            // Surplus segments: (1/2 + 1/2) / 2.
            (&[0, 1, 2, 3], &[1, 1, 2, 2], 0.5, 0.5),
            // {0,1,2} with {0,1,2,3} 3/4, {3,4} with {4,5} 1/3, {5} is left: matched pixels 3 + 1 of 6.
            (&[0, 0, 0, 1, 1, 2], &[5, 5, 5, 5, 6, 6], (0.75 + 0.5) / 2.0, 4.0 / 6.0),
            // Taking the best pair first would be worse than the best sum: 2/5 + 2/4 against 3/6 + 0.
            (&[0, 0, 0, 0, 0, 1, 1], &[8, 8, 9, 9, 9, 9, 9], 0.4, 4.0 / 7.0),
            (&[], &[], 1.0, 1.0),
        ];
        for (prediction, truth, iou, accuracy) in cases {
            let found = region_scores(&row(prediction), &[row(truth)]).unwrap();
            assert!((found.iou - iou).abs() < 1e-12, "{prediction:?} {truth:?}: IoU {} instead of {iou}", found.iou);
            assert!((found.accuracy - accuracy).abs() < 1e-12, "{prediction:?} {truth:?}: {}", found.accuracy);
        }
    }

    #[test]
    fn annotators_count_the_same() {
        let found = region_scores(&row(&[0, 0, 1, 1]), &[row(&[1, 1, 2, 2]), row(&[4, 4, 4, 4])]).unwrap();
        assert_eq!((found.iou, found.accuracy, found.segment_count), (0.75, 0.75, 2));
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        let map = row(&[0, 1]);
        assert_eq!(region_scores(&map, &[]), Err(MetricError::NoAnnotation));
        assert!(matches!(region_scores(&map, &[row(&[0])]), Err(MetricError::SizesDiffer { .. })));
        let noise = row(&(0..5000).collect::<Vec<u32>>());
        let error = region_scores(&noise, std::slice::from_ref(&noise)).unwrap_err();
        assert_eq!(error, MetricError::TooManySegments { truth: 5000, predicted: 5000 });
    }
}
