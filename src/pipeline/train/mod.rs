//! `train`: a collection → one checkpoint.

mod graphs;
mod journal;
mod sample;

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn_dataset::{Dataset, InMemDataset};
use serde::Serialize;

use super::images::{ImageLoop, Outcome};
use super::{PipelineError, Run, SkippedFile, no_images, stored_config, tell_of_own_results};
use crate::config::{Purpose, Resolved, Settings};
use crate::dataset;
use crate::event::{Event, Observer, Plan, counted};
use crate::features::Backbone;
use crate::method::recipe::{Journal, Recipe};
use crate::method::{Machine, MethodError, Model, installed_weights, open_backbone, read_checkpoint};
use crate::model::checkpoint::{Checkpoint, CheckpointHeader, TrainedStage};
use crate::model::{Diagnostics, Verdict};
use crate::names;
use crate::output::{Cache, Claim, JsonLog, OutputFolder};
use crate::parallel::{thread_pool, workers};
use crate::pixels::ImageItem;
use crate::tensor::{self, Device};
use graphs::{CachedGraphs, Graphs, TrainingImage};
use journal::{FolderJournal, NoJournal};

/// What to train on and where to put the result.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// A folder, a list of images, or one image.
    pub data: PathBuf,
    /// Where the checkpoint goes; default `checkpoints/<name of data>`.
    pub out: Option<PathBuf>,
    pub weights: Option<PathBuf>,
    pub machine: Machine,
    /// Continue an interrupted run.
    pub resume: bool,
    /// How long to wait for another run that writes to the same folder; none waits until it has finished.
    pub wait: Option<Duration>,
}

/// What a training run did.
#[derive(Debug, Clone, Serialize)]
pub struct TrainSummary {
    #[serde(serialize_with = "super::path_as_text")]
    pub checkpoint: PathBuf,
    pub skipped: Vec<SkippedFile>,
    /// The network that tells objects and background apart.
    #[serde(flatten)]
    pub objects: StageSummary,
    /// The network that taught that one, where there was such a round.
    pub teacher: Option<StageSummary>,
    /// The networks of the second stage, where there are any.
    pub parts: Option<StageSummary>,
    pub background_parts: Option<StageSummary>,
    /// What was measured while training.
    pub diagnostics: Option<Diagnostics>,
    /// Whether to trust the network by that, and why.
    pub verdict: Option<Verdict>,
    /// Whether the checkpoint was there already and nothing was trained.
    pub already_finished: bool,
}

/// How the training of one network went.
#[derive(Debug, Clone, Serialize)]
pub struct StageSummary {
    pub images: usize,
    pub epochs: usize,
    pub best_epoch: usize,
    pub held_out_loss: f64,
    pub collapsed: bool,
}

/// What a run trains with, once everything is opened.
struct Training<'a> {
    resolved: Resolved,
    backbone: Backbone,
    device: Device,
    workers: usize,
    pool: rayon::ThreadPool,
    observer: &'a dyn Observer,
}

/// The usable images of a collection, and what identifies the run on them.
struct Prepared {
    images: Vec<TrainingImage>,
    collection_hash: String,
    fingerprint: String,
}

const CHECKPOINT: &str = "best.safetensors";
const LOG: &str = "train.jsonl";
const CACHE: &str = "cache";

/// The names that a run writes.
fn claims() -> Vec<Claim> {
    let is_whole: fn(&Path) -> bool = |path| read_checkpoint(path).is_ok();
    let checkpoint = Claim { is_whole: Some(is_whole), ..Claim::file(CHECKPOINT) };
    [checkpoint, Claim::working(LOG), Claim::folder(CACHE)].into_iter().chain(journal::claims()).collect()
}

