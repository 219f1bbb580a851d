//! What the network sees of a node that has a mean colour and a place.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::region_graph::REGION_WIDTH;
use crate::nodes::{Adjacency, NodeFeatures};

/// How a node of a colour graph is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Descriptor {
    /// Mean red, green and blue / 255 and the centroid's y and x / size: the paper's, meant for optimising every image
    /// by itself. Shared over a collection, the cheapest cut in these five values is a straight line at the same place
    /// in every image.
    ColourPlace,
    /// The colour distance to the image border along the cheapest path, 1 for the farthest node of the image (geodesic
    /// saliency: Wei et al., "Geodesic Saliency Using Background Priors", ECCV 2012). Its meaning is the same in every
    /// image, which is what one network for all images needs.
    /// Differs from the paper, whose superpixel networks are never shared.
    #[default]
    BackgroundDistance,
}

impl Descriptor {
    /// Channels of a node.
    pub(super) fn width(self) -> usize {
        match self {
            Descriptor::ColourPlace => REGION_WIDTH,
            Descriptor::BackgroundDistance => 1,
        }
    }

    /// Describes nodes that have colour and place so far.
    ///
    /// # Shapes
    /// `[nodes, 5]` → `[nodes, width]`
    pub(super) fn describe(self, nodes: NodeFeatures) -> NodeFeatures {
        match self {
            Descriptor::ColourPlace => nodes,
            Descriptor::BackgroundDistance => {
                NodeFeatures { values: background_distance(&nodes), channels: self.width(), ..nodes }
            }
        }
    }
}

/// The smallest sum of colour differences on the way from the image border to every node, over the largest of the image.
/// Nodes that no way leads to are as far as the farthest.
fn background_distance(nodes: &NodeFeatures) -> Vec<f32> {
    let Adjacency::Edges(edges) = &nodes.adjacency else { return vec![0.0; nodes.nodes()] };
    let colour = |node: u32| &nodes.values[node as usize * REGION_WIDTH..][..3];
    let mut neighbours = vec![Vec::new(); nodes.nodes()];
    for edge in edges {
        let square: f32 = colour(edge.first).iter().zip(colour(edge.second)).map(|(a, b)| (a - b) * (a - b)).sum();
        neighbours[edge.first as usize].push((edge.second, square.sqrt()));
        neighbours[edge.second as usize].push((edge.first, square.sqrt()));
    }

    // Dijkstra from all border nodes at once. Distances are never negative, so their bits sort as they do.
    let (_, border) = nodes.layout.coverage();
    let mut distances = vec![f32::INFINITY; nodes.nodes()];
    let mut queue = BinaryHeap::new();
    for (node, &border) in border.iter().enumerate() {
        if border > 0.0 {
            distances[node] = 0.0;
            queue.push(Reverse((0u32, node as u32)));
        }
    }
    while let Some(Reverse((bits, node))) = queue.pop() {
        let distance = f32::from_bits(bits);
        if distance > distances[node as usize] {
            continue;
        }
        for &(neighbour, step) in &neighbours[node as usize] {
            let through = distance + step;
            if through < distances[neighbour as usize] {
                distances[neighbour as usize] = through;
                queue.push(Reverse((through.to_bits(), neighbour)));
            }
        }
    }

    let farthest = distances.iter().copied().filter(|distance| distance.is_finite()).fold(0.0f32, f32::max);
    if farthest == 0.0 {
        return vec![0.0; nodes.nodes()];
    }
    distances.into_iter().map(|distance| distance.min(farthest) / farthest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{Edge, Layout};

    /// A 3×n strip of grey nodes, the middle row as given and the border black, joined to the four neighbours.
    fn strip(middle: &[f32]) -> NodeFeatures {
        let columns = middle.len() + 2;
        let mut values = Vec::new();
        let mut edges = Vec::new();
        for row in 0..3 {
            for column in 0..columns {
                let inside = row == 1 && (1..columns - 1).contains(&column);
                let grey = if inside { middle[column - 1] } else { 0.0 };
                values.extend([grey, grey, grey, 0.0, 0.0]);
                let node = (row * columns + column) as u32;
                if column + 1 < columns {
                    edges.push(Edge { first: node, second: node + 1, weight: 1.0 });
                }
                if row < 2 {
                    edges.push(Edge { first: node, second: node + columns as u32, weight: 1.0 });
                }
            }
        }
        let layout = Layout::Grid { rows: 3, columns };
        NodeFeatures { values, channels: REGION_WIDTH, layout, adjacency: Adjacency::Edges(edges) }
    }

    #[test]
    fn distance_follows_the_cheapest_path_and_its_largest_is_one() {
        let nodes = Descriptor::BackgroundDistance.describe(strip(&[0.2, 0.4, 0.2]));
        assert_eq!(nodes.channels, 1);
        let middle: Vec<f32> = nodes.values[6..9].to_vec();
        for (value, expected) in middle.iter().zip([0.5, 1.0, 0.5]) {
            assert!((value - expected).abs() < 1e-6, "{middle:?}");
        }
        assert!(nodes.values[..6].iter().all(|&value| value == 0.0), "the border is at distance 0");
    }

    #[test]
    fn an_image_of_one_colour_is_all_background() {
        let nodes = Descriptor::BackgroundDistance.describe(strip(&[0.0, 0.0]));
        assert!(nodes.values.iter().all(|&value| value == 0.0));
    }
}
