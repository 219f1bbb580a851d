//! `train --regions`: a collection → one code book of what its patches look like.

use std::path::{Path, PathBuf};

use burn_dataset::Dataset;
use rand::Rng;
use serde::Serialize;

use super::{CACHE, CHECKPOINT, TrainRequest, Training, claims, numbered, patch_network};
use crate::config::{ConfigError, Settings};
use crate::dataset::{self, Sources, sample};
use crate::event::{Event, Observer, Plan, Silent, counted, path_as_text};
use crate::features::Extractor;
use crate::method::{Machine, MethodError, RegionModel, mean_colours, read_code_book};
use crate::numerics::bytes::{bytes_from_floats, floats_from_bytes};
use crate::numerics::random;
use crate::output::{Cache, OutputFolder};
use crate::pipeline::images::{ImageLoop, OfImage, Outcome};
use crate::pipeline::{PipelineError, Run, SkippedFile, no_images, stored_config, tell_of_passed_over};
use crate::pixels::{ImageItem, Picture};
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

    /// Everything that the patches of an image follow from besides the image.
    fn identity(&self, settings: &Settings) -> blake3::Hash {
        let identity = serde_json::json!([
            "patches",
            env!("CARGO_PKG_VERSION"),
            self.extractor.fingerprint(),
            settings.pixels.fingerprint(),
            self.count,
            self.seed
        ]);
        blake3::hash(identity.to_string().as_bytes())
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
    let sample::Sample { records, skipped, seen, .. } =
        sample::records(collection.records(), |_| true, limit, seed, observer);
    tell_of_passed_over(&collection, observer);
    if seen == 0 && skipped.is_empty() {
        return Err(no_images(&collection));
    }
    training.announce_regions(records.len(), &request.data.display().to_string());
    if request.resume {
        observer.observe(Event::Note("a code book is learned in one go: what the cache holds is used again".into()));
    }

    let patches = training.patches(records.len())?;
    folder.create_folder(&out.join(CACHE))?;
    let failed = |source| PipelineError::OutputFolder { path: out.clone(), source };
    let cache = Cache::open(&out.join(CACHE), &patches.identity(settings), &settings.cache).map_err(failed)?;
    let records = records.into_iter().map(Ok);
    let (checkpoint, skipped) = training.learn_regions(&patches, records, Some(&cache), skipped, &request.data)?;
    keep(&checkpoint, skipped, &folder, &out)
}

/// Says so where there are fewer kinds than were asked for.
pub(super) fn warn_of_few(found: usize, asked: usize, observer: &dyn Observer) {
    if found < asked {
        let found = counted(found as u64, "kind");
        observer.observe(Event::Warning(format!("there are patches for no more than {found} of regions")));
    }
}

/// Writes a checkpoint unless it is there already.
pub(super) fn keep(
    checkpoint: &RegionCheckpoint,
    skipped: Vec<SkippedFile>,
    folder: &OutputFolder,
    out: &Path,
) -> Result<RegionsSummary, PipelineError> {
    let bytes = checkpoint.to_bytes().map_err(MethodError::Unkept)?;
    let path = out.join(CHECKPOINT);
    let already_finished = read_code_book(&path).is_ok_and(|(earlier, _)| earlier == *checkpoint);
    if !already_finished {
        folder.write(&path, |writer| writer.write_all(&bytes))?;
    }
    folder.sync()?;
    let RegionHeader { images, patches, labels, .. } = checkpoint.header;
    Ok(RegionsSummary { checkpoint: path, skipped, images, patches, labels, already_finished })
}

/// Learns one code book from a dataset of images: of files, such as a [`dataset::Collection`], or in memory, such as burn's
/// `InMemDataset<RgbImage>`. The same images in the same order give the same code book as a folder of them.
///
/// `settings.regions.labels` says how many kinds of regions are looked for. Installed weights are used where there are any, and
/// the fastest device.
///
/// # Errors
/// If no kinds are asked for, no image can be used, or the observer interrupts.
///
/// # Example
///
/// ```
/// use burn_dataset::InMemDataset;
/// use deepcut::{RgbImage, Settings, event::Silent};
///
/// // A horizon, and what is below it.
/// let land = |horizon: usize| {
///     let pixels = (0..48 * 32).map(|place| if place / 48 < horizon { [90, 150, 230] } else { [60, 140, 40] });
///     RgbImage::from_values(48, 32, pixels.collect())
/// };
/// let images = InMemDataset::new((10..22).step_by(3).map(land).collect());
/// let mut settings = Settings::default();
/// settings.regions.labels = 2;
/// let model = deepcut::train_regions(&images, &settings, &Silent)?;
/// let [high, low] = [12, 18].map(|horizon| model.segment(&land(horizon)));
/// assert_eq!(high?.mask.at(24, 4), low?.mask.at(24, 4));
/// # Ok::<(), deepcut::Error>(())
/// ```
pub fn train_region_model<I: ImageItem>(
    images: &dyn Dataset<I>,
    settings: &Settings,
    observer: &dyn Observer,
) -> Result<RegionModel, PipelineError> {
    train_region_model_with(images, settings, None, &Machine::default(), observer)
}

