//! A segmenting run, image by image.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::results::{self, Results, Segmented};
use super::{Measures, PredictRequest, PredictSummary, Prediction, Status, StepMilliseconds};
use crate::config::Settings;
use crate::dataset::{Collection, DatasetError, Record};
use crate::event::{Event, Observer, Phase};
use crate::graph::Graph;
use crate::nodes::{Layout, NodeFeatures};
use crate::output::JsonLines;
use crate::parallel::{Crew, Permit, Semaphore, parallel_map};
use crate::pipeline::backbone::Backbone;
use crate::pipeline::{PipelineError, Skip, images, no_images, portable};
use crate::raster::{Rectangle, RgbImage};
use crate::refine::Cells;
use crate::segment::Legend;
use crate::tensor::Device;

/// What a network says of an image.
pub struct Decision {
    /// Where the nodes lie, N of them.
    pub layout: Layout,
    /// The mask value of every node, `[N]`.
    pub values: Vec<u8>,
    /// How probable every node is background, or each of the objects, `[N, 1 + objects]` (see [`Legend::shares`]).
    pub shares: Vec<f32>,
    /// The probability of every node to be foreground, `[N]`.
    pub foreground: Vec<f32>,
    /// Clusters of the first stage in use.
    pub clusters: usize,
    /// Correlation clustering only: share of affinities that are not positive.
    pub negative_share: Option<f32>,
    pub final_loss: Option<f64>,
}

/// The work on one image: where its time goes, and its place among those who compute.
pub struct Timings<'a> {
    clock: Clock,
    semaphore: &'a Semaphore,
    permit: Option<Permit<'a>>,
}

/// A segmenting run.
pub struct Predictor<'a> {
    pub request: &'a PredictRequest,
    pub config: &'a Settings,
    pub backbone: &'a Backbone,
    pub labels: Legend,
    /// How the images are segmented, for people.
    pub description: String,
    /// Everything that a result follows from besides the image and the settings of refinement and output.
    pub origin: serde_json::Value,
}

