//! The network that assigns nodes to clusters, and the file that keeps it.

pub mod checkpoint;
pub mod container;
mod network;

pub use network::{Network, NetworkConfig, Parameter};
