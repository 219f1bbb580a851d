//! Whole segmentations against several people's: the measures of BSDS500, and those of papers that use it.

mod boundaries;
mod information;
mod matching;
mod overlap;
mod segments;
mod thinning;

pub use boundaries::BoundaryCounts;

use super::{MetricError, mean, same_size};
use crate::raster::LabelMap;
use boundaries::Boundary;
use segments::{Segments, SharedPixels};

/// The scores of one segmentation of an image. Each is a mean over its annotators, all of whom count the same; the boundary's
/// pixels are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegionScores {
    /// With segments matched one to one for the largest sum of IoU: Σ IoU / number of the annotator's segments. An unmatched one
    /// scores 0, so surplus segments of the prediction cost only what they take away from others.
    pub iou: f64,
    /// Share of pixels in both segments of a pair of that matching.
    pub accuracy: f64,
    /// Σ over the annotator's segments of their area · the best IoU with any predicted segment, / pixels.
    pub covering: f64,
    /// Share of pairs of pixels that are together in both segmentations or apart in both.
    pub rand_index: f64,
    /// H(truth | prediction) + H(prediction | truth) in bits; lower is better.
    pub variation_of_information_bits: f64,
    /// Σ over pairs of segments that touch of min(pixels of the predicted segment inside, outside of the annotator's), / pixels;
    /// lower is better.
    pub undersegmentation_error: f64,
    /// With segments matched one to one for the most shared pixels: Σ area of the predicted segment · IoU, / pixels.
    pub iou_by_predicted_area: f64,
    /// Share of pixels in both segments of a pair of that matching.
    pub accuracy_by_shared_pixels: f64,
    /// Σ IoU / number of the annotator's segments, where every predicted segment is given to the annotator's that it shares most
    /// pixels with.
    pub oracle_iou: f64,
    /// Share of pixels that are right then: no labelling of the predicted segments has more.
    pub oracle_accuracy: f64,
    /// Pixels of boundaries, matched one to one within 0.0075 of the image's diagonal.
    pub boundary: BoundaryCounts,
    /// Segments of the prediction.
    pub segment_count: usize,
}

/// What several people made of an image, prepared for any number of segmentations of it.
pub struct Annotations<'a> {
    annotators: Vec<Annotation<'a>>,
}

struct Annotation<'a> {
    map: &'a LabelMap,
    segments: Segments,
    boundary: Boundary,
}

impl<'a> Annotations<'a> {
    /// Of maps `[height, width]`, all of one size.
    pub fn of(maps: &'a [LabelMap]) -> Self {
        let annotation = |map| Annotation { map, segments: Segments::of(map), boundary: Boundary::of(map) };
        Self { annotators: maps.iter().map(annotation).collect() }
    }

    /// Compares a segmentation `[height, width]` with every annotation. A label's value means nothing, 0 is one as any other, and a
    /// segment need not be connected.
    pub fn score(&self, prediction: &LabelMap) -> Result<RegionScores, MetricError> {
        let segments = Segments::of(prediction);
        let against_one = |annotation: &Annotation| {
            same_size(prediction, annotation.map, "annotation")?;
            Ok(Agreement::of(&SharedPixels::of(&annotation.segments, &segments)?))
        };
        let agreements = self.annotators.iter().map(against_one).collect::<Result<Vec<_>, _>>()?;
        let mean_of =
            |score: fn(&Agreement) -> f64| mean(agreements.iter().map(score)).ok_or(MetricError::NoAnnotation);
        let boundaries: Vec<&Boundary> = self.annotators.iter().map(|annotation| &annotation.boundary).collect();
        Ok(RegionScores {
            iou: mean_of(|with| with.by_iou.0)?,
            accuracy: mean_of(|with| with.by_iou.1)?,
            covering: mean_of(|with| with.covering)?,
            rand_index: mean_of(|with| with.rand_index)?,
            variation_of_information_bits: mean_of(|with| with.variation_of_information)?,
            undersegmentation_error: mean_of(|with| with.undersegmentation_error)?,
            iou_by_predicted_area: mean_of(|with| with.by_shared_pixels.0)?,
            accuracy_by_shared_pixels: mean_of(|with| with.by_shared_pixels.1)?,
            oracle_iou: mean_of(|with| with.of_oracle.0)?,
            oracle_accuracy: mean_of(|with| with.of_oracle.1)?,
            boundary: boundaries::compare(&Boundary::of(prediction), &boundaries, prediction.width, prediction.height),
            segment_count: segments.areas_px.len(),
        })
    }
}

