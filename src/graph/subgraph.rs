//! The graph of some of an image's nodes only, for clustering within a cluster.

use super::{Affinity, Graph, Weights, propagation};
use crate::features::Edge;
use crate::tensor::Device;

impl Graph {
    /// The graph that `members` form by themselves: affinities and propagation anew, from their features alone.
    ///
    /// `members` are node numbers in ascending order; member i becomes node i. Edges that leave the members are dropped.
    /// Source: the second stage of the official code, which builds W from the foreground's features only.
    ///
    /// # Shapes
    /// N nodes → as many as there are members
    pub fn subgraph(&self, members: &[usize], affinity: Affinity, device: &Device) -> Graph {
        let features: Vec<f32> = members
            .iter()
            .flat_map(|&node| &self.features[node * self.width..(node + 1) * self.width])
            .copied()
            .collect();
        let selected = |values: &[f32]| members.iter().map(|&node| values[node]).collect();
        let propagation = match &self.weights {
            Weights::Edges { edges, .. } => {
                let mut place = vec![None; self.nodes()];
                members.iter().zip(0u32..).for_each(|(&node, index)| place[node] = Some(index));
                let inner = edges.iter().filter_map(|edge| {
                    let (first, second) = (place[edge.first as usize]?, place[edge.second as usize]?);
                    Some(Edge { first, second, weight: edge.weight })
                });
                propagation::over_edges(&features, self.width, &inner.collect::<Vec<_>>(), affinity)
            }
            _ => propagation::over_features(&features, self.width, affinity, device),
        };
        propagation.into_graph(features, self.width, selected(&self.area), selected(&self.border))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{Adjacency, Layout, NodeFeatures};
    use crate::numerics::random;
    use crate::tensor;

    #[test]
    fn a_subgraph_is_the_graph_of_its_members() {
        let edge = |first, second, weight| Edge { first, second, weight };
        let edges = Adjacency::Edges(vec![edge(0, 1, 0.9), edge(1, 3, 0.4), edge(2, 3, 0.7), edge(3, 5, 0.2)]);
        let inner_edges = Adjacency::Edges(vec![edge(0, 1, 0.4), edge(1, 2, 0.2)]);
        let (width, members) = (3, [1, 3, 5]);
        let values = random::uniform(&mut random::stream(5, "test", 0), 1.0, 6 * width);
        let inner_values: Vec<f32> =
            members.iter().flat_map(|&m| values[m * width..(m + 1) * width].to_vec()).collect();
        for (adjacency, inner) in [(Adjacency::Complete, Adjacency::Complete), (edges, inner_edges)] {
            for affinity in [Affinity::NonNegative, Affinity::Correlation { alpha: 2.0 }] {
                let layout = Layout::Grid { rows: 1, columns: 6 };
                let whole = NodeFeatures { values: values.clone(), width, layout, adjacency: adjacency.clone() };
                let layout = Layout::Grid { rows: 1, columns: 3 };
                let part = NodeFeatures { values: inner_values.clone(), width, layout, adjacency: inner.clone() };
                let found = Graph::build(&whole, affinity, &tensor::cpu()).subgraph(&members, affinity, &tensor::cpu());
                assert_eq!(found, Graph::build(&part, affinity, &tensor::cpu()));
            }
        }
    }
}
