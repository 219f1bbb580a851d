//! `train`: a collection → one checkpoint.

mod graphs;
pub(super) mod journal;
mod maker;
mod patch_network;
mod regions;
mod summary;

pub use maker::GraphMaker;
pub use regions::{RegionsSummary, train_region_model, train_region_model_with, train_regions};
pub use summary::{StageSummary, TrainSummary};

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn_dataset::{Dataset, InMemDataset};

use super::images::{ImageLoop, Outcome};
use super::precision::{Fixed, tell_of_other};
use super::{PipelineError, Run, SkippedFile, no_images, portable, stored_config, tell_of_passed_over};
use crate::config::{Purpose, Resolved, Settings};
use crate::dataset::{self, Record, Sources, sample};
use crate::event::{Event, Observer, Plan, counted};
use crate::features::Backbone;
use crate::method::recipe::{Journal, Recipe};
use crate::method::{Machine, MethodError, Model, installed_weights, open_backbone, read_checkpoint, read_code_book};
use crate::model::checkpoint::{Checkpoint, CheckpointHeader};
use crate::output::{Cache, Claim, JsonLog, OutputFolder};
use crate::parallel::{thread_pool, workers};
use crate::pixels::ImageItem;
use crate::tensor::{self, Device};
use crate::train::{Gone, Roster, Teacher};
use graphs::{CachedGraphs, Graphs, TrainingImage};
use journal::{FolderJournal, NoJournal};

/// What to train on and where to put the result.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// Folders, lists of images, or images.
    pub data: Sources,
    /// Where the checkpoint goes; default `checkpoints/<name of data>`.
    pub out: Option<PathBuf>,
    pub weights: Option<PathBuf>,
    pub machine: Machine,
    /// Continue an interrupted run.
    pub resume: bool,
    /// How long to wait for another run that writes to the same folder; none waits until it has finished.
    pub wait: Option<Duration>,
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

/// The images of a run, and what identifies it.
struct Prepared {
    images: Vec<TrainingImage>,
    /// The images that are bad.
    skipped: Vec<SkippedFile>,
    collection_hash: String,
    fingerprint: String,
}

const CHECKPOINT: &str = "best.safetensors";
const LOG: &str = "train.jsonl";
const CACHE: &str = "cache";

/// The names that a run writes.
fn claims() -> Vec<Claim> {
    let is_whole: fn(&Path) -> bool = |path| read_checkpoint(path).is_ok() || read_code_book(path).is_ok();
    let checkpoint = Claim { is_whole: Some(is_whole), ..Claim::file(CHECKPOINT) };
    [checkpoint, Claim::working(LOG), Claim::folder(CACHE)].into_iter().chain(journal::claims()).collect()
}

