//! How pictures are read: how large they may be, and which of their values are shown how.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How pictures are read. Sizes are compared with a picture's header before memory is taken for its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecodeConfig {
    /// Largest width × height, in millions of pixels.
    pub max_megapixels: u64,
    /// Most memory that decoding may take, in mebibytes: for the pixels in the file's own layout, for what the decoder
    /// works on them with, and for the result of 3 bytes per pixel. A larger file is not read.
    pub max_mebibytes: u64,
    /// Bands of a picture that are taken, counted from 1: one as grey, or three as red, green and blue ([4, 3, 2]). Unless
    /// chosen: one band is grey, of two the first is, and of more the first three are red, green and blue.
    #[schemars(with = "Option<Vec<u16>>")]
    pub bands: Option<Bands>,
    /// Values that become black and white, in all bands alike: auto (8 bits as they are stored, wider and floating-point
    /// values by the picture's own range), full (all that the type holds; 0 to 1 for floating-point values), LOW..HIGH (the
    /// same for the whole collection), or percentile:P (from P to 100 − P percent of the picture's values, P below 50).
    #[schemars(with = "String")]
    pub range: ValueRange,
    /// What becomes of transparent pixels.
    pub alpha: AlphaUse,
    /// Pixels without data, which are in no graph and where nothing is found: auto (what GDAL's tag names, values that are
    /// no numbers, and empty edges: regions of zeros or of the largest value that are cut off straight), none, or the value that all
    /// their bands have.
    #[schemars(with = "String")]
    pub nodata: NoData,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl DecodeConfig {
    pub(in crate::pixels) const DEFAULT: Self = Self {
        max_megapixels: 100,
        max_mebibytes: 512,
        bands: None,
        range: ValueRange::Auto,
        alpha: AlphaUse::Composite,
        nodata: NoData::Auto,
    };

    /// All that a picture follows from besides its bytes: not how large it may be.
    pub fn fingerprint(&self) -> serde_json::Value {
        let mut settings = serde_json::to_value(self).unwrap_or_default();
        if let Some(settings) = settings.as_object_mut() {
            settings.retain(|name, _| !name.starts_with("max_"));
        }
        settings
    }
}

/// Bands that are taken, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u16>", into = "Vec<u16>")]
pub enum Bands {
    /// Shown in grey.
    One(u16),
    /// Shown in red, green and blue.
    Three([u16; 3]),
}

impl TryFrom<Vec<u16>> for Bands {
    type Error = &'static str;

    fn try_from(numbers: Vec<u16>) -> Result<Bands, &'static str> {
        match numbers[..] {
            [one] if one > 0 => Ok(Bands::One(one)),
            [red, green, blue] if red > 0 && green > 0 && blue > 0 => Ok(Bands::Three([red, green, blue])),
            _ => Err("bands are one or three numbers, counted from 1"),
        }
    }
}

impl From<Bands> for Vec<u16> {
    fn from(bands: Bands) -> Vec<u16> {
        match bands {
            Bands::One(band) => vec![band],
            Bands::Three(bands) => bands.to_vec(),
        }
    }
}

/// Which values become black and white.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ValueRange {
    Auto,
    Full,
    /// The value that becomes black, and the one that becomes white.
    Between(f64, f64),
    /// So many percent of a picture's values become black, and as many white.
    Percentile(f64),
}

impl TryFrom<String> for ValueRange {
    type Error = &'static str;

    fn try_from(text: String) -> Result<ValueRange, &'static str> {
        const EXPECTED: &str = "a range is auto, full, LOW..HIGH as in 0..4095, or percentile:P as in percentile:2";
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        match text.trim() {
            "auto" => return Ok(ValueRange::Auto),
            "full" => return Ok(ValueRange::Full),
            _ => {}
        }
        if let Some(percent) = text.trim().strip_prefix("percentile:") {
            let percent = number(percent).filter(|percent| (0.0..50.0).contains(percent)).ok_or(EXPECTED)?;
            return Ok(ValueRange::Percentile(percent));
        }
        let (low, high) = text.split_once("..").ok_or(EXPECTED)?;
        match (number(low), number(high)) {
            (Some(low), Some(high)) if low < high => Ok(ValueRange::Between(low, high)),
            _ => Err(EXPECTED),
        }
    }
}

impl fmt::Display for ValueRange {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ValueRange::Auto => formatter.write_str("auto"),
            ValueRange::Full => formatter.write_str("full"),
            ValueRange::Between(low, high) => write!(formatter, "{low}..{high}"),
            ValueRange::Percentile(percent) => write!(formatter, "percentile:{percent}"),
        }
    }
}

impl From<ValueRange> for String {
    fn from(range: ValueRange) -> String {
        range.to_string()
    }
}

/// What becomes of transparent pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AlphaUse {
    /// Colours are laid over mid-grey: what is hidden does not count
    Composite,
    /// Colours are taken as they are stored, also those that nobody sees
    Ignore,
    /// As composite, and wholly transparent pixels are without data
    Mask,
}

/// Which pixels are without data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "TextOrNumber", into = "String")]
pub enum NoData {
    Auto,
    /// All pixels have data.
    None,
    /// Those of which every band has this value, as it is stored.
    Value(f64),
}

/// Values in configurations may be written as numbers, too.
#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Integer(i64),
    Number(f64),
}

impl TryFrom<TextOrNumber> for NoData {
    type Error = &'static str;

    fn try_from(value: TextOrNumber) -> Result<NoData, &'static str> {
        let text = match value {
            TextOrNumber::Integer(value) => return Ok(NoData::Value(value as f64)),
            TextOrNumber::Number(value) => return Ok(NoData::Value(value)),
            TextOrNumber::Text(text) => text,
        };
        match text.trim() {
            "auto" => Ok(NoData::Auto),
            "none" => Ok(NoData::None),
            number => number.parse().map(NoData::Value).map_err(|_| "nodata is auto, none or a number"),
        }
    }
}

impl From<NoData> for String {
    fn from(nodata: NoData) -> String {
        match nodata {
            NoData::Auto => "auto".into(),
            NoData::None => "none".into(),
            NoData::Value(value) => value.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_as_they_are_read() {
        for text in ["auto", "full", "0..4095", "-1.5..2", "percentile:2", "percentile:0.5"] {
            assert_eq!(String::from(ValueRange::try_from(text.to_string()).unwrap()), text);
        }
        for text in ["", "4095", "2..1", "1..1", "0..nan", "percentile:50", "percentile:-1", "minmax", "0..inf"] {
            assert!(ValueRange::try_from(text.to_string()).is_err(), "{text}");
        }
        let nodata = |json: &str| serde_json::from_str::<NoData>(json);
        for (json, expected) in [
            ("-9999", NoData::Value(-9999.0)),
            ("\"-9999\"", NoData::Value(-9999.0)),
            ("0.5", NoData::Value(0.5)),
            ("\"none\"", NoData::None),
        ] {
            assert_eq!(nodata(json).unwrap(), expected);
            assert_eq!(nodata(&serde_json::to_string(&expected).unwrap()).unwrap(), expected);
        }
        assert!(nodata("\"black\"").is_err());
        for (json, valid) in [("[1]", true), ("[4, 3, 2]", true), ("[0]", false), ("[1, 2]", false), ("[]", false)] {
            assert_eq!(serde_json::from_str::<Bands>(json).is_ok(), valid, "{json}");
        }
    }
}
