//! What a network of objects is taught: masks of a first network or of the eigenvector, fitted to the edges of their images.

use std::sync::Arc;

use super::{Recipe, TrainingSet, foreground_iou, spread};
use crate::event::{Event, Phase};
use crate::features::Backbone;
use crate::graph::Graph;
use crate::method::MethodError;
use crate::model::Network;
use crate::nodes::Layout;
use crate::numerics::bytes::{bytes_from_floats, floats_from_bytes};
use crate::parallel::parallel_map;
use crate::pixels::Picture;
use crate::refine::{BackgroundRule, TeachingConfig};
use crate::segment::{Segmenter, SharedSegmenter, SpectralSegmenter};
use crate::train::{GraphSource, LoadError, Teacher};

/// Most images whose masks are held against others: their edges where no second network learns them, and what was taught.
const MOST_HELD_AGAINST: usize = 32;

/// Who tells the nodes of a graph apart.
pub(super) enum Guide<'a> {
    /// A trained network, with the class of every cluster: 0 for background, then 1, 2, … for the clusters of the foreground.
    Network { network: Network, segmenter: &'a SharedSegmenter, class_of_cluster: Vec<u8> },
    /// The eigenvector of every image, and which of its sides is background.
    Eigenvector(BackgroundRule),
}

/// A collection as graphs with a guide's answers.
pub(super) struct TaughtGraphs<'a> {
    set: &'a dyn TrainingSet,
    backbone: &'a Backbone,
    config: &'a TeachingConfig,
    guide: Guide<'a>,
    /// Hash of everything that an answer follows from besides the image, so that nothing of another guide is taken for its own.
    fingerprint: blake3::Hash,
}

impl Guide<'_> {
    /// Classes of nodes, background included.
    fn classes(&self) -> usize {
        match self {
            Guide::Network { class_of_cluster, .. } => {
                1 + class_of_cluster.iter().copied().max().map_or(0, usize::from)
            }
            Guide::Eigenvector(_) => 2,
        }
    }

    /// The class of every node.
    ///
    /// # Shapes
    /// → `[N]`
    fn classes_of(&self, graph: &Graph, layout: &Layout) -> Vec<u8> {
        match self {
            Guide::Network { segmenter, class_of_cluster, .. } => {
                segmenter.segment(graph).clusters.into_iter().map(|cluster| class_of_cluster[cluster]).collect()
            }
            Guide::Eigenvector(rule) => {
                let clusters = SpectralSegmenter.segment(graph).clusters;
                // What lies outside is of neither side.
                let background = rule.background(&layout.paint(&clusters, 2), 2);
                clusters.into_iter().map(|cluster| u8::from(cluster != background)).collect()
            }
        }
    }

    fn update(&self, hasher: &mut blake3::Hasher) {
        match self {
            Guide::Network { network, class_of_cluster, .. } => {
                hasher.update(class_of_cluster);
                for value in network.values().iter().flatten() {
                    hasher.update(&value.to_le_bytes());
                }
            }
            Guide::Eigenvector(rule) => {
                hasher.update(format!("eigenvector {rule:?}").as_bytes());
            }
        }
    }
}

impl<'a> TaughtGraphs<'a> {
    /// Lets `guide` teach.
    pub fn new(recipe: &'a Recipe, set: &'a dyn TrainingSet, guide: Guide<'a>) -> TaughtGraphs<'a> {
        let config = &recipe.resolved.settings().teaching;
        let mut hasher = blake3::Hasher::new();
        hasher.update(recipe.fingerprint.as_bytes()).update(format!("{config:?}").as_bytes());
        guide.update(&mut hasher);
        TaughtGraphs { set, backbone: recipe.backbone, config, guide, fingerprint: hasher.finalize() }
    }

    /// Classes of nodes, background included.
    pub fn classes(&self) -> usize {
        self.guide.classes()
    }

    /// Whose answers they are.
    pub fn teacher(&self) -> Teacher {
        match self.guide {
            Guide::Eigenvector(_) => Teacher::Eigenvector,
            Guide::Network { .. } => Teacher::Network,
        }
    }

    /// Makes sure that the answer for every image is kept, as far as there is room; the mean IoU of the guide's masks with
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
            Ok(taught.map_or((true, None), |taught| (taught.kept, taught.agreement)))
        };
        let (mut done, mut not_kept) = (0, 0u64);
        let mut agreements = Vec::new();
        parallel_map(0..self.len(), recipe.workers, prepare_one, |prepared| {
            let (kept, agreement) = prepared?;
            not_kept += u64::from(!kept);
            agreements.extend(agreement);
            done += 1;
            observer.observe(Event::PhaseProgress { phase: Phase::Teaching, done });
            Ok::<(), MethodError>(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Teaching });
        if not_kept > 0 {
            observer.observe(Event::Warning(format!(
                "the masks to learn of {not_kept} images did not fit in the cache and are computed anew in every epoch; raise cache.limit_mebibytes or lower data.max_images"
            )));
        }
        Ok(mean(&agreements))
    }

