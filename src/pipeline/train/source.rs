//! The graphs that networks are trained on: of whole images, and of the foreground or background alone.

use std::path::{Path, PathBuf};

use super::interrupted;
use crate::config::Settings;
use crate::dataset::Record;
use crate::event::{Event, Observer, Phase};
use crate::graph::{DeviceGraphs, Graph};
use crate::output::Cache;
use crate::parallel::{Crew, Permit, Semaphore, parallel_map};
use crate::pipeline::backbone::Backbone;
use crate::pipeline::batches::{images_per_batch, waiting_threads, with_batches};
use crate::pipeline::{PipelineError, Skip, images};
use crate::raster::RgbImage;
use crate::refine::BorderStatistics;
use crate::segment::{Segmenter, SharedSegmenter, members};
use crate::tensor::Device;
use crate::train::{GraphSource, LoadError};

/// One usable image of the collection.
pub struct TrainingImage {
    pub path: PathBuf,
    pub hash: blake3::Hash,
}

/// The collection as graphs: from the cache, or computed anew where it was full.
pub struct CachedGraphs<'a> {
    pub images: Vec<TrainingImage>,
    pub cache: Cache,
    pub config: &'a Settings,
    pub backbone: &'a Backbone,
    pub device: &'a Device,
}

/// How the first stage divides the collection.
pub struct FirstStage {
    pub statistics: BorderStatistics,
    /// Nodes in every cluster, `[images][K]`.
    pub cluster_nodes: Vec<Vec<u32>>,
}

/// What the first stage took for foreground, or for background, as graphs of their own.
pub struct PartGraphs<'a> {
    pub whole: &'a CachedGraphs<'a>,
    /// Images with enough nodes of that kind.
    pub indices: Vec<usize>,
    pub segmenter: &'a SharedSegmenter,
    pub background: &'a [bool],
    pub of_background: bool,
    /// Where the graphs are built.
    pub device: &'a Device,
}

impl CachedGraphs<'_> {
    /// Makes sure that every usable image has its graph in the cache, as far as there is room, and gives these images.
    pub fn prepare(
        &self,
        records: Vec<Record>,
        skipped: &mut Vec<Skip>,
        workers: usize,
        observer: &dyn Observer,
    ) -> Result<Vec<TrainingImage>, PipelineError> {
        let Some(extractor) = self.backbone.extractor.batches() else {
            let compute = |image, _: Permit| Ok(self.compute(&image));
            return self.prepare_by(compute, records, skipped, Crew { workers, waiting: 0 }, observer);
        };
        let images = images_per_batch(extractor, self.device);
        let (affinity, width) = (self.config.affinity(), self.backbone.extractor.width());
        let graphs = |batch: &[_]| DeviceGraphs::build(extractor.describe(batch, images), affinity).rows();
        with_batches(extractor, images, graphs, |batches| {
            let compute = |image: RgbImage, permit: Permit| {
                let input = batches.prepare(&image);
                let layout = input.layout.clone();
                // Neither the memory nor the place among those who decode is needed while waiting.
                drop((image, permit));
                Ok(DeviceGraphs::from_row(&batches.compute(input)?, width, affinity, layout.coverage()))
            };
            let crew = Crew { workers, waiting: waiting_threads(images) };
            self.prepare_by(compute, records, skipped, crew, observer)
        })
    }

    /// The same with a way to compute the graph of an image.
    fn prepare_by(
        &self,
        compute: impl Fn(RgbImage, Permit) -> Result<Graph, PipelineError> + Sync,
        records: Vec<Record>,
        skipped: &mut Vec<Skip>,
        crew: Crew,
        observer: &dyn Observer,
    ) -> Result<Vec<TrainingImage>, PipelineError> {
        let total = records.len() as u64;
        observer.observe(Event::PhaseStarted { phase: Phase::Features, total: Some(total) });
        let semaphore = Semaphore::new(crew.workers);
        let prepare_one = |record: Record| {
            let prepared = (!observer.interrupted()).then(|| self.prepare_one(&record.path, &semaphore, &compute));
            (record.path, prepared)
        };
        let (mut usable, mut not_stored, mut done) = (Vec::new(), 0u64, 0u64);
        parallel_map(records.into_iter(), crew.workers + crew.waiting, prepare_one, |(path, prepared)| {
            match prepared.ok_or_else(interrupted)? {
                Ok(Prepared { hash, stored }) => {
                    not_stored += u64::from(!stored);
                    usable.push(TrainingImage { path, hash });
                }
                Err(PrepareError::Image(reason)) => {
                    observer.observe(Event::Skipped { path: path.clone(), reason: reason.clone() });
                    skipped.push(Skip { path, reason });
                }
                Err(PrepareError::Cache(error)) => {
                    return Err(PipelineError::InputOutput(format!("cannot write the feature cache: {error}")));
                }
                Err(PrepareError::Device(error)) => return Err(error),
            }
            done += 1;
            observer.observe(Event::PhaseProgress { phase: Phase::Features, done });
            Ok(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Features });
        if not_stored > 0 {
            observer.observe(Event::Warning(format!(
                "the features of {not_stored} of {total} images did not fit in the cache and are computed anew in every epoch; raise cache.limit_mebibytes (now {}) or lower data.max_images",
                self.config.cache.limit_mebibytes
            )));
        }
        Ok(usable)
    }

    fn prepare_one(
        &self,
        path: &Path,
        semaphore: &Semaphore,
        compute: impl Fn(RgbImage, Permit) -> Result<Graph, PipelineError>,
    ) -> Result<Prepared, PrepareError> {
        let file = images::read(path, self.config).map_err(PrepareError::Image)?;
        if self.cache.get(&file.hash).is_some() {
            return Ok(Prepared { hash: file.hash, stored: true });
        }
        let permit = semaphore.acquire();
        let image = images::decode(&file, self.config).map_err(PrepareError::Image)?;
        let graph = compute(image, permit).map_err(PrepareError::Device)?;
        let stored = self.cache.put(&file.hash, &graph.to_bytes()).map_err(PrepareError::Cache)?;
        Ok(Prepared { hash: file.hash, stored })
    }

    fn compute(&self, image: &RgbImage) -> Graph {
        images::graph(&self.backbone.extractor.extract(image), self.config, self.device)
    }

    /// The image at `index`, which must still be the one that the run began with.
    pub fn image(&self, index: usize) -> Result<RgbImage, LoadError> {
        let image = &self.images[index];
        let context = |reason: String| format!("{}: {reason}", image.path.display());
        let file = images::read(&image.path, self.config).map_err(context)?;
        if file.hash != image.hash {
            return Err(context("the file changed during the run; start again".into()).into());
        }
        Ok(images::decode(&file, self.config).map_err(context)?)
    }

    /// Where the clusters of the whole collection lie.
    pub fn first_stage(
        &self,
        segmenter: &SharedSegmenter,
        clusters: usize,
        workers: usize,
        observer: &dyn Observer,
    ) -> Result<FirstStage, PipelineError> {
        observer.observe(Event::PhaseStarted { phase: Phase::Background, total: Some(self.len() as u64) });
        let mut statistics = BorderStatistics::new(clusters);
        let mut cluster_nodes = Vec::with_capacity(self.len());
        let segment = |index| -> Result<_, PipelineError> {
            if observer.interrupted() {
                return Err(interrupted());
            }
            let graph = self.load(index).map_err(|error| PipelineError::InputOutput(error.to_string()))?;
            Ok((segmenter.segment(&graph).clusters, graph.border, graph.area))
        };
        parallel_map(0..self.len(), workers, segment, |segmented| {
            let (assigned, border, area) = segmented?;
            statistics.add(&assigned, &border, &area);
            let mut nodes = vec![0; clusters];
            assigned.iter().for_each(|&cluster| nodes[cluster] += 1);
            cluster_nodes.push(nodes);
            observer.observe(Event::PhaseProgress { phase: Phase::Background, done: cluster_nodes.len() as u64 });
            Ok::<(), PipelineError>(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Background });
        Ok(FirstStage { statistics, cluster_nodes })
    }
}

impl FirstStage {
    /// The images with at least `least` nodes of foreground, or of background.
    pub fn with_nodes(&self, background: &[bool], of_background: bool, least: usize) -> Vec<usize> {
        let nodes = |image: usize| -> u32 {
            let clusters = self.cluster_nodes[image].iter().zip(background);
            clusters.filter(|(_, is)| **is == of_background).map(|(nodes, _)| nodes).sum()
        };
        (0..self.cluster_nodes.len()).filter(|&image| nodes(image) as usize >= least).collect()
    }
}

impl GraphSource for PartGraphs<'_> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    /// The first stage costs less than reading its result would: nothing is stored.
    fn load(&self, index: usize) -> Result<Graph, LoadError> {
        let (config, graph) = (self.whole.config, self.whole.load(self.indices[index])?);
        let members = members(&self.segmenter.segment(&graph).clusters, self.background, self.of_background);
        Ok(graph.subgraph(&members, config.parts_affinity(), config.parts.centred, self.device))
    }
}

