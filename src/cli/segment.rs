//! `deepcut segment`

use clap::Args;
use deepcut::pipeline::{self, SegmentRequest};

use super::predict::{PredictArguments, report};
use super::settings::SettingsArguments;
use super::{Done, Reporter};

/// Segment images without training first: a small network is optimised on each image by itself, as in the paper
///
/// Writes the same files as `deepcut infer`. Slower, and every image decides by itself what its background is; labels do
/// not mean the same from image to image.
#[derive(Debug, Args)]
pub struct SegmentArguments {
    #[command(flatten)]
    predict: PredictArguments,
    #[command(flatten)]
    settings: SettingsArguments,
    /// Steps of the optimiser per image [default: 10]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
}

pub fn run(arguments: &SegmentArguments) -> anyhow::Result<Done> {
    let epochs = arguments.epochs.map(|epochs| format!("segment.epochs={epochs}"));
    let further = epochs.into_iter().chain(arguments.predict.assignments());
    let config = arguments.settings.resolve("segment", further)?;
    let request = SegmentRequest {
        predict: arguments.predict.request(),
        weights: arguments.settings.weights.clone(),
        machine: (&arguments.predict.machine).into(),
    };
    let reporter = Reporter::new(&arguments.predict.talk);
    let summary = pipeline::segment(config, &request, &reporter)?;
    report(&reporter, &summary)
}
