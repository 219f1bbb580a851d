//! The network that assigns nodes to clusters, and the file that keeps it.

pub mod checkpoint;
mod config;
pub mod container;
mod network;

pub use config::ModelConfig;
pub use network::{Network, NetworkConfig, Parameter};
