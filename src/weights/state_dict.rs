//! Weights of a vision transformer from the files people have, checked before anything is computed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::archive;
use crate::error::ErrorKind;
use crate::files;

/// Why weights cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    #[error("cannot read the weights {}: {source}; check the path", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot use the weights {}: {reason}", .path.display())]
    Format { path: PathBuf, reason: String },
    #[error("cannot use the weights {}: tensor {tensor} {reason}; use a plain ViT in timm or DINO naming", .path.display())]
    Tensor { path: PathBuf, tensor: String, reason: String },
    #[error("option does not fit the weights {}: {reason}", .path.display())]
    Option { path: PathBuf, reason: String },
}

impl WeightsError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            WeightsError::Read { .. } => ErrorKind::Usage,
            _ => ErrorKind::Untrusted,
        }
    }
}

/// The largest published vision transformers have 24 GiB.
const MOST_BYTES: u64 = 32 << 30;

/// Most blocks of a model; the largest published transformers have 48.
const MOST_BLOCKS: usize = 256;

/// A file of weights in memory, before anything in it is looked at.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    bytes: Vec<u8>,
    hash: blake3::Hash,
}

impl WeightsFile {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let bytes =
            files::read(path, MOST_BYTES).map_err(|source| WeightsError::Read { path: path.to_path_buf(), source })?;
        Ok(Self { path: path.to_path_buf(), hash: blake3::hash(&bytes), bytes })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// blake3 of its bytes.
    pub fn hash(&self) -> blake3::Hash {
        self.hash
    }

    /// The tensors in it; see [`StateDict::open`].
    pub fn state_dict(&self) -> Result<StateDict, WeightsError> {
        StateDict::of_hashed(&self.bytes, self.hash, &self.path)
    }
}

/// The tensors of a transformer under timm's names: `cls_token`, `pos_embed`, `patch_embed.proj.*`,
/// `blocks.{i}.{norm1,attn.qkv,attn.proj,norm2,mlp.fc1,mlp.fc2}.*` and `norm.*`.
#[derive(Debug)]
pub struct StateDict {
    path: PathBuf,
    hash: blake3::Hash,
    tensors: BTreeMap<String, Tensor>,
}

/// Trainings whose files tell of themselves by more than the transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    MocoV3,
    Mae,
}

#[derive(Debug)]
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// What a tensor's name means for the computation.
#[derive(Debug, PartialEq, Eq)]
enum Role {
    /// One of the tensors computed with.
    Used,
    /// Changes the result, but is not computed: the file is of another architecture.
    Unsupported,
    /// Classification heads, decoders and the like, which descriptors do not need.
    Ignored,
}

fn role(name: &str) -> Role {
    const USED: [&str; 6] =
        ["cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight", "norm.bias"];
    const USED_IN_BLOCK: [&str; 6] = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"];
    const UNSUPPORTED: [&str; 7] =
        ["reg_token", "register_token", "dist_token", "norm_pre.", "patch_embed.", "rel_pos", "rope"];
    if USED.contains(&name) {
        return Role::Used;
    }
    if let Some(block) = name.strip_prefix("blocks.") {
        let layer = block.split_once('.').and_then(|(index, rest)| {
            index.parse::<usize>().ok()?;
            rest.strip_suffix(".weight").or_else(|| rest.strip_suffix(".bias"))
        });
        let used = layer.is_some_and(|layer| USED_IN_BLOCK.contains(&layer));
        return if used { Role::Used } else { Role::Unsupported };
    }
    if UNSUPPORTED.iter().any(|start| name.starts_with(start)) { Role::Unsupported } else { Role::Ignored }
}

/// Removes what wrappers put before a name, as often as it occurs.
fn bare_name(mut name: &str) -> &str {
    const WRAPPERS: [&str; 3] = ["module.", "backbone.", "base_encoder."];
    while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = rest;
    }
    name
}

