//! `segment`: images → masks without any training beforehand, each optimised by itself.

use std::path::PathBuf;

use super::backbone;
use super::machine::{Machine, workers};
use super::predict::{Decision, PredictRequest, PredictSummary, Predictor};
use super::{PipelineError, images};
use crate::config::RunConfig;
use crate::dataset;
use crate::event::{Event, Observer};
use crate::segment::{Assign, Labels, PerImageConfig, PerImageSegmenter, SecondStage};

/// What to segment image by image.
#[derive(Debug, Clone)]
pub struct SegmentRequest {
    pub predict: PredictRequest,
    pub weights: Option<PathBuf>,
    pub machine: Machine,
}

/// Segments every image of a collection in the paper's per-image mode.
pub fn segment(
    mut config: RunConfig,
    request: &SegmentRequest,
    observer: &dyn Observer,
) -> Result<PredictSummary, PipelineError> {
    let collection = dataset::open(&request.predict.data)?;
    let (device, device_name) = request.machine.device.resolve()?;
    let backbone = backbone::open(&mut config, request.weights.as_deref(), None, &device)?;
    let workers = workers(request.machine.threads)?;
    let (clusters, parts) = (config.clusters(), &config.parts);
    observer.observe(Event::Plan(format!(
        "segmenting {} image by image: {}, device {device_name}, objective {}, {clusters} clusters{}, {} epochs each",
        request.predict.data.display(),
        backbone.description_with_hint(),
        config.objective.kind.name(),
        if parts.foreground > 0 { format!(", {} parts", parts.foreground) } else { String::new() },
        config.segment.epochs,
    )));
    let segmenter = |clusters: usize, epochs: usize| {
        let network = backbone.network(&config, clusters);
        let settings = PerImageConfig { epochs, ..config.segment.clone() };
        PerImageSegmenter::new(&network, config.objective(), settings, device.clone())
    };
    let objects = segmenter(clusters, config.segment.epochs);
    let [parts_of_foreground, parts_of_background] =
        [parts.foreground, parts.background].map(|count| (count > 0).then(|| segmenter(count, parts.epochs)));
    // Validated with the configuration.
    let labels = Labels::new(clusters - 1, parts.foreground, parts.background)
        .ok_or_else(|| PipelineError::Usage("there are more clusters and parts than masks have values".into()))?;
    let second_stage = SecondStage {
        foreground: parts_of_foreground.as_ref().map(|segmenter| segmenter as &dyn Assign),
        background: parts_of_background.as_ref().map(|segmenter| segmenter as &dyn Assign),
        config: parts,
        labels,
        affinity: config.affinity(),
        device: &device,
    };
    let predictor = Predictor {
        request: &request.predict,
        config: &config,
        backbone: &backbone,
        device: &device,
        labels,
        description: format!("{clusters} clusters, every image by itself on {} features", backbone.name),
        origin: serde_json::json!([
            images::graph_settings(&config, &backbone).to_hex().as_str(),
            config.model,
            config.objective,
            config.segment,
            config.parts,
        ]),
    };
    let rule = config.segment.background;
    predictor.run(&collection, workers, observer, |graph, layout| {
        let optimised = objects.optimise(graph);
        let segments = optimised.segments;
        let chosen = rule.background(&layout.paint(&segments.clusters), clusters);
        let background: Vec<bool> = (0..clusters).map(|cluster| cluster == chosen).collect();
        Decision {
            values: second_stage.values(graph, &segments, &background),
            foreground: segments.foreground_probabilities(&background),
            clusters: segments.clusters_in_use(),
            final_loss: optimised.losses.last().copied(),
        }
    })
}
