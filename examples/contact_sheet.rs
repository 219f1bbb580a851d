//! Lays pictures out in a grid: `contact_sheet FOLDER TARGET.png [COLUMNS]`. The README's picture is made with it.

use std::error::Error;
use std::path::{Path, PathBuf};

use deepcut::dataset;
use deepcut::output::contact_sheet;
use deepcut::pixels::{DecodeConfig, decode, resize_lanczos};
use deepcut::raster::RgbImage;

const TILE_HEIGHT_PX: usize = 150;
const GAP_PX: usize = 6;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, target, rest @ ..] = arguments.as_slice() else {
        return Err("usage: contact_sheet FOLDER TARGET.png [COLUMNS]".into());
    };
    let columns = rest.first().map_or(Ok(6), |columns| columns.parse())?;
    let mut tiles = Vec::new();
    for record in dataset::open(Path::new(folder))?.records() {
        let image = decode(&std::fs::read(record?.path)?, &DecodeConfig::default())?;
        let width = (image.width * TILE_HEIGHT_PX / image.height).max(1);
        tiles.push(resize_lanczos(&image, width, TILE_HEIGHT_PX));
    }
    save(&contact_sheet(&tiles, columns, GAP_PX), &PathBuf::from(target))
}

fn save(sheet: &RgbImage, path: &Path) -> Result<(), Box<dyn Error>> {
    let (width, height) = (u32::try_from(sheet.width)?, u32::try_from(sheet.height)?);
    image::save_buffer(path, sheet.values.as_flattened(), width, height, image::ColorType::Rgb8)?;
    Ok(())
}
