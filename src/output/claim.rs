//! Whether what lies where a run will write was made by a run.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::OutputError;
use crate::files::says_absent;
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

/// The state of what lies at `path` if that needs no reading: none of an ordinary file. Links are not followed.
pub fn state_unread(path: &Path) -> io::Result<Option<FileState>> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => Ok(None),
        Ok(_) => Ok(Some(FileState::Changed)),
        Err(error) if says_absent(&error) => Ok(Some(FileState::Absent)),
        Err(error) => Err(error),
    }
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

/// Whether nothing that happens by chance explains what a text is: it has something in it, no zero bytes, and does not end
/// within a JSON value where its extension says that it is JSON.
fn is_whole_text(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let Ok(file) = File::open(path) else { return true };
    let mut reader = BufReader::new(file);
    if extension == "json" {
        let ends_early = |error: serde_json::Error| error.is_eof();
        return !serde_json::from_reader::<_, serde::de::IgnoredAny>(reader).is_err_and(ends_early) && !has_zeros(path);
    }
    let (mut line, mut any) = (Vec::new(), false);
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return any,
            Ok(_) => any = true,
            Err(_) => return true,
        }
        let ends_early = || serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_err_and(|error| error.is_eof());
        if line.contains(&0) || (extension == "jsonl" && ends_early()) {
            return false;
        }
    }
}

fn has_zeros(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    BufReader::new(file).bytes().any(|byte| byte.is_ok_and(|byte| byte == 0))
}
