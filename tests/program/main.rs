//! The program as a process, the public face beside it, and the whole way on real data.

mod bad_input;
mod cli;
mod cluster;
mod drive;
mod eval;
mod eval_instances;
mod face;
mod kept_checkpoints;
mod objects;
mod real_data;
mod signals;
mod vanishing;
mod words;
