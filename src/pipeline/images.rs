//! The one way from the images of a collection to what is computed of each: features, vectors, graphs, through the cache.

use std::path::{Path, PathBuf};

use super::{PipelineError, SkippedFile};
use crate::event::{Event, Observer, Phase, counted};
use crate::features::{BatchExtractor, Extractor, Prepared};
use crate::method::{MethodError, images_per_batch, waiting_threads, with_batches};
use crate::names;
use crate::nodes::Layout;
use crate::output::Cache;
use crate::parallel::{Held, Permit, Semaphore, parallel_map};
use crate::pixels::{DecodeConfig, ImageItem, Picture};
use crate::tensor::{Device, Tensor};

/// What is computed of every image, as bytes that the cache keeps.
pub(super) trait OfImage: Sync {
    /// What is known of an image already; none lets it be computed.
    fn known(&self, cache: &Cache, content: &blake3::Hash) -> Option<Vec<u8>>;

    /// Computes it from an image.
    fn compute(&self, picture: &Picture) -> Vec<u8>;

    /// What a picture of this width and height is resized to before it is computed, across and down; none where all of its pixels
    /// count.
    fn input_size(&self, _width: usize, _height: usize) -> Option<[usize; 2]> {
        None
    }

    /// The same of whole batches, where features alone tell it.
    fn of_batches(&self) -> Option<&dyn OfBatch> {
        None
    }
}

/// What is computed of whole batches on a device.
pub(super) trait OfBatch: Sync {
    /// One row for every image.
    fn rows(&self, extractor: &dyn BatchExtractor, batch: &[Prepared], images: usize) -> Tensor<2>;

    /// What a row holds.
    fn of_row(&self, row: &[f32], layout: &Layout) -> Vec<u8>;
}

/// What was computed of one image.
pub(super) struct Computed<I> {
    pub item: I,
    pub content: blake3::Hash,
    pub bytes: Vec<u8>,
    /// What is to be said of how the image was read.
    remark: Option<String>,
}

/// What was to be said of how images were read: the first are told one by one, the rest counted.
pub(super) struct Remarks<'a> {
    observer: &'a dyn Observer,
    images: u64,
}

/// Images whose remarks are told.
const TOLD: u64 = 5;

impl<'a> Remarks<'a> {
    pub fn new(observer: &'a dyn Observer) -> Remarks<'a> {
        Remarks { observer, images: 0 }
    }

    /// Takes what is to be said of one image, if anything.
    pub fn add(&mut self, path: &Path, remark: Option<&str>) {
        let Some(remark) = remark else { return };
        self.images += 1;
        if self.images <= TOLD {
            self.observer.observe(Event::Warning(format!("{}: {remark}", names::text(path.as_os_str()))));
        }
    }

    /// Tells how many there were.
    pub fn finish(self, listed_in: Option<&str>) {
        if self.images > TOLD {
            let listed = listed_in.map_or(String::new(), |table| format!("; {table} names all"));
            let more = counted(self.images - TOLD, "more image");
            self.observer.observe(Event::Warning(format!("{more} were read with such remarks{listed}")));
        }
    }
}

/// What is to be said of how a picture was read, in one line; none where there is nothing.
pub(super) fn remark(picture: &Picture) -> Option<String> {
    (!picture.remarks.is_empty()).then(|| picture.remarks.join("; "))
}

/// How many images did not fit in the cache, and which could not be used.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub not_stored: u64,
    pub skipped: Vec<SkippedFile>,
}

/// The loop over the images of a collection.
pub(super) struct ImageLoop<'a> {
    pub extractor: &'a (dyn Extractor + Send + Sync),
    pub device: &'a Device,
    pub limits: &'a DecodeConfig,
    /// What keeps the results, where they are not kept by those who consume them.
    pub cache: Option<&'a Cache>,
    /// Threads that compute.
    pub workers: usize,
    pub observer: &'a dyn Observer,
}

/// From an image, and its place among those who compute, to its bytes.
type Compute<'a> = dyn Fn(Held<Picture>, Permit) -> Result<Vec<u8>, MethodError> + Sync + 'a;

