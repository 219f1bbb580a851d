//! `deepcut segment`

use clap::{Args, ValueEnum};
use deepcut::pipeline::{self, PerImageMethod, SegmentRequest};

use super::errors::WrongUsage;
use super::predict::{PredictArguments, report};
use super::settings::{SettingsArguments, name};
use super::{Done, Reporter};

/// Segment images without training first, each by itself: a small network is optimised on it, as in the paper
///
/// Writes the same files as `deepcut infer`. Slower, and every image decides by itself what its background is; labels do
/// not mean the same from image to image.
#[derive(Debug, Args)]
pub struct SegmentArguments {
    #[command(flatten)]
    predict: PredictArguments,
    #[command(flatten)]
    settings: SettingsArguments,
    /// How an image is segmented [default: spectral with a transformer and nothing set that only gnn knows, else gnn]
    #[arg(long, value_enum)]
    method: Option<MethodArgument>,
    /// gnn only, which it chooses: steps of the optimiser per image [default: 10]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodArgument {
    /// A graph network optimised on the image
    Gnn,
    /// The second eigenvector of the normalised cut, as in TokenCut
    Spectral,
    /// Into regions, by a small network that learns to tell the image's own patches apart, with graph cuts between rounds,
    /// as in GraPL; without a backbone
    Grapl,
    /// Into regions, by SLIC and one graph cut; without a backbone
    SlicCut,
}

pub fn run(arguments: &SegmentArguments) -> anyhow::Result<Done> {
    let method = arguments.method.map(|method| format!("segment.method={}", name(&method)));
    let epochs = arguments.epochs.map(|epochs| format!("segment.epochs={epochs}"));
    let further = method.into_iter().chain(epochs).chain(arguments.predict.overrides());
    let config = arguments.settings.resolve("segment", further)?;
    if config.segment.method() != PerImageMethod::Gnn && arguments.epochs.is_some() {
        let method = config.segment.method().name();
        return Err(WrongUsage(format!("--method {method} has no epochs; leave out --epochs")).into());
    }
    let request = SegmentRequest {
        predict: arguments.predict.request(),
        weights: arguments.settings.weights.clone(),
        machine: arguments.predict.machine.open()?,
    };
    let reporter = Reporter::new(&arguments.predict.talk);
    let summary = pipeline::segment(config, &request, &reporter)?;
    report(&reporter, &summary)
}