/// How well a segmentation agrees with one annotator, by all measures of segments.
struct Agreement {
    /// IoU and accuracy.
    by_iou: (f64, f64),
    by_shared_pixels: (f64, f64),
    of_oracle: (f64, f64),
    covering: f64,
    rand_index: f64,
    variation_of_information: f64,
    undersegmentation_error: f64,
}

impl Agreement {
    fn of(shared: &SharedPixels) -> Self {
        Self {
            by_iou: matching::by_iou(shared),
            by_shared_pixels: matching::by_shared_pixels(shared),
            of_oracle: overlap::of_oracle(shared),
            covering: overlap::covering(shared),
            rand_index: information::rand_index(shared),
            variation_of_information: information::variation_of_information(shared),
            undersegmentation_error: overlap::undersegmentation_error(shared),
        }
    }
}

/// Compares one segmentation with every annotation of its image; see [`Annotations::score`].
///
/// # Shapes
/// - `prediction`, each of `annotations`: `[height, width]`
pub fn region_scores(prediction: &LabelMap, annotations: &[LabelMap]) -> Result<RegionScores, MetricError> {
    Annotations::of(annotations).score(prediction)
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
    fn measures_of_small_segmentations_are_those_computed_by_hand() {
        // prediction, annotation, then covering, Rand index, variation of information, undersegmentation error, IoU by predicted
        // area, accuracy by shared pixels, oracle's IoU and accuracy
        type Case = (&'static [u32], &'static [u32], [f64; 8]);
        let cases: [Case; 6] = [
            (&[7, 7, 3, 3], &[1, 1, 2, 2], [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
            // One segment: half of it leaks out of either of the two; 2 of 6 pairs are together in both, none is apart in both.
            (&[0, 0, 0, 0], &[1, 1, 2, 2], [0.5, 1.0 / 3.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.5]),
            // Every pixel its own: nothing leaks, the oracle puts them together again; 4 of 6 pairs are apart in both.
            (&[0, 1, 2, 3], &[1, 1, 2, 2], [0.5, 4.0 / 6.0, 1.0, 0.0, 0.25, 0.5, 1.0, 1.0]),
            // Shared: 3, 1 and 0 with the first, 0, 1 and 1 with the second. Of 15 pairs 3 are together and 7 apart in both. The second
            // shares 1 pixel with either of two, of which {3, 4} has the larger area · IoU, 2 · 1/3. The oracle gives {3, 4}, which is
            // split evenly, to the lower label.
            (
                &[0, 0, 0, 1, 1, 2],
                &[5, 5, 5, 5, 6, 6],
                [
                    (4.0 * 0.75 + 2.0 * 0.5) / 6.0,
                    10.0 / 15.0,
                    (3.0 * f64::log2(4.0 / 3.0) + 6.0) / 6.0,
                    2.0 / 6.0,
                    (3.0 * 0.75 + 2.0 / 3.0) / 6.0,
                    4.0 / 6.0,
                    (4.0 / 5.0 + 0.5) / 2.0,
                    5.0 / 6.0,
                ],
            ),
            (&[4], &[9], [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
            (&[], &[], [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
        ];
        for (prediction, truth, expected) in cases {
            let found = region_scores(&row(prediction), &[row(truth)]).unwrap();
            let found = [
                found.covering,
                found.rand_index,
                found.variation_of_information_bits,
                found.undersegmentation_error,
                found.iou_by_predicted_area,
                found.accuracy_by_shared_pixels,
                found.oracle_iou,
                found.oracle_accuracy,
            ];
            for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert!((found - expected).abs() < 1e-12, "{prediction:?} {truth:?} {place}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn annotators_count_the_same() {
        let found = region_scores(&row(&[0, 0, 1, 1]), &[row(&[1, 1, 2, 2]), row(&[4, 4, 4, 4])]).unwrap();
        assert_eq!((found.iou, found.accuracy, found.segment_count), (0.75, 0.75, 2));
        assert_eq!((found.covering, found.variation_of_information_bits), (0.75, 0.5));
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
