//! The flags that say how pictures are read, the same for every subcommand that reads them anew.

use clap::Args;
use deepcut::config::{Bands, ValueRange};

// How pictures are read; `deepcut infer` takes it from its checkpoint.
#[derive(Debug, Args)]
pub struct PixelArguments {
    /// Bands that are taken, counted from 1: one as grey, or three as red, green and blue, as in 4,3,2 [default: of up to two
    /// bands the first, else the first three]
    #[arg(long, value_name = "LIST", value_parser = bands)]
    bands: Option<String>,
    /// Values that become black and white: auto (8 bits as they are stored, others by the picture's own range), full, LOW..HIGH (the
    /// same for all pictures), or percentile:P [default: auto]
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    range: Option<String>,
    /// Pixels without data, where nothing is found: auto (by GDAL's tag, NaN, and empty edges), none, or the value that they
    /// have [default: auto]
    #[arg(long, value_name = "VALUE", value_parser = nodata, allow_hyphen_values = true)]
    nodata: Option<String>,
}

// Apart, as `deepcut cluster` has another flag of this name.
#[derive(Debug, Args)]
pub struct AlphaArgument {
    /// What becomes of transparent pixels: laid over mid-grey, taken as they are stored, or without data [default: composite]
    #[arg(long, value_parser = ["composite", "ignore", "mask"])]
    alpha: Option<String>,
}

impl PixelArguments {
    /// The settings that the flags stand for.
    pub fn overrides(&self) -> impl Iterator<Item = String> {
        let flags = [
            self.bands.as_ref().map(|bands| format!("pixels.bands=[{bands}]")),
            self.range.as_ref().map(|range| format!("pixels.range={range}")),
            self.nodata.as_ref().map(|nodata| format!("pixels.nodata={nodata}")),
        ];
        flags.into_iter().flatten()
    }
}

impl AlphaArgument {
    /// The setting that the flag stands for.
    pub fn overrides(&self) -> impl Iterator<Item = String> {
        self.alpha.iter().map(|alpha| format!("pixels.alpha={alpha}"))
    }
}

fn bands(text: &str) -> Result<String, String> {
    let numbers: Result<Vec<u16>, _> = text.split(',').map(|number| number.trim().parse()).collect();
    let expected = || "write one number or three, counted from 1, as in 4,3,2".to_string();
    Bands::try_from(numbers.map_err(|_| expected())?).map(|_| text.to_string()).map_err(|_| expected())
}

fn range(text: &str) -> Result<String, String> {
    ValueRange::try_from(text.to_string()).map(String::from).map_err(str::to_string)
}

fn nodata(text: &str) -> Result<String, String> {
    let is_valid = matches!(text, "auto" | "none") || text.parse::<f64>().is_ok();
    if is_valid { Ok(text.to_string()) } else { Err("write auto, none or a number".into()) }
}
