//! The forms that results have on disk: masks, pictures for people, annotations, and tables for machines.
//!
//! Every file appears under its final name only once it is complete, so a run may be killed at any moment and repeated.
//! Runs write into an [`OutputFolder`], which is theirs alone while they last and in which they replace and remove only what
//! runs have made.

mod annotations;
mod atomic;
mod cache;
mod claim;
mod contact_sheet;
mod error;
mod folder;
mod indexed_png;
mod json_lines;
mod lay_out;
mod matrix;
mod mean_colours;
mod mirror;
mod one_channel_png;
mod overlay;
mod palette;
#[cfg(feature = "parquet")]
mod parquet_table;
mod seal;

pub use annotations::{AnnotatedImage, AnnotatedObject, Category, CocoWriter, voc_annotation, yolo_data, yolo_labels};
pub use atomic::write_atomically;
pub use cache::{Cache, CacheConfig};
pub use claim::{Claim, FileState, file_state, state_unread};
pub use contact_sheet::contact_sheet;
pub use error::{EncodeError, MaskError, OutputError};
pub use folder::OutputFolder;
pub use indexed_png::{decode_mask, encode_indexed_png, encode_wide_png, read_mask, read_png_text, read_wide_mask};
pub use json_lines::{JsonLines, JsonLog};
pub use lay_out::{LayOut, LayOutError};
pub use matrix::{GrowingMatrix, MatrixFormat, MatrixKind, NumberType};
pub use mean_colours::mean_colours;
pub use mirror::{Fetched, with_output};
pub use one_channel_png::encode_grey_png;
pub use overlay::{OutputConfig, THUMBNAIL_SIDE_PX, encode_jpeg, overlay, thumbnail};
pub use palette::cluster_colour;
#[cfg(feature = "parquet")]
pub use parquet_table::{ParquetTable, TableObject, TableResult, TableRow};
pub use seal::Sealed;
