//! What can go wrong with shards and with their merge.

use std::path::PathBuf;

use crate::error::ErrorKind;

/// Shards that cannot go on or cannot become one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardsError {
    #[error("no shard has written below {}; give what was the output of their runs", out.display())]
    Nothing { out: PathBuf },

    #[error(
        "{count} of the {all} shards of {} {} not finished ({shown}), with {missing} of {images} images; run these, then merge \
         again",
        out.display(), if *count == 1 { "is" } else { "are" }
    )]
    Unfinished { out: PathBuf, count: usize, all: usize, shown: String, missing: u64, images: u64 },

    #[error(
        "{} holds a shard of another plan than {}; give another output folder, or move that one away",
        folder.display(), plan.display()
    )]
    OtherPlan { folder: PathBuf, plan: PathBuf },

    #[error(
        "the shards {first} and {shard} were made differently: {what}; run one of them again as all others were run"
    )]
    Differ { first: usize, shard: usize, what: String },

    #[error("the shards were made by version {version} of the program; merge them with it")]
    OtherProgram { version: String },

    #[error("{} cannot be used as a shard's record: {reason}; run its shard again", path.display())]
    BrokenRecord { path: PathBuf, reason: String },

    #[error("shard {shard} is not as its run left it ({}: {reason}); run it again", path.display())]
    Damaged { shard: usize, path: PathBuf, reason: String },

    #[error(
        "shard {shard} came to {found} of its {images} images, as the plan's list could not be read on; run it again"
    )]
    Short { shard: usize, found: u64, images: u64 },
}

impl ShardsError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ShardsError::Nothing { .. } | ShardsError::OtherPlan { .. } | ShardsError::OtherProgram { .. } => {
                ErrorKind::Usage
            }
            ShardsError::Short { .. } => ErrorKind::InputOutput,
            _ => ErrorKind::Untrusted,
        }
    }
}
