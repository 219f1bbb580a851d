//! PNGs with one number per pixel: what grey pictures and masks have in common, and grey pictures.

use png::{BitDepth, ColorType, Compression, Encoder, EncodingError, Filter};

use super::EncodeError;
use crate::raster::Raster;

/// Encodes `values` as a PNG of one byte per pixel; `describe` says what the bytes mean. Fails for an empty raster, which
/// PNG does not allow.
pub(super) fn encode(
    values: &Raster<u8>,
    describe: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), EncodingError>,
) -> Result<Vec<u8>, EncodeError> {
    encode_samples((values.width, values.height), BitDepth::Eight, &values.values, describe)
}

/// The same with two bytes per pixel.
pub(super) fn encode_wide(
    values: &Raster<u16>,
    describe: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), EncodingError>,
) -> Result<Vec<u8>, EncodeError> {
    let samples: Vec<u8> = values.values.iter().flat_map(|value| value.to_be_bytes()).collect();
    encode_samples((values.width, values.height), BitDepth::Sixteen, &samples, describe)
}

fn encode_samples(
    (width, height): (usize, usize),
    depth: BitDepth,
    samples: &[u8],
    describe: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), EncodingError>,
) -> Result<Vec<u8>, EncodeError> {
    let (Ok(columns), Ok(rows)) = (u32::try_from(width), u32::try_from(height)) else {
        return Err(EncodeError::Size { width, height });
    };
    let mut bytes = Vec::new();
    let encode = || -> Result<(), EncodingError> {
        let mut encoder = Encoder::new(&mut bytes, columns, rows);
        encoder.set_depth(depth);
        encoder.set_compression(Compression::Fast);
        // Rows of a mask and of enlarged cells resemble the row above: the differences are almost all zero.
        encoder.set_filter(Filter::Up);
        describe(&mut encoder)?;
        let mut writer = encoder.write_header()?;
        writer.write_image_data(samples)?;
        writer.finish()
    };
    encode().map_err(|source| EncodeError::Png { width, height, source })?;
    Ok(bytes)
}

/// Encodes 8-bit grey values as a PNG. Fails for an empty raster, which PNG does not allow.
pub fn encode_grey_png(values: &Raster<u8>) -> Result<Vec<u8>, EncodeError> {
    encode(values, |encoder| {
        encoder.set_color(ColorType::Grayscale);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::decode_label_map;

    #[test]
    fn values_survive() {
        let values = Raster::from_values(3, 2, vec![0, 128, 255, 7, 7, 1]);
        let decoded = decode_label_map(&encode_grey_png(&values).unwrap()).unwrap();
        assert_eq!(decoded, values.map(u32::from));
        assert!(encode_grey_png(&Raster::filled(0, 4, 0)).is_err());
    }
}
