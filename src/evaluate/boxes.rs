//! One box per image: CorLoc.

use super::predictions::{self, ForegroundValues, PredictedBox};
use super::table::Table;
use super::{Compared, EvaluateError, Pair, Run, is_json, read_map, wrong_kind};
use crate::dataset::truth::{self, Annotated, Truth};
use crate::metrics::{BoundingBox, CORLOC_THRESHOLD, mean};
use crate::raster::Rectangle;

pub fn evaluate(run: &mut Run) -> Result<Table, EvaluateError> {
    let truth = read_truth(run)?;
    let predictions = predictions::boxes(run)?;
    let pairs = run.matched(predictions, truth)?;
    let foreground = run.predicted_foreground.clone();
    let (mut located, mut table) = (Vec::new(), Table::new(&["image", "iou", "located"]));
    let locate = |pair: &Pair<_, _>| locate(pair, &foreground);
    run.compare(&pairs, locate, |pair, found| {
        let iou = found.map_or(0.0, |found| found.largest_iou(&pair.truth.content));
        let is_located = f64::from(u8::from(iou > CORLOC_THRESHOLD));
        table.push(&pair.key, &[Some(iou), Some(is_located)]);
        located.push(is_located);
        Ok(())
    })?;
    let definition = format!(
        "share of images whose predicted box has IoU > {CORLOC_THRESHOLD} with any box of the truth, of whatever class \
         (VOC: difficult ones too; COCO: without crowds)"
    );
    run.score("corloc", mean(located), definition);
    Ok(table)
}

fn read_truth(run: &mut Run) -> Result<Vec<Annotated<Vec<BoundingBox>>>, EvaluateError> {
    let path = run.truth();
    let truth = if path.is_dir() {
        // VOC counts pixels from 1, and the last one is inside.
        in_continuous_coordinates(truth::voc::boxes(path)?, |found| {
            BoundingBox::from_included_pixels(found.left, found.top, found.right, found.bottom, 1.0)
        })
    } else if is_json(path) {
        in_continuous_coordinates(truth::coco::boxes(path)?, |found| BoundingBox {
            x: found.x,
            y: found.y,
            width: found.width,
            height: found.height,
        })
    } else {
        Truth { images: Vec::new(), remarks: Vec::new() }
    };
    if truth.images.is_empty() {
        return Err(wrong_kind(path, "a folder of Pascal VOC XML files or a COCO JSON file with boxes"));
    }
    Ok(run.annotated(truth, Vec::is_empty))
}

fn in_continuous_coordinates<B>(truth: Truth<Vec<B>>, turned: fn(&B) -> BoundingBox) -> Truth<Vec<BoundingBox>> {
    let image = |Annotated { key, file, size, content }: Annotated<Vec<B>>| Annotated {
        key,
        file,
        size,
        content: content.iter().map(turned).collect(),
    };
    Truth { images: truth.images.into_iter().map(image).collect(), remarks: truth.remarks }
}

/// The predicted box in the pixels of the ground truth.
fn locate(
    pair: &Pair<PredictedBox, Vec<BoundingBox>>,
    foreground: &ForegroundValues,
) -> Result<Compared<Option<BoundingBox>>, EvaluateError> {
    let (found, width, height) = match &pair.prediction {
        PredictedBox::Listed { found, width, height } => (*found, *width, *height),
        PredictedBox::Mask(path) => {
            let map = read_map(path)?;
            let found = Rectangle::bounding(&map, |value| foreground.contains(value)).map(BoundingBox::from);
            (found, map.width, map.height)
        }
    };
    let (true_width, true_height) = pair.truth.size.unwrap_or((width, height));
    let empty = found.is_none();
    if (true_width, true_height) == (width, height) || width == 0 || height == 0 {
        return Ok(Compared { result: found, empty, resized: false });
    }
    let (across, down) = (true_width as f64 / width as f64, true_height as f64 / height as f64);
    let scaled = found.map(|found| BoundingBox {
        x: found.x * across,
        y: found.y * down,
        width: found.width * across,
        height: found.height * down,
    });
    Ok(Compared { result: scaled, empty, resized: true })
}
