//! The second round of training: a first network's masks, fitted to the edges of their images, are what a second learns.

use std::sync::Arc;

use super::{Recipe, TrainingSet, foreground_iou, spread};
use crate::event::{Event, Phase};
use crate::features::Backbone;
use crate::graph::Graph;
use crate::method::MethodError;
use crate::model::Network;
use crate::numerics::bytes::{bytes_from_floats, floats_from_bytes};
use crate::parallel::parallel_map;
use crate::pixels::Picture;
use crate::refine::TeachingConfig;
use crate::segment::{Segmenter, SharedSegmenter};
use crate::train::{GraphSource, LoadError};

/// Images whose masks are held against their edges where no second network learns them.
const MOST_HELD_AGAINST: usize = 32;

/// A collection as graphs with a trained network's answers.
pub(super) struct TaughtGraphs<'a> {
    set: &'a dyn TrainingSet,
    backbone: &'a Backbone,
    config: &'a TeachingConfig,
    segmenter: &'a SharedSegmenter,
    /// The class of every cluster: 0 for background, then 1, 2, … for the clusters of the foreground.
    class_of_cluster: Vec<u8>,
    /// Hash of everything that an answer follows from besides the image, so that nothing of another teacher is taken for its own.
    fingerprint: blake3::Hash,
}

impl<'a> TaughtGraphs<'a> {
    /// Lets `network`, which `segmenter` runs, teach.
    pub fn new(
        recipe: &'a Recipe,
        set: &'a dyn TrainingSet,
        segmenter: &'a SharedSegmenter,
        class_of_cluster: Vec<u8>,
        network: &Network,
    ) -> TaughtGraphs<'a> {
        let config = &recipe.resolved.settings().teaching;
        let mut hasher = blake3::Hasher::new();
        hasher.update(recipe.fingerprint.as_bytes()).update(&class_of_cluster);
        hasher.update(format!("{config:?}").as_bytes());
        for value in network.values().iter().flatten() {
            hasher.update(&value.to_le_bytes());
        }
        let (backbone, fingerprint) = (recipe.backbone, hasher.finalize());
        TaughtGraphs { set, backbone, config, segmenter, class_of_cluster, fingerprint }
    }

    /// Classes of nodes, background included.
    pub fn classes(&self) -> usize {
        1 + self.class_of_cluster.iter().copied().max().map_or(0, usize::from)
    }

    /// Makes sure that the answer for every image is kept, as far as there is room; the mean IoU of the teacher's masks with
    /// its answers, none if neither shows anything.
    pub fn prepare(&self, recipe: &Recipe) -> Result<Option<f64>, MethodError> {
        let observer = recipe.observer;
        observer.observe(Event::PhaseStarted { phase: Phase::Teaching, total: Some(self.len() as u64) });
        let prepare_one = |index| -> Result<_, MethodError> {
            if observer.interrupted() {
                return Err(MethodError::Interrupted);
            }
            let taught = self.targets(index).map_err(|error| MethodError::Collection(error.to_string()))?;
            // Of an image that can no longer be had there is nothing to keep.
            Ok(taught.map_or((true, None), |taught| (taught.kept, self.agreement(&taught))))
        };
        let (mut done, mut not_kept) = (0, 0u64);
        let (mut agreements, mut with_foreground) = (0.0, 0u64);
        parallel_map(0..self.len(), recipe.workers, prepare_one, |prepared| {
            let (kept, agreement) = prepared?;
            not_kept += u64::from(!kept);
            agreements += agreement.unwrap_or(0.0);
            with_foreground += u64::from(agreement.is_some());
            done += 1;
            observer.observe(Event::PhaseProgress { phase: Phase::Teaching, done });
            Ok::<(), MethodError>(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Teaching });
        if not_kept > 0 {
            observer.observe(Event::Warning(format!(
                "the first network's masks of {not_kept} images did not fit in the cache and are computed anew in every epoch; raise cache.limit_mebibytes or lower data.max_images"
            )));
        }
        Ok((with_foreground > 0).then(|| agreements / with_foreground as f64))
    }

    /// The mean IoU of the network's masks with what they would teach, over some images; nothing is kept.
    pub fn agreement_of_some(&self, recipe: &Recipe) -> Result<Option<f64>, MethodError> {
        let of_one = |index| -> Result<_, LoadError> {
            let (Some(graph), Some(image)) = (self.set.load(index)?, self.set.image(index)?) else { return Ok(None) };
            let targets = self.answer(&graph, &image);
            Ok(self.agreement(&Taught { graph, targets, kept: false }))
        };
        let mut found = Vec::new();
        parallel_map(spread(self.len(), MOST_HELD_AGAINST), recipe.workers, of_one, |agreement| {
            found.extend(agreement.map_err(|error| MethodError::Collection(error.to_string()))?);
            Ok::<(), MethodError>(())
        })?;
        Ok((!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64))
    }

    /// IoU of the teacher's foreground with its answer, by the nodes that are mostly foreground; none without any.
    fn agreement(&self, taught: &Taught) -> Option<f64> {
        let clusters = self.segmenter.segment(&taught.graph).clusters;
        let answers = taught.targets.chunks_exact(self.classes());
        let nodes = clusters.into_iter().zip(answers).zip(&taught.graph.area);
        foreground_iou(
            nodes.map(|((cluster, answer), &area)| (self.class_of_cluster[cluster] > 0, answer[0] < 0.5, area)),
        )
    }

    /// The graph of an image and the teacher's answer for it; none if what they follow from can no longer be had.
    fn targets(&self, index: usize) -> Result<Option<Taught>, LoadError> {
        let Some(graph) = self.set.load(index)? else { return Ok(None) };
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.fingerprint.as_bytes()).update(self.set.content_hash(index).as_bytes());
        let key = hasher.finalize();
        let expected = graph.nodes() * self.classes();
        if let Some(targets) = self.set.recall(&key).map(|bytes| floats_from_bytes(&bytes))
            && targets.len() == expected
        {
            return Ok(Some(Taught { graph, targets, kept: true }));
        }
        let Some(image) = self.set.image(index)? else { return Ok(None) };
        let targets = self.answer(&graph, &image);
        let kept = self.set.keep(&key, &bytes_from_floats(&targets))?;
        Ok(Some(Taught { graph, targets, kept }))
    }

    /// The share of every class in every node, by the teacher's mask after the bilateral solver.
    ///
    /// # Shapes
    /// → `[N, classes]`
    fn answer(&self, graph: &Graph, picture: &Picture) -> Vec<f32> {
        let layout = self.backbone.extractor.layout(&picture.image, picture.outside.as_ref());
        let clusters = self.segmenter.segment(graph).clusters;
        let classes: Vec<u8> = clusters.iter().map(|&cluster| self.class_of_cluster[cluster]).collect();
        let refined = self.config.fitted(&picture.image, &layout.paint(&classes, 0));
        layout.class_shares(&refined, self.classes())
    }
}

/// One image with the teacher's answer.
struct Taught {
    graph: Arc<Graph>,
    targets: Vec<f32>,
    /// Whether the answer is kept now.
    kept: bool,
}

impl GraphSource for TaughtGraphs<'_> {
    fn len(&self) -> usize {
        self.set.len()
    }

    fn load(&self, index: usize) -> Result<Option<Arc<Graph>>, LoadError> {
        let taught = self.targets(index)?;
        let with_targets =
            |Taught { graph, targets, .. }| Arc::new(Graph { targets: Some(targets), ..Arc::unwrap_or_clone(graph) });
        Ok(taught.map(with_targets))
    }
}
