//! Weights of a vision transformer under one set of names, checked before anything is computed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::archive::{self, StoredTensor};
use super::error::printable;
use super::join::join_block;
use super::names::{Group, Meaning, NoGroup, Origin};
use super::{MOST_BLOCKS, WeightsError, WeightsFile};

/// The tensors of a transformer of width w under timm's names, whatever its file calls them:
///
/// * `patch_embed.proj.*`, `norm.*`, and if the transformer has them `cls_token` `[1, 1, w]`, `pos_embed` `[1, P, w]`,
///   `register_tokens` `[1, R, w]` and `rope_embed.periods`;
/// * of every block `blocks.{i}.{norm1,attn.qkv,attn.proj,norm2,mlp.fc1,mlp.fc2}.*`, and perhaps `ls1.gamma` and `ls2.gamma`
///   `[w]`. `attn.qkv` is `[3w, w]`, queries first; its bias is always there, zero where the network has none. `mlp.fc1` of a
///   gated perceptron is `[2h, w]`, the half that goes through SiLU first.
#[derive(Debug)]
pub struct StateDict {
    path: PathBuf,
    hash: blake3::Hash,
    naming: &'static str,
    origin: Option<Origin>,
    tensors: BTreeMap<String, Tensor>,
}

/// A tensor in memory.
#[derive(Debug)]
pub struct Tensor {
    /// What its file calls it.
    pub source: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Tensor {
    /// A bias that the network does not have.
    pub fn zeros(source: &str, count: usize) -> Tensor {
        Tensor { source: source.to_string(), shape: vec![count], values: vec![0.0; count] }
    }
}

impl StateDict {
    /// Reads a `.safetensors` file or a PyTorch checkpoint, told apart by their content, an index of such files, or a folder
    /// with one of them; see [`WeightsFile::read`].
    ///
    /// A checkpoint may hold several transformers behind wrappers such as `teacher.backbone.`: the one that is usually
    /// meant is taken, the teacher of a student. Heads and decoders are left out; any other tensor that no known family has
    /// is an error, because it could change what is computed. Half-precision tensors are widened. Nothing in the file is
    /// executed. Every tensor that is used must be complete and finite.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        WeightsFile::read(path)?.state_dict()
    }

