//! `train --regions` without a transformer, by GraPL's network: a sample of a collection → one network for all of its patches.

use std::path::Path;

use super::regions::{RegionsSummary, keep, warn_of_few};
use super::{TrainRequest, Training, claims};
use crate::config::{ConfigError, Settings};
use crate::dataset::{self, Sources, sample};
use crate::event::{Event, Observer, Phase, Plan, Silent};
use crate::features::BackboneChoice;
use crate::method::{Machine, patch_picture, refuse_needless};
use crate::numerics::bytes::{bytes_from_floats, floats_from_bytes};
use crate::output::{Cache, OutputFolder};
use crate::pipeline::images::{ImageLoop, OfImage, Outcome};
use crate::pipeline::{PipelineError, Run, SkippedFile, no_images, stored_config, tell_of_passed_over};
use crate::pixels::{ImageItem, Picture};
use crate::raster::{Raster, RgbImage};
use crate::segment::regions::{
    COLOURS, PatchKinds, PatchPicture, PatchSizes, RegionCheckpoint, RegionHeader, colour_book,
};

/// More images are not learned from: they are kept while the network learns, and more do not change what 32 kinds are.
const MOST_IMAGES: usize = 128;
/// Nor so many that they take more memory.
const MOST_BYTES: usize = 256 << 20;

/// Every image as the network sees it.
pub(super) struct Squares {
    sizes: PatchSizes,
    /// How many images are wanted; 0 for all.
    wanted: usize,
}

impl Squares {
    /// Bytes of the square.
    fn area(&self) -> usize {
        COLOURS * self.sizes.side().pow(2)
    }

    /// So many images are looked at.
    pub(super) fn most(&self) -> usize {
        let most = MOST_IMAGES.min(MOST_BYTES / self.area());
        if self.wanted == 0 { most } else { most.min(self.wanted) }
    }

    fn read(&self, bytes: &[u8]) -> PatchPicture {
        let (square, floats) = bytes.split_at(self.area());
        let mut colours = floats_from_bytes(floats);
        let compared = colours.split_off(COLOURS * self.sizes.layout().nodes());
        let pixels = square.as_chunks::<COLOURS>().0.to_vec();
        let square: RgbImage = Raster::from_values(self.sizes.side(), self.sizes.side(), pixels);
        PatchPicture { square, colours, compared }
    }
}

impl OfImage for Squares {
    fn known(&self, _cache: &Cache, _content: &blake3::Hash) -> Option<Vec<u8>> {
        None
    }

    fn compute(&self, picture: &Picture) -> Vec<u8> {
        let PatchPicture { square, colours, compared } = patch_picture(picture, picture.outside.as_ref(), self.sizes);
        let mut bytes = square.values.into_flattened();
        bytes.extend(bytes_from_floats(&colours));
        bytes.extend(bytes_from_floats(&compared));
        bytes
    }
}

/// Learns one network from a sample of a collection, by which `infer` divides images into regions, and writes
/// `OUT/best.safetensors`. The sample is read again by every run; nothing else is kept.
pub(super) fn train(
    settings: Settings,
    request: &TrainRequest,
    observer: &dyn Observer,
) -> Result<RegionsSummary, PipelineError> {
    let collection = dataset::open_sources(&request.data, &settings.data)?;
    let out = request.out.clone().unwrap_or_else(|| Path::new("checkpoints").join(collection.name()));
    let training = open(settings, request.weights.as_deref(), &request.machine, observer)?;
    let folder = OutputFolder::open(&out, "train", &claims(), request.wait, observer)?;
    let squares = training.squares()?;
    // What it would say of the sample is true of `data.max_images` alone.
    let sample::Sample { records, skipped, seen, .. } =
        sample::records(collection.records(), |_| true, squares.most(), training.seed(), &Silent);
    skipped.iter().for_each(|skip| skip.announce(observer));
    tell_of_passed_over(&collection, observer);
    if seen == 0 && skipped.is_empty() {
        return Err(no_images(&collection));
    }
    training.announce_network(records.len(), seen, &request.data.display().to_string(), &squares);
    if request.resume {
        observer.observe(Event::Note("regions are learned in one go: this begins anew".into()));
    }
    let records = records.into_iter().map(Ok);
    let (checkpoint, skipped) = training.learn_network(&squares, records, skipped, &request.data)?;
    keep(&checkpoint, skipped, &folder, &out)
}

