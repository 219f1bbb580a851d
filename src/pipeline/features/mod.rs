//! `features`: a collection → one matrix of features for other tools, with an index of its images.

mod index;

pub use index::image_names;
pub(super) use index::{IndexLine, Journal, index_path};

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::images::{ImageLoop, OfBatch, OfImage, Outcome};
use super::shards::{self, Began, FeatureTotals, Made, ShardRun, ShardSummary, record_of};
use super::{PipelineError, Run, SaveKinds, SkippedFile, no_images, portable, stored_config, tell_of_passed_over};
use crate::config::{Purpose, Settings};
use crate::dataset::{self, Input, Record};
use crate::event::{Event, Observer, Plan, Silent, counted};
use crate::features::{Backbone, BatchExtractor, Extractor, Prepared, is_whole_matrix};
use crate::files;
use crate::method::{Machine, Model, ModelOptions, installed_weights, open_backbone};
use crate::names;
use crate::nodes::Layout;
use crate::numerics::bytes::floats_from_bytes;
use crate::output::{
    Cache, Claim, Fetched, GrowingMatrix, MatrixFormat, MatrixKind, NumberType, OutputFolder, with_output,
};
use crate::parallel::workers;
use crate::pixels::{DecodeConfig, ImageItem, Picture};
use crate::results;
use crate::tensor::{self, Device, Tensor};
use index::{Earlier, Place};

/// What is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Described {
    /// Every patch, superpixel or pixel: as many rows for an image as it has nodes, in the order of their numbers.
    #[default]
    Patches,
    /// Every image as a whole: one row.
    Images,
}

impl Described {
    fn name(self) -> &'static str {
        match self {
            Described::Patches => "patches",
            Described::Images => "images",
        }
    }
}

/// What to describe and where the features go.
#[derive(Debug, Clone)]
pub struct FeaturesRequest {
    /// Folders, lists of images, or images; or a shard of a plan.
    pub data: Input,
    /// A `.npy` or `.safetensors` file; that of a shard lies below its folder, `shards/00007/`.
    pub out: PathBuf,
    pub described: Described,
    pub numbers: NumberType,
    pub weights: Option<PathBuf>,
    /// A trained network, whose features are wanted.
    pub checkpoint: Option<PathBuf>,
    pub machine: Machine,
    /// How long to wait for another run that writes to the same folder; none waits until it has finished.
    pub wait: Option<Duration>,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct FeaturesSummary {
    #[serde(serialize_with = "crate::pipeline::path_as_text")]
    pub out: PathBuf,
    /// The file that says which rows are of which image.
    #[serde(serialize_with = "crate::pipeline::path_as_text")]
    pub index: PathBuf,
    pub described: Described,
    pub numbers: NumberType,
    pub rows: u64,
    /// Numbers in a row.
    pub width: usize,
    pub images: u64,
    /// Of these, images whose rows an interrupted run had left.
    pub resumed: u64,
    pub backbone: &'static str,
    /// blake3 of the weights' file.
    pub backbone_hash: Option<String>,
    pub skipped: Vec<SkippedFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardSummary>,
}

/// A backbone on its device, of settings or of a checkpoint.
enum Source {
    Settings { backbone: Backbone, device: Device, limits: DecodeConfig },
    Checkpoint(Box<Model>),
}

impl Source {
    fn open(settings: &Settings, request: &FeaturesRequest) -> Result<Source, PipelineError> {
        let FeaturesRequest { weights, machine, .. } = request;
        if let Some(path) = &request.checkpoint {
            let options = ModelOptions { weights: weights.clone(), machine: *machine, ..ModelOptions::default() };
            return Ok(Source::Checkpoint(Box::new(Model::open_with(path, &options)?)));
        }
        let has_weights = weights.is_some() || installed_weights().is_some();
        // As `train` would see them.
        let resolved = settings.clone().resolve(Purpose::Train, has_weights, machine.precision)?;
        let device = machine.open(resolved.backbone())?;
        let backbone = open_backbone(&resolved, weights.as_deref(), None, &device)?;
        Ok(Source::Settings { backbone, device, limits: settings.pixels })
    }

