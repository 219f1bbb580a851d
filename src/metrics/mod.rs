//! Scores for masks, boxes and clusterings, whoever made them.
//!
//! A score is a plain number in the range its definition gives (mostly 0 to 1; the adjusted Rand index −0.5 to 1); tables in
//! papers print 100 times that. Every definition in one place:
//!
//! | score | definition | source |
//! |---|---|---|
//! | IoU | of the foreground, \|P ∩ T\| / \|P ∪ T\| | Jaccard 1912 |
//! | mean IoU | [`mean`] over images of the foreground's IoU: every image counts the same, background is not averaged in | paper (arXiv 2212.05853), objects |
//! | pixel accuracy | share of pixels whose foreground/background label is right | Long et al. 2015 |
//! | F_β | (1 + β²) · precision · recall / (β² · precision + recall), β² = 0.3 | Achanta et al. 2009 |
//! | max F_β | largest F_β over 255 thresholds of a saliency map, from precision and recall averaged over images ([`SaliencyCurve`]); for binary masks F_β itself | Achanta et al. 2009; TokenCut (arXiv 2202.11539) |
//! | risk-coverage area | mean over n of the mean risk 1 − IoU of the n images with the highest confidence ([`RiskCoverage`]); lower is better | Geifman and El-Yaniv 2017 (arXiv 1705.08500); Geifman et al. 2019 (arXiv 1805.08206) |
//! | box IoU | area of the intersection / area of the union in continuous coordinates ([`BoundingBox`]) | |
//! | CorLoc | share of images whose box has IoU > 0.5 with any ground-truth box | Deselaers et al. 2010 |
//! | AR, AP of masks | COCO's, without classes, IoU 0.5 to 0.95: recall of the 1, 10 or 100 most confident instances of an image; mean precision at 101 levels of recall ([`InstanceScores`]) | Lin et al. 2014 (arXiv 1405.0312); pycocotools `COCOeval`, `useCats = 0` |
//! | NMI | mutual information / arithmetic mean of the two entropies | Strehl and Ghosh 2002; scikit-learn `normalized_mutual_info_score` |
//! | ARI | (agreeing pairs − expected) / (possible − expected) | Hubert and Arabie 1985; scikit-learn `adjusted_rand_score` |
//! | purity | share of items in the most frequent true class of their cluster | Manning et al., Introduction to Information Retrieval, 16.3 |
//! | matched IoU | per annotator, segments matched one to one for the largest sum of IoU: IoU summed over matched pairs / number of ground-truth segments; then, as all measures of regions but those of boundaries, the mean over annotators ([`Annotations`]) | BSDS500 table of the paper |
//! | matched accuracy | share of pixels in both segments of a matched pair | the same |
//! | covering | of the ground truth: Σ over its segments of area · best IoU with any predicted segment, / pixels | Arbeláez et al. 2011 |
//! | probabilistic Rand index | mean over annotators of the Rand index, the share of pairs of pixels that are together in both segmentations or apart in both | Unnikrishnan et al. 2007 |
//! | variation of information | H(truth \| prediction) + H(prediction \| truth) in **bits** (log₂, as the code of BSDS500 has it), 0 to log₂ of the number of pixels; lower is better | Meilă 2007 |
//! | undersegmentation error | Σ over pairs of segments that touch of min(pixels of the predicted segment inside, outside of the true one), / pixels; lower is better | Neubert and Protzel 2012 |
//! | boundary precision, recall, F₁ | shares of predicted and true boundary pixels that are matched, from counts summed over images ([`BoundaryCounts`]): lines of one pixel, matched one to one within 0.0075 of the diagonal; a predicted pixel is right by any annotator, recall is that of all annotators together | Martin et al. 2004; Arbeláez et al. 2011 |
//! | IoU by predicted area | segments matched one to one for the most shared pixels: Σ area of the predicted segment · IoU, / pixels | GraPL (arXiv 2311.01475), the "mIoU" of its code; scikit-learn `jaccard_score(prediction, truth, average="weighted")` |
//! | oracle IoU, accuracy | of the labelling that gives every predicted segment to the true one it shares most pixels with; the accuracy is the achievable segmentation accuracy of superpixels | Liu et al. 2011 |
//!
//! Purity alone rewards splitting (one cluster per item is pure), so print it beside the number of clusters, NMI and
//! ARI.
//!
//! **Nothing to find, nothing found**: where a definition is 0 / 0 because truth and prediction are both empty, the
//! score is 1, as scikit-learn has it for clusterings. Where only one of them is empty the score is 0.
//!
//! Boundaries differ from the code of BSDS500 in three points: those of annotators are drawn from their region maps as those of
//! predictions are, and thinned (the benchmark reads drawn ones); as many pixels are matched as possible, near ones first, where it
//! seeks the least total distance, which gives the same recall and on its photographs a precision within 0.002 (a step that draws
//! candidates at random apart); scales of a hierarchy are not interpolated between.
//!
//! **Void pixels**, of a ground truth that leaves some undecided, count nowhere.

mod clustering;
mod instances;
mod localisation;
mod overlap;
mod regions;
mod risk_coverage;
mod saliency;

pub use clustering::Contingency;
pub use instances::{AreaRange, InstanceMatches, InstanceScores, PredictedInstance, TrueInstance};
pub use localisation::{BoundingBox, CORLOC_THRESHOLD};
pub use overlap::{BETA_SQUARED, Overlap};
pub use regions::{Annotations, BoundaryCounts, RegionScores, region_scores};
pub use risk_coverage::RiskCoverage;
pub use saliency::SaliencyCurve;

/// Two things that cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    #[error(
        "the {other} has {other_width}x{other_height} pixels, the prediction {width}x{height}; resize the prediction \
         to the ground truth's size with the nearest neighbour"
    )]
    SizesDiffer { other: &'static str, width: usize, height: usize, other_width: usize, other_height: usize },

    #[error("the image has no annotation; leave it out of the evaluation")]
    NoAnnotation,

    #[error(
        "{truth} true and {predicted} predicted segments are too many to match; check that the files hold regions \
         and not colours"
    )]
    TooManySegments { truth: usize, predicted: usize },
}

/// The mean of `values`, none of none.
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0usize);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / count as f64)
}

/// `part` / `whole`, and 1 for 0 / 0.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// Whether `other` has the size of `prediction`.
fn same_size<P, T>(
    prediction: &crate::raster::Raster<P>,
    other: &crate::raster::Raster<T>,
    name: &'static str,
) -> Result<(), MetricError> {
    if (prediction.width, prediction.height) == (other.width, other.height) {
        return Ok(());
    }
    Err(MetricError::SizesDiffer {
        other: name,
        width: prediction.width,
        height: prediction.height,
        other_width: other.width,
        other_height: other.height,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_of_nothing_is_none() {
        assert_eq!(mean([]), None);
        assert_eq!(mean([0.25, 0.75]), Some(0.5));
    }
}
