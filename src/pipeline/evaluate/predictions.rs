//! The results of a run, as it left them on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{PipelineError, Run, untrusted};
use crate::dataset::truth::{files_below, image_key};
use crate::metrics::BoundingBox;
use crate::pipeline::predict::{LABELS, LabelTable, SALIENCY};

/// Where the box of an image is known from.
pub enum PredictedBox {
    /// The table's box, none if nothing was found, in an image of this width and height.
    Listed { found: Option<BoundingBox>, width: usize, height: usize },
    /// Around all foreground of the mask.
    Mask(PathBuf),
}

/// Which predicted values are foreground.
#[derive(Debug, Clone)]
pub enum ForegroundValues {
    /// All but 0: the masks come without a table of labels.
    AboveZero,
    /// Those that a run's table of labels calls foreground.
    Listed(BTreeSet<u32>),
}

impl ForegroundValues {
    pub fn contains(&self, value: u32) -> bool {
        match self {
            ForegroundValues::AboveZero => value > 0,
            ForegroundValues::Listed(values) => values.contains(&value),
        }
    }

    /// For the definition of a score.
    pub fn description(&self) -> &'static str {
        match self {
            ForegroundValues::AboveZero => "every predicted value above 0 is foreground",
            ForegroundValues::Listed(_) => {
                "every predicted value that labels.json calls an object or its part is foreground"
            }
        }
    }
}

/// What is needed of a line of `predictions.jsonl`.
#[derive(Deserialize)]
struct Line {
    path: String,
    status: String,
    width: Option<usize>,
    height: Option<usize>,
    #[serde(rename = "box")]
    bounding_box: Option<[f64; 4]>,
    confidence: Option<f64>,
}

/// Which values are foreground in the results below `root`.
pub fn foreground_values(root: &Path) -> Result<ForegroundValues, PipelineError> {
    let path = root.join(LABELS);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ForegroundValues::AboveZero),
        Err(error) => return Err(PipelineError::InputOutput(format!("cannot read {}: {error}", path.display()))),
    };
    let table: LabelTable =
        serde_json::from_slice(&bytes).map_err(|error| untrusted(&path, format!("is no table of labels ({error})")))?;
    let foreground = table.labels.iter().filter(|label| label.role.is_foreground());
    Ok(ForegroundValues::Listed(foreground.map(|label| u32::from(label.value)).collect()))
}

/// The masks of a run, or of a plain folder, by name.
///
/// A run's table says which images belong to it: masks that it does not list are of another run or of an unfinished one
/// and are left out, with a remark.
pub fn masks(run: &mut Run) -> Result<Vec<(String, PathBuf)>, PipelineError> {
    let root = run.request.predictions.as_path();
    let (folder, lines) = (mask_folder(root), table(root)?);
    let mut masks: BTreeMap<String, PathBuf> = BTreeMap::new();
    if folder.is_dir() {
        for relative in files_below(&folder, "png")? {
            let path = folder.join(&relative);
            if let Some(other) = masks.insert(image_key(&relative), path.clone()) {
                return Err(untrusted(&path, format!("is for the same image as {}; remove one", other.display())));
            }
        }
    }
    if let Some(lines) = lines {
        let done: BTreeSet<&String> =
            lines.iter().filter(|(_, line)| line.status == "done").map(|(key, _)| key).collect();
        if let Some(key) = done.iter().find(|key| !masks.contains_key(**key)) {
            return Err(PipelineError::Usage(format!(
                "{} has no mask of {key}, which its predictions.jsonl lists; run `deepcut infer` with --save masks",
                root.display()
            )));
        }
        let before = masks.len();
        masks.retain(|key, _| done.contains(key));
        if masks.len() < before {
            run.summary.remarks.push(format!(
                "left out: {} in {} of another or of an unfinished run, for predictions.jsonl does not list them",
                super::report::counted(before - masks.len(), "mask"),
                folder.display()
            ));
        }
        note_skipped(run, &lines);
    }
    if masks.is_empty() {
        return Err(PipelineError::Usage(format!(
            "no mask was found in {}; name the --out of `deepcut infer` or a folder of PNG masks",
            root.display()
        )));
    }
    Ok(masks.into_iter().collect())
}

