//! A collection as graphs that can be read again and again: from the cache, or computed anew where it was full.

use std::path::PathBuf;
use std::sync::Arc;

use burn_dataset::Dataset;

use crate::event::SkippedFile;
use crate::features::{Backbone, BatchExtractor, Prepared};
use crate::graph::{Affinity, DeviceGraphs, Graph};
use crate::method::recipe::TrainingSet;
use crate::nodes::Layout;
use crate::output::Cache;
use crate::parallel::Held;
use crate::pipeline::images::{OfBatch, OfImage};
use crate::pixels::{DecodeConfig, ImageItem, Picture};
use crate::tensor::Tensor;
use crate::train::{CHANGED, Gone, GraphSource, LoadError};

/// From images to graphs.
pub(super) struct Graphs<'a> {
    pub backbone: &'a Backbone,
    pub affinity: Affinity,
    pub pixels: &'a DecodeConfig,
}

/// One usable image of a dataset.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrainingImage {
    /// Its number in the dataset; none if it is gone since the run began.
    pub index: Option<usize>,
    pub content: blake3::Hash,
}

/// The usable images of a dataset as graphs.
///
/// An image whose file vanishes or changes while the run goes on is left out wherever its pixels are needed; what the cache
/// holds of it is used all the same, for it is of the image with which the run began.
pub(super) struct CachedGraphs<'a, I> {
    pub items: &'a dyn Dataset<I>,
    pub images: Vec<TrainingImage>,
    pub cache: &'a Cache,
    pub graphs: &'a Graphs<'a>,
    pub gone: Gone<'a>,
}

impl Graphs<'_> {
    /// Identifies everything that a graph follows from besides the image.
    pub fn settings(&self) -> blake3::Hash {
        let program = env!("CARGO_PKG_VERSION");
        let settings = serde_json::json!([
            "graphs",
            program,
            self.backbone.extractor.fingerprint(),
            self.affinity,
            self.pixels.fingerprint()
        ]);
        blake3::hash(settings.to_string().as_bytes())
    }

    fn of(&self, picture: &Picture) -> Graph {
        let nodes = self.backbone.extractor.extract_within(picture, picture.outside.as_ref());
        Graph::build(&nodes, self.affinity)
    }
}

impl OfImage for Graphs<'_> {
    /// Only whether it is there: who needs it reads it, and computes it anew if it is damaged.
    fn known(&self, cache: &Cache, content: &blake3::Hash) -> Option<Vec<u8>> {
        cache.contains(content).then(Vec::new)
    }

    fn compute(&self, picture: &Picture) -> Vec<u8> {
        self.of(picture).to_bytes()
    }

    fn of_batches(&self) -> Option<&dyn OfBatch> {
        Some(self)
    }
}

impl OfBatch for Graphs<'_> {
    fn rows(&self, extractor: &dyn BatchExtractor, batch: &[Prepared], images: usize) -> Tensor<2> {
        DeviceGraphs::build(extractor.describe(batch, images), self.affinity).rows()
    }

    fn of_row(&self, row: &[f32], layout: &Layout) -> Vec<u8> {
        DeviceGraphs::from_row(row, self.backbone.extractor.width(), self.affinity, layout.coverage()).to_bytes()
    }
}

impl<I: ImageItem> CachedGraphs<'_, I> {
    /// The image at `index`, as it was when the run began; none, and it is noted, if it is gone.
    fn decoded(&self, index: usize) -> Result<Option<Held<Picture>>, LoadError> {
        let TrainingImage { index: Some(number), content: expected } = self.images[index] else { return Ok(None) };
        if self.gone.contains(index) {
            return Ok(None);
        }
        let item = self.items.get(number);
        let path = item.as_ref().and_then(|item| item.path()).map_or_else(|| number.to_string().into(), PathBuf::from);
        let read = || {
            let pixels = self.graphs.pixels;
            let content = item.ok_or("the dataset has no such item any more")?.content(pixels)?;
            if content.hash == expected { content.decode(pixels) } else { Err(CHANGED.to_string()) }
        };
        match read() {
            Ok(image) => Ok(Some(image)),
            Err(reason) => {
                self.gone.add(index, SkippedFile { path, reason })?;
                Ok(None)
            }
        }
    }
}

