//! Files that list images.

mod forms;
mod line;

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::distinct::at_places_of_their_own;
use super::{DatasetError, Found, ordinary_components};
use crate::event::counted;
use crate::files;
use crate::remote::{Address, is_remote};
use forms::Outcome;

/// The entries of a list, sorted by the components of their relative paths, each image once.
#[derive(Debug)]
pub(super) struct ImageList {
    list: PathBuf,
    found: Vec<Found>,
    /// Numbers of lines or elements that lead to no file name, such as `..`, and what stands there.
    nameless: Vec<(usize, String)>,
    read: Outcome,
}

impl ImageList {
    pub(super) fn found(list: Arc<Self>) -> impl Iterator<Item = Result<Found, DatasetError>> + Send {
        (0..list.nameless.len() + list.found.len()).map(move |index| match list.nameless.get(index) {
            Some((number, entry)) => {
                let (path, place) = (list.list.clone(), format!("{} {number}", list.read.unit));
                Err(DatasetError::NoFileName { path, place, entry: entry.clone() })
            }
            None => Ok(list.found[index - list.nameless.len()].clone()),
        })
    }

    /// What is worth telling of how the list was read.
    pub(super) fn remark(&self) -> Option<String> {
        let (lines, list) = (counted(self.read.with_more, "line"), self.list.display());
        let verb = if self.read.with_more == 1 { "has" } else { "have" };
        (self.read.with_more > 0)
            .then(|| format!("{lines} of {list} {verb} more than a path, such as a label, which does not count"))
    }
}

/// Whether a name ends as lists' names do.
pub(super) fn has_name(path: &Path) -> bool {
    let extensions = ["txt", "lst", "list", "csv", "tsv", "json", "jsonl", "ndjson"];
    path.extension().is_some_and(|extension| extensions.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// Reads the list at `path`; see [`super::Collection::records`] for its forms.
pub(super) fn read(path: &Path) -> Result<ImageList, DatasetError> {
    let folder = Folder::of(path);
    // What is elsewhere is not asked for its odd names one by one.
    let is_here = !is_remote(path);
    let exists =
        |entry: &str| is_here && fs::metadata(folder.given.join(entry)).is_ok_and(|metadata| !metadata.is_dir());
    let (mut found, mut nameless) = (Vec::new(), Vec::new());
    let read = forms::read(path, &exists, &mut |number, entry| {
        let file = entry.and_then(|entry| folder.found(Path::new(&entry)).ok_or(entry));
        match file {
            Ok(file) => found.push(file),
            Err(entry) => nameless.push((number, entry)),
        }
    })?;
    Ok(ImageList { list: path.to_path_buf(), found: at_places_of_their_own(each_once(found)), nameless, read })
}

/// The entries with every file once at a place, the plainest way to it first, so that an entry of the list's folder keeps its
/// place.
fn each_once(mut found: Vec<Found>) -> Vec<Found> {
    let key = |entry: &Found| (entry.path.components().count(), entry.path.clone());
    found.sort_by(|a, b| a.relative.cmp(&b.relative).then_with(|| key(a).cmp(&key(b))));
    let mut kept: Vec<Found> = Vec::with_capacity(found.len());
    // The files at the place of the entry that was kept last, once there is a second entry for it.
    let mut files_here: HashSet<PathBuf> = HashSet::new();
    for entry in found {
        match kept.last() {
            Some(last) if last.relative == entry.relative => {
                if files_here.is_empty() {
                    files_here.insert(real_path(&last.path));
                }
                if files_here.insert(real_path(&entry.path)) {
                    kept.push(entry);
                }
            }
            _ => {
                files_here.clear();
                kept.push(entry);
            }
        }
    }
    kept
}

/// The folder that a list lies in.
struct Folder {
    /// As the list's path names it; empty for the working folder.
    given: PathBuf,
    /// Absolute spellings: through links as the path goes, and without them.
    absolute: Vec<PathBuf>,
}

impl Folder {
    fn of(list: &Path) -> Self {
        let given = list.parent().unwrap_or(Path::new("")).to_path_buf();
        let nonempty = files::parent(list);
        if let Some(address) = Address::of(nonempty) {
            return Self { absolute: vec![address.as_path()], given };
        }
        let spellings = [std::path::absolute(nonempty).map(|path| without_dots(&path)), nonempty.canonicalize()];
        Self { absolute: spellings.into_iter().flatten().collect(), given }
    }

    /// An entry's file; none if it has no file name.
    fn found(&self, entry: &Path) -> Option<Found> {
        // `..` is taken out of names by their text alone. Where links make that wrong, it is only the place of the
        // results that has an unexpected name, still unique and still below the output folder.
        let address = Address::of(entry);
        let plain = address.as_ref().map_or_else(|| without_dots(entry), Address::as_path);
        let target = match &address {
            Some(_) => Some(plain.clone()),
            None => self.absolute.first().map(|absolute| without_dots(&absolute.join(&plain))),
        };
        let inside = target.and_then(|target| {
            self.absolute.iter().find_map(|folder| target.strip_prefix(folder).ok().map(Path::to_path_buf))
        });
        // Elsewhere the place begins with the bucket or the server: not every system's names have colons.
        let begins = usize::from(address.is_some() && inside.is_none());
        let relative: PathBuf = ordinary_components(&inside.unwrap_or(plain)).skip(begins).collect();
        relative.file_name()?;
        if address.is_some() {
            return Some(Found::object(entry.to_path_buf(), None, relative));
        }
        let entry: PathBuf = entry.components().filter(|component| *component != Component::CurDir).collect();
        let path = self.given.join(entry);
        Some(if is_remote(&path) { Found::object(path, None, relative) } else { Found::file(path, relative) })
    }
}

/// The path without `.`, and with every `..` cancelled against the name before it; a `..` at the start stays.
fn without_dots(path: &Path) -> PathBuf {
    let mut kept: Vec<Component> = Vec::new();
    for component in path.components() {
        match (component, kept.last()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                kept.pop();
            }
            _ => kept.push(component),
        }
    }
    kept.into_iter().collect()
}

/// A file's own path, whatever links lead to it; the given one where it cannot be told.
fn real_path(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_results_stay_below_the_output_folder() {
        let folder = Folder { given: "lists".into(), absolute: vec!["/home/me/lists".into(), "/disk/lists".into()] };
        for (entry, path, relative) in [
            ("a.jpg", "lists/a.jpg", Some("a.jpg")),
            ("./sub/./a.jpg", "lists/sub/a.jpg", Some("sub/a.jpg")),
            ("sub/../a.jpg", "lists/sub/../a.jpg", Some("a.jpg")),
            ("/home/me/lists/sub/a.jpg", "/home/me/lists/sub/a.jpg", Some("sub/a.jpg")),
            ("/disk/lists/a.jpg", "/disk/lists/a.jpg", Some("a.jpg")),
            ("../lists/a.jpg", "lists/../lists/a.jpg", Some("a.jpg")),
            ("../a.jpg", "lists/../a.jpg", Some("a.jpg")),
            ("x/../../../../../../etc/a.jpg", "lists/x/../../../../../../etc/a.jpg", Some("etc/a.jpg")),
            ("/etc/../a.jpg", "/etc/../a.jpg", Some("a.jpg")),
            ("/../etc/a", "/../etc/a", Some("etc/a")),
            ("..", "", None),
            (".", "", None),
            ("/", "", None),
            ("a/..", "", None),
        ] {
            let expected = relative.map(|relative| Found::file(path.into(), relative.into()));
            assert_eq!(folder.found(Path::new(entry)), expected, "{entry}");
        }
    }
}
