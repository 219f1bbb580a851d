//! What of the machine is used: device, threads, and where the weights of backbones are.

use std::path::{Path, PathBuf};

use super::MethodError;
use crate::config::Resolved;
use crate::features::Backbone;
use crate::features::vit::{Precision, bfloat_available};
use crate::parallel::MemoryBudget;
use crate::tensor::{Device, DeviceChoice, DeviceError, is_cpu, supports_bfloat};
use crate::weights::{self, WeightsFile};

/// What of the machine a run uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    pub device: DeviceChoice,
    /// 0 means one per processor.
    pub threads: usize,
    /// Most bytes that images being read and decoded take at a time, of all runs in this process; none means a quarter of the
    /// machine's memory, or what a run before has said.
    pub memory: Option<u64>,
    /// What a transformer's products are computed in, where it differs from the configuration's or the checkpoint's.
    pub precision: Option<Precision>,
}

impl Machine {
    /// Opens the device and lets the process have the memory.
    pub(crate) fn open(&self) -> Result<Device, DeviceError> {
        if let Some(bytes) = self.memory {
            MemoryBudget::of_process().limit(bytes);
        }
        self.device.open()
    }
}

/// The weights that runs use when none are given; see [`weights::installed`].
pub fn installed_weights() -> Option<PathBuf> {
    weights::installed().found
}

/// Makes the backbone of resolved settings, with the given or the installed weights where it needs any.
///
/// `expected_hash` is that of the weights a checkpoint was trained with.
pub fn open_backbone(
    resolved: &Resolved,
    weights: Option<&Path>,
    expected_hash: Option<&str>,
    device: &Device,
) -> Result<Backbone, MethodError> {
    let settings = resolved.settings();
    let entry = resolved.backbone();
    if !entry.needs_weights() {
        return match weights {
            Some(path) => Err(MethodError::NeedlessWeights { backbone: entry.name(), path: path.to_path_buf() }),
            None => Ok(Backbone::without_weights(entry, &settings.into())),
        };
    }
    let path = weights.map(Path::to_path_buf).or_else(installed_weights);
    let path = path.ok_or(MethodError::WeightsNeeded { backbone: entry.name() })?;
    if settings.vit.precision == Precision::Bf16 {
        let (available, lacking) = if is_cpu(device) {
            (bfloat_available(), "this processor has no AVX-512 BF16")
        } else {
            (supports_bfloat(device), "this GPU has no bfloat16")
        };
        if !available {
            return Err(MethodError::NoBfloat { lacking });
        }
    }
    let file = WeightsFile::read(&path)?;
    let hash = file.hash().to_hex().to_string();
    if let Some(expected) = expected_hash.filter(|expected| *expected != hash) {
        return Err(MethodError::OtherWeights { path, hash, expected: expected.to_string() });
    }
    Ok(Backbone::with_weights(entry, &settings.into(), &file, device)?)
}
