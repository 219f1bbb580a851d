//! Where the results of every image go below an output folder, without holding all names of a collection.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::{Found, Record, ordinary_components};

/// What results add to an image's place: a folder of the collection with such a name could stand where a file is to go.
const RESULT_EXTENSIONS: [&str; 4] = ["png", "jpg", "txt", "xml"];

/// Gives every record a place that no other has: its path without the extension if that is free, otherwise with it, and if
/// that is taken too, with `-2`, `-3`, … after it.
///
/// Images must come sorted by the components of their relative paths. What has the stem `s` is `s` itself or starts with
/// `s.`; the latter are neighbours in the order, though with names such as `s.x.jpg`, or all of a folder `s.x`, between
/// them. So a place has to be remembered only until the order has passed every name that starts with `s.`: usually until
/// the next record comes.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Names in the output folder itself.
    taken: Vec<Taken>,
    /// The folders on the way to the last record.
    folders: Vec<Folder>,
}

#[derive(Debug)]
struct Folder {
    name: OsString,
    output: OsString,
    /// Names in it.
    taken: Vec<Taken>,
}

#[derive(Debug)]
enum Taken {
    /// Several files, whose names are this one and an extension.
    Files(OsString),
    Folder(OsString),
}

impl Places {
    pub(super) fn record(&mut self, found: Found) -> Record {
        let Found { path, stored, frame, relative } = found;
        let mut parts: Vec<&OsStr> = ordinary_components(&relative).collect();
        let file = Path::new(parts.pop().unwrap_or_default());
        let common = self.folders.iter().zip(&parts).take_while(|(folder, part)| folder.name == **part).count();
        self.folders.truncate(common);
        for name in &parts[common..] {
            let output = take(self.innermost(), name, [name], Taken::Folder);
            self.folders.push(Folder { name: name.to_os_string(), output, taken: Vec::new() });
        }
        let name = file.as_os_str();
        let last = take(self.innermost(), name, [file.file_stem().unwrap_or(name), name], Taken::Files);
        let output = self.folders.iter().map(|folder| &folder.output).chain([&last]).collect();
        Record { path, stored, frame, relative, output }
    }

    fn innermost(&mut self) -> &mut Vec<Taken> {
        self.folders.last_mut().map_or(&mut self.taken, |folder| &mut folder.taken)
    }
}

/// Takes the first of the candidates that is free for what is called `name` in the collection.
fn take<const N: usize>(
    taken: &mut Vec<Taken>,
    name: &OsStr,
    candidates: [&OsStr; N],
    kind: fn(OsString) -> Taken,
) -> OsString {
    taken.retain(|earlier| earlier.may_collide_from(name));
    let numbered = (2..).map(|number| {
        let mut candidate = name.to_os_string();
        candidate.push(format!("-{number}"));
        candidate
    });
    let mut candidates = candidates.into_iter().map(OsStr::to_os_string).chain(numbered);
    let free = |candidate: &OsString| {
        let wanted = kind(candidate.clone());
        !taken.iter().any(|earlier| earlier.collides(&wanted))
    };
    // Of endlessly many candidates one is free.
    let found = candidates.find(free).unwrap_or_default();
    taken.push(kind(found.clone()));
    found
}

impl Taken {
    fn collides(&self, other: &Taken) -> bool {
        match (self, other) {
            (Taken::Files(one), Taken::Files(other)) | (Taken::Folder(one), Taken::Folder(other)) => one == other,
            (Taken::Files(files), Taken::Folder(folder)) | (Taken::Folder(folder), Taken::Files(files)) => {
                without_result_extension(folder) == Some(files)
            }
        }
    }

    /// Whether `now` or a name after it in the order can want the same.
    fn may_collide_from(&self, now: &OsStr) -> bool {
        match self {
            Taken::Files(name) => compare_with_prefix(now, name) != Ordering::Greater,
            Taken::Folder(name) => {
                now.as_encoded_bytes() <= name.as_encoded_bytes()
                    || without_result_extension(name)
                        .is_some_and(|bare| compare_with_prefix(now, bare) != Ordering::Greater)
            }
        }
    }
}

fn without_result_extension(folder: &OsStr) -> Option<&OsStr> {
    let folder = Path::new(folder);
    let extension = folder.extension()?;
    RESULT_EXTENSIONS.iter().any(|result| extension.eq_ignore_ascii_case(result)).then(|| folder.file_stem()).flatten()
}

