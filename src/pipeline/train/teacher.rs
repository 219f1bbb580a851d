//! The second round of training: a first network's masks, fitted to the edges of their images, are what a second learns.

use super::interrupted;
use super::source::{CachedGraphs, TrainingImage};
use crate::event::{Event, Observer, Phase};
use crate::graph::Graph;
use crate::model::Network;
use crate::parallel::parallel_map;
use crate::pipeline::PipelineError;
use crate::pixels::resize_lanczos;
use crate::raster::RgbImage;
use crate::refine::bilateral::{self, BilateralConfig};
use crate::segment::{Segmenter, SharedSegmenter};
use crate::train::{GraphSource, LoadError};

/// Larger images are scaled down to this before masks are fitted to them: patches are far coarser, and the time of the
/// solver grows with the pixels.
const LONGEST_SIDE_PX: usize = 512;

/// Between DeepCut's cells, four levels of brightness wide, and TokenCut's, which are sixteen: so masks follow edges, and
/// shading within an object does not stop them.
const BILATERAL: BilateralConfig = BilateralConfig { sigma_luma: 8.0, ..BilateralConfig::DEEPCUT };

/// A trained network with what its clusters mean.
pub struct Teacher<'a> {
    pub segmenter: &'a SharedSegmenter,
    /// The class of every cluster: 0 for background, then 1, 2, … for the clusters of the foreground.
    pub class_of_cluster: Vec<u8>,
    /// Identifies the teacher, so that nothing of another one is taken for its own; see [`Teacher::fingerprint_of`].
    pub fingerprint: blake3::Hash,
}

/// The collection as graphs with the teacher's answers.
pub struct TaughtGraphs<'a> {
    pub whole: &'a CachedGraphs<'a>,
    pub teacher: Teacher<'a>,
}

impl Teacher<'_> {
    /// Hash of everything that a teacher's answer follows from besides the image.
    pub fn fingerprint_of(run: &str, network: &Network, class_of_cluster: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(run.as_bytes()).update(class_of_cluster);
        hasher.update(format!("{BILATERAL:?} {LONGEST_SIDE_PX}").as_bytes());
        for value in network.values().iter().flatten() {
            hasher.update(&value.to_le_bytes());
        }
        hasher.finalize()
    }

    /// Classes of nodes, background included.
    pub fn classes(&self) -> usize {
        1 + self.class_of_cluster.iter().copied().max().map_or(0, usize::from)
    }

    /// Under which key the answer for an image is stored.
    fn key(&self, image: &TrainingImage) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.fingerprint.as_bytes()).update(image.hash.as_bytes());
        hasher.finalize()
    }
}

impl TaughtGraphs<'_> {
    /// Makes sure that the answer for every image is in the cache, as far as there is room.
    pub fn prepare(&self, workers: usize, observer: &dyn Observer) -> Result<(), PipelineError> {
        observer.observe(Event::PhaseStarted { phase: Phase::Teaching, total: Some(self.len() as u64) });
        let prepare_one = |index| -> Result<bool, PipelineError> {
            if observer.interrupted() {
                return Err(interrupted());
            }
            let taught = self.targets(index).map_err(|error| PipelineError::InputOutput(error.to_string()))?;
            Ok(taught.stored)
        };
        let (mut done, mut not_stored) = (0, 0u64);
        parallel_map(0..self.len(), workers, prepare_one, |prepared| {
            not_stored += u64::from(!prepared?);
            done += 1;
            observer.observe(Event::PhaseProgress { phase: Phase::Teaching, done });
            Ok::<(), PipelineError>(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Teaching });
        if not_stored > 0 {
            observer.observe(Event::Warning(format!(
                "the first network's masks of {not_stored} images did not fit in the cache and are computed anew in every epoch; raise cache.limit_mebibytes or lower data.max_images"
            )));
        }
        Ok(())
    }

    /// The graph of an image and the teacher's answer for it.
    fn targets(&self, index: usize) -> Result<Taught, LoadError> {
        let graph = self.whole.load(index)?;
        let key = self.teacher.key(&self.whole.images[index]);
        let expected = graph.nodes() * self.teacher.classes();
        if let Some(targets) = self.whole.cache.get(&key).map(|bytes| from_bytes(&bytes))
            && targets.len() == expected
        {
            return Ok(Taught { graph, targets, stored: true });
        }
        let targets = self.answer(&graph, &self.whole.image(index)?);
        let bytes: Vec<u8> = targets.iter().flat_map(|value| value.to_le_bytes()).collect();
        let stored = self.whole.cache.put(&key, &bytes)?;
        Ok(Taught { graph, targets, stored })
    }

    /// The share of every class in every node, by the teacher's mask after the bilateral solver.
    ///
    /// # Shapes
    /// → `[N, classes]`
    fn answer(&self, graph: &Graph, image: &RgbImage) -> Vec<f32> {
        let layout = self.whole.backbone.extractor.layout(image);
        let clusters = self.teacher.segmenter.segment(graph).clusters;
        let classes: Vec<u8> = clusters.iter().map(|&cluster| self.teacher.class_of_cluster[cluster]).collect();
        let longest = image.width.max(image.height);
        let mask = layout.paint(&classes);
        let refine = |image: &RgbImage| bilateral::refine(image, &mask, BILATERAL);
        let refined = if longest > LONGEST_SIDE_PX {
            let scaled = |side: usize| (side * LONGEST_SIDE_PX).div_ceil(longest);
            refine(&resize_lanczos(image, scaled(image.width), scaled(image.height)))
        } else {
            refine(image)
        };
        layout.class_shares(&refined, self.teacher.classes())
    }
}

/// One image with the teacher's answer.
struct Taught {
    graph: Graph,
    targets: Vec<f32>,
    /// Whether the answer is in the cache now.
    stored: bool,
}

fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

impl GraphSource for TaughtGraphs<'_> {
    fn len(&self) -> usize {
        self.whole.len()
    }

    fn load(&self, index: usize) -> Result<Graph, LoadError> {
        let Taught { graph, targets, .. } = self.targets(index)?;
        Ok(Graph { targets: Some(targets), ..graph })
    }
}
