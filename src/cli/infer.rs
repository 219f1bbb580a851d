//! `deepcut infer`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use deepcut::pipeline::{self, InferRequest, InferSummary, SaveKinds};

use super::{Done, MachineArguments, Reporter, TalkArguments, counted};

/// Segment new images with a trained network, one pass each
///
/// Writes under OUT: masks/ (8-bit indexed PNG of the original size, 0 is background), overlays/ (pictures for people)
/// and predictions.jsonl (one line per image). What is already done with the same checkpoint is kept.
#[derive(Debug, Args)]
pub struct InferArguments {
    /// The checkpoint that `deepcut train` wrote
    #[arg(long, value_name = "FILE")]
    ckpt: PathBuf,
    /// A folder (searched with its sub-folders), a text file with one image per line, or one image
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Where the results go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The weights the checkpoint was trained with, if it was trained on a vision transformer
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Which pictures to write besides predictions.jsonl
    #[arg(long, value_enum, value_delimiter = ',', default_value = "masks,overlays")]
    save: Vec<SaveArgument>,
    /// Do again what is already done
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    machine: MachineArguments,
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SaveArgument {
    Masks,
    Overlays,
}

pub fn run(arguments: &InferArguments) -> anyhow::Result<Done> {
    let request = InferRequest {
        checkpoint: arguments.ckpt.clone(),
        data: arguments.data.clone(),
        out: arguments.out.clone(),
        weights: arguments.weights.clone(),
        save: SaveKinds {
            masks: arguments.save.contains(&SaveArgument::Masks),
            overlays: arguments.save.contains(&SaveArgument::Overlays),
        },
        overwrite: arguments.overwrite,
        device: arguments.machine.device.into(),
        threads: arguments.machine.threads,
    };
    let reporter = Reporter::new(&arguments.talk);
    let summary = pipeline::infer(&request, &reporter)?;
    reporter.result(&sentence(&summary), &summary)?;
    Ok(Done { skipped: summary.skipped > 0 })
}

/// The last line of a run.
fn sentence(summary: &InferSummary) -> String {
    let mut text = format!("segmented {}", counted(summary.segmented, "image"));
    if summary.seconds > 0.0 && summary.segmented > 0 {
        text += &format!(" ({:.1} per second)", summary.segmented as f64 / summary.seconds);
    }
    if summary.already_done > 0 {
        text += &format!(", {} already done", summary.already_done);
    }
    if summary.skipped > 0 {
        text += &format!(", {} skipped", summary.skipped);
    }
    format!("{text}; results: {}", summary.out.display())
}
