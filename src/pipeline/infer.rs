//! `infer`: a checkpoint and new images → masks, boxes, pictures and a table.

use std::path::{Path, PathBuf};

use super::backbone::{self, Backbone};
use super::batches::{images_per_batch, waiting_threads, with_batches};
use super::machine::{Machine, workers};
use super::predict::{Decision, PredictRequest, PredictSummary, Predictor};
use super::{PipelineError, images, read_checkpoint};
use crate::config::{Settings, with_overrides};
use crate::dataset::{self, Collection};
use crate::event::{Event, Observer};
use crate::features::Prepared;
use crate::graph::{Affinity, DeviceGraphs};
use crate::model::checkpoint::{Checkpoint, CheckpointHeader, Stage};
use crate::parallel::Crew;
use crate::segment::{Legend, SecondStage, Segmenter, Segments, SharedSegmenter};
use crate::tensor::{self, Device, Tensor};

/// What to segment with a trained network.
#[derive(Debug, Clone)]
pub struct InferRequest {
    pub checkpoint: PathBuf,
    pub predict: PredictRequest,
    /// The weights of the checkpoint's backbone, where it needs any.
    pub weights: Option<PathBuf>,
    /// Settings (`key=value`) that differ from the checkpoint's; only those that come after the network.
    pub overrides: Vec<String>,
    pub machine: Machine,
}

/// The settings that a network does not depend on.
const ADJUSTABLE: [&str; 4] = ["refine.", "objects.", "output.", "pixels."];

/// Segments every image of a collection with a trained network, one pass each.
pub fn infer(request: &InferRequest, observer: &dyn Observer) -> Result<PredictSummary, PipelineError> {
    let (checkpoint, checkpoint_hash) = read_checkpoint(&request.checkpoint)?;
    let header = &checkpoint.header;
    let stored: Settings = serde_json::from_value(header.config.clone()).map_err(|error| {
        PipelineError::Untrusted(format!(
            "{} was made by another version of deepcut ({error}); train again",
            request.checkpoint.display()
        ))
    })?;
    if let Some(fixed) = request.overrides.iter().find(|key| !ADJUSTABLE.iter().any(|room| key.starts_with(room))) {
        return Err(PipelineError::Usage(format!(
            "--set {fixed}: a trained network fixes this; only refine.…, objects.…, output.… and pixels.… can be set for inference, and --precision"
        )));
    }
    let mut config = with_overrides(&stored, &request.overrides)?;
    let collection = dataset::open(&request.predict.data)?;
    let device = request.machine.device.open()?;
    let device_name = tensor::name(&device);
    let backbone = backbone::open(
        &mut config,
        request.weights.as_deref(),
        header.backbone_hash.as_deref(),
        &request.machine,
        &device,
    )?;
    let inference = Inference {
        request,
        checkpoint: &checkpoint,
        checkpoint_hash,
        config: &config,
        backbone: &backbone,
        device: &device,
        device_name,
    };
    inference.run(&collection, observer)
}

/// What a run has once everything is read.
struct Inference<'a> {
    request: &'a InferRequest,
    checkpoint: &'a Checkpoint,
    checkpoint_hash: blake3::Hash,
    config: &'a Settings,
    backbone: &'a Backbone,
    device: &'a Device,
    device_name: &'static str,
}

