//! Whole segmentations against several people's: the BSDS500 protocol.

use std::path::PathBuf;

use super::table::Table;
use super::{Compared, EvaluateError, Notes, Pair, Run, Size, in_size, predictions, read_map, wrong_kind};
use crate::dataset::truth;
use crate::metrics::{RegionScores, mean, region_scores};
use crate::pixels::QuarterTurn;

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
    run.tell_of_truth(truth.remarks, truth.left_out);
    let predictions = predictions::masks(run)?;
    let pairs = run.matched(predictions, truth.images)?;
    let mut table = Table::new(&["image", "iou", "accuracy", "segments", "annotators"]);
    let (mut ious, mut accuracies) = (Vec::new(), Vec::new());
    let turn = run.turns();
    let score = |pair: &Pair<_, _>| score(pair, &turn);
    run.compare(&pairs, score, |pair, RegionScores { iou, accuracy, segment_count }| {
        let counts = [segment_count, pair.truth.content.len()].map(|count| Some(count as f64));
        table.push(&pair.key, &[Some(iou), Some(accuracy), counts[0], counts[1]]);
        ious.push(iou);
        accuracies.push(accuracy);
        Ok(())
    })?;
    let matching = "segments paired one to one for the largest sum of IoU, each label (0 too) being one segment; \
                    mean over annotators, then over images";
    run.score(
        "miou",
        mean(ious),
        format!("IoU of matched pairs summed / number of the annotator's segments; {matching}"),
    );
    let definition = format!("share of pixels in both segments of a matched pair; {matching}");
    run.score("accuracy", mean(accuracies), definition);
    Ok(table)
}

fn score(
    pair: &Pair<PathBuf, Vec<PathBuf>>,
    turn: impl Fn(&str, Size, Size) -> Result<Option<QuarterTurn>, EvaluateError>,
) -> Result<Compared<RegionScores>, EvaluateError> {
    let mut annotations = pair.truth.content.iter().map(|path| read_map(path)).collect::<Result<Vec<_>, _>>()?;
    // There is at least one: images come from the names of their annotations.
    let drawn = annotations.first().map_or((0, 0), |first| (first.width, first.height));
    if let Some(index) = annotations.iter().position(|map| (map.width, map.height) != drawn) {
        let (path, first) = (pair.truth.content[index].clone(), pair.truth.content[0].clone());
        return Err(EvaluateError::AnnotationsDiffer { path, first });
    }
    let prediction = read_map(&pair.prediction)?;
    let size = (prediction.width, prediction.height);
    let turn = turn(&pair.key, drawn, size)?;
    let (mut width, mut height) = drawn;
    if let Some(turn) = turn {
        (width, height) = (height, width);
        annotations = annotations.into_iter().map(|map| turn.upright(map)).collect();
    }
    let (prediction, resized) = in_size(prediction, width, height);
    let empty = prediction.values.iter().all(|&value| value == 0);
    let result = region_scores(&prediction, &annotations).map_err(EvaluateError::incomparable(&pair.prediction))?;
    Ok(Compared { result, notes: Notes { empty, resized, turned: turn.is_some(), ..Notes::default() } })
}