/// Prepares to learn a network.
pub(super) fn open<'a>(
    settings: Settings,
    weights: Option<&Path>,
    machine: &Machine,
    observer: &'a dyn Observer,
) -> Result<Training<'a>, PipelineError> {
    refuse_needless(&settings, weights.is_some(), machine)?;
    // Installed weights do not make a transformer of it.
    let settings = Settings { backbone: BackboneChoice::Superpixel, ..settings };
    Training::open(settings, None, machine, observer)
}

impl Training<'_> {
    /// What is looked at of every image.
    pub(super) fn squares(&self) -> Result<Squares, PipelineError> {
        let settings = self.resolved.settings();
        settings.regions.asked_for().map_err(|invalid| ConfigError::Setting { room: "regions", invalid })?;
        Ok(Squares { sizes: PatchSizes::of(&settings.grapl), wanted: settings.data.max_images })
    }

    pub(super) fn seed(&self) -> u64 {
        self.resolved.settings().train.seed
    }

    /// Learns a network from all images that can be used; gives with it those that cannot, after those `skipped` before.
    pub(super) fn learn_network<I: ImageItem>(
        &self,
        squares: &Squares,
        items: impl ExactSizeIterator<Item = Result<I, SkippedFile>> + Send,
        mut skipped: Vec<SkippedFile>,
        data: &Sources,
    ) -> Result<(RegionCheckpoint, Vec<SkippedFile>), PipelineError> {
        let (settings, observer, seed) = (self.resolved.settings(), self.observer, self.seed());
        let image_loop = ImageLoop {
            extractor: self.backbone.extractor.as_ref(),
            device: &self.device,
            limits: &settings.pixels,
            cache: None,
            workers: self.workers,
            observer,
        };
        let (mut pictures, mut contents) = (Vec::new(), blake3::Hasher::new());
        let total = items.len() as u64;
        let outcome = image_loop.run(squares, items, Some(total), |computed| {
            contents.update(computed.content.as_bytes());
            pictures.push(squares.read(&computed.bytes));
            Ok(())
        });
        let Outcome { skipped: bad, .. } = outcome.map_err(|error| error.during(Run::Training))?;
        skipped.extend(bad);
        if pictures.is_empty() {
            return Err(PipelineError::NoUsableImage { data: data.clone(), skipped });
        }
        let images = pictures.len();
        settings.data.judge(skipped.len() as u64, (images + skipped.len()) as u64, &skipped)?;

        let epochs = PatchKinds::epochs(images) as u64;
        observer.observe(Event::PhaseStarted { phase: Phase::Training, total: Some(epochs) });
        let book = self.pool.install(|| colour_book(&pictures, settings.regions.labels, seed));
        warn_of_few(book.labels(), settings.regions.labels, observer);
        let mut over = 0;
        let go_on = |epochs: usize| {
            if epochs > over {
                over = epochs;
                observer.observe(Event::PhaseProgress { phase: Phase::Training, done: over as u64 });
            }
            !observer.interrupted()
        };
        let network = PatchKinds::learn(&pictures, &book, &settings.regions, &settings.grapl, seed, go_on)
            .ok_or(PipelineError::Interrupted(Run::Training))?;
        observer.observe(Event::PhaseFinished { phase: Phase::Training });

        let header = RegionHeader {
            config: stored_config(settings),
            backbone: "none".into(),
            backbone_hash: None,
            seed,
            collection_hash: contents.finalize().to_hex().to_string(),
            images,
            patches: images * squares.sizes.layout().nodes(),
            labels: book.labels(),
            components: 0,
            width: book.width(),
            spread: book.spread,
            network: Some(squares.sizes),
        };
        let checkpoint = RegionCheckpoint { header, book, position_directions: Vec::new(), network: Some(network) };
        Ok((checkpoint, skipped))
    }

    /// Says what will be done, and of how many of all images.
    pub(super) fn announce_network(&self, images: usize, of: usize, data: &str, squares: &Squares) {
        let labels = self.resolved.settings().regions.labels;
        let PatchSizes { patches, patch_side } = squares.sizes;
        self.observer.observe(Event::Plan(Plan {
            doing: format!("learning {labels} kinds of regions from {images} images of {data}"),
            backbone: "GraPL's network".into(),
            could_be_deeper: false,
            how: format!("{patches} × {patches} patches of {patch_side} × {patch_side} pixels"),
        }));
        if of > images {
            let note = format!("learning from a random {images} of {of} images; more would be kept in memory at once");
            self.observer.observe(Event::Note(note));
        }
    }
}
