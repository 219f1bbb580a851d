//! Every image by itself: a network optimised on it, as in the paper, or the eigenvector of the normalised cut.

use std::path::Path;
use std::sync::Arc;

use super::batches::{BatchMethod, run_fastest};
use super::{Decision, Finish, Machine, Method, MethodError, Segmentation, Timings, installed_weights, open_backbone};
use crate::config::{Purpose, Resolved, Settings};
use crate::features::{Backbone, BatchExtractor, Prepared};
use crate::graph::Graph;
use crate::nodes::{Adjacency, Layout, NodeFeatures};
use crate::objective::ObjectiveKind;
use crate::pixels::{DecodeConfig, Picture};
use crate::raster::{Mask, RgbImage};
use crate::segment::{
    Legend, PerImageConfig, PerImageMethod, PerImageSegmenter, SecondStage, Segmenter, SpectralSegmenter,
};
use crate::tensor::{Device, Tensor};

/// Segments images without any training beforehand.
///
/// # Example
///
/// ```
/// use deepcut::{PerImage, RgbImage, Settings};
///
/// let mut settings = Settings::default();
/// settings.segment.epochs = Some(3);
/// settings.superpixel.regions = 50;
/// let per_image = PerImage::new(settings)?;
/// let found = per_image.segment(&RgbImage::filled(60, 40, [90, 120, 30]))?;
/// assert_eq!((found.mask.width, found.mask.height), (60, 40));
/// # Ok::<(), deepcut::Error>(())
/// ```
pub struct PerImage {
    resolved: Resolved,
    backbone: Arc<Backbone>,
    objects: PerImageSegmenter,
    parts: SecondStage<PerImageSegmenter>,
    device: Device,
}

impl PerImage {
    /// Prepares to segment images as `settings` say, with installed weights if there are any.
    ///
    /// # Errors
    /// If the settings contradict each other, or the backbone's weights are missing or no use.
    pub fn new(settings: Settings) -> Result<PerImage, MethodError> {
        PerImage::with_weights(settings, None, &Machine::default())
    }

    /// The same with the weights of a transformer from a file, on the wanted device.
    pub fn with_weights(
        settings: Settings,
        weights: Option<&Path>,
        machine: &Machine,
    ) -> Result<PerImage, MethodError> {
        settings.validate()?;
        let has_weights = weights.is_some() || installed_weights().is_some();
        let resolved = settings.resolve(Purpose::Segment, has_weights, machine.precision)?;
        let device = machine.open(resolved.backbone())?;
        let backbone = open_backbone(&resolved, weights, None, &device)?;
        PerImage::with_backbone(resolved, backbone, device)
    }

    /// The same with a backbone that is ready.
    pub(crate) fn with_backbone(
        resolved: Resolved,
        backbone: Backbone,
        device: Device,
    ) -> Result<PerImage, MethodError> {
        let (clusters, parts) = (resolved.clusters(), &resolved.settings().parts);
        let is_plain = clusters == 2 && !parts.is_asked_for() && resolved.objective_kind() == ObjectiveKind::Ncut;
        match resolved.settings().segment.method() {
            PerImageMethod::Spectral if !is_plain => return Err(MethodError::SpectralCutsInTwo),
            PerImageMethod::Spectral | PerImageMethod::Gnn => {}
            method @ (PerImageMethod::Grapl | PerImageMethod::SlicCut) => {
                return Err(MethodError::WithoutBackbone { method: method.name() });
            }
        }
        let segmenter = |clusters: usize, epochs: usize, objective| {
            let network = resolved.network(backbone.extractor.width(), clusters, objective);
            let settings = PerImageConfig { epochs: Some(epochs), ..resolved.settings().segment.clone() };
            PerImageSegmenter::new(&network, objective, settings)
        };
        let of_parts = |count: usize| (count > 0).then(|| segmenter(count, parts.epochs, resolved.parts_objective()));
        let legend = Legend::new(clusters - 1, parts.foreground, parts.background).ok_or(MethodError::TooManyValues)?;
        Ok(PerImage {
            objects: segmenter(clusters, resolved.settings().segment.epochs(), resolved.objective()),
            parts: SecondStage {
                foreground: of_parts(parts.foreground),
                background: of_parts(parts.background),
                config: parts.clone(),
                legend,
                affinity: resolved.parts_affinity(),
            },
            resolved,
            backbone: Arc::new(backbone),
            device,
        })
    }

    /// Segments an image.
    ///
    /// # Shapes
    /// image `[height, width]` → mask `[height, width]`
    pub fn segment(&self, image: &RgbImage) -> Result<Segmentation, MethodError> {
        self.segment_timed(image, None, true, &mut Timings::start())
    }

    /// Takes the other's backbone in place of its own if both give the same features; says whether they do.
    pub(crate) fn share_backbone(&mut self, other: &PerImage) -> bool {
        let same = self.backbone.extractor.fingerprint() == other.backbone.extractor.fingerprint();
        if same {
            self.backbone = Arc::clone(&other.backbone);
        }
        same
    }

