//! The measures of segmentations: their names, and what they mean.

use crate::evaluate::Run;
use crate::metrics::{BoundaryCounts, RegionScores};

/// A measure of segments: its score is a mean over annotators and then over images.
pub struct Measure {
    /// Of one segmentation per image; at the best scale for all images; at the best scale for each.
    pub names: [&'static str; 3],
    /// In the table of images.
    pub column: &'static str,
    pub of: fn(&RegionScores) -> f64,
    /// Lower is better.
    is_error: bool,
    is_in_bits: bool,
    definition: &'static str,
}

/// The names of a score without and with scales.
macro_rules! names {
    ($name:literal) => {
        [$name, concat!($name, "_ods"), concat!($name, "_ois")]
    };
}

pub const MEASURES: [Measure; 8] = [
    Measure {
        names: names!("miou"),
        column: "iou",
        of: |scores| scores.iou,
        is_error: false,
        is_in_bits: false,
        definition: "IoU of matched pairs summed / number of the annotator's segments; segments paired one to one for the largest \
                     sum of IoU, each label (0 too) being one segment",
    },
    Measure {
        names: names!("accuracy"),
        column: "accuracy",
        of: |scores| scores.accuracy,
        is_error: false,
        is_in_bits: false,
        definition: "share of pixels in both segments of a matched pair; segments paired one to one for the largest sum of IoU, each \
                     label (0 too) being one segment",
    },
    Measure {
        names: names!("covering"),
        column: "covering",
        of: |scores| scores.covering,
        is_error: false,
        is_in_bits: false,
        definition: "covering of the annotation by the prediction: area of each of the annotator's segments times its best IoU with \
                     any predicted segment, summed / pixels",
    },
    Measure {
        names: names!("probabilistic_rand_index"),
        column: "probabilistic_rand_index",
        of: |scores| scores.rand_index,
        is_error: false,
        is_in_bits: false,
        definition: "share of pairs of pixels that are together in both segmentations or apart in both",
    },
    Measure {
        names: names!("variation_of_information"),
        column: "variation_of_information",
        of: |scores| scores.variation_of_information_bits,
        is_error: true,
        is_in_bits: true,
        definition: "H(annotation | prediction) + H(prediction | annotation) in bits, lower is better",
    },
    Measure {
        names: names!("undersegmentation_error"),
        column: "undersegmentation_error",
        of: |scores| scores.undersegmentation_error,
        is_error: true,
        is_in_bits: false,
        definition: "min(pixels of the predicted segment inside, outside of the annotator's) summed over pairs of segments that touch \
                     / pixels (Neubert and Protzel), lower is better",
    },
    Measure {
        names: names!("miou_by_predicted_area"),
        column: "iou_by_predicted_area",
        of: |scores| scores.iou_by_predicted_area,
        is_error: false,
        is_in_bits: false,
        definition: "area of the predicted segment times IoU of matched pairs, summed / pixels; segments paired one to one for the \
                     most shared pixels (the mIoU of GraPL's tables; small segments hardly count)",
    },
    Measure {
        names: names!("accuracy_by_shared_pixels"),
        column: "accuracy_by_shared_pixels",
        of: |scores| scores.accuracy_by_shared_pixels,
        is_error: false,
        is_in_bits: false,
        definition: "share of pixels in both segments of a matched pair; segments paired one to one for the most shared pixels",
    },
];

/// The best that could be said with the predicted segments.
pub const ORACLE: [Measure; 2] = [
    Measure {
        names: names!("oracle_miou"),
        column: "oracle_iou",
        of: |scores| scores.oracle_iou,
        is_error: false,
        is_in_bits: false,
        definition: "IoU summed / number of the annotator's segments, every predicted segment being given to the annotator's that \
                     it shares most pixels with",
    },
    Measure {
        names: names!("oracle_accuracy"),
        column: "oracle_accuracy",
        of: |scores| scores.oracle_accuracy,
        is_error: false,
        is_in_bits: false,
        definition: "share of right pixels, every predicted segment being given to the annotator's that it shares most pixels with; no \
                     labelling of the predicted segments has more",
    },
];

/// A measure of boundaries: its score follows from the counts of all images together.
pub struct BoundaryMeasure {
    /// As those of [`Measure`].
    pub names: [&'static str; 3],
    pub of: fn(&BoundaryCounts) -> f64,
    pub definition: &'static str,
}

pub const BOUNDARY: [BoundaryMeasure; 3] = [
    BoundaryMeasure {
        names: names!("boundary_f"),
        of: BoundaryCounts::f_measure,
        definition: "2 · precision · recall / (precision + recall) of boundary pixels, counted over all images; boundaries thinned to one \
                     pixel and matched one to one, as many as possible, within 0.0075 of the image's diagonal",
    },
    BoundaryMeasure {
        names: names!("boundary_precision"),
        of: BoundaryCounts::precision,
        definition: "share of the predicted boundary pixels that are matched with a pixel of any annotator's",
    },
    BoundaryMeasure {
        names: names!("boundary_recall"),
        of: BoundaryCounts::recall,
        definition: "share of all annotators' boundary pixels that are matched with a predicted one",
    },
];

impl Measure {
    /// Whether a score is better than another one.
    pub fn is_better(&self, score: f64, other: f64) -> bool {
        if self.is_error { score < other } else { score > other }
    }

    /// Notes a score under one of its names; `scale` says at which it was reached.
    pub fn report(&self, run: &mut Run, kind: usize, score: Option<f64>, scale: &str) {
        let name = self.names[kind];
        run.score(name, score, format!("{}; mean over annotators, then over images{scale}", self.definition));
        run.summary.in_bits.extend(self.is_in_bits.then_some(name));
    }
}
