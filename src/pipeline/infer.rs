//! `infer`: a checkpoint and new images → masks, overlays and a table.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::backbone::{self, Backbone};
use super::device::DeviceChoice;
use super::ordered::for_each_ordered;
use super::{PipelineError, Skip, images, read_checkpoint, thread_pool};
use crate::config::RunConfig;
use crate::dataset::{self, DatasetError, Record};
use crate::event::{Event, Observer, Stage};
use crate::output::{self, JsonLines, OutputError, write_atomically};
use crate::raster::{Mask, Rectangle, RgbImage};
use crate::segment::Segmenter;
use crate::tensor::Device;

/// What to segment, with what, and where to put the results.
#[derive(Debug, Clone)]
pub struct InferRequest {
    pub checkpoint: PathBuf,
    /// A folder, a list of images, or one image.
    pub data: PathBuf,
    pub out: PathBuf,
    /// The weights of the checkpoint's backbone, where it needs any.
    pub weights: Option<PathBuf>,
    pub save: SaveKinds,
    /// Do again what is already done.
    pub overwrite: bool,
    pub device: DeviceChoice,
    /// 0 means one per processor.
    pub threads: usize,
}

/// Which pictures are written besides the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveKinds {
    pub masks: bool,
    pub overlays: bool,
}

/// What an inference run did.
#[derive(Debug, Clone, Serialize)]
pub struct InferSummary {
    pub out: PathBuf,
    /// Images segmented in this run.
    pub segmented: u64,
    /// Images whose results of the same checkpoint were there already.
    pub already_done: u64,
    pub skipped: u64,
    pub seconds: f64,
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
    /// x, y, width, height around all foreground; null without any.
    #[serde(rename = "box")]
    pub bounding_box: Option<[usize; 4]>,
    pub foreground_area_px: u64,
    /// Mean probability of the foreground's clusters; null without any.
    pub confidence: Option<f64>,
}

/// The text chunk that a finished mask carries: it proves for which image and checkpoint the mask was made.
#[derive(Serialize, Deserialize)]
struct Provenance {
    checkpoint: String,
    prediction: Prediction,
}

const PROVENANCE_KEYWORD: &str = "deepcut";
const OVERLAY_QUALITY: u8 = 90;

/// Segments every image of a collection with a trained network.
///
/// Writes `OUT/masks/`, `OUT/overlays/` and, when all images are through, `OUT/predictions.jsonl`. A mask is written
/// last and tells what it was made from, so a killed run goes on where it was.
pub fn infer(request: &InferRequest, observer: &dyn Observer) -> Result<InferSummary, PipelineError> {
    let started = std::time::Instant::now();
    let (checkpoint, checkpoint_hash) = read_checkpoint(&request.checkpoint)?;
    let header = &checkpoint.header;
    let mut config: RunConfig = serde_json::from_value(header.config.clone()).map_err(|error| {
        PipelineError::Untrusted(format!(
            "{} was made by another version of deepcut ({error}); train again",
            request.checkpoint.display()
        ))
    })?;
    let collection = dataset::open(&request.data)?;
    let (device, device_name) = request.device.resolve()?;
    let backbone = backbone::open(&mut config, request.weights.as_deref(), header.backbone_hash.as_deref(), &device)?;
    if backbone.extractor.width() != header.network.input {
        return Err(PipelineError::Untrusted(format!(
            "{} was trained on features of {} channels, its backbone gives {}",
            request.checkpoint.display(),
            header.network.input,
            backbone.extractor.width()
        )));
    }
    let pool = thread_pool(request.threads)?;
    observer.observe(Event::Plan(format!(
        "segmenting {} with {}: {}, device {device_name}, {} clusters",
        request.data.display(),
        request.checkpoint.display(),
        backbone.description,
        header.network.clusters,
    )));
    std::fs::create_dir_all(&request.out).map_err(|error| {
        PipelineError::InputOutput(format!("cannot create the output folder {}: {error}", request.out.display()))
    })?;

    let worker = Worker {
        request,
        checkpoint_hash: checkpoint_hash.to_hex().to_string(),
        background: header.background.clone(),
        segmenter: Segmenter::new(checkpoint.network(&device), device.clone()),
        config: &config,
        backbone: &backbone,
        device: &device,
    };
    let table_path = request.out.join("predictions.jsonl");
    let mut table = JsonLines::create(&table_path)?;
    let mut summary =
        InferSummary { out: request.out.clone(), segmented: 0, already_done: 0, skipped: 0, seconds: 0.0 };
    observer.observe(Event::StageStarted { stage: Stage::Inference, total: None });
    let mut done = 0;
    let segment = |record| (!observer.interrupted()).then(|| worker.process(record));
    for_each_ordered(collection.records(), &pool, segment, |outcome| {
        let outcome = outcome.ok_or_else(|| {
            PipelineError::Interrupted("repeat the command to continue; finished masks are kept".into())
        })??;
        match outcome.kind {
            Kind::Segmented => summary.segmented += 1,
            Kind::AlreadyDone => summary.already_done += 1,
            Kind::Skipped(skip) => {
                summary.skipped += 1;
                observer.observe(Event::Skipped { path: skip.path, reason: skip.reason });
            }
        }
        table.push(&outcome.prediction)?;
        done += 1;
        observer.observe(Event::StageProgress { stage: Stage::Inference, done });
        Ok::<(), PipelineError>(())
    })?;
    observer.observe(Event::StageFinished { stage: Stage::Inference });
    if done == 0 {
        return Err(PipelineError::Usage(format!(
            "no image was found in {}; images end in .jpg, .jpeg, .png, .webp, .bmp or .gif; hidden files and what ignore files exclude do not count",
            request.data.display()
        )));
    }
    table.finish()?;
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

/// Everything that is needed to process one image.
struct Worker<'a> {
    request: &'a InferRequest,
    checkpoint_hash: String,
    background: Vec<bool>,
    segmenter: Segmenter,
    config: &'a RunConfig,
    backbone: &'a Backbone,
    device: &'a Device,
}

