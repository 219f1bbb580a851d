//! What every later room sees of an image: nodes with features, where they lie, and which pairs may have an affinity.

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
}

impl Layout {
    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        match self {
            Layout::Grid { rows, columns } => rows * columns,
            Layout::Superpixels { regions, .. } => *regions,
        }
    }

    /// How many positions of the layout's raster each node covers, and how many of these lie on the image border.
    ///
    /// # Shapes
    /// → area `[nodes]`, border `[nodes]`
    pub fn coverage(&self) -> (Vec<f32>, Vec<f32>) {
        let mut area = vec![0.0; self.nodes()];
        let mut border = vec![0.0; self.nodes()];
        let (width, height) = match self {
            Layout::Grid { rows, columns } => (*columns, *rows),
            Layout::Superpixels { labels, .. } => (labels.width, labels.height),
        };
        for y in 0..height {
            for x in 0..width {
                let node = match self {
                    Layout::Grid { columns, .. } => y * columns + x,
                    Layout::Superpixels { labels, .. } => labels.at(x, y) as usize,
                };
                area[node] += 1.0;
                if x == 0 || y == 0 || x + 1 == width || y + 1 == height {
                    border[node] += 1.0;
                }
            }
        }
        (area, border)
    }

    /// Gives every position of the layout's raster the value of its node.
    ///
    /// # Shapes
    /// `[nodes]` → grid `[rows, columns]`, or the superpixels' raster
    pub fn paint<T: Copy>(&self, node_values: &[T]) -> Raster<T> {
        match self {
            Layout::Grid { rows, columns } => Raster::from_values(*columns, *rows, node_values.to_vec()),
            Layout::Superpixels { labels, .. } => labels.map(|label| node_values[label as usize]),
        }
    }
}

impl Layout {
    /// How much of every node each class of a mask over the same image covers.
    ///
    /// # Shapes
    /// mask of any size with values below `classes` → `[nodes, classes]`, rows of sum 1
    pub fn class_shares(&self, mask: &Mask, classes: usize) -> Vec<f32> {
        let nodes = self.paint(&(0..self.nodes()).collect::<Vec<_>>());
        // As many pixels for every position of the raster: none is passed over where the image is the smaller.
        let whole = |pixels: usize, positions: usize| pixels.div_ceil(positions).max(1) * positions;
        let (width, height) = (whole(mask.width, nodes.width), whole(mask.height, nodes.height));
        let (mask, nodes) = (mask.resized_nearest(width, height), nodes.resized_nearest(width, height));
        let mut shares = vec![0.0f32; self.nodes() * classes];
        for (&node, &class) in nodes.values.iter().zip(&mask.values) {
            shares[node * classes + usize::from(class)] += 1.0;
        }
        for row in shares.chunks_exact_mut(classes) {
            let total: f32 = row.iter().sum();
            row.iter_mut().for_each(|share| *share /= total);
        }
        shares
    }
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
}
