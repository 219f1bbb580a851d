//! What `infer` and `segment` have in common: where images come from, where results go, and the last line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use deepcut::pipeline::{PredictRequest, PredictSummary, SaveKinds, ShardSummary};

use super::{Done, InputArguments, MachineArguments, Reporter, TalkArguments, WaitArguments, counted};

#[derive(Debug, Args)]
pub struct PredictArguments {
    #[command(flatten)]
    data: InputArguments,
    /// Where the results go; those of a shard go below, into shards/
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What to write besides predictions.jsonl: pictures, one table in Parquet, and COCO, YOLO or Pascal VOC annotations; what is done already
    /// is recognised by its mask
    #[arg(long, value_enum, value_delimiter = ',', default_value = "masks,overlays")]
    save: Vec<SaveArgument>,
    /// Fit masks to the edges of their images with the bilateral solver, DeepCut's or TokenCut's settings, or with a graph cut
    /// of the pixels around their boundaries
    /// [default: the configuration's, which is none unless set]
    #[arg(long, value_parser = ["none", "bilateral", "bilateral-tokencut", "cut"])]
    refine: Option<String>,
    /// Tell objects apart, each with box, mask and confidence: connected pieces of the foreground, with a transformer's
    /// features cut where they change
    #[arg(long)]
    instances: bool,
    /// From 0 to 1: what has less confidence is no object, and an image may have none [default: 0]
    #[arg(long, value_name = "P")]
    min_confidence: Option<f64>,
    /// From 0 to 1: the share of bad images with which a run still ends well; with more it ends with code 4 [default: 0.5]
    #[arg(long, value_name = "SHARE")]
    max_bad: Option<f64>,
    /// Do again what is already done
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    pub machine: MachineArguments,
    #[command(flatten)]
    pub talk: TalkArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SaveArgument {
    /// Indexed PNG
    Masks,
    /// JPEG for people
    Overlays,
    /// The probability of foreground as grey PNG
    Saliency,
    /// One report.html to open in a browser, with masks
    Report,
    /// One coco.json with masks and boxes
    Coco,
    /// Boxes as text files, below yolo/, with masks
    Yolo,
    /// Boxes as XML files, below voc/
    Voc,
    /// One predictions.parquet with masks and boxes, for pandas, Polars, DuckDB
    #[cfg(feature = "parquet")]
    Parquet,
}

impl PredictArguments {
    pub fn request(&self) -> PredictRequest {
        let saves = |kind| self.save.contains(&kind);
        PredictRequest {
            data: self.data.input(),
            out: self.out.clone(),
            save: SaveKinds {
                // The report's pictures are drawn from masks, and YOLO's text is known for a run's by what its mask says.
                masks: [SaveArgument::Masks, SaveArgument::Report, SaveArgument::Yolo].into_iter().any(saves),
                overlays: saves(SaveArgument::Overlays),
                saliency: saves(SaveArgument::Saliency),
                report: saves(SaveArgument::Report),
                coco: saves(SaveArgument::Coco),
                yolo: saves(SaveArgument::Yolo),
                voc: saves(SaveArgument::Voc),
                #[cfg(feature = "parquet")]
                parquet: saves(SaveArgument::Parquet),
            },
            overwrite: self.overwrite,
            wait: self.wait.duration(),
        }
    }

    /// The settings that the flags stand for.
    pub fn overrides(&self) -> impl Iterator<Item = String> {
        let flags = [
            self.refine.as_ref().map(|method| format!("refine.method={method}")),
            self.instances.then(|| "objects.instances=true".to_string()),
            self.min_confidence.map(|confidence| format!("objects.minimum_confidence={confidence:?}")),
            self.max_bad.map(|share| format!("data.max_bad={share:?}")),
        ];
        flags.into_iter().flatten().chain(self.data.overrides())
    }
}

/// Says what a run did.
pub fn report(reporter: &Reporter, summary: &PredictSummary) -> anyhow::Result<Done> {
    if let Some(spent) = summary.mean_milliseconds {
        let steps = spent.named().map(|(name, time)| format!("{name} {time:.1}"));
        reporter.detail(&format!("milliseconds per image and worker: {}", steps.join(", ")));
    }
    reporter.result(&sentence(summary), summary)?;
    Ok(Done { skipped: summary.skipped > 0 })
}

/// How a line about a shard begins, and whether the shard was finished before.
pub fn of_shard(shard: &ShardSummary) -> (String, bool) {
    let ShardSummary { shard, shards, was_finished } = shard;
    (format!("shard {shard} of {shards}{}: ", if *was_finished { ", finished before" } else { "" }), *was_finished)
}

/// The last line of a run.
fn sentence(summary: &PredictSummary) -> String {
    let (shard, was_finished) = summary.shard.map_or((String::new(), false), |shard| of_shard(&shard));
    let mut text = format!("{shard}segmented {}", counted(summary.segmented, "image"));
    if was_finished {
        text = format!("{shard}nothing to do");
    }
    if summary.seconds > 0.0 && summary.segmented > 0 {
        text += &format!(" ({:.1} per second)", summary.segmented as f64 / summary.seconds);
    }
    if summary.already_done > 0 {
        text += &format!(", {} already done", summary.already_done);
    }
    if summary.skipped > 0 {
        text += &format!(", {} skipped", summary.skipped);
    }
    if summary.without_object > 0 {
        text += &format!(", {} without object", summary.without_object);
    }
    if let (Some(clusters), Some(negative)) = (summary.mean_clusters, summary.mean_negative_share) {
        text += &format!("; {clusters:.1} clusters per image, {:.1} % of affinities negative", 100.0 * negative);
    }
    format!("{text}; results: {}", summary.out.display())
}
