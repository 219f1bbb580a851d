//! What of the machine is used: device, threads, memory.

use super::MethodError;
use crate::features::Entry;
use crate::features::vit::Precision;
use crate::parallel::MemoryBudget;
use crate::tensor::{self, Device, DeviceChoice};

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
    /// Opens the device that a backbone computes on, and lets the process have the memory.
    pub fn open(&self, backbone: Entry) -> Result<Device, MethodError> {
        self.limit_memory();
        match self.device {
            DeviceChoice::Cuda if !backbone.needs_weights() => {
                Err(MethodError::NeedlessDevice { backbone: backbone.name() })
            }
            _ if !backbone.needs_weights() => Ok(tensor::cpu()),
            choice => Ok(choice.open()?),
        }
    }

    /// Lets the process have the memory.
    pub(crate) fn limit_memory(&self) {
        if let Some(bytes) = self.memory {
            MemoryBudget::of_process().limit(bytes);
        }
    }
}
