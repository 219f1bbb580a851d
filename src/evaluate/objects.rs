//! Foreground against background.

use std::path::PathBuf;

use super::predictions::ForegroundValues;
use super::table::Table;
use super::{
    Compared, EvaluateError, EvaluateRequest, Frame, Notes, Pair, Run, Size, in_size, is_json, predictions, read_map,
    read_mask, wrong_kind,
};
use crate::dataset::truth::{self, Annotated, Truth, coco::CocoMasks};
use crate::event::counted;
use crate::metrics::{BETA_SQUARED, Overlap, RiskCoverage, SaliencyCurve, mean};
use crate::pixels::QuarterTurn;
use crate::raster::{LabelMap, Mask};

/// The ground truth of one image.
pub enum ObjectTruth {
    Map(PathBuf),
    Coco(CocoMasks),
}

/// One image's masks, ready to be compared.
struct Masks {
    overlap: Overlap,
    /// How sure the prediction is of foreground, 0 to 255; 0 or 255 where there is only a mask.
    saliency: Mask,
    truth: Mask,
    void: Mask,
    /// 255 beside other classes: a class map whose 255 is void by custom.
    looks_void: bool,
    /// Whether the truth was a mask with grey edges.
    was_cut: bool,
}

/// How every image's mask overlaps with its truth, and the scores of all together.
pub struct ObjectScores {
    pub overlaps: Vec<(String, Overlap)>,
    pub max_f_beta: Option<f64>,
    /// Images that have a saliency map.
    pub graded: usize,
}

pub fn evaluate(run: &mut Run) -> Result<Table, EvaluateError> {
    let truth = read_truth(run)?;
    let predictions = predictions::masks(run)?;
    let pairs = run.matched(predictions, truth)?;
    let ObjectScores { overlaps, max_f_beta, graded } = score(run, &pairs)?;
    let miou = mean(overlaps.iter().map(|(_, overlap)| overlap.iou()));
    run.score("miou", miou, format!("mean over images of the foreground's IoU; {}", foreground(run)));
    let accuracy = mean(overlaps.iter().map(|(_, overlap)| overlap.accuracy()));
    run.score("accuracy", accuracy, "mean over images of the share of pixels whose foreground or background is right");
    run.score(
        "max_f_beta",
        max_f_beta,
        format!(
            "the largest F_beta with beta² = {BETA_SQUARED} over thresholds, of precision and recall averaged over images; {}",
            match graded {
                0 => "there are masks only, so all thresholds agree".to_string(),
                _ => format!("of saliency maps for {}, of masks for the others", counted(graded as u64, "image")),
            }
        ),
    );
    let confidences = predictions::confidences(&run.folder)?;
    let confidence = |key: &String| confidences.as_ref()?.get(key).copied();
    if confidences.is_some() {
        score_confidences(run, overlaps.iter().map(|(key, overlap)| (confidence(key), 1.0 - overlap.iou())));
    }
    let mut table = Table::new(&["image", "iou", "accuracy", "f_beta", "confidence"]);
    for (key, overlap) in &overlaps {
        let f_beta = overlap.f_beta(BETA_SQUARED);
        table.push(key, &[Some(overlap.iou()), Some(overlap.accuracy()), Some(f_beta), confidence(key)]);
    }
    Ok(table)
}

/// Scores how well the confidences of images rank their risks.
fn score_confidences(run: &mut Run, images: impl Iterator<Item = (Option<f64>, f64)>) {
    let Some(RiskCoverage { area, perfect, random }) = RiskCoverage::of(images) else { return };
    run.score(
        "risk_coverage",
        Some(area),
        format!(
            "mean over n of the mean risk, 1 − IoU, of the n images with the highest confidence: the area under the \
             risk-coverage curve; the lower, the better; equal confidences count in random order, a missing one as 0; \
             a random ranking has 1 − miou = {random:.4}"
        ),
    );
    run.score(
        "risk_coverage_perfect",
        Some(perfect),
        "risk_coverage of the same masks ranked by their true IoU: no ranking has less",
    );
}