impl Inference<'_> {
    fn run(&self, collection: &Collection, observer: &dyn Observer) -> Result<PredictSummary, PipelineError> {
        let &Inference { request, checkpoint, checkpoint_hash, config, backbone, device, device_name } = self;
        let header = &checkpoint.header;
        let labels = labels(header, backbone.extractor.width(), &request.checkpoint)?;
        let workers = workers(request.machine.threads)?;
        let parts_text =
            header.parts.as_ref().map_or(String::new(), |stage| format!(", {} parts", stage.network.clusters));
        observer.observe(Event::Plan(format!(
            "segmenting {} with {}: {}, device {device_name}, {} clusters{parts_text}",
            request.predict.data.display(),
            request.checkpoint.display(),
            backbone.description,
            header.objects.network.clusters,
        )));
        let segmenter = |stage, device: &Device| {
            checkpoint.network(stage, device).map(|network| SharedSegmenter::new(network, device.clone()))
        };
        let objects = segmenter(Stage::Objects, device).ok_or_else(|| unusable(&request.checkpoint))?;
        let batch_extractor = backbone.extractor.batches();
        // Objects differ in size, so that their parts cannot be found in batches; one by one, the processor is faster.
        let parts_device = if batch_extractor.is_some() { tensor::cpu() } else { device.clone() };
        let (parts, background_parts) =
            (segmenter(Stage::Parts, &parts_device), segmenter(Stage::BackgroundParts, &parts_device));
        let second_stage = SecondStage {
            foreground: parts.as_ref().map(|segmenter| segmenter as &dyn Segmenter),
            background: background_parts.as_ref().map(|segmenter| segmenter as &dyn Segmenter),
            config: &config.parts,
            labels,
            affinity: config.parts_affinity(),
            device: &parts_device,
        };
        let predictor = Predictor {
            request: &request.predict,
            config,
            backbone,
            labels,
            description: format!(
                "{} clusters{parts_text}, one shared network on {} features",
                header.objects.network.clusters, backbone.name
            ),
            origin: serde_json::json!([checkpoint_hash.to_hex().as_str(), config.vit.precision]),
        };
        let decision = |layout, segments: &Segments, values, negative_share| Decision {
            layout,
            values,
            shares: labels.shares(&segments.probabilities, &header.background),
            foreground: segments.foreground_probabilities(&header.background),
            clusters: segments.clusters_in_use(),
            negative_share,
            final_loss: None,
        };
        let Some(extractor) = batch_extractor else {
            return predictor.run(collection, Crew { workers, waiting: 0 }, observer, |image, work| {
                let (graph, layout) = predictor.graph(image, work, images::graph, device);
                let segments = objects.segment(&graph);
                let values = second_stage.values(&graph, &segments, &header.background);
                Ok(decision(layout, &segments, values, graph.negative_share))
            });
        };

        let images = images_per_batch(extractor, device);
        let (affinity, width) = (config.affinity(), backbone.extractor.width());
        let clusters = header.objects.network.clusters;
        let has_parts = parts.is_some() || background_parts.is_some();
        // Of every image the probabilities, and the whole graph if it is to be divided further, else what tables show of it.
        let compute = |batch: &[Prepared]| {
            let graphs = DeviceGraphs::build(extractor.describe(batch, images), affinity);
            let probabilities = objects.probabilities(&graphs).flatten(1, 2);
            let rest = if has_parts { graphs.rows() } else { graphs.negative_shares() };
            Tensor::cat(vec![probabilities, rest], 1)
        };
        let crew = Crew { workers, waiting: waiting_threads(images) };
        with_batches(extractor, images, compute, |batches| {
            predictor.run(collection, crew, observer, |image, work| {
                let input = batches.prepare(image);
                let layout = input.layout.clone();
                let row = work.wait(|| batches.compute(input))?;
                let (probabilities, rest) = row.split_at(layout.nodes() * clusters);
                let segments = Segments::from_probabilities(probabilities.to_vec(), clusters);
                if has_parts {
                    let graph = DeviceGraphs::from_row(rest, width, affinity, layout.coverage());
                    let values = second_stage.values(&graph, &segments, &header.background);
                    return Ok(decision(layout, &segments, values, graph.negative_share));
                }
                let values = labels.of_nodes(&segments.clusters, &header.background);
                let negative_share = matches!(affinity, Affinity::Correlation { .. }).then(|| rest[0]);
                Ok(decision(layout, &segments, values, negative_share))
            })
        })
    }
}