    /// The settings that features follow from, where `settings` were asked for.
    fn settings<'a>(&'a self, settings: &'a Settings) -> &'a Settings {
        match self {
            Source::Settings { .. } => settings,
            Source::Checkpoint(model) => model.method().resolved().settings(),
        }
    }

    /// blake3 of the trained network, if there is one.
    fn checkpoint(&self) -> Option<String> {
        match self {
            Source::Settings { .. } => None,
            Source::Checkpoint(model) => Some(model.hash().to_hex().to_string()),
        }
    }

    fn parts(&self) -> (&Backbone, &Device, &DecodeConfig) {
        match self {
            Source::Settings { backbone, device, limits } => (backbone, device, limits),
            Source::Checkpoint(model) => {
                let method = model.method();
                (method.backbone(), method.device(), &method.resolved().settings().pixels)
            }
        }
    }
}

/// From images to rows.
struct Rows<'a> {
    extractor: &'a (dyn Extractor + Send + Sync),
    described: Described,
}

/// The names that a run writes whose matrix is called `name`.
pub(super) fn claims(name: &str) -> [Claim; 4] {
    let beside = |end: &str| format!("{name}{end}");
    [
        Claim { is_whole: Some(is_whole_matrix), ..Claim::file(name) },
        Claim::file(&beside(".index.jsonl")),
        Claim::working(&beside(".partial")),
        Claim::working(&beside(".partial.jsonl")),
    ]
}

/// Where rows are until all are known, and the journal of their images.
pub(super) fn working_paths(out: &Path) -> [PathBuf; 2] {
    [".partial", ".partial.jsonl"].map(|end| {
        let mut path = out.as_os_str().to_owned();
        path.push(end);
        path.into()
    })
}

impl OfImage for Rows<'_> {
    fn known(&self, _cache: &Cache, _content: &blake3::Hash) -> Option<Vec<u8>> {
        None
    }

    fn compute(&self, picture: &Picture) -> Vec<u8> {
        match self.described {
            Described::Patches => {
                let nodes = self.extractor.extract(picture);
                Place::of(&nodes.layout).before(&nodes.values)
            }
            Described::Images => {
                Place::of_image().before(&self.extractor.image_vector(picture, picture.outside.as_ref()))
            }
        }
    }

    /// Patches are those of the whole picture, to the digit, which a network of them sees, too.
    fn input_size(&self, width: usize, height: usize) -> Option<[usize; 2]> {
        match self.described {
            Described::Patches => None,
            Described::Images => self.extractor.input_size(width, height),
        }
    }

    fn of_batches(&self) -> Option<&dyn OfBatch> {
        Some(self)
    }
}

impl OfBatch for Rows<'_> {
    fn rows(&self, extractor: &dyn BatchExtractor, batch: &[Prepared], images: usize) -> Tensor<2> {
        match self.described {
            Described::Patches => extractor.describe(batch, images).flatten(1, 2),
            Described::Images => extractor.image_vectors(batch, images),
        }
    }

    fn of_row(&self, row: &[f32], layout: &Layout) -> Vec<u8> {
        match self.described {
            Described::Patches => Place::of(layout).before(row),
            Described::Images => Place::of_image().before(row),
        }
    }
}

/// Writes the features of all usable images, in the collection's order, and beside them an index with one line for each.
///
/// Rows go to `OUT.partial` and their lines to `OUT.partial.jsonl` as soon as they are known; a repeated run goes on behind
/// those that are whole and of the same images, and gives the bytes of one that was never interrupted.
pub fn features(
    settings: &Settings,
    request: &FeaturesRequest,
    observer: &dyn Observer,
) -> Result<FeaturesSummary, PipelineError> {
    let root = files::parent(&request.out);
    with_output(root, &shards::part(&request.data), Fetched::Own, observer, |here| {
        let moved = |path: &Path| shards::moved(path, here, root);
        let request = FeaturesRequest { out: shards::moved(&request.out, root, here), ..request.clone() };
        let summary = features_here(settings, &request, observer).map_err(|error| error.moved(here, root))?;
        Ok(FeaturesSummary { out: moved(&summary.out), index: moved(&summary.index), ..summary })
    })
}

