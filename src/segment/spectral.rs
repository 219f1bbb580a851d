//! The eigenvector of the normalised cut, image by image: what the networks are held against.

use std::borrow::Cow;

use faer::{Col, Mat, Side};

use super::{Segmenter, Segments};
use crate::graph::{Graph, Weights};
use crate::numerics::normalised_affinity::{normalise, second_solution_by_products};

/// Most products with the W of an image's patches.
const STEPS: usize = 256;

/// What single precision, in which products are, can tell apart.
const TOLERANCE: f64 = 1e-6;

/// Splits every graph in two by the second eigenvector of its normalised cut.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpectralSegmenter;

impl Segmenter for SpectralSegmenter {
    /// Cluster 1 is where the solution y of (D − W) y = λ D y with the second smallest λ is above its mean over nodes.
    ///
    /// Source: Shi and Malik, "Normalized Cuts and Image Segmentation", PAMI 2000; split at the mean as in TokenCut, Wang
    /// et al., CVPR 2022, arXiv 2202.11539. Negative affinities count as none.
    /// Time and memory grow with the second power of the nodes; with the third where edges are listed.
    fn segment(&self, graph: &Graph) -> Segments {
        let nodes = graph.nodes();
        let vector = match graph.weights {
            Weights::NonNegative { .. } => second_of_complete(graph),
            // Neighbours alone are joined: such a graph has many small cuts, which an iteration is slow to tell apart.
            Weights::Edges { .. } | Weights::Correlation { .. } => second_eigenvector(&affinities(graph)),
        };
        let mean = vector.iter().sum::<f64>() / nodes as f64;
        let clusters: Vec<usize> = vector.iter().map(|&value| usize::from(value > mean)).collect();
        let probabilities = clusters.iter().flat_map(|&cluster| [1.0 - cluster as f32, cluster as f32]).collect();
        Segments { clusters, probabilities }
    }
}

/// The second solution of a graph whose W has no negative entries; zeros where there is none.
fn second_of_complete(graph: &Graph) -> Vec<f64> {
    let nodes = graph.nodes();
    let is_formed = graph.affinities.is_some();
    let graph = if is_formed { Cow::Borrowed(graph) } else { Cow::Owned(graph.clone().keeping_affinities()) };
    let product = |vector: &Col<f64>| {
        let values: Vec<f32> = vector.iter().map(|&value| value as f32).collect();
        let product = graph.affinity_product(&values, 1);
        Col::from_fn(nodes, |node| f64::from(product[node]))
    };
    let degrees: Vec<f64> = graph.degrees.iter().map(|&degree| f64::from(degree)).collect();
    second_solution_by_products(&degrees, STEPS, TOLERANCE, product).unwrap_or_else(|| vec![0.0; nodes])
}

/// W without its negative entries.
fn affinities(graph: &Graph) -> Mat<f64> {
    let nodes = graph.nodes();
    if let Weights::Edges { edges, offset } = &graph.weights {
        let mut matrix = Mat::zeros(nodes, nodes);
        for edge in edges {
            let (first, second) = (edge.first as usize, edge.second as usize);
            let weight = f64::from((edge.weight - offset).max(0.0));
            matrix[(first, second)] = weight;
            matrix[(second, first)] = weight;
        }
        return matrix;
    }
    let offset = match graph.weights {
        Weights::NonNegative { offset, .. } | Weights::Correlation { offset } | Weights::Edges { offset, .. } => offset,
    };
    let offset = f64::from(offset);
    let features =
        Mat::from_fn(nodes, graph.channels, |node, channel| f64::from(graph.features[node * graph.channels + channel]));
    let products = &features * features.transpose();
    Mat::from_fn(nodes, nodes, |one, other| (products[(one, other)] - offset).max(0.0))
}

/// D^-½ u, with u the eigenvector of the second largest eigenvalue of D^-½ W D^-½; zeros where there is none.
fn second_eigenvector(affinities: &Mat<f64>) -> Vec<f64> {
    let nodes = affinities.nrows();
    let (normalised, inverse_roots) = normalise(affinities);
    match normalised.self_adjoint_eigen(Side::Lower) {
        Ok(decomposition) if nodes > 1 => {
            (0..nodes).map(|node| decomposition.U()[(node, nodes - 2)] * inverse_roots[node]).collect()
        }
        _ => vec![0.0; nodes],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Affinity;
    use crate::nodes::{Adjacency, Edge, Layout, NodeFeatures};
    use crate::numerics::random;

    fn clusters(values: Vec<f32>, channels: usize, adjacency: Adjacency) -> Vec<usize> {
        let layout = Layout::Grid { rows: 1, columns: values.len() / channels };
        let nodes = NodeFeatures { values, channels, layout, adjacency };
        let segments = SpectralSegmenter.segment(&Graph::build(&nodes, Affinity::NonNegative));
        assert_eq!(segments.probabilities.len(), 2 * segments.clusters.len());
        segments.clusters
    }

    #[test]
    fn the_weakest_link_is_cut() {
        let directions = vec![1.0, 0.1, 1.0, 0.0, 0.1, 1.0, 0.0, 1.0, 1.0, 0.2];
        let found = clusters(directions, 2, Adjacency::Complete);
        assert!(found[0] == found[1] && found[1] == found[4] && found[2] == found[3] && found[0] != found[2]);
        let edge = |first, second, weight| Edge { first, second, weight };
        let chain = vec![edge(0, 1, 0.9), edge(1, 2, 0.8), edge(2, 3, 0.1), edge(3, 4, 0.9)];
        let found = clusters(vec![0.5; 5], 1, Adjacency::Edges(chain));
        assert!(found[0] == found[1] && found[1] == found[2] && found[3] == found[4] && found[2] != found[3]);
    }

    #[test]
    fn the_iteration_cuts_as_the_whole_decomposition_does() {
        for (nodes, affinity) in [(60, Affinity::NonNegative), (300, Affinity::AboveMean)] {
            let mut values = random::uniform(&mut random::stream(6, "features", nodes as u64), 1.0, nodes * 8);
            for (place, value) in values.iter_mut().enumerate() {
                *value += if place / 8 % 4 == 0 { 0.6 } else { -0.2 };
            }
            let layout = Layout::Grid { rows: 1, columns: nodes };
            let described = NodeFeatures { values, channels: 8, layout, adjacency: Adjacency::Complete };
            let graph = Graph::build(&described, affinity);
            let found = SpectralSegmenter.segment(&graph).clusters;
            let expected = second_eigenvector(&affinities(&graph));
            let mean = expected.iter().sum::<f64>() / nodes as f64;
            let same = found.iter().zip(&expected).filter(|(found, value)| (**found == 1) == (**value > mean)).count();
            assert!(same == nodes || same == 0, "{same} of {nodes}");
        }
    }

    #[test]
    fn graphs_without_affinity_pass() {
        assert_eq!(clusters(vec![0.0; 3], 1, Adjacency::Complete), [0, 0, 0]);
        assert_eq!(clusters(vec![1.0], 1, Adjacency::Complete), [0]);
        assert_eq!(clusters(vec![1.0; 2], 1, Adjacency::Edges(Vec::new())), [0, 0]);
    }
}
