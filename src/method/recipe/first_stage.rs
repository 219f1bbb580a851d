//! How a trained network divides the whole collection.

use super::Recipe;
use crate::event::{Event, Phase};
use crate::method::MethodError;
use crate::parallel::parallel_map;
use crate::refine::BorderStatistics;
use crate::segment::{Segmenter, SharedSegmenter};
use crate::train::{GraphSource, TrainError};

/// Where the clusters of a collection lie.
pub(super) struct FirstStage {
    pub statistics: BorderStatistics,
    /// Nodes in every cluster, `[images][K]`; none of an image that can no longer be had.
    cluster_nodes: Vec<Vec<u32>>,
}

impl FirstStage {
    /// Segments every image of `graphs`.
    pub fn of(
        recipe: &Recipe,
        graphs: &dyn GraphSource,
        segmenter: &SharedSegmenter,
        clusters: usize,
    ) -> Result<FirstStage, MethodError> {
        let observer = recipe.observer;
        observer.observe(Event::PhaseStarted { phase: Phase::Background, total: Some(graphs.len() as u64) });
        let mut statistics = BorderStatistics::new(clusters);
        let mut cluster_nodes = Vec::with_capacity(graphs.len());
        let segment = |index| -> Result<_, MethodError> {
            if observer.interrupted() {
                return Err(MethodError::Interrupted);
            }
            let graph = graphs.load(index).map_err(|error| MethodError::Collection(error.to_string()))?;
            Ok(graph.map(|graph| (segmenter.segment(&graph).clusters, graph)))
        };
        parallel_map(0..graphs.len(), recipe.workers, segment, |segmented| {
            let mut nodes = vec![0; clusters];
            if let Some((found, graph)) = segmented? {
                statistics.add(&found, &graph.border, &graph.area);
                found.iter().for_each(|&cluster| nodes[cluster] += 1);
            }
            cluster_nodes.push(nodes);
            observer.observe(Event::PhaseProgress { phase: Phase::Background, done: cluster_nodes.len() as u64 });
            Ok::<(), MethodError>(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Background });
        if cluster_nodes.iter().flatten().all(|&nodes| nodes == 0) {
            return Err(TrainError::Empty.into());
        }
        Ok(FirstStage { statistics, cluster_nodes })
    }

    /// The images with at least `least` nodes of foreground, or of background.
    pub fn with_nodes(&self, background: &[bool], of_background: bool, least: usize) -> Vec<usize> {
        let nodes = |image: usize| -> u32 {
            let clusters = self.cluster_nodes[image].iter().zip(background);
            clusters.filter(|(_, is)| **is == of_background).map(|(nodes, _)| nodes).sum()
        };
        (0..self.cluster_nodes.len()).filter(|&image| nodes(image) as usize >= least).collect()
    }
}
