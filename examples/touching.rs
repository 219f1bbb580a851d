//! Holds ways to tell touching objects apart against COCO's instances: components, the recursive cut, and MaskCut.
//!
//! ```sh
//! cargo run --release --example touching -- --data DIR --out DIR --weights FILE --config FILE [--seeds 2]
//! ```
//!
//! DIR holds `sod` (`images/`), of which every second image trains the networks, and `coco_val` (`images/`,
//! `instances.json`). The 1st, 3rd, … image of the latter is for choosing thresholds, the others are for reporting; a line
//! has AP, AP50, AR@1, AR@10 and AR@100 of both halves, in percent.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Parser;
use deepcut::config::{self, Purpose};
use deepcut::dataset::truth::coco;
use deepcut::event::Silent;
use deepcut::features::Backbone;
use deepcut::method::open_backbone;
use deepcut::metrics::{AreaRange, InstanceMatches, InstanceScores, PredictedInstance, TrueInstance};
use deepcut::nodes::{Layout, NodeFeatures};
use deepcut::numerics::normalised_affinity::second_solution;
use deepcut::pipeline::{self, TrainRequest};
use deepcut::raster::{Mask, RunLengthMask};
use deepcut::refine::{Cells, Upscale, components};
use deepcut::settings::DecodeConfig;
use deepcut::{DeviceChoice, ImageContent, Machine, Model, ModelOptions, RgbImage};
use faer::Mat;
use rayon::prelude::*;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Arguments {
    /// The folder of the sets
    #[arg(long)]
    data: PathBuf,
    /// Where checkpoints go
    #[arg(long)]
    out: PathBuf,
    #[arg(long)]
    weights: PathBuf,
    #[arg(long)]
    config: PathBuf,
    #[arg(long, default_value_t = 2)]
    seeds: u64,
}

/// An image with its true instances.
struct Scene {
    image: RgbImage,
    truth: Vec<TrueInstance>,
}

/// Objects of MaskCut.
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let scenes = scenes(&arguments.data.join("coco_val"))?;
    println!(
        "| objects by | choice | AP | AP50 | AR@1 | AR@10 | AR@100 | report | AP | AP50 | AR@1 | AR@10 | AR@100 |"
    );
    println!("|{}", "---|".repeat(13));
    for seed in 0..arguments.seeds {
        let checkpoint = train(&arguments, seed)?;
        let mut ways = vec![("components".to_string(), vec!["objects.split=components".to_string()])];
        for threshold in [0.1, 0.13, 0.15, 0.17, 0.2, 0.23, 0.26, 0.3] {
            let overrides = vec!["objects.split=cut".to_string(), format!("objects.cut_threshold={threshold}")];
            ways.push((format!("cut, {threshold}"), overrides));
        }
        for (name, mut overrides) in ways {
            overrides.push("objects.instances=true".into());
            let options = ModelOptions { weights: Some(arguments.weights.clone()), overrides, ..Default::default() };
            let model = Model::open_with(&checkpoint, &options)?;
            let images: Vec<RgbImage> = scenes.iter().map(|scene| scene.image.clone()).collect();
            let found = model.segment_batch(&images)?.into_iter().map(|segmentation| {
                let objects = segmentation.objects.into_iter();
                objects.map(|object| PredictedInstance { mask: object.mask, confidence: object.confidence }).collect()
            });
            report(&format!("{name}, seed {seed}"), &scenes, found.collect());
        }
    }
    let settings = config::resolve(Some(&arguments.config), &[])?;
    let resolved = settings.resolve(Purpose::Segment, true, None)?;
    let backbone = open_backbone(&resolved, Some(&arguments.weights), None, &DeviceChoice::default().open()?)?;
    for threshold in [0.15, 0.3, 0.4, 0.5, 0.6, 0.7] {
        let found = scenes.par_iter().map(|scene| mask_cut(&backbone, &scene.image, threshold)).collect();
        report(&format!("MaskCut, {ROUNDS} rounds, tau {threshold}"), &scenes, found);
    }
    Ok(())
}

/// The images with their truth, by name.
fn scenes(folder: &Path) -> Result<Vec<Scene>, Box<dyn Error>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder.join("images"))? {
        paths.push(entry?.path());
    }
    paths.sort();
    let truth = coco::instances(&folder.join("instances.json"))?.images;
    let limits = DecodeConfig::default();
    let mut scenes = Vec::new();
    for path in paths {
        let key = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let annotated = truth.iter().find(|image| image.key.ends_with(&key)).ok_or("an image without ground truth")?;
        let instance = |found: coco::CocoInstance| TrueInstance {
            mask: found.mask,
            area_px: found.area_px,
            is_crowd: found.is_crowd,
        };
        let image = ImageContent::read(&path, None, &limits)?.decode(&limits)?.into_value().image;
        let truth = annotated.content.draw((image.width, image.height)).0.into_iter().map(instance).collect();
        scenes.push(Scene { image, truth });
    }
    Ok(scenes)
}

