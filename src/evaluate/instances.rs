//! Every object by itself: COCO's average precision and recall, without classes.

use super::predictions::{self, PredictedObjects};
use super::table::Table;
use super::{Compared, EvaluateError, Notes, Pair, Run, is_json, wrong_kind};
use crate::dataset::truth::coco::{self, CocoInstance, CocoInstances};
use crate::metrics::{AreaRange, InstanceMatches, InstanceScores, PredictedInstance, TrueInstance};
use crate::raster::RunLengthMask;
use crate::results::ListedObject;

pub fn evaluate(run: &mut Run) -> Result<Table, EvaluateError> {
    let path = run.truth();
    if !is_json(path) {
        return Err(wrong_kind(path, "a COCO JSON file with masks"));
    }
    // Images without annotations count: whatever is predicted there is wrong.
    let truth = coco::instances(path)?;
    run.tell_of_truth(truth.remarks, truth.left_out);
    let predictions = predictions::objects(run)?;
    let pairs = run.matched(predictions, truth.images)?;
    let (mut scores, mut table) = (InstanceScores::default(), Table::new(&["image", "objects", "predicted", "found"]));
    let (listing, turn) = (run.folder.table(), run.turns());
    let compare = |pair: &Pair<PredictedObjects, CocoInstances>| {
        let broken = |reason| EvaluateError::BrokenMasks { path: listing.clone(), image: pair.key.clone(), reason };
        let PredictedObjects { listed, size } = &pair.prediction;
        let decode = |object: &ListedObject| object.segmentation.decode().map_err(|error| broken(error.to_string()));
        let predicted = listed.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        let of_masks = predicted.first().map(|mask| (mask.width(), mask.height()));
        // Where nobody tells a size there is nothing to draw on it either.
        let size = size.or(of_masks).or(pair.truth.content.size()).unwrap_or((1, 1));
        let (mut width, mut height) = pair.truth.content.size().unwrap_or(size);
        let (mut truth, left_out) = pair.truth.content.draw(size);
        if truth.is_empty() && !left_out.is_empty() {
            return Err(EvaluateError::NothingDrawn { reason: left_out.join("; ") });
        }
        let mut notes = Notes { empty: predicted.is_empty(), left_out, ..Notes::default() };
        let turn = turn(&pair.key, (width, height), size)?;
        if let Some(turn) = turn {
            notes.turned = true;
            (width, height) = (height, width);
            for instance in &mut truth {
                instance.mask = RunLengthMask::encode(&turn.upright(instance.mask.decode()), |inside| inside > 0);
            }
        }
        let truth: Vec<TrueInstance> = truth.into_iter().map(TrueInstance::from).collect();
        let mut resize = |mask: RunLengthMask| {
            if (mask.width(), mask.height()) == (width, height) {
                return mask;
            }
            notes.resized = true;
            RunLengthMask::encode(&mask.decode().resized_nearest(width, height), |inside| inside > 0)
        };
        let predicted = predicted.into_iter().zip(listed);
        let predicted: Vec<PredictedInstance> = predicted
            .map(|(mask, object)| PredictedInstance { mask: resize(mask), confidence: object.confidence })
            .collect();
        Ok(Compared { result: InstanceMatches::of(predicted, &truth), notes })
    };
    run.compare(&pairs, compare, |pair, image| {
        let counts = [image.sought(), image.predicted(), image.found()];
        table.push(&pair.key, &counts.map(|count| Some(count as f64)));
        scores.add(image);
        Ok(())
    })?;
    report(run, &scores);
    Ok(table)
}

impl From<CocoInstance> for TrueInstance {
    fn from(CocoInstance { mask, area_px, is_crowd }: CocoInstance) -> TrueInstance {
        TrueInstance { mask, area_px, is_crowd }
    }
}

/// COCO's twelve figures.
fn report(run: &mut Run, scores: &InstanceScores) {
    use AreaRange::{All, Large, Medium, Small};
    let precision = "AP without classes (pycocotools, useCats = 0): precision at 101 levels of recall, all objects \
                     ranked by confidence; a crowd is void";
    let at = |percent| format!("the same at IoU {:.2}", f64::from(percent) / 100.0);
    let of = |sizes: &str| format!("the same of {sizes}");
    let (small, medium, large) =
        ("objects of up to 32² pixels", "objects of 32² to 96² pixels", "objects of 96² pixels or more");
    let mean = format!("{precision}; mean over IoU 0.50, 0.55, …, 0.95");
    run.score("ap", scores.average_precision(All), mean);
    run.score("ap_50", scores.average_precision_at(All, 50), at(50u8));
    run.score("ap_75", scores.average_precision_at(All, 75), at(75));
    for (name, range, sizes) in [("ap_small", Small, small), ("ap_medium", Medium, medium), ("ap_large", Large, large)]
    {
        run.score(name, scores.average_precision(range), of(sizes));
    }
    let recall = |limit: usize| {
        format!(
            "AR without classes: share of the objects that the {limit} most confident predictions of their image find, \
             mean over IoU 0.50, 0.55, …, 0.95"
        )
    };
    for (name, limit) in [("ar_1", 1), ("ar_10", 10), ("ar_100", 100)] {
        run.score(name, scores.average_recall(All, limit), recall(limit));
    }
    for (name, range, sizes) in [("ar_small", Small, small), ("ar_medium", Medium, medium), ("ar_large", Large, large)]
    {
        run.score(name, scores.average_recall(range, 100), of(sizes));
    }
}
