//! Masks as palette PNGs, and as grey ones of 16 bits where a palette has too few entries: the pixel value is the cluster or the
//! region, and text chunks tell where the mask comes from.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use png::{ColorType, Decoder};

use super::palette::cluster_colour;
use super::{EncodeError, MaskError, OutputError, one_channel_png};
use crate::files;
use crate::pixels::decode_label_map;
use crate::raster::{Mask, Raster};

/// No mask has a larger file.
const MOST_BYTES: u64 = 1 << 30;

/// The chunk that ends every PNG: no data, and a check sum that is always the same.
const END_CHUNK: [u8; 12] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82];

/// Encodes `mask` as an 8-bit palette PNG whose pixel values are the mask's own, 0 in black.
///
/// `text` are (keyword, text) pairs; they become international text chunks (`iTXt`) ahead of the pixels, so that
/// [`read_png_text`] finds them without decoding any. A keyword has 1 to 79 Latin-1 characters.
/// Fails for an empty mask and for bad keywords, which PNG does not allow.
pub fn encode_indexed_png(mask: &Mask, text: &[(&str, &str)]) -> Result<Vec<u8>, EncodeError> {
    one_channel_png::encode(mask, |encoder| {
        encoder.set_color(ColorType::Indexed);
        encoder.set_palette((0..=255u8).flat_map(cluster_colour).collect::<Vec<u8>>());
        text.iter().try_for_each(|(keyword, text)| encoder.add_itxt_chunk(keyword.to_string(), text.to_string()))
    })
}

/// Encodes a mask of more regions than 8 bits can number as a 16-bit grey PNG, otherwise as [`encode_indexed_png`].
pub fn encode_wide_png(mask: &Raster<u16>, text: &[(&str, &str)]) -> Result<Vec<u8>, EncodeError> {
    one_channel_png::encode_wide(mask, |encoder| {
        encoder.set_color(ColorType::Grayscale);
        text.iter().try_for_each(|(keyword, text)| encoder.add_itxt_chunk(keyword.to_string(), text.to_string()))
    })
}

/// Decodes a palette or grey PNG into its raw values: palette indices, not colours. No value may exceed those of the mask, 255 in
/// an ordinary one.
pub fn decode_mask<V: TryFrom<u32>>(bytes: &[u8]) -> Result<Raster<V>, MaskError> {
    let labels = decode_label_map(bytes)?;
    let (width, height) = (labels.width, labels.height);
    let values = labels.values.into_iter().map(|value| V::try_from(value).map_err(|_| MaskError::ValueTooLarge(value)));
    Ok(Raster { width, height, values: values.collect::<Result<_, _>>()? })
}

/// Reads the mask in the PNG file `path`; see [`decode_mask`].
pub fn read_mask(path: &Path) -> Result<Mask, OutputError> {
    read(path)
}

/// The same where regions may be more than 255.
pub fn read_wide_mask(path: &Path) -> Result<Raster<u16>, OutputError> {
    read(path)
}

fn read<V: TryFrom<u32>>(path: &Path) -> Result<Raster<V>, OutputError> {
    let bytes =
        files::read(path, MOST_BYTES).map_err(|source| OutputError::Read { path: path.to_path_buf(), source })?;
    decode_mask(&bytes).map_err(|source| OutputError::Mask { path: path.to_path_buf(), source })
}