/// Trains one network on a collection, and those of its parts where they are asked for, and writes
/// `OUT/best.safetensors`.
///
/// Beside it lie `train.jsonl` (the log), `cache/` (features) and, until the run is finished, the states to resume from.
pub fn train(
    settings: Settings,
    request: &TrainRequest,
    observer: &dyn Observer,
) -> Result<TrainSummary, PipelineError> {
    let collection = dataset::open(&request.data)?;
    let training = Training::open(settings, request.weights.as_deref(), &request.machine, observer)?;
    let settings = training.resolved.settings();
    let out = request.out.clone().unwrap_or_else(|| Path::new("checkpoints").join(collection.name()));
    let (records, mut skipped) =
        sample::records(collection.records(), settings.data.max_images, settings.train.seed, observer);
    if records.is_empty() && skipped.is_empty() {
        return Err(no_images(&request.data));
    }
    tell_of_own_results(&collection, observer)?;
    training.announce(records.len(), &request.data.display().to_string());

    let failed = |source| PipelineError::OutputFolder { path: out.clone(), source };
    let folder = OutputFolder::open(&out, "train", &claims(), request.wait, observer)?;
    folder.create_folder(&out.join(CACHE))?;
    let mut log = JsonLog::open(&out.join(LOG))?;
    let graphs = training.graphs();
    let cache = Cache::open(&out.join(CACHE), &graphs.settings(), &settings.cache).map_err(failed)?;
    let records = InMemDataset::new(records);
    let (prepared, left_out) = training.prepare(&records, (0..records.len()).collect(), &cache, &graphs)?;
    skipped.extend(left_out);
    for skip in &skipped {
        let path = names::text(skip.path.as_os_str());
        log.append(&serde_json::json!({"event": "skipped", "path": path, "reason": skip.reason}))?;
    }
    if prepared.images.is_empty() {
        return Err(PipelineError::NoUsableImage { data: request.data.clone(), skipped });
    }

    let checkpoint_path = out.join(CHECKPOINT);
    if !request.resume {
        journal::remove_states(&folder)?;
    } else if !journal::is_resumable(&folder) {
        if let Some(header) = training.finished_before(&checkpoint_path, &prepared)? {
            observer.observe(Event::Note("this training was finished before; nothing is left to do".into()));
            return Ok(TrainSummary::new(checkpoint_path, skipped, &header, true));
        }
        // Those of a second stage may be left of another run.
        journal::remove_states(&folder)?;
        observer.observe(Event::Note("there is nothing to resume; starting from the first epoch".into()));
    }
    let mut journal = FolderJournal { out: &folder, resume: request.resume, log };
    let checkpoint = training.learn(&records, prepared, &cache, &graphs, &mut journal)?;
    let bytes = checkpoint.to_bytes().map_err(MethodError::Unkept)?;
    folder.write(&checkpoint_path, |writer| writer.write_all(&bytes))?;
    // Only now, and not before the checkpoint outlasts a power cut: killed before this line, the run resumes at its last epoch
    // and writes the same checkpoint again.
    folder.sync()?;
    journal::remove_states(&folder)?;
    Ok(TrainSummary::new(checkpoint_path, skipped, &checkpoint.header, false))
}

/// Trains a model on a dataset of images: of files, such as a [`dataset::Collection`], or in memory, such as burn's
/// `InMemDataset<RgbImage>`. The same images in the same order give the same networks as a folder of them.
///
/// Installed weights are used where there are any, and the fastest device. Features are kept in a temporary folder of at
/// most `settings.cache.limit_mebibytes`, which vanishes with the run.
///
/// # Errors
/// If no image can be used, training diverges, or the observer interrupts.
///
/// # Example
///
/// ```
/// use burn_dataset::InMemDataset;
/// use deepcut::{RgbImage, Settings, event::Silent};
///
/// let disc = |centre: usize| {
///     let inside = move |place: usize| (place % 48).abs_diff(centre).pow(2) + (place / 48).abs_diff(16).pow(2) < 60;
///     let pixels = (0..48 * 32).map(|place| if inside(place) { [220, 60, 40] } else { [30, 50, 60] });
///     RgbImage::from_values(48, 32, pixels.collect())
/// };
/// let images = InMemDataset::new((12..36).step_by(4).map(disc).collect());
/// let mut settings = Settings::default();
/// settings.train.epochs = 4;
/// settings.superpixel.regions = 60;
/// let model = deepcut::train(&images, &settings, &Silent)?;
/// let found = model.segment(&disc(20))?;
/// assert_eq!((found.mask.width, found.mask.height), (48, 32));
/// # Ok::<(), deepcut::Error>(())
/// ```
pub fn train_model<I: ImageItem>(
    images: &dyn Dataset<I>,
    settings: &Settings,
    observer: &dyn Observer,
) -> Result<Model, PipelineError> {
    train_model_with(images, settings, None, &Machine::default(), observer)
}

