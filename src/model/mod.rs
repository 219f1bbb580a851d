//! The network that assigns nodes to clusters, and the file that keeps it.

pub mod checkpoint;
mod config;
pub mod container;
mod diagnostics;
mod host;
mod network;

pub use config::ModelConfig;
pub use diagnostics::{Diagnostics, PositionShares, Restarts, Verdict};
pub use host::{Activations, HostNetwork};
pub use network::{Network, NetworkConfig, Parameter};
