//! The flags that stand for settings, the same for every subcommand that runs a network of its own.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use deepcut::config::{self, Settings};
use deepcut::features::BackboneChoice;
use deepcut::pipeline::{self, PipelineError};

use super::pixels::{AlphaArgument, PixelArguments};

#[derive(Debug, Args)]
pub struct SettingsArguments {
    /// A configuration file (TOML); flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting by its key, for example --set vit.stride=4; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// What turns images into features; auto is vit when weights are given or installed, else superpixel
    /// [default: auto]
    #[arg(long, value_parser = PossibleValuesParser::new(BackboneChoice::NAMES))]
    backbone: Option<String>,
    /// Weights of a vision transformer: a file, or a name of `deepcut backbone list`
    #[arg(long, value_name = "FILE|NAME")]
    pub weights: Option<PathBuf>,
    /// Clustering objective: normalised association, the paper's normalised cut, or correlation clustering, which
    /// chooses the number of clusters [default: association for train, with a transformer its parts by cc; ncut for
    /// segment]
    #[arg(long, value_parser = ["association", "ncut", "cc"])]
    objective: Option<String>,
    /// Number of clusters; for cc the most there may be [default: 2, for cc 10]
    #[arg(long, value_name = "K")]
    clusters: Option<usize>,
    /// Divide objects into K parts with a second network (2 or more; the paper uses 4) [default: none]
    #[arg(long, value_name = "K")]
    parts: Option<usize>,
    /// Divide the background into K parts likewise [default: none]
    #[arg(long, value_name = "K")]
    background_parts: Option<usize>,
    /// How a transformer's input is resized: square:280 (280×280 pixels), short:224 (shorter side 224, aspect kept) or
    /// keep [default: square:280]
    #[arg(long, value_name = "HOW", value_parser = resize_overrides)]
    resize: Option<ResizeOverrides>,
    #[command(flatten)]
    pixels: PixelArguments,
    #[command(flatten)]
    alpha: AlphaArgument,
    /// Seed of everything random [default: 0]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
}

impl SettingsArguments {
    /// The configuration that was asked for. `room` holds the seed; `further` flags come last.
    pub fn resolve(&self, room: &str, further: impl IntoIterator<Item = String>) -> Result<Settings, PipelineError> {
        let flags = [
            self.backbone.as_ref().map(|backbone| format!("backbone={backbone}")),
            self.objective.as_ref().map(|objective| format!("objective.kind={objective}")),
            self.clusters.map(|clusters| format!("model.clusters={clusters}")),
            self.parts.map(|parts| format!("parts.foreground={parts}")),
            self.background_parts.map(|parts| format!("parts.background={parts}")),
            self.seed.map(|seed| format!("{room}.seed={seed}")),
        ];
        let resize = self.resize.iter().flat_map(|resize| resize.0.clone());
        let pixels = self.pixels.overrides().chain(self.alpha.overrides());
        let flags = flags.into_iter().flatten().chain(resize).chain(pixels).chain(further);
        let overrides: Vec<String> = self.overrides.iter().cloned().chain(flags).collect();
        let known = |settings: &Settings| pipeline::known_settings(settings, self.weights.as_deref());
        config::resolve_over(known, self.config.as_deref(), &overrides).map_err(PipelineError::from)
    }
}

/// The settings that a --resize flag stands for.
#[derive(Debug, Clone)]
pub struct ResizeOverrides(pub Vec<String>);

pub fn resize_overrides(text: &str) -> Result<ResizeOverrides, String> {
    let (how, side) = text.split_once(':').map_or((text, None), |(how, side)| (how, Some(side)));
    match (how, side) {
        ("square" | "short", Some(side)) if side.parse::<usize>().is_ok() => {
            Ok(ResizeOverrides(vec![format!("vit.resize={how}"), format!("vit.input_side={side}")]))
        }
        ("keep", None) => Ok(ResizeOverrides(vec!["vit.resize=keep".into()])),
        _ => Err("write square:280, short:224 or keep".into()),
    }
}

/// How a value is written on the command line, which is how configurations write it too.
pub fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
}
