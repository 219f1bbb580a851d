//! The images of a folder and its sub-folders, in order.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{io, iter};

use ignore::{DirEntry, WalkBuilder};

use super::own_results::OwnResults;
use super::{DatasetError, Found, is_image};
use crate::files;

/// Walks through `root`, depth first, every folder's entries sorted by the bytes of their names.
pub(super) fn walk(
    root: &Path,
    own_results: OwnResults,
) -> impl Iterator<Item = Result<Found, DatasetError>> + Send + use<> {
    let root = root.to_path_buf();
    let passed_over = own_results.passed_over();
    let own_results = Mutex::new(own_results);
    WalkBuilder::new(&root)
        .hidden(true)
        .ignore(true)
        .git_ignore(true)
        .require_git(false)
        .add_custom_ignore_filename(".deepcutignore")
        // What lies outside the folder must not change what is in the collection.
        .parents(false)
        .git_global(false)
        .git_exclude(false)
        .follow_links(true)
        .sort_by_file_name(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()))
        .filter_entry(move |entry| {
            let mut own_results = own_results.lock().unwrap_or_else(PoisonError::into_inner);
            entry.depth() == 0 || !own_results.include(entry.path())
        })
        .build()
        .filter_map(move |entry| match entry {
            Ok(entry) => found(&root, entry),
            Err(error) => walk_error(&root, error).map(Err),
        })
        // After the walk, which only then knows all of them.
        .chain(iter::from_fn(move || {
            let mut passed_over = passed_over.lock().unwrap_or_else(PoisonError::into_inner);
            let (path, source) = passed_over.unreadable.pop_front()?;
            Some(Err(DatasetError::OwnResults { path, source }))
        }))
}

/// The entry, if it is an image.
fn found(root: &Path, entry: DirEntry) -> Option<Result<Found, DatasetError>> {
    // A folder comes with what was wrong with the ignore files in it; that it cannot be read comes by itself.
    if let Some(error) = entry.error().filter(|error| error.io_error().is_none()) {
        let (path, reason) = (entry.path().to_path_buf(), error.to_string());
        return Some(Err(DatasetError::IgnoreFile { path, reason }));
    }
    if !is_image(entry.path()) || entry.depth() == 0 {
        return None;
    }
    if !entry.file_type().is_some_and(|kind| kind.is_file()) {
        let kind = entry.path().metadata().ok().and_then(|metadata| files::kind(&metadata));
        return Some(Err(DatasetError::NoFile { path: entry.into_path(), kind: kind? }));
    }
    let path = entry.into_path();
    let relative = path.strip_prefix(root).ok()?.to_path_buf();
    Some(Ok(Found { path, relative }))
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
