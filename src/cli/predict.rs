//! What `infer` and `segment` have in common: where images come from, where results go, and the last line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use deepcut::pipeline::{PredictRequest, PredictSummary, SaveKinds};

use super::settings::RefineArgument;
use super::{MachineArguments, TalkArguments, counted};

#[derive(Debug, Args)]
pub struct PredictArguments {
    /// A folder (searched with its sub-folders), a text file with one image per line, or one image
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Where the results go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which pictures to write besides predictions.jsonl; what is done already is recognised by its mask
    #[arg(long, value_enum, value_delimiter = ',', default_value = "masks,overlays")]
    save: Vec<SaveArgument>,
    /// Fit masks to the edges of their images with the bilateral solver, DeepCut's or TokenCut's settings
    /// [default: the configuration's, which is none unless set]
    #[arg(long, value_enum)]
    pub refine: Option<RefineArgument>,
    /// Do again what is already done
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    pub machine: MachineArguments,
    #[command(flatten)]
    pub talk: TalkArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SaveArgument {
    Masks,
    Overlays,
}

impl PredictArguments {
    pub fn request(&self) -> PredictRequest {
        PredictRequest {
            data: self.data.clone(),
            out: self.out.clone(),
            save: SaveKinds {
                masks: self.save.contains(&SaveArgument::Masks),
                overlays: self.save.contains(&SaveArgument::Overlays),
            },
            overwrite: self.overwrite,
        }
    }
}

/// The last line of a run.
pub fn sentence(summary: &PredictSummary) -> String {
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
    if let (Some(clusters), Some(negative)) = (summary.mean_clusters, summary.mean_negative_share) {
        text += &format!("; {clusters:.1} clusters per image, {:.1} % of affinities negative", 100.0 * negative);
    }
    format!("{text}; results: {}", summary.out.display())
}
