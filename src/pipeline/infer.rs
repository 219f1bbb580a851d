//! `infer`: a checkpoint and new images → masks, overlays and a table.

use std::path::PathBuf;

use super::backbone;
use super::device::DeviceChoice;
use super::predict::{Decision, PredictRequest, PredictSummary, Predictor};
use super::{PipelineError, read_checkpoint, thread_pool};
use crate::config::{RunConfig, with_assignments};
use crate::dataset;
use crate::event::{Event, Observer};
use crate::features::Layout;
use crate::graph::Graph;
use crate::segment::Segmenter;

/// What to segment with a trained network.
#[derive(Debug, Clone)]
pub struct InferRequest {
    pub checkpoint: PathBuf,
    pub predict: PredictRequest,
    /// The weights of the checkpoint's backbone, where it needs any.
    pub weights: Option<PathBuf>,
    /// Settings (`key=value`) that differ from the checkpoint's; only those that come after the network.
    pub assignments: Vec<String>,
    pub device: DeviceChoice,
    /// 0 means one per processor.
    pub threads: usize,
}

/// The settings that a network does not depend on.
const ADJUSTABLE: [&str; 3] = ["refine.", "output.", "pixels."];

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
            "--set {fixed}: a trained network fixes this; only refine.…, output.… and pixels.… can be set for inference"
        )));
    }
    let mut config = with_assignments(&stored, &request.assignments)?;
    let collection = dataset::open(&request.predict.data)?;
    let (device, device_name) = request.device.resolve()?;
    let backbone = backbone::open(&mut config, request.weights.as_deref(), header.backbone_hash.as_deref(), &device)?;
    if backbone.extractor.width() != header.network.input {
        return Err(PipelineError::Untrusted(format!(
            "{} was trained on features of {} channels, its backbone gives {}",
            request.checkpoint.display(),
            header.network.input,
            backbone.extractor.width()
        )));
    }
    let pool = thread_pool(request.threads)?;
    observer.observe(Event::Plan(format!(
        "segmenting {} with {}: {}, device {device_name}, {} clusters",
        request.predict.data.display(),
        request.checkpoint.display(),
        backbone.description,
        header.network.clusters,
    )));
    let segmenter = Segmenter::new(checkpoint.network(&device), device.clone());
    let origin = serde_json::json!([checkpoint_hash.to_hex().as_str(), config.refine]);
    let predictor = Predictor {
        request: &request.predict,
        config: &config,
        backbone: &backbone,
        device: &device,
        origin: blake3::hash(origin.to_string().as_bytes()),
        decide: |graph: &Graph, _: &Layout| Decision {
            segments: segmenter.segment(graph),
            background: header.background.clone(),
            final_loss: None,
        },
    };
    predictor.run(&collection, &pool, observer)
}
