//! Trains, segments and scores every mode on sets with ground truth, over several seeds, and prints one table.
//!
//! ```sh
//! cargo run --release --example quality -- --data DIR --out DIR [--weights FILE --config FILE] [--seeds 5] [--mode NAME]
//! ```
//!
//! DIR holds any of these sets: `sod` and `weizmann_horses` (`images/`, `masks/`), `animal_pose` (`images/`, `semantic/`
//! with VOC classes, `keypoints.json`), `coco_val` (`images/`, `instances.json`). Networks are trained on every second image
//! of `sod`, or on what the mode's name says, and never scored on images they were trained on, but for parts, which are
//! those of the collection that is divided. Every finished run is a line of `OUT/runs.jsonl` and is not run again, so an
//! interrupted table goes on where it was.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Parser;
use deepcut::config::{self, Settings};
use deepcut::event::{Event, Observer};
use deepcut::pipeline::{
    self, EvaluateRequest, EvaluateTask, InferRequest, Machine, PredictRequest, RegionOptions, SaveKinds,
    SegmentRequest, TrainRequest,
};
use serde::{Deserialize, Serialize};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Arguments {
    /// The folder of the sets
    #[arg(long)]
    data: PathBuf,
    /// Where checkpoints, results and `runs.jsonl` go
    #[arg(long)]
    out: PathBuf,
    #[arg(long)]
    weights: Option<PathBuf>,
    #[arg(long)]
    config: Option<PathBuf>,
    /// A setting for all modes; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Only these modes, by their names; may be repeated
    #[arg(long = "mode", value_name = "NAME")]
    modes: Vec<String>,
}

