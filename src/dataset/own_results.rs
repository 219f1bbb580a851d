//! Passing over what runs have written into the folder that is searched: results are no input.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::manifest::Manifest;

/// The output folders in which a search has passed over results.
#[derive(Debug, Default)]
pub struct PassedOver {
    pub folders: u64,
    /// The first of them.
    pub first: Option<PathBuf>,
    /// Folders whose record of what runs have made cannot be read, so that all in them was passed over, and why.
    pub(super) unreadable: VecDeque<(PathBuf, io::Error)>,
}

/// Knows along a walk what runs have made.
#[derive(Debug)]
pub(super) struct OwnResults {
    /// The folders above the entry that was last asked for, the innermost last, and what of them runs have made.
    above: Vec<Above>,
    passed_over: Arc<Mutex<PassedOver>>,
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
    /// For one walk, which says in `passed_over` what it passed over.
    pub fn new(passed_over: Arc<Mutex<PassedOver>>) -> OwnResults {
        *passed_over.lock().unwrap_or_else(PoisonError::into_inner) = PassedOver::default();
        OwnResults { above: Vec::new(), passed_over }
    }

    /// Where is said what was passed over.
    pub fn passed_over(&self) -> Arc<Mutex<PassedOver>> {
        Arc::clone(&self.passed_over)
    }

    /// Whether runs have made the file or folder at `path`; a walk asks depth first.
    pub fn include(&mut self, path: &Path) -> bool {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return false };
        self.above.retain(|above| parent.starts_with(&above.folder));
        if self.above.last().is_none_or(|above| above.folder != parent) {
            let made = match Manifest::read(parent) {
                Ok(None) => Made::Nothing,
                Ok(Some(manifest)) => Made::Listed(manifest),
                Err(error) => {
                    let mut passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
                    passed_over.unreadable.push_back((Manifest::path(parent), error));
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
            let mut passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
            passed_over.folders += 1;
            passed_over.first.get_or_insert_with(|| above.folder.clone());
        }
        own
    }
}