impl GraphSource for CachedGraphs<'_> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn load(&self, index: usize) -> Result<Graph, LoadError> {
        let stored = self.cache.get(&self.images[index].hash);
        if let Some(graph) = stored.and_then(|bytes| Graph::from_bytes(&bytes).ok()) {
            return Ok(graph);
        }
        Ok(self.compute(&self.image(index)?))
    }
}

struct Prepared {
    hash: blake3::Hash,
    /// Whether the graph is in the cache now.
    stored: bool,
}

enum PrepareError {
    /// The image is left out for this reason.
    Image(String),
    /// The cache cannot be written.
    Cache(std::io::Error),
    /// The device gave up.
    Device(PipelineError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;
    use crate::dataset;
    use crate::features::vit::Engine;
    use crate::output::CacheConfig;
    use crate::pipeline::test_pictures::{self, Silent};
    use crate::tensor;

    #[test]
    fn batches_on_a_device_give_the_graphs_of_single_images() {
        let folder = tempfile::tempdir().unwrap();
        test_pictures::write(folder.path());
        std::fs::write(folder.path().join("bad.jpg"), "no image").unwrap();
        for kind in ["association", "cc"] {
            let settings = test_pictures::SETTINGS.map(str::to_string).to_vec();
            let config = resolve(None, &[settings, vec![format!("objective.kind={kind}")]].concat()).unwrap();
            let graphs = |engine: Engine| {
                let backbone = test_pictures::backbone(&config, engine);
                let settings = images::graph_settings(&config, &backbone, &tensor::cpu());
                let store = tempfile::tempdir().unwrap();
                let cache = Cache::open(store.path(), &settings, &CacheConfig::default()).unwrap();
                let device = tensor::cpu();
                let mut source =
                    CachedGraphs { images: vec![], cache, config: &config, backbone: &backbone, device: &device };
                let records = dataset::open(folder.path()).unwrap().records().map(Result::unwrap).collect();
                let mut skipped = Vec::new();
                source.images = source.prepare(records, &mut skipped, 2, &Silent).unwrap();
                assert_eq!((source.len(), skipped.len()), (test_pictures::COUNT, 1));
                let stored =
                    |image: &TrainingImage| Graph::from_bytes(&source.cache.get(&image.hash).unwrap()).unwrap();
                source.images.iter().map(stored).collect::<Vec<_>>()
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
