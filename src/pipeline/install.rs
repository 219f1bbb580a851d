//! Weights are installed by copying them to where all runs find them.

use std::path::{Path, PathBuf};

use super::PipelineError;
use crate::features::vit::VitShape;
use crate::files;
use crate::output::write_atomically;
use crate::weights::{EXTENSIONS, INSTALLED_NAME, StateDict, installed};

/// Copies a weights file to where runs find it, after checking that it holds a vision transformer.
pub fn install_weights(path: &Path) -> Result<PathBuf, PipelineError> {
    if !path.is_file() {
        return Err(PipelineError::NoWeightsFile { path: path.to_path_buf() });
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !EXTENSIONS.contains(&extension) {
        return Err(PipelineError::WeightsExtension { path: path.to_path_buf() });
    }
    let state = StateDict::open(path)?;
    // Every width is a number of heads one channel wide: here only the tensors matter.
    VitShape::from_state_dict(&state, Some(1))?;
    let installed = installed();
    let folder = installed.folder.ok_or(PipelineError::NoHome)?;
    let target = folder.join(INSTALLED_NAME).with_extension(extension);
    write_atomically(&target, |writer| {
        std::io::copy(&mut files::open_ordinary(path)?, writer)?;
        Ok(())
    })?;
    if let Some(previous) = installed.found.filter(|previous| *previous != target) {
        std::fs::remove_file(&previous)
            .map_err(|source| PipelineError::OldWeights { path: previous.clone(), source })?;
    }
    Ok(target)
}