/// The international text that the PNG file `path` holds under `keyword` ahead of its pixels, which are not decoded.
///
/// None if there is no such file, no such text, or the file is no PNG or an incomplete one: the text proves that the
/// whole file was written. An error only if an existing file cannot be read.
pub fn read_png_text(path: &Path, keyword: &str) -> Result<Option<String>, OutputError> {
    let read = || -> io::Result<Option<String>> {
        let mut file = match files::open_ordinary(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        if length < END_CHUNK.len() as u64 {
            return Ok(None);
        }
        let mut end = [0; END_CHUNK.len()];
        file.seek(SeekFrom::Start(length - end.len() as u64))?;
        file.read_exact(&mut end)?;
        if end != END_CHUNK {
            return Ok(None);
        }
        file.rewind()?;
        match Decoder::new(BufReader::new(file)).read_info() {
            Ok(reader) => Ok(reader
                .info()
                .utf8_text
                .iter()
                .find(|chunk| chunk.keyword == keyword)
                .and_then(|chunk| chunk.get_text().ok())),
            Err(png::DecodingError::IoError(error)) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            Err(_) => Ok(None),
        }
    };
    read().map_err(|source| OutputError::Read { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use std::io::Cursor;

    use super::*;

    /// A mask in which every value 0..=255 occurs as soon as there are enough pixels.
    fn pattern(width: usize, height: usize) -> Mask {
        Mask::from_values(width, height, (0..width * height).map(|index| (index * 7 % 256) as u8).collect())
    }

    #[test]
    fn masks_survive_the_round_trip() {
        for (width, height) in [(1, 1), (3, 257), (257, 3), (16, 16), (640, 1)] {
            let mask = pattern(width, height);
            let bytes = encode_indexed_png(&mask, &[("record", "{}")]).unwrap();
            assert_eq!(decode_mask::<u8>(&bytes).unwrap(), mask, "{width}x{height}");
            // A viewer sees the palette.
            let shown = image::load_from_memory(&bytes).unwrap().to_rgb8();
            assert_eq!(shown.get_pixel(0, 0).0, [0, 0, 0]);
            if width > 1 {
                assert_eq!(shown.get_pixel(1, 0).0, cluster_colour(7u8));
            }
        }
    }

    #[test]
    fn wide_masks_survive_with_their_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        let mask = Raster::from_values(300, 2, (0..600).map(|index| index * 109).collect::<Vec<u16>>());
        fs::write(&path, encode_wide_png(&mask, &[("record", "{}")]).unwrap()).unwrap();
        assert_eq!(read_wide_mask(&path).unwrap(), mask);
        assert!(read_mask(&path).unwrap_err().to_string().contains("mask.png"));
        assert_eq!(read_png_text(&path, "record").unwrap().as_deref(), Some("{}"));
        let header = Decoder::new(Cursor::new(fs::read(&path).unwrap())).read_info().unwrap().info().clone();
        assert_eq!((header.color_type, header.bit_depth), (ColorType::Grayscale, png::BitDepth::Sixteen));
    }

    #[test]
    fn other_files_are_refused() {
        let colour = image::RgbImage::from_pixel(2, 2, image::Rgb([1, 2, 3]));
        let mut bytes = Cursor::new(Vec::new());
        colour.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        assert!(matches!(decode_mask::<u8>(bytes.get_ref()), Err(MaskError::Labels(_))));
        assert!(matches!(decode_mask::<u8>(b"no PNG at all"), Err(MaskError::Labels(_))));
        let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![255u16, 256]).unwrap();
        let mut bytes = Cursor::new(Vec::new());
        deep.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        assert!(matches!(decode_mask::<u8>(bytes.get_ref()), Err(MaskError::ValueTooLarge(256))));
        assert_eq!(decode_mask::<u16>(bytes.get_ref()).unwrap().values, [255, 256]);
        assert!(matches!(encode_indexed_png(&pattern(0, 4), &[]), Err(EncodeError::Png { .. })));
        assert!(matches!(encode_indexed_png(&pattern(2, 2), &[("", "text")]), Err(EncodeError::Png { .. })));
    }

    #[test]
    fn every_prefix_is_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        let record = "{\"source\":\"Fjällräven – 馬.jpg\",\"scale\":0.5}";
        let bytes = encode_indexed_png(&pattern(9, 5), &[("deepcut", record), ("other", "x")]).unwrap();
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(read_png_text(&path, "deepcut").unwrap(), None, "{length} of {} bytes", bytes.len());
            assert!(decode_mask::<u8>(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read_png_text(&path, "deepcut").unwrap().as_deref(), Some(record));
        assert_eq!(read_png_text(&path, "other").unwrap().as_deref(), Some("x"));
        assert_eq!(read_png_text(&path, "absent").unwrap(), None);
    }

    #[test]
    fn broken_and_foreign_files_hold_no_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        assert_eq!(read_png_text(&path, "deepcut").unwrap(), None);
        let bytes = encode_indexed_png(&pattern(9, 5), &[("deepcut", "record")]).unwrap();
        let text_at = bytes.windows(6).position(|window| window == b"record").unwrap();
        for damaged_at in [0, 20, text_at] {
            let mut damaged = bytes.clone();
            damaged[damaged_at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(read_png_text(&path, "deepcut").unwrap(), None, "byte {damaged_at}");
        }
        fs::write(&path, [b"a long enough text file".as_slice(), &END_CHUNK].concat()).unwrap();
        assert_eq!(read_png_text(&path, "deepcut").unwrap(), None);
        assert!(read_mask(&path).unwrap_err().to_string().contains("mask.png"));
        assert!(read_png_text(folder.path(), "deepcut").is_err());
    }
}
