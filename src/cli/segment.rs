//! `deepcut segment`

use clap::Args;
use deepcut::pipeline::{self, SegmentRequest};

use super::predict::{PredictArguments, sentence};
use super::settings::{SettingsArguments, refine_assignment};
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
    let further = vec![epochs, refine_assignment(arguments.predict.refine)];
    let config = arguments.settings.resolve("segment", further)?;
    let request = SegmentRequest {
        predict: arguments.predict.request(),
        weights: arguments.settings.weights.clone(),
        device: arguments.predict.machine.device.into(),
        threads: arguments.predict.machine.threads,
    };
    let reporter = Reporter::new(&arguments.predict.talk);
    let summary = pipeline::segment(config, &request, &reporter)?;
    reporter.result(&sentence(&summary), &summary)?;
    Ok(Done { skipped: summary.skipped > 0 })
}
