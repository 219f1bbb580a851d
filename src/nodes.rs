//! What every later room sees of an image: nodes with features, where they lie, and which pairs may have an affinity.

use std::collections::VecDeque;

use crate::raster::{LabelMap, Mask, Raster};

/// The nodes of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFeatures {
    /// Row-major `[nodes, channels]`.
    pub values: Vec<f32>,
    /// Channels per node.
    pub channels: usize,
    /// Where the nodes lie in the image.
    pub layout: Layout,
    /// How the affinity between nodes is defined.
    pub adjacency: Adjacency,
}

/// Where the nodes of an image lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Node `row * columns + column` covers one cell of a regular grid over the whole image.
    Grid { rows: usize, columns: usize },
    /// Node i covers the pixels labelled i, on a raster spanning the whole image.
    Superpixels { labels: LabelMap, regions: usize },
    /// Node i is node `inside[i]` of the whole layout, ascending; the image has no data where the others lie.
    Part { whole: Box<Layout>, inside: Vec<u32> },
}

/// Which pairs of nodes may have an affinity.
#[derive(Debug, Clone, PartialEq)]
pub enum Adjacency {
    /// Every pair: the affinity is the inner product of features.
    Complete,
    /// Only the listed pairs i < j, each once, with their weight; the affinity is symmetric.
    Edges(Vec<Edge>),
}

/// One undirected edge between nodes `first` < `second`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    pub first: u32,
    pub second: u32,
    pub weight: f32,
}

impl NodeFeatures {
    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.values.len() / self.channels
    }

    /// Only the nodes that lie where an image has data; see [`Layout::within`].
    #[must_use]
    pub fn within(self, outside: Option<&Mask>) -> NodeFeatures {
        let NodeFeatures { values, channels, layout, adjacency } = self;
        let all = layout.nodes();
        let layout = layout.within(outside);
        let Layout::Part { inside, .. } = &layout else { return NodeFeatures { values, channels, layout, adjacency } };
        let row = |&node: &u32| values[node as usize * channels..(node as usize + 1) * channels].iter().copied();
        let values = inside.iter().flat_map(row).collect();
        let adjacency = match adjacency {
            Adjacency::Complete => Adjacency::Complete,
            Adjacency::Edges(edges) => {
                let mut numbers = vec![None; all];
                inside.iter().zip(0..).for_each(|(&node, number)| numbers[node as usize] = Some(number));
                let number = |node: u32| numbers[node as usize];
                // Ascending numbers keep the order of edges and of their ends.
                let kept = edges
                    .into_iter()
                    .filter_map(|edge| Some(Edge { first: number(edge.first)?, second: number(edge.second)?, ..edge }));
                Adjacency::Edges(kept.collect())
            }
        };
        NodeFeatures { values, channels, layout, adjacency }
    }
}

/// Fewest nodes that are a graph.
const LEAST_INSIDE: usize = 2;

