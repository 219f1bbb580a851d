//! `infer`: a checkpoint and new images → masks, boxes, pictures and a table.

use std::path::{Path, PathBuf};

use super::backbone;
use super::machine::{Machine, workers};
use super::predict::{Decision, PredictRequest, PredictSummary, Predictor};
use super::{PipelineError, images, read_checkpoint};
use crate::config::{RunConfig, with_assignments};
use crate::dataset;
use crate::event::{Event, Observer};
use crate::model::checkpoint::{CheckpointHeader, Stage};
use crate::segment::{Assign, Labels, SecondStage, Segmenter};

/// What to segment with a trained network.
#[derive(Debug, Clone)]
pub struct InferRequest {
    pub checkpoint: PathBuf,
    pub predict: PredictRequest,
    /// The weights of the checkpoint's backbone, where it needs any.
    pub weights: Option<PathBuf>,
    /// Settings (`key=value`) that differ from the checkpoint's; only those that come after the network.
    pub assignments: Vec<String>,
    pub machine: Machine,
}

/// The settings that a network does not depend on.
const ADJUSTABLE: [&str; 4] = ["refine.", "objects.", "output.", "pixels."];

/// Segments every image of a collection with a trained network, one pass each.
pub fn infer(request: &InferRequest, observer: &dyn Observer) -> Result<PredictSummary, PipelineError> {
    let (checkpoint, checkpoint_hash) = read_checkpoint(&request.checkpoint)?;
    let header = &checkpoint.header;
    let stored: RunConfig = serde_json::from_value(header.config.clone()).map_err(|error| {
        PipelineError::Untrusted(format!(
            "{} was made by another version of deepcut ({error}); train again",
            request.checkpoint.display()
        ))
    })?;
    if let Some(fixed) = request.assignments.iter().find(|key| !ADJUSTABLE.iter().any(|room| key.starts_with(room))) {
        return Err(PipelineError::Usage(format!(
            "--set {fixed}: a trained network fixes this; only refine.…, objects.…, output.… and pixels.… can be set for inference, and --precision"
        )));
    }
    let mut config = with_assignments(&stored, &request.assignments)?;
    let collection = dataset::open(&request.predict.data)?;
    let (device, device_name) = request.machine.device.resolve()?;
    let backbone = backbone::open(
        &mut config,
        request.weights.as_deref(),
        header.backbone_hash.as_deref(),
        &request.machine,
        &device,
    )?;
    let labels = labels(header, backbone.extractor.width(), &request.checkpoint)?;
    let workers = workers(request.machine.threads)?;
    let parts_text = header.parts.as_ref().map_or(String::new(), |stage| format!(", {} parts", stage.network.clusters));
    observer.observe(Event::Plan(format!(
        "segmenting {} with {}: {}, device {device_name}, {} clusters{parts_text}",
        request.predict.data.display(),
        request.checkpoint.display(),
        backbone.description,
        header.objects.network.clusters,
    )));
    let segmenter = |stage| checkpoint.network(stage, &device).map(|network| Segmenter::new(network, device.clone()));
    let objects = segmenter(Stage::Objects).ok_or_else(|| unusable(&request.checkpoint))?;
    let (parts, background_parts) = (segmenter(Stage::Parts), segmenter(Stage::BackgroundParts));
    let second_stage = SecondStage {
        foreground: parts.as_ref().map(|segmenter| segmenter as &dyn Assign),
        background: background_parts.as_ref().map(|segmenter| segmenter as &dyn Assign),
        config: &config.parts,
        labels,
        affinity: config.affinity(),
        device: &device,
    };
    let predictor = Predictor {
        request: &request.predict,
        config: &config,
        backbone: &backbone,
        device: &device,
        build: images::graph,
        labels,
        description: format!(
            "{} clusters{parts_text}, one shared network on {} features",
            header.objects.network.clusters, backbone.name
        ),
        origin: serde_json::json!([checkpoint_hash.to_hex().as_str(), config.vit.precision]),
    };
    predictor.run(&collection, workers, observer, |graph, _| {
        let segments = objects.assign(graph);
        Decision {
            values: second_stage.values(graph, &segments, &header.background),
            shares: labels.shares(&segments.probabilities, &header.background),
            foreground: segments.foreground_probabilities(&header.background),
            clusters: segments.clusters_in_use(),
            final_loss: None,
        }
    })
}

/// What the mask values of a checkpoint mean, once its networks fit each other and the backbone.
fn labels(header: &CheckpointHeader, width: usize, path: &Path) -> Result<Labels, PipelineError> {
    let second_stages = [&header.parts, &header.background_parts];
    let networks = std::iter::once(&header.objects).chain(second_stages.into_iter().flatten());
    for network in networks.map(|stage| &stage.network) {
        if network.input != width {
            return Err(PipelineError::Untrusted(format!(
                "{} was trained on features of {} channels, its backbone gives {width}",
                path.display(),
                network.input
            )));
        }
    }
    let [parts, background_parts] = second_stages.map(|stage| stage.as_ref().map_or(0, |stage| stage.network.clusters));
    let clusters = header.background.iter().filter(|&&is_background| !is_background).count();
    Labels::new(clusters, parts, background_parts).ok_or_else(|| unusable(path))
}

fn unusable(path: &Path) -> PipelineError {
    PipelineError::Untrusted(format!("{} has more clusters than masks have values; train again", path.display()))
}
