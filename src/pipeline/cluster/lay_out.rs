//! The images of every cluster in a folder of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::ClusteredImage;
use crate::output::write_atomically;
use crate::pipeline::PipelineError;

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

impl LayOut {
    /// Refuses to replace a folder that no run made.
    pub fn check(self, out: &Path) -> Result<(), PipelineError> {
        let folder = out.join(FOLDER);
        let made_by_run = fs::read_to_string(folder.join(MARK)).is_ok_and(|text| text == MARK_TEXT);
        if folder.symlink_metadata().is_ok() && !made_by_run {
            return Err(PipelineError::Usage(format!(
                "{} is there already and was not laid out by deepcut; remove it or choose another --out",
                folder.display()
            )));
        }
        Ok(())
    }
}

/// Fills `OUT/clusters/<cluster>/` with the images at their places within the collection, so that no two have one name.
///
/// The folder is built under another name and replaces an older one at once.
pub fn lay_out(kind: LayOut, out: &Path, images: &[ClusteredImage]) -> Result<(), PipelineError> {
    kind.check(out)?;
    let (folder, unfinished, old) = (out.join(FOLDER), out.join(".clusters-unfinished"), out.join(".clusters-old"));
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |error: io::Error| {
            PipelineError::InputOutput(format!(
                "cannot lay out {}: {error}; check permissions and free space, then repeat the command",
                path.display()
            ))
        }
    };
    for left_over in [&unfinished, &old] {
        remove(left_over).map_err(failed(left_over))?;
    }
    fs::create_dir_all(&unfinished).map_err(failed(&unfinished))?;
    write_atomically(&unfinished.join(MARK), |writer| writer.write_all(MARK_TEXT.as_bytes()))?;
    for image in images {
        let Some(file) = &image.file else { continue };
        let target = unfinished.join(image.cluster.to_string()).join(place(image));
        let parent = target.parent().unwrap_or(&unfinished);
        fs::create_dir_all(parent).map_err(failed(parent))?;
        match kind {
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

/// An image's place within its cluster's folder; the parts of names are ordinary ones (see `dataset::Record`).
fn place(image: &ClusteredImage) -> PathBuf {
    image.name.split('/').collect()
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
