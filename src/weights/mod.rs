//! Weights of networks that others trained: the files people have, read without running anything in them, and the published
//! ones, by name.

mod archive;
mod hub;
mod installed;
mod pickle;
mod registry;
mod state_dict;
mod store;

pub use hub::{Basis, ByHand, Fault, PullError, Pulled, by_hand, pull};
pub use installed::{EXTENSIONS, INSTALLED_NAME, Installed, home_folder, installed};
pub use registry::{DEFAULT_NAME, Published, Source, named, published};
pub use state_dict::{StateDict, WeightsError, WeightsFile};
pub use store::{
    Hashes, Record, Stored, best_stored, own_place, recognise, record, record_first_use, record_installed, remove, stored,
    stored_as, stored_with_hash,
};
