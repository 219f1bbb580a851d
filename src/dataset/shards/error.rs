//! What can go wrong with the plan of shards.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::parallel::ThreadsError;

/// A plan that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    #[error("cannot read {}: {source}; a plan is two files beside each other, as planning writes them", path.display())]
    Unreadable { path: PathBuf, source: io::Error },

    #[error("{} is no plan of shards: {reason}; make it anew", path.display())]
    NotAPlan { path: PathBuf, reason: String },

    #[error(
        "{} is a plan of format {found}, this program knows {known}; use the program that made it, or make it anew",
        path.display()
    )]
    Format { path: PathBuf, found: u32, known: u32 },

    #[error("{} is not the list that {} was made with; make the plan anew", path.display(), plan.display())]
    OtherList { plan: PathBuf, path: PathBuf },

    #[error("there is no shard {index} of {}: they are numbered from 0 to {}", path.display(), shards - 1)]
    NoSuchShard { path: PathBuf, index: usize, shards: usize },

    #[error("{shards} shards cannot be made of {images} images; give a smaller number of `shards`")]
    TooManyShards { shards: usize, images: u64 },

    #[error("`{setting}` is not what the plan was made with; make the plan as the run is to search, or set it back")]
    OtherSearch { setting: &'static str },

    #[error(
        "of shard {shard} of {} {what}; make a plan anew and give another output folder, or set `accept_changes` to take what \
         is there now and list what is missing as skipped",
        plan.display()
    )]
    Changed { plan: PathBuf, shard: usize, what: String },

    #[error(
        "{} is another plan: {what}; keep it for the shards that follow it, give another path, or set `overwrite`",
        path.display()
    )]
    Exists { path: PathBuf, what: String },

    #[error(transparent)]
    Threads(#[from] ThreadsError),

    #[error("interrupted while looking for what has changed")]
    Interrupted,
}

impl PlanError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PlanError::Unreadable { source, .. } if source.kind() != io::ErrorKind::NotFound => ErrorKind::InputOutput,
            PlanError::NotAPlan { .. } | PlanError::OtherList { .. } | PlanError::Changed { .. } => {
                ErrorKind::Untrusted
            }
            PlanError::Threads(error) => error.kind(),
            PlanError::Interrupted => ErrorKind::Interrupted,
            _ => ErrorKind::Usage,
        }
    }

    /// The file that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            PlanError::Unreadable { path, .. }
            | PlanError::NotAPlan { path, .. }
            | PlanError::Format { path, .. }
            | PlanError::OtherList { path, .. }
            | PlanError::NoSuchShard { path, .. }
            | PlanError::Changed { plan: path, .. }
            | PlanError::Exists { path, .. } => path,
            _ => Path::new(""),
        }
    }
}
