//! The images of every cluster in a folder of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{OutputError, write_atomically};
use crate::error::ErrorKind;

/// How images come into the folders of their clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayOut {
    /// Symbolic links to the images.
    Link,
    /// Copies of the images.
    Copy,
}

const FOLDER: &str = "clusters";
/// Keeps searches for images out of the folder, and shows that a run made it.
const MARK: &str = ".deepcutignore";
const MARK_TEXT: &str = "# Laid out by `deepcut cluster`: these images are results, no collection.\n*\n";

/// Why images cannot be laid out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayOutError {
    #[error("{} is there already and was not laid out by deepcut; remove it or choose another folder", folder.display())]
    Occupied { folder: PathBuf },
    #[error("cannot lay out {}: {source}; check permissions and free space, then repeat the command", path.display())]
    Failed { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl LayOutError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            LayOutError::Occupied { .. } => ErrorKind::Usage,
            LayOutError::Failed { .. } | LayOutError::Output(_) => ErrorKind::InputOutput,
        }
    }
}

impl LayOut {
    /// Refuses to replace a folder in `out` that no run made.
    pub fn check_folder(out: &Path) -> Result<(), LayOutError> {
        let folder = out.join(FOLDER);
        let made_by_run = fs::read_to_string(folder.join(MARK)).is_ok_and(|text| text == MARK_TEXT);
        if folder.symlink_metadata().is_ok() && !made_by_run {
            return Err(LayOutError::Occupied { folder });
        }
        Ok(())
    }

    /// Fills `OUT/clusters/<cluster>/` with images, given as their place within the collection, their file and their
    /// cluster. No two places are the same, and their parts are ordinary names.
    ///
    /// The folder is built under another name and replaces an older one at once.
    pub fn lay_out<'a>(
        self,
        out: &Path,
        images: impl Iterator<Item = (PathBuf, &'a Path, u32)>,
    ) -> Result<(), LayOutError> {
        LayOut::check_folder(out)?;
        let (folder, unfinished, old) = (out.join(FOLDER), out.join(".clusters-unfinished"), out.join(".clusters-old"));
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source: io::Error| LayOutError::Failed { path, source }
        };
        for left_over in [&unfinished, &old] {
            remove(left_over).map_err(failed(left_over))?;
        }
        fs::create_dir_all(&unfinished).map_err(failed(&unfinished))?;
        write_atomically(&unfinished.join(MARK), |writer| writer.write_all(MARK_TEXT.as_bytes()))?;
        for (name, file, cluster) in images {
            let target = unfinished.join(cluster.to_string()).join(name);
            let parent = target.parent().unwrap_or(&unfinished);
            fs::create_dir_all(parent).map_err(failed(parent))?;
            match self {
                LayOut::Copy => fs::copy(file, &target).map(drop),
                LayOut::Link => fs::canonicalize(file).and_then(|file| link(&file, &target)),
            }
            .map_err(failed(&target))?;
        }
        if folder.exists() {
            fs::rename(&folder, &old).map_err(failed(&folder))?;
        }
        fs::rename(&unfinished, &folder).map_err(failed(&folder))?;
        remove(&old).map_err(failed(&old))
    }
}

/// Removes a folder with all its content, if it is there; links in it are removed and not followed.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn link(file: &Path, target: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(file, target)
}

#[cfg(windows)]
fn link(file: &Path, target: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(file, target)
}
