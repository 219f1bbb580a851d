//! What of the machine is used: device, threads, memory.

use crate::features::vit::Precision;
use crate::parallel::MemoryBudget;
use crate::tensor::{Device, DeviceChoice, DeviceError};

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
