//! One vector per image: computed, from the cache, or from a file.

use std::path::PathBuf;

use super::{ClusterRequest, interrupted};
use crate::config::Settings;
use crate::dataset::{Collection, DatasetError, Record};
use crate::event::{Event, Observer, Phase};
use crate::features::{VectorFileError, read_vectors};
use crate::output::Cache;
use crate::parallel::{Crew, Permit, Semaphore, parallel_map};
use crate::pipeline::backbone::Backbone;
use crate::pipeline::batches::{images_per_batch, waiting_threads, with_batches};
use crate::pipeline::{PipelineError, Skip, images, no_images, portable};
use crate::raster::RgbImage;
use crate::tensor::{Device, is_cpu};

/// The vectors of a collection, and what they are of.
pub struct Gathered {
    pub images: Vec<GatheredImage>,
    /// Row-major `[N, D]`.
    pub values: Vec<f32>,
    pub width: usize,
    pub skipped: Vec<Skip>,
}

pub struct GatheredImage {
    /// Relative to the collection, `/` between folders.
    pub name: String,
    pub file: Option<PathBuf>,
}

/// From images to vectors.
pub struct Vectoriser<'a> {
    pub request: &'a ClusterRequest,
    pub config: &'a Settings,
    pub backbone: &'a Backbone,
    pub device: &'a Device,
    pub observer: &'a dyn Observer,
}

/// Vectors of all usable images, in the collection's order. Only as many images as workers are decoded at a time.
pub fn of_images(of: &Vectoriser, collection: &Collection, workers: usize) -> Result<Gathered, PipelineError> {
    let gather = |compute: &Compute, waiting| of.gather(compute, collection, Crew { workers, waiting });
    let Some(extractor) = of.backbone.extractor.batches() else {
        return gather(&|image, _| Ok(of.backbone.extractor.image_vector(&image)), 0);
    };
    let images = images_per_batch(extractor, of.device);
    let vectors = |batch: &[_]| extractor.image_vectors(batch, images);
    with_batches(extractor, images, vectors, |batches| {
        let compute = |image: RgbImage, permit: Permit| {
            let input = batches.prepare(&image);
            // Neither the memory nor the place among those who decode is needed while waiting.
            drop((image, permit));
            Ok(batches.compute(input)?.to_vec())
        };
        gather(&compute, waiting_threads(images))
    })
}

/// From an image, and its permit to be computed, to its vector.
type Compute<'a> = dyn Fn(RgbImage, Permit) -> Result<Vec<f32>, PipelineError> + Sync + 'a;

impl Vectoriser<'_> {
    fn gather(&self, compute: &Compute, collection: &Collection, crew: Crew) -> Result<Gathered, PipelineError> {
        let &Vectoriser { request, config, backbone, device, observer } = self;
        let folder_error = |error: std::io::Error| {
            PipelineError::InputOutput(format!("cannot use the output folder {}: {error}", request.out.display()))
        };
        std::fs::create_dir_all(&request.out).map_err(folder_error)?;
        let cache = Cache::open(&request.out.join("cache"), &settings(config, backbone, device), &config.cache)
            .map_err(folder_error)?;
        let width = backbone.extractor.image_width();
        let mut gathered = Gathered { images: Vec::new(), values: Vec::new(), width, skipped: Vec::new() };
        observer.observe(Event::PhaseStarted { phase: Phase::Features, total: None });
        let (mut done, mut not_stored) = (0, 0u64);
        let semaphore = Semaphore::new(crew.workers);
        let process = |record: Result<Record, DatasetError>| {
            (!observer.interrupted()).then(|| match record {
                Ok(record) => {
                    let vector = vector(&record, config, backbone, &cache, &semaphore, compute);
                    (record.path.clone(), Some(record), vector)
                }
                Err(error) => (error.path().to_path_buf(), None, Err(Failure::Image(error.to_string()))),
            })
        };
        parallel_map(collection.all_records(), crew.workers + crew.waiting, process, |outcome| {
            let (path, record, vector) = outcome.ok_or_else(interrupted)?;
            match (record, vector) {
                (Some(record), Ok((vector, stored))) => {
                    not_stored += u64::from(!stored);
                    gathered.values.extend(vector);
                    gathered.images.push(GatheredImage { name: portable(&record.relative), file: Some(record.path) });
                }
                (_, Err(Failure::Cache(error))) => return Err(folder_error(error)),
                (_, Err(Failure::Device(error))) => return Err(error),
                (_, Err(Failure::Image(reason))) => {
                    observer.observe(Event::Skipped { path: path.clone(), reason: reason.clone() });
                    gathered.skipped.push(Skip { path, reason });
                }
                // A record that could not be had is always an error.
                (None, Ok(_)) => {}
            }
            done += 1;
            observer.observe(Event::PhaseProgress { phase: Phase::Features, done });
            Ok(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Features });
        if not_stored > 0 {
            observer.observe(Event::Note(format!(
            "the vectors of {not_stored} images did not fit in the cache; a repeated run computes them again unless cache.limit_mebibytes (now {}) is raised",
            config.cache.limit_mebibytes
        )));
        }
        match (gathered.images.is_empty(), gathered.skipped.len()) {
            (false, _) => Ok(gathered),
            (true, 0) => Err(no_images(request.data.as_deref().unwrap_or(&request.out))),
            (true, count) => Err(PipelineError::Usage(format!("none of the {count} images can be used"))),
        }
    }
}

