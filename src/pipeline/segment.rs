//! `segment`: images → masks without any training beforehand, each optimised by itself.

use std::path::PathBuf;

use super::backbone;
use super::device::DeviceChoice;
use super::predict::{Decision, PredictRequest, PredictSummary, Predictor};
use super::{PipelineError, images, thread_pool};
use crate::config::RunConfig;
use crate::dataset;
use crate::event::{Event, Observer};
use crate::features::Layout;
use crate::graph::Graph;
use crate::model::NetworkConfig;
use crate::segment::PerImageSegmenter;

/// What to segment image by image.
#[derive(Debug, Clone)]
pub struct SegmentRequest {
    pub predict: PredictRequest,
    pub weights: Option<PathBuf>,
    pub device: DeviceChoice,
    /// 0 means one per processor.
    pub threads: usize,
}

/// Segments every image of a collection in the paper's per-image mode.
pub fn segment(
    mut config: RunConfig,
    request: &SegmentRequest,
    observer: &dyn Observer,
) -> Result<PredictSummary, PipelineError> {
    let collection = dataset::open(&request.predict.data)?;
    let (device, device_name) = request.device.resolve()?;
    let backbone = backbone::open(&mut config, request.weights.as_deref(), None, &device)?;
    let pool = thread_pool(request.threads)?;
    let network = NetworkConfig {
        input: backbone.extractor.width(),
        hidden: config.model.hidden,
        clusters: config.clusters(),
        dropout: config.model.dropout,
    };
    observer.observe(Event::Plan(format!(
        "segmenting {} image by image: {}, device {device_name}, objective {}, {} clusters, {} epochs each",
        request.predict.data.display(),
        backbone.description_with_hint(),
        config.objective.kind.name(),
        network.clusters,
        config.segment.epochs,
    )));
    let segmenter = PerImageSegmenter::new(&network, config.objective(), config.segment.clone(), device.clone());
    let origin = serde_json::json!([
        images::graph_settings(&config, &backbone).to_hex().as_str(),
        config.model,
        config.objective,
        config.segment,
        config.refine,
    ]);
    let rule = config.segment.background;
    let predictor = Predictor {
        request: &request.predict,
        config: &config,
        backbone: &backbone,
        device: &device,
        origin: blake3::hash(origin.to_string().as_bytes()),
        decide: |graph: &Graph, layout: &Layout| {
            let optimised = segmenter.segment(graph);
            let background = rule.background(&layout.paint(&optimised.segments.clusters), network.clusters);
            Decision {
                background: (0..network.clusters).map(|cluster| cluster == background).collect(),
                segments: optimised.segments,
                final_loss: optimised.losses.last().copied(),
            }
        },
    };
    predictor.run(&collection, &pool, observer)
}