/// The saliency maps of a run by name; none where there are no such maps.
pub fn saliency(root: &Path) -> Result<BTreeMap<String, PathBuf>, PipelineError> {
    let folder = root.join(SALIENCY);
    if !folder.is_dir() {
        return Ok(BTreeMap::new());
    }
    let files = files_below(&folder, "png")?;
    Ok(files.into_iter().map(|relative| (image_key(&relative), folder.join(&relative))).collect())
}

/// The confidences of a run's masks by name, of those that have one; none without a table, or with a table of no
/// confidence at all.
pub fn confidences(root: &Path) -> Result<Option<BTreeMap<String, f64>>, PipelineError> {
    let confidences = |lines: BTreeMap<String, Line>| -> BTreeMap<String, f64> {
        lines.into_iter().filter_map(|(key, line)| Some((key, line.confidence?))).collect()
    };
    Ok(table(root)?.map(confidences).filter(|confidences| !confidences.is_empty()))
}

/// The boxes of a run by name: from its table, or without one from masks.
pub fn boxes(run: &mut Run) -> Result<Vec<(String, PredictedBox)>, PipelineError> {
    let root = run.request.predictions.as_path();
    let Some(lines) = table(root)? else {
        return Ok(masks(run)?.into_iter().map(|(key, path)| (key, PredictedBox::Mask(path))).collect());
    };
    note_skipped(run, &lines);
    let mut boxes = Vec::new();
    for (key, line) in lines.into_iter().filter(|(_, line)| line.status == "done") {
        let (Some(width), Some(height)) = (line.width, line.height) else {
            return Err(untrusted(&table_path(root), format!("{} has no width and height", line.path)));
        };
        let found = line.bounding_box.map(|[x, y, width, height]| BoundingBox { x, y, width, height });
        boxes.push((key, PredictedBox::Listed { found, width, height }));
    }
    if boxes.is_empty() {
        return Err(PipelineError::Usage(format!("{} lists no segmented image", table_path(root).display())));
    }
    Ok(boxes)
}

fn table_path(root: &Path) -> PathBuf {
    root.join("predictions.jsonl")
}

fn mask_folder(root: &Path) -> PathBuf {
    let inner = root.join("masks");
    if inner.is_dir() || table_path(root).is_file() { inner } else { root.to_path_buf() }
}

/// The lines of the table by name; none without a table.
fn table(root: &Path) -> Result<Option<BTreeMap<String, Line>>, PipelineError> {
    let path = table_path(root);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PipelineError::InputOutput(format!("cannot read {}: {error}", path.display()))),
    };
    let mut lines = BTreeMap::new();
    for (index, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line: Line = serde_json::from_str(text)
            .map_err(|error| untrusted(&path, format!("line {} is no prediction ({error})", index + 1)))?;
        let key = image_key(Path::new(&line.path));
        if line.status == "done" && lines.get(&key).is_some_and(|other: &Line| other.status == "done") {
            return Err(untrusted(&path, format!("line {} is the second of the image {key}", index + 1)));
        }
        // Of two images with the same mask only the first was segmented.
        if line.status == "done" || !lines.contains_key(&key) {
            lines.insert(key, line);
        }
    }
    Ok(Some(lines))
}

fn note_skipped(run: &mut Run, lines: &BTreeMap<String, Line>) {
    let skipped: Vec<String> =
        lines.values().filter(|line| line.status != "done").map(|line| line.path.clone()).collect();
    if !skipped.is_empty() {
        run.summary.remarks.push(format!(
            "{} had been skipped and cannot be scored: {}",
            super::report::counted(skipped.len(), "image"),
            super::report::some_of(&skipped)
        ));
    }
}
