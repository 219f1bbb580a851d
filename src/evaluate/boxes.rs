//! One box per image: CorLoc.

use super::predictions::{self, ForegroundValues, PredictedBox};
use super::table::Table;
use super::{Compared, EvaluateError, Notes, Pair, Run, Size, is_json, read_mask, wrong_kind};
use crate::dataset::truth::{self, Annotated, Truth};
use crate::metrics::{BoundingBox, CORLOC_THRESHOLD, mean};
use crate::pixels::QuarterTurn;
use crate::raster::Rectangle;

pub fn evaluate(run: &mut Run) -> Result<Table, EvaluateError> {
    let truth = read_truth(run)?;
    let predictions = predictions::boxes(run)?;
    let pairs = run.matched(predictions, truth)?;
    let foreground = run.predicted_foreground.clone();
    let (mut located, mut table) = (Vec::new(), Table::new(&["image", "iou", "located"]));
    let turn = run.turns();
    let locate = |pair: &Pair<_, _>| locate(pair, &foreground, &turn);
    run.compare(&pairs, locate, |pair, iou| {
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
        Truth { images: Vec::new(), remarks: Vec::new(), left_out: Vec::new() }
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
    let Truth { images, remarks, left_out } = truth;
    Truth { images: images.into_iter().map(image).collect(), remarks, left_out }
}

/// The largest IoU of the predicted box with one of the truth, in the pixels of the ground truth.
fn locate(
    pair: &Pair<PredictedBox, Vec<BoundingBox>>,
    foreground: &ForegroundValues,
    turn: impl Fn(&str, Size, Size) -> Result<Option<QuarterTurn>, EvaluateError>,
) -> Result<Compared<f64>, EvaluateError> {
    let mut notes = Notes::default();
    let (found, width, height) = match &pair.prediction {
        PredictedBox::Listed { found, width, height } => (*found, *width, *height),
        PredictedBox::Mask(path) => {
            let (map, was_cut) = read_mask(path, foreground.is_told())?;
            notes.cut_prediction = was_cut;
            let found = Rectangle::bounding(&map, |value| foreground.contains(value)).map(BoundingBox::from);
            (found, map.width, map.height)
        }
    };
    notes.empty = found.is_none();
    let size = pair.truth.size.unwrap_or((width, height));
    let turn = turn(&pair.key, size, (width, height))?;
    notes.turned = turn.is_some();
    let (true_width, true_height) = if turn.is_some() { (size.1, size.0) } else { size };
    notes.resized = (true_width, true_height) != (width, height) && width > 0 && height > 0;
    let across = if notes.resized { true_width as f64 / width as f64 } else { 1.0 };
    let down = if notes.resized { true_height as f64 / height as f64 } else { 1.0 };
    let scaled = found.map(|found| BoundingBox {
        x: found.x * across,
        y: found.y * down,
        width: found.width * across,
        height: found.height * down,
    });
    let truth: Vec<BoundingBox> = match turn {
        Some(turn) => pair.truth.content.iter().map(|drawn| upright(drawn, turn, size)).collect(),
        None => pair.truth.content.clone(),
    };
    Ok(Compared { result: scaled.map_or(0.0, |scaled| scaled.largest_iou(&truth)), notes })
}

/// A box on a photograph of `width` × `height` pixels as it lies in its file, when that is turned upright.
fn upright(drawn: &BoundingBox, turn: QuarterTurn, (width, height): Size) -> BoundingBox {
    let corner = |x, y| turn.upright_point([x, y], width as f64, height as f64);
    let (one, other) = (corner(drawn.x, drawn.y), corner(drawn.x + drawn.width, drawn.y + drawn.height));
    BoundingBox { x: one[0].min(other[0]), y: one[1].min(other[1]), width: drawn.height, height: drawn.width }
}