/// One way of segmenting.
struct Mode {
    name: &'static str,
    how: How,
    settings: &'static [&'static str],
    /// Settings after the network: modes whose names are the same up to ` +` share a checkpoint.
    refinement: &'static [&'static str],
    /// Scored by its parts, on the sets with key-points.
    parts: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Every image by itself.
    PerImage,
    /// One network, trained on every second image of a set; of that set the other images are scored.
    TrainedOnHalf(&'static str),
    /// One network, trained on a random choice of so many images of a set, which is not scored then.
    TrainedOn(&'static str, usize),
    /// One network, trained on the set that it is scored on.
    TrainedOnAll(&'static str),
}

use How::{PerImage, TrainedOn, TrainedOnAll, TrainedOnHalf};

const HALF: How = TrainedOnHalf("sod");
const NO_SELF_TRAINING: &str = "train.self_training=false";
const BY_NETWORK: &[&str] = &["train.teacher=network"];
const ONE_VIEW: &[&str] = &["train.views=1"];
const UNREFINED: &[&str] = &["refine.method=none"];
const BILATERAL: &[&str] = &["refine.method=bilateral"];
const CUT: &[&str] = &["refine.method=cut"];
const NEAREST: &[&str] = &["refine.upscale=nearest", "refine.method=none"];
const SPECTRAL: &[&str] = &["segment.method=spectral"];
const GNN: &[&str] = &["segment.method=gnn"];
const LONG: &[&str] = &["segment.epochs=100", "objective.kind=ncut"];

const MODES: [Mode; 48] = [
    mode("segment spectral", PerImage, SPECTRAL, &[]),
    mode("segment spectral + nearest", PerImage, SPECTRAL, NEAREST),
    mode("segment spectral + unrefined", PerImage, SPECTRAL, UNREFINED),
    mode("segment gnn", PerImage, GNN, &[]),
    mode("segment gnn + unrefined", PerImage, GNN, UNREFINED),
    mode("segment ncut, 100 epochs", PerImage, LONG, &[]),
    mode("segment ncut, 100 epochs + unrefined", PerImage, LONG, UNREFINED),
    mode("segment association, 100 epochs", PerImage, &["segment.epochs=100", "objective.kind=association"], &[]),
    mode("segment cc", PerImage, &["objective.kind=cc"], &[]),
    mode("train", HALF, &[], &[]),
    mode("train + unrefined", HALF, &[], UNREFINED),
    mode("train + nearest", HALF, &[], NEAREST),
    mode("train + bilateral", HALF, &[], BILATERAL),
    mode("train + cut", HALF, &[], CUT),
    mode("train, a network teaches", HALF, BY_NETWORK, &[]),
    mode("train association only", HALF, &[NO_SELF_TRAINING], &[]),
    mode("train association only + nearest", HALF, &[NO_SELF_TRAINING], NEAREST),
    mode("train association only + unrefined", HALF, &[NO_SELF_TRAINING], UNREFINED),
    mode("train ncut only", HALF, &[NO_SELF_TRAINING, "objective.kind=ncut"], &[]),
    mode("train ncut only + nearest", HALF, &[NO_SELF_TRAINING, "objective.kind=ncut"], NEAREST),
    mode("train ncut only + unrefined", HALF, &[NO_SELF_TRAINING, "objective.kind=ncut"], UNREFINED),
    mode("train cc only", HALF, &[NO_SELF_TRAINING, "objective.kind=cc"], &[]),
    mode("train cc only + unrefined", HALF, &[NO_SELF_TRAINING, "objective.kind=cc"], UNREFINED),
    mode("train ncut, self-training", HALF, &["objective.kind=ncut"], &[]),
    mode("train cc, self-training", HALF, &["objective.kind=cc"], &[]),
    mode("train, 4 clusters", HALF, &["model.clusters=4"], &[]),
    mode("train on half of horses", TrainedOnHalf("weizmann_horses"), &[], &[]),
    mode("train on half of animals", TrainedOnHalf("animal_pose"), &[], &[]),
    mode("train on half of coco", TrainedOnHalf("coco_val"), &[], &[]),
    mode("train on half of coco + unrefined", TrainedOnHalf("coco_val"), &[], UNREFINED),
    mode("train on half of coco, one view", TrainedOnHalf("coco_val"), ONE_VIEW, &[]),
    mode("train on half of coco, a network teaches", TrainedOnHalf("coco_val"), BY_NETWORK, &[]),
    mode("train on 10, one view", TrainedOn("sod", 10), ONE_VIEW, &[]),
    mode("train on 10", TrainedOn("sod", 10), &[], &[]),
    mode("train on 10 + unrefined", TrainedOn("sod", 10), &[], UNREFINED),
    mode("train on 30", TrainedOn("sod", 30), &[], &[]),
    mode("train on 100", TrainedOn("sod", 100), &[], &[]),
    mode("train on 150", TrainedOn("sod", 150), &[], &[]),
    mode("train on 150 + unrefined", TrainedOn("sod", 150), &[], UNREFINED),
    parts("parts: segment ncut, 100 epochs", PerImage, &["parts.foreground=4", "segment.epochs=100"]),
    parts(
        "parts: segment ncut, 100 epochs, not centred",
        PerImage,
        &["parts.foreground=4", "segment.epochs=100", "parts.centred=false"],
    ),
    parts("parts: train", ANIMALS, &["parts.foreground=4"]),
    parts("parts: train, not centred", ANIMALS, &["parts.foreground=4", "parts.centred=false"]),
    parts("parts: train ncut", ANIMALS, &["parts.foreground=4", "objective.kind=ncut"]),
    parts("parts: train, parts by association", ANIMALS, &["parts.foreground=4", "objective.parts=association"]),
    parts(
        "parts: train cc of 2, parts by association",
        ANIMALS,
        &["parts.foreground=4", "objective.kind=cc", "objective.parts=association", "model.clusters=2"],
    ),
    parts(
        "parts: segment ncut, parts by cc, 100 epochs",
        PerImage,
        &["parts.foreground=4", "objective.parts=cc", "segment.epochs=100"],
    ),
    parts("parts: train cc of 2", ANIMALS, &["parts.foreground=4", "objective.kind=cc", "model.clusters=2"]),
];

const ANIMALS: How = TrainedOnAll("animal_pose");

const fn mode(
    name: &'static str,
    how: How,
    settings: &'static [&'static str],
    refinement: &'static [&'static str],
) -> Mode {
    Mode { name, how, settings, refinement, parts: false }
}

