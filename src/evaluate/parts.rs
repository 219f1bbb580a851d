//! Parts: whether the same part has the same label, over pixels or over key-points.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::table::Table;
use super::{Compared, EvaluateError, Notes, Pair, Run, in_size, is_json, objects, predictions, read_mask, wrong_kind};
use crate::dataset::truth::{self, coco::KeyPoint};
use crate::event::counted;
use crate::metrics::{Contingency, mean};
use crate::raster::LabelMap;

/// The labels of one image's items, and how many key-points lie in no pixel.
type Labels = (Contingency, usize);

/// What all images give.
struct Scored {
    /// For the CSV.
    table: Table,
    /// The labels of all images together.
    all: Contingency,
    /// NMI and ARI of every image that has items.
    by_image: Vec<(f64, f64)>,
}

pub fn evaluate(run: &mut Run) -> Result<Table, EvaluateError> {
    let path = run.truth();
    if path.is_dir() {
        over_pixels(run)
    } else if is_json(path) {
        over_key_points(run)
    } else {
        Err(wrong_kind(path, "a folder of label maps or a COCO JSON file with key-points"))
    }
}

fn over_pixels(run: &mut Run) -> Result<Table, EvaluateError> {
    let truth = objects::label_maps(run)?;
    let predictions = predictions::masks(run)?;
    let pairs = run.matched(predictions, truth)?;
    let (request, is_told) = (run.request, run.predicted_foreground.is_told());
    let turn = run.turns();
    let labels = |pair: &Pair<PathBuf, PathBuf>| {
        let (mut truth, cut_truth) = read_mask(&pair.truth.content, request.tells_values())?;
        let (predicted, cut_prediction) = read_mask(&pair.prediction, is_told)?;
        let mut notes = Notes { cut_truth, cut_prediction, empty: is_empty(&predicted), ..Notes::default() };
        let [drawn, size] = [&truth, &predicted].map(|map| (map.width, map.height));
        let turn = turn(&pair.key, drawn, size)?;
        if let Some(turn) = turn {
            notes.turned = true;
            truth = turn.upright(truth);
        }
        let (counted, _) = objects::split(&truth, request);
        let (predicted, resized) = in_size(predicted, truth.width, truth.height);
        notes.resized = resized;
        let pixels = truth.values.iter().zip(&predicted.values).zip(&counted.values);
        let inside = pixels.filter(|(_, counted)| **counted != 0).map(|((truth, predicted), _)| (*truth, *predicted));
        Ok(Compared { result: (inside.collect(), 0), notes })
    };
    let Scored { table, all, by_image } = score(run, &pairs, labels)?;
    if all.item_count() == 0 {
        return Err(EvaluateError::NoForeground);
    }
    let items = format!(
        "over the {} of the truth, all images in one table; predicted background is a label of its own",
        match request.foreground_classes.as_slice() {
            [] => "foreground pixels (above 0, not void)",
            _ => "pixels of --foreground-class",
        }
    );
    score_agreement(run, ["nmi", "ari"], &all, &items);
    let (nmi, ari): (Vec<f64>, Vec<f64>) = by_image.into_iter().unzip();
    run.score("mean_image_nmi", mean(nmi), "the same NMI within each image, mean over images");
    run.score("mean_image_ari", mean(ari), "the same ARI within each image, mean over images");
    Ok(table)
}

fn over_key_points(run: &mut Run) -> Result<Table, EvaluateError> {
    if run.request.tells_values() {
        return Err(EvaluateError::TruthWithoutMaps { truth: "key-points" });
    }
    let truth = run.annotated(truth::coco::key_points(run.truth())?, Vec::is_empty);
    let names = truth.iter().flat_map(|image| image.content.iter().map(|point| point.name.clone()));
    let names: BTreeMap<String, u32> = names.collect::<BTreeSet<String>>().into_iter().zip(0..).collect();
    let predictions = predictions::masks(run)?;
    let pairs = run.matched(predictions, truth)?;
    let (is_told, turn) = (run.predicted_foreground.is_told(), run.turns());
    let labels = |pair: &Pair<PathBuf, Vec<KeyPoint>>| {
        let (predicted, cut_prediction) = read_mask(&pair.prediction, is_told)?;
        let mut notes = Notes { cut_prediction, empty: is_empty(&predicted), ..Notes::default() };
        let size = (predicted.width, predicted.height);
        let drawn = pair.truth.size.unwrap_or(size);
        let turn = turn(&pair.key, drawn, size)?;
        notes.turned = turn.is_some();
        let (width, height) = if turn.is_some() { (drawn.1, drawn.0) } else { drawn };
        let (predicted, resized) = in_size(predicted, width, height);
        notes.resized = resized;
        let points = &pair.truth.content;
        let labels = |point: &KeyPoint| {
            let place = [point.x, point.y];
            let [x, y] = turn.map_or(place, |turn| turn.upright_point(place, drawn.0 as f64, drawn.1 as f64));
            let (x, y) = pixel(x, width).zip(pixel(y, height))?;
            Some((names[&point.name], predicted.at(x, y)))
        };
        let labels: Vec<(u32, u32)> = points.iter().filter_map(labels).collect();
        let outside = points.len() - labels.len();
        Ok(Compared { result: (labels.into_iter().collect(), outside), notes })
    };
    let Scored { table, all, .. } = score(run, &pairs, labels)?;
    let items = "over the labelled key-points (visible > 0) of all images in one table: the point's name against the \
                 mask's value at its pixel; predicted background is a label of its own";
    score_agreement(run, ["keypoint_nmi", "keypoint_ari"], &all, items);
    Ok(table)
}

fn score_agreement(run: &mut Run, [nmi, ari]: [&'static str; 2], labels: &Contingency, items: &str) {
    let definition = format!("normalised mutual information (arithmetic mean) {items}");
    run.score(nmi, Some(labels.normalised_mutual_information()), definition);
    run.score(ari, Some(labels.adjusted_rand_index()), format!("adjusted Rand index {items}"));
}

/// Counts every image's labels.
fn score<T: Sync>(
    run: &mut Run,
    pairs: &[Pair<PathBuf, T>],
    labels: impl Fn(&Pair<PathBuf, T>) -> Result<Compared<Labels>, EvaluateError> + Sync,
) -> Result<Scored, EvaluateError> {
    let (mut all, mut scores) = (Contingency::default(), Vec::new());
    let mut outside = 0;
    let mut table = Table::new(&["image", "items", "nmi", "ari"]);
    run.compare(pairs, labels, |pair, (own, own_outside)| {
        all.add(&own);
        let (nmi, ari) = (own.normalised_mutual_information(), own.adjusted_rand_index());
        table.push(&pair.key, &[Some(own.item_count() as f64), Some(nmi), Some(ari)]);
        if own.item_count() > 0 {
            scores.push((nmi, ari));
        }
        outside += own_outside;
        Ok(())
    })?;
    if outside > 0 {
        run.summary.remarks.push(format!("{} outside of the image left out", counted(outside as u64, "key-point")));
    }
    Ok(Scored { table, all, by_image: scores })
}

fn is_empty(map: &LabelMap) -> bool {
    map.values.iter().all(|&value| value == 0)
}

/// The pixel that a coordinate lies in; the far edge belongs to the last one.
fn pixel(coordinate: f64, side: usize) -> Option<usize> {
    let inside = (0.0..=side as f64).contains(&coordinate) && side > 0;
    inside.then(|| (coordinate as usize).min(side - 1))
}
