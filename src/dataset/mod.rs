//! What a collection of images is: a folder, a text file that lists images, or one image.
//!
//! A collection yields its records in one order, whatever the file system: by the bytes of the path's components, a
//! folder's files and sub-folders together. Every record knows where its results go below an output folder.
//! [`truth`] reads what people know about the images of a collection.

mod discovery;
mod error;
mod list;
mod own_results;
mod places;
pub mod sample;
mod text;
pub mod truth;

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{fs, io, iter};

use burn_dataset::Dataset;

pub use error::DatasetError;
pub use sample::{SampleConfig, TooManyBad};

use crate::names;
use list::ImageList;
use own_results::{OwnResults, PassedOver};
use places::Places;

/// The extensions of image files, in lower case; a file's own may be in any case.
pub const IMAGE_EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "gif"];

/// One image of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// Where the image is read from.
    pub path: PathBuf,
    /// The image's place within the collection: at least one component, all of them ordinary names, so that it stays
    /// below any folder it is joined to. No two images of a collection have one.
    pub relative: PathBuf,
    /// The place of its results below an output folder, to which every kind of result adds its own extension: `relative`
    /// without the extension, or where an image before it has that, with it. No two images of a collection have one.
    pub output: PathBuf,
}

/// An image as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    relative: PathBuf,
}

/// A collection of images that exists; see [`open`].
///
/// It is a stream of records ([`Collection::records`]) of any length, and a burn dataset of those records that can be used:
/// only the dataset, asked for its length or by number, holds all records in memory.
#[derive(Debug, Clone)]
pub struct Collection {
    path: PathBuf,
    name: String,
    source: Source,
    /// The usable records, once somebody asks by number.
    index: OnceLock<Vec<Record>>,
    /// What the last search passed over.
    passed_over: Arc<Mutex<PassedOver>>,
}

#[derive(Debug, Clone)]
enum Source {
    Folder(PathBuf),
    List(Arc<ImageList>),
    Image(Found),
}

/// Opens the collection at `path`: a folder, which is searched with its sub-folders; a file with an image's extension;
/// or any other file, which must be UTF-8 text with the path of one image per line (see [`Collection::records`]).
pub fn open(path: &Path) -> Result<Collection, DatasetError> {
    let metadata = fs::metadata(path).map_err(|source| DatasetError::reading(path, source))?;
    let source = if metadata.is_dir() {
        // Learn now rather than in the middle of a run that the folder cannot be read.
        fs::read_dir(path).map_err(|source| DatasetError::reading(path, source))?;
        Source::Folder(path.to_path_buf())
    } else if is_image(path) {
        let relative = ordinary_components(path).next_back().map(PathBuf::from);
        let relative = relative.ok_or_else(|| DatasetError::reading(path, io::ErrorKind::InvalidFilename.into()))?;
        Source::Image(Found { path: path.to_path_buf(), relative })
    } else {
        Source::List(Arc::new(list::read(path)?))
    };
    Ok(Collection {
        path: path.to_path_buf(),
        name: name_of(path, metadata.is_dir()),
        source,
        index: OnceLock::new(),
        passed_over: Arc::default(),
    })
}

impl Collection {
    /// Opens the collection at `path`; see [`open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Collection, DatasetError> {
        open(path.as_ref())
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A name for what is made of the collection: that of the folder, or of the file without its extension.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// The images in order, read from the disk as the iterator advances; every call starts anew.
    ///
    /// Folders: files with one of [`IMAGE_EXTENSIONS`]; hidden files and folders are skipped, and so is what
    /// `.gitignore`, `.ignore` and `.deepcutignore` files inside the folder exclude. Symbolic links are followed; a link
    /// to a folder that contains it adds nothing and is passed over. At a time only the entries of one folder and its
    /// ancestors are in memory.
    ///
    /// What runs have written into the folder or one below it is no part of the collection: see [`crate::manifest`].
    ///
    /// Lists: every line that is not blank, relative to the list's folder or absolute, each image once. A line that starts
    /// with `#` is a comment; `\#` at its start stands for a name that does. Whether the images exist shows when they are
    /// read. Where entries outside the list's folder have a place that is taken, `-2`, `-3`, … come before their extension.
    ///
    /// An error concerns one file or folder and never ends the iteration.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, DatasetError>> + Send + use<> {
        let found: Box<dyn Iterator<Item = Result<Found, DatasetError>> + Send> = match &self.source {
            Source::Folder(root) => Box::new(discovery::walk(root, OwnResults::new(Arc::clone(&self.passed_over)))),
            Source::List(list) => Box::new(ImageList::found(Arc::clone(list))),
            Source::Image(found) => Box::new(iter::once(Ok(found.clone()))),
        };
        let mut places = Places::default();
        found.map(move |found| found.map(|Found { path, relative }| places.record(path, relative)))
    }

    /// In how many folders the search for [`Collection::records`] that began last has passed over what runs have written
    /// there, so far, and the first of them.
    pub fn passed_over(&self) -> (u64, Option<PathBuf>) {
        let passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
        (passed_over.folders, passed_over.first.clone())
    }

    fn index(&self) -> &[Record] {
        self.index.get_or_init(|| self.records().flatten().collect())
    }
}

impl Dataset<Record> for Collection {
    fn get(&self, index: usize) -> Option<Record> {
        self.index().get(index).cloned()
    }

    fn len(&self) -> usize {
        self.index().len()
    }
}

/// Whether the file's extension is that of an image.
fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|extension| IMAGE_EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// The names in a path, without root, drive, `.` and `..`.
fn ordinary_components(path: &Path) -> impl DoubleEndedIterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// The last name in the path as it was given; of paths such as `.` and `..` that of the folder they lead to.
fn name_of(path: &Path, is_folder: bool) -> String {
    let of = |path: &Path| {
        let name = if is_folder { path.file_name() } else { path.file_stem() };
        name.map(names::text)
    };
    of(path).or_else(|| of(&path.canonicalize().ok()?)).unwrap_or_else(|| "collection".to_owned())
}

#[cfg(test)]
mod tests;
