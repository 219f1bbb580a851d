//! The graph of some of an image's nodes only, for clustering within a cluster.

use super::{Affinity, Graph, Weights, propagation};
use crate::nodes::Edge;
use crate::numerics::scale_to_unit_length;

impl Graph {
    /// The graph that `members` form by themselves: affinities and propagation anew, from their features alone.
    ///
    /// `members` are node numbers in ascending order; member i becomes node i. Edges that leave the members are dropped.
    /// Source: the second stage of the official code, which builds W from the foreground's features only.
    ///
    /// `centred` takes the members' mean from their features and scales them to unit length. Differs from the paper: the
    /// parts of one object have most of their features in common, so that nearly all of W is what they share. It has no
    /// effect where W is a list of edges, which does not follow from the features.
    ///
    /// # Shapes
    /// N nodes → as many as there are members
    pub fn subgraph(&self, members: &[usize], affinity: Affinity, centred: bool) -> Graph {
        let mut features: Vec<f32> = members
            .iter()
            .flat_map(|&node| &self.features[node * self.channels..(node + 1) * self.channels])
            .copied()
            .collect();
        let selected = |values: &[f32]| members.iter().map(|&node| values[node]).collect();
        let coverage = (selected(&self.area), selected(&self.border));
        match &self.weights {
            Weights::Edges { edges, .. } => {
                let mut place = vec![None; self.nodes()];
                members.iter().zip(0u32..).for_each(|(&node, index)| place[node] = Some(index));
                let inner = edges.iter().filter_map(|edge| {
                    let (first, second) = (place[edge.first as usize]?, place[edge.second as usize]?);
                    Some(Edge { first, second, weight: edge.weight })
                });
                let inner: Vec<Edge> = inner.collect();
                propagation::over_edges(features, self.channels, &inner, affinity, coverage)
            }
            _ => {
                if centred {
                    centre(&mut features, self.channels);
                }
                propagation::over_features(features, self.channels, affinity, false, coverage)
            }
        }
    }
}

/// Takes the mean row from every row of `[N, D]` and scales the rows to unit length; a row that is the mean stays zero.
pub fn centre(values: &mut [f32], channels: usize) {
    let total = propagation::sum_of_rows(values, channels);
    let count = (values.len() / channels) as f64;
    for row in values.chunks_exact_mut(channels) {
        row.iter_mut().zip(&total).for_each(|(value, sum)| *value = (f64::from(*value) - sum / count) as f32);
        scale_to_unit_length(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{Adjacency, Layout, NodeFeatures};
    use crate::numerics::random;

    #[test]
    fn a_subgraph_is_the_graph_of_its_members() {
        let edge = |first, second, weight| Edge { first, second, weight };
        let edges = Adjacency::Edges(vec![edge(0, 1, 0.9), edge(1, 3, 0.4), edge(2, 3, 0.7), edge(3, 5, 0.2)]);
        let inner_edges = Adjacency::Edges(vec![edge(0, 1, 0.4), edge(1, 2, 0.2)]);
        let (channels, members) = (3, [1, 3, 5]);
        let values = random::uniform(&mut random::stream(5, "test", 0), 1.0, 6 * channels);
        let inner_values: Vec<f32> =
            members.iter().flat_map(|&m| values[m * channels..(m + 1) * channels].to_vec()).collect();
        for (adjacency, inner) in [(Adjacency::Complete, Adjacency::Complete), (edges, inner_edges)] {
            for affinity in [Affinity::NonNegative, Affinity::Correlation { alpha: 2.0 }] {
                let layout = Layout::Grid { rows: 1, columns: 6 };
                let whole = NodeFeatures { values: values.clone(), channels, layout, adjacency: adjacency.clone() };
                let layout = Layout::Grid { rows: 1, columns: 3 };
                let part = NodeFeatures { values: inner_values.clone(), channels, layout, adjacency: inner.clone() };
                let found = Graph::build(&whole, affinity).subgraph(&members, affinity, false);
                assert_eq!(found, Graph::build(&part, affinity));
            }
        }
    }

    #[test]
    fn centred_members_have_unit_length_and_differ_around_their_mean() {
        let layout = Layout::Grid { rows: 1, columns: 4 };
        let values = vec![9.0, 9.0, 10.0, 1.0, 10.0, -1.0, 10.0, 0.0];
        let nodes = NodeFeatures { values, channels: 2, layout, adjacency: Adjacency::Complete };
        let graph = Graph::build(&nodes, Affinity::NonNegative);
        let centred = graph.subgraph(&[1, 2, 3], Affinity::NonNegative, true);
        assert_eq!(centred.features, [0.0, 1.0, 0.0, -1.0, 0.0, 0.0]);
        // Each is like itself alone.
        assert_eq!(centred.degrees, [1.0, 1.0, 0.0]);
    }
}
