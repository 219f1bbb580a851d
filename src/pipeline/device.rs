//! Which device a run uses.

use super::PipelineError;
use crate::tensor::{self, Device};

/// The device a user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// CUDA when this build has it and a GPU answers, else the processor.
    #[default]
    Auto,
    Cpu,
    Cuda,
}

impl DeviceChoice {
    /// The device, and its name for the user.
    pub(super) fn resolve(self) -> Result<(Device, &'static str), PipelineError> {
        let cpu = || Ok((tensor::cpu(), "cpu"));
        match self {
            DeviceChoice::Cpu => cpu(),
            DeviceChoice::Cuda => cuda().map(|device| (device, "cuda")).map_err(PipelineError::Usage),
            DeviceChoice::Auto => cuda().map(|device| (device, "cuda")).or_else(|_| cpu()),
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, String> {
    Err("this build of deepcut has no CUDA support; rebuild it with --features cuda or use --device cpu".into())
}

/// The first CUDA device, after asking the driver itself: burn panics on threads of its own when there is none.
#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, String> {
    driver::probe().map_err(|reason| format!("CUDA cannot be used: {reason}; use --device cpu"))?;
    Ok(Device::Cuda(Default::default()))
}

#[cfg(feature = "cuda")]
mod driver {
    use std::ffi::c_int;

    use libloading::{Library, Symbol};

    type Initialise = unsafe extern "C" fn(u32) -> c_int;
    type CountDevices = unsafe extern "C" fn(*mut c_int) -> c_int;

    /// Loads what burn will load (the driver and the run-time compiler) and counts devices.
    #[allow(unsafe_code, reason = "foreign libraries can only be probed by loading and calling them")]
    pub(super) fn probe() -> Result<(), String> {
        let driver = load(&["libcuda.so.1", "libcuda.so", "nvcuda.dll"]).ok_or("no NVIDIA driver was found")?;
        load(&["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "nvrtc64_120_0.dll"])
            .ok_or("the CUDA run-time compiler (libnvrtc) was not found")?;
        // SAFETY: the names and signatures are those of the CUDA driver API, unchanged since its first version; the
        // library outlives the symbols, and the count is written to a valid integer.
        unsafe {
            let missing = |_| "the NVIDIA driver is incomplete".to_string();
            let initialise: Symbol<Initialise> = driver.get(b"cuInit\0").map_err(missing)?;
            let count_devices: Symbol<CountDevices> = driver.get(b"cuDeviceGetCount\0").map_err(missing)?;
            let status = initialise(0);
            if status != 0 {
                return Err(format!("the NVIDIA driver does not start (error {status})"));
            }
            let mut devices = 0;
            match (count_devices(&mut devices), devices) {
                (0, 1..) => Ok(()),
                (0, _) => Err("the NVIDIA driver sees no GPU".into()),
                (status, _) => Err(format!("the NVIDIA driver cannot count its GPUs (error {status})")),
            }
        }
    }

    #[allow(unsafe_code, reason = "see probe")]
    fn load(names: &[&str]) -> Option<Library> {
        // SAFETY: these are the system's own CUDA libraries, whose initialisers have no requirements of the caller.
        names.iter().find_map(|name| unsafe { Library::new(*name) }.ok())
    }
}
