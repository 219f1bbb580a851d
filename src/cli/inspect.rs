//! `deepcut inspect`

use std::path::PathBuf;

use clap::Args;
use deepcut::pipeline::{
    self, CheckpointDescription, CodeBookDescription, Description, PositionShares, Restarts, TrainedStage,
};

use super::{Done, say};

/// Show what a checkpoint holds
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// A checkpoint that `deepcut train` wrote
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &InspectArguments) -> anyhow::Result<Done> {
    let description = pipeline::describe_checkpoint(&arguments.checkpoint)?;
    match &description {
        _ if arguments.json => say(&serde_json::to_string(&description)?)?,
        Description::Networks(networks) => say(&table(networks))?,
        Description::CodeBook(book) => say(&of_code_book(book))?,
    }
    Ok(Done { skipped: false })
}

fn of_code_book(description: &CodeBookDescription) -> String {
    let header = &description.header;
    let mut rows = vec![
        ("file", description.path.display().to_string()),
        ("blake3", description.blake3.clone()),
        ("backbone", header.backbone.clone()),
    ];
    rows.extend(header.backbone_hash.clone().map(|hash| ("weights blake3", hash)));
    rows.extend([
        ("kinds of regions", header.labels.to_string()),
        ("images", header.images.to_string()),
        ("patches", header.patches.to_string()),
        match header.network {
            Some(sizes) => (
                "network",
                format!("GraPL's, for {0} x {0} patches of {1} x {1} pixels", sizes.patches, sizes.patch_side),
            ),
            None => ("channels", format!("{} of {} by features, 3 by colours", header.components, header.width)),
        },
        ("seed", header.seed.to_string()),
        ("collection blake3", header.collection_hash.clone()),
    ]);
    rows.into_iter().map(|(name, value)| format!("{name:<18} {value}")).collect::<Vec<_>>().join("\n")
}

fn table(description: &CheckpointDescription) -> String {
    let header = &description.header;
    let mut rows = vec![
        ("file", description.path.display().to_string()),
        ("blake3", description.blake3.clone()),
        ("backbone", header.backbone.clone()),
    ];
    if let Some(hash) = &header.backbone_hash {
        rows.push(("weights blake3", hash.clone()));
    }
    rows.extend([
        ("objective", header.config["objective"]["kind"].as_str().unwrap_or("?").to_string()),
        ("seed", header.seed.to_string()),
        ("collection blake3", header.collection_hash.clone()),
        ("parameters", description.parameters.to_string()),
    ]);
    let mut text = String::new();
    for (name, value) in rows {
        text += &format!("{name:<18} {value}\n");
    }
    text += "\ncluster  role        share of borders  share of images\n";
    for (cluster, is_background) in header.background.iter().enumerate() {
        let role = if *is_background { "background" } else { "foreground" };
        text += &format!(
            "{cluster:>7}  {role:<10}  {:>16.1}%  {:>14.1}%\n",
            100.0 * header.border_shares[cluster],
            100.0 * header.area_shares[cluster]
        );
    }
    if let Some(diagnostics) = &header.diagnostics {
        text += "\nwithout labels\n";
        if let Some(Restarts { losses, chosen, agreement }) = &diagnostics.restarts {
            let losses: Vec<String> = losses.iter().map(|loss| format!("{loss:.4}")).collect();
            text +=
                &format!("  losses of random starts        {} (number {} was kept)\n", losses.join(" "), chosen + 1);
            text += &format!("  agreement of random starts     {agreement:.2}\n");
        }
        if let Some(PositionShares { before, after }) = diagnostics.position {
            text += &format!("  position explains of features  {before:.2}, corrected {after:.2}\n");
        }
        if let Some(agreement) = diagnostics.solver_agreement {
            text += &format!("  agreement of masks and edges   {agreement:.2}\n");
        }
        if let Some(learnt) = diagnostics.learnt {
            text += &format!("  agreement with the teacher     {learnt:.2}\n");
        }
    }
    if let Some(verdict) = &description.verdict {
        text += &format!("  {}\n", verdict.sentence);
    }
    let second_stages = [("parts", &header.parts), ("background parts", &header.background_parts)];
    let second_stages = second_stages.into_iter().filter_map(|(name, stage)| Some((name, stage.as_ref()?)));
    let teacher = header.teacher.iter().map(|stage| ("teacher", stage));
    for (name, stage) in teacher.chain([("objects", &header.objects)]).chain(second_stages) {
        text += &stage_table(name, stage);
    }
    text.trim_end().to_string()
}

/// One network and the curve of its training.
fn stage_table(name: &str, stage: &TrainedStage) -> String {
    let network = &stage.network;
    let mut text = format!(
        "\n{name}: {} → {} → {} → {} clusters, trained on {} images, epoch {} of {} kept{}\n",
        network.input,
        network.hidden[0],
        network.hidden[1],
        network.clusters,
        stage.images,
        stage.best_epoch,
        stage.curve.len(),
        if stage.collapsed { "; collapsed: nearly all nodes in one cluster" } else { "" }
    );
    text += "  epoch   train loss   held-out loss   largest cluster\n";
    let step = stage.curve.len().div_ceil(12).max(1);
    for (index, point) in stage.curve.iter().enumerate() {
        let epoch = index + 1;
        if index % step == 0 || epoch == stage.curve.len() || epoch == stage.best_epoch {
            text += &format!(
                "{epoch:>7}   {:>+10.4}   {:>+13.4}   {:>14.0}%{}\n",
                point.train_loss,
                point.held_out_loss,
                100.0 * point.largest_cluster_share,
                if epoch == stage.best_epoch { "  kept" } else { "" }
            );
        }
    }
    text
}