impl ImageLoop<'_> {
    /// Hands what `kind` says of every usable item to `consume`, in order; only as many images as threads are decoded at a
    /// time. Items that cannot be had come as errors.
    pub fn run<I: ImageItem>(
        &self,
        kind: &dyn OfImage,
        items: impl Iterator<Item = Result<I, SkippedFile>> + Send,
        total: Option<u64>,
        consume: impl FnMut(Computed<I>) -> Result<(), PipelineError>,
    ) -> Result<Outcome, PipelineError> {
        let Some((extractor, of_batch)) = self.extractor.batches().zip(kind.of_batches()) else {
            return self.run_with(&|picture, _permit| Ok(kind.compute(&picture)), 0, kind, items, total, consume);
        };
        let images = images_per_batch(extractor, self.device);
        let rows = |batch: &[Prepared]| of_batch.rows(extractor, batch, images);
        with_batches(extractor, images, rows, |batches| {
            let compute = |picture: Held<Picture>, permit: Permit| {
                if picture.outside.is_some() {
                    // Batches are of whole grids.
                    return Ok(kind.compute(&picture));
                }
                let input = batches.prepare(&picture);
                let layout = input.layout.clone();
                // Neither the memory nor the place among those who decode is needed while waiting.
                drop((picture, permit));
                Ok(of_batch.of_row(&batches.compute(input)?, &layout))
            };
            self.run_with(&compute, waiting_threads(images), kind, items, total, consume)
        })
    }

    /// The same with a way to compute, and threads that wait for a device.
    fn run_with<I: ImageItem>(
        &self,
        compute: &Compute,
        waiting: usize,
        kind: &dyn OfImage,
        items: impl Iterator<Item = Result<I, SkippedFile>> + Send,
        total: Option<u64>,
        mut consume: impl FnMut(Computed<I>) -> Result<(), PipelineError>,
    ) -> Result<Outcome, PipelineError> {
        let observer = self.observer;
        observer.observe(Event::PhaseStarted { phase: Phase::Features, total });
        let semaphore = Semaphore::new(self.workers);
        let process = |(number, item): (usize, Result<I, SkippedFile>)| {
            if observer.interrupted() {
                return Err(MethodError::Interrupted.into());
            }
            item.map_or_else(|skip| Ok(Err(skip)), |item| self.process_one(item, number, kind, compute, &semaphore))
        };
        let (mut outcome, mut done, mut remarks) = (Outcome::default(), 0, Remarks::new(observer));
        parallel_map(items.enumerate(), self.workers + waiting, process, |processed: Result<_, PipelineError>| {
            match processed? {
                Ok((computed, stored)) => {
                    outcome.not_stored += u64::from(!stored);
                    if let Some(path) = computed.item.path() {
                        remarks.add(path, computed.remark.as_deref());
                    }
                    consume(computed)?;
                }
                Err(skip) => {
                    skip.announce(observer);
                    outcome.skipped.push(skip);
                }
            }
            done += 1;
            observer.observe(Event::PhaseProgress { phase: Phase::Features, done });
            Ok::<(), PipelineError>(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Features });
        remarks.finish(None);
        Ok(outcome)
    }

    /// What is computed of an item, and whether the cache has it now; or why the item is left out.
    fn process_one<I: ImageItem>(
        &self,
        item: I,
        number: usize,
        kind: &dyn OfImage,
        compute: &Compute,
        semaphore: &Semaphore,
    ) -> Result<Result<(Computed<I>, bool), SkippedFile>, PipelineError> {
        let skip = |item: &I, reason: String| {
            let path = item.path().map_or_else(|| PathBuf::from(number.to_string()), PathBuf::from);
            Ok(Err(SkippedFile { path, reason }))
        };
        let content = match item.content(self.limits) {
            Ok(content) => content,
            Err(reason) => return skip(&item, reason),
        };
        let hash = content.hash;
        if let Some(bytes) = self.cache.and_then(|cache| kind.known(cache, &hash)) {
            return Ok(Ok((Computed { item, content: hash, bytes, remark: None }, true)));
        }
        let permit = semaphore.acquire();
        let picture = match content.decode_for(self.limits, Some(&|width, height| kind.input_size(width, height))) {
            Ok(picture) => picture,
            Err(reason) => return skip(&item, reason),
        };
        let remark = remark(&picture);
        let bytes = compute(picture, permit)?;
        let store = |cache: &Cache| cache.put(&hash, &bytes).map_err(PipelineError::Cache);
        let stored = self.cache.map_or(Ok(true), store)?;
        Ok(Ok((Computed { item, content: hash, bytes, remark }, stored)))
    }
}
