//! `deepcut eval`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use deepcut::pipeline::{self, EvaluateRequest, EvaluateSummary, EvaluateTask, RegionOptions};

use super::{Done, Reporter, TalkArguments, counted, start_threads};

/// Score results against ground truth
///
/// Images are matched by relative path, or by the end of it that is unique, without extension; masks also without a suffix
/// such as _mask. What has no match or cannot be read is listed and not scored. The table says which definition every figure
/// follows.
#[derive(Debug, Args)]
pub struct EvalArguments {
    /// What `deepcut infer` wrote (its --out), or a folder of masks
    #[arg(long, value_name = "DIR")]
    pred: PathBuf,
    /// The ground truth: a folder of label maps (objects, parts, video), of region maps ID_k.png (regions) or of
    /// Pascal VOC XML (boxes), or a COCO JSON file (objects, instances, boxes, parts by key-points, video); video does without
    #[arg(long, value_name = "DIR_OR_JSON")]
    truth: Option<PathBuf>,
    /// What to compare
    #[arg(long, value_enum)]
    task: TaskArgument,
    /// The value of undecided pixels in label maps, which count nowhere (255 in Pascal VOC)
    #[arg(long, value_name = "VALUE")]
    void: Option<u32>,
    /// The values of the foreground in label maps [default: every value but 0]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    foreground_class: Vec<u32>,
    /// Regions: also the best accuracy and IoU that could be reached with the predicted segments
    #[arg(long)]
    oracle: bool,
    /// Regions: every image has several predictions ID_k.png, from coarse to fine or back, each at a scale k that all images
    /// have; they are scored at the best scale for all (ods) and at the best one for each (ois)
    #[arg(long)]
    scales: bool,
    /// Write a table with one line per image
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Threads on the processor; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TaskArgument {
    /// Foreground masks: mean IoU, accuracy, largest F-measure
    Objects,
    /// One box per image: CorLoc
    Boxes,
    /// Every object by itself, whatever its class: COCO's AP and AR of masks
    Instances,
    /// Parts over pixels or key-points: NMI and ARI
    Parts,
    /// Whole segmentations against several annotators (BSDS500): matched segments, covering, Rand index, variation of
    /// information, boundaries
    Regions,
    /// Objects per sequence of frames, and temporal consistency
    Video,
}

impl From<TaskArgument> for EvaluateTask {
    fn from(argument: TaskArgument) -> Self {
        match argument {
            TaskArgument::Objects => EvaluateTask::Objects,
            TaskArgument::Boxes => EvaluateTask::Boxes,
            TaskArgument::Instances => EvaluateTask::Instances,
            TaskArgument::Parts => EvaluateTask::Parts,
            TaskArgument::Regions => EvaluateTask::Regions,
            TaskArgument::Video => EvaluateTask::Video,
        }
    }
}

pub fn run(arguments: &EvalArguments) -> anyhow::Result<Done> {
    start_threads(arguments.threads)?;
    let request = EvaluateRequest {
        predictions: arguments.pred.clone(),
        truth: arguments.truth.clone(),
        task: arguments.task.into(),
        void: arguments.void,
        foreground_classes: arguments.foreground_class.clone(),
        regions: RegionOptions { oracle: arguments.oracle, scales: arguments.scales },
        csv: arguments.csv.clone(),
        threads: arguments.threads,
    };
    let reporter = Reporter::new(&arguments.talk);
    let summary = pipeline::evaluate(&request, &reporter)?;
    reporter.result(&table(&summary), &summary)?;
    Ok(Done { skipped: !summary.skipped.is_empty() })
}

fn table(summary: &EvaluateSummary) -> String {
    let mut text = format!("{} scored", counted(summary.images as u64, "image"));
    let left_out = [
        (summary.unmatched_predictions.len(), "without ground truth"),
        (summary.unmatched_truth.len(), "without prediction"),
        (summary.without_annotation.len(), "without annotation"),
        (summary.skipped.len(), "skipped"),
    ];
    for (count, what) in left_out.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!(", {count} {what}");
    }
    text += "\n";
    let percent = |score: f64| format!("{:.2} %", 100.0 * score);
    let width = summary.scores.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(21);
    for (name, score) in &summary.scores {
        let score = if summary.in_bits.contains(name) { format!("{score:.3} bit") } else { percent(*score) };
        text += &format!("\n{name:<width$} {score:>9}");
    }
    if !summary.sequences.is_empty() {
        let width = summary.sequences.iter().map(|row| row.sequence.chars().count()).max().unwrap_or(0).max(8);
        text += &format!(
            "\n\n{:<width$}  {:>6}  {:>8}  {:>8}  {:>11}",
            "sequence", "frames", "miou", "accuracy", "consistency"
        );
        let cell = |score: Option<f64>| score.map_or("-".to_string(), percent);
        for row in &summary.sequences {
            text += &format!(
                "\n{:<width$}  {:>6}  {:>8}  {:>8}  {:>11}",
                row.sequence,
                row.frames,
                cell(row.miou),
                cell(row.accuracy),
                cell(row.consistency)
            );
        }
    }
    text += "\n";
    for (name, _) in &summary.scores {
        if let Some(definition) = summary.definitions.get(name) {
            text += &format!("\n{name}: {definition}");
        }
    }
    text
}
