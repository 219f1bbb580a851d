//! `features`: a collection → one matrix of features for other tools, with an index of its images.

mod index;

pub use index::image_names;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::images::{ImageLoop, OfBatch, OfImage, Outcome};
use super::{PipelineError, Run, SkippedFile, no_images, portable, tell_of_passed_over};
use crate::config::{Purpose, Settings};
use crate::dataset::{self, Record, Sources};
use crate::event::{Event, Observer, Plan, counted};
use crate::features::{Backbone, BatchExtractor, Extractor, Prepared, is_whole_matrix};
use crate::files;
use crate::method::{Machine, Model, ModelOptions, installed_weights, open_backbone};
use crate::nodes::Layout;
use crate::numerics::bytes::floats_from_bytes;
use crate::output::{Cache, Claim, GrowingMatrix, MatrixFormat, MatrixKind, NumberType, OutputFolder};
use crate::parallel::workers;
use crate::pixels::{DecodeConfig, ImageItem, Picture};
use crate::tensor::{self, Device, Tensor};
use index::{Earlier, IndexLine, Place, index_path};

/// What is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
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
    /// Folders, lists of images, or images.
    pub data: Sources,
    /// A `.npy` or `.safetensors` file.
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
        let device = machine.open()?;
        let has_weights = weights.is_some() || installed_weights().is_some();
        // As `train` would see them.
        let resolved = settings.clone().resolve(Purpose::Train, has_weights, machine.precision)?;
        let backbone = open_backbone(&resolved, weights.as_deref(), None, &device)?;
        Ok(Source::Settings { backbone, device, limits: settings.pixels })
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
    let &FeaturesRequest { ref data, ref out, described, numbers, .. } = request;
    let no_matrix = || PipelineError::NoMatrix { path: out.clone() };
    let format = MatrixFormat::of(out).ok_or_else(no_matrix)?;
    let name = out.file_name().and_then(|name| name.to_str()).ok_or_else(no_matrix)?;
    let collection = dataset::open_sources(data, &settings.data)?;
    let source = Source::open(settings, request)?;
    let (backbone, device, limits) = source.parts();
    let extractor = backbone.extractor.as_ref();
    let width = match described {
        Described::Patches => extractor.width(),
        Described::Images => extractor.image_width(),
    };
    observer.observe(Event::Plan(Plan {
        doing: format!("describing {} of {}", described.name(), data.display()),
        backbone: backbone.description.clone(),
        could_be_deeper: backbone.hash.is_none() && request.checkpoint.is_none(),
        how: format!("device {}, {} as {}", tensor::name(device), counted(width as u64, "number"), numbers.name()),
    }));

    let beside = |end: &str| format!("{name}{end}");
    let claims = [
        Claim { is_whole: Some(is_whole_matrix), ..Claim::file(name) },
        Claim::file(&beside(".index.jsonl")),
        Claim::working(&beside(".partial")),
        Claim::working(&beside(".partial.jsonl")),
    ];
    let root = files::parent(out);
    let folder = OutputFolder::open(root, "features", &claims, request.wait, observer)?;
    let [target, working, journal] = [name, &beside(".partial"), &beside(".partial.jsonl")].map(|name| root.join(name));
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
    let mut matrix = GrowingMatrix::open(&folder, &working, &target, MatrixKind { format, numbers, columns: width })?;
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
    if images == 0 {
        drop((matrix, journal));
        claims[2..].iter().try_for_each(|claim| folder.remove(&root.join(&claim.name)))?;
        return match skipped.is_empty() {
            true => Err(no_images(&collection)),
            false => Err(PipelineError::NoUsableImage { data: data.clone(), skipped }),
        };
    }
    let (rows, overflowed) = (matrix.rows(), matrix.overflowed());
    let index = index_path(out);
    journal.finish(&folder, &root.join(beside(".index.jsonl")), matrix)?;
    if overflowed > 0 {
        observer.observe(Event::Warning(format!(
            "{overflowed} numbers are beyond what half precision holds and became infinite; write them as f32"
        )));
    }
    let bad = skipped.len() as u64;
    settings.data.judge(bad, images + bad, &skipped)?;
    let out = out.clone();
    Ok(FeaturesSummary {
        out,
        index,
        described,
        numbers,
        rows,
        width,
        images,
        resumed,
        backbone: backbone.name,
        backbone_hash: backbone.hash.clone(),
        skipped,
    })
}

/// Why an image cannot be used, if it cannot.
fn reason_to_skip(record: &Record, limits: &DecodeConfig) -> Option<String> {
    record.content(limits).and_then(|content| content.decode(limits)).err()
}
