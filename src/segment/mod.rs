//! Graph → assignment: which nodes belong together, by a network that was trained before or on the image itself, and
//! in a second stage which parts they are of.

mod dense;
pub mod grapl;
mod legend;
mod per_image;
pub mod regions;
mod shared;
mod spectral;
mod touching;
mod two_stage;

pub use legend::{Label, Legend, Role};
pub use per_image::{Optimised, PerImageConfig, PerImageMethod, PerImageSegmenter};
pub use shared::SharedSegmenter;
pub use spectral::SpectralSegmenter;
pub use touching::{LEAST_NODES, cut_objects};
pub use two_stage::{PartsConfig, SecondStage, members};

use std::collections::BTreeSet;

use crate::graph::Graph;
use crate::numerics::argmax;
use crate::tensor::{self, Tensor};

/// The clusters of one graph's nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Segments {
    /// The most probable cluster of every node, `[N]`.
    pub clusters: Vec<usize>,
    /// The probability of every cluster, row-major `[N, K]`.
    pub probabilities: Vec<f32>,
}

/// Something that assigns the nodes of a graph to clusters.
pub trait Segmenter: Sync {
    fn segment(&self, graph: &Graph) -> Segments;
}

impl Segments {
    /// The most probable cluster of every node of a single graph.
    ///
    /// # Shapes
    /// `[1, N, K]`
    fn from_assignment(assignment: Tensor<3>) -> Segments {
        let clusters = assignment.dims()[2];
        Segments::from_probabilities(tensor::into_vec(assignment), clusters)
    }

    /// The most probable cluster of every node, from `[N, K]`.
    pub fn from_probabilities(probabilities: Vec<f32>, clusters: usize) -> Segments {
        Segments { clusters: probabilities.chunks_exact(clusters).map(argmax).collect(), probabilities }
    }

    /// Number of different clusters in use.
    pub fn clusters_in_use(&self) -> usize {
        self.clusters.iter().collect::<BTreeSet<_>>().len()
    }

    /// The probability that a node is foreground: that of all clusters which are not background together.
    ///
    /// # Shapes
    /// background `[K]` → `[N]`
    pub fn foreground_probabilities(&self, background: &[bool]) -> Vec<f32> {
        let of_foreground =
            |row: &[f32]| row.iter().zip(background).filter(|(_, is)| !**is).map(|(value, _)| value).sum();
        self.probabilities.chunks_exact(background.len()).map(of_foreground).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreground_is_what_is_not_background() {
        let probabilities = vec![0.5, 0.25, 0.25, 0.125, 0.25, 0.625];
        let segments = Segments { clusters: vec![0, 2], probabilities };
        assert_eq!(segments.foreground_probabilities(&[true, false, false]), [0.5, 0.875]);
        assert_eq!(segments.foreground_probabilities(&[true, true, true]), [0.0, 0.0]);
        assert_eq!(segments.clusters_in_use(), 2);
    }
}
