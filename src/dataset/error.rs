//! What can go wrong with a collection, or with one entry of it.

use std::io;
use std::path::{Path, PathBuf};

use super::shards::PlanError;
use crate::error::ErrorKind;
use crate::event::SkippedFile;
use crate::names;
use crate::remote::RemoteError;

/// A collection, or one file or folder of it, that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error("{} does not exist; check the spelling of the path", shown(path))]
    Missing { path: PathBuf },

    #[error("cannot read {}: {source}; check its permissions", shown(path))]
    Unreadable { path: PathBuf, source: io::Error },

    #[error("cannot read {}: {source}", shown(path))]
    Remote { path: PathBuf, source: RemoteError },

    #[error("{} is a link to nothing; mend or remove it", shown(path))]
    BrokenLink { path: PathBuf },

    #[error(
        "{} is neither an image nor a list of images: {reason} in line {line}; a list is text (UTF-8, or UTF-16 with a byte \
         order mark) with one path per line, CSV whose header has a column path, image, file or filename, or JSON, as one \
         object per line or one array, with such a key",
        shown(path)
    )]
    NotAList { path: PathBuf, line: usize, reason: String },

    #[error("{}, so that images would be there twice; leave one of them out", given_twice(path, within))]
    Twice { path: PathBuf, within: PathBuf },

    #[error("{place} of {} names no file: {entry}; put the path of an image there", shown(path))]
    NoFileName { path: PathBuf, place: String, entry: String },

    #[error("{} is a broken tar: {reason}; get it again or pack it anew", shown(path))]
    BrokenTar { path: PathBuf, reason: String },

    #[error("{} {reason}", shown(path))]
    Member { path: PathBuf, reason: &'static str },

    #[error(
        "{} is a compressed tar, in which no image can be read by itself; decompress it (gunzip, bunzip2, unxz, unzstd) and give \
         the tar, whose images are compressed already",
        shown(path)
    )]
    CompressedTar { path: PathBuf },

    #[error("no image can be had from the Parquet file {}: {reason}", shown(path))]
    Table { path: PathBuf, reason: String },

    #[error("{} has the name of an image and is {kind}; rename or remove it", shown(path))]
    NoFile { path: PathBuf, kind: &'static str },

    #[error(
        "{} does not tell what in its folder is deepcut's ({source}), so that no image was taken from there; mend or remove it",
        shown(path)
    )]
    OwnResults { path: PathBuf, source: io::Error },

    #[error("cannot use all ignore files of {}: {reason}; correct the pattern", shown(path))]
    IgnoreFile { path: PathBuf, reason: String },

    /// What kept the search from an image when the plan of its shard was made.
    #[error("{reason}")]
    Planned { path: PathBuf, reason: String },

    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl From<DatasetError> for SkippedFile {
    fn from(error: DatasetError) -> Self {
        SkippedFile { path: error.path().to_path_buf(), reason: error.to_string() }
    }
}

impl DatasetError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Plan(error) => error.kind(),
            Self::Remote { source, .. } => source.kind(),
            _ => ErrorKind::Usage,
        }
    }

    /// The file or folder that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing { path }
            | Self::Unreadable { path, .. }
            | Self::Remote { path, .. }
            | Self::BrokenLink { path }
            | Self::NotAList { path, .. }
            | Self::Twice { path, .. }
            | Self::NoFileName { path, .. }
            | Self::BrokenTar { path, .. }
            | Self::Member { path, .. }
            | Self::CompressedTar { path }
            | Self::Table { path, .. }
            | Self::NoFile { path, .. }
            | Self::OwnResults { path, .. }
            | Self::IgnoreFile { path, .. }
            | Self::Planned { path, .. } => path,
            Self::Plan(error) => error.path(),
        }
    }

    pub(super) fn reading(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        if let Some(source) = RemoteError::within(&source) {
            return Self::Remote { path, source: source.clone() };
        }
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Unreadable { path, source },
        }
    }
}

fn given_twice(path: &Path, within: &Path) -> String {
    if path == within {
        return format!("{} is given twice", shown(path));
    }
    format!("{} lies in {}, which is given as well", shown(path), shown(within))
}

fn shown(path: &Path) -> String {
    names::text(path.as_os_str())
}
