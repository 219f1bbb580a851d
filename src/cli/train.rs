//! `deepcut train`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use deepcut::config;
use deepcut::pipeline::{self, TrainRequest, TrainSummary};

use super::{Done, MachineArguments, Reporter, TalkArguments, counted};

/// Train one network on a whole collection of images
///
/// Writes OUT/best.safetensors, which `deepcut infer` reads, and beside it a log and a cache of features. An interrupted
/// run continues with --resume and gives the same checkpoint as an uninterrupted one.
#[derive(Debug, Args)]
pub struct TrainArguments {
    /// A folder (searched with its sub-folders), a text file with one image per line, or one image
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Where the checkpoint goes [default: checkpoints/<name of PATH>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A configuration file (TOML); flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting by its key, for example --set train.batch_size=8; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// What turns images into features; auto is vit when weights are given or installed, else superpixel
    /// [default: auto]
    #[arg(long, value_enum)]
    backbone: Option<BackboneArgument>,
    /// Weights of a vision transformer: .safetensors with timm or DINO names, or a PyTorch .pth
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Clustering objective: normalised cut, or correlation clustering, which chooses the number of clusters
    /// [default: ncut]
    #[arg(long, value_enum)]
    objective: Option<ObjectiveArgument>,
    /// Number of clusters; for cc the most there may be [default: 2 for ncut, 10 for cc]
    #[arg(long, value_name = "K")]
    clusters: Option<usize>,
    /// Passes over the collection [default: 60]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Seed of everything random [default: 0]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Continue an interrupted run
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    machine: MachineArguments,
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum BackboneArgument {
    Auto,
    Superpixel,
    Pixel,
    Vit,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ObjectiveArgument {
    Ncut,
    Cc,
}

impl TrainArguments {
    /// The flags as the settings they stand for, after those of --set.
    fn assignments(&self) -> Vec<String> {
        let named = |value: &dyn Fn() -> Option<String>, key: &str| value().map(|value| format!("{key}={value}"));
        let possible = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_string());
        let flags = [
            named(&|| possible(self.backbone.and_then(|backbone| backbone.to_possible_value())), "backbone"),
            named(&|| possible(self.objective.and_then(|objective| objective.to_possible_value())), "objective.kind"),
            named(&|| self.clusters.map(|clusters| clusters.to_string()), "model.clusters"),
            named(&|| self.epochs.map(|epochs| epochs.to_string()), "train.epochs"),
            named(&|| self.seed.map(|seed| seed.to_string()), "train.seed"),
        ];
        self.assignments.iter().cloned().chain(flags.into_iter().flatten()).collect()
    }
}

pub fn run(arguments: &TrainArguments) -> anyhow::Result<Done> {
    let config = config::resolve(arguments.config.as_deref(), &arguments.assignments())
        .map_err(pipeline::PipelineError::from)?;
    let request = TrainRequest {
        data: arguments.data.clone(),
        out: arguments.out.clone(),
        weights: arguments.weights.clone(),
        device: arguments.machine.device.into(),
        threads: arguments.machine.threads,
        resume: arguments.resume,
    };
    let reporter = Reporter::new(&arguments.talk);
    let summary = pipeline::train(config, &request, &reporter)?;
    reporter.result(&sentence(&summary), &summary)?;
    Ok(Done { skipped: !summary.skipped.is_empty() })
}

/// The last line of a run.
fn sentence(summary: &TrainSummary) -> String {
    let skipped = match summary.skipped.len() {
        0 => String::new(),
        count => format!(", {} skipped", counted(count as u64, "image")),
    };
    let verb = if summary.already_finished { "was trained" } else { "trained" };
    format!(
        "{verb} on {}{skipped}; best epoch {} of {} (held-out loss {:+.4}); checkpoint: {}",
        counted(summary.images as u64, "image"),
        summary.best_epoch,
        summary.epochs,
        summary.held_out_loss,
        summary.checkpoint.display()
    )
}
