//! `train --regions`: a collection → one code book of what its patches look like.

use std::path::{Path, PathBuf};

use rand::Rng;
use serde::Serialize;

use super::{CACHE, CHECKPOINT, TrainRequest, Training, claims, patch_network};
use crate::config::Settings;
use crate::dataset::{self, sample};
use crate::event::{Event, Observer, Plan, counted, path_as_text};
use crate::features::Extractor;
use crate::method::{MethodError, mean_colours, read_code_book};
use crate::numerics::bytes::{bytes_from_floats, floats_from_bytes};
use crate::numerics::random;
use crate::output::{Cache, OutputFolder};
use crate::pipeline::images::{ImageLoop, OfImage, Outcome};
use crate::pipeline::{PipelineError, Run, SkippedFile, no_images, stored_config, tell_of_passed_over};
use crate::pixels::Picture;
use crate::segment::regions::{COLOURS, CodeBook, KindsBy, PatchSample, RegionCheckpoint, RegionHeader};
use crate::tensor;

/// So many patches of the whole collection tell what its patches look like.
const PATCHES: usize = 16_384;
/// Of one image no more are taken: they are much alike.
const MOST_OF_IMAGE: usize = 256;

/// What a run that learned a code book did.
#[derive(Debug, Clone, Serialize)]
pub struct RegionsSummary {
    #[serde(serialize_with = "path_as_text")]
    pub checkpoint: PathBuf,
    pub skipped: Vec<SkippedFile>,
    pub images: usize,
    /// Patches that were compared.
    pub patches: usize,
    /// Kinds of regions; fewer than were asked for where there are fewer patches.
    pub labels: usize,
    /// Whether the checkpoint was there already.
    pub already_finished: bool,
}

/// Some patches of every image: their features and colours.
struct Patches<'a> {
    extractor: &'a (dyn Extractor + Send + Sync),
    count: usize,
    seed: u64,
}

impl Patches<'_> {
    /// Values of a patch.
    fn width(&self) -> usize {
        self.extractor.width() + COLOURS
    }
}

impl OfImage for Patches<'_> {
    fn known(&self, cache: &Cache, content: &blake3::Hash) -> Option<Vec<u8>> {
        cache.get(content).filter(|bytes| bytes.len().is_multiple_of(4 * self.width()))
    }

    fn compute(&self, picture: &Picture) -> Vec<u8> {
        let nodes = self.extractor.extract_within(picture, picture.outside.as_ref());
        let colours = mean_colours(picture, &nodes.layout);
        let count = nodes.nodes();
        // What is drawn of an image depends on the image alone, not on those before it.
        let content = blake3::hash(picture.image.values.as_flattened());
        let number = content.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mut generator = random::stream(self.seed, "patches", number);
        let mut order: Vec<usize> = (0..count).collect();
        for place in 0..self.count.min(count) {
            order.swap(place, generator.random_range(place as u64..count as u64) as usize);
        }
        let width = nodes.channels;
        let values = order.iter().take(self.count).flat_map(|&node| {
            let features = &nodes.values[node * width..][..width];
            features.iter().chain(&colours[node * COLOURS..][..COLOURS]).copied()
        });
        bytes_from_floats(&values.collect::<Vec<f32>>())
    }
}

/// Patches of a stream, of which each is kept with equal probability.
struct Drawn {
    seen: u64,
    /// Row-major `[at most PATCHES, width]`.
    rows: Vec<f32>,
    generator: rand_chacha::ChaCha8Rng,
}

impl Drawn {
    fn offer(&mut self, row: &[f32]) {
        self.seen += 1;
        let kept = self.rows.len() / row.len();
        if kept < PATCHES {
            self.rows.extend_from_slice(row);
            return;
        }
        let place = self.generator.random_range(0..self.seen) as usize;
        if place < PATCHES {
            self.rows[place * row.len()..][..row.len()].copy_from_slice(row);
        }
    }
}

