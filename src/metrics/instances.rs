//! Instances against instances, by COCO's rules and without classes: average precision and average recall.
//!
//! Definition: <https://cocodataset.org/#detection-eval>, of masks (`iouType = "segm"`) with `useCats = 0`.

use super::mean;
use crate::raster::RunLengthMask;

/// Most instances of an image that are scored: the most confident ones.
const MOST_INSTANCES: usize = 100;

/// 0.5, 0.55, …, 0.95.
const IOU_THRESHOLDS: usize = 10;

/// Precision is read at recalls of 0, 0.01, …, 1.
const RECALL_LEVELS: usize = 101;

const RANGES: usize = 4;

/// Instances of which size are sought; COCO's bounds, both of which count as inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AreaRange {
    All,
    /// Up to 32² pixels.
    Small,
    /// From 32² to 96² pixels.
    Medium,
    /// From 96² pixels on.
    Large,
}

/// An instance of the ground truth.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueInstance {
    pub mask: RunLengthMask,
    /// As annotated: what its size is judged by, not always the area of its mask.
    pub area_px: f64,
    /// Several objects in one: it may be found any number of times, and need not be.
    pub is_crowd: bool,
}

/// A predicted instance.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedInstance {
    pub mask: RunLengthMask,
    /// Of two predictions for one instance, that with the higher confidence gets it.
    pub confidence: f64,
}

/// What became of the predictions of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceMatches {
    /// Of the scored predictions, the highest first.
    confidences: Vec<f64>,
    ranges: [RangeMatches; RANGES],
}

/// The same for instances of one range of areas.
#[derive(Debug, Clone, PartialEq)]
struct RangeMatches {
    /// True instances that are to be found.
    sought: usize,
    /// Of every prediction at every threshold, `[thresholds][predictions]`.
    verdicts: Vec<Vec<Verdict>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    Wrong,
    /// On a crowd, or of a size that is not asked for.
    Void,
}

/// Average precision and recall over a collection of images.
#[derive(Debug, Clone, Default)]
pub struct InstanceScores {
    images: Vec<InstanceMatches>,
}

impl AreaRange {
    const EACH: [AreaRange; RANGES] = [AreaRange::All, AreaRange::Small, AreaRange::Medium, AreaRange::Large];

    fn contains(self, area_px: f64) -> bool {
        let (least, most) = match self {
            AreaRange::All => (0.0, 1e10),
            AreaRange::Small => (0.0, 1024.0),
            AreaRange::Medium => (1024.0, 9216.0),
            AreaRange::Large => (9216.0, 1e10),
        };
        (least..=most).contains(&area_px)
    }
}

impl InstanceMatches {
    /// Matches the predictions of an image with its true instances, at every threshold and for every range of areas.
    ///
    /// Predictions choose in the order of their confidence, each the instance that it has the largest IoU with among those
    /// still free; crowds and instances outside of the range are chosen only where no other has IoU enough. The IoU with a
    /// crowd is the share of the prediction that lies in it.
    ///
    /// All masks must be of one size.
    pub fn of(mut predicted: Vec<PredictedInstance>, truth: &[TrueInstance]) -> InstanceMatches {
        predicted.sort_by(|one, other| other.confidence.total_cmp(&one.confidence));
        predicted.truncate(MOST_INSTANCES);
        let ious: Vec<Vec<f64>> =
            predicted.iter().map(|found| truth.iter().map(|instance| iou(&found.mask, instance)).collect()).collect();
        let in_range = |range: AreaRange| {
            let is_void: Vec<bool> =
                truth.iter().map(|instance| instance.is_crowd || !range.contains(instance.area_px)).collect();
            // Sought instances first: a prediction looks at the others only if it has found none.
            let mut order: Vec<usize> = (0..truth.len()).collect();
            order.sort_by_key(|&index| is_void[index]);
            let verdicts = (0..IOU_THRESHOLDS).map(|step| {
                let mut taken = vec![false; truth.len()];
                let verdict = |(found, ious): (&PredictedInstance, &Vec<f64>)| {
                    let mut chosen: Option<usize> = None;
                    let mut largest = threshold(step);
                    for &index in order.iter().filter(|&&index| !taken[index] || truth[index].is_crowd) {
                        if is_void[index] && chosen.is_some_and(|chosen| !is_void[chosen]) {
                            break;
                        }
                        if ious[index] >= largest {
                            (chosen, largest) = (Some(index), ious[index]);
                        }
                    }
                    let Some(chosen) = chosen else {
                        let inside = range.contains(found.mask.area_px() as f64);
                        return if inside { Verdict::Wrong } else { Verdict::Void };
                    };
                    taken[chosen] = true;
                    if is_void[chosen] { Verdict::Void } else { Verdict::Right }
                };
                predicted.iter().zip(&ious).map(verdict).collect()
            });
            let verdicts = verdicts.collect();
            RangeMatches { sought: is_void.iter().filter(|&&is_void| !is_void).count(), verdicts }
        };
        InstanceMatches {
            ranges: AreaRange::EACH.map(in_range),
            confidences: predicted.into_iter().map(|found| found.confidence).collect(),
        }
    }

