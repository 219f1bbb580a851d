//! `deepcut backbone`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use deepcut::pipeline;

use super::compare::{self, CompareArguments};
use super::{Done, say};

/// Show, install or compare the weights of backbones
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BackboneArguments {
    #[command(subcommand)]
    command: Option<BackboneCommand>,
    /// Copy this weights file to where `--backbone auto` finds it
    #[arg(long, value_name = "FILE")]
    install: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum BackboneCommand {
    Compare(CompareArguments),
}

pub fn run(arguments: &BackboneArguments) -> anyhow::Result<Done> {
    if let Some(BackboneCommand::Compare(arguments)) = &arguments.command {
        return compare::run(arguments);
    }
    if let Some(path) = &arguments.install {
        let target = pipeline::install_weights(path)?;
        say(&format!("installed {}", target.display()))?;
        return Ok(Done { skipped: false });
    }
    let installed = pipeline::installed();
    let found = match (&installed.found, &installed.folder) {
        (Some(path), _) => format!("installed: {}", path.display()),
        (None, Some(folder)) => format!(
            "no weights are installed in {}; runs without --weights use superpixels.\n\
             Install a ViT's weights (safetensors or .pth) with `deepcut backbone --install FILE`.",
            folder.display()
        ),
        (None, None) => "there is no home folder to look for weights in; set DEEPCUT_HOME to a folder".to_string(),
    };
    say(&found)?;
    Ok(Done { skipped: false })
}
