//! What reads bytes that others made: one function per format, which must not panic, whatever the bytes.
//!
//! Used by the fuzz targets of this folder and, with mutations that are the same every time, by `tests/house`.

#![allow(dead_code, reason = "every fuzz target uses one of these")]

use std::hint::black_box;
use std::path::Path;

use deepcut::dataset::Collection;
use deepcut::dataset::truth::{coco, labels, voc};
use deepcut::features::read_vectors;
use deepcut::model::checkpoint::{Checkpoint, Stage};
use deepcut::pixels::{DecodeConfig, decode, decode_label_map, stored_samples};
use deepcut::raster::RunLengthMask;
use deepcut::segment::regions::RegionCheckpoint;
use deepcut::tensor;
use deepcut::weights::StateDict;

/// A checkpoint of networks or of a code book, as it is and with its checksum set right: else nothing behind the checksum would ever be reached.
pub fn checkpoint(bytes: &[u8]) {
    for bytes in [bytes, &sealed(bytes)] {
        if let Ok(checkpoint) = Checkpoint::from_bytes(bytes) {
            for stage in [Stage::Objects, Stage::Parts, Stage::BackgroundParts] {
                black_box(checkpoint.network(stage, &tensor::cpu()));
            }
        }
        if let Ok(RegionCheckpoint { header, book, .. }) = RegionCheckpoint::from_bytes(bytes) {
            black_box(book.costs(&vec![0.5; header.width], &[50.0, 0.0, 0.0]));
        }
    }
}

/// The bytes with the checksum that they should have, where they have one.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    /// What stands before the checksum, which is JSON within JSON.
    const BEFORE: &[u8] = br#"\"blake3\":\""#;
    const LENGTH: usize = 64;
    let mut sealed = bytes.to_vec();
    let before = bytes.windows(BEFORE.len()).position(|window| window == BEFORE);
    if let Some(place) = before.and_then(|start| sealed.get_mut(start + BEFORE.len()..)?.get_mut(..LENGTH)) {
        place.fill(b'0');
        let checksum = blake3::hash(&sealed).to_hex();
        let start = before.unwrap_or_default() + BEFORE.len();
        sealed[start..start + LENGTH].copy_from_slice(checksum.as_bytes());
    }
    sealed
}

/// Weights: safetensors, and both containers of `torch.save`.
pub fn weights(bytes: &[u8]) {
    let _ = black_box(StateDict::from_bytes(bytes, Path::new("weights")));
}

/// Vectors: `.npy` and safetensors.
pub fn vectors(bytes: &[u8]) {
    with_file("vectors", bytes, |path, _| drop(black_box(read_vectors(path))));
}

/// COCO's JSON, with polygons and runs drawn.
pub fn coco_json(bytes: &[u8]) {
    /// More is allowed, but takes long to draw.
    const MAX_AREA_PX: usize = 1 << 20;
    with_file("coco.json", bytes, |path, _| {
        let _ = black_box((coco::boxes(path), coco::key_points(path)));
        for image in coco::masks(path).map_or(Vec::new(), |truth| truth.images) {
            let area_px = image.content.size().map(|(width, height)| width.saturating_mul(height));
            if area_px.is_none_or(|area_px| area_px <= MAX_AREA_PX) {
                let _ = black_box(image.content.draw((64, 48)));
            }
        }
    });
}

/// Pascal VOC's XML.
pub fn voc_xml(bytes: &[u8]) {
    with_file("image.xml", bytes, |_, folder| drop(black_box(voc::boxes(folder))));
}

/// A list of images in any form, and the same as a table of their classes.
pub fn list(bytes: &[u8]) {
    with_file("list", bytes, |path, _| {
        if let Ok(collection) = Collection::open(path) {
            black_box((collection.records().count(), collection.remarks()));
        }
        let _ = black_box(labels(path, None, &|_| false));
    });
}

/// A mask as runs: two bytes of width, two of height, then COCO's compressed counts.
pub fn runs(bytes: &[u8]) {
    let Some((size, counts)) = bytes.split_first_chunk::<4>() else { return };
    let [width, height] = [[size[0], size[1]], [size[2], size[3]]].map(|side| usize::from(u16::from_le_bytes(side)));
    if let Ok(mask) = RunLengthMask::from_compressed(width, height, &String::from_utf8_lossy(counts)) {
        assert_eq!(RunLengthMask::from_compressed(width, height, &mask.compressed()), Ok(mask.clone()));
        black_box((mask.area_px(), mask.bounding()));
        if width * height <= 1 << 20 {
            black_box(mask.decode());
        }
    }
}

/// A picture of a collection, and the same bytes as a label map.
pub fn picture(bytes: &[u8]) {
    let limits = DecodeConfig { max_megapixels: 1, max_mebibytes: 16, ..DecodeConfig::default() };
    let _ = black_box((decode(bytes, &limits), stored_samples(bytes, &limits), decode_label_map(bytes)));
}

/// Calls `read` with a file of these bytes, and its folder.
fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path, &Path)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    read(&path, folder.path());
}
