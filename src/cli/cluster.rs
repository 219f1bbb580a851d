//! `deepcut cluster`

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use deepcut::config;
use deepcut::features::BackboneChoice;
use deepcut::pipeline::{self, ClusterRequest, ClusterSummary, LayOut, PipelineError};

use super::pixels::PixelArguments;
use super::settings::{ResizeOverrides, name, resize_overrides};
use super::{Done, MachineArguments, Reporter, SearchArguments, TalkArguments, WaitArguments, counted};

/// Group a collection of images without saying into how many groups
///
/// Writes under OUT: assignments.csv (path, cluster, confidence), summary.json, report.html (clusters, their images and a
/// map of the collection: open it in a browser) and clusters.safetensors, which puts new
/// images into the same clusters: deepcut cluster --ckpt OUT/clusters.safetensors --data NEW --out OUT2. Vectors of
/// images are kept in OUT/cache, so that a repeated run is quick.
#[derive(Debug, Args)]
pub struct ClusterArguments {
    /// A folder (searched with its sub-folders), a list of images (text with one path per line, CSV with a column of paths,
    /// JSON), a tar or Parquet file of images, or one image; may be repeated, and braces stand for several
    /// ('shards/{000..099}.tar'). In a build with the feature remote also s3://, gs://, az:// and https:// addresses of these
    #[arg(long, value_name = "PATH", required_unless_present = "features")]
    data: Vec<PathBuf>,
    #[command(flatten)]
    search: SearchArguments,
    /// Where the results go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Put images into the clusters of this file instead of finding new ones
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bands", "range", "nodata"])]
    ckpt: Option<PathBuf>,
    /// Vectors from elsewhere, a .npy or .safetensors matrix with one row per image in the order of their paths
    #[arg(long, value_name = "FILE", conflicts_with_all = ["weights", "bands", "range", "nodata"])]
    features: Option<PathBuf>,
    /// A configuration file (TOML); flags win over it
    #[arg(long, value_name = "FILE", conflicts_with = "ckpt")]
    config: Option<PathBuf>,
    /// Any setting by its key, for example --set cluster.restarts=8; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "ckpt")]
    overrides: Vec<String>,
    /// What turns images into vectors; auto is vit when weights are given or installed, else superpixel
    /// [default: auto]
    #[arg(long, value_parser = PossibleValuesParser::new(BackboneChoice::NAMES), conflicts_with_all = ["ckpt", "features"])]
    backbone: Option<String>,
    /// Weights of a vision transformer: a file, or a name of `deepcut backbone list`
    #[arg(long, value_name = "FILE|NAME")]
    weights: Option<PathBuf>,
    /// How a transformer's input is resized: square:280, short:224 or keep [default: square:280]
    #[arg(long, value_name = "HOW", value_parser = resize_overrides, conflicts_with_all = ["ckpt", "features"])]
    resize: Option<ResizeOverrides>,
    #[command(flatten)]
    pixels: PixelArguments,
    /// What groups images [default: correlation]
    #[arg(long, value_enum, conflicts_with = "ckpt")]
    method: Option<MethodArgument>,
    /// Correlation only: at least 1, smaller gives more clusters [default: 3]
    #[arg(long, value_name = "A", conflicts_with = "ckpt")]
    alpha: Option<f64>,
    /// Most clusters (correlation, spectral), or how many (kmeans) [default: no limit for correlation, 10 for spectral]
    #[arg(long, value_name = "K", conflicts_with = "ckpt")]
    clusters: Option<usize>,
    /// Correlation and kmeans: fresh starts, of which the one with the lowest objective is kept [default: 4]
    #[arg(long, value_name = "N", conflicts_with = "ckpt")]
    restarts: Option<usize>,
    /// Correlation only: steps of the optimiser in every restart [default: 200, fewer for more than 4000 images]
    #[arg(long, value_name = "N", conflicts_with = "ckpt")]
    epochs: Option<usize>,
    /// Seed of everything random [default: 0]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64), conflicts_with = "ckpt")]
    seed: Option<u64>,
    /// Show the clusters and the objective for a range of alpha, and where they are stable
    #[arg(long, conflicts_with = "ckpt")]
    alpha_sweep: bool,
    /// A table with the classes of images, to score the clusters against: CSV, or with ; or tabs for commas
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The column with the classes (its number where the first line names no columns); needed if there are more than two and
    /// none is called label or class
    #[arg(long, value_name = "NAME", requires = "labels")]
    label_column: Option<String>,
    /// From 0 to 1: the share of bad images with which a run still ends well; with more it ends with code 4 [default: 0.5]
    #[arg(long, value_name = "SHARE")]
    max_bad: Option<f64>,
    /// Lay the images out as links in OUT/clusters, one folder per cluster
    #[arg(long, conflicts_with = "copy")]
    link: bool,
    /// The same with copies of the images
    #[arg(long)]
    copy: bool,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    machine: MachineArguments,
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MethodArgument {
    /// The paper's: a graph network and correlation clustering find the number of clusters
    Correlation,
    /// Connected components of pairs with positive inner products
    Components,
    /// Spectral clustering, as many clusters as the largest eigengap says
    Spectral,
    /// k-means, needs --clusters
    Kmeans,
}

impl ClusterArguments {
    /// The configuration that was asked for; the checkpoint's own replaces it where there is one.
    fn resolve(&self) -> Result<config::Settings, PipelineError> {
        let setting = |key: &str, value: Option<String>| value.map(|value| format!("{key}={value}"));
        let flags = [
            setting("backbone", self.backbone.clone()),
            setting("cluster.method", self.method.as_ref().map(name)),
            setting("cluster.alpha", self.alpha.map(|value| value.to_string())),
            setting("cluster.clusters", self.clusters.map(|value| value.to_string())),
            setting("cluster.restarts", self.restarts.map(|value| value.to_string())),
            setting("cluster.epochs", self.epochs.map(|value| value.to_string())),
            setting("cluster.seed", self.seed.map(|value| value.to_string())),
            setting("data.max_bad", self.max_bad.map(|share| format!("{share:?}"))),
        ];
        let resize = self.resize.iter().flat_map(|resize| resize.0.clone());
        let flags =
            flags.into_iter().flatten().chain(resize).chain(self.search.overrides()).chain(self.pixels.overrides());
        let overrides: Vec<String> = self.overrides.iter().cloned().chain(flags).collect();
        let known = |settings: &config::Settings| match (&self.ckpt, &self.features) {
            (None, None) => pipeline::known_settings(settings, self.weights.as_deref()),
            _ => Vec::new(),
        };
        config::resolve_over(known, self.config.as_deref(), &overrides).map_err(PipelineError::from)
    }
}

pub fn run(arguments: &ClusterArguments) -> anyhow::Result<Done> {
    let config = arguments.resolve()?;
    let request = ClusterRequest {
        data: (!arguments.data.is_empty()).then(|| arguments.data.clone().into()),
        out: arguments.out.clone(),
        weights: arguments.weights.clone(),
        features: arguments.features.clone(),
        checkpoint: arguments.ckpt.clone(),
        labels: arguments.labels.clone(),
        label_column: arguments.label_column.clone(),
        lay_out: match (arguments.link, arguments.copy) {
            (true, _) => Some(LayOut::Link),
            (_, true) => Some(LayOut::Copy),
            _ => None,
        },
        alpha_sweep: arguments.alpha_sweep,
        wait: arguments.wait.duration(),
        machine: arguments.machine.open()?,
    };
    let reporter = Reporter::new(&arguments.talk);
    let summary = pipeline::cluster(config, &request, &reporter)?.summary;
    reporter.result(&sentence(&summary), &summary)?;
    Ok(Done { skipped: !summary.skipped.is_empty() })
}

/// The last lines of a run.
fn sentence(summary: &ClusterSummary) -> String {
    let verb = if summary.joined { "put" } else { "grouped" };
    let mut text = format!(
        "{verb} {} into {}",
        counted(summary.images as u64, "image"),
        counted(summary.clusters as u64, "cluster")
    );
    let sizes: Vec<String> = summary.sizes.iter().take(20).map(ToString::to_string).collect();
    let more = if summary.sizes.len() > 20 { ", …" } else { "" };
    text += &format!(" of {}{more}", sizes.join(", "));
    if !summary.skipped.is_empty() {
        text += &format!("; {} skipped", summary.skipped.len());
    }
    if let Some(reliance) = &summary.reliance {
        text += &format!("\n{}", reliance.verdict());
    }
    if let Some(scores) = &summary.labels {
        text += &format!(
            "\npurity {:.3}, NMI {:.3}, ARI {:.3} over {} in {}; cluster error {:+}",
            scores.purity,
            scores.nmi,
            scores.ari,
            counted(scores.labelled as u64, "labelled image"),
            if scores.classes == 1 { "1 class".to_string() } else { format!("{} classes", scores.classes) },
            scores.cluster_error
        );
    }
    if let Some(sweep) = &summary.alpha_sweep {
        text += "\n\n  alpha   clusters        objective   agreement with the row above";
        for point in &sweep.points {
            let agreement = point.agreement.map_or("-".to_string(), |agreement| format!("{agreement:.3}"));
            text +=
                &format!("\n{:>7}   {:>8}   {:>14.4}   {agreement:>9}", point.alpha, point.clusters, point.objective);
        }
        text += &match &sweep.stable {
            Some(range) => {
                format!("\nstable from alpha {} to {}: {} clusters", range.from, range.to, range.clusters)
            }
            None => "\nno range of alpha gives a stable number of clusters".to_string(),
        };
    }
    format!("{text}\nresults: {}", summary.out.display())
}
