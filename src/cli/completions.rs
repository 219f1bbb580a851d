//! `deepcut completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Done};

/// Print the completion script of a shell
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    shell: Shell,
}

pub fn run(arguments: &CompletionsArguments) -> anyhow::Result<Done> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "deepcut", &mut script);
    super::say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Done { skipped: false })
}