enum Failure {
    /// The image is left out for this reason.
    Image(String),
    /// The cache cannot be written.
    Cache(std::io::Error),
    /// The device gave up.
    Device(PipelineError),
}

/// The vector of an image, and whether the cache has it now.
fn vector(
    record: &Record,
    config: &Settings,
    backbone: &Backbone,
    cache: &Cache,
    semaphore: &Semaphore,
    compute: &Compute,
) -> Result<(Vec<f32>, bool), Failure> {
    let file = images::read(&record.path, config).map_err(Failure::Image)?;
    let width = backbone.extractor.image_width();
    if let Some(bytes) = cache.get(&file.hash).filter(|bytes| bytes.len() == 4 * width) {
        return Ok((bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect(), true));
    }
    let permit = semaphore.acquire();
    let image = images::decode(&file, config).map_err(Failure::Image)?;
    let vector = compute(image, permit).map_err(Failure::Device)?;
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    let stored = cache.put(&file.hash, &bytes).map_err(Failure::Cache)?;
    Ok((vector, stored))
}

/// Identifies everything that a vector follows from besides the image.
fn settings(config: &Settings, backbone: &Backbone, device: &Device) -> blake3::Hash {
    let settings = serde_json::json!({
        "program": env!("CARGO_PKG_VERSION"),
        "kind": "image vectors",
        "backbone": backbone.name,
        "width": backbone.extractor.image_width(),
        "weights": backbone.hash,
        "vit": config.vit,
        "superpixel": config.superpixel,
        "pixel": config.pixel,
        "gpu": !is_cpu(device),
    });
    blake3::hash(settings.to_string().as_bytes())
}

/// Vectors from a file: row i belongs to image i of the collection, or where there is none to nothing but its number.
pub fn from_file(request: &ClusterRequest, collection: Option<&Collection>) -> Result<Gathered, PipelineError> {
    let Some(path) = &request.features else {
        return Err(PipelineError::Usage("there are no images to work on; give them with --data PATH".into()));
    };
    let file = read_vectors(path).map_err(|error| match error {
        VectorFileError::Read { .. } => PipelineError::Usage(error.to_string()),
        VectorFileError::Format { .. } => PipelineError::Untrusted(error.to_string()),
    })?;
    let count = file.values.len() / file.width;
    let images: Vec<GatheredImage> = match collection {
        None => (0..count).map(|row| GatheredImage { name: row.to_string(), file: None }).collect(),
        Some(collection) => {
            let records = collection.all_records().map(|record| {
                let record = record?;
                Ok(GatheredImage { name: portable(&record.relative), file: Some(record.path) })
            });
            // A file that is left out would shift all rows after it: here no error may be passed over.
            records.collect::<Result<_, PipelineError>>()?
        }
    };
    if images.len() != count {
        return Err(PipelineError::Untrusted(format!(
            "{} holds {count} vectors for {} images; give one vector per image, in the order of the images' paths",
            path.display(),
            images.len()
        )));
    }
    Ok(Gathered { images, values: file.values, width: file.width, skipped: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;
    use crate::dataset;
    use crate::features::vit::Engine;
    use crate::pipeline::test_pictures::{self, Silent};
    use crate::tensor;

    #[test]
    fn batches_on_a_device_give_the_vectors_of_single_images() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        test_pictures::write(&data);
        std::fs::write(data.join("bad.jpg"), "no image").unwrap();
        let config = resolve(None, &test_pictures::SETTINGS.map(str::to_string)).unwrap();
        let [single, batched] = [Engine::Host, Engine::Tensors].map(|engine| {
            let out = folder.path().join(format!("{engine:?}"));
            let request = ClusterRequest { data: Some(data.clone()), out, ..ClusterRequest::default() };
            let backbone = test_pictures::backbone(&config, engine);
            let device = &tensor::cpu();
            let of = Vectoriser { request: &request, config: &config, backbone: &backbone, device, observer: &Silent };
            of_images(&of, &dataset::open(&data).unwrap(), 2).unwrap()
        });
        assert_eq!((single.images.len(), batched.skipped.len()), (test_pictures::COUNT, 1));
        let names = |gathered: &Gathered| gathered.images.iter().map(|image| image.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&single), names(&batched));
        assert_eq!(single.values.len(), batched.values.len());
        assert!(single.values.iter().zip(&batched.values).all(|(one, other)| (one - other).abs() < 1e-5));
    }
}
