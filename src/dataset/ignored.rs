//! What ignore files leave out of a folder's collection.

use std::io;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::DatasetError;
use crate::files;

/// The ignore files that are this program's own, which always count.
pub(super) const OWN: &str = ".deepcutignore";
/// Those of other programs.
pub(super) const OTHERS: [&str; 2] = [".ignore", ".gitignore"];
/// No ignore file is larger.
const MOST_BYTES: u64 = 16 << 20;

/// Knows along a walk which ignore files count. Files outside the folder that is walked through never do.
#[derive(Debug)]
pub(super) struct IgnoreFiles {
    /// In the order in which they are asked.
    names: &'static [&'static str],
    /// The folders above the entry that was last asked for, the innermost last, with what their ignore files say, name by
    /// name.
    above: Vec<(PathBuf, Vec<Gitignore>)>,
}

impl IgnoreFiles {
    pub fn new(respect_others: bool) -> IgnoreFiles {
        const ALL: [&str; 3] = [OWN, OTHERS[0], OTHERS[1]];
        const OWN_ALONE: [&str; 1] = [OWN];
        IgnoreFiles { names: if respect_others { &ALL } else { &OWN_ALONE }, above: Vec::new() }
    }

    /// The name of the ignore files that leave out the file or folder at `path`, if any do; a walk asks depth first. What is
    /// wrong with them goes to `troubles`.
    pub fn leave_out(
        &mut self,
        path: &Path,
        is_folder: bool,
        troubles: &mut impl Extend<DatasetError>,
    ) -> Option<&'static str> {
        let parent = path.parent()?;
        self.above.retain(|(folder, _)| parent.starts_with(folder));
        if self.above.last().is_none_or(|(folder, _)| folder != parent) {
            let files = self.names.iter().map(|name| read(parent, name, troubles)).collect();
            self.above.push((parent.to_path_buf(), files));
        }
        // Of one name the innermost file decides that says anything.
        let verdict = |at: usize| {
            let mut verdicts = self.above.iter().rev().map(|(_, files)| files[at].matched(path, is_folder));
            verdicts.find(|verdict| !verdict.is_none())
        };
        let decided = self.names.iter().enumerate().find_map(|(at, name)| Some((*name, verdict(at)?)));
        decided.filter(|(_, verdict)| verdict.is_ignore()).map(|(name, _)| name)
    }
}

/// What the ignore file of this name in a folder says: nothing where there is none.
fn read(folder: &Path, name: &str, troubles: &mut impl Extend<DatasetError>) -> Gitignore {
    let read = || files::read_rest(files::open_ordinary(&folder.join(name))?, MOST_BYTES, 0);
    let bytes = match read() {
        Ok(bytes) => bytes,
        // What is no file is none of this name.
        Err(error) if files::says_absent(&error) || error.kind() == io::ErrorKind::InvalidInput => {
            return Gitignore::empty();
        }
        Err(error) => {
            troubles.extend([broken(folder, format!("cannot read {name}: {error}"))]);
            return Gitignore::empty();
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut builder = GitignoreBuilder::new(folder);
    let lines = text.trim_start_matches('\u{FEFF}').lines();
    // What is right in it counts, and of what is wrong the first is named.
    let wrong: Vec<ignore::Error> = lines.filter_map(|line| builder.add_line(None, line).err()).collect();
    troubles.extend(wrong.first().map(|error| broken(folder, format!("{name}: {error}"))));
    builder.build().unwrap_or_else(|error| {
        troubles.extend([broken(folder, format!("{name}: {error}"))]);
        Gitignore::empty()
    })
}

fn broken(folder: &Path, reason: String) -> DatasetError {
    DatasetError::IgnoreFile { path: folder.to_path_buf(), reason }
}
