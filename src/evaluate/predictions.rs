//! The results of a run, as scoring needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::table::some_of;
use super::{EvaluateError, Run};
use crate::dataset::truth::FoundMaps;
use crate::event::counted;
use crate::metrics::BoundingBox;
use crate::results::{ListedObject, ResultsFolder, TableLine};

/// Where the box of an image is known from.
pub enum PredictedBox {
    /// The table's box, none if nothing was found, in an image of this width and height.
    Listed { found: Option<BoundingBox>, width: usize, height: usize },
    /// Around its largest piece, or all foreground.
    Mask(PathBuf),
}

/// The objects of an image one by one.
pub struct PredictedObjects {
    pub listed: Vec<ListedObject>,
    /// Of the image, where the table tells it.
    pub size: Option<(usize, usize)>,
}

/// Which predicted values are foreground.
#[derive(Debug, Clone)]
pub enum ForegroundValues {
    /// All but 0: the masks come without a table of labels.
    AboveZero,
    /// All but 0: a run's table of labels calls them regions, of which masks of 16 bits have more than it lists.
    Regions,
    /// Those that a run's table of labels calls foreground.
    Listed(BTreeSet<u32>),
}

impl ForegroundValues {
    pub fn contains(&self, value: u32) -> bool {
        match self {
            ForegroundValues::AboveZero | ForegroundValues::Regions => value > 0,
            ForegroundValues::Listed(values) => values.contains(&value),
        }
    }

    /// Whether somebody has told what the values mean.
    pub fn is_told(&self) -> bool {
        !matches!(self, ForegroundValues::AboveZero)
    }

    /// For the definition of a score.
    pub fn description(&self) -> &'static str {
        match self {
            ForegroundValues::AboveZero => "every predicted value above 0 is foreground",
            ForegroundValues::Regions => "every predicted value above 0 is a region, and foreground",
            ForegroundValues::Listed(_) => {
                "every predicted value that labels.json calls an object or its part is foreground"
            }
        }
    }
}

/// Which values are foreground in the results of a folder.
pub fn foreground_values(folder: &ResultsFolder) -> Result<ForegroundValues, EvaluateError> {
    let Some(labels) = folder.read_labels()? else { return Ok(ForegroundValues::AboveZero) };
    if labels.iter().any(|label| label.role.is_region()) {
        return Ok(ForegroundValues::Regions);
    }
    let foreground = labels.iter().filter(|label| label.role.is_foreground());
    Ok(ForegroundValues::Listed(foreground.map(|label| u32::from(label.value)).collect()))
}

/// The masks of a run, or of a plain folder, by name.
///
/// A run's table says which images belong to it: masks that it does not list are of another run or of an unfinished one
/// and are left out, with a remark.
pub fn masks(run: &mut Run) -> Result<Vec<(String, PathBuf)>, EvaluateError> {
    let lines = run.folder.read_table()?;
    let (folder, FoundMaps { maps, remark }) = run.folder.find_masks()?;
    let mut masks: BTreeMap<String, PathBuf> = maps.into_iter().collect();
    run.summary.remarks.extend(remark);
    if let Some(lines) = lines {
        let done: BTreeSet<&String> = lines.iter().filter(|(_, line)| line.is_done()).map(|(key, _)| key).collect();
        if let Some(key) = done.iter().find(|key| !masks.contains_key(**key)) {
            return Err(EvaluateError::MaskMissing { folder: run.request.predictions.clone(), image: key.to_string() });
        }
        let before = masks.len();
        masks.retain(|key, _| done.contains(key));
        if masks.len() < before {
            run.summary.remarks.push(format!(
                "left out: {} in {} of another or of an unfinished run, for predictions.jsonl does not list them",
                counted((before - masks.len()) as u64, "mask"),
                folder.display()
            ));
        }
        note_lines(run, &lines);
    }
    if masks.is_empty() {
        return Err(EvaluateError::NoMask { folder: run.request.predictions.clone() });
    }
    Ok(masks.into_iter().collect())
}

/// The confidences of a run's masks by name, of those that have one; none without a table, or with a table of no
/// confidence at all.
pub fn confidences(folder: &ResultsFolder) -> Result<Option<BTreeMap<String, f64>>, EvaluateError> {
    let confidences = |lines: BTreeMap<String, TableLine>| -> BTreeMap<String, f64> {
        lines.into_iter().filter_map(|(key, line)| Some((key, line.confidence?))).collect()
    };
    Ok(folder.read_table()?.map(confidences).filter(|confidences| !confidences.is_empty()))
}

/// The boxes of a run by name: from its table, or without one from masks.
pub fn boxes(run: &mut Run) -> Result<Vec<(String, PredictedBox)>, EvaluateError> {
    let Some(lines) = run.folder.read_table()? else {
        return Ok(masks(run)?.into_iter().map(|(key, path)| (key, PredictedBox::Mask(path))).collect());
    };
    note_lines(run, &lines);
    let table = run.folder.table();
    let mut boxes = Vec::new();
    for (key, line) in lines.into_iter().filter(|(_, line)| line.is_done()) {
        let (Some(width), Some(height)) = (line.width, line.height) else {
            return Err(EvaluateError::SizeMissing { table, image: line.path });
        };
        let found = line.bounding_box.map(|[x, y, width, height]| BoundingBox { x, y, width, height });
        boxes.push((key, PredictedBox::Listed { found, width, height }));
    }
    if boxes.is_empty() {
        return Err(EvaluateError::NothingSegmented { table });
    }
    Ok(boxes)
}

/// The objects of a run by name, those of its foreground.
pub fn objects(run: &mut Run) -> Result<Vec<(String, PredictedObjects)>, EvaluateError> {
    let table = run.folder.table();
    let Some(lines) = run.folder.read_table()? else { return Err(EvaluateError::NoObjects { table }) };
    note_lines(run, &lines);
    let mut objects = Vec::new();
    for (key, line) in lines.into_iter().filter(|(_, line)| line.is_done()) {
        let Some(mut listed) = line.objects else { return Err(EvaluateError::NoObjects { table }) };
        listed.retain(|object| run.predicted_foreground.contains(u32::from(object.label)));
        objects.push((key, PredictedObjects { listed, size: line.width.zip(line.height) }));
    }
    if objects.is_empty() {
        return Err(EvaluateError::NothingSegmented { table });
    }
    Ok(objects)
}

/// Notes which line is of which file, and what was skipped.
fn note_lines(run: &mut Run, lines: &BTreeMap<String, TableLine>) {
    let done = lines.iter().filter(|(_, line)| line.is_done());
    run.files = done.clone().map(|(key, line)| (line.path.clone(), key.clone())).collect();
    run.orientations = done.filter_map(|(key, line)| Some((key.clone(), line.orientation?))).collect();
    let skipped: Vec<String> = lines.values().filter(|line| !line.is_done()).map(|line| line.path.clone()).collect();
    if !skipped.is_empty() {
        run.summary.remarks.push(format!(
            "{} had been skipped and cannot be scored: {}",
            counted(skipped.len() as u64, "image"),
            some_of(&skipped)
        ));
    }
}