impl StateDict {
    /// Reads a `.safetensors` file or a PyTorch checkpoint (`.pth`, `.pt`), told apart by their content.
    ///
    /// A checkpoint may be a plain state dict or hold it under one key such as `teacher` or `state_dict`; prefixes
    /// `module.`, `backbone.` and `base_encoder.` are removed. Half-precision tensors are widened. Nothing in the
    /// file is executed. Every tensor that is used must be complete and finite.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        WeightsFile::read(path)?.state_dict()
    }

    /// Reads the content of such a file; `path` is for messages.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, WeightsError> {
        Self::of_hashed(bytes, blake3::hash(bytes), path)
    }

    fn of_hashed(bytes: &[u8], hash: blake3::Hash, path: &Path) -> Result<Self, WeightsError> {
        let mut state = Self { path: path.to_path_buf(), hash, tensors: BTreeMap::new() };
        let unreadable = |reason| WeightsError::Format { path: path.to_path_buf(), reason };
        let stored = archive::read(bytes).map_err(unreadable)?;
        let mut total = 0usize;
        for tensor in stored {
            let name = bare_name(&tensor.name);
            match role(name) {
                Role::Ignored => continue,
                Role::Unsupported => return Err(state.tensor_error(name, "is not supported")),
                Role::Used => {}
            }
            // Views of one storage under many names could ask for any amount of memory.
            total = total.saturating_add(tensor.count().unwrap_or(usize::MAX));
            if total > bytes.len() / 2 {
                return Err(state.tensor_error(name, "is larger than the file, which must be damaged"));
            }
            let values = tensor.values().map_err(|reason| state.tensor_error(name, &reason))?;
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                let reason = format!("holds {} at index {index}", values[index]);
                return Err(state.tensor_error(name, &reason));
            }
            let name = name.to_string();
            if state.tensors.contains_key(&name) {
                return Err(state.tensor_error(&name, "occurs twice"));
            }
            state.tensors.insert(name, Tensor { shape: tensor.shape, values });
        }
        Ok(state)
    }

    /// Where the weights came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// blake3 of the file they were read from: which weights a result belongs to.
    pub fn hash(&self) -> blake3::Hash {
        self.hash
    }

    /// Number of blocks that follow each other from 0.
    pub fn depth(&self) -> usize {
        (0..MOST_BLOCKS).take_while(|index| self.tensors.contains_key(&format!("blocks.{index}.norm1.weight"))).count()
    }

    /// Whether there is such a tensor.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Where the weights come from, if anything but the transformer's own tensors tells.
    pub fn origin(&self) -> Option<Origin> {
        None
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize], WeightsError> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice()).ok_or_else(|| self.missing_error(name))
    }

    /// The values of a tensor that must have the given shape.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<&[f32], WeightsError> {
        let tensor = self.tensors.get(name).ok_or_else(|| self.missing_error(name))?;
        if tensor.shape != shape {
            return Err(self.shape_error(name, &format!("expected {shape:?}")));
        }
        Ok(&tensor.values)
    }

    /// That a tensor is missing.
    pub fn missing_error(&self, name: &str) -> WeightsError {
        self.tensor_error(name, "is missing")
    }

    /// That a tensor has another shape than `expected` says.
    pub fn shape_error(&self, name: &str, expected: &str) -> WeightsError {
        let shape = self.tensors.get(name).map(|tensor| tensor.shape.as_slice()).unwrap_or_default();
        self.tensor_error(name, &format!("has shape {shape:?}, {expected}"))
    }

    /// That an option does not go with these weights.
    pub fn option_error(&self, reason: String) -> WeightsError {
        WeightsError::Option { path: self.path.clone(), reason }
    }

    fn tensor_error(&self, name: &str, reason: &str) -> WeightsError {
        // Names come from the file; a message stays one printable line.
        let tensor = name.chars().take(100).map(|c| if c.is_control() { '?' } else { c }).collect();
        WeightsError::Tensor { path: self.path.clone(), tensor, reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_roles() {
        assert_eq!(bare_name("module.backbone.module.blocks.0.norm1.bias"), "blocks.0.norm1.bias");
        for (name, expected) in [
            ("blocks.11.mlp.fc2.bias", Role::Used),
            ("blocks.0.ls1.gamma", Role::Unsupported),
            ("blocks.0.gamma_1", Role::Unsupported),
            ("blocks.0.attn.q_norm.weight", Role::Unsupported),
            ("blocks.0.attn.relative_position_bias_table", Role::Unsupported),
            ("reg_token", Role::Unsupported),
            ("register_tokens", Role::Unsupported),
            ("dist_token", Role::Unsupported),
            ("patch_embed.backbone.conv1.weight", Role::Unsupported),
            ("head.weight", Role::Ignored),
            ("mask_token", Role::Ignored),
            ("decoder_pos_embed", Role::Ignored),
        ] {
            assert_eq!(role(name), expected, "{name}");
        }
    }
}
