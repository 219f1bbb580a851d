//! What every segmenting run does around its network: read images in order, segment them, write results atomically,
//! pass over what is done.

mod predictor;
mod results;

pub(super) use predictor::Predictor;
pub(super) use results::{LABELS, LabelTable, SALIENCY};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::method::StepMilliseconds;
use crate::refine::FoundObject;

/// Which images are segmented and where the results go.
#[derive(Debug, Clone)]
pub struct PredictRequest {
    /// A folder, a list of images, or one image.
    pub data: PathBuf,
    pub out: PathBuf,
    pub save: SaveKinds,
    /// Do again what is already done.
    pub overwrite: bool,
}

/// What is written besides the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SaveKinds {
    pub masks: bool,
    pub overlays: bool,
    /// The probability of foreground as grey pictures.
    pub saliency: bool,
    /// One page for people with figures, a sample and the least sure images.
    pub report: bool,
    /// One COCO JSON file with the masks and boxes of all images.
    pub coco: bool,
    /// YOLO boxes, one text file per image.
    pub yolo: bool,
    /// Pascal VOC boxes, one XML file per image.
    pub voc: bool,
}

impl SaveKinds {
    /// Whether anything is written that lists objects one by one.
    fn annotations(self) -> bool {
        self.coco || self.yolo || self.voc
    }
}

/// What a segmenting run did.
#[derive(Debug, Clone, Serialize)]
pub struct PredictSummary {
    #[serde(serialize_with = "crate::pipeline::lossy_path")]
    pub out: PathBuf,
    /// Images segmented in this run.
    pub segmented: u64,
    /// Images whose results were there already, made from the same bytes in the same way.
    pub already_done: u64,
    pub skipped: u64,
    /// Images with results in which no object was found.
    pub without_object: u64,
    /// Mean number of clusters in use in an image, over all images with results.
    pub mean_clusters: Option<f64>,
    /// Correlation clustering only: mean share of affinities that are not positive.
    pub mean_negative_share: Option<f64>,
    pub seconds: f64,
    /// Mean time of one worker for each step of an image, over the images segmented in this run.
    pub mean_milliseconds: Option<StepMilliseconds>,
}

/// One line of `predictions.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Relative to the collection; `/` between folders.
    pub path: String,
    pub status: Status,
    /// Why the image was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// blake3 of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub result: Option<Measures>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Done,
    Skipped,
}

/// What was found in one image, in pixels of the original.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    pub width: usize,
    pub height: usize,
    /// x, y, width, height around all foreground; null where there is no object.
    #[serde(rename = "box")]
    pub bounding_box: Option<[usize; 4]>,
    pub foreground_area_px: u64,
    /// Mean probability of foreground over the foreground's pixels; null where there is no object.
    pub confidence: Option<f64>,
    /// Clusters of the first stage in use, background included.
    pub clusters: usize,
    /// Correlation clustering only: share of affinities that are not positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_share: Option<f32>,
    /// Per-image mode only: the loss before the last step of the first stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_loss: Option<f64>,
    /// Where instances or annotations were asked for: every instance, or without instances every label in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<ListedObject>>,
}

/// One object of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedObject {
    /// A value of `labels.json`.
    pub label: u8,
    /// x, y, width, height.
    #[serde(rename = "box")]
    pub bounding_box: [usize; 4],
    pub area_px: u64,
    /// Mean probability over the object's pixels that they are what the label says.
    pub confidence: f64,
    pub segmentation: Segmentation,
}

/// A binary mask as COCO writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segmentation {
    /// Height, width.
    pub size: [usize; 2],
    /// Compressed run lengths.
    pub counts: String,
}

impl From<&FoundObject> for ListedObject {
    fn from(found: &FoundObject) -> Self {
        let bounds = found.bounding_box;
        ListedObject {
            label: found.label,
            bounding_box: [bounds.x, bounds.y, bounds.width, bounds.height],
            area_px: found.area_px,
            confidence: found.confidence,
            segmentation: Segmentation {
                size: [found.mask.height(), found.mask.width()],
                counts: found.mask.compressed(),
            },
        }
    }
}
