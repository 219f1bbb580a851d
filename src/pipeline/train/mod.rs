//! `train`: a collection → one checkpoint.

mod source;
mod stages;
mod teacher;

use std::path::{Path, PathBuf};

use rand::Rng;
use serde::Serialize;

use super::backbone::{self, Backbone};
use super::machine::{Machine, thread_pool, workers};
use super::{PipelineError, Skip, images, no_images, read_checkpoint, stored_config};
use crate::config::Settings;
use crate::dataset::{self, Record};
use crate::event::{Event, Observer};
use crate::features::BackboneChoice;
use crate::model::checkpoint::{Checkpoint, CheckpointHeader, Stage, TrainedStage};
use crate::model::{Network, NetworkConfig};
use crate::numerics::random;
use crate::objective::Objective;
use crate::output::Cache;
use crate::output::{JsonLog, write_atomically};
use crate::segment::{Legend, SharedSegmenter};
use crate::tensor;
use source::{CachedGraphs, FirstStage, PartGraphs};
use stages::{StageTrainer, Trainee};
use teacher::{TaughtGraphs, Teacher};

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
}

/// What a training run did.
#[derive(Debug, Clone, Serialize)]
pub struct TrainSummary {
    #[serde(serialize_with = "super::lossy_path")]
    pub checkpoint: PathBuf,
    pub skipped: Vec<Skip>,
    /// The network that tells objects and background apart.
    #[serde(flatten)]
    pub objects: StageSummary,
    /// The network that taught that one, where there was such a round.
    pub teacher: Option<StageSummary>,
    /// The networks of the second stage, where there are any.
    pub parts: Option<StageSummary>,
    pub background_parts: Option<StageSummary>,
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

/// Trains one network on a collection, and those of its parts where they are asked for, and writes
/// `OUT/best.safetensors`.
///
/// Beside it lie `train.jsonl` (the log), `cache/` (features) and, until the run is finished, the states to resume from.
pub fn train(
    mut config: Settings,
    request: &TrainRequest,
    observer: &dyn Observer,
) -> Result<TrainSummary, PipelineError> {
    let collection = dataset::open(&request.data)?;
    let device = request.machine.device.open()?;
    let device_name = tensor::name(&device);
    let backbone = backbone::open(&mut config, request.weights.as_deref(), None, &request.machine, &device)?;
    config.choose_objectives_for_training();
    let self_training = *config.train.self_training.get_or_insert(config.backbone == BackboneChoice::Vit);
    let (workers, pool) = (workers(request.machine.threads)?, thread_pool(request.machine.threads)?);
    let out = request.out.clone().unwrap_or_else(|| Path::new("checkpoints").join(collection.name()));
    let (records, mut skipped) = sample(collection.records(), &config, observer);
    if records.is_empty() && skipped.is_empty() {
        return Err(no_images(&request.data));
    }
    let parts = match config.parts.foreground {
        0 => String::new(),
        count => format!(", {count} parts by {}", config.objective.parts().name()),
    };
    observer.observe(Event::Plan(format!(
        "training on {} images of {}: {}, device {device_name}, objective {}, {} clusters{parts}, {} epochs{}",
        records.len(),
        request.data.display(),
        backbone.description_with_hint(),
        config.objective.kind().name(),
        config.clusters(),
        config.train.epochs,
        if self_training { ", and as many of self-training" } else { "" },
    )));

    let folder_error = |error: std::io::Error| {
        PipelineError::InputOutput(format!("cannot use the output folder {}: {error}", out.display()))
    };
    std::fs::create_dir_all(&out).map_err(folder_error)?;
    let mut log = JsonLog::open(&out.join("train.jsonl"))?;
    let cache = Cache::open(&out.join("cache"), &images::graph_settings(&config, &backbone, &device), &config.cache)
        .map_err(folder_error)?;
    let mut source = CachedGraphs { images: Vec::new(), cache, config: &config, backbone: &backbone, device: &device };
    source.images = source.prepare(records, &mut skipped, workers, observer)?;
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

    let mut collection_hash = blake3::Hasher::new();
    source.images.iter().for_each(|image| {
        collection_hash.update(image.hash.as_bytes());
    });
    let collection_hash = collection_hash.finalize().to_hex().to_string();
    let stored_config = stored_config(&config);
    let checkpoint_path = out.join("best.safetensors");
    if !request.resume {
        stages::remove_states(&out)?;
    } else if !stages::resumable(&out) {
        if let Some(header) = finished_before(&checkpoint_path, &stored_config, &collection_hash, &backbone)? {
            observer.observe(Event::Note("this training was finished before; nothing is left to do".into()));
            return Ok(summary(checkpoint_path, skipped, &header, true));
        }
        // Those of a second stage may be left of another run.
        stages::remove_states(&out)?;
        observer.observe(Event::Note("there is nothing to resume; starting from the first epoch".into()));
    }
    let mut trainer = StageTrainer {
        out: &out,
        config: &config,
        device: &device,
        fingerprint: fingerprint(&stored_config, &backbone, &collection_hash),
        resume: request.resume,
        pool: &pool,
        log,
        observer,
    };
    let ObjectNetwork { network, objects, teacher, background, first_stage } =
        train_objects(&mut trainer, &source, workers)?;
    // Objects differ in size: one by one, as `infer` divides them, the processor is faster than a device of batches.
    let parts_device = if backbone.extractor.batches().is_some() { tensor::cpu() } else { device.clone() };
    let segmenter = SharedSegmenter::new(network.on(&parts_device), parts_device.clone());
    let mut networks = vec![(Stage::Objects, network)];
    let mut second_stage = |stage, count, of_background| {
        let indices = first_stage.with_nodes(&background, of_background, config.parts.least_nodes(count));
        let graphs = PartGraphs {
            whole: &source,
            indices,
            segmenter: &segmenter,
            background: &background,
            of_background,
            device: &parts_device,
        };
        let found = train_parts(&mut trainer, stage, count, &graphs)?;
        Ok::<_, PipelineError>(found.map(|(network, description)| {
            networks.push((stage, network));
            description
        }))
    };
    let parts = second_stage(Stage::Parts, config.parts.foreground, false)?;
    let background_parts = second_stage(Stage::BackgroundParts, config.parts.background, true)?;

    let header = CheckpointHeader {
        config: stored_config,
        backbone: backbone.name.to_string(),
        backbone_hash: backbone.hash.clone(),
        seed: config.train.seed,
        collection_hash,
        background,
        border_shares: first_stage.statistics.border_shares(),
        area_shares: first_stage.statistics.area_shares(),
        objects,
        teacher,
        parts,
        background_parts,
    };
    let checkpoint = Checkpoint::new(header, &networks);
    let bytes = checkpoint.to_bytes().map_err(|error| PipelineError::Untrusted(error.to_string()))?;
    write_atomically(&checkpoint_path, |writer| writer.write_all(&bytes))?;
    // Only now: killed before this line, the run resumes at its last epoch and writes the same checkpoint again.
    stages::remove_states(&out)?;
    Ok(summary(checkpoint_path, skipped, &checkpoint.header, false))
}

/// The network of objects, how it came about, and how it divides the collection.
struct ObjectNetwork {
    network: Network,
    objects: TrainedStage,
    teacher: Option<TrainedStage>,
    /// Which of its clusters are background.
    background: Vec<bool>,
    first_stage: FirstStage,
}

/// Trains the network that tells objects and background apart: for the objective, and with self-training a second one on
/// what the first has found.
fn train_objects(
    trainer: &mut StageTrainer,
    source: &CachedGraphs,
    workers: usize,
) -> Result<ObjectNetwork, PipelineError> {
    let (config, observer, device) = (trainer.config, trainer.observer, trainer.device);
    let self_training = config.train.self_training == Some(true);
    let kept = Trainee::Kept(Stage::Objects);
    let network = source.backbone.network(config, config.clusters());
    let (trained, description) =
        trainer.train(if self_training { Trainee::Teacher } else { kept }, config.objective(), source, network)?;
    let segmenter = SharedSegmenter::new(trained.network.clone(), device.clone());
    let first_stage = source.first_stage(&segmenter, config.clusters(), workers, observer)?;
    let background = first_stage.statistics.background();
    let clusters = background.iter().filter(|&&is_background| !is_background).count();
    let first =
        ObjectNetwork { network: trained.network, objects: description, teacher: None, background, first_stage };
    let Some(labels) = Legend::new(clusters, 0, 0).filter(|_| self_training) else { return Ok(first) };
    let keep_first = |first, why: &str| {
        observer.observe(Event::Warning(format!("{why}; the network that was to teach it is kept instead")));
        Ok(first)
    };
    if clusters == 0 {
        return keep_first(first, "the first network found no foreground for a second one to learn");
    }

    observer.observe(Event::Note(
        "self-training: a second network learns the first one's masks, fitted to their images".into(),
    ));
    let class_of_cluster = labels.of_clusters(&first.background);
    let fingerprint = Teacher::fingerprint_of(&trainer.fingerprint, &first.network, &class_of_cluster);
    let teacher = Teacher { segmenter: &segmenter, class_of_cluster, fingerprint };
    let taught = TaughtGraphs { whole: source, teacher };
    taught.prepare(workers, observer)?;
    let classes = taught.teacher.classes();
    // The second network is told where objects end, which a node's own features tell best; and it is half as wide, for
    // the less it can hold, the fewer of its teacher's mistakes it copies.
    let network = source.backbone.network(config, classes);
    let network = NetworkConfig { root_weight: true, hidden: network.hidden.map(|size| size.div_ceil(2)), ..network };
    let (trained, objects) = trainer.train(kept, Objective::CrossEntropy, &taught, network)?;
    if trained.collapsed {
        return keep_first(first, "the second network collapsed");
    }
    let segmenter = SharedSegmenter::new(trained.network.clone(), device.clone());
    Ok(ObjectNetwork {
        network: trained.network,
        objects,
        teacher: Some(first.objects),
        background: (0..classes).map(|class| class == 0).collect(),
        first_stage: source.first_stage(&segmenter, classes, workers, observer)?,
    })
}

/// Trains the network that divides what the first stage took for foreground, or for background, into `count` parts;
/// none if no parts are asked for, or no image has enough nodes to divide.
fn train_parts(
    trainer: &mut StageTrainer,
    stage: Stage,
    count: usize,
    graphs: &PartGraphs,
) -> Result<Option<(Network, TrainedStage)>, PipelineError> {
    if count == 0 {
        return Ok(None);
    }
    let what = if graphs.of_background { "background" } else { "foreground" };
    if graphs.indices.is_empty() {
        trainer.observer.observe(Event::Warning(format!(
            "no image has a {what} large enough for {count} parts; the checkpoint has none"
        )));
        return Ok(None);
    }
    let images = graphs.indices.len();
    trainer.observer.observe(Event::Note(format!("training {count} parts of the {what} on {images} images")));
    let network = graphs.whole.backbone.network(trainer.config, count);
    let objective = trainer.config.parts_objective();
    let (trained, description) = trainer.train(Trainee::Kept(stage), objective, graphs, network)?;
    Ok(Some((trained.network, description)))
}

/// The header of the checkpoint at `path`, if it is what this run would give.
fn finished_before(
    path: &Path,
    stored_config: &serde_json::Value,
    collection_hash: &str,
    backbone: &Backbone,
) -> Result<Option<CheckpointHeader>, PipelineError> {
    if !path.exists() {
        return Ok(None);
    }
    let header = read_checkpoint(path)?.0.header;
    let same = header.config == *stored_config
        && header.collection_hash == collection_hash
        && header.backbone_hash == backbone.hash;
    Ok(same.then_some(header))
}

/// The records to train on, in order: all of them, or a random sample of fixed size (reservoir sampling, so that a
/// collection of any size is read as a stream).
fn sample(
    records: impl Iterator<Item = Result<Record, dataset::DatasetError>>,
    config: &Settings,
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

/// Identifies a run: two runs with the same fingerprint give the same checkpoint.
fn fingerprint(stored_config: &serde_json::Value, backbone: &Backbone, collection_hash: &str) -> String {
    let identity = serde_json::json!([env!("CARGO_PKG_VERSION"), stored_config, backbone.hash, collection_hash]);
    blake3::hash(identity.to_string().as_bytes()).to_hex().to_string()
}

fn summary(checkpoint: PathBuf, skipped: Vec<Skip>, header: &CheckpointHeader, already_finished: bool) -> TrainSummary {
    TrainSummary {
        checkpoint,
        skipped,
        objects: (&header.objects).into(),
        teacher: header.teacher.as_ref().map(Into::into),
        parts: header.parts.as_ref().map(Into::into),
        background_parts: header.background_parts.as_ref().map(Into::into),
        already_finished,
    }
}

fn interrupted() -> PipelineError {
    PipelineError::Interrupted("repeat the command with --resume to continue".into())
}
