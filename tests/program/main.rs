//! The program as a process, the public face beside it, and the whole way on real data.

mod annotations;
mod bad_input;
mod cli;
mod cluster;
mod collections;
mod compare;
mod containers;
mod drive;
mod eval;
mod eval_instances;
mod face;
mod features;
#[cfg(feature = "hub")]
mod hub;
mod kept_checkpoints;
mod names;
mod objects;
#[cfg(unix)]
mod ownership;
mod pixels;
mod real_data;
mod regions;
#[cfg(feature = "remote")]
mod remote;
mod shards;
mod signals;
#[cfg(target_os = "linux")]
mod special_files;
#[cfg(feature = "parquet")]
mod tables;
#[cfg(target_os = "linux")]
mod torture;
mod vanishing;
mod words;
