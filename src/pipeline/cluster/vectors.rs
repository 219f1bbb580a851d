//! One vector per image: computed, from the cache, or from a file.

use super::{CACHE, ClusterRequest, ClusterRunError};
use crate::config::Settings;
use crate::dataset::{Collection, DatasetError, Record};
use crate::event::{Event, Observer};
use crate::features::{Backbone, BatchExtractor, Prepared, read_vectors};
use crate::nodes::Layout;
use crate::numerics::bytes::{bytes_from_floats, floats_from_bytes};
use crate::output::{Cache, OutputFolder};
use crate::pipeline::features::image_names;
use crate::pipeline::images::{ImageLoop, OfBatch, OfImage, Outcome};
use crate::pipeline::{PipelineError, Run, SkippedFile, no_images, portable, tell_of_passed_over};
use crate::pixels::Picture;
use crate::tensor::{Device, Tensor};

/// The vectors of a collection, and what they are of.
pub struct Gathered {
    /// Of every image relative to the collection, `/` between folders; of vectors alone their numbers.
    pub names: Vec<String>,
    /// The images themselves; none where there are vectors alone.
    pub records: Vec<Record>,
    /// Row-major `[N, D]`.
    pub values: Vec<f32>,
    pub width: usize,
    pub skipped: Vec<SkippedFile>,
}

/// What images are called.
fn names_of(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| portable(&record.relative)).collect()
}

/// From images to vectors.
struct ImageVectors<'a>(&'a Backbone);

impl OfImage for ImageVectors<'_> {
    fn known(&self, cache: &Cache, content: &blake3::Hash) -> Option<Vec<u8>> {
        cache.get(content).filter(|bytes| bytes.len() == 4 * self.0.extractor.image_width())
    }

    fn compute(&self, picture: &Picture) -> Vec<u8> {
        bytes_from_floats(&self.0.extractor.image_vector(picture, picture.outside.as_ref()))
    }

    fn input_size(&self, width: usize, height: usize) -> Option<[usize; 2]> {
        self.0.extractor.input_size(width, height)
    }

    fn of_batches(&self) -> Option<&dyn OfBatch> {
        Some(self)
    }
}

impl OfBatch for ImageVectors<'_> {
    fn rows(&self, extractor: &dyn BatchExtractor, batch: &[Prepared], images: usize) -> Tensor<2> {
        extractor.image_vectors(batch, images)
    }

    fn of_row(&self, row: &[f32], _layout: &Layout) -> Vec<u8> {
        bytes_from_floats(row)
    }
}

/// Vectors of all usable images, in the collection's order; those computed are kept in `out/cache`.
pub fn of_images(
    collection: &Collection,
    out: &OutputFolder,
    settings: &Settings,
    backbone: &Backbone,
    device: &Device,
    workers: usize,
    observer: &dyn Observer,
) -> Result<Gathered, PipelineError> {
    let path = out.root().join(CACHE);
    out.create_folder(&path)?;
    let program = env!("CARGO_PKG_VERSION");
    let identity = serde_json::json!([
        "image vectors",
        2,
        program,
        backbone.extractor.fingerprint(),
        settings.pixels.fingerprint()
    ])
    .to_string();
    let cache = Cache::open(&path, &blake3::hash(identity.as_bytes()), &settings.cache)
        .map_err(|source| PipelineError::OutputFolder { path, source })?;
    let image_loop = ImageLoop {
        extractor: backbone.extractor.as_ref(),
        device,
        limits: &settings.pixels,
        cache: Some(&cache),
        workers,
        observer,
    };
    let width = backbone.extractor.image_width();
    let (mut images, mut values) = (Vec::new(), Vec::new());
    let records = collection.records().map(|record| record.map_err(SkippedFile::from));
    let outcome = image_loop.run(&ImageVectors(backbone), records, None, |computed| {
        values.extend(floats_from_bytes(&computed.bytes));
        images.push(computed.item);
        Ok(())
    });
    let Outcome { not_stored, skipped } = outcome.map_err(|error| error.during(Run::Grouping))?;
    tell_of_passed_over(collection, observer);
    if not_stored > 0 {
        observer.observe(Event::Note(format!(
            "the vectors of {not_stored} images did not fit in the cache; a repeated run computes them again unless cache.limit_mebibytes (now {}) is raised",
            settings.cache.limit_mebibytes
        )));
    }
    match (images.is_empty(), skipped.len()) {
        (false, bad) => {
            settings.data.judge(bad as u64, (images.len() + bad) as u64, &skipped)?;
            Ok(Gathered { names: names_of(&images), records: images, values, width, skipped })
        }
        (true, 0) => Err(no_images(collection)),
        (true, count) => Err(ClusterRunError::NoUsableImage { count }.into()),
    }
}

/// Vectors from a file: row i belongs to image i of the collection, or where there is none to nothing but its number.
pub fn from_file(request: &ClusterRequest, collection: Option<&Collection>) -> Result<Gathered, PipelineError> {
    let Some(path) = &request.features else {
        return Err(ClusterRunError::NoImages.into());
    };
    let file = read_vectors(path)?;
    let count = file.values.len() / file.width;
    let (names, records) = match (collection, image_names(path, count)) {
        (None, Some(names)) => (names, Vec::new()),
        (None, None) => ((0..count).map(|row| row.to_string()).collect(), Vec::new()),
        (Some(collection), Some(names)) => {
            // In one order, but for images that could not be used and have no row.
            let mut names = names.into_iter().peekable();
            let has_row = |record: &Record| names.next_if_eq(&portable(&record.relative)).is_some();
            let records: Vec<Record> = collection.records().flatten().filter(has_row).collect();
            (names_of(&records), records)
        }
        (Some(collection), None) => {
            // A file that is left out would shift all rows after it: here no error may be passed over but that of what is
            // no file at all, and had no row.
            let records = collection.records().filter(|record| !matches!(record, Err(DatasetError::NoFile { .. })));
            let records: Vec<Record> = records.collect::<Result<_, _>>()?;
            (names_of(&records), records)
        }
    };
    if names.len() != count {
        return Err(ClusterRunError::OtherCount { path: path.clone(), vectors: count, images: names.len() }.into());
    }
    Ok(Gathered { names, records, values: file.values, width: file.width, skipped: Vec::new() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::resolve;
    use crate::dataset;
    use crate::event::Silent;
    use crate::features::vit::Engine;
    use crate::output::Claim;
    use crate::pipeline::test_pictures;
    use crate::tensor;

    #[test]
    fn batches_on_a_device_give_the_vectors_of_single_images() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        test_pictures::write(&data);
        std::fs::write(data.join("bad.jpg"), "no image").unwrap();
        let settings = resolve(None, &test_pictures::SETTINGS.map(str::to_string)).unwrap();
        let open = |out: &Path| OutputFolder::open(out, "cluster", &[Claim::folder(CACHE)], None, &Silent).unwrap();
        let [single, batched] = [Engine::Host, Engine::Tensors].map(|engine| {
            let out = folder.path().join(format!("{engine:?}"));
            let backbone = test_pictures::backbone(&settings, engine);
            let collection = dataset::open(&data).unwrap();
            of_images(&collection, &open(&out), &settings, &backbone, &tensor::cpu(), 2, &Silent).unwrap()
        });
        assert_eq!((single.names.len(), batched.skipped.len()), (test_pictures::COUNT, 1));
        assert_eq!(single.names, batched.names);
        assert_eq!(single.values.len(), batched.values.len());
        assert!(single.values.iter().zip(&batched.values).all(|(one, other)| (one - other).abs() < 1e-5));
    }
}
