//! Grey pictures as PNG.

use png::ColorType;

use super::{EncodeError, eight_bit_png};
use crate::raster::Raster;

/// Encodes 8-bit grey values as a PNG. Fails for an empty raster, which PNG does not allow.
pub fn encode_grey_png(values: &Raster<u8>) -> Result<Vec<u8>, EncodeError> {
    eight_bit_png::encode(values, |encoder| {
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