impl Predictor<'_> {
    /// Segments every image of `collection`; `decide` goes from an image to mask values.
    ///
    /// Writes what [`super::SaveKinds`] says, `OUT/labels.json`, and, when all images are through,
    /// `OUT/predictions.jsonl`. A mask is written last and tells what it was made from, so a killed run goes on where it
    /// was.
    pub fn run(
        &self,
        collection: &Collection,
        crew: Crew,
        observer: &dyn Observer,
        decide: impl Fn(&RgbImage, &mut Timings) -> Result<Decision, PipelineError> + Sync,
    ) -> Result<PredictSummary, PipelineError> {
        let started = Instant::now();
        let results = Results::new(self.request, self.config, self.description.clone(), self.labels, &self.origin);
        let mut table = JsonLines::create(&self.request.out.join(results::TABLE))?;
        let mut collected = results.begin()?;
        let mut totals = Totals::default();
        observer.observe(Event::PhaseStarted { phase: Phase::Inference, total: None });
        // As many again read the next images and write the last ones.
        let semaphore = Semaphore::new(crew.workers);
        let process = |record| {
            if observer.interrupted() {
                return None;
            }
            self.process(record, &results, &semaphore, observer, &decide).transpose()
        };
        let own_results = self.own_results();
        let records = collection.records().filter(|record| {
            !record.as_ref().is_ok_and(|record| own_results.iter().any(|own| record.relative.starts_with(own)))
        });
        parallel_map(records, 2 * crew.workers + crew.waiting, process, |outcome| {
            let outcome = outcome.ok_or_else(|| {
                PipelineError::Interrupted("repeat the command to continue; finished masks are kept".into())
            })??;
            if let Kind::Skipped(skip) = &outcome.kind {
                observer.observe(Event::Skipped { path: skip.path.clone(), reason: skip.reason.clone() });
            }
            totals.add(&outcome);
            table.push(&outcome.prediction)?;
            collected.push(&outcome.prediction, &outcome.source)?;
            observer.observe(Event::PhaseProgress { phase: Phase::Inference, done: totals.images() });
            Ok::<(), PipelineError>(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Inference });
        if totals.images() == 0 {
            return Err(no_images(&self.request.data));
        }
        let seconds = started.elapsed().as_secs_f64();
        collected.finish()?;
        table.finish()?;
        Ok(totals.summary(self.request.out.clone(), seconds))
    }

    /// Where this run's pictures lie within the collection, if it writes into the folder it reads: they are no input.
    fn own_results(&self) -> Vec<PathBuf> {
        let (Ok(data), Ok(out)) = (self.request.data.canonicalize(), self.request.out.canonicalize()) else {
            return Vec::new();
        };
        let inside = out.strip_prefix(&data).map(Path::to_path_buf);
        inside.map_or_else(|_| Vec::new(), |out| results::PICTURES.map(|kind| out.join(kind)).to_vec())
    }

    /// The graph of an image, with the places of its nodes.
    pub fn graph(
        &self,
        image: &RgbImage,
        work: &mut Timings,
        build: fn(&NodeFeatures, &Settings, &Device) -> Graph,
        device: &Device,
    ) -> (Graph, Layout) {
        let nodes = self.backbone.extractor.extract(image);
        work.clock.lap(|spent| &mut spent.features);
        let graph = build(&nodes, self.config, device);
        work.clock.lap(|spent| &mut spent.graph);
        (graph, nodes.layout)
    }

    /// One image from file to results; none if the run is interrupted first. An unusable image is an outcome, an unwritable
    /// result an error.
    fn process(
        &self,
        record: Result<Record, DatasetError>,
        results: &Results,
        semaphore: &Semaphore,
        observer: &dyn Observer,
        decide: impl Fn(&RgbImage, &mut Timings) -> Result<Decision, PipelineError>,
    ) -> Result<Option<Outcome>, PipelineError> {
        let mut clock = Clock::start();
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let relative = error.path().strip_prefix(&self.request.data).unwrap_or(error.path());
                return Ok(Some(skipped(relative, error.path(), error.to_string())));
            }
        };
        let file = match images::read(&record.path, self.config) {
            Ok(file) => file,
            Err(reason) => return Ok(Some(skipped(&record.relative, &record.path, reason))),
        };
        let content_hash = file.hash.to_hex().to_string();
        if let Some(prediction) = results.finished(&record, &content_hash) {
            return Ok(Some(Outcome { source: record.path, prediction, kind: Kind::AlreadyDone }));
        }
        clock.lap(|spent| &mut spent.decode);
        let permit = semaphore.acquire();
        if observer.interrupted() {
            return Ok(None);
        }
        clock.resume();
        let image = match images::decode(&file, self.config) {
            Ok(image) => image,
            Err(reason) => return Ok(Some(skipped(&record.relative, &record.path, reason))),
        };
        clock.lap(|spent| &mut spent.decode);
        let mut work = Timings { clock, semaphore, permit: Some(permit) };
        let decision = decide(&image, &mut work)?;
        let Timings { mut clock, permit, .. } = work;
        clock.lap(|spent| &mut spent.network);
        let (picture, measures) = self.refine(&image, decision);
        clock.lap(|spent| &mut spent.refine);
        let prediction = Prediction {
            path: portable(&record.relative),
            status: Status::Done,
            reason: None,
            content_hash: Some(content_hash),
            result: Some(measures),
        };
        let drawn = results.draw(&record, &image, &picture, &prediction)?;
        drop(permit);
        results.write(&record, &drawn)?;
        clock.lap(|spent| &mut spent.write);
        Ok(Some(Outcome { source: record.path, prediction, kind: Kind::Segmented(clock.spent) }))
    }

    /// From the values of nodes to a mask and its objects.
    fn refine(&self, image: &RgbImage, decision: Decision) -> (Segmented, Measures) {
        let Decision { layout, values, shares, foreground, clusters, negative_share, final_loss } = decision;
        let objects = &self.config.objects;
        let object_of = |value| self.labels.object_of(value);
        let cells = layout.paint(&values);
        let mask = match layout {
            Layout::Grid { .. } => {
                let cells = Cells { values: &cells, shares: &shares };
                self.config.refine.upscale.apply(&cells, object_of, image.width, image.height)
            }
            Layout::Superpixels { .. } => cells.resized_nearest(image.width, image.height),
        };
        let mut mask = self.config.refine.apply(image, mask, |value| object_of(value) > 0);
        let foreground = layout.paint(&foreground);
        let confidence = objects.decide(&mut mask, &foreground, object_of);
        let lists_objects = objects.instances || self.request.save.annotations();
        let listed =
            lists_objects.then(|| objects.list(&mask, &foreground, object_of).into_iter().map(Into::into).collect());
        let bounding_box = Rectangle::bounding(&mask, |value| object_of(value) > 0)
            .map(|found| [found.x, found.y, found.width, found.height]);
        let measures = Measures {
            width: image.width,
            height: image.height,
            bounding_box,
            foreground_area_px: mask.values.iter().filter(|&&value| object_of(value) > 0).count() as u64,
            confidence,
            clusters,
            negative_share,
            final_loss,
            objects: listed,
        };
        (Segmented { mask, foreground }, measures)
    }
}

