//! Finding images that would be written to the same mask file, without holding all names of a collection.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::path::{Component, Path};

use super::{DatasetError, Record};

/// Lets the first of several records with the same output through and turns the others into errors.
///
/// Records must come sorted by the components of `relative`. Within a folder, names with the stem `s` are `s` itself
/// and names that start with `s.`; the latter are neighbours in the order, though with names such as `s.x.jpg`, or all
/// of a folder `s.x`, between them. So a record has to be remembered only until the order has passed every name that
/// starts with `s.`: usually until the next record comes.
#[derive(Debug, Default)]
pub(super) struct UniqueOutputs {
    remembered: Vec<Record>,
}

impl UniqueOutputs {
    pub(super) fn admit(&mut self, record: Record) -> Result<Record, DatasetError> {
        self.remembered.retain(|earlier| may_collide_later(&earlier.relative, &record.relative));
        let output = record.output_name();
        if let Some(first) = self.remembered.iter().find(|earlier| earlier.output_name() == output) {
            return Err(DatasetError::SameOutput { path: record.path, first: first.path.clone() });
        }
        self.remembered.push(record.clone());
        Ok(record)
    }
}

/// Whether `now` or a path after it can have the parent and the stem of `earlier`.
fn may_collide_later(earlier: &Path, now: &Path) -> bool {
    let (Some(parent), Some(stem)) = (earlier.parent(), earlier.file_stem()) else { return false };
    let Ok(below) = now.strip_prefix(parent) else { return false };
    let Some(Component::Normal(name)) = below.components().next() else { return false };
    compare_with_prefix(name, stem) != Ordering::Greater
}

/// How `name` is ordered against the names that start with `stem` and a dot; equal if it is one of them.
fn compare_with_prefix(name: &OsStr, stem: &OsStr) -> Ordering {
    let prefix_length = stem.len() + 1;
    let start = name.as_encoded_bytes().iter().take(prefix_length);
    start.cmp(stem.as_encoded_bytes().iter().chain(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of each pair that is refused, in the order of the paths.
    fn refused(mut names: Vec<&str>) -> Vec<(String, String)> {
        names.sort_by_key(|name| {
            Path::new(name).components().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>()
        });
        let mut outputs = UniqueOutputs::default();
        let mut refused = Vec::new();
        for name in names {
            let record = Record { path: name.into(), relative: name.into() };
            if let Err(DatasetError::SameOutput { path, first }) = outputs.admit(record) {
                refused.push((path.display().to_string(), first.display().to_string()));
            }
            assert!(outputs.remembered.len() <= 4);
        }
        refused
    }

    #[test]
    fn same_stems_are_found_however_far_apart() {
        for (names, expected) in [
            (vec!["a.jpg", "a.png"], vec![("a.png", "a.jpg")]),
            (vec!["a.jpg", "b.png", "x/a.png", "A.png", "a-1.jpg", "a.b.jpg"], vec![]),
            (
                vec!["a.jpg", "a.k/1.jpg", "a.k/1.png", "a.l.jpg", "a.m/z.gif", "a.png"],
                vec![("a.k/1.png", "a.k/1.jpg"), ("a.png", "a.jpg")],
            ),
            (
                vec!["a.bmp", "a.bmp.jpg", "a.bmp.png", "a.gif", "a.jpg"],
                vec![("a.bmp.png", "a.bmp.jpg"), ("a.gif", "a.bmp"), ("a.jpg", "a.bmp")],
            ),
            // A name without an extension is far from its namesakes: '-' comes before '.'.
            (vec!["a", "a-1.jpg", "a.jpg"], vec![("a.jpg", "a")]),
            (vec!["d/e/a.jpg", "d/e.jpg", "d/e.png", "d/f/a.jpg", "d.jpg"], vec![("d/e.png", "d/e.jpg")]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(path, first)| (path.to_string(), first.to_string())).collect();
            assert_eq!(refused(names.clone()), expected, "{names:?}");
        }
    }
}
