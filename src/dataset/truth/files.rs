//! Files of ground truth in folders, and the names of the images they belong to.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use super::{Annotated, Truth, TruthError};
use crate::dataset::ordinary_components;
use crate::event::and_more;
use crate::names;

/// The extensions of files that label maps may be in, in lower case. Of two with one name the earlier is the map: PNG is what
/// most are in, and JPEG, which keeps no numbers, what photographs are in.
const MAP_EXTENSIONS: [&str; 7] = ["png", "tif", "tiff", "bmp", "gif", "jpg", "jpeg"];

/// What the names of masks have behind the names of their images, in lower case.
const MASK_SUFFIXES: [&str; 7] = ["_mask", "-mask", "_gt", "_segmentation", "_label", "_labels", "_seg"];

/// The name of an image: its place within the collection without the extension, `/` between folders on every system and
/// what is no text escaped as in [`names`].
pub fn image_key(relative: &Path) -> String {
    name_key(&names::portable(relative))
}

/// The same of an image that is named in text, as in a table of results or an annotation.
pub fn name_key(name: &str) -> String {
    let bare = Path::new(name).with_extension("");
    ordinary_components(&bare).filter_map(|part| part.to_str()).collect::<Vec<_>>().join("/")
}

/// A path that may come from elsewhere, `/` between its parts: an address loses its scheme, its server and its query, `%20`
/// stands for a space, and `\` divides folders as `/` does.
pub fn plain_path(path: &str) -> String {
    let path = match path.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            let path = rest.split(['?', '#']).next().unwrap_or(rest);
            path.split_once('/').map_or("", |(_, path)| path)
        }
        _ => path,
    };
    let path = names::percent_decoded(path).unwrap_or_else(|| path.to_string()).replace('\\', "/");
    ordinary_components(Path::new(&path)).filter_map(|part| part.to_str()).collect::<Vec<_>>().join("/")
}

/// The key of the image that a mask of this key is named after, as `a` of `a_mask`; none where the name does not end so.
pub fn bare_key(key: &str) -> Option<&str> {
    let end = |suffix: &str| key.len().checked_sub(suffix.len()).filter(|&end| key.is_char_boundary(end));
    MASK_SUFFIXES.iter().find_map(|suffix| {
        let (bare, found) = key.split_at(end(suffix)?);
        (found.eq_ignore_ascii_case(suffix) && !bare.is_empty() && !bare.ends_with('/')).then_some(bare)
    })
}