impl Timings<'_> {
    /// Waits for a device; others compute meanwhile. The time counts as that of the features.
    pub fn wait<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        self.permit = None;
        let found = wait();
        self.clock.lap(|spent| &mut spent.features);
        self.permit = Some(self.semaphore.acquire());
        self.clock.resume();
        found
    }
}

struct Outcome {
    /// The image's file.
    source: PathBuf,
    prediction: Prediction,
    kind: Kind,
}

enum Kind {
    Segmented(StepMilliseconds),
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
    let source = path.to_path_buf();
    Outcome { source: source.clone(), prediction, kind: Kind::Skipped(Skip { path: source, reason }) }
}

/// Measures the steps of one image.
struct Clock {
    last: Instant,
    spent: StepMilliseconds,
}

impl Clock {
    fn start() -> Clock {
        Clock { last: Instant::now(), spent: StepMilliseconds::default() }
    }

    /// Leaves out the time since the last lap.
    fn resume(&mut self) {
        self.last = Instant::now();
    }

    /// Adds the time since the last lap to `step`.
    fn lap(&mut self, step: impl FnOnce(&mut StepMilliseconds) -> &mut f64) {
        let now = Instant::now();
        *step(&mut self.spent) += 1e3 * (now - self.last).as_secs_f64();
        self.last = now;
    }
}

/// What a run has done so far.
#[derive(Default)]
struct Totals {
    segmented: u64,
    already_done: u64,
    skipped: u64,
    without_object: u64,
    clusters: u64,
    negative_share: f64,
    /// Images whose affinities can be negative.
    signed: u64,
    spent: StepMilliseconds,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        match &outcome.kind {
            Kind::Segmented(spent) => {
                self.segmented += 1;
                let total = &mut self.spent;
                total.decode += spent.decode;
                total.features += spent.features;
                total.graph += spent.graph;
                total.network += spent.network;
                total.refine += spent.refine;
                total.write += spent.write;
            }
            Kind::AlreadyDone => self.already_done += 1,
            Kind::Skipped(_) => self.skipped += 1,
        }
        if let Some(measures) = &outcome.prediction.result {
            self.without_object += u64::from(measures.bounding_box.is_none());
            self.clusters += measures.clusters as u64;
            if let Some(share) = measures.negative_share {
                self.negative_share += f64::from(share);
                self.signed += 1;
            }
        }
    }

    fn images(&self) -> u64 {
        self.segmented + self.already_done + self.skipped
    }

    fn summary(&self, out: PathBuf, seconds: f64) -> PredictSummary {
        let mean = |total: f64, count: u64| (count > 0).then(|| total / count as f64);
        let step = |total: f64| total / self.segmented.max(1) as f64;
        let spent = &self.spent;
        PredictSummary {
            out,
            segmented: self.segmented,
            already_done: self.already_done,
            skipped: self.skipped,
            without_object: self.without_object,
            mean_clusters: mean(self.clusters as f64, self.segmented + self.already_done),
            mean_negative_share: mean(self.negative_share, self.signed),
            seconds,
            mean_milliseconds: (self.segmented > 0).then(|| StepMilliseconds {
                decode: step(spent.decode),
                features: step(spent.features),
                graph: step(spent.graph),
                network: step(spent.network),
                refine: step(spent.refine),
                write: step(spent.write),
            }),
        }
    }
}
