//! `deepcut train`

use std::path::PathBuf;

use clap::Args;
use deepcut::pipeline::{self, RegionsSummary, StageSummary, TrainRequest, TrainSummary};

use super::settings::SettingsArguments;
use super::{DataArguments, Done, MachineArguments, Reporter, TalkArguments, WaitArguments, counted};

/// Train one network on a whole collection of images
///
/// Writes OUT/best.safetensors, which `deepcut infer` reads, and beside it a log and a cache of features. An interrupted
/// run continues with --resume and gives the same checkpoint as an uninterrupted one.
#[derive(Debug, Args)]
pub struct TrainArguments {
    #[command(flatten)]
    data: DataArguments,
    /// Where the checkpoint goes [default: checkpoints/<name of PATH>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArguments,
    /// Instead of a network for objects learn one code book of K kinds of regions (2 to 255), by which `deepcut infer` divides
    /// whole images [default without a number: 32]
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = "32",
        value_parser = clap::value_parser!(u8).range(2..),
        conflicts_with_all = ["epochs", "objective", "clusters", "parts", "background_parts"])]
    regions: Option<u8>,
    /// Passes over the collection, in every round [default: 60]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// From 0 to 1: the share of bad images with which a run still ends well; with more it ends with code 4 [default: 0.5]
    #[arg(long, value_name = "SHARE")]
    max_bad: Option<f64>,
    /// Continue an interrupted run
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    machine: MachineArguments,
    #[command(flatten)]
    talk: TalkArguments,
}

pub fn run(arguments: &TrainArguments) -> anyhow::Result<Done> {
    let epochs = arguments.epochs.map(|epochs| format!("train.epochs={epochs}"));
    let max_bad = arguments.max_bad.map(|share| format!("data.max_bad={share:?}"));
    let regions = arguments.regions.map(|labels| format!("regions.labels={labels}"));
    let flags = epochs.into_iter().chain(max_bad).chain(regions).chain(arguments.data.overrides());
    let config = arguments.settings.resolve("train", flags)?;
    let request = TrainRequest {
        data: arguments.data.sources(),
        out: arguments.out.clone(),
        weights: arguments.settings.weights.clone(),
        machine: arguments.machine.open()?,
        resume: arguments.resume,
        wait: arguments.wait.duration(),
    };
    let reporter = Reporter::new(&arguments.talk);
    if config.regions.labels > 0 {
        let summary = pipeline::train_regions(config, &request, &reporter)?;
        reporter.result(&regions_sentence(&summary), &summary)?;
        return Ok(Done { skipped: !summary.skipped.is_empty() });
    }
    let summary = pipeline::train(config, &request, &reporter)?;
    reporter.result(&sentence(&summary), &summary)?;
    Ok(Done { skipped: !summary.skipped.is_empty() })
}

/// The last line of a run that learned a code book.
fn regions_sentence(summary: &RegionsSummary) -> String {
    let skipped = match summary.skipped.len() {
        0 => String::new(),
        count => format!(", {} skipped", counted(count as u64, "image")),
    };
    let verb = if summary.already_finished { "had learned" } else { "learned" };
    let RegionsSummary { images, patches, labels, checkpoint, .. } = summary;
    format!(
        "{verb} {} of regions from {patches} patches of {}{skipped}; checkpoint: {}",
        counted(*labels as u64, "kind"),
        counted(*images as u64, "image"),
        checkpoint.display()
    )
}

/// The last line of a run.
fn sentence(summary: &TrainSummary) -> String {
    let skipped = match summary.skipped.len() {
        0 => String::new(),
        count => format!(", {} skipped", counted(count as u64, "image")),
    };
    let verb = if summary.already_finished { "was trained" } else { "trained" };
    let stage = |stage: &StageSummary| {
        let StageSummary { best_epoch, epochs, held_out_loss, .. } = stage;
        format!("epoch {best_epoch} of {epochs} kept (held-out loss {held_out_loss:+.4})")
    };
    let mut text =
        format!("{verb} on {}{skipped}; {}", counted(summary.objects.images as u64, "image"), stage(&summary.objects));
    for (name, parts) in [("parts", &summary.parts), ("background parts", &summary.background_parts)] {
        if let Some(parts) = parts {
            text += &format!("; {name}: {}", stage(parts));
        }
    }
    if let Some(verdict) = summary.verdict.as_ref().filter(|verdict| verdict.trusted) {
        text += &format!("; {}", verdict.sentence);
    }
    format!("{text}; checkpoint: {}", summary.checkpoint.display())
}