fn features_here(
    settings: &Settings,
    request: &FeaturesRequest,
    observer: &dyn Observer,
) -> Result<FeaturesSummary, PipelineError> {
    let &FeaturesRequest { ref out, described, numbers, .. } = request;
    let no_matrix = || PipelineError::NoMatrix { path: out.clone() };
    let format = MatrixFormat::of(out).ok_or_else(no_matrix)?;
    let name = out.file_name().and_then(|name| name.to_str()).ok_or_else(no_matrix)?;
    let collection = dataset::open_input(&request.data, &settings.data)?;
    let data = collection.sources();
    let source = Source::open(settings, request)?;
    let (backbone, device, limits) = source.parts();
    let extractor = backbone.extractor.as_ref();
    let width = match described {
        Described::Patches => extractor.width(),
        Described::Images => extractor.image_width(),
    };
    observer.observe(Event::Plan(Plan {
        doing: format!("describing {} of {}", described.name(), collection.display()),
        backbone: backbone.description.clone(),
        could_be_deeper: backbone.hash.is_none() && request.checkpoint.is_none(),
        how: format!("device {}, {} as {}", tensor::name(device), counted(width as u64, "number"), numbers.name()),
    }));

    let shard = collection.shard();
    let root = files::parent(out);
    let root = shard.map_or_else(|| root.to_path_buf(), |shard| shards::folder(root, shard.index()));
    let out = root.join(name);
    let claims = claims(name);
    let folder = OutputFolder::open(&root, "features", &claims, request.wait, observer)?;
    let [working, journal] = working_paths(&out);
    // What a trained network no longer sees is in no fingerprint.
    let directions = request.checkpoint.as_ref().map(|_| extractor.position_directions());
    let origin = serde_json::json!([
        env!("CARGO_PKG_VERSION"),
        extractor.fingerprint(),
        limits.fingerprint(),
        directions,
        described,
        numbers,
        format == MatrixFormat::Npy
    ]);
    let origin = blake3::hash(origin.to_string().as_bytes()).to_hex().to_string();
    let summary = |totals: FeatureTotals, resumed: u64, shard: Option<ShardSummary>| {
        let FeatureTotals { rows, images, .. } = totals;
        let skipped = totals.skipped.into_iter().map(|(path, reason)| SkippedFile { path: names::path(&path), reason });
        FeaturesSummary {
            out: out.clone(),
            index: index_path(&out),
            described,
            numbers,
            rows,
            width,
            images,
            resumed,
            backbone: backbone.name,
            backbone_hash: backbone.hash.clone(),
            skipped: skipped.collect(),
            shard,
        }
    };
    let mut shard_run = None;
    if let Some(shard) = shard {
        let made = Made {
            version: env!("CARGO_PKG_VERSION").into(),
            command: "features".into(),
            checkpoint: source.checkpoint(),
            file: Some(name.into()),
            save: SaveKinds::default(),
            description: String::new(),
            settings: stored_config(source.settings(settings)),
            origin: origin.clone(),
        };
        let is_whole = |_: &FeatureTotals| {
            let faults = results::verify(&root, &Silent)?.faults;
            let is_own = |path: &Path| path.to_str().is_some_and(|path| path.starts_with(name));
            Ok(!faults.iter().any(|(path, _)| is_own(path)))
        };
        let began = ShardRun::begin(shard, &folder, &record_of(name), made, is_whole, observer);
        match began.map_err(|error| error.during(Run::Describing))? {
            Began::Finished(totals) => {
                let resumed = totals.images;
                return Ok(summary(totals, resumed, Some(ShardSummary::of(shard, true))));
            }
            Began::Open(run) => shard_run = Some(run),
        }
    }
    let mut matrix = GrowingMatrix::open(&folder, &working, &out, MatrixKind { format, numbers, columns: width })?;
    let mut earlier = Earlier::read(&journal, &origin);
    let mut records = collection.records().map(|record| record.map_err(SkippedFile::from)).peekable();
    let mut skipped = Vec::new();
    let mut resumed = 0;
    while let Some(line) = earlier.peek() {
        if observer.interrupted() {
            return Err(PipelineError::Interrupted(Run::Describing));
        }
        let found = match records.peek() {
            Some(Ok(record)) if portable(&record.relative) == line.path => {
                let content = record.content(limits);
                let same = content.is_ok_and(|content| content.hash.to_hex().as_str() == line.content_hash);
                if !same || !matrix.recall(line.rows, line.crc32).unwrap_or(false) {
                    break;
                }
                resumed += 1;
                earlier.accept();
                None
            }
            // Left out before; if it can be used now, everything after it has other places.
            Some(Ok(record)) => match reason_to_skip(record, limits) {
                Some(reason) => Some(SkippedFile { path: record.path.clone(), reason }),
                None => break,
            },
            Some(Err(skip)) => Some(skip.clone()),
            None => break,
        };
        skipped.extend(found.inspect(|skip| skip.announce(observer)));
        records.next();
    }
    matrix.begin()?;
    let mut journal = earlier.go_on(&origin)?;
    let mut images = resumed;
    let image_loop =
        ImageLoop { extractor, device, limits, cache: None, workers: workers(request.machine.threads)?, observer };
    let outcome = image_loop.run(&Rows { extractor, described }, records, None, |computed| {
        let Some((Place { rows, grid }, values)) = Place::split(&computed.bytes) else { return Ok(()) };
        let first_row = matrix.rows();
        let crc32 = matrix.push(&floats_from_bytes(values))?;
        let (path, content_hash) = (portable(&computed.item.relative), computed.content.to_hex().to_string());
        journal.push(&IndexLine { path, first_row, rows, grid, content_hash, crc32 })?;
        images += 1;
        Ok(())
    });
    let outcome: Outcome = outcome.map_err(|error| error.during(Run::Describing))?;
    skipped.extend(outcome.skipped);
    tell_of_passed_over(&collection, observer);
    let bad = skipped.len() as u64;
    shard_run.as_ref().map_or(Ok(()), |run| run.count(images + bad))?;
    if images == 0 && shard.is_none() {
        drop((matrix, journal));
        claims[2..].iter().try_for_each(|claim| folder.remove(&root.join(&claim.name)))?;
        return match skipped.is_empty() {
            true => Err(no_images(&collection)),
            false => Err(PipelineError::NoUsableImage { data: data.clone(), skipped }),
        };
    }
    let (rows, overflowed) = (matrix.rows(), matrix.overflowed());
    journal.finish(&folder, &index_path(&out), matrix)?;
    if overflowed > 0 {
        observer.observe(Event::Warning(format!(
            "{overflowed} numbers are beyond what half precision holds and became infinite; write them as f32"
        )));
    }
    let listed = |skip: &SkippedFile| (names::text(skip.path.as_os_str()), skip.reason.clone());
    let totals =
        FeatureTotals { described, numbers, rows, width, images, skipped: skipped.iter().map(listed).collect() };
    let Some((shard, run)) = shard.zip(shard_run) else {
        settings.data.judge(bad, images + bad, &skipped)?;
        return Ok(summary(totals, resumed, None));
    };
    run.finish(&folder, totals.clone())?;
    Ok(summary(totals, resumed, Some(ShardSummary::of(shard, false))))
}

/// Why an image cannot be used, if it cannot.
fn reason_to_skip(record: &Record, limits: &DecodeConfig) -> Option<String> {
    record.content(limits).and_then(|content| content.decode(limits)).err()
}
