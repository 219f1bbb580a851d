//! `deepcut verify`

use std::path::PathBuf;

use clap::Args;
use deepcut::names;
use deepcut::pipeline::{self, Fault};

use super::{Done, Reporter, TalkArguments, counted};

/// Check that everything in an output folder is as it was written
///
/// Holds every mask, picture, annotation, table and checkpoint that runs have left in OUT against its checksum, and lists what
/// is missing, damaged or changed. To mend it, repeat the command that wrote it: only what is missing or damaged is made
/// again; what is whole and yet changed may be somebody's work and has to be moved away first. Exit code 0 if all is well,
/// 4 if not.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The folder that was the output of train, infer, segment or cluster
    #[arg(value_name = "OUT")]
    out: PathBuf,
    #[command(flatten)]
    talk: TalkArguments,
}

/// Some files are not as they were written; they are listed already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FaultsFound(pub String);

pub fn run(arguments: &VerifyArguments) -> anyhow::Result<Done> {
    let reporter = Reporter::new(&arguments.talk);
    let found = pipeline::verify(&arguments.out, &reporter)?;
    for (path, fault) in &found.faults {
        let word = match fault {
            Fault::Missing => "missing",
            Fault::Damaged => "damaged",
            Fault::Changed => "changed since it was written",
        };
        reporter.line(&format!("{word}: {}", path.display()));
    }
    let unfinished = match found.unfinished {
        true => {
            "; a run is not finished there, so that masks and what lies beside them were not checked: repeat its command"
        }
        false => "",
    };
    let text = match found.faults.len() {
        0 => format!("{} as written{unfinished}", counted(found.checked, "file")),
        faults => format!("{faults} of {} not as written{unfinished}", counted(found.checked, "file")),
    };
    let faults: Vec<_> = found
        .faults
        .iter()
        .map(|(path, fault)| serde_json::json!({"path": names::portable(path), "fault": fault}))
        .collect();
    let json = serde_json::json!({"checked": found.checked, "faults": faults, "unfinished": found.unfinished});
    let well = found.faults.is_empty() && !found.unfinished;
    reporter.result(if well { &text } else { "" }, &json)?;
    if well {
        return Ok(Done { skipped: false });
    }
    let remedy = "repeat the command that wrote there; what somebody changed has to be moved away before";
    Err(FaultsFound(format!("{}: {text}; {remedy}", arguments.out.display())).into())
}
