//! Graph → assignment: which nodes belong together, by a network that was trained before.

mod shared;

pub use shared::{Segmenter, Segments};
