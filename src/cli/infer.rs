//! `deepcut infer`

use std::path::PathBuf;

use clap::Args;
use deepcut::pipeline::{self, InferRequest};

use super::predict::{PredictArguments, report};
use super::{Done, Reporter};

/// Segment new images with a trained network, one pass each
///
/// Writes under OUT: masks/ (8-bit indexed PNG of the original size, 0 is background; labels.json names the values),
/// overlays/ (pictures for people), predictions.jsonl (one line per image), and what else --save names. What is already
/// done with the same checkpoint is kept.
#[derive(Debug, Args)]
pub struct InferArguments {
    /// The checkpoint that `deepcut train` wrote
    #[arg(long, value_name = "FILE")]
    ckpt: PathBuf,
    /// The weights the checkpoint was trained with, if it was trained on a vision transformer [default: those of `deepcut
    /// backbone` with the hash that it names]
    #[arg(long, value_name = "FILE|NAME")]
    weights: Option<PathBuf>,
    /// A setting under refine, objects, output or pixels, for example --set refine.largest_component=true; may be
    /// repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    #[command(flatten)]
    predict: PredictArguments,
}

pub fn run(arguments: &InferArguments) -> anyhow::Result<Done> {
    let request = InferRequest {
        checkpoint: arguments.ckpt.clone(),
        predict: arguments.predict.request(),
        weights: arguments.weights.clone(),
        overrides: arguments.overrides.iter().cloned().chain(arguments.predict.overrides()).collect(),
        machine: arguments.predict.machine.open()?,
    };
    let reporter = Reporter::new(&arguments.predict.talk);
    let summary = pipeline::infer(&request, &reporter)?;
    report(&reporter, &summary)
}
