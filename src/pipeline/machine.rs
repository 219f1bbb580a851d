//! Where a run computes, and on how many threads.

use super::{DeviceChoice, PipelineError};
use crate::features::vit::Precision;

/// More threads than any processor has cores only cost memory.
const MOST_THREADS: usize = 1024;

/// What of the machine a run uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    pub device: DeviceChoice,
    /// 0 means one per processor.
    pub threads: usize,
    /// What a transformer's products are computed in, where it differs from the configuration's or the checkpoint's.
    pub precision: Option<Precision>,
}

/// How many threads a run has; `threads` = 0 means one per processor.
pub(super) fn workers(threads: usize) -> Result<usize, PipelineError> {
    match threads {
        0 => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        1..=MOST_THREADS => Ok(threads),
        _ => Err(PipelineError::Usage(format!("--threads must be at most {MOST_THREADS}, not {threads}"))),
    }
}

/// A pool of [`workers`] threads that share one task.
pub(super) fn thread_pool(threads: usize) -> Result<rayon::ThreadPool, PipelineError> {
    let workers = workers(threads)?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(workers)
        .build()
        .map_err(|error| PipelineError::Usage(format!("cannot start {workers} threads: {error}")))
}