/// Parts are found and scored on the set that has key-points.
const fn parts(name: &'static str, how: How, settings: &'static [&'static str]) -> Mode {
    Mode { parts: true, ..mode(name, how, settings, &[]) }
}

/// One set and how it is scored.
struct Set {
    name: &'static str,
    truth: &'static str,
    task: EvaluateTask,
    void: Option<u32>,
    /// cat, cow, dog, horse, sheep in VOC's numbers; empty for all.
    foreground_classes: &'static [u32],
}

const SETS: [Set; 4] = [
    Set { name: "sod", truth: "masks", task: EvaluateTask::Objects, void: None, foreground_classes: &[] },
    Set { name: "weizmann_horses", truth: "masks", task: EvaluateTask::Objects, void: None, foreground_classes: &[] },
    Set {
        name: "animal_pose",
        truth: "semantic",
        task: EvaluateTask::Objects,
        void: Some(255),
        foreground_classes: &[8, 10, 12, 13, 17],
    },
    Set { name: "coco_val", truth: "instances.json", task: EvaluateTask::Boxes, void: None, foreground_classes: &[] },
];

const PARTS: Set = Set {
    name: "animal_pose",
    truth: "keypoints.json",
    task: EvaluateTask::Parts,
    void: None,
    foreground_classes: &[],
};

/// One scored run.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    mode: String,
    set: String,
    seed: u64,
    scores: BTreeMap<String, f64>,
    images_per_second: f64,
}

/// Only what went wrong is worth a line.
struct Warnings;