/// The checkpoint of a seed, trained on every second image of SOD.
fn train(arguments: &Arguments, seed: u64) -> Result<PathBuf, Box<dyn Error>> {
    let mut images: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(std::path::absolute(arguments.data.join("sod/images"))?)? {
        images.push(entry?.path().display().to_string());
    }
    images.sort();
    let list = arguments.out.join("half_of_sod.txt");
    std::fs::write(&list, images.into_iter().step_by(2).collect::<Vec<_>>().join("\n"))?;
    let settings = config::resolve(Some(&arguments.config), &[format!("train.seed={seed}")])?;
    let request = TrainRequest {
        data: list.into(),
        out: Some(arguments.out.join(seed.to_string())),
        weights: Some(arguments.weights.clone()),
        machine: Machine::default(),
        resume: true,
        wait: None,
    };
    Ok(pipeline::train(settings, &request, &Silent)?.checkpoint)
}

/// Prints a line with the scores of both halves.
fn report(name: &str, scenes: &[Scene], found: Vec<Vec<PredictedInstance>>) {
    let mut scores = [InstanceScores::default(), InstanceScores::default()];
    for (number, (scene, found)) in scenes.iter().zip(found).enumerate() {
        scores[number % 2].add(InstanceMatches::of(found, &scene.truth));
    }
    let columns = scores.map(|scores| {
        let figures = [
            scores.average_precision(AreaRange::All),
            scores.average_precision_at(AreaRange::All, 50),
            scores.average_recall(AreaRange::All, 1),
            scores.average_recall(AreaRange::All, 10),
            scores.average_recall(AreaRange::All, 100),
        ];
        figures.map(|figure| format!("{:.2}", 100.0 * figure.unwrap_or(0.0))).join(" | ")
    });
    println!("| {name} | | {} | | {} |", columns[0], columns[1]);
}

/// MaskCut without its conditional random field.
///
/// In every round W is 1 where the cosine of two nodes reaches `threshold`, else 1e-5; nodes above the mean of the second
/// solution of the normalised cut are one side. The foreground is the side of the node with the largest absolute value,
/// unless that side has three or four of the corners: then it is the other. Its component around the outermost node is an
/// object, whose features are zero in the rounds that follow.
/// Source: Wang et al., "Cut and Learn for Unsupervised Object Detection and Instance Segmentation", CVPR 2023, arXiv
/// 2301.11320, section 3.2. An earlier object is taken for the more confident one.
fn mask_cut(backbone: &Backbone, image: &RgbImage, threshold: f64) -> Vec<PredictedInstance> {
    let NodeFeatures { values, channels, layout, .. } = backbone.extractor.extract(image);
    let Layout::Grid { rows, columns } = layout else { return Vec::new() };
    let nodes = rows * columns;
    let mut features = Mat::from_fn(nodes, channels, |node, channel| f64::from(values[node * channels + channel]));
    for node in 0..nodes {
        let length = features.row(node).norm_l2().max(f64::MIN_POSITIVE);
        features.row_mut(node).iter_mut().for_each(|value| *value /= length);
    }
    let mut found = Vec::new();
    for round in 0..ROUNDS {
        let cosines = &features * features.transpose();
        let affinities =
            Mat::from_fn(nodes, nodes, |one, other| if cosines[(one, other)] >= threshold { 1.0 } else { 1e-5 });
        let Some((solution, _)) = second_solution(&affinities) else { break };
        let mean = solution.iter().sum::<f64>() / nodes as f64;
        let larger = |best: usize, node: usize| if solution[node].abs() > solution[best].abs() { node } else { best };
        let mut seed = (1..nodes).fold(0, larger);
        let mut is_inside: Vec<bool> = solution.iter().map(|&y| (y > mean) == (solution[seed] > mean)).collect();
        let corners = [0, columns - 1, nodes - columns, nodes - 1];
        if corners.iter().filter(|&&corner| is_inside[corner]).count() > 2 {
            is_inside.iter_mut().for_each(|inside| *inside = !*inside);
            let outermost = (0..nodes).filter(|&node| is_inside[node]).reduce(larger);
            let Some(outermost) = outermost else { break };
            seed = outermost;
        }
        let pieces =
            components(&Mask::from_values(columns, rows, is_inside.iter().map(|&inside| inside.into()).collect()));
        let object = pieces.labels.map(|label| u8::from(label == pieces.labels.values[seed]));
        for (node, _) in object.values.iter().enumerate().filter(|(_, inside)| **inside > 0) {
            features.row_mut(node).fill(0.0);
        }
        let shares: Vec<f32> =
            object.values.iter().flat_map(|&inside| [1.0 - f32::from(inside), inside.into()]).collect();
        let cells = Cells { values: &object, shares: &shares };
        let mask = Upscale::Bilinear.apply(&cells, |value| value, image.width, image.height);
        let mask = RunLengthMask::encode(&mask, |inside| inside > 0);
        found.push(PredictedInstance { mask, confidence: 1.0 / (1 + round) as f64 });
    }
    found
}