/// The ground truth of objects: label maps in a folder, or COCO's masks.
pub fn read_truth(run: &mut Run) -> Result<Vec<Annotated<ObjectTruth>>, EvaluateError> {
    let path = run.truth();
    if path.is_dir() {
        return Ok(as_objects(label_maps(run)?, ObjectTruth::Map));
    }
    let expected = "a folder of label maps or a COCO JSON file with masks";
    if !is_json(path) {
        return Err(wrong_kind(path, expected));
    }
    if run.request.tells_values() {
        return Err(EvaluateError::TruthWithoutMaps { truth: "COCO JSON" });
    }
    let annotated = run.annotated(truth::coco::masks(path)?, |masks| !masks.has_objects());
    Ok(as_objects(annotated, ObjectTruth::Coco))
}

fn as_objects<T>(images: Vec<Annotated<T>>, kind: fn(T) -> ObjectTruth) -> Vec<Annotated<ObjectTruth>> {
    let image = |Annotated { key, file, size, content }| Annotated { key, file, size, content: kind(content) };
    images.into_iter().map(image).collect()
}

/// The label maps of the ground truth's folder; none at all is an error.
pub fn label_maps(run: &mut Run) -> Result<Vec<Annotated<PathBuf>>, EvaluateError> {
    let folder = run.truth();
    let Truth { images, remarks, left_out } = truth::label_maps(folder)?;
    if images.is_empty() {
        return Err(wrong_kind(folder, "a folder with label maps in it (PNG, TIFF, BMP, GIF or JPEG)"));
    }
    run.tell_of_truth(remarks, left_out);
    Ok(images)
}

/// Compares all pairs.
pub fn score(run: &mut Run, pairs: &[Pair<PathBuf, ObjectTruth>]) -> Result<ObjectScores, EvaluateError> {
    let (mut overlaps, mut curve) = (Vec::with_capacity(pairs.len()), SaliencyCurve::default());
    let (mut looks_void, mut cut, mut true_foreground_px) = (0, 0, 0);
    let (request, predicted_foreground) = (run.request, run.predicted_foreground.clone());
    let saliency = run.folder.find_saliency()?;
    let graded = pairs.iter().filter(|pair| saliency.contains_key(&pair.key)).count();
    let frame = run.frames();
    run.compare(
        pairs,
        |pair| compare(pair, request, &predicted_foreground, saliency.get(&pair.key), &frame),
        |pair, compared| {
            curve
                .add(&compared.saliency, &compared.truth, &compared.void)
                .map_err(EvaluateError::incomparable(&pair.prediction))?;
            overlaps.push((pair.key.clone(), compared.overlap));
            true_foreground_px += compared.overlap.both_px + compared.overlap.truth_only_px;
            looks_void += usize::from(compared.looks_void);
            cut += usize::from(compared.was_cut);
            Ok(())
        },
    )?;
    if true_foreground_px == 0 && !request.foreground_classes.is_empty() {
        return Err(EvaluateError::AbsentClasses { classes: request.foreground_classes.clone() });
    }
    if looks_void > 0 {
        let advice = match cut {
            0 => "pass --void 255 if it means undecided",
            _ => "others have grey edges; if these have too, make all of them black and white",
        };
        run.summary.remarks.push(format!(
            "{} of the ground truth with 255 beside other classes: 255 counted as foreground; {advice}",
            counted(looks_void as u64, "map")
        ));
    }
    Ok(ObjectScores { overlaps, max_f_beta: curve.maximum(BETA_SQUARED), graded })
}

