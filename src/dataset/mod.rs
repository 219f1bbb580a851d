//! What a collection of images is: a folder, a text file that lists images, or one image.
//!
//! A collection yields its records in one order, whatever the file system: by the bytes of the path's components, a
//! folder's files and sub-folders together. Every record knows where its results go below an output folder.
//! [`truth`] reads what people know about the images of a collection.

mod discovery;
mod error;
mod list;
mod same_output;
pub mod sample;
pub mod truth;

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::{fs, io, iter};

use burn_dataset::Dataset;

pub use error::DatasetError;
pub use sample::{SampleConfig, TooManyBad};

use list::ImageList;
use same_output::UniqueOutputs;

/// The extensions of image files, in lower case; a file's own may be in any case.
pub const IMAGE_EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "gif"];

/// One image of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// Where the image is read from.
    pub path: PathBuf,
    /// The image's place within the collection: at least one component, all of them ordinary names, so that it stays
    /// below any folder it is joined to.
    pub relative: PathBuf,
}

impl Record {
    /// Where the image's mask goes, relative to an output folder: `relative` with the extension `png` in place of its
    /// own (`a.b.jpg` gives `a.b.png`).
    pub fn output_name(&self) -> PathBuf {
        self.relative.with_extension("png")
    }
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
}

#[derive(Debug, Clone)]
enum Source {
    Folder(PathBuf),
    List(Arc<ImageList>),
    Image(Record),
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
        Source::Image(Record { path: path.to_path_buf(), relative })
    } else {
        Source::List(Arc::new(list::read(path)?))
    };
    Ok(Collection { path: path.to_path_buf(), name: name_of(path, metadata.is_dir()), source, index: OnceLock::new() })
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
    /// Lists: every line that is not blank and does not start with `#`, relative to the list's folder or absolute, each
    /// image once. Whether the images exist shows when they are read.
    ///
    /// An error concerns one file or folder and never ends the iteration. Among them is every image whose mask would
    /// replace that of an image before it.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, DatasetError>> + Send + use<> {
        let mut outputs = UniqueOutputs::default();
        self.all_records().map(move |candidate| candidate.and_then(|record| outputs.admit(record)))
    }

    /// As [`Collection::records`], with images of one name and different extensions too: for what writes no masks.
    pub fn all_records(&self) -> Box<dyn Iterator<Item = Result<Record, DatasetError>> + Send> {
        match &self.source {
            Source::Folder(root) => Box::new(discovery::walk(root)),
            Source::List(list) => Box::new(ImageList::records(Arc::clone(list))),
            Source::Image(record) => Box::new(iter::once(Ok(record.clone()))),
        }
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

/// A relative path with `/` between its parts on every system.
pub fn portable_path(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
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
        name.map(|name| name.to_string_lossy().into_owned())
    };
    of(path).or_else(|| of(&path.canonicalize().ok()?)).unwrap_or_else(|| "collection".to_owned())
}

#[cfg(test)]
mod tests;
