//! Files of ground truth in folders, and the names of the images they belong to.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use super::{Annotated, Truth, TruthError};
use crate::dataset::ordinary_components;
use crate::names;

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

/// The files below `root` with the given extension (in any case), relative to it, sorted by the parts of their paths.
/// Hidden files and folders are passed over; ignore files do not count, and links are followed.
pub fn files_below(root: &Path, extension: &str) -> Result<Vec<PathBuf>, TruthError> {
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
        let named_so = entry.path().extension().is_some_and(|found| found.eq_ignore_ascii_case(extension));
        if named_so && entry.file_type().is_some_and(|kind| kind.is_file()) {
            files.extend(entry.path().strip_prefix(root).ok().map(Path::to_path_buf));
        }
    }
    files.sort();
    Ok(files)
}

/// The PNG label maps below `root`, one per image of the same name.
pub fn label_maps(root: &Path) -> Result<Truth<PathBuf>, TruthError> {
    let files = files_below(root, "png")?;
    let annotated = |relative: PathBuf| Annotated {
        key: image_key(&relative),
        file: None,
        size: None,
        content: root.join(relative),
    };
    Truth::new(root, files.into_iter().map(annotated).collect(), Vec::new())
}

/// The region maps below `root`: `ID_k.png` is what annotator k (a number) made of the image ID; ordered by k.
pub fn region_maps(root: &Path) -> Result<Truth<Vec<PathBuf>>, TruthError> {
    let mut images: BTreeMap<String, Vec<(u32, PathBuf)>> = BTreeMap::new();
    let mut remarks = Vec::new();
    for relative in files_below(root, "png")? {
        let key = image_key(&relative);
        let annotator = key.rsplit_once('_').and_then(|(image, number)| Some((image, number.parse::<u32>().ok()?)));
        match annotator {
            Some((image, number)) if !image.is_empty() && !image.ends_with('/') => {
                images.entry(image.to_string()).or_default().push((number, root.join(&relative)));
            }
            _ => remarks.push(format!(
                "{} is left out: its name does not end in _ and the annotator's number",
                root.join(&relative).display()
            )),
        }
    }
    let annotated = |(key, mut maps): (String, Vec<(u32, PathBuf)>)| {
        maps.sort();
        Annotated { key, file: None, size: None, content: maps.into_iter().map(|(_, path)| path).collect() }
    };
    Truth::new(root, images.into_iter().map(annotated).collect(), remarks)
}
