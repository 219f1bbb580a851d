//! Weights of networks that others trained: the files people have, read without running anything in them.

mod archive;
mod pickle;
mod state_dict;

pub use state_dict::{StateDict, WeightsError, file_hash};