impl Layout {
    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        match self {
            Layout::Grid { rows, columns } => rows * columns,
            Layout::Superpixels { regions, .. } => *regions,
            Layout::Part { inside, .. } => inside.len(),
        }
    }

    /// The node at every position of the layout's raster; none where the image has no data.
    ///
    /// # Shapes
    /// → grid `[rows, columns]`, or the superpixels' raster
    pub fn positions(&self) -> Raster<Option<usize>> {
        match self {
            Layout::Grid { rows, columns } => {
                Raster::from_values(*columns, *rows, (0..rows * columns).map(Some).collect())
            }
            Layout::Superpixels { labels, .. } => labels.map(|label| Some(label as usize)),
            Layout::Part { whole, inside } => {
                let mut numbers = vec![None; whole.nodes()];
                inside.iter().enumerate().for_each(|(number, &node)| numbers[node as usize] = Some(number));
                whole.positions().map(|node| node.and_then(|node| numbers[node]))
            }
        }
    }

    /// How many positions of the layout's raster each node covers, and how many of these lie on the border of the image or
    /// of its data.
    ///
    /// # Shapes
    /// → area `[nodes]`, border `[nodes]`
    pub fn coverage(&self) -> (Vec<f32>, Vec<f32>) {
        let count = self.nodes();
        match self {
            Layout::Grid { rows, columns } => covered(count, *columns, *rows, |x, y| Some(y * columns + x)),
            Layout::Superpixels { labels, .. } => {
                covered(count, labels.width, labels.height, |x, y| Some(labels.at(x, y) as usize))
            }
            Layout::Part { .. } => {
                let positions = self.positions();
                covered(count, positions.width, positions.height, |x, y| positions.at(x, y))
            }
        }
    }

    /// Gives every position of the layout's raster the value of its node, and `outside` where the image has no data.
    ///
    /// # Shapes
    /// `[nodes]` → as [`Layout::positions`]
    pub fn paint<T: Copy>(&self, node_values: &[T], outside: T) -> Raster<T> {
        match self {
            Layout::Grid { rows, columns } => Raster::from_values(*columns, *rows, node_values.to_vec()),
            Layout::Superpixels { labels, .. } => labels.map(|label| node_values[label as usize]),
            Layout::Part { .. } => self.positions().map(|node| node.map_or(outside, |node| node_values[node])),
        }
    }

    /// The part of the layout where an image has data: nodes of which less than half lies outside. All of it where hardly
    /// a node is left: the pixels of the mask will tell.
    ///
    /// # Shapes
    /// `outside` of any size over the same image, 1 where there is no data
    #[must_use]
    pub fn within(self, outside: Option<&Mask>) -> Layout {
        let Some(outside) = outside else { return self };
        let shares = self.class_shares(outside, 2);
        let nodes = (0u32..).zip(shares.as_chunks::<2>().0);
        let inside: Vec<u32> = nodes.filter(|(_, [_, outside])| *outside < 0.5).map(|(node, _)| node).collect();
        if inside.len() < LEAST_INSIDE || inside.len() == self.nodes() {
            return self;
        }
        Layout::Part { whole: Box::new(self), inside }
    }

    /// For every node of the whole layout the node of this one that is nearest to it, by the fewest steps between
    /// neighbours of the raster, of equals the one that is first in it; none for a layout that is whole.
    pub fn nearest_inside(&self) -> Option<Vec<usize>> {
        let Layout::Part { whole, .. } = self else { return None };
        let of_whole = whole.positions();
        let mut nearest = self.positions();
        let (width, height) = (nearest.width, nearest.height);
        let mut queue: VecDeque<usize> = (0..width * height).filter(|&place| nearest.values[place].is_some()).collect();
        while let Some(place) = queue.pop_front() {
            let (x, y) = (place % width, place / width);
            let beside = [
                (y > 0).then(|| place - width),
                (x > 0).then(|| place - 1),
                (x + 1 < width).then(|| place + 1),
                (y + 1 < height).then(|| place + width),
            ];
            for next in beside.into_iter().flatten() {
                if nearest.values[next].is_none() {
                    nearest.values[next] = nearest.values[place];
                    queue.push_back(next);
                }
            }
        }
        let mut of_nodes = vec![None; whole.nodes()];
        for (node, nearest) in of_whole.values.into_iter().zip(nearest.values) {
            if let Some(node) = node
                && of_nodes[node].is_none()
            {
                of_nodes[node] = nearest;
            }
        }
        // Every layout of the whole covers all of its raster, and there is a node inside.
        Some(of_nodes.into_iter().map(Option::unwrap_or_default).collect())
    }
}

impl Layout {
    /// How much of every node each class of a mask over the same image covers.
    ///
    /// # Shapes
    /// mask of any size with values below `classes` → `[nodes, classes]`, rows of sum 1
    pub fn class_shares(&self, mask: &Mask, classes: usize) -> Vec<f32> {
        let nodes = self.positions();
        // As many pixels for every position of the raster: none is passed over where the image is the smaller.
        let whole = |pixels: usize, positions: usize| pixels.div_ceil(positions).max(1) * positions;
        let (width, height) = (whole(mask.width, nodes.width), whole(mask.height, nodes.height));
        let (mask, nodes) = (mask.resized_nearest(width, height), nodes.resized_nearest(width, height));
        let mut shares = vec![0.0f32; self.nodes() * classes];
        for (&node, &class) in nodes.values.iter().zip(&mask.values) {
            if let Some(node) = node {
                shares[node * classes + usize::from(class)] += 1.0;
            }
        }
        for row in shares.chunks_exact_mut(classes) {
            let total: f32 = row.iter().sum();
            row.iter_mut().for_each(|share| *share /= total);
        }
        shares
    }
}