/// The files below `root` with one of the given extensions (in any case), relative to it, sorted by the parts of their paths.
/// Hidden files and folders are passed over; ignore files do not count, and links are followed.
pub fn files_below(root: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, TruthError> {
    let mut files = Vec::new();
    for entry in WalkBuilder::new(root).standard_filters(false).hidden(true).follow_links(true).build() {
        let entry = match entry {
            Ok(entry) => entry,
            // A loop of links leads to nothing new.
            Err(error) if error.io_error().is_none() => continue,
            Err(error) => {
                let source = io::Error::other(error.to_string());
                return Err(TruthError::Unreadable { path: root.to_path_buf(), source });
            }
        };
        if rank(entry.path(), extensions).is_some() && entry.file_type().is_some_and(|kind| kind.is_file()) {
            files.extend(entry.path().strip_prefix(root).ok().map(Path::to_path_buf));
        }
    }
    files.sort();
    Ok(files)
}

/// The place of a file's extension among `extensions`.
fn rank(path: &Path, extensions: &[&str]) -> Option<usize> {
    let found = path.extension()?;
    extensions.iter().position(|extension| found.eq_ignore_ascii_case(extension))
}

/// The label maps below a folder.
#[derive(Debug)]
pub struct FoundMaps {
    /// Each with the key of its image, sorted by it.
    pub maps: Vec<(String, PathBuf)>,
    /// On files that were taken for no map.
    pub remark: Option<String>,
}

/// The label maps below `root`.
///
/// Of several files of one key only one is a map, and a JPEG file is none where a map in another format has its last name,
/// as photographs have that lie beside their masks.
pub fn maps_below(root: &Path) -> Result<FoundMaps, TruthError> {
    let mut by_key: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut beside: Vec<PathBuf> = Vec::new();
    let rank = |path: &Path| rank(path, &MAP_EXTENSIONS);
    for relative in files_below(root, &MAP_EXTENSIONS)? {
        match by_key.entry(image_key(&relative)) {
            Entry::Vacant(place) => {
                place.insert(relative);
            }
            Entry::Occupied(mut place) => {
                let other = if rank(&relative) < rank(place.get()) { place.insert(relative) } else { relative };
                beside.push(other);
            }
        }
    }
    let is_photograph = |path: &Path| rank(path) >= Some(MAP_EXTENSIONS.len() - 2);
    let last = |key: &str| bare_key(key).unwrap_or(key).rsplit('/').next().map(str::to_string);
    let masked: BTreeSet<Option<String>> =
        by_key.iter().filter(|(_, path)| !is_photograph(path)).map(|(key, _)| last(key)).collect();
    by_key.retain(|key, path| {
        let is_beside = is_photograph(path) && masked.contains(&last(key));
        beside.extend(is_beside.then(|| path.clone()));
        !is_beside
    });
    let remark = beside.first().map(|first| {
        format!(
            "{}: left out, for a map of the same name is there: {}{}",
            root.display(),
            first.display(),
            and_more(beside.len() - 1)
        )
    });
    Ok(FoundMaps { maps: by_key.into_iter().map(|(key, relative)| (key, root.join(relative))).collect(), remark })
}

/// The label maps below `root`, one per image of the same name; see [`maps_below`].
pub fn label_maps(root: &Path) -> Result<Truth<PathBuf>, TruthError> {
    let FoundMaps { maps, remark } = maps_below(root)?;
    let annotated = |(key, path): (String, PathBuf)| Annotated { key, file: None, size: None, content: path };
    Ok(Truth::new(root, maps.into_iter().map(annotated).collect(), remark.into_iter().collect(), Vec::new()))
}

/// The key of the image and the number k of a map with the key `ID_k`, one of several of the image.
pub fn numbered_key(key: &str) -> Option<(&str, u32)> {
    let (image, number) = key.rsplit_once('_')?;
    let number = number.parse().ok()?;
    (!image.is_empty() && !image.ends_with('/')).then_some((image, number))
}

/// The region maps below `root`: `ID_k.png` is what annotator k (a number) made of the image ID; ordered by k.
pub fn region_maps(root: &Path) -> Result<Truth<Vec<PathBuf>>, TruthError> {
    let mut images: BTreeMap<String, Vec<(u32, PathBuf)>> = BTreeMap::new();
    let mut remarks = Vec::new();
    for relative in files_below(root, &["png"])? {
        match numbered_key(&image_key(&relative)) {
            Some((image, number)) => {
                images.entry(image.to_string()).or_default().push((number, root.join(&relative)));
            }
            None => remarks.push(format!(
                "{} is left out: its name does not end in _ and the annotator's number",
                root.join(&relative).display()
            )),
        }
    }
    let annotated = |(key, mut maps): (String, Vec<(u32, PathBuf)>)| {
        maps.sort();
        Annotated { key, file: None, size: None, content: maps.into_iter().map(|(_, path)| path).collect() }
    };
    Ok(Truth::new(root, images.into_iter().map(annotated).collect(), remarks, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_elsewhere_are_plain() {
        for (name, expected) in [
            ("images\\a.b.jpg", "images/a.b.jpg"),
            ("C:\\data\\a", "C:/data/a"),
            ("https://host.example/data/a.jpg?x=1.5#y/z", "data/a.jpg"),
            ("https://host.example", ""),
            ("my%20images/%C3%A4.jpg", "my images/ä.jpg"),
            ("100%.jpg", "100%.jpg"),
            ("%ff.jpg", "%ff.jpg"),
            ("/abs/./a.jpg", "abs/a.jpg"),
        ] {
            assert_eq!(plain_path(name), expected);
        }
    }

    #[test]
    fn masks_are_named_after_their_images() {
        for (key, expected) in [
            ("s/a_mask", Some("s/a")),
            ("a_Segmentation", Some("a")),
            ("a-mask", Some("a")),
            ("a_labels", Some("a")),
            ("mask", None),
            ("s/_mask", None),
            ("ä_g", None),
        ] {
            assert_eq!(bare_key(key), expected);
        }
    }

    #[test]
    fn photographs_beside_their_masks_are_no_maps() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a.png", "a.jpg", "img/b.jpg", "b_mask.png", "c.JPG", "d.tif", "d.bmp", "e.gif", "f.txt"] {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let FoundMaps { maps, remark } = maps_below(root.path()).unwrap();
        let names: Vec<String> =
            maps.iter().map(|(_, path)| names::portable(path.strip_prefix(root.path()).unwrap())).collect();
        assert_eq!(names, ["a.png", "b_mask.png", "c.JPG", "d.tif", "e.gif"]);
        assert!(remark.unwrap().ends_with("a.jpg and 2 more"));
    }
}