impl Observer for Warnings {
    fn observe(&self, event: Event) {
        if let Event::Warning(text) = event {
            eprintln!("  warning: {text}");
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let path = arguments.out.join("runs.jsonl");
    let earlier = std::fs::read_to_string(&path).unwrap_or_default();
    let mut runs: Vec<Run> = earlier.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
    for mode in
        MODES.iter().filter(|mode| arguments.modes.is_empty() || arguments.modes.iter().any(|name| name == mode.name))
    {
        // The eigenvector has no seed.
        let seeds = if mode.settings == SPECTRAL { 1 } else { arguments.seeds };
        for seed in 0..seeds {
            let sets = if mode.parts { std::slice::from_ref(&PARTS) } else { &SETS };
            for set in sets.iter().filter(|set| arguments.data.join(set.name).is_dir()) {
                let done = |run: &Run| (run.mode.as_str(), run.set.as_str(), run.seed) == (mode.name, set.name, seed);
                if runs.iter().any(done) || matches!(mode.how, TrainedOn(trained, _) if trained == set.name) {
                    continue;
                }
                let run = score(&arguments, mode, set, seed)?;
                eprintln!("{} / {} / seed {seed}: {:?}", mode.name, set.name, run.scores);
                writeln!(file, "{}", serde_json::to_string(&run)?)?;
                runs.push(run);
            }
        }
    }
    print!("{}", table(&runs));
    Ok(())
}

/// The settings of a mode; the seed is that of training or of the per-image start.
fn resolve(arguments: &Arguments, mode: &Mode, seed: u64) -> Result<Settings, Box<dyn Error>> {
    let room = if mode.how == PerImage { "segment" } else { "train" };
    let sample = if let TrainedOn(_, images) = mode.how { Some(format!("data.max_images={images}")) } else { None };
    let own = mode.settings.iter().map(ToString::to_string).chain([format!("{room}.seed={seed}")]).chain(sample);
    let overrides: Vec<String> = arguments.overrides.iter().cloned().chain(own).collect();
    Ok(config::resolve(arguments.config.as_deref(), &overrides)?)
}

fn score(arguments: &Arguments, mode: &Mode, set: &Set, seed: u64) -> Result<Run, Box<dyn Error>> {
    let folder = |name: &str| arguments.out.join(name.replace([' ', ':', '+', ','], "_")).join(seed.to_string());
    let out = folder(mode.name).join(set.name);
    let predict = PredictRequest {
        data: match mode.how {
            TrainedOnHalf(trained) if trained == set.name => half(arguments, trained, 1)?,
            // The same images as for the networks that these modes are compared with.
            PerImage if HALF == TrainedOnHalf(set.name) => half(arguments, set.name, 1)?,
            _ => arguments.data.join(set.name).join("images"),
        }
        .into(),
        out: out.clone(),
        save: SaveKinds { masks: true, ..Default::default() },
        overwrite: false,
        wait: None,
    };
    let summary = if mode.how == PerImage {
        let mut config = resolve(arguments, mode, seed)?;
        let refinement: Vec<String> = mode.refinement.iter().map(ToString::to_string).collect();
        config = config::with_overrides(&config, &refinement)?;
        let request = SegmentRequest { predict, weights: arguments.weights.clone(), machine: Machine::default() };
        pipeline::segment(config, &request, &Warnings)?
    } else {
        let base = mode.name.split(" +").next().unwrap_or(mode.name);
        let request = InferRequest {
            checkpoint: train(arguments, mode, seed, &folder(base).join("training"))?,
            predict,
            weights: arguments.weights.clone(),
            overrides: mode.refinement.iter().map(ToString::to_string).collect(),
            machine: Machine::default(),
        };
        pipeline::infer(&request, &Warnings)?
    };
    let request = EvaluateRequest {
        predictions: out,
        truth: Some(arguments.data.join(set.name).join(set.truth)),
        task: set.task,
        void: set.void,
        foreground_classes: set.foreground_classes.to_vec(),
        regions: RegionOptions::default(),
        csv: None,
        threads: 0,
    };
    let scores = pipeline::evaluate(&request, &Warnings)?.scores;
    Ok(Run {
        mode: mode.name.to_string(),
        set: set.name.to_string(),
        seed,
        scores: scores.into_iter().map(|(name, score)| (name.to_string(), score)).collect(),
        images_per_second: summary.segmented as f64 / summary.seconds,
    })
}

/// A list of every second image of a set, from the first (0) or the second (1) on.
fn half(arguments: &Arguments, set: &str, first: usize) -> Result<PathBuf, Box<dyn Error>> {
    let failed = |error: std::io::Error| format!("{set}: {error}");
    let folder = std::path::absolute(arguments.data.join(set).join("images")).map_err(failed)?;
    let entries = std::fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut images: Vec<String> = entries.iter().map(|entry| entry.path().display().to_string()).collect();
    images.sort();
    let lines: Vec<String> = images.into_iter().skip(first).step_by(2).collect();
    let list = arguments.out.join(format!("{set}_half_{first}.txt"));
    std::fs::write(&list, lines.join("\n")).map_err(failed)?;
    Ok(list)
}

/// The checkpoint of a mode and seed; modes that differ in refinement only share it.
fn train(arguments: &Arguments, mode: &Mode, seed: u64, out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let request = TrainRequest {
        data: match mode.how {
            TrainedOnHalf(set) => half(arguments, set, 0)?,
            TrainedOn(set, _) | TrainedOnAll(set) => arguments.data.join(set).join("images"),
            PerImage => return Err(format!("{} trains nothing", mode.name).into()),
        }
        .into(),
        out: Some(out.to_path_buf()),
        weights: arguments.weights.clone(),
        machine: Machine::default(),
        resume: true,
        wait: None,
    };
    Ok(pipeline::train(resolve(arguments, mode, seed)?, &request, &Warnings)?.checkpoint)
}

/// Mean ± standard deviation over seeds, in percent: a row for every mode, a column for every set and score.
fn table(runs: &[Run]) -> String {
    const SHOWN: [&str; 5] = ["miou", "risk_coverage", "corloc", "keypoint_nmi", "keypoint_ari"];
    let mut columns: Vec<(&str, &str)> = Vec::new();
    for run in runs {
        for score in SHOWN.into_iter().filter(|score| run.scores.contains_key(*score)) {
            if !columns.contains(&(run.set.as_str(), score)) {
                columns.push((&run.set, score));
            }
        }
    }
    let mut text = String::from("| mode |");
    columns.iter().for_each(|(set, score)| text += &format!(" {set} {score} |"));
    text += &format!("\n|---|{}\n", "---|".repeat(columns.len()));
    for mode in MODES.iter().filter(|mode| runs.iter().any(|run| run.mode == mode.name)) {
        text += &format!("| {} |", mode.name);
        for (set, score) in &columns {
            let own = runs.iter().filter(|run| run.mode == mode.name && run.set == *set);
            let values: Vec<f64> = own.filter_map(|run| run.scores.get(*score).copied()).collect();
            text += &format!(" {} |", mean_and_deviation(&values));
        }
        text += "\n";
    }
    text
}

fn mean_and_deviation(values: &[f64]) -> String {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    match values.len() {
        0 => String::new(),
        1 => format!("{:.1}", 100.0 * mean),
        _ => format!("{:.1} ± {:.1}", 100.0 * mean, 100.0 * variance.sqrt()),
    }
}
