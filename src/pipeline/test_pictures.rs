//! A small collection and a small transformer for the tests of runs.

use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::features::Backbone;
use crate::features::vit::{Engine, VitExtractor};
use crate::output::encode_grey_png;
use crate::raster::Raster;
use crate::tensor;
use crate::weights::StateDict;

/// Pictures in the collection.
pub const COUNT: usize = 5;

/// Settings of the transformer in [`weights`].
pub const SETTINGS: [&str; 4] = ["backbone=vit", "vit.head_width=4", "vit.input_side=32", "vit.facet=token"];

/// One block of width 8 with patches of 4 pixels.
pub fn weights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny_vit.pth")
}

/// The transformer on the processor, computed by `engine`.
pub fn backbone(config: &Settings, engine: Engine) -> Backbone {
    let state = StateDict::open(&weights()).unwrap();
    let extractor = VitExtractor::with_engine(&state, config.vit.clone(), tensor::cpu(), engine).unwrap();
    Backbone { extractor: Box::new(extractor), name: "vit", hash: None, description: String::new() }
}

/// Writes `0.png`, `1.png`, …: bright discs of several sizes on dark noise.
pub fn write(folder: &Path) {
    for number in 0..COUNT {
        let pixel = |place: usize| {
            let (x, y) = (place % 48, place / 48);
            let (right, down) = (x as f32 - 16.0 - 3.0 * number as f32, y as f32 - 20.0);
            let noise = (x * 7 + y * 13 + x * y + number * 5) % 41;
            let inside = right.hypot(down) < 8.0 + number as f32;
            (noise + if inside { 180 } else { 0 }) as u8
        };
        let picture = Raster::from_values(48, 40, (0..48 * 40).map(pixel).collect());
        std::fs::write(folder.join(format!("{number}.png")), encode_grey_png(&picture).unwrap()).unwrap();
    }
}
