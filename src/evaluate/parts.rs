//! Parts: whether the same part has the same label, over pixels or over key-points.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::table::Table;
use super::{EvaluateError, Pair, Run, in_size, is_json, objects, predictions, read_map, wrong_kind};
use crate::dataset::truth::{self, coco::KeyPoint};
use crate::event::counted;
use crate::metrics::{Contingency, mean};
use crate::raster::LabelMap;

/// The key-points of one image, in an image of this size where the ground truth tells it.
struct Points {
    points: Vec<KeyPoint>,
    size: Option<(usize, usize)>,
}

/// The labels of one image's items.
struct Labels {
    truth: Vec<u32>,
    predicted: Vec<u32>,
    empty: bool,
    resized: bool,
    /// Key-points that lie in no pixel.
    outside: usize,
}

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
        Err(wrong_kind(path, "a folder of PNG label maps or a COCO JSON file with key-points"))
    }
}

fn over_pixels(run: &mut Run) -> Result<Table, EvaluateError> {
    let truth = objects::label_maps(run.truth())?;
    let predictions = predictions::masks(run)?;
    let pairs = run.matched(predictions, truth)?;
    let request = run.request;
    let labels = |pair: &Pair<PathBuf, PathBuf>| {
        let truth = read_map(&pair.truth)?;
        let (counted, _) = objects::split(&truth, request);
        let (predicted, resized) = in_size(read_map(&pair.prediction)?, truth.width, truth.height);
        let inside = |map: &LabelMap| {
            let values = map.values.iter().zip(&counted.values);
            values.filter(|(_, counted)| **counted != 0).map(|(value, _)| *value).collect()
        };
        Ok(Labels {
            truth: inside(&truth),
            predicted: inside(&predicted),
            empty: is_empty(&predicted),
            resized,
            outside: 0,
        })
    };
    let Scored { table, all, by_image } = score(run, &pairs, labels)?;
    if all.item_count() == 0 {
        return Err(EvaluateError::NoForeground);
    }
    run.summary.scores.nmi = Some(all.normalised_mutual_information());
    run.summary.scores.ari = Some(all.adjusted_rand_index());
    run.summary.scores.mean_image_nmi = mean(by_image.iter().map(|(nmi, _)| *nmi));
    run.summary.scores.mean_image_ari = mean(by_image.iter().map(|(_, ari)| *ari));
    run.define("mean_image_nmi", "the same NMI within each image, mean over images");
    run.define("mean_image_ari", "the same ARI within each image, mean over images");
    let items = format!(
        "over the {} of the truth, all images in one table; predicted background is a label of its own",
        match request.foreground_classes.as_slice() {
            [] => "foreground pixels (above 0, not void)",
            _ => "pixels of --foreground-class",
        }
    );
    run.define("nmi", format!("normalised mutual information (arithmetic mean) {items}"));
    run.define("ari", format!("adjusted Rand index {items}"));
    Ok(table)
}

fn over_key_points(run: &mut Run) -> Result<Table, EvaluateError> {
    if run.request.tells_values() {
        return Err(EvaluateError::TruthWithoutMaps { truth: "key-points" });
    }
    let truth = truth::coco::key_points(run.truth())?;
    run.summary.remarks.extend(truth.remarks);
    let (annotated, bare): (Vec<_>, Vec<_>) = truth.images.into_iter().partition(|image| !image.content.is_empty());
    run.summary.without_annotation = bare.into_iter().map(|image| image.key).collect();
    let names: BTreeMap<String, u32> = {
        let names = annotated.iter().flat_map(|image| image.content.iter().map(|point| point.name.clone()));
        let unique: std::collections::BTreeSet<String> = names.collect();
        unique.into_iter().zip(0..).collect()
    };
    let truth: Vec<(String, Points)> =
        annotated.into_iter().map(|image| (image.key, Points { points: image.content, size: image.size })).collect();
    let predictions = predictions::masks(run)?;
    let pairs = run.matched(predictions, truth)?;
    let labels = |pair: &Pair<PathBuf, Points>| {
        let predicted = read_map(&pair.prediction)?;
        let empty = is_empty(&predicted);
        let (width, height) = pair.truth.size.unwrap_or((predicted.width, predicted.height));
        let (predicted, resized) = in_size(predicted, width, height);
        let mut labels = Labels { truth: Vec::new(), predicted: Vec::new(), empty, resized, outside: 0 };
        for point in &pair.truth.points {
            match pixel(point.x, width).zip(pixel(point.y, height)) {
                Some((x, y)) => {
                    labels.truth.push(names[&point.name]);
                    labels.predicted.push(predicted.at(x, y));
                }
                None => labels.outside += 1,
            }
        }
        Ok(labels)
    };
    let Scored { table, all, .. } = score(run, &pairs, labels)?;
    run.summary.scores.keypoint_nmi = Some(all.normalised_mutual_information());
    run.summary.scores.keypoint_ari = Some(all.adjusted_rand_index());
    let items = "over the labelled key-points (visible > 0) of all images in one table: the point's name against the \
                 mask's value at its pixel; predicted background is a label of its own";
    run.define("keypoint_nmi", format!("normalised mutual information (arithmetic mean) {items}"));
    run.define("keypoint_ari", format!("adjusted Rand index {items}"));
    Ok(table)
}

/// Counts every image's labels.
fn score<T: Sync>(
    run: &mut Run,
    pairs: &[Pair<PathBuf, T>],
    labels: impl Fn(&Pair<PathBuf, T>) -> Result<Labels, EvaluateError> + Sync,
) -> Result<Scored, EvaluateError> {
    let (mut all, mut scores) = (Contingency::default(), Vec::new());
    let (mut empty, mut resized, mut outside) = (Vec::new(), Vec::new(), 0);
    let mut table = Table::new(&["image", "items", "nmi", "ari"]);
    run.for_each(pairs, labels, |pair, labels| {
        let unequal = EvaluateError::incomparable(&pair.prediction);
        all.add_labels(&labels.truth, &labels.predicted).map_err(&unequal)?;
        let own = Contingency::from_labels(&labels.truth, &labels.predicted).map_err(unequal)?;
        let (nmi, ari) = (own.normalised_mutual_information(), own.adjusted_rand_index());
        table.push(&pair.key, &[Some(own.item_count() as f64), Some(nmi), Some(ari)]);
        if own.item_count() > 0 {
            scores.push((nmi, ari));
        }
        if labels.empty {
            empty.push(pair.key.clone());
        }
        if labels.resized {
            resized.push(pair.key.clone());
        }
        outside += labels.outside;
        Ok(())
    })?;
    run.summary.empty_predictions = empty;
    run.summary.resized = resized;
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