/// What the mask values of a checkpoint mean, once its networks fit each other and the backbone.
fn labels(header: &CheckpointHeader, width: usize, path: &Path) -> Result<Legend, PipelineError> {
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
    Legend::new(clusters, parts, background_parts).ok_or_else(|| unusable(path))
}

fn unusable(path: &Path) -> PipelineError {
    PipelineError::Untrusted(format!("{} has more clusters than masks have values; train again", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;
    use crate::features::vit::Engine;
    use crate::output::read_mask;
    use crate::pipeline::predict::{Prediction, SaveKinds};
    use crate::pipeline::test_pictures::{self, Silent};
    use crate::pipeline::{DeviceChoice, TrainRequest, train};

    #[test]
    fn batches_on_a_device_give_what_single_images_on_the_processor_give() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        test_pictures::write(&data);
        let machine = Machine { device: DeviceChoice::Cpu, threads: 2, precision: None };
        for (name, parts, kind) in [("association", 0, "association"), ("parts", 2, "association"), ("cc", 0, "cc")] {
            let mut settings = test_pictures::SETTINGS.map(str::to_string).to_vec();
            settings.extend([
                "train.epochs=60".into(),
                format!("parts.foreground={parts}"),
                format!("objective.kind={kind}"),
            ]);
            let config = resolve(None, &settings).unwrap();
            let out = folder.path().join(name);
            let training = TrainRequest {
                data: data.clone(),
                out: Some(out.clone()),
                weights: Some(test_pictures::weights()),
                machine,
                resume: false,
            };
            train(config.clone(), &training, &Silent).unwrap();

            let path = out.join("best.safetensors");
            let (checkpoint, checkpoint_hash) = read_checkpoint(&path).unwrap();
            let device = tensor::cpu();
            let run = |engine: Engine| {
                let backbone = test_pictures::backbone(&config, engine);
                let out = out.join(format!("{engine:?}"));
                let predict = PredictRequest {
                    data: data.clone(),
                    out: out.clone(),
                    save: SaveKinds { masks: true, ..SaveKinds::default() },
                    overwrite: false,
                };
                let request =
                    InferRequest { checkpoint: path.clone(), predict, weights: None, overrides: vec![], machine };
                let inference = Inference {
                    request: &request,
                    checkpoint: &checkpoint,
                    checkpoint_hash,
                    config: &config,
                    backbone: &backbone,
                    device: &device,
                    device_name: "cpu",
                };
                let summary = inference.run(&dataset::open(&data).unwrap(), &Silent).unwrap();
                assert_eq!(summary.segmented, test_pictures::COUNT as u64);
                let table = std::fs::read_to_string(out.join("predictions.jsonl")).unwrap();
                let lines: Vec<Prediction> = table.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                let mask = |number| read_mask(&out.join(format!("masks/{number}.png"))).unwrap().values;
                (lines, (0..test_pictures::COUNT).map(mask).collect::<Vec<_>>())
            };
            let (single, masks) = run(Engine::Host);
            let (batched, batched_masks) = run(Engine::Tensors);
            assert_eq!(masks, batched_masks, "{name}");
            assert_eq!(masks.iter().flatten().max(), Some(&(1 + parts)), "{name}: all objects and parts are found");
            for (single, batched) in single.iter().zip(&batched) {
                let [single, batched] = [single, batched].map(|line| line.result.clone().unwrap());
                assert_eq!(single.negative_share.is_some(), kind == "cc");
                let close = |one: Option<f64>, other: Option<f64>| match (one, other) {
                    (Some(one), Some(other)) => (one - other).abs() < 1e-4,
                    (one, other) => one == other,
                };
                assert!(close(single.confidence, batched.confidence), "{name}: {single:?} {batched:?}");
                let shares = [&single, &batched].map(|measures| measures.negative_share.map(f64::from));
                assert!(close(shares[0], shares[1]), "{name}: {single:?} {batched:?}");
            }
        }
    }
}