struct Outcome {
    prediction: Prediction,
    kind: Kind,
}

enum Kind {
    Segmented,
    AlreadyDone,
    Skipped(Skip),
}

impl Worker<'_> {
    /// One image from file to results. An unusable image is an outcome, an unwritable result an error.
    fn process(&self, record: Result<Record, DatasetError>) -> Result<Outcome, PipelineError> {
        let record = match record {
            Ok(record) => record,
            Err(error) => return Ok(skipped(error.path(), error.path(), error.to_string())),
        };
        let file = match images::read(&record.path, self.config) {
            Ok(file) => file,
            Err(reason) => return Ok(skipped(&record.relative, &record.path, reason)),
        };
        let content_hash = file.hash.to_hex().to_string();
        if let Some(prediction) = self.finished(&record, &content_hash) {
            return Ok(Outcome { prediction, kind: Kind::AlreadyDone });
        }
        let image = match images::decode(&file, self.config) {
            Ok(image) => image,
            Err(reason) => return Ok(skipped(&record.relative, &record.path, reason)),
        };
        let (mask, measures) = self.segment(&image);
        let prediction = Prediction {
            path: portable(&record.relative),
            status: Status::Done,
            reason: None,
            content_hash: Some(content_hash),
            result: Some(measures),
        };
        self.write(&record, &image, &mask, &prediction)?;
        Ok(Outcome { prediction, kind: Kind::Segmented })
    }

    fn segment(&self, image: &RgbImage) -> (Mask, Measures) {
        let nodes = self.backbone.extractor.extract(image);
        let graph = images::graph(&nodes, self.config, self.device);
        let segments = self.segmenter.segment(&graph);
        let mask =
            nodes.layout.paint(&segments.mask_values(&self.background)).resized_nearest(image.width, image.height);
        let bounding_box =
            Rectangle::bounding(&mask, |value| value > 0).map(|found| [found.x, found.y, found.width, found.height]);
        let measures = Measures {
            width: image.width,
            height: image.height,
            bounding_box,
            foreground_area_px: mask.values.iter().filter(|&&value| value > 0).count() as u64,
            confidence: segments.confidence(&self.background, &graph.area),
        };
        (mask, measures)
    }

    fn mask_path(&self, record: &Record) -> PathBuf {
        self.request.out.join("masks").join(record.output_name())
    }

    fn overlay_path(&self, record: &Record) -> PathBuf {
        self.request.out.join("overlays").join(record.output_name().with_extension("jpg"))
    }

    /// The prediction of an earlier run with the same checkpoint on the same bytes, if all its results are there.
    fn finished(&self, record: &Record, content_hash: &str) -> Option<Prediction> {
        let save = self.request.save;
        if self.request.overwrite || !save.masks || (save.overlays && !self.overlay_path(record).exists()) {
            return None;
        }
        let text = output::read_png_text(&self.mask_path(record), PROVENANCE_KEYWORD).ok()??;
        let provenance: Provenance = serde_json::from_str(&text).ok()?;
        let same = provenance.checkpoint == self.checkpoint_hash
            && provenance.prediction.content_hash.as_deref() == Some(content_hash);
        // The same image may have been moved within the collection.
        same.then(|| Prediction { path: portable(&record.relative), ..provenance.prediction })
    }

    /// Writes the overlay, then the mask: a finished mask means that everything is there.
    fn write(
        &self,
        record: &Record,
        image: &RgbImage,
        mask: &Mask,
        prediction: &Prediction,
    ) -> Result<(), PipelineError> {
        let encoding = |error: output::EncodeError| {
            PipelineError::InputOutput(format!("cannot draw {}: {error}", record.path.display()))
        };
        let write = |path: &Path, bytes: Vec<u8>| -> Result<(), OutputError> {
            write_atomically(path, |writer| writer.write_all(&bytes))
        };
        if self.request.save.overlays {
            let picture = output::overlay(image, mask, self.config.output.overlay_side_px);
            let bytes = output::encode_jpeg(&picture, OVERLAY_QUALITY).map_err(encoding)?;
            write(&self.overlay_path(record), bytes)?;
        }
        if self.request.save.masks {
            let provenance = Provenance { checkpoint: self.checkpoint_hash.clone(), prediction: prediction.clone() };
            let text = serde_json::to_string(&provenance).unwrap_or_default();
            let bytes = output::encode_indexed_png(mask, &[(PROVENANCE_KEYWORD, &text)]).map_err(encoding)?;
            write(&self.mask_path(record), bytes)?;
        }
        Ok(())
    }
}

fn skipped(relative: &Path, path: &Path, reason: String) -> Outcome {
    let prediction = Prediction {
        path: portable(relative),
        status: Status::Skipped,
        reason: Some(reason.clone()),
        content_hash: None,
        result: None,
    };
    Outcome { prediction, kind: Kind::Skipped(Skip { path: path.to_path_buf(), reason }) }
}

/// A relative path with `/` between its parts on every system.
fn portable(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
