//! The network that assigns nodes to clusters, and the file that keeps it.

pub mod checkpoint;
mod network;
pub mod sealed;

pub use network::{Network, NetworkConfig, Parameter};