impl<I: ImageItem> GraphSource for CachedGraphs<'_, I> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn load(&self, index: usize) -> Result<Option<Arc<Graph>>, LoadError> {
        let stored = self.cache.get(&self.images[index].content);
        if let Some(graph) = stored.and_then(|bytes| Graph::from_bytes(&bytes).ok()) {
            return Ok(Some(Arc::new(graph)));
        }
        let Some(image) = self.decoded(index)? else { return Ok(None) };
        let graph = self.graphs.of(&image);
        if self.cache.contains(&self.images[index].content) {
            // What is there is damaged.
            self.cache.put(&self.images[index].content, &graph.to_bytes())?;
        }
        Ok(Some(Arc::new(graph)))
    }
}

impl<I: ImageItem> TrainingSet for CachedGraphs<'_, I> {
    fn image(&self, index: usize) -> Result<Option<Held<Picture>>, LoadError> {
        self.decoded(index)
    }

    fn graph_of(&self, picture: &Picture) -> Graph {
        self.graphs.of(picture)
    }

    fn content_hash(&self, index: usize) -> blake3::Hash {
        self.images[index].content
    }

    fn recall(&self, key: &blake3::Hash) -> Option<Vec<u8>> {
        self.cache.get(key)
    }

    fn keep(&self, key: &blake3::Hash, bytes: &[u8]) -> Result<bool, LoadError> {
        Ok(self.cache.put(key, bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Purpose, resolve};
    use crate::dataset;
    use crate::event::Silent;
    use crate::features::vit::Engine;
    use crate::output::CacheConfig;
    use crate::pipeline::images::ImageLoop;
    use crate::pipeline::test_pictures;
    use crate::tensor;

    #[test]
    fn batches_on_a_device_give_the_graphs_of_single_images() {
        let folder = tempfile::tempdir().unwrap();
        test_pictures::write(folder.path());
        std::fs::write(folder.path().join("bad.jpg"), "no image").unwrap();
        for kind in ["association", "cc"] {
            let settings = test_pictures::SETTINGS.map(str::to_string).to_vec();
            let settings = resolve(None, &[settings, vec![format!("objective.kind={kind}")]].concat()).unwrap();
            let affinity = settings.clone().resolve(Purpose::Train, true, None).unwrap().affinity();
            let graphs = |engine: Engine| {
                let (backbone, device) = (test_pictures::backbone(&settings, engine), tensor::cpu());
                let graphs = Graphs { backbone: &backbone, affinity, pixels: &settings.pixels };
                let store = tempfile::tempdir().unwrap();
                let cache = Cache::open(store.path(), &graphs.settings(), &CacheConfig::default()).unwrap();
                let image_loop = ImageLoop {
                    extractor: backbone.extractor.as_ref(),
                    device: &device,
                    limits: &settings.pixels,
                    cache: Some(&cache),
                    workers: 2,
                    observer: &Silent,
                };
                let records =
                    dataset::open(folder.path()).unwrap().records().map(|record| record.map_err(SkippedFile::from));
                let mut found = Vec::new();
                let outcome = image_loop
                    .run(&graphs, records, None, |computed| {
                        found.push(Graph::from_bytes(&cache.get(&computed.content).unwrap()).unwrap());
                        Ok(())
                    })
                    .unwrap();
                assert_eq!((found.len(), outcome.skipped.len()), (test_pictures::COUNT, 1));
                found
            };
            for (single, batched) in graphs(Engine::Host).iter().zip(&graphs(Engine::Tensors)) {
                assert_eq!((&single.area, &single.border), (&batched.area, &batched.border));
                for (one, other) in [(&single.features, &batched.features), (&single.propagated, &batched.propagated)] {
                    let worst = one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
                    assert!(one.len() == other.len() && worst < 1e-4, "{kind}: off by {worst}");
                }
            }
        }
    }
}
