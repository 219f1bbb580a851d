//! Ground truth in the forms that public data sets have it.
//!
//! | form | reader | what it knows |
//! |---|---|---|
//! | a folder of PNG label maps: masks, VOC class indices, DAVIS sequences | [`label_maps`] | where each image's map is |
//! | a folder of BSDS-style region maps `ID_k.png` | [`region_maps`] | the maps of every annotator of each image |
//! | a folder of Pascal VOC XML files | [`voc::boxes`] | boxes |
//! | a table, CSV or alike | [`labels()`] | the class of each image |
//! | one COCO JSON file | [`coco::boxes`], [`coco::masks`], [`coco::instances`], [`coco::key_points`] | boxes, masks together and one by one, key-points |
//!
//! Maps are found here and decoded by whoever looks at their pixels. An image is named by its place within the
//! collection without the extension, `/` between folders (see [`image_key`]); no two of a ground truth share a name.

pub mod coco;
mod files;
mod labels;
pub mod voc;

use std::io;
use std::path::{Path, PathBuf};

pub use files::{files_below, image_key, label_maps, name_key, region_maps};
pub use labels::{Labels, labels};

use crate::error::ErrorKind;

/// What is known about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotated<T> {
    /// See [`image_key`].
    pub key: String,
    /// The image's own file with its extension, `/` between folders, where the ground truth names it.
    pub file: Option<String>,
    /// Width and height in pixels, where the ground truth tells them.
    pub size: Option<(usize, usize)>,
    pub content: T,
}

/// A ground truth, and what in it could not be used: one sentence each.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth<T> {
    /// Sorted by key.
    pub images: Vec<Annotated<T>>,
    pub remarks: Vec<String>,
}

impl<T> Truth<T> {
    /// Sorts `images` and refuses two of the same name. Of files that differ in their extensions all but the first keep
    /// theirs in the name.
    fn new(path: &Path, mut images: Vec<Annotated<T>>, remarks: Vec<String>) -> Result<Self, TruthError> {
        images.sort_by(|a, b| (&a.key, &a.file).cmp(&(&b.key, &b.file)));
        for later in (1..images.len()).rev() {
            if images[later].key == images[later - 1].key
                && images[later].file != images[later - 1].file
                && let Some(file) = images[later].file.clone()
            {
                images[later].key = file;
            }
        }
        images.sort_by(|a, b| a.key.cmp(&b.key));
        if let Some(pair) = images.windows(2).find(|pair| pair[0].key == pair[1].key) {
            return Err(TruthError::SameName { path: path.to_path_buf(), key: pair[0].key.clone() });
        }
        Ok(Self { images, remarks })
    }
}

/// A ground truth that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TruthError {
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Unreadable { path: PathBuf, source: io::Error },

    #[error("{} has more than {mebibytes} MiB and is hardly an annotation; check that it is the right file", path.display())]
    TooLarge { path: PathBuf, mebibytes: u64 },

    #[error("{} is broken: {reason}; get it again or correct it", path.display())]
    Malformed { path: PathBuf, reason: String },

    #[error("{} has {problem}; name one of its columns with `label_column`: {columns}", path.display())]
    NoColumn { path: PathBuf, problem: String, columns: String },

    #[error("two annotations in {} are for the same image, {key}; remove one", path.display())]
    SameName { path: PathBuf, key: String },
}

impl TruthError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TruthError::NoColumn { .. } => ErrorKind::Usage,
            TruthError::Unreadable { .. } => ErrorKind::InputOutput,
            TruthError::TooLarge { .. } | TruthError::Malformed { .. } | TruthError::SameName { .. } => {
                ErrorKind::Untrusted
            }
        }
    }

    fn malformed(path: &Path, reason: impl ToString) -> Self {
        Self::Malformed { path: path.to_path_buf(), reason: reason.to_string() }
    }
}

/// The text of a file of at most `max_mebibytes`.
fn read_text(path: &Path, max_mebibytes: u64) -> Result<String, TruthError> {
    String::from_utf8(read_bytes(path, max_mebibytes)?).map_err(|_| TruthError::malformed(path, "it is no UTF-8 text"))
}

/// The bytes of a file of at most `max_mebibytes`.
fn read_bytes(path: &Path, max_mebibytes: u64) -> Result<Vec<u8>, TruthError> {
    crate::files::read(path, max_mebibytes << 20).map_err(|source| match source.kind() {
        io::ErrorKind::FileTooLarge => TruthError::TooLarge { path: path.to_path_buf(), mebibytes: max_mebibytes },
        _ => TruthError::Unreadable { path: path.to_path_buf(), source },
    })
}