/// [`train_region_model`] with the weights of a transformer from a file, on the wanted device.
pub fn train_region_model_with<I: ImageItem>(
    images: &dyn Dataset<I>,
    settings: &Settings,
    weights: Option<&Path>,
    machine: &Machine,
    observer: &dyn Observer,
) -> Result<RegionModel, PipelineError> {
    settings.validate()?;
    let data = Path::new("the dataset").into();
    let (training, (checkpoint, _)) = match settings.regions.by {
        KindsBy::CodeBook => {
            let training = Training::open(settings.clone(), weights, machine, observer)?;
            let settings = training.resolved.settings();
            let indices = sample::indices(images.len(), settings.data.max_images, settings.train.seed, observer);
            let patches = training.patches(indices.len())?;
            training.announce_regions(indices.len(), "a dataset");
            // Every image is looked at once: nothing needs to be kept.
            let learned = training.learn_regions(&patches, numbered(images, indices), None, Vec::new(), &data)?;
            (training, learned)
        }
        KindsBy::PatchNetwork => {
            let training = patch_network::open(settings.clone(), weights, machine, observer)?;
            let squares = training.squares()?;
            let indices = sample::indices(images.len(), squares.most(), training.seed(), &Silent);
            training.announce_network(indices.len(), images.len(), "a dataset", &squares);
            let learned = training.learn_network(&squares, numbered(images, indices), Vec::new(), &data)?;
            (training, learned)
        }
    };
    let bytes = checkpoint.to_bytes().map_err(MethodError::Unkept)?;
    let Training { backbone, device, .. } = training;
    Ok(RegionModel::with_backbone(checkpoint, blake3::hash(&bytes), backbone, device)?)
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
    /// What is looked at of so many images.
    fn patches(&self, images: usize) -> Result<Patches<'_>, PipelineError> {
        let settings = self.resolved.settings();
        settings.regions.asked_for().map_err(|invalid| ConfigError::Setting { room: "regions", invalid })?;
        let count = PATCHES.div_ceil(images.max(1)).min(MOST_OF_IMAGE);
        Ok(Patches { extractor: self.backbone.extractor.as_ref(), count, seed: settings.train.seed })
    }

    /// Learns a code book from all images that can be used; gives with it those that cannot, after those `skipped` before.
    fn learn_regions<I: ImageItem>(
        &self,
        patches: &Patches,
        items: impl ExactSizeIterator<Item = Result<I, SkippedFile>> + Send,
        cache: Option<&Cache>,
        mut skipped: Vec<SkippedFile>,
        data: &Sources,
    ) -> Result<(RegionCheckpoint, Vec<SkippedFile>), PipelineError> {
        let (settings, observer, extractor) = (self.resolved.settings(), self.observer, patches.extractor);
        let seed = settings.train.seed;
        let image_loop = ImageLoop {
            extractor,
            device: &self.device,
            limits: &settings.pixels,
            cache,
            workers: self.workers,
            observer,
        };
        let mut drawn = Drawn { seen: 0, rows: Vec::new(), generator: random::stream(seed, "code book", 0) };
        let (mut images, mut contents) = (0, blake3::Hasher::new());
        let total = items.len() as u64;
        let outcome = image_loop.run(patches, items, Some(total), |computed| {
            images += 1;
            contents.update(computed.content.as_bytes());
            floats_from_bytes(&computed.bytes).chunks_exact(patches.width()).for_each(|row| drawn.offer(row));
            Ok(())
        });
        let Outcome { skipped: bad, .. } = outcome.map_err(|error| error.during(Run::Training))?;
        skipped.extend(bad);
        if drawn.rows.is_empty() {
            return Err(PipelineError::NoUsableImage { data: data.clone(), skipped });
        }
        settings.data.judge(skipped.len() as u64, images as u64 + skipped.len() as u64, &skipped)?;

        let sample = sample_of(&drawn.rows, extractor.width());
        let (labels, components) = (settings.regions.labels, settings.regions.components);
        let book = self.pool.install(|| CodeBook::fit(&sample, labels, components, seed));
        if observer.interrupted() {
            return Err(PipelineError::Interrupted(Run::Training));
        }
        let header = RegionHeader {
            config: stored_config(settings),
            backbone: self.backbone.name.to_string(),
            backbone_hash: self.backbone.hash.clone(),
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
        let position_directions = extractor.position_directions();
        Ok((RegionCheckpoint { header, book, position_directions, network: None }, skipped))
    }

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
