//! Single pixels as nodes: the smallest graph that needs neither learned features nor superpixels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image_vector::{STATISTICS, colour_statistics};
use super::region_graph::{REGION_WIDTH, colour_affinity, region_values};
use super::{Descriptor, Extractor};
use crate::nodes::{Adjacency, Edge, Layout, NodeFeatures};
use crate::numerics::range::{InvalidSetting, within};
use crate::pixels::resize_lanczos;
use crate::raster::{Mask, RgbImage};

/// How an image becomes a grid of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PixelConfig {
    /// Both sides that the image is resized to, in pixels: 2 to 512.
    pub side: usize,
    /// What the network sees of a pixel.
    pub descriptor: Descriptor,
}

impl Default for PixelConfig {
    fn default() -> Self {
        Self { side: 64, descriptor: Descriptor::default() }
    }
}

impl PixelConfig {
    /// Refuses grids without edges, and those with too many nodes to work on.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("side", self.side as f64, 2.0, 512.0)
    }
}

/// Makes a node of every pixel of the downscaled image, each joined to its eight neighbours by
/// exp(−‖c_i − c_j‖² / 255). The same as a region graph whose regions are single pixels.
///
/// # Shapes
/// image of any size → `[side², width]` features; see [`Descriptor`] for their meaning.
#[derive(Debug, Clone)]
pub struct PixelExtractor {
    config: PixelConfig,
}

impl PixelExtractor {
    /// A side of 0 counts as 1; [`PixelConfig::validate`] tells of sides that are not sensible.
    pub fn new(config: PixelConfig) -> Self {
        Self { config }
    }

    /// The pixels of an image with their colours and places.
    fn pixels(&self, image: &RgbImage, outside: Option<&Mask>) -> NodeFeatures {
        let side = self.config.side.max(1);
        pixel_graph(&resize_lanczos(image, side, side)).within(outside)
    }
}

impl Extractor for PixelExtractor {
    fn fingerprint(&self) -> String {
        serde_json::json!(["pixel", 1, self.config]).to_string()
    }

    fn extract_within(&self, image: &RgbImage, outside: Option<&Mask>) -> NodeFeatures {
        self.config.descriptor.describe(self.pixels(image, outside))
    }

    fn width(&self) -> usize {
        self.config.descriptor.width()
    }

    fn input_size(&self, _width: usize, _height: usize) -> Option<[usize; 2]> {
        Some([self.config.side.max(1); 2])
    }

    fn image_vector(&self, image: &RgbImage, outside: Option<&Mask>) -> Vec<f32> {
        colour_statistics(&self.pixels(image, outside))
    }

    fn image_width(&self) -> usize {
        STATISTICS
    }
}

/// The graph of all pixels of `image`.
fn pixel_graph(image: &RgbImage) -> NodeFeatures {
    let (columns, rows) = (image.width, image.height);
    let mut values = Vec::with_capacity(rows * columns * REGION_WIDTH);
    let mut edges = Vec::with_capacity(4 * rows * columns);
    for y in 0..rows {
        for x in 0..columns {
            let colour = image.at(x, y).map(f64::from);
            values.extend(region_values(colour, [y as f64, x as f64], columns, rows));
            // Each pair once, from its earlier pixel; in the order of the later one.
            let right = (x + 1 < columns).then(|| (x + 1, y));
            let below = (x.saturating_sub(1)..(x + 2).min(columns)).map(|x| (x, y + 1)).filter(|_| y + 1 < rows);
            edges.extend(right.into_iter().chain(below).map(|(other_x, other_y)| Edge {
                first: (y * columns + x) as u32,
                second: (other_y * columns + other_x) as u32,
                weight: colour_affinity(colour, image.at(other_x, other_y).map(f64::from)),
            }));
        }
    }
    NodeFeatures {
        values,
        channels: REGION_WIDTH,
        layout: Layout::Grid { rows, columns },
        adjacency: Adjacency::Edges(edges),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::region_graph::region_graph;
    use crate::raster::Raster;

    #[test]
    fn a_pixel_is_a_region_of_one_pixel() {
        for (width, height) in [(5, 4), (1, 3), (3, 1), (1, 1)] {
            let pixels = width * height;
            let image = Raster::from_values(width, height, (0..pixels).map(|i| [i as u8 * 9, 200, 3]).collect());
            let labels = Raster::from_values(width, height, (0..pixels as u32).collect());
            let (graph, expected) = (pixel_graph(&image), region_graph(&image, &labels, pixels));
            assert_eq!(graph.values, expected.values);
            assert_eq!(graph.adjacency, expected.adjacency);
        }
    }

    #[test]
    fn the_grid_has_the_asked_side() {
        let graph = PixelExtractor::new(PixelConfig { descriptor: Descriptor::ColourPlace, ..Default::default() })
            .extract(&Raster::filled(100, 30, [255, 0, 51]));
        assert_eq!(graph.layout, Layout::Grid { rows: 64, columns: 64 });
        assert_eq!(graph.values[5 * (64 + 2)..][..5], [1.0, 0.0, 0.2, 1.0 / 64.0, 2.0 / 64.0]);
        let Adjacency::Edges(edges) = graph.adjacency else { panic!("pixels have listed edges") };
        assert_eq!(edges.len(), 2 * 64 * 63 + 2 * 63 * 63);
    }

    #[test]
    fn sides_out_of_range_are_refused() {
        for (side, fine) in [(0, false), (1, false), (2, true), (512, true), (513, false)] {
            assert_eq!(PixelConfig { side, ..Default::default() }.validate().is_ok(), fine, "{side}");
        }
    }
}
