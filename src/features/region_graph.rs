//! Mean colour and place of every region of an image, and the colour affinity between regions that touch.

use crate::nodes::{Adjacency, Edge, Layout, NodeFeatures};
use crate::raster::{LabelMap, RgbImage};

/// Channels of a region: mean red, green, blue, then the centroid's y and x.
pub(super) const REGION_WIDTH: usize = 5;

/// Squared colour difference, on 0..255 channels, at which the affinity has fallen to 1/e.
const COLOUR_SCALE: f64 = 255.0;

/// The nodes and edges of an image divided into regions.
///
/// Node i is the mean RGB / 255 of the pixels labelled i, then their mean row / height and mean column / width. Two
/// regions share an edge where a pixel of one is among the eight neighbours of a pixel of the other:
///
/// ```text
/// w_ij = exp(−‖c_i − c_j‖² / 255),  c the mean RGB in 0..255
/// ```
///
/// Pixels with a label of `regions` or more belong to no node; a region without pixels is all zeros and has no edge.
///
/// # Shapes
/// `[height, width]` pixels and labels → `[regions, 5]` features.
///
/// # Panics
/// If `image` and `labels` differ in size.
pub fn region_graph(image: &RgbImage, labels: &LabelMap, regions: usize) -> NodeFeatures {
    assert_eq!(
        (image.width, image.height),
        (labels.width, labels.height),
        "a region graph needs one label for every pixel"
    );
    let means = region_means(image, labels, regions);
    let values =
        means.iter().flat_map(|mean| region_values(mean.colour, mean.place, image.width, image.height)).collect();
    let edges = touching_pairs(labels, regions)
        .into_iter()
        .map(|(first, second)| Edge {
            first,
            second,
            weight: colour_affinity(means[first as usize].colour, means[second as usize].colour),
        })
        .collect();
    NodeFeatures {
        values,
        channels: REGION_WIDTH,
        layout: Layout::Superpixels { labels: labels.clone(), regions },
        adjacency: Adjacency::Edges(edges),
    }
}

/// exp(−‖a − b‖² / 255) for colours with channels in 0..255.
pub(super) fn colour_affinity(a: [f64; 3], b: [f64; 3]) -> f32 {
    let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    (-square / COLOUR_SCALE).exp() as f32
}

/// The feature vector of a region with mean colour `colour` (0..255) and centroid `[y, x]`, in pixels.
pub(super) fn region_values(colour: [f64; 3], place: [f64; 2], width: usize, height: usize) -> [f32; REGION_WIDTH] {
    let [red, green, blue] = colour.map(|channel| (channel / 255.0) as f32);
    [red, green, blue, (place[0] / height as f64) as f32, (place[1] / width as f64) as f32]
}

/// Mean colour in 0..255 and mean `[y, x]` of a region.
#[derive(Clone, Copy, Default)]
struct RegionMean {
    colour: [f64; 3],
    place: [f64; 2],
}

fn region_means(image: &RgbImage, labels: &LabelMap, regions: usize) -> Vec<RegionMean> {
    // Whole numbers: the means do not depend on the order of summation.
    let mut sums = vec![[0u64; 6]; regions];
    for (pixel, (&label, colour)) in labels.values.iter().zip(&image.values).enumerate() {
        if let Some(sums) = sums.get_mut(label as usize) {
            let [red, green, blue] = colour.map(u64::from);
            let (y, x) = (pixel / image.width, pixel % image.width);
            for (sum, value) in sums.iter_mut().zip([1, red, green, blue, y as u64, x as u64]) {
                *sum += value;
            }
        }
    }
    sums.into_iter()
        .map(|[count, sums @ ..]| {
            let [red, green, blue, y, x] = sums.map(|sum| sum as f64 / count.max(1) as f64);
            RegionMean { colour: [red, green, blue], place: [y, x] }
        })
        .collect()
}

/// Pairs of regions below `regions` with 8-neighbouring pixels, the smaller first, sorted, each once.
fn touching_pairs(labels: &LabelMap, regions: usize) -> Vec<(u32, u32)> {
    let mut pairs = Vec::new();
    let mut touch = |a: u32, b: u32| {
        let pair = (a.min(b), a.max(b));
        // A border runs over many pixels: most repetitions follow each other and need not be sorted.
        if a != b && (pair.1 as usize) < regions && pairs.last() != Some(&pair) {
            pairs.push(pair);
        }
    };
    if labels.width == 0 {
        return pairs;
    }
    for y in 0..labels.height {
        let row = &labels.values[y * labels.width..(y + 1) * labels.width];
        row.windows(2).for_each(|pair| touch(pair[0], pair[1]));
        if y + 1 < labels.height {
            let below = &labels.values[(y + 1) * labels.width..(y + 2) * labels.width];
            row.iter().zip(below).for_each(|(&a, &b)| touch(a, b));
            row.iter().zip(&below[1..]).for_each(|(&a, &b)| touch(a, b));
            row[1..].iter().zip(below).for_each(|(&a, &b)| touch(a, b));
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Raster;

    #[test]
    fn means_places_and_touching_regions() {
        // Regions 0 and 2 touch at a corner only, 3 is empty, 9 belongs to nobody.
        let labels = LabelMap::from_values(3, 2, vec![0, 1, 1, 9, 2, 2]);
        let image = Raster::from_values(3, 2, vec![[0; 3], [10, 20, 30], [20, 40, 60], [255; 3], [0; 3], [0, 0, 10]]);
        let graph = region_graph(&image, &labels, 4);
        let expected = [
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [15.0 / 255.0, 30.0 / 255.0, 45.0 / 255.0, 0.0, 0.5],
            [0.0, 0.0, 5.0 / 255.0, 0.5, 0.5],
            [0.0; 5],
        ];
        assert_eq!(graph.values, expected.concat());
        assert_eq!((graph.nodes(), graph.channels), (4, 5));
        let weight = |square: f64| (-square / 255.0).exp() as f32;
        let edge = |first, second, square| Edge { first, second, weight: weight(square) };
        let edges = vec![edge(0, 1, 3150.0), edge(0, 2, 25.0), edge(1, 2, 2725.0)];
        assert_eq!(graph.adjacency, Adjacency::Edges(edges));
    }

    #[test]
    fn no_pixels_give_no_nodes() {
        let graph = region_graph(&Raster::filled(0, 3, [0; 3]), &Raster::filled(0, 3, 0), 0);
        assert_eq!((graph.nodes(), graph.adjacency), (0, Adjacency::Edges(Vec::new())));
    }
}
