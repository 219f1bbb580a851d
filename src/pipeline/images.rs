//! From a file to its graph.

use std::path::Path;

use super::backbone::Backbone;
use crate::config::Settings;
use crate::graph::Graph;
use crate::nodes::NodeFeatures;
use crate::pixels;
use crate::raster::RgbImage;
use crate::tensor::{Device, is_cpu};

/// An image file's bytes and their hash.
pub(super) struct ImageFile {
    pub bytes: Vec<u8>,
    pub hash: blake3::Hash,
}

/// Reads a file; the error is the reason for which it is left out.
pub(super) fn read(path: &Path, config: &Settings) -> Result<ImageFile, String> {
    // A file larger than any image within the limits is not read into memory at all.
    let limit = config.pixels.max_mebibytes.saturating_mul(1 << 20);
    let length = std::fs::metadata(path).map_err(|error| format!("cannot read it: {error}"))?.len();
    if length > limit {
        return Err(format!(
            "the file has {} MiB, more than pixels.max_mebibytes = {}",
            length >> 20,
            config.pixels.max_mebibytes
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read it: {error}"))?;
    let hash = blake3::hash(&bytes);
    Ok(ImageFile { bytes, hash })
}

/// Decodes a file's bytes; the error is the reason for which it is left out.
pub(super) fn decode(file: &ImageFile, config: &Settings) -> Result<RgbImage, String> {
    pixels::decode(&file.bytes, &config.pixels).map_err(|error| error.to_string())
}

/// The graph of an image.
pub(super) fn graph(nodes: &NodeFeatures, config: &Settings, device: &Device) -> Graph {
    Graph::build(nodes, config.affinity(), device)
}

/// The same for a network that is optimised on this image alone.
pub(super) fn graph_to_optimise_on(nodes: &NodeFeatures, config: &Settings, device: &Device) -> Graph {
    Graph::build_keeping_affinities(nodes, config.affinity(), device)
}

/// Identifies everything that a graph follows from besides the image.
pub(super) fn graph_settings(config: &Settings, backbone: &Backbone, device: &Device) -> blake3::Hash {
    let settings = serde_json::json!({
        "program": env!("CARGO_PKG_VERSION"),
        "backbone": backbone.name,
        "width": backbone.extractor.width(),
        "weights": backbone.hash,
        "vit": config.vit,
        "superpixel": config.superpixel,
        "pixel": config.pixel,
        "affinity": config.affinity(),
        // GPUs round the operands of products.
        "gpu": !is_cpu(device),
    });
    blake3::hash(settings.to_string().as_bytes())
}