/// How `name` is ordered against the names that start with `stem` and a dot; equal if it is one of them.
fn compare_with_prefix(name: &OsStr, stem: &OsStr) -> Ordering {
    let prefix_length = stem.len() + 1;
    let start = name.as_encoded_bytes().iter().take(prefix_length);
    start.cmp(stem.as_encoded_bytes().iter().chain(b"."))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;

    /// The places of images by their names, in the order of the paths.
    fn places(names: &[&str]) -> Vec<String> {
        let mut paths: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
        paths.sort();
        let mut places = Places::default();
        let place = |path: PathBuf| {
            let output = places.record(Found::file(path.clone(), path.clone())).output;
            let remembered = places.taken.len() + places.folders.iter().map(|folder| folder.taken.len()).sum::<usize>();
            assert!(remembered <= 6, "{remembered}");
            format!("{} {}", path.display(), output.display())
        };
        paths.into_iter().map(place).collect()
    }

    #[test]
    fn every_image_has_a_place_of_its_own() {
        for (names, expected) in [
            (&["a.jpg", "a.png", "b.c.jpg"][..], &["a.jpg a", "a.png a.png", "b.c.jpg b.c"][..]),
            (&["a.b.jpg", "a.jpg", "x/a.png"], &["a.b.jpg a.b", "a.jpg a", "x/a.png x/a"]),
            (
                &["a.jpg", "a.k/1.jpg", "a.k/1.png", "a.l.jpg", "a.m/z.gif", "a.png"],
                &["a.jpg a", "a.k/1.jpg a.k/1", "a.k/1.png a.k/1.png", "a.l.jpg a.l", "a.m/z.gif a.m/z", "a.png a.png"],
            ),
            (
                &["a.bmp", "a.bmp.jpg", "a.bmp.png", "a.gif", "a.gif.jpg"],
                &["a.bmp a", "a.bmp.jpg a.bmp", "a.bmp.png a.bmp.png", "a.gif a.gif", "a.gif.jpg a.gif.jpg"],
            ),
            // A name without an extension is far from its namesakes: '-' comes before '.'.
            (&["a", "a-1.jpg", "a.jpg"], &["a a", "a-1.jpg a-1", "a.jpg a.jpg"]),
            (&["a.jpg", "a.jpg-2.png", "a.png"], &["a.jpg a", "a.jpg-2.png a.jpg-2", "a.png a.png"]),
            // A folder cannot be where a file of results is.
            (&["a.jpg", "a.png/b.jpg", "a.png/c.jpg"], &["a.jpg a", "a.png/b.jpg a.png-2/b", "a.png/c.jpg a.png-2/c"]),
            (
                &["a.png/b.jpg", "a.png-2/b.jpg", "a.jpg"],
                &["a.jpg a", "a.png/b.jpg a.png-2/b", "a.png-2/b.jpg a.png-2-2/b"],
            ),
            (&["a.png/b.jpg", "a.webp"], &["a.png/b.jpg a.png/b", "a.webp a.webp"]),
            (&["a.webp", "a.webp.png/b.jpg"], &["a.webp a", "a.webp.png/b.jpg a.webp.png/b"]),
        ] {
            assert_eq!(places(names), expected, "{names:?}");
        }
    }

    #[test]
    fn no_two_files_of_results_meet() {
        // Every collection of up to five of these.
        let names =
            ["a", "a-2.jpg", "a.jpg", "a.jpg.png", "a.jpg/b.png", "a.png", "a.png-2/b", "a.png.png/b", "a.png/b"];
        for chosen in 0..1u32 << names.len() {
            let names: Vec<&str> = (0..names.len()).filter(|at| chosen >> at & 1 == 1).map(|at| names[at]).collect();
            // A file and a folder of one name cannot be.
            if names.iter().any(|name| {
                names.iter().any(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')))
            }) {
                continue;
            }
            let found = places(&names);
            let outputs: Vec<&str> = found.iter().map(|line| line.rsplit_once(' ').unwrap().1).collect();
            let files: BTreeSet<String> =
                outputs.iter().flat_map(|output| [format!("{output}.png"), format!("{output}.jpg")]).collect();
            assert_eq!(files.len(), 2 * names.len(), "{found:?}");
            let folders = outputs.iter().filter_map(|output| output.split_once('/')).map(|(folder, _)| folder);
            folders.for_each(|folder| assert!(!files.contains(folder), "{found:?}"));
        }
    }
}
