//! Which device a run uses.

use super::{Device, cpu, is_cpu};

/// Why the wanted device cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DeviceError(String);

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
    /// The device; an error says why it cannot be used.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            DeviceChoice::Cpu => Ok(cpu()),
            DeviceChoice::Cuda => cuda().map_err(DeviceError),
            DeviceChoice::Auto => Ok(cuda().unwrap_or_else(|_| cpu())),
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, String> {
    Err("this build of deepcut has no CUDA support; rebuild it with --features cuda or use `device` cpu".into())
}

/// The first CUDA device, after asking the driver itself: burn panics on threads of its own when there is none.
#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, String> {
    cuda::probe().map_err(|reason| format!("CUDA cannot be used: {reason}; use `device` cpu"))?;
    cuda::keep_kernels();
    Ok(Device::Cuda(Default::default()))
}

/// The device's name for the user, with what its first run has to be waited for.
pub fn name(device: &Device) -> &'static str {
    #[cfg(feature = "cuda")]
    if matches!(device, Device::Cuda(_)) && !cuda::has_kernels() {
        return "cuda (the first run compiles its kernels and finds the fastest, which takes minutes)";
    }
    if is_cpu(device) { "cpu" } else { "cuda" }
}

/// Bytes of the device's memory that a run may fill with what it computes: half of what is free, for allocators round up
/// and keep what was freed.
pub fn usable_bytes(device: &Device) -> u64 {
    #[cfg(feature = "cuda")]
    if matches!(device, Device::Cuda(_)) {
        return cuda::free_bytes() / 2;
    }
    // Nobody can be asked.
    let _ = device;
    1 << 30
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use burn::cubecl::config::cache::CacheConfig;
    use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
    use cudarc::driver::CudaContext;

    /// Loads what burn will load (the driver and the run-time compiler) and counts devices.
    #[allow(unsafe_code, reason = "foreign libraries can only be probed by loading them")]
    pub(super) fn probe() -> Result<(), String> {
        // SAFETY: these are the system's own CUDA libraries, whose initialisers have no requirements of the caller.
        let (driver, compiler) =
            unsafe { (cudarc::driver::sys::is_culib_present(), cudarc::nvrtc::sys::is_culib_present()) };
        if !driver {
            return Err("no NVIDIA driver was found".into());
        }
        if !compiler {
            return Err("the CUDA run-time compiler (libnvrtc) was not found".into());
        }
        match CudaContext::device_count() {
            Ok(1..) => Ok(()),
            Ok(_) => Err("the NVIDIA driver sees no GPU".into()),
            Err(error) => Err(format!("the NVIDIA driver does not start ({error})")),
        }
    }

    /// Free memory of the first device; none where the driver does not tell.
    pub(super) fn free_bytes() -> u64 {
        CudaContext::new(0).and_then(|context| context.mem_get_info()).map_or(0, |(free, _)| free as u64)
    }

    /// Lets compiled kernels, and which of them are fastest, be kept for the next run; without it every run would begin with
    /// minutes of compiling. A host program that has configured the runtime already is left alone; configuration files in the
    /// working folder are not read, so that a run does not depend on where it is started.
    pub(super) fn keep_kernels() {
        let mut stored = CubeClRuntimeConfig::storage().lock();
        if stored.is_some() {
            return;
        }
        let mut config = CubeClRuntimeConfig::default().override_from_env();
        // The runtime panics where it cannot write, and it would take the kernels of another GPU for its own.
        let gpu = gpu_name().unwrap_or("unknown".into());
        let folder = kernel_folder().map(|folder| folder.join(&gpu)).filter(|folder| is_writable(folder));
        config.compilation.cache = folder.clone().map(CacheConfig::File);
        // Which kernels are fastest cannot but be kept.
        let elsewhere = || std::env::temp_dir().join("deepcut-kernels").join(gpu);
        config.autotune.cache = CacheConfig::File(folder.unwrap_or_else(elsewhere));
        *stored = Some(Arc::new(config));
    }

    /// Whether an earlier run has kept any.
    pub(super) fn has_kernels() -> bool {
        let of_gpu = || Some(kernel_folder()?.join(gpu_name()?));
        of_gpu().and_then(|folder| std::fs::read_dir(folder).ok()).is_some_and(|mut entries| entries.next().is_some())
    }

    fn is_writable(folder: &Path) -> bool {
        std::fs::create_dir_all(folder).is_ok() && tempfile::tempfile_in(folder).is_ok()
    }

    /// Name and compute capability of the first GPU, as a folder may be called.
    fn gpu_name() -> Option<String> {
        let context = CudaContext::new(0).ok()?;
        let (major, minor) = context.compute_capability().ok()?;
        let name: String =
            context.name().ok()?.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
        Some(format!("{name}-{major}.{minor}"))
    }

    /// `kernels` in `$DEEPCUT_HOME`, or else in `$XDG_CACHE_HOME/deepcut`, or else in `~/.cache/deepcut`.
    fn kernel_folder() -> Option<PathBuf> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = variable("DEEPCUT_HOME")
            .or_else(|| variable("XDG_CACHE_HOME").map(|caches| caches.join("deepcut")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache/deepcut")));
        folder.map(|folder| folder.join("kernels"))
    }
}