/// [`train_model`] with the weights of a transformer from a file, on the wanted device.
pub fn train_model_with<I: ImageItem>(
    images: &dyn Dataset<I>,
    settings: &Settings,
    weights: Option<&Path>,
    machine: &Machine,
    observer: &dyn Observer,
) -> Result<Model, PipelineError> {
    settings.validate()?;
    let training = Training::open(settings.clone(), weights, machine, observer)?;
    let settings = training.resolved.settings();
    let indices = sample::indices(images.len(), settings.data.max_images, settings.train.seed, observer);
    training.announce(indices.len(), "a dataset");
    let folder = tempfile::tempdir().map_err(PipelineError::Cache)?;
    let graphs = training.graphs();
    let cache = Cache::open(folder.path(), &graphs.settings(), &settings.cache).map_err(PipelineError::Cache)?;
    let (prepared, skipped) = training.prepare(images, indices, &cache, &graphs)?;
    if prepared.images.is_empty() {
        return Err(PipelineError::NoUsableImage { data: "the dataset".into(), skipped });
    }
    let checkpoint = training.learn(images, prepared, &cache, &graphs, &mut NoJournal)?;
    let bytes = checkpoint.to_bytes().map_err(MethodError::Unkept)?;
    let Training { backbone, device, .. } = training;
    Ok(Model::with_backbone(checkpoint, blake3::hash(&bytes), backbone, device)?)
}

impl<'a> Training<'a> {
    fn open(
        settings: Settings,
        weights: Option<&Path>,
        machine: &Machine,
        observer: &'a dyn Observer,
    ) -> Result<Training<'a>, PipelineError> {
        let device = machine.open()?;
        let has_weights = weights.is_some() || installed_weights().is_some();
        let resolved = settings.resolve(Purpose::Train, has_weights, machine.precision).map_err(MethodError::from)?;
        let backbone = open_backbone(&resolved, weights, None, &device)?;
        let (workers, pool) = (workers(machine.threads)?, thread_pool(machine.threads)?);
        Ok(Training { resolved, backbone, device, workers, pool, observer })
    }

    /// Says what will be done.
    fn announce(&self, images: usize, data: &str) {
        let (resolved, settings) = (&self.resolved, self.resolved.settings());
        let parts = match settings.parts.foreground {
            0 => String::new(),
            count => format!(", {count} parts by {}", resolved.parts_objective_kind().name()),
        };
        let how = format!(
            "device {}, objective {}, {} clusters{parts}, {} epochs{}",
            tensor::name(&self.device),
            resolved.objective_kind().name(),
            resolved.clusters(),
            settings.train.epochs,
            if resolved.self_training() { ", and as many of self-training" } else { "" },
        );
        self.observer.observe(Event::Plan(Plan {
            doing: format!("training on {images} images of {data}"),
            backbone: self.backbone.description.clone(),
            could_be_deeper: self.backbone.hash.is_none(),
            how,
        }));
    }

    fn graphs(&self) -> Graphs<'_> {
        Graphs { backbone: &self.backbone, affinity: self.resolved.affinity(), device: &self.device }
    }

    /// Makes sure that every usable image of those at `indices` has its graph in the cache, as far as there is room.
    fn prepare<I: ImageItem>(
        &self,
        items: &dyn Dataset<I>,
        indices: Vec<usize>,
        cache: &Cache,
        graphs: &Graphs,
    ) -> Result<(Prepared, Vec<SkippedFile>), PipelineError> {
        let settings = self.resolved.settings();
        let image_loop = ImageLoop {
            extractor: self.backbone.extractor.as_ref(),
            device: &self.device,
            limits: &settings.pixels,
            cache,
            workers: self.workers,
            observer: self.observer,
        };
        let total = indices.len() as u64;
        let numbered = |index: usize| {
            let missing =
                || SkippedFile { path: index.to_string().into(), reason: "the dataset has no such item".into() };
            Ok(Numbered { index, item: items.get(index).ok_or_else(missing)? })
        };
        let mut images = Vec::new();
        let consumed = image_loop.run(graphs, indices.into_iter().map(numbered), Some(total), |computed| {
            images.push(TrainingImage { index: computed.item.index, content: computed.content });
        });
        let Outcome { not_stored, skipped } = consumed.map_err(|error| error.during(Run::Training))?;
        if not_stored > 0 {
            self.observer.observe(Event::Warning(format!(
                "the features of {not_stored} of {total} images did not fit in the cache and are computed anew in every epoch; raise cache.limit_mebibytes (now {}) or lower data.max_images",
                settings.cache.limit_mebibytes
            )));
        }
        if images.len() > 1 && images.iter().all(|image| image.content == images[0].content) {
            self.observer.observe(Event::Warning(format!(
                "all {} have the same content: a network can only learn what is in that one",
                counted(images.len() as u64, "image")
            )));
        }
        let mut hasher = blake3::Hasher::new();
        for image in &images {
            hasher.update(image.content.as_bytes());
        }
        let collection_hash = hasher.finalize().to_hex().to_string();
        let identity = serde_json::json!([
            env!("CARGO_PKG_VERSION"),
            stored_config(settings),
            self.backbone.hash,
            collection_hash
        ]);
        let fingerprint = blake3::hash(identity.to_string().as_bytes()).to_hex().to_string();
        Ok((Prepared { images, collection_hash, fingerprint }, skipped))
    }

    /// Trains the networks.
    fn learn<I: ImageItem>(
        &self,
        items: &dyn Dataset<I>,
        prepared: Prepared,
        cache: &Cache,
        graphs: &Graphs,
        journal: &mut dyn Journal,
    ) -> Result<Checkpoint, PipelineError> {
        let settings = self.resolved.settings();
        let Prepared { images, collection_hash, fingerprint } = prepared;
        let set = CachedGraphs { items, images, cache, graphs, limits: &settings.pixels };
        let recipe = Recipe {
            resolved: &self.resolved,
            backbone: &self.backbone,
            device: &self.device,
            workers: self.workers,
            pool: &self.pool,
            fingerprint,
            observer: self.observer,
        };
        let learnt = recipe.train(&set, journal).map_err(|error| PipelineError::from(error).during(Run::Training))?;
        let (config, seed) = (stored_config(settings), settings.train.seed);
        let checkpoint = learnt.into_checkpoint(config, seed, &self.backbone, collection_hash);
        if let Some(verdict) = checkpoint.header.verdict().filter(|verdict| !verdict.trusted) {
            self.observer.observe(Event::Warning(verdict.sentence));
        }
        Ok(checkpoint)
    }

    /// The header of the checkpoint at `path`, if it is what this run would give.
    fn finished_before(&self, path: &Path, prepared: &Prepared) -> Result<Option<CheckpointHeader>, PipelineError> {
        if !path.exists() {
            return Ok(None);
        }
        let header = read_checkpoint(path)?.0.header;
        let same = header.config == stored_config(self.resolved.settings())
            && header.collection_hash == prepared.collection_hash
            && header.backbone_hash == self.backbone.hash;
        Ok(same.then_some(header))
    }
}

