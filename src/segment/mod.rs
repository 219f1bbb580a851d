//! Graph → assignment: which nodes belong together, by a network that was trained before or on the image itself.

mod per_image;
mod shared;

pub use per_image::{Optimised, PerImageConfig, PerImageSegmenter};
pub use shared::Segmenter;

use std::collections::BTreeSet;

use crate::numerics::argmax;
use crate::tensor::{self, Tensor};

/// The clusters of one image's nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Segments {
    /// The most probable cluster of every node, `[N]`.
    pub clusters: Vec<usize>,
    /// The probability of that cluster, `[N]`.
    pub probabilities: Vec<f32>,
}

impl Segments {
    /// The most probable cluster of every node of a single graph.
    ///
    /// # Shapes
    /// `[1, N, K]` → clusters and probabilities `[N]`
    fn from_assignment(assignment: Tensor<3>) -> Segments {
        let clusters = assignment.dims()[2];
        let (clusters, probabilities) = tensor::into_vec(assignment)
            .chunks_exact(clusters)
            .map(|row| {
                let cluster = argmax(row);
                (cluster, row[cluster])
            })
            .unzip();
        Segments { clusters, probabilities }
    }

    /// Number of different clusters in use.
    pub fn clusters_in_use(&self) -> usize {
        self.clusters.iter().collect::<BTreeSet<_>>().len()
    }

    /// Mask values of the nodes: 0 for background clusters, 1, 2, … for the others in the order of clusters.
    pub fn mask_values(&self, background: &[bool]) -> Vec<u8> {
        let mut next = 0;
        let values: Vec<u8> = background
            .iter()
            .map(|&is_background| {
                if is_background {
                    return 0;
                }
                next += 1;
                next
            })
            .collect();
        self.clusters.iter().map(|&cluster| values[cluster]).collect()
    }

    /// Mean probability of the foreground nodes' cluster, weighted by the area they cover; none without foreground.
    pub fn confidence(&self, background: &[bool], area: &[f32]) -> Option<f64> {
        let (mut total, mut weight) = (0.0, 0.0);
        for (node, &cluster) in self.clusters.iter().enumerate() {
            if !background[cluster] {
                total += f64::from(self.probabilities[node]) * f64::from(area[node]);
                weight += f64::from(area[node]);
            }
        }
        (weight > 0.0).then(|| total / weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn background_is_zero_and_foreground_clusters_are_numbered_in_order() {
        let segments = Segments { clusters: vec![0, 1, 2, 3, 1], probabilities: vec![0.5, 0.6, 0.7, 0.8, 1.0] };
        let background = [true, false, true, false];
        assert_eq!(segments.mask_values(&background), [0, 1, 0, 2, 1]);
        let confidence = segments.confidence(&background, &[1.0, 1.0, 1.0, 2.0, 1.0]).unwrap();
        assert!((confidence - (0.6 + 2.0 * 0.8 + 1.0) / 4.0).abs() < 1e-6);
        assert_eq!(segments.confidence(&[true; 4], &[1.0; 5]), None);
    }
}
