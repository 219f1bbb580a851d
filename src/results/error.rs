//! What can go wrong with the files of a segmenting run.

use std::io;
use std::path::PathBuf;

use crate::dataset::truth::TruthError;
use crate::error::ErrorKind;
use crate::output::{EncodeError, OutputError};
use crate::raster::RunLengthError;

/// Results that cannot be written, or not be read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    #[error(transparent)]
    Output(#[from] OutputError),

    #[error("{}: no run of deepcut has written there; give the folder that was its output", out.display())]
    NoRun { out: PathBuf },

    #[error("cannot draw {}: {source}", image.display())]
    Draw { image: PathBuf, source: EncodeError },

    #[error("the mask of {image} in {} lists a broken object ({source}); remove it and repeat the command", masks.display())]
    BrokenObject { image: String, masks: PathBuf, source: RunLengthError },

    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },

    /// A folder of results whose files cannot be listed.
    #[error(transparent)]
    Listing(#[from] TruthError),

    #[error("{}: is no table of labels ({source})", path.display())]
    BrokenLabels { path: PathBuf, source: serde_json::Error },

    #[error("{}: line {line} is no prediction ({source})", path.display())]
    BrokenLine { path: PathBuf, line: usize, source: serde_json::Error },

    #[error("{}: line {line} is the second of the image {image}", path.display())]
    SecondLine { path: PathBuf, line: usize, image: String },
}

impl ResultsError {
    /// Whether the system takes no file of the name that results would have, however often it is tried.
    pub fn is_of_name(&self) -> bool {
        matches!(self, ResultsError::Output(error) if error.is_of_name())
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ResultsError::Output(error) => error.kind(),
            ResultsError::Listing(error) => error.kind(),
            ResultsError::NoRun { .. } => ErrorKind::Usage,
            ResultsError::Draw { .. } | ResultsError::Unreadable { .. } => ErrorKind::InputOutput,
            _ => ErrorKind::Untrusted,
        }
    }
}
