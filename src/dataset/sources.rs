//! Where the images of a collection are: one folder, list or image, or several of them together.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{braces, has_file_name, has_image_name, name_of};
use crate::names;
use crate::remote::{Address, is_remote};

/// Sources that are named where all of them are.
const MOST_NAMED: usize = 3;

/// One or several folders, lists of images, tars, or images, in the order in which their images come.
///
/// Braces in a path stand for several, as in shells (`shards/{000..099}.tar`), unless there is something of that very name.
/// The images of a single source have their places in it. Those of several are below the names of their sources, `a/…`
/// and `b/…`; where an earlier one has the name, `-2`, `-3`, … follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources(Vec<PathBuf>);

impl From<Vec<PathBuf>> for Sources {
    fn from(paths: Vec<PathBuf>) -> Self {
        Sources(paths.into_iter().flat_map(expanded).collect())
    }
}

impl From<PathBuf> for Sources {
    fn from(path: PathBuf) -> Self {
        Sources(expanded(path))
    }
}

impl From<&Path> for Sources {
    fn from(path: &Path) -> Self {
        path.to_path_buf().into()
    }
}

impl Sources {
    /// The paths of all.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// For messages and reports: the path of a single source, the first ones of several.
    pub fn display(&self) -> impl fmt::Display {
        let mut shown: Vec<String> = self.0.iter().take(MOST_NAMED).map(|path| path.display().to_string()).collect();
        let more = self.0.len() - shown.len();
        shown.extend((more > 0).then(|| format!("{more} more")));
        shown.join(", ")
    }

    /// A name for what is made of all images: that of the folder, or of the file without its extension; `a+b` of several.
    pub fn name(&self) -> String {
        let mut shown: Vec<String> = self.0.iter().take(MOST_NAMED).map(|path| names::text(&name_of(path))).collect();
        let more = self.0.len() - shown.len();
        shown.extend((more > 0).then(|| format!("{more}-more")));
        shown.join("+")
    }

    /// The folders below which the images of every source have their places; none for a single one.
    pub(super) fn prefixes(&self) -> Vec<Option<OsString>> {
        if let [_] = self.0.as_slice() {
            return vec![None];
        }
        // Some systems do not tell capitals apart.
        let mut taken: HashSet<String> = HashSet::new();
        let prefix = |path: &PathBuf| {
            let name = name_of(path);
            let numbered = (2..).map(|number| {
                let mut numbered = name.clone();
                numbered.push(format!("-{number}"));
                numbered
            });
            let mut candidates = std::iter::once(name.clone()).chain(numbered);
            // Of endlessly many one is free.
            Some(candidates.find(|name| taken.insert(name.to_string_lossy().to_lowercase())).unwrap_or_default())
        };
        self.0.iter().map(prefix).collect()
    }

    /// The place in the collection of a file or folder that lies in one of the sources; elsewhere its path.
    pub fn place_of(&self, path: &Path) -> PathBuf {
        let place = |(source, prefix): (&PathBuf, Option<OsString>)| {
            let inside = path.strip_prefix(source).ok()?;
            let prefix = PathBuf::from(prefix.unwrap_or_default());
            // The source itself is called by its name.
            let name = || PathBuf::from(source.file_name().unwrap_or(source.as_os_str()));
            Some(if inside.as_os_str().is_empty() { prefix.join(name()) } else { prefix.join(inside) })
        };
        self.0.iter().zip(self.prefixes()).find_map(place).unwrap_or_else(|| path.to_path_buf())
    }

    /// The path of an image at a place in the collection, where its source is a folder, or lies elsewhere; else the place.
    pub fn path_of(&self, place: &Path) -> PathBuf {
        let path = |(source, prefix): (&PathBuf, Option<OsString>)| {
            let inside = match prefix {
                None => place,
                Some(prefix) => place.strip_prefix(Path::new(&prefix)).ok()?,
            };
            (source.is_dir() || is_remote(source)).then(|| source.join(inside))
        };
        self.0.iter().zip(self.prefixes()).find_map(path).unwrap_or_else(|| place.to_path_buf())
    }

    /// Two sources of which the first is or contains the second, so that images would be there twice.
    pub(super) fn nested(&self) -> Option<(&Path, &Path)> {
        let real =
            |path: &Path| Address::of(path).map_or_else(|| path.canonicalize().ok(), |address| Some(address.as_path()));
        let real: Vec<(&Path, PathBuf)> =
            self.0.iter().filter_map(|path| Some((path.as_path(), real(path)?))).collect();
        let mut by_path: HashMap<&Path, (usize, &Path)> = HashMap::new();
        for (at, (given, real)) in real.iter().enumerate() {
            by_path.entry(real).or_insert((at, given));
        }
        real.iter().enumerate().find_map(|(at, (given, real))| {
            // What a list in a folder names may lie elsewhere, and what a tar in it holds is not the folder's.
            let is_folder = if is_remote(real) { !has_file_name(real) } else { real.is_dir() };
            let may_lie_inside = is_folder || has_image_name(real);
            let outer = real.ancestors().enumerate().filter(|(above, _)| *above == 0 || may_lie_inside);
            let mut outer = outer.filter_map(|(_, path)| by_path.get(path));
            outer.find(|(other, _)| *other != at).map(|(_, outer)| (*outer, *given))
        })
    }
}

/// The paths that one with braces stands for.
fn expanded(path: PathBuf) -> Vec<PathBuf> {
    let names = path.to_str().filter(|text| text.contains('{') && !path.exists()).and_then(braces::expand);
    names.map_or_else(|| vec![path], |names| names.into_iter().map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_several_sources_are_below_names_of_their_own() {
        let one = Sources::from(Path::new("x/photos"));
        assert_eq!(
            (one.name(), one.prefixes(), one.display().to_string()),
            ("photos".into(), vec![None], "x/photos".into())
        );
        assert_eq!(one.place_of(Path::new("x/photos/a/b.jpg")), Path::new("a/b.jpg"));
        assert_eq!(one.place_of(Path::new("x/photos")), Path::new("photos"));
        let shards = Sources::from(Path::new("x/{08..10}.tar"));
        assert_eq!((shards.name(), shards.paths().len()), ("08+09+10".into(), 3));
        let paths = ["x/photos", "y/Photos", "z/list.txt", "w/photos-2", "x/photos/1.jpg"].map(PathBuf::from);
        let several = Sources::from(paths.to_vec());
        let prefixes: Vec<_> = several.prefixes().into_iter().flatten().collect();
        assert_eq!(prefixes, ["photos", "Photos-2", "list", "photos-2-2", "1"]);
        assert_eq!(several.name(), "photos+Photos+list+2-more");
        assert_eq!(several.display().to_string(), "x/photos, y/Photos, z/list.txt, 2 more");
        assert_eq!(several.place_of(Path::new("y/Photos/a.jpg")), Path::new("Photos-2/a.jpg"));
        assert_eq!(several.place_of(Path::new("elsewhere/a.jpg")), Path::new("elsewhere/a.jpg"));
    }
}
