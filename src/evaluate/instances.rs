//! Every object by itself: COCO's average precision and recall, without classes.

use super::predictions;
use super::table::Table;
use super::{Compared, EvaluateError, Pair, Run, is_json, wrong_kind};
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
    run.summary.remarks.extend(truth.remarks);
    let predictions = predictions::objects(run)?;
    let pairs = run.matched(predictions, truth.images)?;
    let (mut scores, mut table) = (InstanceScores::default(), Table::new(&["image", "objects", "predicted", "found"]));
    let (path, listing) = (path.to_path_buf(), run.folder.table());
    let compare = |pair: &Pair<Vec<ListedObject>, CocoInstances>| {
        let broken = |path| move |reason| EvaluateError::BrokenMasks { path, image: pair.key.clone(), reason };
        let truth: Vec<TrueInstance> =
            pair.truth.content.draw().map_err(broken(path.clone()))?.into_iter().map(TrueInstance::from).collect();
        let CocoInstances { width, height, .. } = pair.truth.content;
        let mut resized = false;
        let mut predicted = Vec::with_capacity(pair.prediction.len());
        for object in &pair.prediction {
            let decoded = object.segmentation.decode();
            let mut mask = decoded.map_err(|error| broken(listing.clone())(error.to_string()))?;
            if (mask.width(), mask.height()) != (width, height) {
                mask = RunLengthMask::encode(&mask.decode().resized_nearest(width, height), |inside| inside > 0);
                resized = true;
            }
            predicted.push(PredictedInstance { mask, confidence: object.confidence });
        }
        let empty = predicted.is_empty();
        Ok(Compared { result: InstanceMatches::of(predicted, &truth), empty, resized })
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
