//! The images of a folder and its sub-folders, in order.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{io, iter};

use ignore::{DirEntry, WalkBuilder};

use super::ignored::IgnoreFiles;
use super::own_results::OwnResults;
use super::passed_over::PassedOver;
use super::{DatasetError, Found, has_image_name, holds_images};
use crate::files;
use crate::parallel::lock;

/// What decides along a walk which files and folders it goes into.
struct Filter {
    respect_ignore: bool,
    own_results: OwnResults,
    ignore_files: IgnoreFiles,
    passed_over: Arc<Mutex<PassedOver>>,
}

impl Filter {
    fn lets_through(&mut self, entry: &DirEntry) -> bool {
        if entry.depth() == 0 {
            return true;
        }
        let mut passed_over = lock(&self.passed_over);
        if is_hidden(entry) {
            passed_over.add_hidden(&entry.file_name().to_string_lossy(), self.respect_ignore);
            return false;
        }
        if self.own_results.include(entry.path(), &mut passed_over) {
            return false;
        }
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        match self.ignore_files.leave_out(entry.path(), is_folder, &mut passed_over.troubles) {
            Some(by) => {
                passed_over.add_left_out(by);
                false
            }
            None => true,
        }
    }
}

/// Walks through `root`, depth first, every folder's entries sorted by the bytes of their names, and says in `passed_over`
/// what is no image. `.gitignore` and `.ignore` files count only if they are to be respected.
pub(super) fn walk(
    root: &Path,
    respect_ignore: bool,
    passed_over: Arc<Mutex<PassedOver>>,
) -> impl Iterator<Item = Result<Found, DatasetError>> + Send + use<> {
    let root = root.to_path_buf();
    let filter = Mutex::new(Filter {
        respect_ignore,
        own_results: OwnResults::default(),
        ignore_files: IgnoreFiles::new(respect_ignore),
        passed_over: Arc::clone(&passed_over),
    });
    let troubles = Arc::clone(&passed_over);
    WalkBuilder::new(&root)
        // Its filters do not say what they leave out.
        .standard_filters(false)
        .follow_links(true)
        .sort_by_file_name(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()))
        .filter_entry(move |entry| lock(&filter).lets_through(entry))
        .build()
        .filter_map(move |entry| match entry {
            Ok(entry) => found(&root, entry, &passed_over),
            Err(error) => walk_error(&root, error).map(Err),
        })
        // After the walk, which only then knows all of them.
        .chain(iter::from_fn(move || lock(&troubles).troubles.pop_front().map(Err)))
}

/// The entry, if it is an image: by its name, and any other file by its first bytes.
fn found(root: &Path, entry: DirEntry, passed_over: &Mutex<PassedOver>) -> Option<Result<Found, DatasetError>> {
    let kind = entry.file_type()?;
    let named_so = has_image_name(entry.path());
    if entry.depth() == 0 || (kind.is_dir() && !named_so) {
        return None;
    }
    if named_so && !kind.is_file() {
        let kind = entry.path().metadata().ok().and_then(|metadata| files::kind(&metadata));
        return Some(Err(DatasetError::NoFile { path: entry.into_path(), kind: kind? }));
    }
    if !named_so {
        let is_picture = if kind.is_file() { files::is_picture(entry.path()) } else { Ok(false) };
        let mut passed_over = lock(passed_over);
        match is_picture {
            Ok(true) => {}
            Ok(false) if kind.is_file() && holds_images(entry.path()) => {
                passed_over.add_collection(entry.path());
                return None;
            }
            Ok(false) => {
                passed_over.add_no_image(entry.path());
                return None;
            }
            Err(_) => {
                passed_over.add_unreadable();
                return None;
            }
        }
    }
    let path = entry.into_path();
    let relative = path.strip_prefix(root).ok()?.to_path_buf();
    Some(Ok(Found::file(path, relative)))
}

/// Whether a file or folder is hidden, as its system hides some.
fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".") || has_hidden_attribute(entry)
}

#[cfg(windows)]
fn has_hidden_attribute(entry: &DirEntry) -> bool {
    use std::os::windows::fs::MetadataExt;
    const HIDDEN: u32 = 2;
    entry.metadata().is_ok_and(|metadata| metadata.file_attributes() & HIDDEN != 0)
}

#[cfg(not(windows))]
fn has_hidden_attribute(_entry: &DirEntry) -> bool {
    false
}

/// What an error of the walk means; none for what does not concern the collection.
fn walk_error(root: &Path, error: ignore::Error) -> Option<DatasetError> {
    let mut path = root.to_path_buf();
    let source = innermost(error, &mut path)?;
    let name = path.file_name().unwrap_or_default();
    if path != root && name.as_encoded_bytes().starts_with(b".") {
        // Editors leave hidden links to nothing behind.
        return None;
    }
    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) && !path.exists() {
        return Some(DatasetError::BrokenLink { path });
    }
    Some(DatasetError::reading(&path, source))
}

/// The cause of `error`, and its path in `path`; none for loops of links, whose files were all seen on the way.
fn innermost(error: ignore::Error, path: &mut PathBuf) -> Option<io::Error> {
    match error {
        ignore::Error::WithPath { path: inner, err } => {
            *path = inner;
            innermost(*err, path)
        }
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => innermost(*err, path),
        ignore::Error::Loop { .. } => None,
        // The walk wraps the system's error in text that repeats the path.
        ignore::Error::Io(error) => {
            let code = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
            Some(code.map_or(error, io::Error::from_raw_os_error))
        }
        other => Some(io::Error::other(other.to_string())),
    }
}
