//! The graphs that networks are trained on: of whole images, and of the foreground or background alone.

use std::path::{Path, PathBuf};

use super::interrupted;
use crate::config::RunConfig;
use crate::dataset::Record;
use crate::event::{Event, Observer, Stage};
use crate::features::cache::Cache;
use crate::graph::Graph;
use crate::pipeline::backbone::Backbone;
use crate::pipeline::ordered::for_each_ordered;
use crate::pipeline::{PipelineError, Skip, images};
use crate::raster::RgbImage;
use crate::refine::BorderStatistics;
use crate::segment::{Assign, Segmenter, members};
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
    pub config: &'a RunConfig,
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
    pub segmenter: &'a Segmenter,
    pub background: &'a [bool],
    pub of_background: bool,
}

impl CachedGraphs<'_> {
    /// Makes sure that every usable image has its graph in the cache, as far as there is room.
    pub fn prepare(
        &mut self,
        records: Vec<Record>,
        skipped: &mut Vec<Skip>,
        workers: usize,
        observer: &dyn Observer,
    ) -> Result<(), PipelineError> {
        let total = records.len() as u64;
        observer.observe(Event::StageStarted { stage: Stage::Features, total: Some(total) });
        let prepare_one = |record: Record| {
            let prepared = (!observer.interrupted()).then(|| self.prepare_one(&record.path));
            (record.path, prepared)
        };
        let (mut usable, mut not_stored, mut done) = (Vec::new(), 0u64, 0u64);
        for_each_ordered(records.into_iter(), workers, prepare_one, |(path, prepared)| {
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
            }
            done += 1;
            observer.observe(Event::StageProgress { stage: Stage::Features, done });
            Ok(())
        })?;
        observer.observe(Event::StageFinished { stage: Stage::Features });
        self.images = usable;
        if not_stored > 0 {
            observer.observe(Event::Warning(format!(
                "the features of {not_stored} of {total} images did not fit in the cache and are computed anew in every epoch; raise cache.limit_mebibytes (now {}) or lower data.max_images",
                self.config.cache.limit_mebibytes
            )));
        }
        Ok(())
    }

    fn prepare_one(&self, path: &Path) -> Result<Prepared, PrepareError> {
        let file = images::read(path, self.config).map_err(PrepareError::Image)?;
        if self.cache.get(&file.hash).is_some() {
            return Ok(Prepared { hash: file.hash, stored: true });
        }
        let graph = self.compute(&images::decode(&file, self.config).map_err(PrepareError::Image)?);
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
        segmenter: &Segmenter,
        clusters: usize,
        workers: usize,
        observer: &dyn Observer,
    ) -> Result<FirstStage, PipelineError> {
        observer.observe(Event::StageStarted { stage: Stage::Background, total: Some(self.len() as u64) });
        let mut statistics = BorderStatistics::new(clusters);
        let mut cluster_nodes = Vec::with_capacity(self.len());
        let segment = |index| -> Result<_, PipelineError> {
            if observer.interrupted() {
                return Err(interrupted());
            }
            let graph = self.load(index).map_err(|error| PipelineError::InputOutput(error.to_string()))?;
            Ok((segmenter.assign(&graph).clusters, graph.border, graph.area))
        };
        for_each_ordered(0..self.len(), workers, segment, |segmented| {
            let (assigned, border, area) = segmented?;
            statistics.add(&assigned, &border, &area);
            let mut nodes = vec![0; clusters];
            assigned.iter().for_each(|&cluster| nodes[cluster] += 1);
            cluster_nodes.push(nodes);
            observer.observe(Event::StageProgress { stage: Stage::Background, done: cluster_nodes.len() as u64 });
            Ok::<(), PipelineError>(())
        })?;
        observer.observe(Event::StageFinished { stage: Stage::Background });
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
        let members = members(&self.segmenter.assign(&graph).clusters, self.background, self.of_background);
        Ok(graph.subgraph(&members, config.affinity(), config.parts.centred, self.whole.device))
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
}
