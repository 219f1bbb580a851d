//! `train`: a collection → one checkpoint.

use std::path::{Path, PathBuf};

use rand::Rng;
use serde::Serialize;

use super::backbone::{self, Backbone};
use super::device::DeviceChoice;
use super::ordered::for_each_ordered;
use super::{PipelineError, Skip, images, no_images, read_checkpoint, thread_pool};
use crate::config::{ObjectiveKind, RunConfig};
use crate::dataset::{self, Record};
use crate::event::{Event, Observer, Stage};
use crate::features::cache::{Cache, CacheConfig};
use crate::graph::Graph;
use crate::model::NetworkConfig;
use crate::model::checkpoint::{Checkpoint, CheckpointHeader, CurvePoint};
use crate::numerics::random;
use crate::output::{JsonLog, write_atomically};
use crate::refine::BorderStatistics;
use crate::segment::Segmenter;
use crate::tensor::Device;
use crate::train::{self, GraphSource, LoadError, ResumeState, Setup, TrainError, TrainOutcome};

/// What to train on and where to put the result.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// A folder, a list of images, or one image.
    pub data: PathBuf,
    /// Where the checkpoint goes; default `checkpoints/<name of data>`.
    pub out: Option<PathBuf>,
    pub weights: Option<PathBuf>,
    pub device: DeviceChoice,
    /// 0 means one per processor.
    pub threads: usize,
    /// Continue an interrupted run.
    pub resume: bool,
}

/// What a training run did.
#[derive(Debug, Clone, Serialize)]
pub struct TrainSummary {
    #[serde(serialize_with = "super::lossy_path")]
    pub checkpoint: PathBuf,
    pub images: usize,
    pub skipped: Vec<Skip>,
    pub epochs: usize,
    pub best_epoch: usize,
    pub held_out_loss: f64,
    pub collapsed: bool,
    /// Whether the checkpoint was there already and nothing was trained.
    pub already_finished: bool,
}

/// One usable image of the collection.
struct TrainingImage {
    path: PathBuf,
    hash: blake3::Hash,
}

/// The collection as graphs: from the cache, or computed anew where it was full.
struct CachedGraphs<'a> {
    images: Vec<TrainingImage>,
    cache: Cache,
    config: &'a RunConfig,
    backbone: &'a Backbone,
    device: &'a Device,
}

