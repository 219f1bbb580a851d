//! From the bytes of a picture to pixels: decode under limits, orient, resize, normalise, convert to L\*a\*b\*.

#[cfg(feature = "avif")]
mod avif;
mod decode;
mod frames;
mod gif;
mod header;
mod item;
mod jpeg;
mod lab;
mod label_map;
mod orientation;
mod page;
mod picture;
mod png;
mod resize;
mod settings;
mod tiff;

pub use decode::error::DecodeError;
pub use decode::{ResizedTo, Samples, StoredSamples, decode, picture_of_samples, stored_samples};
pub use frames::count_frames;
pub use item::{ImageContent, ImageItem};
pub use lab::lab_from_rgb;
pub use label_map::{LabelMapError, cut_grey_edges, decode_label_map};
pub use orientation::QuarterTurn;
pub use picture::Picture;
pub use resize::{normalise, resize_lanczos};
pub use settings::{AlphaUse, Bands, DecodeConfig, NoData, ValueRange};
