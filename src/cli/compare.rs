//! `deepcut backbone compare`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use deepcut::config;
use deepcut::pipeline::{self, CompareRequest, CompareSummary, Division, PipelineError};

use super::pixels::{AlphaArgument, PixelArguments};
use super::settings::{ResizeOverrides, resize_overrides};
use super::{DataArguments, Done, MachineArguments, Reporter, TalkArguments, counted};

/// Hold several backbones against ground truth on the same images
///
/// Every image is segmented by itself, as `deepcut segment` does, by every backbone and every objective. The table has their
/// mean IoU as `deepcut eval --task objects` computes it and, for cc, the share of affinities that are not positive. A
/// backbone that cannot be used is said in its row, and in the exit code; the others go on.
#[derive(Debug, Args)]
pub struct CompareArguments {
    #[command(flatten)]
    data: DataArguments,
    /// The ground truth: a folder of PNG label maps, or a COCO JSON file with masks
    #[arg(long, value_name = "DIR_OR_JSON")]
    truth: PathBuf,
    /// What to compare, with commas between: files of weights, names of `deepcut backbone list`, and superpixel or pixel
    #[arg(long, value_name = "LIST", value_delimiter = ',', required = true)]
    weights: Vec<String>,
    /// How graphs are divided
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ncut,cc,association,spectral")]
    objective: Vec<DivisionArgument>,
    /// Most images, chosen at random by the seed among those with ground truth; 0 takes all
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: usize,
    /// The value of undecided pixels in label maps, which count nowhere (255 in Pascal VOC)
    #[arg(long, value_name = "VALUE")]
    void: Option<u32>,
    /// The values of the foreground in label maps [default: every value but 0]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    foreground_class: Vec<u32>,
    /// Write the table to a CSV file as well
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// A configuration file (TOML); flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting by its key, for all backbones; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// How a transformer's input is resized: square:280, short:224 or keep [default: square:280]
    #[arg(long, value_name = "HOW", value_parser = resize_overrides)]
    resize: Option<ResizeOverrides>,
    #[command(flatten)]
    pixels: PixelArguments,
    #[command(flatten)]
    alpha: AlphaArgument,
    /// Seed of everything random [default: 0]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    #[command(flatten)]
    machine: MachineArguments,
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DivisionArgument {
    /// A graph network by the paper's normalised cut
    Ncut,
    /// A graph network by correlation clustering
    Cc,
    /// A graph network by normalised association
    Association,
    /// The second eigenvector of the normalised cut
    Spectral,
}

impl From<DivisionArgument> for Division {
    fn from(argument: DivisionArgument) -> Self {
        match argument {
            DivisionArgument::Ncut => Division::Ncut,
            DivisionArgument::Cc => Division::Cc,
            DivisionArgument::Association => Division::Association,
            DivisionArgument::Spectral => Division::Spectral,
        }
    }
}

impl CompareArguments {
    /// The settings for some weights: published ones have their own where nothing else is said.
    fn resolve(&self, weights: Option<&Path>) -> Result<config::Settings, PipelineError> {
        let seed = self.seed.map(|seed| format!("segment.seed={seed}"));
        let resize = self.resize.iter().flat_map(|resize| resize.0.clone());
        let pixels = self.pixels.overrides().chain(self.alpha.overrides()).chain(self.data.overrides());
        let overrides: Vec<String> = self.overrides.iter().cloned().chain(seed).chain(resize).chain(pixels).collect();
        let known = |settings: &config::Settings| match weights {
            Some(_) => pipeline::known_settings(settings, weights),
            None => Vec::new(),
        };
        config::resolve_over(known, self.config.as_deref(), &overrides).map_err(PipelineError::from)
    }
}

pub fn run(arguments: &CompareArguments) -> anyhow::Result<Done> {
    let mut divisions: Vec<Division> = Vec::new();
    for division in arguments.objective.iter().map(|&division| division.into()) {
        if !divisions.contains(&division) {
            divisions.push(division);
        }
    }
    let request = CompareRequest {
        data: arguments.data.sources(),
        truth: arguments.truth.clone(),
        backbones: arguments.weights.clone(),
        divisions,
        limit: arguments.limit,
        void: arguments.void,
        foreground_classes: arguments.foreground_class.clone(),
        csv: arguments.csv.clone(),
        machine: arguments.machine.open()?,
    };
    let reporter = Reporter::new(&arguments.talk);
    let summary = pipeline::compare(&|weights| arguments.resolve(weights), &request, &reporter)?;
    reporter.result(&table(&summary), &summary)?;
    match summary.failure {
        Some(error) => Err(error.into()),
        None => Ok(Done { skipped: !summary.skipped.is_empty() }),
    }
}

/// The table, and below it what its numbers mean.
fn table(summary: &CompareSummary) -> String {
    let width = summary.rows.iter().map(|row| row.backbone.chars().count()).max().unwrap_or(0).max("backbone".len());
    let percent = |share: Option<f64>| share.map_or("-".to_string(), |share| format!("{:.2} %", 100.0 * share));
    let mut text = format!(
        "{:<width$}  {:<11}  {:>6}  {:>8}  {:>8}  {:>8}",
        "backbone", "objective", "images", "miou", "accuracy", "negative"
    );
    for row in &summary.rows {
        let [miou, accuracy, negative] = [row.miou, row.accuracy, row.negative_share].map(percent);
        text += &format!(
            "\n{:<width$}  {:<11}  {:>6}  {miou:>8}  {accuracy:>8}  {negative:>8}",
            row.backbone,
            row.division.name(),
            row.images
        );
        if let Some(failure) = &row.failure {
            text += &format!("  {failure}");
        }
    }
    text += "\n";
    if !summary.definition.is_empty() {
        text += &format!("\nmiou: {}", summary.definition);
    }
    text += "\naccuracy: mean over images of the share of pixels whose foreground or background is right";
    text +=
        "\nnegative: correlation clustering only, mean over images of the share of affinities that are not positive";
    if !summary.skipped.is_empty() {
        text += &format!("\n{} skipped", counted(summary.skipped.len() as u64, "image"));
    }
    text
}