/// Area and border of `count` nodes on a raster of `width` × `height`.
fn covered(
    count: usize,
    width: usize,
    height: usize,
    node_at: impl Fn(usize, usize) -> Option<usize>,
) -> (Vec<f32>, Vec<f32>) {
    let (mut area, mut border) = (vec![0.0; count], vec![0.0; count]);
    for y in 0..height {
        for x in 0..width {
            let Some(node) = node_at(x, y) else { continue };
            area[node] += 1.0;
            let is_outside = |x: usize, y: usize| node_at(x, y).is_none();
            if x == 0
                || y == 0
                || x + 1 == width
                || y + 1 == height
                || is_outside(x - 1, y)
                || is_outside(x + 1, y)
                || is_outside(x, y - 1)
                || is_outside(x, y + 1)
            {
                border[node] += 1.0;
            }
        }
    }
    (area, border)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_the_pixels_of_a_node() {
        let grid = Layout::Grid { rows: 1, columns: 2 };
        let mask = Mask::from_values(4, 2, vec![0, 1, 1, 1, 2, 1, 1, 1]);
        assert_eq!(grid.class_shares(&mask, 3), [0.25, 0.5, 0.25, 0.0, 1.0, 0.0]);
        // An image smaller than the grid, and one that the grid does not divide.
        assert_eq!(grid.class_shares(&Mask::filled(1, 1, 1), 2), [0.0, 1.0, 0.0, 1.0]);
        assert_eq!(grid.class_shares(&Mask::from_values(3, 1, vec![0, 1, 1]), 2), [0.5, 0.5, 0.0, 1.0]);
        let labels = LabelMap::from_values(3, 1, vec![0, 1, 0]);
        let regions = Layout::Superpixels { labels, regions: 2 };
        assert_eq!(regions.class_shares(&Mask::from_values(3, 1, vec![0, 1, 1]), 2), [0.5, 0.5, 0.0, 1.0]);
    }

    #[test]
    fn coverage_counts_cells_and_border_cells() {
        let (area, border) = Layout::Grid { rows: 3, columns: 3 }.coverage();
        assert_eq!(area, [1.0; 9]);
        assert_eq!(border, [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn nodes_without_data_are_in_no_graph_and_their_neighbours_are_at_the_border() {
        // Columns 2 and 3 of 4 have no data, but for one pixel.
        let outside = Mask::from_values(8, 3, [0, 0, 0, 0, 1, 1, 1, 1].repeat(3));
        let edge = |first, second| Edge { first, second, weight: 1.0 };
        let edges = vec![edge(0, 1), edge(1, 2), edge(1, 5), edge(5, 6), edge(8, 9)];
        let values = (0..24).map(|value| value as f32).collect();
        let layout = Layout::Grid { rows: 3, columns: 4 };
        let nodes = NodeFeatures { values, channels: 2, layout: layout.clone(), adjacency: Adjacency::Edges(edges) };
        let part = nodes.clone().within(Some(&outside));
        assert_eq!(part.layout, Layout::Part { whole: Box::new(layout), inside: vec![0, 1, 4, 5, 8, 9] });
        assert_eq!(part.values, [0.0, 1.0, 2.0, 3.0, 8.0, 9.0, 10.0, 11.0, 16.0, 17.0, 18.0, 19.0]);
        assert_eq!(part.adjacency, Adjacency::Edges(vec![edge(0, 1), edge(1, 3), edge(4, 5)]));
        assert_eq!(part.layout.coverage(), (vec![1.0; 6], vec![1.0; 6]));
        assert_eq!(part.layout.nearest_inside().unwrap(), [0, 1, 1, 1, 2, 3, 3, 3, 4, 5, 5, 5]);
        assert_eq!(part.layout.paint(&[1, 2, 3, 4, 5, 6], 9).values, [1, 2, 9, 9, 3, 4, 9, 9, 5, 6, 9, 9]);
        assert_eq!(part.layout.class_shares(&Mask::filled(8, 3, 1), 2), [0.0, 1.0].repeat(6));
        assert_eq!(nodes.clone().within(None), nodes);
        assert_eq!(nodes.clone().within(Some(&Mask::filled(8, 3, 1))), nodes, "nothing would be left");
    }
}
