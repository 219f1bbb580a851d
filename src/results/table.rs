//! `predictions.jsonl`: a line for every image.

use serde::{Deserialize, Serialize};

use crate::dataset::Record;
use crate::dataset::truth::name_key;
use crate::method::Segmentation;
use crate::names;
use crate::raster::{RunLengthError, RunLengthMask};
use crate::refine::FoundObject;

/// One line of `predictions.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Relative to the collection; `/` between folders and what is no text escaped as in [`names`](crate::names).
    pub path: String,
    /// Where the image's results are, as [`Record::output`] in text, if that is not `path` without its extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    pub status: Status,
    /// Why the image was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How the image had to be read, or what of it was taken for no data: what a reader of the results should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// blake3 of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub result: Option<Measures>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Done,
    /// All of the image lies in one cluster: it has results, in which nothing is told apart.
    OneCluster,
    Skipped,
}

/// What was found in one image, in pixels of the original.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    pub width: usize,
    pub height: usize,
    /// The EXIF orientation by which the image was turned upright, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orientation: Option<u8>,
    /// x, y, width, height around the largest piece of foreground, or all of it (`objects.bounds`); null where there is no object.
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
    /// A value of the mask.
    pub label: u16,
    /// x, y, width, height.
    #[serde(rename = "box")]
    pub bounding_box: [usize; 4],
    pub area_px: u64,
    /// Mean probability over the object's pixels that they are what the label says.
    pub confidence: f64,
    pub segmentation: RunLengthText,
}

/// A binary mask as COCO writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLengthText {
    /// Height, width.
    pub size: [usize; 2],
    /// Compressed run lengths.
    pub counts: String,
}

/// What scoring needs of a line; all but the path and the status may be missing, as in tables that other programs wrote.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TableLine {
    pub path: String,
    pub output: Option<String>,
    pub status: Status,
    pub width: Option<usize>,
    pub height: Option<usize>,
    pub orientation: Option<u8>,
    /// x, y, width, height.
    #[serde(rename = "box")]
    pub bounding_box: Option<[f64; 4]>,
    pub confidence: Option<f64>,
    pub objects: Option<Vec<ListedObject>>,
}

impl Measures {
    /// What was found; with the objects one by one where they are to be listed.
    pub fn new(found: &Segmentation, lists_objects: bool) -> Measures {
        Measures {
            width: found.mask.width,
            height: found.mask.height,
            orientation: None,
            bounding_box: found.bounding_box.map(|bounds| [bounds.x, bounds.y, bounds.width, bounds.height]),
            foreground_area_px: found.foreground_area_px,
            confidence: found.confidence,
            clusters: found.clusters,
            negative_share: found.negative_share,
            final_loss: found.final_loss,
            objects: lists_objects.then(|| found.objects.iter().map(Into::into).collect()),
        }
    }
}

#[cfg(feature = "parquet")]
impl Status {
    /// As the tables have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Status::Done => "done",
            Status::OneCluster => "one_cluster",
            Status::Skipped => "skipped",
        }
    }
}

impl Prediction {
    /// Names the image and the place of its results.
    #[must_use]
    pub fn of(self, record: &Record) -> Prediction {
        let usual = record.output == record.relative.with_extension("");
        let output = (!usual).then(|| names::portable(&record.output));
        Prediction { path: names::portable(&record.relative), output, ..self }
    }

    /// The place of the image's results, as [`Record::output`] in text.
    #[cfg(feature = "parquet")]
    pub(super) fn place(&self) -> String {
        self.output.clone().unwrap_or_else(|| name_key(&self.path))
    }
}

impl TableLine {
    /// The name of the image's results; see [`image_key`](crate::dataset::truth::image_key).
    pub fn key(&self) -> String {
        self.output.clone().unwrap_or_else(|| name_key(&self.path))
    }

    /// Whether there are results, whatever they say.
    pub fn is_done(&self) -> bool {
        self.status != Status::Skipped
    }
}

impl RunLengthText {
    /// The mask itself, `[height, width]`.
    pub fn decode(&self) -> Result<RunLengthMask, RunLengthError> {
        let [height, width] = self.size;
        RunLengthMask::from_compressed(width, height, &self.counts)
    }
}

impl From<&RunLengthMask> for RunLengthText {
    fn from(mask: &RunLengthMask) -> Self {
        RunLengthText { size: [mask.height(), mask.width()], counts: mask.compressed() }
    }
}

impl From<&FoundObject> for ListedObject {
    fn from(found: &FoundObject) -> Self {
        let bounds = found.bounding_box;
        ListedObject {
            label: found.label,
            bounding_box: [bounds.x, bounds.y, bounds.width, bounds.height],
            area_px: found.area_px,
            confidence: found.confidence,
            segmentation: (&found.mask).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_of_an_image_is_what_is_scored() {
        let measures = Measures {
            width: 9,
            height: 7,
            orientation: Some(6),
            bounding_box: Some([1, 2, 3, 4]),
            foreground_area_px: 5,
            confidence: Some(0.75),
            clusters: 2,
            negative_share: None,
            final_loss: None,
            objects: Some(Vec::new()),
        };
        let (path, result) = ("a/b.jpg".to_string(), Some(measures));
        let (output, reason, content_hash) = (Some("a/b.jpg".to_string()), None, None);
        let written = Prediction { path, output, status: Status::Done, reason, warning: None, content_hash, result };
        let read: TableLine = serde_json::from_str(&serde_json::to_string(&written).unwrap()).unwrap();
        assert_eq!((read.path.as_str(), read.is_done()), ("a/b.jpg", true));
        assert_eq!(read.key(), "a/b.jpg");
        assert_eq!((read.width, read.height, read.confidence), (Some(9), Some(7), Some(0.75)));
        assert_eq!(read.orientation, Some(6));
        assert_eq!(read.bounding_box, Some([1.0, 2.0, 3.0, 4.0]));
        assert_eq!(read.objects, Some(Vec::new()));
        let skipped: TableLine = serde_json::from_str(r#"{"path":"c.jpg","status":"skipped"}"#).unwrap();
        assert_eq!(skipped.key(), "c");
        assert!(!skipped.is_done() && skipped.bounding_box.is_none());
    }
}
