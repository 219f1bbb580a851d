//! Whether all that runs have left in a folder is as they wrote it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::kind::ImageFile;
use super::{ResultsError, ResultsFolder, TableLine};
use crate::event::{Event, Observer, Phase};
use crate::manifest::{self, Made, Manifest};
use crate::names;
use crate::output::{FileState, LayOut, file_state};

/// What was found in an output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Files that were held against what is known of them.
    pub checked: u64,
    /// Those that are not as they were written, with what is wrong.
    pub faults: Vec<(PathBuf, Fault)>,
    /// Whether a run that segments images is not finished here: only files that hold all images were checked.
    pub unfinished: bool,
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    Missing,
    Damaged,
    /// Whole, but not as it was written.
    Changed,
}

impl Fault {
    fn of(state: FileState) -> Option<Fault> {
        match state {
            FileState::Intact => None,
            FileState::Absent => Some(Fault::Missing),
            FileState::Damaged => Some(Fault::Damaged),
            FileState::Changed => Some(Fault::Changed),
        }
    }
}

/// Holds every file of finished runs in `out` against its checksum. Caches are left out: their entries are checked when
/// they are used.
///
/// # Errors
/// [`ResultsError::NoRun`] if no run has written there; if something cannot be read, or the table of images is broken.
pub fn verify(out: &Path, observer: &dyn Observer) -> Result<Verification, ResultsError> {
    let path = Manifest::path(out);
    let mut found = Verification { checked: 0, faults: Vec::new(), unfinished: false };
    let manifest = match Manifest::read(out) {
        Ok(manifest) => manifest.ok_or_else(|| ResultsError::NoRun { out: out.to_path_buf() })?,
        // Without the record nothing else can be judged.
        Err(error) if manifest::is_broken(&error) => {
            found.add(path.strip_prefix(out).map_or(path.clone(), Path::to_path_buf), FileState::Damaged);
            return Ok(found);
        }
        Err(source) => return Err(ResultsError::Unreadable { path, source }),
    };
    let folder = ResultsFolder::new(out);
    for (name, made) in manifest.made() {
        let Made::File(contents) = made else { continue };
        if contents.is_empty() {
            continue;
        }
        let path = names::path(name);
        let state = file_state(&out.join(&path), contents, None);
        let state = state.map_err(|source| ResultsError::Unreadable { path: out.join(&path), source })?;
        found.add(path, state);
    }
    let laid_out =
        LayOut::states(out).map_err(|source| ResultsError::Unreadable { path: out.to_path_buf(), source })?;
    for (path, state) in laid_out {
        found.add(path, state);
    }
    let Some(kinds) = manifest.images() else {
        found.unfinished = folder.labels().exists();
        return Ok(found);
    };
    observer.observe(Event::PhaseStarted { phase: Phase::Verification, total: None });
    let table = match File::open(folder.table()) {
        Ok(file) => BufReader::new(file),
        // Listed above already.
        Err(_) => return Ok(found),
    };
    for (index, text) in table.split(b'\n').enumerate() {
        let text = text.map_err(|source| ResultsError::Unreadable { path: folder.table(), source })?;
        // What is wrong with the table as a whole was found above.
        let Ok(line) = serde_json::from_slice::<TableLine>(&text) else { continue };
        if line.is_done() {
            let place = names::path(&line.key());
            for kind in ImageFile::ALL {
                let path = kind.path(&folder, &place);
                let state = kind
                    .state(&folder, &place)
                    .map_err(|source| ResultsError::Unreadable { path: path.clone(), source })?;
                // What earlier runs wrote beside the masks is checked where it is there.
                if kinds.contains(kind.name()) || (state != FileState::Absent && manifest.get(kind.name()).is_some()) {
                    found.add(path.strip_prefix(out).map_or(path.clone(), Path::to_path_buf), state);
                }
            }
        }
        observer.observe(Event::PhaseProgress { phase: Phase::Verification, done: index as u64 + 1 });
    }
    observer.observe(Event::PhaseFinished { phase: Phase::Verification });
    Ok(found)
}

impl Verification {
    fn add(&mut self, path: PathBuf, state: FileState) {
        self.checked += 1;
        self.faults.extend(Fault::of(state).map(|fault| (path, fault)));
    }
}
