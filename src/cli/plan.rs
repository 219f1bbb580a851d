//! `deepcut plan`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use deepcut::config;
use deepcut::pipeline::{self, Balance, PlanRequest, PlanSummary};

use super::{DataArguments, Done, Reporter, TalkArguments, counted};

/// Cut a collection into shards, for machines that share the work
///
/// Lists the collection once, as every command searches it, and cuts the list into N ranges of neighbouring images. Writes
/// FILE, which says where every shard begins, and beside it the list with one line per image (plan.images.jsonl for plan.json).
/// `infer`, `segment` and `features` then do one shard each with --plan FILE --shard I, I from 0 to N - 1; `merge` makes
/// one result of all. The same collection gives the same plan; repeated, the command says what has changed since.
#[derive(Debug, Args)]
pub struct PlanArguments {
    #[command(flatten)]
    data: DataArguments,
    /// How many shards
    #[arg(long, value_name = "N")]
    shards: usize,
    /// What shards have about equally much of
    #[arg(long, value_enum, default_value_t = BalanceArgument::Files)]
    by: BalanceArgument,
    /// Where the plan goes, such as plan.json
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a plan of other images or shards
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum BalanceArgument {
    /// Images
    Files,
    /// Bytes of the images' files: they take as long to read
    Bytes,
}

pub fn run(arguments: &PlanArguments) -> anyhow::Result<Done> {
    let overrides: Vec<String> = arguments.data.overrides().collect();
    let request = PlanRequest {
        data: arguments.data.sources(),
        out: arguments.out.clone(),
        shards: arguments.shards,
        by: match arguments.by {
            BalanceArgument::Files => Balance::Files,
            BalanceArgument::Bytes => Balance::Bytes,
        },
        search: config::resolve(None, &overrides).map_err(pipeline::PipelineError::from)?.data,
        overwrite: arguments.overwrite,
    };
    let reporter = Reporter::new(&arguments.talk);
    let summary = pipeline::plan(&request, &reporter)?;
    reporter.result(&sentence(&summary), &summary)?;
    Ok(Done { skipped: summary.skipped > 0 })
}

/// The last line of a run.
fn sentence(summary: &PlanSummary) -> String {
    let [least, most] = summary.images_per_shard;
    let each = if least == most { least.to_string() } else { format!("{least} to {most}") };
    let (images, shards) = (counted(summary.images, "image"), counted(summary.shards as u64, "shard"));
    let verb = if summary.was_there { "as it was: " } else { "" };
    let skipped = match summary.skipped {
        0 => String::new(),
        skipped => format!(", {skipped} of them to be skipped"),
    };
    let (out, list) = (summary.out.display(), summary.list.display());
    format!("{verb}{images} in {shards} of {each}{skipped}; plan: {out}, list of images: {list}")
}