    /// Segments an image whose nodes its backbone has described.
    pub(crate) fn segment_nodes(&self, picture: &Picture, nodes: NodeFeatures) -> Segmentation {
        let decision = self.decide_nodes(nodes, &mut Timings::start());
        let Picture { image, outside, .. } = picture;
        decision.into_segmentation(image, outside.as_ref(), self.legend(), self.finish(), false)
    }

    /// Divides the graph of the nodes.
    fn decide_nodes(&self, nodes: NodeFeatures, timings: &mut Timings) -> Decision {
        let settings = self.resolved.settings();
        let method = settings.segment.method();
        // The optimisation reads W as a whole, and so does the eigenvector's iteration.
        let graph = Graph::build_keeping_affinities(&nodes, self.resolved.affinity());
        timings.lap(|spent| &mut spent.graph);

        let (segments, final_loss) = match method {
            PerImageMethod::Spectral => (SpectralSegmenter.segment(&graph), None),
            // Those without a backbone are refused above.
            PerImageMethod::Gnn | PerImageMethod::Grapl | PerImageMethod::SlicCut => {
                let optimised = self.objects.optimise(&graph);
                (optimised.segments, optimised.losses.last().copied())
            }
        };
        let clusters = self.resolved.clusters();
        // What lies outside is of no cluster.
        let positions = nodes.layout.paint(&segments.clusters, clusters);
        let chosen = settings.segment.background.background(&positions, clusters);
        let background: Vec<bool> = (0..clusters).map(|cluster| cluster == chosen).collect();
        let decision = Decision::divided(nodes.layout, &graph, &segments, &background, &self.parts, &settings.objects);
        Decision { final_loss, ..decision }
    }

    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Calls `work` with the method in the form that is fastest on its device, and the number of threads that should wait for that
    /// device beside those that compute: a GPU describes the nodes of whole batches.
    pub fn run<R, E: From<MethodError>>(&self, work: impl FnOnce(&dyn Method, usize) -> Result<R, E>) -> Result<R, E> {
        run_fastest(self, work)
    }
}

impl Method for PerImage {
    fn legend(&self) -> Legend {
        self.parts.legend
    }

    fn finish(&self) -> Finish<'_> {
        let settings = self.resolved.settings();
        Finish { refine: &settings.refine, objects: &settings.objects }
    }

    fn decoding(&self) -> &DecodeConfig {
        &self.resolved.settings().pixels
    }

    fn decide(&self, image: &RgbImage, outside: Option<&Mask>, timings: &mut Timings) -> Result<Decision, MethodError> {
        let nodes = self.backbone.extractor.extract_within(image, outside);
        timings.lap(|spent| &mut spent.features);
        Ok(self.decide_nodes(nodes, timings))
    }
}

impl BatchMethod for PerImage {
    fn batches(&self) -> Option<(&dyn BatchExtractor, &Device)> {
        Some((self.backbone.extractor.batches()?, &self.device))
    }

    /// The features of every node.
    fn rows(&self, extractor: &dyn BatchExtractor, batch: &[Prepared], images: usize) -> Tensor<2> {
        extractor.describe(batch, images).flatten(1, 2)
    }

    fn decide_by_row(&self, layout: Layout, row: &[f32], timings: &mut Timings) -> Decision {
        let channels = self.backbone.extractor.width();
        let nodes = NodeFeatures { values: row.to_vec(), channels, layout, adjacency: Adjacency::Complete };
        self.decide_nodes(nodes, timings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BackboneChoice;
    use crate::raster::Raster;

    #[test]
    fn what_lies_outside_has_no_say_and_is_never_foreground() {
        const SIDE: usize = 16;
        let mut settings = Settings { backbone: BackboneChoice::Pixel, ..Settings::default() };
        // Pixels are nodes as they are.
        settings.pixel.side = SIDE;
        settings.segment.method = Some(PerImageMethod::Spectral);
        let per_image = PerImage::new(settings).unwrap();
        let places = || (0..SIDE * SIDE).map(|place| (place % SIDE, place / SIDE));
        let outside = Raster::from_values(SIDE, SIDE, places().map(|(x, y)| u8::from(x + y / 4 > 12)).collect());
        let object = |x: usize, y: usize| (3..8).contains(&x) && (4..12).contains(&y);
        let found = [[0u8; 3], [255, 0, 90], [200, 60, 40]].map(|beyond| {
            let colour = |(x, y): (usize, usize)| match (outside.at(x, y), object(x, y)) {
                (1, _) => beyond,
                (_, true) => [200, 60, 40],
                (_, false) => [30, 90 + x as u8, 120],
            };
            let image = Raster::from_values(SIDE, SIDE, places().map(colour).collect());
            per_image.segment_timed(&image, Some(&outside), true, &mut Timings::start()).unwrap()
        });
        assert_eq!(found[0], found[1]);
        assert_eq!(found[0], found[2]);
        let expected: Vec<u8> = places().map(|(x, y)| u8::from(object(x, y))).collect();
        assert_eq!(found[0].mask.values, expected);
        for ((value, saliency), (x, y)) in found[0].mask.values.iter().zip(&found[0].saliency.values).zip(places()) {
            assert!(outside.at(x, y) == 0 || (*value == 0 && *saliency == 0.0), "({x}, {y})");
        }
    }
}
