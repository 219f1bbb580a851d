//! Single precision as little-endian bytes.

/// The values that bytes hold, four each; a rest of fewer is left out.
pub fn floats_from_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// The bytes of values, four each.
pub fn bytes_from_floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_to_the_bit() {
        assert_eq!(bytes_from_floats(&[1.0, -0.0]), [0, 0, 0x80, 0x3f, 0, 0, 0, 0x80]);
        let values = [f32::MIN_POSITIVE / 8.0, f32::NEG_INFINITY, f32::from_bits(0x7fc0_1234), 0.1];
        let back = floats_from_bytes(&bytes_from_floats(&values));
        assert_eq!(back.into_iter().map(f32::to_bits).collect::<Vec<_>>(), values.map(f32::to_bits));
        assert_eq!(floats_from_bytes(&[0, 0, 0, 0x40, 7]), [2.0]);
    }
}