/// Trains one network on a collection and writes `OUT/best.safetensors`.
///
/// Beside it lie `train.jsonl` (the log), `cache/` (features) and, until the run is finished, `resume.safetensors`.
pub fn train(
    mut config: RunConfig,
    request: &TrainRequest,
    observer: &dyn Observer,
) -> Result<TrainSummary, PipelineError> {
    let collection = dataset::open(&request.data)?;
    let (device, device_name) = request.device.resolve()?;
    let backbone = backbone::open(&mut config, request.weights.as_deref(), None, &device)?;
    let pool = thread_pool(request.threads)?;
    let out = request.out.clone().unwrap_or_else(|| Path::new("checkpoints").join(collection.name()));
    let (records, mut skipped) = sample(collection.records(), &config, observer);
    if records.is_empty() && skipped.is_empty() {
        return Err(no_images(&request.data));
    }
    observer.observe(Event::Plan(format!(
        "training on {} images of {}: {}, device {device_name}, objective {}, {} clusters, {} epochs",
        records.len(),
        request.data.display(),
        backbone.description_with_hint(),
        config.objective.kind.name(),
        config.clusters(),
        config.train.epochs,
    )));

    let folder_error = |error: std::io::Error| {
        PipelineError::InputOutput(format!("cannot use the output folder {}: {error}", out.display()))
    };
    std::fs::create_dir_all(&out).map_err(folder_error)?;
    let mut log = JsonLog::open(&out.join("train.jsonl"))?;
    let cache = Cache::open(&out.join("cache"), &images::graph_settings(&config, &backbone), &config.cache)
        .map_err(folder_error)?;
    let mut source = CachedGraphs { images: Vec::new(), cache, config: &config, backbone: &backbone, device: &device };
    source.prepare(records, &mut skipped, &pool, observer)?;
    for skip in &skipped {
        log.append(
            &serde_json::json!({"event": "skipped", "path": skip.path.to_string_lossy(), "reason": skip.reason}),
        )?;
    }
    if source.images.is_empty() {
        return Err(PipelineError::Untrusted(format!(
            "none of the {} images of {} can be used; the first: {}: {}",
            skipped.len(),
            request.data.display(),
            skipped[0].path.display(),
            skipped[0].reason
        )));
    }

    let paths = RunPaths { checkpoint: out.join("best.safetensors"), resume: out.join("resume.safetensors") };
    let mut collection_hash = blake3::Hasher::new();
    source.images.iter().for_each(|image| {
        collection_hash.update(image.hash.as_bytes());
    });
    let collection_hash = collection_hash.finalize().to_hex().to_string();
    let stored_config = stored_config(&config);
    let fingerprint = fingerprint(&stored_config, &backbone, &collection_hash);
    let network = NetworkConfig {
        input: backbone.extractor.width(),
        hidden: config.model.hidden,
        clusters: config.clusters(),
        dropout: config.model.dropout,
    };
    let setup = Setup {
        source: &source,
        network: network.clone(),
        objective: config.objective(),
        config: &config.train,
        device: &device,
        fingerprint: fingerprint.clone(),
    };
    let resume = match request.resume {
        true => match paths.resumable(&setup, &stored_config, &collection_hash, &backbone, observer)? {
            Resumable::Finished(checkpoint) => {
                observer.observe(Event::Note("this training was finished before; nothing is left to do".into()));
                return Ok(summary(&paths, &source, skipped, &checkpoint.header, true));
            }
            Resumable::From(state) => Some(*state),
            Resumable::Nothing => None,
        },
        false => None,
    };

    log.append(&serde_json::json!({
        "event": "start",
        "fingerprint": fingerprint,
        "images": source.images.len(),
        "finished_epochs": resume.as_ref().map_or(0, |state| state.curve.len()),
    }))?;
    let resume_path = paths.resume.clone();
    let mut save = |state: &ResumeState| -> Result<(), LoadError> {
        let bytes = state.to_bytes(&network)?;
        write_atomically(&resume_path, |writer| writer.write_all(&bytes))?;
        let point = state.curve.last().copied();
        log.append(&serde_json::json!({"event": "epoch", "epoch": state.curve.len(), "losses": point}))?;
        Ok(())
    };
    let outcome = pool.install(|| train::train(&setup, resume, &mut save, observer)).map_err(|error| match error {
        TrainError::Save(_) | TrainError::Load(_) => PipelineError::InputOutput(error.to_string()),
        TrainError::Empty | TrainError::Diverged(..) => PipelineError::Untrusted(error.to_string()),
    })?;
    let TrainOutcome::Finished(trained) = outcome else { return Err(interrupted()) };
    if trained.collapsed {
        let remedy = match config.objective.kind {
            ObjectiveKind::Ncut => "a higher objective.balance",
            ObjectiveKind::Cc => "a smaller graph.alpha",
        };
        observer.observe(Event::Warning(format!(
            "the network collapsed: nearly all nodes lie in one cluster; try more --epochs, another --seed, or {remedy}"
        )));
    }

    let segmenter = Segmenter::new(trained.network.clone(), device.clone());
    let statistics = source.border_statistics(&segmenter, network.clusters, &pool, observer)?;
    let header = CheckpointHeader {
        config: stored_config,
        backbone: backbone.name.to_string(),
        backbone_hash: backbone.hash.clone(),
        network,
        seed: config.train.seed,
        images: source.images.len(),
        collection_hash,
        background: statistics.background(),
        border_shares: statistics.border_shares(),
        area_shares: statistics.area_shares(),
        best_epoch: trained.best_epoch,
        collapsed: trained.collapsed,
        curve: trained.curve,
    };
    let checkpoint = Checkpoint::new(header, &trained.network);
    let bytes = checkpoint.to_bytes().map_err(|error| PipelineError::Untrusted(error.to_string()))?;
    write_atomically(&paths.checkpoint, |writer| writer.write_all(&bytes))?;
    // Only now: killed before this line, the run resumes at its last epoch and writes the same checkpoint again.
    match std::fs::remove_file(&paths.resume) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(folder_error(error)),
        _ => Ok(summary(&paths, &source, skipped, &checkpoint.header, false)),
    }
}