    /// Reads the content of such a file; `path` is for messages.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, WeightsError> {
        let unreadable = |reason| WeightsError::Format { path: path.to_path_buf(), reason };
        Self::of_stored(archive::read(bytes).map_err(unreadable)?, bytes.len(), blake3::hash(bytes), path)
    }

    /// The transformer among the tensors of files of so many bytes.
    pub(super) fn of_stored(
        stored: Vec<StoredTensor>,
        bytes: usize,
        hash: blake3::Hash,
        path: &Path,
    ) -> Result<Self, WeightsError> {
        let mut state = Self { path: path.to_path_buf(), hash, naming: "", origin: None, tensors: BTreeMap::new() };
        let group = Group::choose(stored).map_err(|none| state.no_group_error(none))?;
        state.naming = group.naming.name;
        state.origin = group.origin;
        let mut total = 0usize;
        for (name, stored) in group.tensors {
            let canonical = match group.naming.meaning(&name) {
                Meaning::Ignored => continue,
                Meaning::Unknown => return Err(state.unknown_error(&stored)),
                Meaning::Tensor(canonical) => canonical,
            };
            // Views of one storage under many names could ask for any amount of memory.
            total = total.saturating_add(stored.count().unwrap_or(usize::MAX));
            if total > bytes / 2 {
                let reason =
                    format!("states shape {:?}, more than the file holds, which must be damaged", stored.shape);
                return Err(state.tensor_error(&stored.name, &reason));
            }
            let values = stored.values().map_err(|reason| state.tensor_error(&stored.name, &reason))?;
            if let Some(other) = state.tensors.get(&canonical) {
                let reason = format!("occurs twice; expected one of it and {}", printable(&other.source));
                return Err(state.tensor_error(&stored.name, &reason));
            }
            state.tensors.insert(canonical, Tensor { source: stored.name, shape: stored.shape, values });
        }
        state.finish()?;
        Ok(state)
    }

    /// Makes of the tensors of all families those that are computed with, and checks their numbers.
    fn finish(&mut self) -> Result<(), WeightsError> {
        let index = |name: &str| name.strip_prefix("blocks.")?.split_once('.')?.0.parse::<usize>().ok();
        let blocks = self.tensors.keys().filter_map(|name| index(name)).max().map_or(0, |last| last + 1);
        for block in 0..blocks {
            join_block(&mut self.tensors, &format!("blocks.{block}"))
                .map_err(|(tensor, reason)| self.tensor_error(&tensor, &reason))?;
        }
        if self.depth() < blocks {
            return Err(self.missing_error(&format!("blocks.{}.norm1.weight", self.depth())));
        }
        // Models that average the patches call the last normalisation so; beside `norm` it is the head's.
        for part in ["weight", "bias"] {
            let averaged = self.tensors.remove(&format!("fc_norm.{part}"));
            if let Some(averaged) = averaged {
                self.tensors.entry(format!("norm.{part}")).or_insert(averaged);
            }
        }
        for tensor in self.tensors.values() {
            if let Some(index) = tensor.values.iter().position(|value| !value.is_finite()) {
                let reason = format!("holds {} at index {index}; expected a finite number", tensor.values[index]);
                return Err(self.tensor_error(&tensor.source, &reason));
            }
        }
        Ok(())
    }

    /// Where the weights came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// blake3 of the file they were read from: which weights a result belongs to.
    pub fn hash(&self) -> blake3::Hash {
        self.hash
    }

    /// Who trained them, where wrappers or tensors that were left out tell.
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// How the file names its tensors, for people.
    pub fn naming(&self) -> &'static str {
        self.naming
    }

    /// Whether the network has a tensor.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Number of blocks that follow each other from 0.
    pub fn depth(&self) -> usize {
        (0..MOST_BLOCKS).take_while(|index| self.contains(&format!("blocks.{index}.norm1.weight"))).count()
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
        let found = self.tensors.len();
        self.tensor_error(name, &format!("is missing; found are {found} tensors of a transformer with {}", self.naming))
    }

    /// That a tensor has another shape than `expected` says.
    pub fn shape_error(&self, name: &str, expected: &str) -> WeightsError {
        let tensor = self.tensors.get(name);
        let shape = tensor.map(|tensor| tensor.shape.as_slice()).unwrap_or_default();
        // What is joined of several is known to nobody under the name of the first.
        let stored = tensor.filter(|tensor| tensor.source != name);
        let stored = stored.map(|tensor| format!(" ({} in the file)", printable(&tensor.source))).unwrap_or_default();
        self.tensor_error(name, &format!("has shape {shape:?}{stored}, {expected}"))
    }

    /// That an option does not go with these weights.
    pub fn option_error(&self, reason: String) -> WeightsError {
        WeightsError::Option { path: self.path.clone(), reason }
    }

    fn unknown_error(&self, tensor: &StoredTensor) -> WeightsError {
        let reason = format!(
            "of shape {:?} is not supported: the file is of another architecture; expected only tensors of a plain ViT, DINO, \
             DINOv2, DINOv3, iBOT, MAE or MoCo-v3 with {}",
            tensor.shape, self.naming
        );
        self.tensor_error(&tensor.name, &reason)
    }

    fn no_group_error(&self, none: NoGroup) -> WeightsError {
        match none {
            NoGroup::None { count, found } => {
                let found = found.map(|name| format!(", one of them {}", printable(&name))).unwrap_or_default();
                let reason = format!(
                    "is missing, and so are embeddings.patch_embeddings.projection.weight and \
                     embeddings.patch_embeddings.weight of Hugging Face; found are {count} tensors{found}; \
                     expected a vision transformer"
                );
                self.tensor_error("patch_embed.proj.weight", &reason)
            }
            NoGroup::Several(names) => {
                let names: Vec<String> = names.iter().map(|name| printable(name)).collect();
                let reason = format!("it holds several models ({}); save one state dict alone", names.join(", "));
                WeightsError::Format { path: self.path.clone(), reason }
            }
        }
    }

    fn tensor_error(&self, name: &str, reason: &str) -> WeightsError {
        WeightsError::Tensor { path: self.path.clone(), tensor: printable(name), reason: reason.to_string() }
    }
}
