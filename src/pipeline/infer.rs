//! `infer`: a checkpoint and new images → masks, boxes, pictures and a table.

use std::path::PathBuf;

use super::predict::{PredictRequest, PredictSummary, Predictor, with_results};
use super::{PipelineError, precision};
use crate::dataset;
use crate::event::{Event, Observer, Plan};
use crate::method::{Machine, MethodError, Model, ModelOptions, RegionModel};
use crate::segment::regions::RegionCheckpoint;
use crate::tensor;

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

/// Segments every image of a collection with a trained network, one pass each.
pub fn infer(request: &InferRequest, observer: &dyn Observer) -> Result<PredictSummary, PipelineError> {
    with_results(&request.predict, observer, |predict| {
        infer_here(&InferRequest { predict, ..request.clone() }, observer)
    })
}

fn infer_here(request: &InferRequest, observer: &dyn Observer) -> Result<PredictSummary, PipelineError> {
    let options = ModelOptions {
        weights: request.weights.clone(),
        overrides: request.overrides.clone(),
        machine: request.machine,
    };
    match Model::open_with(&request.checkpoint, &options) {
        Ok(model) => infer_with(&model, request, observer),
        Err(MethodError::Checkpoint { source, .. }) if RegionCheckpoint::is_meant_by(&source) => {
            infer_regions(&RegionModel::open_with(&request.checkpoint, &options)?, request, observer)
        }
        Err(error) => Err(error.into()),
    }
}

/// Divides every image into regions by a code book.
fn infer_regions(
    model: &RegionModel,
    request: &InferRequest,
    observer: &dyn Observer,
) -> Result<PredictSummary, PipelineError> {
    let method = model.method();
    let (backbone, settings) = (method.backbone(), method.resolved().settings());
    precision::tell_of_other(&model.header().config, settings, "masks may differ a little", observer);
    let collection = dataset::open_input(&request.predict.data, &settings.data)?;
    let labels = model.header().labels;
    let by_patches = model.header().network.is_some();
    let seen = if by_patches { "GraPL's network, trained once" } else { backbone.description.as_str() };
    let told_apart = if by_patches {
        "one network of GraPL".to_string()
    } else {
        format!("one code book of {} features", backbone.name)
    };
    observer.observe(Event::Plan(Plan {
        doing: format!("dividing {} with {}", collection.display(), request.checkpoint.display()),
        backbone: seen.to_string(),
        could_be_deeper: false,
        how: format!("device {}, {labels} kinds of regions", tensor::name(method.device())),
    }));
    let predictor = Predictor {
        request: &request.predict,
        command: "infer",
        settings,
        checkpoint: Some(model.hash()),
        description: format!("{labels} kinds of regions, {told_apart}"),
        origin: serde_json::json!([model.hash().to_hex().as_str(), settings.vit.precision, settings.regions]),
        threads: request.machine.threads,
        precision: None,
        remedy: "lower `regions.lambda`, or learn from more images like these",
    };
    predictor.run(&collection, method, 0, observer)
}

/// The same with a model that is open.
fn infer_with(model: &Model, request: &InferRequest, observer: &dyn Observer) -> Result<PredictSummary, PipelineError> {
    let (header, method) = (model.header(), model.method());
    let (backbone, settings) = (method.backbone(), method.resolved().settings());
    precision::tell_of_other(&header.config, settings, "masks may differ a little", observer);
    let collection = dataset::open_input(&request.predict.data, &settings.data)?;
    let parts = header.parts.as_ref().map_or(String::new(), |stage| format!(", {} parts", stage.network.clusters));
    let clusters = header.objects.network.clusters;
    let verdict = header.verdict().map_or(String::new(), |verdict| format!("; {}", verdict.sentence));
    observer.observe(Event::Plan(Plan {
        doing: format!("segmenting {} with {}", collection.display(), request.checkpoint.display()),
        backbone: backbone.description.clone(),
        could_be_deeper: false,
        how: format!("device {}, {clusters} clusters{parts}", tensor::name(method.device())),
    }));
    let predictor = Predictor {
        request: &request.predict,
        command: "infer",
        settings,
        checkpoint: Some(model.hash()),
        description: format!("{clusters} clusters{parts}, one shared network on {} features{verdict}", backbone.name),
        origin: serde_json::json!([model.hash().to_hex().as_str(), settings.vit.precision]),
        threads: request.machine.threads,
        precision: None,
        remedy: "train on more images like these, or segment them one by one",
    };
    method.run(|method, waiting| predictor.run(&collection, method, waiting, observer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;
    use crate::event::Silent;
    use crate::features::vit::Engine;
    use crate::method::read_checkpoint;
    use crate::output::read_mask;
    use crate::pipeline::{DeviceChoice, TrainRequest, test_pictures, train};
    use crate::results::{Prediction, SaveKinds};

    #[test]
    fn batches_on_a_device_give_what_single_images_on_the_processor_give() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        test_pictures::write(&data);
        let machine = Machine { device: DeviceChoice::Cpu, threads: 2, ..Machine::default() };
        for (name, parts, kind) in [("association", 0, "association"), ("parts", 2, "association"), ("cc", 0, "cc")] {
            let mut settings = test_pictures::SETTINGS.map(str::to_string).to_vec();
            settings.extend([
                "train.epochs=60".into(),
                format!("parts.foreground={parts}"),
                format!("objective.kind={kind}"),
            ]);
            if kind == "cc" {
                // Of a random transformer's corrected features correlation clustering makes one cluster.
                settings.extend(["vit.normalise=false", "vit.remove_position=0"].map(str::to_string));
            }
            let settings = resolve(None, &settings).unwrap();
            let out = folder.path().join(name);
            let training = TrainRequest {
                data: data.clone().into(),
                out: Some(out.clone()),
                weights: Some(test_pictures::weights()),
                machine,
                resume: false,
                wait: None,
            };
            train(settings.clone(), &training, &Silent).unwrap();

            let path = out.join("best.safetensors");
            let run = |engine: Engine| {
                let (checkpoint, hash) = read_checkpoint(&path).unwrap();
                let backbone = test_pictures::backbone(&settings, engine);
                let model = Model::with_backbone(checkpoint, hash, backbone, tensor::cpu()).unwrap();
                let out = out.join(format!("{engine:?}"));
                let predict = PredictRequest {
                    data: data.clone().into(),
                    out: out.clone(),
                    save: SaveKinds { masks: true, ..SaveKinds::default() },
                    overwrite: false,
                    wait: None,
                };
                let request =
                    InferRequest { checkpoint: path.clone(), predict, weights: None, overrides: vec![], machine };
                let summary = infer_with(&model, &request, &Silent).unwrap();
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
