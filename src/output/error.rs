//! What can go wrong while writing or reading results.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::manifest;
use crate::pixels::LabelMapError;
use crate::remote::RemoteError;

/// A result file could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    #[error("cannot create the folder {}: {source}; choose another or check its permissions", path.display())]
    CreateFolder { path: PathBuf, source: io::Error },

    #[error("cannot write {}: {source}; check permissions and free space, then repeat the command", path.display())]
    Write { path: PathBuf, source: io::Error },

    #[error("cannot remove the outdated {}: {source}", path.display())]
    Remove { path: PathBuf, source: io::Error },

    #[error("{} exists and is not an ordinary file; choose another path for the output", path.display())]
    OccupiedTarget { path: PathBuf },

    #[error("{} is there already and not known to be deepcut's; move it away or choose another output folder", path.display())]
    Foreign { path: PathBuf },

    #[error(
        "{} was changed since deepcut wrote it; move it away to keep it, or remove it to have it made again",
        path.display()
    )]
    Changed { path: PathBuf },

    #[error(
        "{} does not tell what in its folder is deepcut's: {source}; choose another folder",
        path.display()
    )]
    Manifest { path: PathBuf, source: io::Error },

    #[error("{process} is writing to {}; repeat the command when it has finished", path.display())]
    InUse { path: PathBuf, process: String },

    #[error("cannot keep results at {}: {source}", path.display())]
    Elsewhere { path: PathBuf, source: RemoteError },

    #[error("the output {} must lie on a disk for this command; give a folder and copy it afterwards", path.display())]
    NotHere { path: PathBuf },

    #[error("interrupted while waiting for the output folder")]
    Interrupted,

    #[error("cannot read {}: {source}; check that the file exists and may be read", path.display())]
    Read { path: PathBuf, source: io::Error },

    #[error("cannot use {} as a mask: {source}", path.display())]
    Mask { path: PathBuf, source: MaskError },
}

impl OutputError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            OutputError::Foreign { .. } | OutputError::Changed { .. } | OutputError::InUse { .. } => ErrorKind::Usage,
            OutputError::Manifest { source, .. } if manifest::is_broken(source) => ErrorKind::Usage,
            OutputError::NotHere { .. } => ErrorKind::Usage,
            OutputError::Elsewhere { source, .. } => source.kind(),
            OutputError::Interrupted => ErrorKind::Interrupted,
            _ => ErrorKind::InputOutput,
        }
    }

    /// Whether the system takes no file of such a name, however often it is tried.
    pub fn is_of_name(&self) -> bool {
        match self {
            Self::CreateFolder { source, .. } | Self::Write { source, .. } | Self::Remove { source, .. } => {
                source.kind() == io::ErrorKind::InvalidFilename
            }
            _ => false,
        }
    }

    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_path_buf(), source }
    }
}

/// Bytes that are no mask as this project writes them.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    #[error(transparent)]
    Labels(#[from] LabelMapError),

    #[error("the pixel value {0} is more than such a mask holds; number the clusters from 0 on")]
    ValueTooLarge(u32),
}

/// A picture that its file format cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error(
        "PNG cannot hold a mask of {width}x{height} pixels with this text: {source}; check its size and its keywords"
    )]
    Png { width: usize, height: usize, source: png::EncodingError },

    #[error("JPEG cannot hold a picture of {width}x{height} pixels: {reason}; make it smaller")]
    Jpeg { width: usize, height: usize, reason: String },

    #[error("no picture can be {width}x{height} pixels large; check its size")]
    Size { width: usize, height: usize },
}
