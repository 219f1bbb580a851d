//! `deepcut features`

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use deepcut::config;
use deepcut::features::BackboneChoice;
use deepcut::pipeline::{self, Described, FeaturesRequest, FeaturesSummary, NumberType, PipelineError};

use super::pixels::{AlphaArgument, PixelArguments};
use super::predict::of_shard;
use super::settings::{ResizeOverrides, resize_overrides};
use super::{Done, InputArguments, MachineArguments, Reporter, TalkArguments, WaitArguments, counted};

/// Write the features of a collection to one file for other tools
///
/// FILE holds one matrix (in safetensors the tensor `features`): a row for every patch, image after image in the order of
/// their paths, or with --of images one for every image. FILE.index.jsonl has a line for every image: its path, its first
/// row, its number of rows and the rows and columns of its grid. An interrupted run goes on where it was when the command is
/// repeated. Features are as `train` would see them; --config configs/paper.toml gives those of the paper.
#[derive(Debug, Args)]
pub struct FeaturesArguments {
    #[command(flatten)]
    data: InputArguments,
    /// Where the features go: a .npy or .safetensors file; that of a shard goes into shards/ beside it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What is described
    #[arg(long = "of", value_enum, default_value_t = OfArgument::Patches)]
    described: OfArgument,
    /// What the numbers are written as
    #[arg(long, value_enum, default_value_t = NumberArgument::F32)]
    dtype: NumberArgument,
    /// The features that this trained network sees
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "overrides", "backbone", "resize", "bands", "range", "alpha", "nodata"])]
    ckpt: Option<PathBuf>,
    /// A configuration file (TOML); flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting by its key, for example --set vit.facet=token; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// What turns images into features; auto is vit when weights are given or installed, else superpixel
    /// [default: auto]
    #[arg(long, value_parser = PossibleValuesParser::new(BackboneChoice::NAMES))]
    backbone: Option<String>,
    /// Weights of a vision transformer: a file, or a name of `deepcut backbone list`
    #[arg(long, value_name = "FILE|NAME")]
    weights: Option<PathBuf>,
    /// How a transformer's input is resized: square:280, short:224 or keep [default: square:280]
    #[arg(long, value_name = "HOW", value_parser = resize_overrides)]
    resize: Option<ResizeOverrides>,
    #[command(flatten)]
    pixels: PixelArguments,
    #[command(flatten)]
    alpha: AlphaArgument,
    /// From 0 to 1: the share of bad images with which a run still ends well; with more it ends with code 4 [default: 0.5]
    #[arg(long, value_name = "SHARE")]
    max_bad: Option<f64>,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    machine: MachineArguments,
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OfArgument {
    /// Patches of a transformer, superpixels or pixels: one row for each
    Patches,
    /// One row per image: the transformer's class token, without weights statistics of colours
    Images,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NumberArgument {
    /// Single precision
    F32,
    /// Half precision
    F16,
}

impl FeaturesArguments {
    fn resolve(&self) -> Result<config::Settings, PipelineError> {
        let flags = [
            self.backbone.as_ref().map(|backbone| format!("backbone={backbone}")),
            self.max_bad.map(|share| format!("data.max_bad={share:?}")),
        ];
        let resize = self.resize.iter().flat_map(|resize| resize.0.clone());
        let pixels = self.pixels.overrides().chain(self.alpha.overrides()).chain(self.data.overrides());
        let flags = flags.into_iter().flatten().chain(resize).chain(pixels);
        let overrides: Vec<String> = self.overrides.iter().cloned().chain(flags).collect();
        let known = |settings: &config::Settings| pipeline::known_settings(settings, self.weights.as_deref());
        config::resolve_over(known, self.config.as_deref(), &overrides).map_err(PipelineError::from)
    }
}

pub fn run(arguments: &FeaturesArguments) -> anyhow::Result<Done> {
    let settings = arguments.resolve()?;
    let request = FeaturesRequest {
        data: arguments.data.input(),
        out: arguments.out.clone(),
        described: match arguments.described {
            OfArgument::Patches => Described::Patches,
            OfArgument::Images => Described::Images,
        },
        numbers: match arguments.dtype {
            NumberArgument::F32 => NumberType::F32,
            NumberArgument::F16 => NumberType::F16,
        },
        weights: arguments.weights.clone(),
        checkpoint: arguments.ckpt.clone(),
        machine: arguments.machine.open()?,
        wait: arguments.wait.duration(),
    };
    let reporter = Reporter::new(&arguments.talk);
    let summary = pipeline::features(&settings, &request, &reporter)?;
    reporter.result(&sentence(&summary), &summary)?;
    Ok(Done { skipped: !summary.skipped.is_empty() })
}

/// The last line of a run.
fn sentence(summary: &FeaturesSummary) -> String {
    let (shard, was_finished) = summary.shard.map_or((String::new(), false), |shard| of_shard(&shard));
    let mut text = format!("{shard}described {}", counted(summary.images, "image"));
    if was_finished {
        text = format!("{shard}nothing to do");
    }
    if summary.resumed > 0 {
        text += &format!(", {} already done", summary.resumed);
    }
    if !summary.skipped.is_empty() {
        text += &format!(", {} skipped", summary.skipped.len());
    }
    let (rows, numbers) = (counted(summary.rows, "row"), summary.numbers.name());
    let (out, index) = (summary.out.display(), summary.index.display());
    let width = counted(summary.width as u64, "number");
    format!("{text}; {rows} of {width} in {numbers}: {out}, which row is of which image: {index}")
}