/// An item with its number in the dataset.
struct Numbered<I> {
    index: usize,
    item: I,
}

impl<I: ImageItem> ImageItem for Numbered<I> {
    fn content(&self, limits: &crate::pixels::DecodeLimits) -> Result<crate::pixels::ImageContent, String> {
        self.item.content(limits)
    }

    fn path(&self) -> Option<&Path> {
        self.item.path()
    }
}

impl TrainSummary {
    fn new(checkpoint: PathBuf, skipped: Vec<SkippedFile>, header: &CheckpointHeader, already_finished: bool) -> Self {
        TrainSummary {
            checkpoint,
            skipped,
            objects: (&header.objects).into(),
            teacher: header.teacher.as_ref().map(Into::into),
            parts: header.parts.as_ref().map(Into::into),
            background_parts: header.background_parts.as_ref().map(Into::into),
            diagnostics: header.diagnostics.clone(),
            verdict: header.verdict(),
            already_finished,
        }
    }
}

impl From<&TrainedStage> for StageSummary {
    fn from(stage: &TrainedStage) -> Self {
        let best = stage.best_epoch.checked_sub(1).and_then(|index| stage.curve.get(index));
        StageSummary {
            images: stage.images,
            epochs: stage.curve.len(),
            best_epoch: stage.best_epoch,
            held_out_loss: best.map_or(f64::NAN, |point| point.held_out_loss),
            collapsed: stage.collapsed,
        }
    }
}
