//! Weights of networks that others trained: the files people have, read without running anything in them, and the published
//! ones, by name.
//!
//! `file` finds the files that belong together, `archive` their tensors, `names` the transformer among them and what its
//! tensors are called here; `join` makes of them those that are computed with, and a `state_dict` holds these. `registry` knows what
//! is published where, `store` what of it is on this machine, and `hub` fetches the rest.

mod archive;
mod error;
mod file;
mod foreign;
mod hub;
mod installed;
mod join;
mod names;
mod pickle;
mod registry;
mod state_dict;
mod store;
#[cfg(test)]
mod tests;
mod zip;

pub use error::WeightsError;
pub use file::WeightsFile;
pub use hub::{Basis, ByHand, Fault, PullError, Pulled, by_hand, pull};
pub use installed::{EXTENSIONS, INSTALLED_NAME, Installed, home_folder, installed};
pub use names::Origin;
pub use registry::{DEFAULT_NAME, Published, Source, named, published};
pub use state_dict::StateDict;
pub use store::{
    Hashes, Record, Stored, best_stored, own_place, recognise, record, record_first_use, record_installed, remove,
    stored, stored_as, stored_with_hash,
};

/// Most blocks of a model; the largest published transformers have 48.
const MOST_BLOCKS: usize = 256;
