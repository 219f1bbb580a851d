//! Passing over what runs have written into the folder that is searched: results are no input.

use std::path::{Path, PathBuf};

use super::DatasetError;
use super::passed_over::PassedOver;
use crate::manifest::Manifest;

/// Knows along a walk what runs have made.
#[derive(Debug, Default)]
pub(super) struct OwnResults {
    /// The folders above the entry that was last asked for, the innermost last, and what of them runs have made.
    above: Vec<Above>,
}

#[derive(Debug)]
struct Above {
    folder: PathBuf,
    made: Made,
    counted: bool,
}

#[derive(Debug)]
enum Made {
    Nothing,
    Listed(Manifest),
    /// The record cannot be read: what belongs to whom cannot be told.
    Unknown,
}

impl OwnResults {
    /// Whether runs have made the file or folder at `path`, which `passed_over` is told; a walk asks depth first.
    pub fn include(&mut self, path: &Path, passed_over: &mut PassedOver) -> bool {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return false };
        self.above.retain(|above| parent.starts_with(&above.folder));
        if self.above.last().is_none_or(|above| above.folder != parent) {
            let made = match Manifest::read(parent) {
                Ok(None) => Made::Nothing,
                Ok(Some(manifest)) => Made::Listed(manifest),
                Err(source) => {
                    let path = Manifest::path(parent);
                    passed_over.troubles.push_back(DatasetError::OwnResults { path, source });
                    Made::Unknown
                }
            };
            self.above.push(Above { folder: parent.to_path_buf(), made, counted: false });
        }
        let Some(above) = self.above.last_mut() else { return false };
        let own = match &above.made {
            Made::Nothing => false,
            Made::Listed(manifest) => name.to_str().is_some_and(|name| manifest.get(name).is_some()),
            Made::Unknown => true,
        };
        if own && !above.counted && !matches!(above.made, Made::Unknown) {
            above.counted = true;
            passed_over.folders += 1;
            passed_over.first_folder.get_or_insert_with(|| above.folder.clone());
        }
        own
    }
}
