//! `deepcut merge`

use std::path::PathBuf;

use clap::Args;
use deepcut::pipeline::{self, MergeRequest, MergeSummary};

use super::{Done, Reporter, TalkArguments, WaitArguments, counted};

/// Make one result of all shards of a plan
///
/// OUT is what was --out of the shards' runs: a folder, or the file of `features`. Afterwards it is what one run over the whole
/// collection would have written: predictions.jsonl, coco.json, report.html and what else was saved. Masks and what lies beside
/// them are further names (hard links) of the shards' files, so that OUT/shards may be removed then. Nothing is written
/// unless every shard is finished and all were made with the same checkpoint, settings and program; else what is missing is
/// named, and the exit code is 4.
#[derive(Debug, Args)]
pub struct MergeArguments {
    /// What was --out of the shards' runs
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The plan of the shards [default: the one that they name]
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// From 0 to 1: the share of bad images with which the merge still ends well; with more it ends with code 4
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    max_bad: f64,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    talk: TalkArguments,
}

pub fn run(arguments: &MergeArguments) -> anyhow::Result<Done> {
    let request = MergeRequest {
        out: arguments.out.clone(),
        plan: arguments.plan.clone(),
        max_bad: arguments.max_bad,
        wait: arguments.wait.duration(),
    };
    let reporter = Reporter::new(&arguments.talk);
    let summary = pipeline::merge(&request, &reporter)?;
    reporter.result(&sentence(&summary), &summary)?;
    Ok(Done { skipped: summary.skipped > 0 })
}

/// The last line of a run.
fn sentence(summary: &MergeSummary) -> String {
    let (shards, images) = (counted(summary.shards as u64, "shard"), counted(summary.images, "image"));
    let mut text = format!("merged {shards} with all of {images}");
    if let Some(rows) = summary.rows {
        text += &format!(", {}", counted(rows, "row"));
    }
    if summary.skipped > 0 {
        text += &format!(", {} skipped", summary.skipped);
    }
    if summary.copied > 0 {
        text += &format!("; {} copied, as the file system gives no file two names", counted(summary.copied, "file"));
    }
    format!("{text}; results: {}", summary.out.display())
}
