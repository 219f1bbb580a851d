//! The house itself: who may use whom, what readers do with hostile bytes, and whether the project's files agree.

mod architecture;
mod hostile_bytes;
mod project_files;
