//! What every segmenting run does around its network: read images in order, segment them, write results atomically,
//! pass over what is done.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::backbone::Backbone;
use super::ordered::for_each_ordered;
use super::{PipelineError, Skip, images};
use crate::config::RunConfig;
use crate::dataset::{Collection, DatasetError, Record};
use crate::event::{Event, Observer, Stage};
use crate::features::Layout;
use crate::graph::Graph;
use crate::output::{self, JsonLines, OutputError, write_atomically};
use crate::raster::{Mask, Rectangle, RgbImage};
use crate::segment::Segments;
use crate::tensor::Device;

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

/// Which pictures are written besides the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveKinds {
    pub masks: bool,
    pub overlays: bool,
}

/// What a segmenting run did.
#[derive(Debug, Clone, Serialize)]
pub struct PredictSummary {
    #[serde(serialize_with = "super::lossy_path")]
    pub out: PathBuf,
    /// Images segmented in this run.
    pub segmented: u64,
    /// Images whose results were there already, made from the same bytes in the same way.
    pub already_done: u64,
    pub skipped: u64,
    /// Mean number of clusters in use in an image, over all images with results.
    pub mean_clusters: Option<f64>,
    /// Correlation clustering only: mean share of affinities that are not positive.
    pub mean_negative_share: Option<f64>,
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
    /// Clusters in use, background included.
    pub clusters: usize,
    /// Correlation clustering only: share of affinities that are not positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_share: Option<f32>,
    /// Per-image mode only: the loss before the last step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_loss: Option<f64>,
}

/// The clusters of an image, and which of them are background.
pub(super) struct Decision {
    pub segments: Segments,
    pub background: Vec<bool>,
    pub final_loss: Option<f64>,
}

/// The text chunk that a finished mask carries: it proves from what and in which way the mask was made.
#[derive(Serialize, Deserialize)]
struct Provenance {
    origin: String,
    prediction: Prediction,
}

const MASKS: &str = "masks";
const OVERLAYS: &str = "overlays";
const PROVENANCE_KEYWORD: &str = "deepcut";
const OVERLAY_QUALITY: u8 = 90;

/// A segmenting run; `decide` is what differs between them.
pub(super) struct Predictor<'a, F> {
    pub request: &'a PredictRequest,
    pub config: &'a RunConfig,
    pub backbone: &'a Backbone,
    pub device: &'a Device,
    /// Identifies everything that a result follows from besides the image.
    pub origin: blake3::Hash,
    /// From a graph and the places of its nodes to clusters and background.
    pub decide: F,
}