/// Trains one network on a collection, and those of its parts where they are asked for, and writes
/// `OUT/best.safetensors`.
///
/// Beside it lie `train.jsonl` (the log), `images.json` (the images with which the run began), `cache/` (features) and, until
/// the run is finished, the states to resume from.
pub fn train(
    settings: Settings,
    request: &TrainRequest,
    observer: &dyn Observer,
) -> Result<TrainSummary, PipelineError> {
    let collection = dataset::open_sources(&request.data, &settings.data)?;
    let out = request.out.clone().unwrap_or_else(|| Path::new("checkpoints").join(collection.name()));
    let weights = request.weights.as_deref();
    let precision = Fixed::of(&settings, Purpose::Train, weights, request.machine, &out, &collection)?;
    let mut training = Training::open(settings, weights, &precision.machine, observer)?;
    training.backbone.description = precision.described(&training.backbone.description);
    let settings = training.resolved.settings();
    let folder = OutputFolder::open(&out, "train", &claims(), request.wait, observer)?;
    precision.keep(&folder)?;
    let earlier = if request.resume { journal::roster(&folder) } else { None };
    // A run that goes on does so with the images with which it began.
    let begun = earlier.as_ref().filter(|_| journal::is_resumable(&folder));
    let places = begun.map(Roster::paths);
    let belongs = |record: &Record| places.as_ref().is_none_or(|places| places.contains(&*portable(&record.relative)));
    let sample::Sample { records, mut skipped, seen, others } =
        sample::records(collection.records(), belongs, settings.data.max_images, settings.train.seed, observer);
    tell_of_passed_over(&collection, observer);
    if seen == 0 && skipped.is_empty() {
        return Err(no_images(&collection));
    }
    if begun.is_some_and(|roster| others > 0 && !roster.sampled) {
        observer.observe(Event::Warning(format!(
            "{} came after the run began, which goes on without; start anew to train on all",
            counted(others, "image")
        )));
    }
    training.announce(records.len(), &request.data.display().to_string());

    let failed = |source| PipelineError::OutputFolder { path: out.clone(), source };
    folder.create_folder(&out.join(CACHE))?;
    let mut log = JsonLog::open(&out.join(LOG))?;
    let graphs = training.graphs();
    let cache = Cache::open(&out.join(CACHE), &graphs.settings(), &settings.cache).map_err(failed)?;
    let places: Vec<String> = records.iter().map(|record| portable(&record.relative)).collect();
    let records = InMemDataset::new(records);
    let (mut images, left_out) = training.prepare(&records, (0..records.len()).collect(), &cache, &graphs)?;
    skipped.extend(left_out);
    let place_of = |image: &TrainingImage| Some((places[image.index?].clone(), image.content));
    let present: Vec<(String, blake3::Hash)> = images.iter().filter_map(place_of).collect();
    if let Some(roster) = begun {
        let rejoined = roster.rejoin(&present, &places, |place, reason| {
            let skip = SkippedFile { path: request.data.path_of(place.as_ref()), reason: reason.to_string() };
            skip.announce(observer);
            skipped.push(skip);
        });
        let image = |(content, number): (_, Option<usize>)| TrainingImage {
            index: number.and_then(|number| images[number].index),
            content,
        };
        images = rejoined.into_iter().map(image).collect();
        if images.iter().all(|image| image.index.is_none()) {
            return Err(MethodError::StateOfOtherRun { path: journal::roster_path(&folder) }.into());
        }
    }
    journal::log_skipped(&mut log, &skipped)?;
    let prepared = training.identified(images, skipped, &request.data)?;

    let checkpoint_path = out.join(CHECKPOINT);
    if !request.resume {
        journal::remove_states(&folder)?;
    } else if !journal::is_resumable(&folder) {
        let earlier = earlier.as_ref().filter(|roster| roster.holds_all(&present));
        if let Some(header) = training.finished_before(&checkpoint_path, &prepared, earlier) {
            observer.observe(Event::Note("this training was finished before; nothing is left to do".into()));
            return Ok(TrainSummary::new(checkpoint_path, prepared.skipped, &header, true));
        }
        if let Ok((Checkpoint { header, .. }, _)) = read_checkpoint(&checkpoint_path) {
            let settings = training.resolved.settings();
            tell_of_other(&header.config, settings, "it is trained anew and replaced", observer);
        }
        // Those of a second stage may be left of another run.
        journal::remove_states(&folder)?;
        observer.observe(Event::Note("there is nothing to resume; starting from the first epoch".into()));
    }
    if begun.is_none() {
        journal::write_roster(&folder, &Roster::new(seen > places.len(), &places, &present))?;
    }
    let bad = prepared.skipped.len();
    let mut journal = FolderJournal { out: &folder, resume: request.resume, log };
    let (checkpoint, skipped) = training.learn(&records, prepared, &cache, &graphs, &mut journal)?;
    journal::log_skipped(&mut journal.log, &skipped[bad..])?;
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
    let folder = tempfile::tempdir().map_err(PipelineError::Cache)?;
    train_model_from(images, settings, weights, machine, folder.path(), observer)
}

