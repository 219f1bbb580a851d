//! Weights of networks that others trained: the files people have, read without running anything in them.

mod archive;
mod installed;
mod pickle;
mod state_dict;

pub use installed::{EXTENSIONS, INSTALLED_NAME, Installed, installed};
pub use state_dict::{Origin, StateDict, WeightsError, WeightsFile};
