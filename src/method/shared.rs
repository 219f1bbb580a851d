//! One trained network for every image, one pass each.

use super::batches::{BatchMethod, run_fastest};
use super::{Decision, Finish, Method, MethodError, Timings};
use crate::config::Resolved;
use crate::features::{Backbone, BatchExtractor, Prepared};
use crate::graph::{Affinity, DeviceGraphs, Graph};
use crate::model::Network;
use crate::model::checkpoint::{Checkpoint, Stage};
use crate::nodes::Layout;
use crate::pixels::DecodeConfig;
use crate::raster::{Mask, RgbImage};
use crate::segment::{Legend, SecondStage, Segmenter, Segments, SharedSegmenter};
use crate::tensor::{self, Device, Tensor};

/// The networks of a checkpoint with the backbone that they were trained on.
pub struct SharedMethod {
    backbone: Backbone,
    resolved: Resolved,
    /// For every cluster whether it is background, `[K]`.
    background: Vec<bool>,
    objects: SharedSegmenter,
    /// The same network on the device, for batches.
    of_batches: Network,
    parts: SecondStage<SharedSegmenter>,
    device: Device,
}

impl SharedMethod {
    /// Puts the networks of `checkpoint`, which is called `name` in messages, on `device`.
    pub(super) fn new(
        checkpoint: &Checkpoint,
        name: &str,
        resolved: Resolved,
        backbone: Backbone,
        device: Device,
    ) -> Result<SharedMethod, MethodError> {
        let header = &checkpoint.header;
        let too_many = || MethodError::TooManyClusters { name: name.to_string() };
        let second_stages = [&header.parts, &header.background_parts];
        let channels = backbone.extractor.width();
        for stage in std::iter::once(&header.objects).chain(second_stages.into_iter().flatten()) {
            if stage.network.input != channels {
                let (found, name) = (stage.network.input, name.to_string());
                return Err(MethodError::OtherChannels { name, found, given: channels });
            }
        }
        let [parts, background_parts] =
            second_stages.map(|stage| stage.as_ref().map_or(0, |stage| stage.network.clusters));
        if let Some(directions) = checkpoint.position_directions() {
            backbone.extractor.adopt_position_directions(directions);
        }
        let objects = header.background.iter().filter(|&&is_background| !is_background).count();
        let legend = Legend::new(objects, parts, background_parts).ok_or_else(too_many)?;

        let network = checkpoint.network(Stage::Objects, &device).ok_or_else(too_many)?;
        // Objects differ in size, so that their parts cannot be found in batches.
        let of_parts = |stage| checkpoint.network(stage, &tensor::cpu()).map(|network| SharedSegmenter::new(&network));
        Ok(SharedMethod {
            background: header.background.clone(),
            objects: SharedSegmenter::new(&network),
            of_batches: network,
            parts: SecondStage {
                foreground: of_parts(Stage::Parts),
                background: of_parts(Stage::BackgroundParts),
                config: resolved.settings().parts.clone(),
                legend,
                affinity: resolved.parts_affinity(),
            },
            backbone,
            resolved,
            device,
        })
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

    /// Calls `work` with the method in the form that is fastest on its device, and the number of threads that should wait
    /// for that device beside those that compute: on a GPU images are computed in batches.
    pub fn run<R, E: From<MethodError>>(&self, work: impl FnOnce(&dyn Method, usize) -> Result<R, E>) -> Result<R, E> {
        run_fastest(self, work)
    }

    /// Whether more is decided by an image's graph than what its clusters are.
    fn reads_graphs(&self) -> bool {
        !self.parts.is_empty() || self.resolved.settings().objects.cuts()
    }

    fn affinity(&self) -> Affinity {
        self.resolved.affinity()
    }

    /// The decision that follows from the clusters of a graph's nodes.
    fn divided(&self, layout: Layout, graph: &Graph, segments: &Segments) -> Decision {
        Decision::divided(layout, graph, segments, &self.background, &self.parts, &self.resolved.settings().objects)
    }
}

impl Method for SharedMethod {
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
        let graph = Graph::build(&nodes, self.affinity());
        timings.lap(|spent| &mut spent.graph);
        Ok(self.divided(nodes.layout, &graph, &self.objects.segment(&graph)))
    }
}

impl BatchMethod for SharedMethod {
    fn batches(&self) -> Option<(&dyn BatchExtractor, &Device)> {
        Some((self.backbone.extractor.batches()?, &self.device))
    }

    /// Of every image the probabilities, and the whole graph if it is to be divided further, else what tables show of it.
    fn rows(&self, extractor: &dyn BatchExtractor, batch: &[Prepared], images: usize) -> Tensor<2> {
        let graphs = DeviceGraphs::build(extractor.describe(batch, images), self.affinity());
        let (propagated, features) = (graphs.propagated.clone(), graphs.features.clone());
        let probabilities = self.of_batches.probabilities(propagated, Some(features), None).flatten(1, 2);
        let rest = if self.reads_graphs() { graphs.rows() } else { graphs.negative_shares() };
        Tensor::cat(vec![probabilities, rest], 1)
    }

    fn decide_by_row(&self, layout: Layout, row: &[f32], _timings: &mut Timings) -> Decision {
        let SharedMethod { backbone, background, parts, .. } = self;
        let (affinity, clusters) = (self.affinity(), background.len());
        let (probabilities, rest) = row.split_at(layout.nodes() * clusters);
        let segments = Segments::from_probabilities(probabilities.to_vec(), clusters);
        if self.reads_graphs() {
            let graph = DeviceGraphs::from_row(rest, backbone.extractor.width(), affinity, layout.coverage());
            return self.divided(layout, &graph, &segments);
        }
        let values = parts.legend.of_nodes(&segments.clusters, background);
        let negative_share = matches!(affinity, Affinity::Correlation { .. }).then(|| rest[0]);
        Decision::new(layout, values, &segments, parts.legend, background, negative_share)
    }
}
