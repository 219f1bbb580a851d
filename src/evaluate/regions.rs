//! Whole segmentations against several people's: the BSDS500 protocol.

use std::path::PathBuf;

use super::table::Table;
use super::{EvaluateError, Pair, Run, in_size, predictions, read_map, wrong_kind};
use crate::dataset::truth;
use crate::metrics::{RegionRecord, mean, region_scores};

/// The scores of one image, and what was remarkable about it.
struct Scored {
    record: RegionRecord,
    empty: bool,
    resized: bool,
}

pub fn evaluate(run: &mut Run) -> Result<Table, EvaluateError> {
    let path = run.truth();
    let expected = "a folder of region maps ID_k.png, one per annotator k";
    if !path.is_dir() {
        return Err(wrong_kind(path, expected));
    }
    let truth = truth::region_maps(path)?;
    if truth.images.is_empty() {
        return Err(wrong_kind(path, expected));
    }
    run.summary.remarks.extend(truth.remarks);
    let truth = truth.images.into_iter().map(|image| (image.key, image.content)).collect();
    let predictions = predictions::masks(run)?;
    let pairs = run.matched(predictions, truth)?;
    let (mut records, mut empty, mut resized) = (Vec::new(), Vec::new(), Vec::new());
    run.for_each(&pairs, score, |pair, scored| {
        if scored.empty {
            empty.push(pair.key.clone());
        }
        if scored.resized {
            resized.push(pair.key.clone());
        }
        records.push(scored.record);
        Ok(())
    })?;
    run.summary.empty_predictions = empty;
    run.summary.resized = resized;
    run.summary.scores.miou = mean(records.iter().map(|record| record.iou));
    run.summary.scores.accuracy = mean(records.iter().map(|record| record.accuracy));
    let matching = "segments paired one to one for the largest sum of IoU, each label (0 too) being one segment; \
                    mean over annotators, then over images";
    run.define("miou", format!("IoU of matched pairs summed / number of the annotator's segments; {matching}"));
    run.define("accuracy", format!("share of pixels in both segments of a matched pair; {matching}"));
    let mut table = Table::new(&["image", "iou", "accuracy", "segments", "annotators"]);
    for record in &records {
        let counts = [record.segment_count, record.annotators.len()].map(|count| Some(count as f64));
        table.push(&record.image, &[Some(record.iou), Some(record.accuracy), counts[0], counts[1]]);
    }
    Ok(table)
}

fn score(pair: &Pair<PathBuf, Vec<PathBuf>>) -> Result<Scored, EvaluateError> {
    let annotations = pair.truth.iter().map(|path| read_map(path)).collect::<Result<Vec<_>, _>>()?;
    // There is at least one: images come from the names of their annotations.
    let (width, height) = annotations.first().map_or((0, 0), |first| (first.width, first.height));
    if let Some(index) = annotations.iter().position(|map| (map.width, map.height) != (width, height)) {
        let (path, first) = (pair.truth[index].clone(), pair.truth[0].clone());
        return Err(EvaluateError::AnnotationsDiffer { path, first });
    }
    let (prediction, resized) = in_size(read_map(&pair.prediction)?, width, height);
    let empty = prediction.values.iter().all(|&value| value == 0);
    let record = region_scores(pair.key.as_str(), &prediction, &annotations)
        .map_err(EvaluateError::incomparable(&pair.prediction))?;
    Ok(Scored { record, empty, resized })
}
