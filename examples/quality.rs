//! Trains, segments and scores every mode on sets with ground truth, over several seeds, and prints one table.
//!
//! ```sh
//! cargo run --release --example quality -- --data DIR --out DIR [--weights FILE --config FILE] [--seeds 5] [--modes shared]
//! ```
//!
//! DIR holds any of these sets: `sod` and `weizmann_horses` (`images/`, `masks/`), `animal_pose` (`images/`, `semantic/`
//! with VOC classes, `keypoints.json`), `coco_val` (`images/`, `instances.json`). Networks are trained on `sod`, those of
//! parts on `animal_pose`, which they divide. Every
//! finished run is a line of `OUT/runs.jsonl` and is not run again, so an interrupted table goes on where it was.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Parser;
use deepcut::config::{self, RunConfig};
use deepcut::event::{Event, Observer};
use deepcut::pipeline::{
    self, EvaluateRequest, EvaluateTask, InferRequest, Machine, PredictRequest, SaveKinds, SegmentRequest, TrainRequest,
};
use serde::{Deserialize, Serialize};

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
    assignments: Vec<String>,
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Only modes whose name contains this text
    #[arg(long, default_value = "")]
    modes: String,
}

/// One way of segmenting.
struct Mode {
    name: &'static str,
    /// Every image by itself instead of a network for all.
    per_image: bool,
    settings: &'static [&'static str],
    /// Settings after the network: these share a checkpoint.
    refinement: &'static [&'static str],
    /// Scored by its parts, on the sets with key-points.
    parts: bool,
}

const MODES: [Mode; 14] = [
    mode("segment ncut", true, &["objective.kind=ncut"], &[]),
    mode("segment ncut + bilateral", true, &["objective.kind=ncut"], &["refine.method=bilateral"]),
    mode("segment ncut 100 epochs", true, &["objective.kind=ncut", "segment.epochs=100"], &[]),
    mode("segment cc", true, &["objective.kind=cc"], &[]),
    mode("segment cc + bilateral", true, &["objective.kind=cc"], &["refine.method=bilateral"]),
    mode("shared ncut", false, &["objective.kind=ncut"], &[]),
    mode("shared ncut + bilateral", false, &["objective.kind=ncut"], &["refine.method=bilateral"]),
    mode("shared cc", false, &["objective.kind=cc"], &[]),
    mode("shared cc + bilateral", false, &["objective.kind=cc"], &["refine.method=bilateral"]),
    parts("parts: segment ncut 100 epochs", true, &["parts.foreground=4", "segment.epochs=100"]),
    parts(
        "parts: segment ncut 100 epochs, not centred",
        true,
        &["parts.foreground=4", "segment.epochs=100", "parts.centred=false"],
    ),
    parts("parts: shared ncut", false, &["parts.foreground=4"]),
    parts("parts: shared ncut, not centred", false, &["parts.foreground=4", "parts.centred=false"]),
    parts("parts: shared cc of 2", false, &["parts.foreground=4", "objective.kind=cc", "model.clusters=2"]),
];

const fn mode(
    name: &'static str,
    per_image: bool,
    settings: &'static [&'static str],
    refinement: &'static [&'static str],
) -> Mode {
    Mode { name, per_image, settings, refinement, parts: false }
}

/// Parts are found and scored on the set that has key-points.
const fn parts(name: &'static str, per_image: bool, settings: &'static [&'static str]) -> Mode {
    Mode { parts: true, ..mode(name, per_image, settings, &[]) }
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

const TRAINING_SET: &str = "sod";

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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let path = arguments.out.join("runs.jsonl");
    let earlier = std::fs::read_to_string(&path).unwrap_or_default();
    let mut runs: Vec<Run> = earlier.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
    for mode in MODES.iter().filter(|mode| mode.name.contains(&arguments.modes)) {
        for seed in 0..arguments.seeds {
            let sets = if mode.parts { std::slice::from_ref(&PARTS) } else { &SETS };
            for set in sets.iter().filter(|set| arguments.data.join(set.name).is_dir()) {
                if runs.iter().any(|run| (run.mode.as_str(), run.set.as_str(), run.seed) == (mode.name, set.name, seed))
                {
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
fn resolve(arguments: &Arguments, mode: &Mode, seed: u64) -> Result<RunConfig, pipeline::PipelineError> {
    let room = if mode.per_image { "segment" } else { "train" };
    let own = mode.settings.iter().map(ToString::to_string).chain([format!("{room}.seed={seed}")]);
    let assignments: Vec<String> = arguments.assignments.iter().cloned().chain(own).collect();
    Ok(config::resolve(arguments.config.as_deref(), &assignments)?)
}

fn score(arguments: &Arguments, mode: &Mode, set: &Set, seed: u64) -> Result<Run, pipeline::PipelineError> {
    let folder = |name: &str| arguments.out.join(name.replace([' ', ':', '+', ','], "_")).join(seed.to_string());
    let out = folder(mode.name).join(set.name);
    let predict = PredictRequest {
        data: arguments.data.join(set.name).join("images"),
        out: out.clone(),
        save: SaveKinds { masks: true, ..Default::default() },
        overwrite: false,
    };
    let summary = if mode.per_image {
        let mut config = resolve(arguments, mode, seed)?;
        let refinement: Vec<String> = mode.refinement.iter().map(ToString::to_string).collect();
        config = config::with_assignments(&config, &refinement)?;
        let request = SegmentRequest { predict, weights: arguments.weights.clone(), machine: Machine::default() };
        pipeline::segment(config, &request, &Warnings)?
    } else {
        let base = mode.name.split(" +").next().unwrap_or(mode.name);
        let request = InferRequest {
            checkpoint: train(arguments, mode, seed, &folder(base).join("training"))?,
            predict,
            weights: arguments.weights.clone(),
            assignments: mode.refinement.iter().map(ToString::to_string).collect(),
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
        csv: None,
        threads: 0,
    };
    let scores = pipeline::evaluate(&request, &Warnings)?.scores.named();
    Ok(Run {
        mode: mode.name.to_string(),
        set: set.name.to_string(),
        seed,
        scores: scores.into_iter().map(|(name, score)| (name.to_string(), score)).collect(),
        images_per_second: summary.segmented as f64 / summary.seconds,
    })
}

/// The checkpoint of a mode and seed; modes that differ in refinement only share it.
fn train(arguments: &Arguments, mode: &Mode, seed: u64, out: &Path) -> Result<PathBuf, pipeline::PipelineError> {
    let request = TrainRequest {
        data: arguments.data.join(if mode.parts { PARTS.name } else { TRAINING_SET }).join("images"),
        out: Some(out.to_path_buf()),
        weights: arguments.weights.clone(),
        machine: Machine::default(),
        resume: true,
    };
    Ok(pipeline::train(resolve(arguments, mode, seed)?, &request, &Warnings)?.checkpoint)
}

/// Mean ± standard deviation over seeds, in percent: a row for every mode, a column for every set and score.
fn table(runs: &[Run]) -> String {
    const SHOWN: [&str; 6] = ["miou", "corloc", "keypoint_nmi", "keypoint_ari", "mean_image_nmi", "mean_image_ari"];
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
