//! Why weights cannot be used.

use std::io;
use std::path::PathBuf;

use crate::error::ErrorKind;

/// Why weights cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    #[error("cannot read the weights {}: {source}; check the path", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read {}, a part of the weights {}: {source}; fetch all parts into one folder", .part.display(), .path.display())]
    Part { path: PathBuf, part: PathBuf, source: io::Error },
    #[error("cannot use the weights {}: {reason}", .path.display())]
    Format { path: PathBuf, reason: String },
    #[error("cannot use the weights {}: tensor {tensor} {reason}", .path.display())]
    Tensor { path: PathBuf, tensor: String, reason: String },
    #[error("option does not fit the weights {}: {reason}", .path.display())]
    Option { path: PathBuf, reason: String },
}

impl WeightsError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            WeightsError::Read { .. } | WeightsError::Part { .. } => ErrorKind::Usage,
            _ => ErrorKind::Untrusted,
        }
    }
}

/// What comes from a file, as one printable line of at most a hundred characters.
pub fn printable(text: &str) -> String {
    text.chars().take(100).map(|c| if c.is_control() { '?' } else { c }).collect()
}
