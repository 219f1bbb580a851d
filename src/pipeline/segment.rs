//! `segment`: images → masks without any training beforehand, each image by itself.

use std::path::PathBuf;

use super::PipelineError;
use super::precision::Fixed;
use super::predict::{PredictRequest, PredictSummary, Predictor, with_results};
use super::shards;
use crate::config::{Purpose, Settings};
use crate::dataset::{self, Collection};
use crate::event::{Event, Observer, Plan};
use crate::method::{Machine, MethodError, PatchRegions, PerImage};
use crate::segment::PerImageMethod;
use crate::tensor;

/// What to segment image by image.
#[derive(Debug, Clone)]
pub struct SegmentRequest {
    pub predict: PredictRequest,
    pub weights: Option<PathBuf>,
    pub machine: Machine,
}

/// Segments every image of a collection in the paper's per-image mode.
pub fn segment(
    settings: Settings,
    request: &SegmentRequest,
    observer: &dyn Observer,
) -> Result<PredictSummary, PipelineError> {
    with_results(&request.predict, observer, |predict| {
        segment_here(settings, &SegmentRequest { predict, ..request.clone() }, observer)
    })
}

fn segment_here(
    settings: Settings,
    request: &SegmentRequest,
    observer: &dyn Observer,
) -> Result<PredictSummary, PipelineError> {
    let collection = dataset::open_input(&request.predict.data, &settings.data)?;
    if settings.segment.method().is_of_pixels() {
        return segment_pixels(settings, request, &collection, observer);
    }
    let (weights, out) = (request.weights.as_deref(), &request.predict.out);
    let out = collection.shard().map_or_else(|| out.clone(), |shard| shards::folder(out, shard.index()));
    let precision = Fixed::of(&settings, Purpose::Segment, weights, request.machine, &out, &collection)?;
    let method = PerImage::with_weights(settings, weights, &precision.machine)?;
    let (resolved, backbone) = (method.resolved(), method.backbone());
    let (settings, clusters) = (resolved.settings(), resolved.clusters());
    let how = match settings.segment.method() {
        PerImageMethod::Spectral => "the eigenvector of the normalised cut".to_string(),
        PerImageMethod::Gnn | PerImageMethod::Grapl | PerImageMethod::SlicCut => {
            let parts = match settings.parts.foreground {
                0 => String::new(),
                count => format!(", {count} parts"),
            };
            let (objective, epochs) = (resolved.objective_kind().name(), settings.segment.epochs());
            format!("objective {objective}, {clusters} clusters{parts}, {epochs} epochs each")
        }
    };
    observer.observe(Event::Plan(Plan {
        doing: format!("segmenting {} image by image", collection.display()),
        backbone: precision.described(&backbone.description),
        could_be_deeper: backbone.hash.is_none(),
        how: format!("device {}, {how}", tensor::name(method.device())),
    }));
    let predictor = Predictor {
        request: &request.predict,
        command: "segment",
        settings,
        checkpoint: None,
        description: format!("{clusters} clusters, every image by itself on {} features", backbone.name),
        origin: serde_json::json!([
            env!("CARGO_PKG_VERSION"),
            backbone.extractor.fingerprint(),
            resolved.affinity(),
            settings.model,
            settings.objective,
            settings.segment,
            settings.parts,
        ]),
        threads: request.machine.threads,
        precision: Some(&precision),
        remedy: match settings.segment.method() {
            PerImageMethod::Spectral => "try a network: `segment.method` = \"gnn\"",
            _ => "try more `segment.epochs`, another `segment.seed`, or `segment.method` = \"spectral\"",
        },
    };
    method.run(|method, waiting| predictor.run(&collection, method, waiting, observer))
}

/// The same by the methods that divide images by their pixels.
fn segment_pixels(
    settings: Settings,
    request: &SegmentRequest,
    collection: &Collection,
    observer: &dyn Observer,
) -> Result<PredictSummary, PipelineError> {
    let name = settings.segment.method().name();
    if request.weights.is_some() {
        return Err(MethodError::NeedlessForPixels { method: name, setting: "weights" }.into());
    }
    let method = PatchRegions::on_machine(settings, &request.machine)?;
    let settings = method.settings();
    let (grapl, learns) = (&settings.grapl, settings.segment.method() == PerImageMethod::Grapl);
    let steps = grapl.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ");
    let how = match learns {
        true => format!("patch learning (GraPL) with graph cuts, {steps} steps each"),
        false => "SLIC and one graph cut each".to_string(),
    };
    observer.observe(Event::Plan(Plan {
        doing: format!("segmenting {} image by image", collection.display()),
        backbone: format!("no backbone, {0}×{0} patches of pixels", grapl.patches),
        could_be_deeper: false,
        how: format!("device cpu, {how}"),
    }));
    let predictor = Predictor {
        request: &request.predict,
        command: "segment",
        settings,
        checkpoint: None,
        description: format!("regions, every image by itself by {name}"),
        origin: serde_json::json!([env!("CARGO_PKG_VERSION"), name, grapl, learns.then_some(settings.segment.seed)]),
        threads: request.machine.threads,
        precision: None,
        remedy: match learns {
            true => "try a smaller `grapl.lambda`, or another `segment.seed`",
            false => "try a smaller `grapl.lambda`",
        },
    };
    predictor.run(collection, &method, 0, observer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;
    use crate::features::vit::Engine;
    use crate::method::Method;
    use crate::pipeline::test_pictures;
    use crate::pixels::decode;

    #[test]
    fn batches_on_a_device_give_what_single_images_give() {
        let folder = tempfile::tempdir().unwrap();
        test_pictures::write(folder.path());
        let settings = resolve(None, &test_pictures::SETTINGS.map(str::to_string)).unwrap();
        let images = (0..test_pictures::COUNT).map(|number| {
            let bytes = std::fs::read(folder.path().join(format!("{number}.png"))).unwrap();
            decode(&bytes, &settings.pixels).unwrap().image
        });
        let images: Vec<_> = images.collect();
        let found = [Engine::Host, Engine::Tensors].map(|engine| {
            let resolved = settings.clone().resolve(Purpose::Segment, true, None).unwrap();
            let backbone = test_pictures::backbone(&settings, engine);
            let per_image = PerImage::with_backbone(resolved, backbone, tensor::cpu()).unwrap();
            let segment = |method: &dyn Method, waiting: usize| {
                assert_eq!(waiting > 0, engine == Engine::Tensors);
                method.segment_all(&images, 2 + waiting)
            };
            per_image.run(segment).unwrap()
        });
        let masks = found.each_ref().map(|found| found.iter().map(|found| &found.mask).collect::<Vec<_>>());
        assert_eq!(masks[0], masks[1]);
        assert!(masks[0].iter().any(|mask| mask.values.contains(&1)));
    }
}