impl CachedGraphs<'_> {
    /// Makes sure that every usable image has its graph in the cache, as far as there is room.
    fn prepare(
        &mut self,
        records: Vec<Record>,
        skipped: &mut Vec<Skip>,
        pool: &rayon::ThreadPool,
        observer: &dyn Observer,
    ) -> Result<(), PipelineError> {
        let total = records.len() as u64;
        observer.observe(Event::StageStarted { stage: Stage::Features, total: Some(total) });
        let prepare_one = |record: Record| {
            let prepared = (!observer.interrupted()).then(|| self.prepare_one(&record.path));
            (record.path, prepared)
        };
        let (mut usable, mut not_stored, mut done) = (Vec::new(), 0u64, 0u64);
        for_each_ordered(records.into_iter(), pool, prepare_one, |(path, prepared)| {
            match prepared.ok_or_else(interrupted)? {
                Ok(Prepared { hash, stored }) => {
                    not_stored += u64::from(!stored);
                    usable.push(TrainingImage { path, hash });
                }
                Err(PrepareError::Image(reason)) => {
                    observer.observe(Event::Skipped { path: path.clone(), reason: reason.clone() });
                    skipped.push(Skip { path, reason });
                }
                Err(PrepareError::Cache(error)) => {
                    return Err(PipelineError::InputOutput(format!("cannot write the feature cache: {error}")));
                }
            }
            done += 1;
            observer.observe(Event::StageProgress { stage: Stage::Features, done });
            Ok(())
        })?;
        observer.observe(Event::StageFinished { stage: Stage::Features });
        self.images = usable;
        if not_stored > 0 {
            observer.observe(Event::Warning(format!(
                "the features of {not_stored} of {total} images did not fit in the cache and are computed anew in every epoch; raise cache.limit_mebibytes (now {}) or lower data.max_images",
                self.config.cache.limit_mebibytes
            )));
        }
        Ok(())
    }

    fn prepare_one(&self, path: &Path) -> Result<Prepared, PrepareError> {
        let file = images::read(path, self.config).map_err(PrepareError::Image)?;
        if self.cache.get(&file.hash).is_some() {
            return Ok(Prepared { hash: file.hash, stored: true });
        }
        let graph = self.compute(&file).map_err(PrepareError::Image)?;
        let stored = self.cache.put(&file.hash, &graph.to_bytes()).map_err(PrepareError::Cache)?;
        Ok(Prepared { hash: file.hash, stored })
    }

    fn compute(&self, file: &images::ImageFile) -> Result<Graph, String> {
        let image = images::decode(file, self.config)?;
        Ok(images::graph(&self.backbone.extractor.extract(&image), self.config, self.device))
    }

    /// Where the clusters of the whole collection lie.
    fn border_statistics(
        &self,
        segmenter: &Segmenter,
        clusters: usize,
        pool: &rayon::ThreadPool,
        observer: &dyn Observer,
    ) -> Result<BorderStatistics, PipelineError> {
        observer.observe(Event::StageStarted { stage: Stage::Background, total: Some(self.len() as u64) });
        let mut statistics = BorderStatistics::new(clusters);
        let mut done = 0;
        let segment = |index| -> Result<_, PipelineError> {
            if observer.interrupted() {
                return Err(interrupted());
            }
            let graph = self.load(index).map_err(|error| PipelineError::InputOutput(error.to_string()))?;
            Ok((segmenter.segment(&graph).clusters, graph.border, graph.area))
        };
        for_each_ordered(0..self.len(), pool, segment, |segmented| {
            let (clusters, border, area) = segmented?;
            statistics.add(&clusters, &border, &area);
            done += 1;
            observer.observe(Event::StageProgress { stage: Stage::Background, done });
            Ok::<(), PipelineError>(())
        })?;
        observer.observe(Event::StageFinished { stage: Stage::Background });
        Ok(statistics)
    }
}

impl GraphSource for CachedGraphs<'_> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn load(&self, index: usize) -> Result<Graph, LoadError> {
        let image = &self.images[index];
        if let Some(graph) = self.cache.get(&image.hash).and_then(|bytes| Graph::from_bytes(&bytes).ok()) {
            return Ok(graph);
        }
        let context = |reason: String| format!("{}: {reason}", image.path.display());
        let file = images::read(&image.path, self.config).map_err(context)?;
        if file.hash != image.hash {
            return Err(context("the file changed during the run; start again".into()).into());
        }
        Ok(self.compute(&file).map_err(context)?)
    }
}

struct Prepared {
    hash: blake3::Hash,
    /// Whether the graph is in the cache now.
    stored: bool,
}

enum PrepareError {
    /// The image is left out for this reason.
    Image(String),
    /// The cache cannot be written.
    Cache(std::io::Error),
}

