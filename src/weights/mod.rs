//! Weights of networks that others trained: the files people have, read without running anything in them.
//!
//! `file` finds the files that belong together, `archive` their tensors, `names` the transformer among them and what its
//! tensors are called here; `join` makes of them those that are computed with, and a `state_dict` holds these.

mod archive;
mod error;
mod file;
mod foreign;
mod installed;
mod join;
mod names;
mod pickle;
mod state_dict;
#[cfg(test)]
mod tests;
mod zip;

pub use error::WeightsError;
pub use file::WeightsFile;
pub use installed::{EXTENSIONS, INSTALLED_NAME, Installed, installed};
pub use names::Origin;
pub use state_dict::StateDict;

/// Most blocks of a model; the largest published transformers have 48.
const MOST_BLOCKS: usize = 256;