    /// True instances that are to be found, crowds left out.
    pub fn sought(&self) -> usize {
        self.ranges[AreaRange::All as usize].sought
    }

    /// Predictions that are scored.
    pub fn predicted(&self) -> usize {
        self.confidences.len()
    }

    /// How many true instances are found with IoU ≥ 0.5.
    pub fn found(&self) -> usize {
        let verdicts = &self.ranges[AreaRange::All as usize].verdicts[0];
        verdicts.iter().filter(|&&verdict| verdict == Verdict::Right).count()
    }
}

impl InstanceScores {
    /// Adds an image. The order of images decides between predictions of different images with equal confidence.
    pub fn add(&mut self, image: InstanceMatches) {
        self.images.push(image);
    }

    /// AP: the mean over thresholds of the precision at 101 levels of recall; none where there is nothing to find.
    pub fn average_precision(&self, range: AreaRange) -> Option<f64> {
        mean((0..IOU_THRESHOLDS).filter_map(|step| self.precision_at(range, step)))
    }

    /// AP at a single threshold: 50 and 75 percent are usual.
    ///
    /// # Panics
    /// If `iou_percent` is none of 50, 55, …, 95.
    pub fn average_precision_at(&self, range: AreaRange, iou_percent: usize) -> Option<f64> {
        assert!((50..=95).contains(&iou_percent) && iou_percent.is_multiple_of(5), "no threshold of {iou_percent} %");
        self.precision_at(range, (iou_percent - 50) / 5)
    }

    /// AR: the mean over thresholds of the share of true instances that are found by the `limit` most confident
    /// predictions of their image, at most 100; none where there is nothing to find.
    pub fn average_recall(&self, range: AreaRange, limit: usize) -> Option<f64> {
        let sought = self.sought(range);
        let recall = |step: usize| {
            let right =
                self.images.iter().flat_map(|image| image.ranges[range as usize].verdicts[step].iter().take(limit));
            right.filter(|&&verdict| verdict == Verdict::Right).count() as f64 / sought as f64
        };
        mean((0..IOU_THRESHOLDS).filter(|_| sought > 0).map(recall))
    }

    fn sought(&self, range: AreaRange) -> usize {
        self.images.iter().map(|image| image.ranges[range as usize].sought).sum()
    }

    /// The mean over levels of recall of the precision there: the best at this recall or a higher one, 0 beyond the
    /// highest.
    fn precision_at(&self, range: AreaRange, step: usize) -> Option<f64> {
        let sought = self.sought(range);
        if sought == 0 {
            return None;
        }
        let of_image = |image: &InstanceMatches| {
            let verdicts = image.ranges[range as usize].verdicts[step].clone();
            image.confidences.clone().into_iter().zip(verdicts)
        };
        let mut ranked: Vec<(f64, Verdict)> = self.images.iter().flat_map(of_image).collect();
        ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
        let (mut right, mut wrong) = (0.0, 0.0);
        let mut curve: Vec<(f64, f64)> = Vec::with_capacity(ranked.len());
        for (_, verdict) in ranked {
            match verdict {
                Verdict::Right => right += 1.0,
                Verdict::Wrong => wrong += 1.0,
                Verdict::Void => {}
            }
            // pycocotools adds this, so that 0 / 0 is 0.
            curve.push((right / sought as f64, right / (wrong + right + f64::EPSILON)));
        }
        for place in (1..curve.len()).rev() {
            curve[place - 1].1 = curve[place - 1].1.max(curve[place].1);
        }
        let precision = |level: usize| {
            // Not level / 100: numpy's `linspace` rounds like this, and recalls may equal a level.
            let recall = level as f64 * (1.0 / (RECALL_LEVELS - 1) as f64);
            curve.get(curve.partition_point(|point| point.0 < recall)).map_or(0.0, |point| point.1)
        };
        mean((0..RECALL_LEVELS).map(precision))
    }
}

