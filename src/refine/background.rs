//! The background rules: of a single image, and of a collection.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::numerics::argmax;
use crate::raster::Raster;

/// How one image by itself decides which of its clusters is background; all others are foreground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackgroundRule {
    /// The paper's: the cluster that is the most frequent one on the most of the image's four edges, of equals the one
    /// with more border positions.
    #[default]
    Edges,
    /// The official code's: the cluster in the most of the four corners, of equals the lowest.
    Corners,
}

impl BackgroundRule {
    /// The background cluster of an image.
    ///
    /// # Shapes
    /// the cluster at every position `[rows, columns]`, `clusters` where there is none → one cluster below `clusters`
    pub fn background(self, positions: &Raster<usize>, clusters: usize) -> usize {
        let (width, height) = (positions.width, positions.height);
        let row = |y: usize| (0..width).map(move |x| (x, y)).collect::<Vec<_>>();
        let column = |x: usize| (0..height).map(move |y| (x, y)).collect::<Vec<_>>();
        let edges = [row(0), row(height - 1), column(0), column(width - 1)];
        let counted = |places: &[(usize, usize)]| {
            let mut counts = vec![0; clusters];
            let clusters = places.iter().map(|&(x, y)| positions.at(x, y)).filter(|&cluster| cluster < counts.len());
            clusters.collect::<Vec<_>>().into_iter().for_each(|cluster| counts[cluster] += 1);
            counts
        };
        match self {
            BackgroundRule::Corners => {
                argmax(&counted(&[(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]))
            }
            BackgroundRule::Edges => {
                let mut won = vec![(0, 0); clusters];
                for edge in edges {
                    let counts = counted(&edge);
                    won[argmax(&counts)].0 += 1;
                    counts.iter().zip(&mut won).for_each(|(count, won)| won.1 += count);
                }
                argmax(&won)
            }
        }
    }
}

/// Where the clusters of a collection lie, summed over its images.
#[derive(Debug, Clone, PartialEq)]
pub struct BorderStatistics {
    border: Vec<f64>,
    area: Vec<f64>,
}

impl BorderStatistics {
    /// Statistics of no image yet, for `clusters` clusters.
    pub fn new(clusters: usize) -> BorderStatistics {
        BorderStatistics { border: vec![0.0; clusters], area: vec![0.0; clusters] }
    }

    /// Adds one image: the cluster of every node, and how many positions of the image and of its border the node
    /// covers. Every image weighs the same, whatever its number of positions.
    pub fn add(&mut self, clusters: &[usize], border: &[f32], area: &[f32]) {
        let share = |values: &[f32]| 1.0 / values.iter().map(|&value| f64::from(value)).sum::<f64>().max(1.0);
        let (border_scale, area_scale) = (share(border), share(area));
        for (node, &cluster) in clusters.iter().enumerate() {
            self.border[cluster] += f64::from(border[node]) * border_scale;
            self.area[cluster] += f64::from(area[node]) * area_scale;
        }
    }

    /// Each cluster's share of all border positions.
    pub fn border_shares(&self) -> Vec<f64> {
        shares(&self.border)
    }

    /// Each cluster's share of all positions.
    pub fn area_shares(&self) -> Vec<f64> {
        shares(&self.area)
    }

    /// Which clusters are background: those more frequent on image borders than in images as a whole.
    ///
    /// The collection-level form of the paper's rule (the cluster on more than two of an image's four edges): decided
    /// once, so that an object cut off by the border does not flip its image. With two clusters exactly one is
    /// background. Clusters that never occur are background.
    pub fn background(&self) -> Vec<bool> {
        let (border, area) = (self.border_shares(), self.area_shares());
        let mut background: Vec<bool> = border.iter().zip(&area).map(|(border, area)| border >= area).collect();
        if background.iter().all(|&is_background| is_background) {
            // Only when every cluster is spread evenly: the cluster rarest on borders is the best guess at an object.
            let used = (0..border.len()).filter(|&cluster| area[cluster] > 0.0);
            if used.clone().count() > 1 {
                used.min_by(|&a, &b| border[a].total_cmp(&border[b]))
                    .into_iter()
                    .for_each(|rarest| background[rarest] = false);
            }
        }
        background
    }
}

fn shares(values: &[f64]) -> Vec<f64> {
    let total: f64 = values.iter().sum();
    values.iter().map(|value| if total > 0.0 { value / total } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_images_decide_by_their_edges_or_corners() {
        // Cluster 1 holds three corners by its arms; cluster 0 holds the larger part of three edges.
        #[rustfmt::skip]
        let arms = Raster::from_values(5, 5, vec![
            1, 0, 0, 0, 1,
            0, 1, 0, 1, 0,
            0, 0, 1, 0, 0,
            0, 1, 0, 0, 0,
            1, 0, 0, 0, 0,
        ]);
        assert_eq!(BackgroundRule::Corners.background(&arms, 2), 1);
        assert_eq!(BackgroundRule::Edges.background(&arms, 2), 0);
        // Two corners each: the official code keeps 0 as background.
        let halves = Raster::from_values(2, 2, vec![1, 0, 1, 0]);
        assert_eq!(BackgroundRule::Corners.background(&halves, 2), 0);
        assert_eq!(BackgroundRule::Edges.background(&Raster::filled(1, 1, 3), 5), 3);
    }

    #[test]
    fn clusters_on_the_border_are_background() {
        // A 3×3 grid with its centre in cluster 0, twice, and once with the object touching the border.
        let border = [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0];
        let area = [1.0; 9];
        let mut statistics = BorderStatistics::new(3);
        for _ in 0..2 {
            statistics.add(&[1, 1, 1, 1, 0, 1, 1, 1, 1], &border, &area);
        }
        statistics.add(&[0, 0, 1, 1, 0, 1, 1, 1, 1], &border, &area);
        assert_eq!(statistics.background(), [false, true, true]);
        assert!((statistics.border_shares()[0] - 2.0 / 24.0).abs() < 1e-12);
        assert!((statistics.area_shares()[0] - 5.0 / 27.0).abs() < 1e-12);
    }

    #[test]
    fn one_cluster_everywhere_is_background() {
        let mut statistics = BorderStatistics::new(2);
        statistics.add(&[1, 1], &[1.0, 1.0], &[1.0, 1.0]);
        assert_eq!(statistics.background(), [true, true]);
    }
}
