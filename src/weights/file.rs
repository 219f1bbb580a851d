//! The files that hold one network: one, or parts listed in an index, perhaps in a folder of Hugging Face's hub.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::archive::StoredTensor;
use super::error::printable;
use super::{StateDict, WeightsError, archive};
use crate::files;

/// The largest published vision transformers have 24 GiB.
const MOST_BYTES: u64 = 32 << 30;

/// What a folder of Hugging Face's hub calls weights, the preferred first.
const IN_FOLDERS: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// A file of weights in memory with its parts, before any tensor in it is looked at.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    hash: blake3::Hash,
    parts: Vec<Vec<u8>>,
    /// The file among `parts`, counted from 0, that an index says a tensor is in.
    index: Option<BTreeMap<String, usize>>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    /// The name of the file of every tensor.
    weight_map: BTreeMap<String, String>,
}

impl WeightsFile {
    /// Reads the file at `path`, or the one in the folder at `path`; an index is read with all files that it names.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let path = if path.is_dir() { in_folder(path)? } else { path.to_path_buf() };
        let bytes =
            files::read(&path, MOST_BYTES).map_err(|source| WeightsError::Read { path: path.clone(), source })?;
        // An index has no size to speak of; what looks like one and has is nothing that must be parsed.
        let index = if bytes.len() < 64 << 20 { serde_json::from_slice::<Index>(&bytes).ok() } else { None };
        match index {
            Some(index) => Self::read_parts(path, &bytes, index),
            None => Ok(Self { hash: blake3::hash(&bytes), parts: vec![bytes], path, index: None }),
        }
    }

    /// The hash of parts is that of the index's, and of the name and the hash of every part in the order of names.
    fn read_parts(path: PathBuf, bytes: &[u8], index: Index) -> Result<Self, WeightsError> {
        let names: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
        let mut hasher = blake3::Hasher::new();
        hasher.update(blake3::hash(bytes).as_bytes());
        let mut left = MOST_BYTES;
        let mut parts = Vec::new();
        for name in &names {
            if !is_plain(name) {
                let reason = format!("it names the part {}, which is no name of a file beside it", printable(name));
                return Err(WeightsError::Format { path, reason });
            }
            let part = path.with_file_name(name);
            let bytes = files::read(&part, left).map_err(|source| WeightsError::Part {
                path: path.clone(),
                part: part.clone(),
                source,
            })?;
            left -= bytes.len() as u64;
            hasher.update(name.as_bytes()).update(&[0]).update(blake3::hash(&bytes).as_bytes());
            parts.push(bytes);
        }
        let place = |name: &str| names.iter().position(|part| *part == name).unwrap_or_default();
        let places = index.weight_map.iter().map(|(tensor, part)| (tensor.clone(), place(part))).collect();
        Ok(Self { path, hash: hasher.finalize(), parts, index: Some(places) })
    }

    /// Where it was read from: the file in a folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// blake3 of its bytes, with those of its parts.
    pub fn hash(&self) -> blake3::Hash {
        self.hash
    }

    /// Whether it is an index of other files.
    pub fn is_in_parts(&self) -> bool {
        self.index.is_some()
    }

    /// The tensors in it; see [`StateDict::open`].
    pub fn state_dict(&self) -> Result<StateDict, WeightsError> {
        let unreadable = |reason| WeightsError::Format { path: self.path.clone(), reason };
        let mut stored: Vec<StoredTensor> = Vec::new();
        let mut indexed = 0;
        for (place, part) in self.parts.iter().enumerate() {
            let tensors = archive::read(part).map_err(unreadable)?;
            if let Some(index) = &self.index {
                let names: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
                let mut listed = index.iter().filter(|(_, at)| **at == place).map(|(name, _)| name);
                if let Some(tensor) = listed.find(|name| !names.contains(name.as_str())) {
                    let reason = "is missing; expected it in the part that the index names; fetch all parts again";
                    let (path, tensor) = (self.path.clone(), printable(tensor));
                    return Err(WeightsError::Tensor { path, tensor, reason: reason.to_string() });
                }
            }
            indexed += part.len();
            stored.extend(tensors);
        }
        StateDict::of_stored(stored, indexed, self.hash, &self.path)
    }
}

/// The weights in a folder.
fn in_folder(folder: &Path) -> Result<PathBuf, WeightsError> {
    // A link that leads nowhere is there, and reading it says so.
    let found = IN_FOLDERS.iter().map(|name| folder.join(name)).find(|path| path.symlink_metadata().is_ok());
    found.ok_or_else(|| {
        let reason = format!("it is a folder without {}; name a file", IN_FOLDERS[..3].join(", "));
        WeightsError::Format { path: folder.to_path_buf(), reason }
    })
}

/// Whether a name is that of a file, wherever it is put.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && ![".", ".."].contains(&name) && !name.contains(['/', '\\', ':', '\0'])
}