/// 0.5, 0.55, …, with the rounding of numpy's `linspace`.
fn threshold(step: usize) -> f64 {
    if step + 1 == IOU_THRESHOLDS { 0.95 } else { step as f64 * ((0.95 - 0.5) / (IOU_THRESHOLDS - 1) as f64) + 0.5 }
}

fn iou(found: &RunLengthMask, instance: &TrueInstance) -> f64 {
    let both_px = found.intersection_px(&instance.mask);
    let either_px =
        if instance.is_crowd { found.area_px() } else { found.area_px() + instance.mask.area_px() - both_px };
    if both_px == 0 { 0.0 } else { both_px as f64 / either_px as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start, length and confidence of predictions; start and length of true instances, and whether they are crowds.
    type Image<'a> = (&'a [(u64, u64, f64)], &'a [(u64, u64, bool)]);

    /// The mask of a row of 100 000 pixels from `start` on, as long as said.
    fn run(start: u64, length: u64) -> RunLengthMask {
        RunLengthMask::from_counts(100_000, 1, &[start, length, 100_000 - start - length]).unwrap()
    }

    fn predicted(instances: &[(u64, u64, f64)]) -> Vec<PredictedInstance> {
        let instance = |&(start, length, confidence)| PredictedInstance { mask: run(start, length), confidence };
        instances.iter().map(instance).collect()
    }

    fn truth(instances: &[(u64, u64, bool)]) -> Vec<TrueInstance> {
        let instance =
            |&(start, length, is_crowd)| TrueInstance { mask: run(start, length), area_px: length as f64, is_crowd };
        instances.iter().map(instance).collect()
    }

    fn scores(images: &[Image]) -> InstanceScores {
        let mut scores = InstanceScores::default();
        images.iter().for_each(|(found, sought)| scores.add(InstanceMatches::of(predicted(found), &truth(sought))));
        scores
    }

    fn assert_close(found: Option<f64>, expected: f64) {
        assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?} is not {expected}");
    }

    #[test]
    fn what_is_found_counts_at_the_thresholds_that_it_reaches() {
        // IoU 0.72 of the first, nothing of the second.
        let found = scores(&[(&[(0, 720, 0.9)], &[(0, 1000, false), (5000, 1000, false)])]);
        assert_close(found.average_recall(AreaRange::All, 100), 0.5 * 0.5);
        // Precision is 1 up to the recall of ½: 51 of 101 levels.
        assert_close(found.average_precision_at(AreaRange::All, 50), 51.0 / 101.0);
        assert_close(found.average_precision_at(AreaRange::All, 75), 0.0);
        assert_close(found.average_precision(AreaRange::All), 0.5 * 51.0 / 101.0);
        // Both have fewer than 32² pixels.
        assert_eq!(found.average_recall(AreaRange::Large, 100), None);
        assert_eq!(found.average_precision(AreaRange::Medium), None);
        assert_close(found.average_recall(AreaRange::Small, 100), 0.25);
    }

    #[test]
    fn a_second_prediction_of_an_instance_is_wrong_and_limits_take_the_most_confident() {
        let images: [Image; 2] =
            [(&[(0, 900, 0.8), (0, 1000, 0.9), (3000, 50, 0.95)], &[(0, 1000, false)]), (&[], &[(0, 9, false)])];
        let found = scores(&images);
        assert_close(found.average_recall(AreaRange::All, 1), 0.0);
        assert_close(found.average_recall(AreaRange::All, 2), 0.5);
        assert_close(found.average_precision(AreaRange::All), 51.0 / 101.0 / 2.0);
        let image = InstanceMatches::of(predicted(images[0].0), &truth(images[0].1));
        assert_eq!((image.sought(), image.predicted(), image.found()), (1, 3, 1));
    }

    #[test]
    fn crowds_are_void_however_often_they_are_found() {
        let sought = [(0, 1000, false), (2000, 5000, true)];
        let found: [Image; 1] = [(&[(2000, 100, 0.9), (2500, 100, 0.8), (0, 1000, 0.7)], &sought)];
        assert_close(scores(&found).average_precision(AreaRange::All), 1.0);
        assert_close(scores(&found).average_recall(AreaRange::All, 100), 1.0);
        // Where it is all there is, there is nothing to find.
        let crowd: [Image; 1] = [(&[(2000, 100, 0.9)], &sought[1..])];
        assert_eq!(scores(&crowd).average_precision(AreaRange::All), None);
        assert_eq!(InstanceScores::default().average_recall(AreaRange::All, 1), None);
    }
}