/// [`train_model_with`], with features kept in the folder `cache`, which nobody else may use meanwhile; those that lie there already, such as
/// a [`GraphMaker`]'s, are not computed again.
pub fn train_model_from<I: ImageItem>(
    images: &dyn Dataset<I>,
    settings: &Settings,
    weights: Option<&Path>,
    machine: &Machine,
    cache: &Path,
    observer: &dyn Observer,
) -> Result<Model, PipelineError> {
    settings.validate()?;
    let training = Training::open(settings.clone(), weights, machine, observer)?;
    let settings = training.resolved.settings();
    let indices = sample::indices(images.len(), settings.data.max_images, settings.train.seed, observer);
    training.announce(indices.len(), "a dataset");
    let graphs = training.graphs();
    let cache = Cache::open(cache, &graphs.settings(), &settings.cache).map_err(PipelineError::Cache)?;
    let (usable, skipped) = training.prepare(images, indices, &cache, &graphs)?;
    let prepared = training.identified(usable, skipped, &Path::new("the dataset").into())?;
    let (checkpoint, _) = training.learn(images, prepared, &cache, &graphs, &mut NoJournal)?;
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
        let has_weights = weights.is_some() || installed_weights().is_some();
        let resolved = settings.resolve(Purpose::Train, has_weights, machine.precision).map_err(MethodError::from)?;
        let device = machine.open(resolved.backbone())?;
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
            resolved.epochs(resolved.teacher(), resolved.views(images)),
            if resolved.teacher() == Some(Teacher::Network) { ", and as many of self-training" } else { "" },
        );
        self.observer.observe(Event::Plan(Plan {
            doing: format!("training on {images} images of {data}"),
            backbone: self.backbone.description.clone(),
            could_be_deeper: self.backbone.hash.is_none(),
            how,
        }));
    }

    fn graphs(&self) -> Graphs<'_> {
        let (affinity, pixels) = (self.resolved.affinity(), &self.resolved.settings().pixels);
        Graphs { backbone: &self.backbone, affinity, pixels }
    }

    /// Makes sure that every usable image of those at `indices` has its graph in the cache, as far as there is room.
    fn prepare<I: ImageItem>(
        &self,
        items: &dyn Dataset<I>,
        indices: Vec<usize>,
        cache: &Cache,
        graphs: &Graphs,
    ) -> Result<(Vec<TrainingImage>, Vec<SkippedFile>), PipelineError> {
        let settings = self.resolved.settings();
        let image_loop = ImageLoop {
            extractor: self.backbone.extractor.as_ref(),
            device: &self.device,
            limits: &settings.pixels,
            cache: Some(cache),
            workers: self.workers,
            observer: self.observer,
        };
        let total = indices.len() as u64;
        let mut images = Vec::new();
        let consumed = image_loop.run(graphs, numbered(items, indices), Some(total), |computed| {
            images.push(TrainingImage { index: Some(computed.item.index), content: computed.content });
            Ok(())
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
        Ok((images, skipped))
    }

    /// The images with what identifies a run on them, if enough of them can be used.
    fn identified(
        &self,
        images: Vec<TrainingImage>,
        skipped: Vec<SkippedFile>,
        data: &Sources,
    ) -> Result<Prepared, PipelineError> {
        if images.is_empty() {
            return Err(PipelineError::NoUsableImage { data: data.clone(), skipped });
        }
        let settings = self.resolved.settings();
        let usable = images.iter().filter(|image| image.index.is_some()).count();
        settings.data.judge(skipped.len() as u64, (skipped.len() + usable) as u64, &skipped)?;
        let collection_hash = collection_hash(images.iter().map(|image| image.content));
        let identity = serde_json::json!([
            env!("CARGO_PKG_VERSION"),
            stored_config(settings),
            self.backbone.hash,
            collection_hash
        ]);
        let fingerprint = blake3::hash(identity.to_string().as_bytes()).to_hex().to_string();
        Ok(Prepared { images, skipped, collection_hash, fingerprint })
    }

    /// Trains the networks; gives with them all images that are bad, those among them that were so only later.
    fn learn<I: ImageItem>(
        &self,
        items: &dyn Dataset<I>,
        prepared: Prepared,
        cache: &Cache,
        graphs: &Graphs,
        journal: &mut dyn Journal,
    ) -> Result<(Checkpoint, Vec<SkippedFile>), PipelineError> {
        let settings = self.resolved.settings();
        let Prepared { images, mut skipped, collection_hash, fingerprint } = prepared;
        let all = skipped.len() + images.iter().filter(|image| image.index.is_some()).count();
        let gone = Gone::new(settings.data.most_bad(all).saturating_sub(skipped.len()), self.observer);
        let set = CachedGraphs { items, images, cache, graphs, gone };
        let recipe = Recipe {
            resolved: &self.resolved,
            backbone: &self.backbone,
            workers: self.workers,
            pool: &self.pool,
            fingerprint,
            observer: self.observer,
        };
        let learnt = recipe.train(&set, journal).map_err(|error| PipelineError::from(error).during(Run::Training));
        skipped.extend(set.gone.into_skipped());
        // Too many that are gone end the training by an error that says less.
        settings.data.judge(skipped.len() as u64, all as u64, &skipped)?;
        let learnt = learnt?;
        let (config, seed) = (stored_config(settings), settings.train.seed);
        let checkpoint = learnt.into_checkpoint(config, seed, &self.backbone, collection_hash);
        if let Some(verdict) = checkpoint.header.verdict().filter(|verdict| !verdict.trusted) {
            self.observer.observe(Event::Warning(verdict.sentence));
        }
        Ok((checkpoint, skipped))
    }

    /// The header of the checkpoint at `path`, if it is what this run would give, or what one gave that began with the
    /// images of `earlier`.
    fn finished_before(&self, path: &Path, prepared: &Prepared, earlier: Option<&Roster>) -> Option<CheckpointHeader> {
        // One that is damaged is of no finished training.
        let Ok((Checkpoint { header, .. }, _)) = read_checkpoint(path) else { return None };
        let same = header.config == stored_config(self.resolved.settings())
            && (header.collection_hash == prepared.collection_hash
                || earlier.is_some_and(|earlier| header.collection_hash == collection_hash(earlier.contents())))
            && header.backbone_hash == self.backbone.hash;
        same.then_some(header)
    }
}

/// Identifies a collection by the content of its images.
fn collection_hash(contents: impl Iterator<Item = blake3::Hash>) -> String {
    let mut hasher = blake3::Hasher::new();
    for content in contents {
        hasher.update(content.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// An item with its number in the dataset.
struct Numbered<I> {
    index: usize,
    item: I,
}

/// The items of a dataset at some places.
fn numbered<I: ImageItem>(
    items: &dyn Dataset<I>,
    indices: Vec<usize>,
) -> impl ExactSizeIterator<Item = Result<Numbered<I>, SkippedFile>> + Send {
    indices.into_iter().map(move |index| {
        let missing = || SkippedFile { path: index.to_string().into(), reason: "the dataset has no such item".into() };
        Ok(Numbered { index, item: items.get(index).ok_or_else(missing)? })
    })
}

impl<I: ImageItem> ImageItem for Numbered<I> {
    fn content(&self, limits: &crate::pixels::DecodeConfig) -> Result<crate::pixels::ImageContent, String> {
        self.item.content(limits)
    }

    fn path(&self) -> Option<&Path> {
        self.item.path()
    }
}
