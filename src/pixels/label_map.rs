//! Label maps in PNG files: the numbers that are stored, not the colours they are shown in.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder};

use crate::raster::LabelMap;

/// Larger maps are refused before memory is taken for them.
const MAX_AREA_PX: u64 = 1 << 29;

/// Bytes that are no label map. The messages do not name the file: whoever read it knows its name.
#[derive(Debug, thiserror::Error)]
pub enum LabelMapError {
    #[error("not a complete PNG ({0}); write it again")]
    Broken(#[from] png::DecodingError),

    #[error("the PNG holds {0:?} pixels of {1:?} bits; convert it to palette or grey without transparency")]
    UnsupportedPixels(ColorType, BitDepth),

    #[error("{width}x{height} pixels are more than this program reads; cut the map into smaller ones")]
    TooLarge { width: u32, height: u32 },
}

/// Decodes a palette PNG (1 to 8 bits) or a grey PNG (1 to 16 bits) into its raw values: palette indices stay indices,
/// and grey of few bits is not stretched.
pub fn decode_label_map(bytes: &[u8]) -> Result<LabelMap, LabelMapError> {
    let mut reader = Decoder::new(Cursor::new(bytes)).read_info()?;
    let (width, height) = (reader.info().width, reader.info().height);
    if u64::from(width) * u64::from(height) > MAX_AREA_PX {
        return Err(LabelMapError::TooLarge { width, height });
    }
    let (colour, depth) = reader.output_color_type();
    if !matches!(colour, ColorType::Indexed | ColorType::Grayscale) {
        return Err(LabelMapError::UnsupportedPixels(colour, depth));
    }
    let size = reader.output_buffer_size().ok_or(LabelMapError::TooLarge { width, height })?;
    let mut packed = vec![0; size];
    let frame = reader.next_frame(&mut packed)?;
    reader.finish()?;
    let (width, height) = (frame.width as usize, frame.height as usize);
    packed.truncate(frame.buffer_size());
    let values = match depth {
        BitDepth::Sixteen => {
            packed.as_chunks::<2>().0.iter().map(|&bytes| u32::from(u16::from_be_bytes(bytes))).collect()
        }
        BitDepth::Eight => packed.into_iter().map(u32::from).collect(),
        BitDepth::One | BitDepth::Two | BitDepth::Four => {
            let bits = depth as usize;
            let mut values = Vec::with_capacity(width * height);
            for row in packed.chunks_exact(frame.line_size) {
                // The first pixel of a row lies in the highest bits of its first byte.
                values.extend((0..width).map(|x| u32::from((row[x * bits / 8] << (x * bits % 8)) >> (8 - bits))));
            }
            values
        }
    };
    Ok(LabelMap::from_values(width, height, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey_png(width: u32, height: u32, depth: BitDepth, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn every_depth_keeps_its_raw_values() {
        let cases: [(BitDepth, &[u8], [u32; 3]); 5] = [
            (BitDepth::One, &[0b1010_0000], [1, 0, 1]),
            (BitDepth::Two, &[0b1100_0100], [3, 0, 1]),
            (BitDepth::Four, &[0xf0, 0x10], [15, 0, 1]),
            (BitDepth::Eight, &[255, 0, 1], [255, 0, 1]),
            (BitDepth::Sixteen, &[1, 0, 0, 0, 255, 254], [256, 0, 65534]),
        ];
        for (depth, row, expected) in cases {
            let bytes = grey_png(3, 2, depth, &row.repeat(2));
            let map = decode_label_map(&bytes).unwrap();
            assert_eq!(
                (map.width, map.height, &map.values[..3], &map.values[3..]),
                (3, 2, &expected[..], &expected[..])
            );
            for length in 0..bytes.len() {
                assert!(decode_label_map(&bytes[..length]).is_err(), "{length} bytes of {depth:?}");
            }
        }
    }

    #[test]
    fn colours_are_no_labels() {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&[1, 2, 3]).unwrap();
        assert!(matches!(decode_label_map(&bytes), Err(LabelMapError::UnsupportedPixels(..))));
    }
}