/// Says what counted as foreground.
pub fn foreground(run: &Run) -> String {
    let (request, predicted) = (run.request, run.predicted_foreground.description());
    let coco = request.truth.as_deref().is_some_and(is_json);
    let truth = match request.foreground_classes.as_slice() {
        _ if coco => "of the truth all objects together; crowds are void".to_string(),
        [] => "of the truth every value above 0".to_string(),
        classes => format!(
            "of the truth the values {}",
            classes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
    };
    let void = request.void.map_or(String::new(), |void| format!("; pixels of value {void} count nowhere"));
    format!("{predicted}, {truth}{void}")
}

/// The foreground and the void of a label map of the truth, 1 inside.
pub fn split(map: &LabelMap, request: &EvaluateRequest) -> (Mask, Mask) {
    let is_void = |value| Some(value) == request.void;
    let classes = request.foreground_classes.as_slice();
    let is_foreground =
        |value| if classes.is_empty() { value != 0 && !is_void(value) } else { classes.contains(&value) };
    (map.map(|value| u8::from(is_foreground(value))), map.map(|value| u8::from(is_void(value))))
}

fn compare(
    pair: &Pair<PathBuf, ObjectTruth>,
    request: &EvaluateRequest,
    foreground: &ForegroundValues,
    saliency: Option<&PathBuf>,
    frame: impl Fn(&str, Size, Size) -> Result<Frame, EvaluateError>,
) -> Result<Compared<Masks>, EvaluateError> {
    let (predicted, cut_prediction) = read_mask(&pair.prediction, foreground.is_told())?;
    let size = (predicted.width, predicted.height);
    let mut notes = Notes { cut_prediction, ..Notes::default() };
    let (mut truth, mut void, looks_void) = match &pair.truth.content {
        ObjectTruth::Map(path) => {
            let (map, was_cut) = read_mask(path, request.tells_values())?;
            notes.cut_truth = was_cut;
            let looks_void = !request.tells_values()
                && map.values.contains(&255)
                && map.values.iter().any(|&value| value != 0 && value != 255);
            let (truth, void) = split(&map, request);
            (truth, void, looks_void)
        }
        ObjectTruth::Coco(masks) => {
            let broken = |reason| EvaluateError::BrokenMasks {
                path: request.truth.clone().unwrap_or_default(),
                image: pair.key.clone(),
                reason,
            };
            let drawn = masks.draw(size).map_err(broken)?;
            if drawn.objects == 0 {
                return Err(EvaluateError::NothingDrawn { reason: drawn.left_out.join("; ") });
            }
            notes.left_out = drawn.left_out;
            (drawn.foreground, drawn.void, false)
        }
    };
    let predicted = predicted.map(|value| if foreground.contains(value) { 255u8 } else { 0 });
    notes.empty = predicted.values.iter().all(|&value| value == 0);
    let turn = match frame(&pair.key, (truth.width, truth.height), size)? {
        Frame::Upright => None,
        Frame::Turned(turn) => Some(turn),
        Frame::TurnedSomehow => {
            notes.turn_guessed = true;
            Some(better_turn(&predicted, &truth))
        }
    };
    if let Some(turn) = turn {
        notes.turned = true;
        (truth, void) = (turn.upright(truth), turn.upright(void));
    }
    let (predicted, resized) = in_size(predicted, truth.width, truth.height);
    notes.resized = resized;
    let overlap = Overlap::of(&predicted, &truth, &void).map_err(EvaluateError::incomparable(&pair.prediction))?;
    let saliency = match saliency {
        Some(path) => in_size(read_map(path)?, truth.width, truth.height).0.map(|value| value.min(255) as u8),
        None => predicted,
    };
    let was_cut = notes.cut_truth;
    Ok(Compared { result: Masks { overlap, saliency, truth, void, looks_void, was_cut }, notes })
}

/// Of the two ways in which a camera is held upright the one in which the mask overlaps more with the truth as it was drawn.
fn better_turn(predicted: &Mask, drawn: &Mask) -> QuarterTurn {
    let overlap_px = |turn: QuarterTurn| {
        let upright = turn.upright(drawn.clone());
        let predicted = predicted.resized_nearest(upright.width, upright.height);
        upright.values.iter().zip(&predicted.values).filter(|(truth, predicted)| **truth > 0 && **predicted > 0).count()
    };
    let [first, other] = [QuarterTurn::CLOCKWISE, QuarterTurn::COUNTERCLOCKWISE];
    if overlap_px(other) > overlap_px(first) { other } else { first }
}
