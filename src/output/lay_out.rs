//! The images of every cluster in a folder of their own.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Claim, FileState, OutputError, OutputFolder};
use crate::error::ErrorKind;
use crate::files::{absent, says_absent};
use crate::manifest;

/// How images come into the folders of their clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayOut {
    /// Symbolic links to the images.
    Link,
    /// Copies of the images.
    Copy,
}

const FOLDER: &str = "clusters";
/// What is in the folder, a line for every image, beside the manifest.
const LIST: &str = "clusters.jsonl";

/// Why images cannot be laid out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayOutError {
    #[error("cannot lay out {}: {source}; check permissions and free space, then repeat the command", path.display())]
    Failed { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl LayOutError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            LayOutError::Failed { .. } => ErrorKind::InputOutput,
            LayOutError::Output(error) => error.kind(),
        }
    }
}

/// One image that was laid out; as it then was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Placed {
    /// Where the link leads.
    Link(OsString),
    /// Length and time of change of the copy.
    Copy(u64, SystemTime),
}

impl Placed {
    /// What is at `path` now; none if that cannot have been laid out.
    fn at(path: &Path) -> io::Result<Option<Placed>> {
        let metadata = path.symlink_metadata()?;
        Ok(if metadata.is_symlink() {
            Some(Placed::Link(fs::read_link(path)?.into_os_string()))
        } else if metadata.is_file() {
            Some(Placed::Copy(metadata.len(), metadata.modified()?))
        } else {
            None
        })
    }
}

impl LayOut {
    /// The name below an output folder that is written.
    pub fn claim() -> Claim {
        Claim::folder(FOLDER)
    }

    /// Refuses to replace a folder in `out` in which something is not as a run left it.
    pub fn check_folder(out: &Path) -> Result<(), LayOutError> {
        let folder = out.join(FOLDER);
        if folder.symlink_metadata().is_err() {
            return Ok(());
        }
        check(&folder, out)
    }

    /// What has become of the images that were laid out; none where nothing was.
    pub fn states(out: &Path) -> io::Result<Vec<(PathBuf, FileState)>> {
        let mut states = Vec::new();
        for (place, placed) in read_list(out)? {
            let place = Path::new(FOLDER).join(place);
            let state = match Placed::at(&out.join(&place)) {
                Ok(found) if found.as_ref() == Some(&placed) => FileState::Intact,
                Ok(_) => FileState::Changed,
                Err(error) if says_absent(&error) => FileState::Absent,
                Err(error) => return Err(error),
            };
            states.push((place, state));
        }
        states.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(states)
    }

    /// Fills `OUT/clusters/<cluster>/` with images, given as their place within the collection, their file and their
    /// cluster. No two places are the same, and their parts are ordinary names.
    ///
    /// The folder is built under another name and replaces an older one at once, of which [`LayOut::check_folder`] must
    /// have approved.
    pub fn lay_out<'a>(
        self,
        out: &OutputFolder,
        images: impl Iterator<Item = (PathBuf, &'a Path, u32)>,
    ) -> Result<(), LayOutError> {
        LayOut::check_folder(out.root())?;
        let folder = out.root().join(FOLDER);
        let (unfinished, old) = (out.temporary().join(FOLDER), out.temporary().join("old-clusters"));
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source: io::Error| LayOutError::Failed { path, source }
        };
        for left_over in [&unfinished, &old] {
            remove(left_over).map_err(failed(left_over))?;
        }
        fs::create_dir_all(&unfinished).map_err(failed(&unfinished))?;
        let mut list = String::new();
        for (place, file, cluster) in images {
            let place = Path::new(&cluster.to_string()).join(place);
            let target = unfinished.join(&place);
            let parent = target.parent().unwrap_or(&unfinished);
            fs::create_dir_all(parent).map_err(failed(parent))?;
            match self {
                LayOut::Copy => fs::copy(file, &target).and_then(|_| File::open(&target)?.sync_all()),
                LayOut::Link => fs::canonicalize(file).and_then(|file| link(&file, &target)),
            }
            .map_err(failed(&target))?;
            let placed = Placed::at(&target).map_err(failed(&target))?;
            list +=
                &serde_json::to_string(&(place.as_os_str(), placed)).map_err(|error| failed(&target)(error.into()))?;
            list.push('\n');
        }
        if folder.symlink_metadata().is_ok() {
            fs::rename(&folder, &old).map_err(failed(&folder))?;
            // Laying out takes its time, in which somebody may have added something.
            if let Err(error) = check(&old, out.root()) {
                fs::rename(&old, &folder).map_err(failed(&folder))?;
                return Err(error);
            }
        }
        // Between the folders: killed here, the next run finds none, and no list of another one.
        out.keep_beside(LIST, list.as_bytes())?;
        fs::rename(&unfinished, &folder).map_err(failed(&folder))?;
        out.renamed(&folder)?;
        remove(&old).map_err(failed(&old))
    }
}

/// Refuses a folder in which something is not as a run laid it out in `out`.
fn check(folder: &Path, out: &Path) -> Result<(), LayOutError> {
    let failed = |source| LayOutError::Failed { path: folder.to_path_buf(), source };
    let placed = read_list(out).map_err(failed)?;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inner) = folders.pop() {
        let mut entries = fs::read_dir(inner).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(path);
                continue;
            }
            let known = path.strip_prefix(folder).ok().and_then(|inside| placed.get(inside.as_os_str()));
            if known.is_none() || known != Placed::at(&path).map_err(failed)?.as_ref() {
                return Err(OutputError::Foreign { path }.into());
            }
        }
    }
    Ok(())
}

/// What was laid out in `out`, by the places in the folder.
fn read_list(out: &Path) -> io::Result<HashMap<OsString, Placed>> {
    let text = match fs::read_to_string(out.join(manifest::FOLDER).join(LIST)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    // A line that cannot be read is an image that is not known.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Removes a folder with all its content, if it is there; links in it are removed and not followed.
fn remove(folder: &Path) -> io::Result<()> {
    absent(fs::remove_dir_all(folder))
}

#[cfg(unix)]
fn link(file: &Path, target: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(file, target)
}

#[cfg(windows)]
fn link(file: &Path, target: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(file, target)
}
