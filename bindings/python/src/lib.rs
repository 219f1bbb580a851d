//! deepcut for Python: what `deepcut_vision` is made on.
//!
//! Rust gives arrays and plain values, and the package in `python/` dresses them. The interpreter is let go while anything is
//! computed; arrays are borrowed, and copied where the library makes an image of them, on the thread that segments it.

mod clusters;
mod errors;
mod features;
mod graphs;
mod images;
mod metrics;
mod models;
mod options;
mod runs;
mod segmentation;

use pyo3::prelude::*;

/// As the program has it, and for its reason: training makes and drops large tensors at every step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pymodule]
mod _engine {
    #[pymodule_export]
    use super::clusters::ClusterModel;
    #[pymodule_export]
    use super::features::Features;
    #[pymodule_export]
    use super::graphs::GraphMaker;
    #[pymodule_export]
    use super::images::{overlay, read_image};
    #[pymodule_export]
    use super::metrics::{
        adjusted_rand_index, box_iou, largest_f_beta, normalised_mutual_information, overlap, purity, region_scores,
    };
    #[pymodule_export]
    use super::models::{Model, PerImage, train};
    #[pymodule_export]
    use super::segmentation::decode_mask;

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
