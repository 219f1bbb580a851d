//! Superpixels as nodes: a graph without any learned features.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image_vector::{STATISTICS, colour_statistics};
use super::region_graph::region_graph;
use super::slic::{SlicParameters, slic};
use super::{Descriptor, Extractor};
use crate::nodes::NodeFeatures;
use crate::numerics::range::{InvalidSetting, within};
use crate::pixels::resize_lanczos;
use crate::raster::{Mask, RgbImage};

/// How an image becomes superpixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SuperpixelConfig {
    /// Both sides that the image is resized to, in pixels: 8 to 4096.
    pub side: usize,
    /// Number of superpixels aimed at: 2 to side².
    pub regions: usize,
    /// Weight of place against colour: the Lab difference that counts as much as the spacing of two superpixels. More is
    /// squarer. 0.001 to 1 000 000.
    pub compactness: f32,
    /// Gaussian smoothing before the superpixels are sought, in pixels: 0 (none) to 100.
    pub sigma: f32,
    /// What the network sees of a superpixel.
    pub descriptor: Descriptor,
}

impl Default for SuperpixelConfig {
    fn default() -> Self {
        Self { side: 256, regions: 400, compactness: 40.0, sigma: 1.0, descriptor: Descriptor::default() }
    }
}

impl SuperpixelConfig {
    /// Refuses settings that no image could be segmented well with.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("side", self.side as f64, 8.0, 4096.0)?;
        within("regions", self.regions as f64, 2.0, (self.side * self.side) as f64)?;
        within("compactness", f64::from(self.compactness), 1e-3, 1e6)?;
        within("sigma", f64::from(self.sigma), 0.0, 100.0)
    }
}

/// Makes a node of every SLIC superpixel, with edges between superpixels that touch.
///
/// # Shapes
/// image of any size → `[about regions, width]` features; see [`Descriptor`] for their meaning, [`region_graph`] for the
/// edges' weight and [`slic`] for the superpixels. The labels cover the resized image, side × side.
#[derive(Debug, Clone)]
pub struct SuperpixelExtractor {
    config: SuperpixelConfig,
}

impl SuperpixelExtractor {
    /// Settings outside their range are brought to the nearest usable one; [`SuperpixelConfig::validate`] tells of them.
    pub fn new(config: SuperpixelConfig) -> Self {
        Self { config }
    }

    /// The superpixels of an image with their mean colours and places.
    fn regions(&self, image: &RgbImage, outside: Option<&Mask>) -> NodeFeatures {
        let SuperpixelConfig { side, regions, compactness, sigma, .. } = self.config;
        let side = side.max(1);
        let resized = resize_lanczos(image, side, side);
        let (labels, regions) = slic(&resized, &SlicParameters { regions, compactness, sigma });
        region_graph(&resized, &labels, regions).within(outside)
    }
}

impl Extractor for SuperpixelExtractor {
    fn fingerprint(&self) -> String {
        serde_json::json!(["superpixel", 1, self.config]).to_string()
    }

    fn extract_within(&self, image: &RgbImage, outside: Option<&Mask>) -> NodeFeatures {
        self.config.descriptor.describe(self.regions(image, outside))
    }

    fn width(&self) -> usize {
        self.config.descriptor.width()
    }

    fn input_size(&self, _width: usize, _height: usize) -> Option<[usize; 2]> {
        Some([self.config.side.max(1); 2])
    }

    fn image_vector(&self, image: &RgbImage, outside: Option<&Mask>) -> Vec<f32> {
        colour_statistics(&self.regions(image, outside))
    }

    fn image_width(&self) -> usize {
        STATISTICS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::Adjacency;
    use crate::raster::Raster;

    #[test]
    fn settings_out_of_range_are_named() {
        let default = SuperpixelConfig::default();
        let cases = [
            (default, None),
            (SuperpixelConfig { side: 0, ..default }, Some("side")),
            (SuperpixelConfig { regions: 1, ..default }, Some("regions")),
            (SuperpixelConfig { side: 8, regions: 65, ..default }, Some("regions")),
            (SuperpixelConfig { compactness: 0.0, ..default }, Some("compactness")),
            (SuperpixelConfig { sigma: f32::NAN, ..default }, Some("sigma")),
        ];
        for (config, refused) in cases {
            assert_eq!(config.validate().err().map(|error| error.setting), refused, "{config:?}");
        }
    }

    #[test]
    fn any_image_becomes_a_graph_with_sorted_edges() {
        let gradient = (0..90 * 50).map(|i| [(i % 90) as u8, (i / 90) as u8 * 3, 77]).collect();
        for image in [Raster::from_values(90, 50, gradient), Raster::filled(1, 1, [3, 2, 1])] {
            let extractor = SuperpixelExtractor::new(SuperpixelConfig { side: 64, regions: 30, ..Default::default() });
            let graph = extractor.extract(&image);
            assert_eq!(graph.layout.nodes(), graph.nodes());
            assert!((20..=45).contains(&graph.nodes()), "{}", graph.nodes());
            assert!(graph.values.iter().all(|value| (0.0..=1.0).contains(value)));
            let Adjacency::Edges(edges) = graph.adjacency else { panic!("superpixels have listed edges") };
            assert!(edges.iter().all(|edge| edge.first < edge.second && (0.0..=1.0).contains(&edge.weight)));
            assert!(edges.is_sorted_by(|a, b| (a.first, a.second) < (b.first, b.second)));
        }
    }
}