impl<F: Fn(&Graph, &Layout) -> Decision + Sync> Predictor<'_, F> {
    /// Segments every image of `collection`.
    ///
    /// Writes `OUT/masks/`, `OUT/overlays/` and, when all images are through, `OUT/predictions.jsonl`. A mask is
    /// written last and tells what it was made from, so a killed run goes on where it was.
    pub fn run(
        &self,
        collection: &Collection,
        pool: &rayon::ThreadPool,
        observer: &dyn Observer,
    ) -> Result<PredictSummary, PipelineError> {
        let started = std::time::Instant::now();
        let out = &self.request.out;
        let mut table = JsonLines::create(&out.join("predictions.jsonl"))?;
        let mut summary = PredictSummary {
            out: out.clone(),
            segmented: 0,
            already_done: 0,
            skipped: 0,
            mean_clusters: None,
            mean_negative_share: None,
            seconds: 0.0,
        };
        let (mut clusters, mut negative_share) = (Mean::default(), Mean::default());
        observer.observe(Event::StageStarted { stage: Stage::Inference, total: None });
        let mut done = 0;
        let process = |record| (!observer.interrupted()).then(|| self.process(record));
        let own_results = self.own_results();
        let records = collection.records().filter(|record| {
            !record.as_ref().is_ok_and(|record| own_results.iter().any(|own| record.relative.starts_with(own)))
        });
        for_each_ordered(records, pool, process, |outcome| {
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
            if let Some(measures) = &outcome.prediction.result {
                clusters.add(measures.clusters as f64);
                measures.negative_share.iter().for_each(|&share| negative_share.add(f64::from(share)));
            }
            table.push(&outcome.prediction)?;
            done += 1;
            observer.observe(Event::StageProgress { stage: Stage::Inference, done });
            Ok::<(), PipelineError>(())
        })?;
        observer.observe(Event::StageFinished { stage: Stage::Inference });
        if done == 0 {
            return Err(super::no_images(&self.request.data));
        }
        table.finish()?;
        summary.mean_clusters = clusters.value();
        summary.mean_negative_share = negative_share.value();
        summary.seconds = started.elapsed().as_secs_f64();
        Ok(summary)
    }

    /// Where this run's pictures lie within the collection, if it writes into the folder it reads: they are no input.
    fn own_results(&self) -> Vec<PathBuf> {
        let (Ok(data), Ok(out)) = (self.request.data.canonicalize(), self.request.out.canonicalize()) else {
            return Vec::new();
        };
        let inside = out.strip_prefix(&data).map(Path::to_path_buf);
        inside.map_or_else(|_| Vec::new(), |out| [MASKS, OVERLAYS].map(|kind| out.join(kind)).to_vec())
    }

    /// One image from file to results. An unusable image is an outcome, an unwritable result an error.
    fn process(&self, record: Result<Record, DatasetError>) -> Result<Outcome, PipelineError> {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let relative = error.path().strip_prefix(&self.request.data).unwrap_or(error.path());
                return Ok(skipped(relative, error.path(), error.to_string()));
            }
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
        let Decision { segments, background, final_loss } = (self.decide)(&graph, &nodes.layout);
        let mask = nodes.layout.paint(&segments.mask_values(&background)).resized_nearest(image.width, image.height);
        let mask = self.config.refine.apply(image, mask);
        let bounding_box =
            Rectangle::bounding(&mask, |value| value > 0).map(|found| [found.x, found.y, found.width, found.height]);
        let measures = Measures {
            width: image.width,
            height: image.height,
            bounding_box,
            foreground_area_px: mask.values.iter().filter(|&&value| value > 0).count() as u64,
            confidence: segments.confidence(&background, &graph.area),
            clusters: segments.clusters_in_use(),
            negative_share: graph.negative_share,
            final_loss,
        };
        (mask, measures)
    }

    /// The origin of all results of an image: overlays depend on more than masks.
    fn full_origin(&self) -> String {
        let overlays = self.request.save.overlays.then_some(&self.config.output);
        let origin = serde_json::json!([self.origin.to_hex().as_str(), overlays]);
        blake3::hash(origin.to_string().as_bytes()).to_hex().to_string()
    }

    fn mask_path(&self, record: &Record) -> PathBuf {
        self.request.out.join(MASKS).join(record.output_name())
    }

    fn overlay_path(&self, record: &Record) -> PathBuf {
        self.request.out.join(OVERLAYS).join(record.output_name().with_extension("jpg"))
    }

    /// The prediction of an earlier run of the same origin on the same bytes, if all its results are there.
    fn finished(&self, record: &Record, content_hash: &str) -> Option<Prediction> {
        let save = self.request.save;
        if self.request.overwrite || !save.masks || (save.overlays && !self.overlay_path(record).exists()) {
            return None;
        }
        let text = output::read_png_text(&self.mask_path(record), PROVENANCE_KEYWORD).ok()??;
        let provenance: Provenance = serde_json::from_str(&text).ok()?;
        let same = provenance.origin == self.full_origin()
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
            let provenance = Provenance { origin: self.full_origin(), prediction: prediction.clone() };
            let text = serde_json::to_string(&provenance).unwrap_or_default();
            let bytes = output::encode_indexed_png(mask, &[(PROVENANCE_KEYWORD, &text)]).map_err(encoding)?;
            write(&self.mask_path(record), bytes)?;
        }
        Ok(())
    }
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

/// A mean of values that come one by one.
#[derive(Default)]
struct Mean {
    total: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.total += value;
        self.count += 1;
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.total / self.count as f64)
    }
}
