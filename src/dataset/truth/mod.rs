//! Ground truth in the forms that public data sets have it.
//!
//! | form | reader | what it knows |
//! |---|---|---|
//! | a folder of label maps (PNG, TIFF, BMP, GIF, JPEG): masks, VOC class indices, DAVIS sequences | [`label_maps`] | where each image's map is |
//! | a folder of BSDS-style region maps `ID_k.png` | [`region_maps`] | the maps of every annotator of each image |
//! | a folder of Pascal VOC XML files | [`voc::boxes`] | boxes |
//! | a table, CSV or alike | [`labels()`] | the class of each image |
//! | one COCO JSON file | [`coco::boxes`], [`coco::masks`], [`coco::instances`], [`coco::key_points`] | boxes, masks together and one by one, key-points |
//!
//! Maps are found here and decoded by whoever looks at their pixels. An image is named by its place within the
//! collection without the extension, `/` between folders (see [`image_key`]); no two of a ground truth share a name.
//!
//! What can be read is read. An annotation, a box or a file that cannot is left out and told, in [`Truth::remarks`] or
//! [`Truth::left_out`]; only a ground truth without anything to compare with is an error.

pub mod coco;
mod files;
mod labels;
mod notes;
pub mod voc;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

pub use files::{
    FoundMaps, bare_key, files_below, image_key, label_maps, maps_below, name_key, numbered_key, plain_path,
    region_maps,
};
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

/// A ground truth, and what in it could not be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth<T> {
    /// Sorted by key.
    pub images: Vec<Annotated<T>>,
    /// One sentence each.
    pub remarks: Vec<String>,
    /// Files of single images that cannot be read.
    pub left_out: Vec<LeftOut>,
}

/// A file of a ground truth that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub path: PathBuf,
    pub reason: String,
}

impl<T> Truth<T> {
    /// Sorts `images`. Of files that differ in their extensions all but the first keep theirs in the name; of images that share
    /// a name even so the first is kept.
    fn new(path: &Path, mut images: Vec<Annotated<T>>, mut remarks: Vec<String>, left_out: Vec<LeftOut>) -> Self {
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
        let twice: BTreeSet<String> =
            images.windows(2).filter(|pair| pair[0].key == pair[1].key).map(|pair| pair[0].key.clone()).collect();
        images.dedup_by(|later, first| later.key == first.key);
        if let Some(key) = twice.first() {
            remarks.push(format!(
                "{}: {} of its images are there more than once (such as {key}); the first annotation of each is used",
                path.display(),
                twice.len()
            ));
        }
        Self { images, remarks, left_out }
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

    #[error("{} has nothing to compare with: {reason}", path.display())]
    NothingAnnotated { path: PathBuf, reason: String },
}

impl TruthError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TruthError::NoColumn { .. } => ErrorKind::Usage,
            TruthError::Unreadable { .. } => ErrorKind::InputOutput,
            TruthError::TooLarge { .. } | TruthError::Malformed { .. } | TruthError::NothingAnnotated { .. } => {
                ErrorKind::Untrusted
            }
        }
    }

    fn malformed(path: &Path, reason: impl ToString) -> Self {
        Self::Malformed { path: path.to_path_buf(), reason: reason.to_string() }
    }
}

/// The bytes of a file of at most `max_mebibytes`.
fn read_bytes(path: &Path, max_mebibytes: u64) -> Result<Vec<u8>, TruthError> {
    crate::files::read(path, max_mebibytes << 20).map_err(|source| match source.kind() {
        io::ErrorKind::FileTooLarge => TruthError::TooLarge { path: path.to_path_buf(), mebibytes: max_mebibytes },
        _ => TruthError::Unreadable { path: path.to_path_buf(), source },
    })
}