/// Learns one code book from a collection, by which `infer` divides images into regions, and writes `OUT/best.safetensors`.
/// The patches are kept in `OUT/cache`, so that a repeated run is quick.
pub fn train_regions(
    settings: Settings,
    request: &TrainRequest,
    observer: &dyn Observer,
) -> Result<RegionsSummary, PipelineError> {
    if settings.regions.by == KindsBy::PatchNetwork {
        return patch_network::train(settings, request, observer);
    }
    let collection = dataset::open_sources(&request.data, &settings.data)?;
    let out = request.out.clone().unwrap_or_else(|| Path::new("checkpoints").join(collection.name()));
    let training = Training::open(settings, request.weights.as_deref(), &request.machine, observer)?;
    let settings = training.resolved.settings();
    let folder = OutputFolder::open(&out, "train", &claims(), request.wait, observer)?;
    let (limit, seed) = (settings.data.max_images, settings.train.seed);
    let sample::Sample { records, mut skipped, seen, .. } =
        sample::records(collection.records(), |_| true, limit, seed, observer);
    tell_of_passed_over(&collection, observer);
    if seen == 0 && skipped.is_empty() {
        return Err(no_images(&collection));
    }
    training.announce_regions(records.len(), &request.data.display().to_string());
    if request.resume {
        observer.observe(Event::Note("a code book is learned in one go: what the cache holds is used again".into()));
    }

    let extractor = training.backbone.extractor.as_ref();
    let count = PATCHES.div_ceil(records.len().max(1)).min(MOST_OF_IMAGE);
    let patches = Patches { extractor, count, seed };
    folder.create_folder(&out.join(CACHE))?;
    let failed = |source| PipelineError::OutputFolder { path: out.clone(), source };
    let identity = serde_json::json!([
        "patches",
        env!("CARGO_PKG_VERSION"),
        extractor.fingerprint(),
        settings.pixels.fingerprint(),
        count,
        seed
    ]);
    let identity = blake3::hash(identity.to_string().as_bytes());
    let cache = Cache::open(&out.join(CACHE), &identity, &settings.cache).map_err(failed)?;
    let image_loop = ImageLoop {
        extractor,
        device: &training.device,
        limits: &settings.pixels,
        cache: Some(&cache),
        workers: training.workers,
        observer,
    };
    let mut drawn = Drawn { seen: 0, rows: Vec::new(), generator: random::stream(seed, "code book", 0) };
    let (mut images, mut contents) = (0, blake3::Hasher::new());
    let total = records.len() as u64;
    let outcome = image_loop.run(&patches, records.into_iter().map(Ok), Some(total), |computed| {
        images += 1;
        contents.update(computed.content.as_bytes());
        floats_from_bytes(&computed.bytes).chunks_exact(patches.width()).for_each(|row| drawn.offer(row));
        Ok(())
    });
    let Outcome { skipped: bad, .. } = outcome.map_err(|error| error.during(Run::Training))?;
    skipped.extend(bad);
    if drawn.rows.is_empty() {
        return Err(PipelineError::NoUsableImage { data: request.data.clone(), skipped });
    }
    settings.data.judge(skipped.len() as u64, images as u64 + skipped.len() as u64, &skipped)?;

    let sample = sample_of(&drawn.rows, extractor.width());
    let (labels, components) = (settings.regions.labels, settings.regions.components);
    let book = training.pool.install(|| CodeBook::fit(&sample, labels, components, seed));
    if observer.interrupted() {
        return Err(PipelineError::Interrupted(Run::Training));
    }
    let header = RegionHeader {
        config: stored_config(settings),
        backbone: training.backbone.name.to_string(),
        backbone_hash: training.backbone.hash.clone(),
        seed,
        collection_hash: contents.finalize().to_hex().to_string(),
        images,
        patches: sample.colours.len() / COLOURS,
        labels: book.labels(),
        components: book.directions.len() / book.width(),
        width: book.width(),
        spread: book.spread,
        network: None,
    };
    warn_of_few(header.labels, labels, observer);
    let (patches, labels) = (header.patches, header.labels);
    let position_directions = extractor.position_directions();
    let checkpoint = RegionCheckpoint { header, book, position_directions, network: None };
    let (path, already_finished) = keep(&checkpoint, &folder, &out)?;
    Ok(RegionsSummary { checkpoint: path, skipped, images, patches, labels, already_finished })
}

/// Says so where there are fewer kinds than were asked for.
pub(super) fn warn_of_few(found: usize, asked: usize, observer: &dyn Observer) {
    if found < asked {
        let found = counted(found as u64, "kind");
        observer.observe(Event::Warning(format!("there are patches for no more than {found} of regions")));
    }
}

/// Writes a checkpoint unless it is there already; gives its path and whether it was.
pub(super) fn keep(
    checkpoint: &RegionCheckpoint,
    folder: &OutputFolder,
    out: &Path,
) -> Result<(PathBuf, bool), PipelineError> {
    let bytes = checkpoint.to_bytes().map_err(MethodError::Unkept)?;
    let path = out.join(CHECKPOINT);
    let already_finished = read_code_book(&path).is_ok_and(|(earlier, _)| earlier == *checkpoint);
    if !already_finished {
        folder.write(&path, |writer| writer.write_all(&bytes))?;
    }
    folder.sync()?;
    Ok((path, already_finished))
}

/// Features and colours apart.
fn sample_of(rows: &[f32], width: usize) -> PatchSample {
    let mut sample = PatchSample::default();
    for row in rows.chunks_exact(width + COLOURS) {
        let (features, colours) = row.split_at(width);
        sample.features.extend(features);
        sample.colours.extend(colours);
    }
    sample
}

impl Training<'_> {
    /// Says what will be done.
    fn announce_regions(&self, images: usize, data: &str) {
        let labels = self.resolved.settings().regions.labels;
        self.observer.observe(Event::Plan(Plan {
            doing: format!("learning {labels} kinds of regions from {images} images of {data}"),
            backbone: self.backbone.description.clone(),
            could_be_deeper: self.backbone.hash.is_none(),
            how: format!("device {}", tensor::name(&self.device)),
        }));
    }
}
