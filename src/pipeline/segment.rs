//! `segment`: images → masks without any training beforehand, each image by itself.

use std::path::PathBuf;

use super::backbone;
use super::machine::{Machine, workers};
use super::predict::{Decision, PredictRequest, PredictSummary, Predictor};
use super::{PipelineError, images};
use crate::config::Settings;
use crate::dataset;
use crate::event::{Event, Observer};
use crate::objective::ObjectiveKind;
use crate::parallel::Crew;
use crate::segment::{
    Legend, PerImageConfig, PerImageMethod, PerImageSegmenter, SecondStage, Segmenter, SpectralSegmenter,
};
use crate::tensor::{self, is_cpu};

/// What to segment image by image.
#[derive(Debug, Clone)]
pub struct SegmentRequest {
    pub predict: PredictRequest,
    pub weights: Option<PathBuf>,
    pub machine: Machine,
}

/// Segments every image of a collection in the paper's per-image mode.
pub fn segment(
    mut config: Settings,
    request: &SegmentRequest,
    observer: &dyn Observer,
) -> Result<PredictSummary, PipelineError> {
    let collection = dataset::open(&request.predict.data)?;
    let device = request.machine.device.open()?;
    let device_name = tensor::name(&device);
    let backbone = backbone::open(&mut config, request.weights.as_deref(), None, &request.machine, &device)?;
    let workers = workers(request.machine.threads)?;
    config.objective.kind.get_or_insert(ObjectiveKind::Ncut);
    let (clusters, parts) = (config.clusters(), &config.parts);
    let spectral = config.segment.method == PerImageMethod::Spectral;
    if spectral
        && (clusters != 2 || parts.foreground + parts.background > 0 || config.objective.kind() != ObjectiveKind::Ncut)
    {
        return Err(PipelineError::Usage(
            "--method spectral cuts images in two by the ncut objective; leave out clusters, parts and other objectives"
                .into(),
        ));
    }
    let how = if spectral {
        "the eigenvector of the normalised cut".to_string()
    } else {
        let (objective, epochs) = (config.objective.kind().name(), config.segment.epochs);
        format!(
            "objective {objective}, {clusters} clusters{}, {epochs} epochs each",
            match parts.foreground {
                0 => String::new(),
                count => format!(", {count} parts"),
            }
        )
    };
    observer.observe(Event::Plan(format!(
        "segmenting {} image by image: {}, device {device_name}, {how}",
        request.predict.data.display(),
        backbone.description_with_hint(),
    )));
    let segmenter = |clusters: usize, epochs: usize, objective| {
        let network = backbone.network(&config, clusters);
        let settings = PerImageConfig { epochs, ..config.segment.clone() };
        PerImageSegmenter::new(&network, objective, settings, device.clone())
    };
    let objects = segmenter(clusters, config.segment.epochs, config.objective());
    let [parts_of_foreground, parts_of_background] = [parts.foreground, parts.background]
        .map(|count| (count > 0).then(|| segmenter(count, parts.epochs, config.parts_objective())));
    // Validated with the configuration.
    let labels = Legend::new(clusters - 1, parts.foreground, parts.background)
        .ok_or_else(|| PipelineError::Usage("there are more clusters and parts than masks have values".into()))?;
    let second_stage = SecondStage {
        foreground: parts_of_foreground.as_ref().map(|segmenter| segmenter as &dyn Segmenter),
        background: parts_of_background.as_ref().map(|segmenter| segmenter as &dyn Segmenter),
        config: parts,
        labels,
        affinity: config.parts_affinity(),
        device: &device,
    };
    let predictor = Predictor {
        request: &request.predict,
        config: &config,
        backbone: &backbone,
        labels,
        description: format!("{clusters} clusters, every image by itself on {} features", backbone.name),
        origin: serde_json::json!([
            images::graph_settings(&config, &backbone, &device).to_hex().as_str(),
            config.model,
            config.objective,
            config.segment,
            config.parts,
        ]),
    };
    let rule = config.segment.background;
    // Only the optimisation on the processor reads W as a whole.
    let build = if spectral || !is_cpu(&device) { images::graph } else { images::graph_to_optimise_on };
    predictor.run(&collection, Crew { workers, waiting: 0 }, observer, |image, work| {
        let (graph, layout) = predictor.graph(image, work, build, &device);
        let (segments, final_loss) = if spectral {
            (SpectralSegmenter.segment(&graph), None)
        } else {
            let optimised = objects.optimise(&graph);
            (optimised.segments, optimised.losses.last().copied())
        };
        let chosen = rule.background(&layout.paint(&segments.clusters), clusters);
        let background: Vec<bool> = (0..clusters).map(|cluster| cluster == chosen).collect();
        Ok(Decision {
            layout,
            values: second_stage.values(&graph, &segments, &background),
            shares: labels.shares(&segments.probabilities, &background),
            foreground: segments.foreground_probabilities(&background),
            clusters: segments.clusters_in_use(),
            negative_share: graph.negative_share,
            final_loss,
        })
    })
}
