//! Places for images whose names others have chosen: the entries of a list, the members of a tar.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Found;

/// The images sorted by the components of their relative paths, no two with one path, and none with a path that is that of a
/// folder of others: those that come later to a place that is taken get a number before their extension.
pub(super) fn at_places_of_their_own(mut found: Vec<Found>) -> Vec<Found> {
    // A stable order: who comes first to a place keeps it.
    found.sort_by(|a, b| a.relative.cmp(&b.relative));
    let (mut kept, mut others): (Vec<Found>, Vec<Found>) = (Vec::with_capacity(found.len()), Vec::new());
    let mut rest = found.into_iter().peekable();
    while let Some(entry) = rest.next() {
        let start = others.len();
        while let Some(next) = rest.next_if(|next| next.relative == entry.relative) {
            others.push(next);
        }
        // What lies in a folder comes right after what has the folder's name.
        let is_folder = rest.peek().is_some_and(|next| next.relative.starts_with(&entry.relative));
        if is_folder { others.insert(start, entry) } else { kept.push(entry) }
    }
    if others.is_empty() {
        return kept;
    }
    let mut taken: BTreeSet<PathBuf> = kept.iter().map(|entry| entry.relative.clone()).collect();
    let mut last = (PathBuf::new(), 1);
    for mut entry in others {
        // They come place by place.
        if last.0 != entry.relative {
            last = (entry.relative.clone(), 1);
        }
        let places = (last.1 + 1..).map(|number| (number, numbered(&entry.relative, number)));
        // Of endlessly many places one is free.
        if let Some((number, place)) = places.into_iter().find(|(_, place)| is_free(&taken, place)) {
            last.1 = number;
            taken.insert(place.clone());
            entry.relative = place;
        }
        kept.push(entry);
    }
    kept.sort_by(|a, b| a.relative.cmp(&b.relative));
    kept
}

/// Whether a place is neither another's nor a folder of others.
fn is_free(taken: &BTreeSet<PathBuf>, place: &Path) -> bool {
    taken.range(place.to_path_buf()..).next().is_none_or(|next| !next.starts_with(place))
}

/// `a/b-2.jpg` for `a/b.jpg` and 2.
fn numbered(relative: &Path, number: u64) -> PathBuf {
    let mut name = relative.file_stem().unwrap_or_default().to_os_string();
    name.push(format!("-{number}"));
    if let Some(extension) = relative.extension() {
        name.push(".");
        name.push(extension);
    }
    relative.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_images_have_one_place_and_none_that_of_a_folder() {
        for (given, expected) in [
            (
                &["b.jpg", "a.jpg", "b.jpg", "b-2.jpg", "b.jpg"][..],
                &["a.jpg", "b-2.jpg", "b-3.jpg", "b-4.jpg", "b.jpg"][..],
            ),
            (
                &["a.gif", "a.gif/1.png", "a.gif/1.png", "a-2.gif/x"],
                &["a-2.gif/x", "a-3.gif", "a.gif/1-2.png", "a.gif/1.png"],
            ),
            (&["a", "a", "a/b"], &["a/b", "a-2", "a-3"]),
        ] {
            let found =
                given.iter().enumerate().map(|(number, name)| Found::file(number.to_string().into(), name.into()));
            let placed = at_places_of_their_own(found.collect());
            let places: Vec<&Path> = placed.iter().map(|found| &*found.relative).collect();
            assert_eq!(places, expected.iter().map(Path::new).collect::<Vec<_>>());
            let mut files: Vec<&Path> = placed.iter().map(|found| &*found.path).collect();
            files.sort();
            assert_eq!(files.len(), given.len());
            files.dedup();
            assert_eq!(files.len(), given.len(), "each image once");
        }
    }
}
