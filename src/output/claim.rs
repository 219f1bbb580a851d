//! Whether what lies where a run will write was made by a run.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::OutputError;
use crate::manifest::{Made, Manifest};

/// A name below an output folder that a run will write.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Relative to the folder, `/` between parts.
    pub name: String,
    pub made: Made,
    /// Whether a file with contents that no run gave it is whole, and so somebody's, or else a damaged one of a run's; if none,
    /// the extension tells.
    pub is_whole: Option<fn(&Path) -> bool>,
}

impl Claim {
    pub fn folder(name: &str) -> Claim {
        Claim { name: name.to_string(), made: Made::Folder, is_whole: None }
    }

    pub fn file(name: &str) -> Claim {
        Claim { name: name.to_string(), made: Made::File(Vec::new()), is_whole: None }
    }

    pub fn working(name: &str) -> Claim {
        Claim { name: name.to_string(), made: Made::Working, is_whole: None }
    }
}

/// Refuses what lies under claimed names and is not from a run, or not as a run left it.
pub(super) fn check(root: &Path, manifest: Option<&Manifest>, claims: &[Claim]) -> Result<(), OutputError> {
    for claim in claims {
        let path = root.join(&claim.name);
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if says_absent(&error) => continue,
            Err(source) => return Err(OutputError::Read { path, source }),
        };
        let known = manifest.and_then(|manifest| manifest.get(&claim.name));
        let foreign = match (&claim.made, known) {
            // Links are nobody's: what is behind them lies elsewhere.
            (Made::Folder, _) if !metadata.is_dir() => true,
            (Made::Folder, Some(_)) => false,
            (Made::Folder, None) => {
                let mut entries =
                    fs::read_dir(&path).map_err(|source| OutputError::Read { path: path.clone(), source })?;
                entries.next().is_some()
            }
            (Made::File(_) | Made::Working, None) => true,
            (Made::File(_) | Made::Working, Some(_)) => !metadata.is_file(),
        };
        if foreign {
            return Err(OutputError::Foreign { path });
        }
        if let (Made::File(_), Some(Made::File(contents))) = (&claim.made, known) {
            let file_state = file_state(&path, contents, claim.is_whole);
            if file_state.map_err(|source| OutputError::Read { path: path.clone(), source })? == FileState::Changed {
                return Err(OutputError::Changed { path });
            }
        }
    }
    Ok(())
}

/// What has become of a file that a run wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    Absent,
    Intact,
    /// Nobody can want what is there.
    Damaged,
    /// Whole, but not as it was written: somebody may want it.
    Changed,
}

/// Whether an error says that there is no file, as there cannot be one whose name is too long.
pub fn says_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename)
}

/// The state of a file whose contents have been any of these (blake3). Other contents are changed ones if the file is whole,
/// which `is_whole` tells, or else the extension.
pub fn file_state(path: &Path, contents: &[String], is_whole: Option<fn(&Path) -> bool>) -> io::Result<FileState> {
    let mut hasher = blake3::Hasher::new();
    match File::open(path) {
        Ok(mut file) => drop(io::copy(&mut file, &mut hasher)?),
        Err(error) if says_absent(&error) => return Ok(FileState::Absent),
        Err(error) => return Err(error),
    };
    let hash = hasher.finalize().to_hex();
    if contents.iter().any(|content| content == hash.as_str()) {
        return Ok(FileState::Intact);
    }
    let whole = is_whole.map_or_else(|| is_whole_text(path), |is_whole| is_whole(path));
    Ok(if whole { FileState::Changed } else { FileState::Damaged })
}

/// Whether a text is a whole one: it is UTF-8 with something in it, and JSON where its extension says so.
fn is_whole_text(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let Ok(file) = File::open(path) else { return true };
    let mut reader = BufReader::new(file);
    if extension == "json" {
        return serde_json::from_reader::<_, serde::de::IgnoredAny>(reader).is_ok();
    }
    let (mut line, mut any) = (Vec::new(), false);
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return any,
            Ok(_) => any = true,
            Err(_) => return true,
        }
        let Ok(text) = str::from_utf8(&line) else { return false };
        let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        if text.contains('\0') || (extension == "jsonl" && !is_json()) {
            return false;
        }
    }
}