/// The records to train on, in order: all of them, or a random sample of fixed size (reservoir sampling, so that a
/// collection of any size is read as a stream).
fn sample(
    records: impl Iterator<Item = Result<Record, dataset::DatasetError>>,
    config: &RunConfig,
    observer: &dyn Observer,
) -> (Vec<Record>, Vec<Skip>) {
    let limit = config.data.max_images;
    let mut generator = random::stream(config.train.seed, "sample", 0);
    let (mut kept, mut skipped, mut seen) = (Vec::new(), Vec::new(), 0usize);
    for record in records {
        match record {
            Ok(record) => {
                seen += 1;
                if limit == 0 || kept.len() < limit {
                    kept.push((seen, record));
                } else {
                    let place = generator.random_range(0..seen as u64) as usize;
                    if place < limit {
                        kept[place] = (seen, record);
                    }
                }
            }
            Err(error) => {
                let skip = Skip { path: error.path().to_path_buf(), reason: error.to_string() };
                observer.observe(Event::Skipped { path: skip.path.clone(), reason: skip.reason.clone() });
                skipped.push(skip);
            }
        }
    }
    if seen > kept.len() {
        observer.observe(Event::Note(format!(
            "training on a random {} of {seen} images; data.max_images changes that",
            kept.len()
        )));
    }
    kept.sort_unstable_by_key(|(position, _)| *position);
    (kept.into_iter().map(|(_, record)| record).collect(), skipped)
}

/// The configuration as a checkpoint keeps it: without what cannot change the result.
fn stored_config(config: &RunConfig) -> serde_json::Value {
    let kept = RunConfig { cache: CacheConfig::default(), ..config.clone() };
    serde_json::to_value(kept).unwrap_or_default()
}

/// Identifies a run: two runs with the same fingerprint give the same checkpoint.
fn fingerprint(stored_config: &serde_json::Value, backbone: &Backbone, collection_hash: &str) -> String {
    let identity = serde_json::json!([env!("CARGO_PKG_VERSION"), stored_config, backbone.hash, collection_hash]);
    blake3::hash(identity.to_string().as_bytes()).to_hex().to_string()
}

struct RunPaths {
    checkpoint: PathBuf,
    resume: PathBuf,
}

enum Resumable {
    Nothing,
    From(Box<ResumeState>),
    Finished(Box<Checkpoint>),
}

impl RunPaths {
    /// What an earlier run left behind that this one can continue.
    fn resumable(
        &self,
        setup: &Setup,
        stored_config: &serde_json::Value,
        collection_hash: &str,
        backbone: &Backbone,
        observer: &dyn Observer,
    ) -> Result<Resumable, PipelineError> {
        if self.resume.exists() {
            let bytes = std::fs::read(&self.resume).map_err(|error| {
                PipelineError::InputOutput(format!("cannot read {}: {error}", self.resume.display()))
            })?;
            let state = ResumeState::from_bytes(&bytes, &setup.network);
            return match state {
                Ok(state) if state.fingerprint == setup.fingerprint => {
                    let epochs = state.curve.len();
                    observer.observe(Event::Note(format!("resuming after epoch {epochs}")));
                    Ok(Resumable::From(Box::new(state)))
                }
                Ok(_) | Err(crate::train::ResumeError::Tensor(_)) => Err(PipelineError::Usage(format!(
                    "{} is from a run with other settings or other images; repeat that run's command, or leave out --resume to start anew",
                    self.resume.display()
                ))),
                Err(error) => Err(PipelineError::Untrusted(format!(
                    "{} cannot be used: {error}; leave out --resume to start anew",
                    self.resume.display()
                ))),
            };
        }
        if self.checkpoint.exists() {
            let (checkpoint, _) = read_checkpoint(&self.checkpoint)?;
            let header = &checkpoint.header;
            if header.config == *stored_config
                && header.collection_hash == collection_hash
                && header.backbone_hash == backbone.hash
            {
                return Ok(Resumable::Finished(Box::new(checkpoint)));
            }
        }
        observer.observe(Event::Note("there is nothing to resume; starting from the first epoch".into()));
        Ok(Resumable::Nothing)
    }
}

fn summary(
    paths: &RunPaths,
    source: &CachedGraphs,
    skipped: Vec<Skip>,
    header: &CheckpointHeader,
    already_finished: bool,
) -> TrainSummary {
    let best = header.best_epoch.checked_sub(1).and_then(|index| header.curve.get(index));
    TrainSummary {
        checkpoint: paths.checkpoint.clone(),
        images: source.images.len(),
        skipped,
        epochs: header.curve.len(),
        best_epoch: header.best_epoch,
        held_out_loss: best.map_or(f64::NAN, |point: &CurvePoint| point.held_out_loss),
        collapsed: header.collapsed,
        already_finished,
    }
}

fn interrupted() -> PipelineError {
    PipelineError::Interrupted("repeat the command with --resume to continue".into())
}