    /// The mean IoU of the guide's masks with its answers, over some images; nothing is kept.
    pub fn agreement_of_some(&self, recipe: &Recipe) -> Result<Option<f64>, MethodError> {
        self.mean_of_some(recipe, |index| {
            let (Some(graph), Some(image)) = (self.set.load(index)?, self.set.image(index)?) else { return Ok(None) };
            Ok(self.answer(graph, &image).agreement)
        })
    }

    /// The mean IoU of a network's masks with what it was taught, over some images: its class 0 is background.
    pub fn learnt(&self, recipe: &Recipe, student: &SharedSegmenter) -> Result<Option<f64>, MethodError> {
        self.mean_of_some(recipe, |index| {
            let Some(taught) = self.targets(index)? else { return Ok(None) };
            let classes = student.segment(&taught.graph).clusters;
            Ok(self.foreground_iou(&taught.graph, classes.into_iter().map(|class| class > 0), &taught.targets))
        })
    }

    /// The mean over images spread over the collection, of those that have any.
    fn mean_of_some(
        &self,
        recipe: &Recipe,
        of_one: impl Fn(usize) -> Result<Option<f64>, LoadError> + Sync,
    ) -> Result<Option<f64>, MethodError> {
        let mut found = Vec::new();
        parallel_map(spread(self.len(), MOST_HELD_AGAINST), recipe.workers, of_one, |agreement| {
            found.extend(agreement.map_err(|error| MethodError::Collection(error.to_string()))?);
            Ok::<(), MethodError>(())
        })?;
        Ok(mean(&found))
    }

    /// IoU of a foreground with the nodes that are mostly foreground by an answer; none without any.
    fn foreground_iou(&self, graph: &Graph, is_foreground: impl Iterator<Item = bool>, targets: &[f32]) -> Option<f64> {
        let nodes = is_foreground.zip(targets.chunks_exact(self.classes())).zip(&graph.area);
        foreground_iou(nodes.map(|((is_foreground, answer), &area)| (is_foreground, answer[0] < 0.5, area)))
    }

    /// The graph of an image and the guide's answer for it; none if what they follow from can no longer be had.
    fn targets(&self, index: usize) -> Result<Option<Taught>, LoadError> {
        let Some(graph) = self.set.load(index)? else { return Ok(None) };
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.fingerprint.as_bytes()).update(self.set.content_hash(index).as_bytes());
        let key = hasher.finalize();
        let expected = graph.nodes() * self.classes() + 1;
        if let Some(mut targets) = self.set.recall(&key).map(|bytes| floats_from_bytes(&bytes))
            && targets.len() == expected
        {
            let agreement = targets.pop().filter(|agreement| !agreement.is_nan()).map(f64::from);
            return Ok(Some(Taught { graph, targets, agreement, kept: true }));
        }
        let Some(image) = self.set.image(index)? else { return Ok(None) };
        let taught = self.answer(graph, &image);
        // The agreement follows the targets.
        let agreement = taught.agreement.map_or(f32::NAN, |agreement| agreement as f32);
        let kept = self.set.keep(&key, &bytes_from_floats(&[&taught.targets[..], &[agreement]].concat()))?;
        Ok(Some(Taught { kept, ..taught }))
    }

    /// The share of every class in every node, by the guide's mask after the bilateral solver.
    ///
    /// # Shapes
    /// → `[N, classes]`
    fn answer(&self, graph: Arc<Graph>, picture: &Picture) -> Taught {
        let layout = self.backbone.extractor.layout(&picture.image, picture.outside.as_ref());
        let classes = self.guide.classes_of(&graph, &layout);
        let refined = self.config.fitted(&picture.image, &layout.paint(&classes, 0));
        let targets = layout.class_shares(&refined, self.classes());
        let agreement = self.foreground_iou(&graph, classes.into_iter().map(|class| class > 0), &targets);
        // As precise as it is kept.
        let agreement = agreement.map(|agreement| f64::from(agreement as f32));
        Taught { graph, targets, agreement, kept: false }
    }
}

/// The mean of what there is.
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// One image with the guide's answer.
struct Taught {
    graph: Arc<Graph>,
    targets: Vec<f32>,
    /// IoU of the guide's own mask with the answer; none if neither shows anything.
    agreement: Option<f64>,
    /// Whether the answer is kept now.
    kept: bool,
}

impl GraphSource for TaughtGraphs<'_> {
    fn len(&self) -> usize {
        self.set.len()
    }

    fn views(&self) -> usize {
        self.set.views()
    }

    fn load(&self, index: usize) -> Result<Option<Arc<Graph>>, LoadError> {
        let taught = self.targets(index)?;
        let with_targets =
            |Taught { graph, targets, .. }| Arc::new(Graph { targets: Some(targets), ..Arc::unwrap_or_clone(graph) });
        Ok(taught.map(with_targets))
    }
}
