//! Writes every picture of a folder as it is read: `decoded FOLDER TARGET [pixels.KEY=VALUE …]`, one PNG each, and one line on
//! standard output with what is remarked of it or why it is not read. `scripts/compare_pixels.py` holds them against others.

use std::error::Error;
use std::path::Path;

use deepcut::config;
use deepcut::pixels::decode;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, target, overrides @ ..] = arguments.as_slice() else {
        return Err("usage: decoded FOLDER TARGET [pixels.KEY=VALUE …]".into());
    };
    let settings = config::resolve(None, overrides)?.pixels;
    std::fs::create_dir_all(target)?;
    let mut paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match decode(&std::fs::read(&path)?, &settings) {
            Ok(picture) => {
                let (width, height) = (u32::try_from(picture.width)?, u32::try_from(picture.height)?);
                let values = picture.image.values.as_flattened();
                let file = Path::new(target).join(format!("{name}.png"));
                image::save_buffer(file, values, width, height, image::ColorType::Rgb8)?;
                println!("{name}\t{}", picture.remarks.join("; "));
            }
            Err(error) => println!("{name}\tnot read: {error}"),
        }
    }
    Ok(())
}
