//! One box per image: CorLoc.

use super::predictions::{self, ForegroundValues, PredictedBox};
use super::table::Table;
use super::{EvaluateError, Pair, Run, is_json, read_map, wrong_kind};
use crate::dataset::truth;
use crate::metrics::{BoundingBox, CORLOC_THRESHOLD, LocalisationRecord};
use crate::raster::Rectangle;

/// The boxes of one image, in an image of this size where the ground truth tells it.
struct TrueBoxes {
    boxes: Vec<BoundingBox>,
    size: Option<(usize, usize)>,
}

pub fn evaluate(run: &mut Run) -> Result<Table, EvaluateError> {
    let truth = read_truth(run)?;
    let predictions = predictions::boxes(run)?;
    let pairs = run.matched(predictions, truth)?;
    let (mut records, mut empty, mut resized) = (Vec::new(), Vec::new(), Vec::new());
    let foreground = run.predicted_foreground.clone();
    run.for_each(
        &pairs,
        |pair| locate(pair, &foreground),
        |pair, (found, rescaled)| {
            if found.is_none() {
                empty.push(pair.key.clone());
            }
            if rescaled {
                resized.push(pair.key.clone());
            }
            records.push(LocalisationRecord::new(pair.key.as_str(), found, &pair.truth.boxes));
            Ok(())
        },
    )?;
    run.summary.empty_predictions = empty;
    run.summary.resized = resized;
    run.summary.scores.corloc = LocalisationRecord::corloc(&records);
    run.define(
        "corloc",
        format!(
            "share of images whose predicted box has IoU > {CORLOC_THRESHOLD} with any box of the truth, of whatever class \
             (VOC: difficult ones too; COCO: without crowds)"
        ),
    );
    let mut table = Table::new(&["image", "iou", "located"]);
    for record in &records {
        table.push(&record.image, &[Some(record.iou), Some(f64::from(u8::from(record.located)))]);
    }
    Ok(table)
}

fn read_truth(run: &mut Run) -> Result<Vec<(String, TrueBoxes)>, EvaluateError> {
    let path = run.truth();
    let mut images: Vec<(String, TrueBoxes)> = Vec::new();
    if path.is_dir() {
        for image in truth::voc::boxes(path)?.images {
            // VOC counts pixels from 1, and the last one is inside.
            let turned = |found: &truth::voc::VocBox| {
                BoundingBox::from_included_pixels(found.left, found.top, found.right, found.bottom, 1.0)
            };
            let boxes = image.content.iter().map(turned).collect();
            images.push((image.key, TrueBoxes { boxes, size: image.size }));
        }
    } else if is_json(path) {
        let truth = truth::coco::boxes(path)?;
        run.summary.remarks.extend(truth.remarks);
        for image in truth.images {
            let turned = |found: &truth::coco::CocoBox| BoundingBox {
                x: found.x,
                y: found.y,
                width: found.width,
                height: found.height,
            };
            let boxes = image.content.iter().map(turned).collect();
            images.push((image.key, TrueBoxes { boxes, size: image.size }));
        }
    }
    if images.is_empty() {
        return Err(wrong_kind(path, "a folder of Pascal VOC XML files or a COCO JSON file with boxes"));
    }
    let (annotated, bare): (Vec<_>, Vec<_>) = images.into_iter().partition(|(_, truth)| !truth.boxes.is_empty());
    run.summary.without_annotation = bare.into_iter().map(|(key, _)| key).collect();
    Ok(annotated)
}

/// The predicted box in the pixels of the ground truth, and whether it had to be scaled to them.
fn locate(
    pair: &Pair<PredictedBox, TrueBoxes>,
    foreground: &ForegroundValues,
) -> Result<(Option<BoundingBox>, bool), EvaluateError> {
    let (found, width, height) = match &pair.prediction {
        PredictedBox::Listed { found, width, height } => (*found, *width, *height),
        PredictedBox::Mask(path) => {
            let map = read_map(path)?;
            let found = Rectangle::bounding(&map, |value| foreground.contains(value)).map(BoundingBox::from);
            (found, map.width, map.height)
        }
    };
    let (true_width, true_height) = pair.truth.size.unwrap_or((width, height));
    if (true_width, true_height) == (width, height) || width == 0 || height == 0 {
        return Ok((found, false));
    }
    let (across, down) = (true_width as f64 / width as f64, true_height as f64 / height as f64);
    let scaled = found.map(|found| BoundingBox {
        x: found.x * across,
        y: found.y * down,
        width: found.width * across,
        height: found.height * down,
    });
    Ok((scaled, true))
}
