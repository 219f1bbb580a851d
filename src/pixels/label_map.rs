//! Label maps: the numbers that are stored, not the colours they are shown in.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder};

use super::page::unpacked;
use super::{DecodeConfig, DecodeError, StoredSamples, stored_samples};
use crate::raster::{LabelMap, Raster};

/// Larger maps are refused before memory is taken for them.
const MAX_AREA_PX: u64 = 1 << 29;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";
/// How far the channels of a grey picture may be from each other where it was compressed with losses.
const LOSSY_TOLERANCE: u32 = 8;

/// Bytes that are no label map. The messages do not name the file: whoever read it knows its name.
#[derive(Debug, thiserror::Error)]
pub enum LabelMapError {
    #[error("not a complete PNG ({0}); write it again")]
    Broken(#[from] png::DecodingError),

    #[error("{0}")]
    Picture(#[from] DecodeError),

    #[error(
        "its values are colours (red {red}, green {green}, blue {blue} at {x}, {y}), which say nothing without their key; \
         convert it to grey or palette with one number for each class, or leave the photograph out"
    )]
    Coloured { red: u32, green: u32, blue: u32, x: usize, y: usize },

    #[error("only its transparency differs from pixel to pixel, not its colour; save that as a grey map")]
    OnlyTransparency,

    #[error("{width}x{height} pixels are more than this program reads; cut the map into smaller ones")]
    TooLarge { width: u32, height: u32 },
}

/// Decodes a label map into its raw values.
///
/// PNG and TIFF of one channel (grey or palette) keep the numbers that are stored: palette indices stay indices, and grey of
/// few bits is not stretched. Colour whose channels are equal everywhere is one channel, and so are the grey levels of JPEG,
/// BMP and GIF; transparency does not count.
pub fn decode_label_map(bytes: &[u8]) -> Result<LabelMap, LabelMapError> {
    if bytes.starts_with(PNG) {
        return decode_png(bytes);
    }
    let StoredSamples { width, height, bands, values } = stored_samples(bytes, &DecodeConfig::default())?;
    if bands < 3 {
        // Of two the second is the opacity.
        return Ok(LabelMap::from_values(width, height, values.into_iter().step_by(bands).collect()));
    }
    let tolerance = if bytes.starts_with(JPEG) { LOSSY_TOLERANCE } else { 0 };
    one_channel(width, height, tolerance, values.chunks_exact(bands).map(|pixel| [pixel[0], pixel[1], pixel[2]]))
}

fn decode_png(bytes: &[u8]) -> Result<LabelMap, LabelMapError> {
    let mut reader = Decoder::new(Cursor::new(bytes)).read_info()?;
    let (width, height) = (reader.info().width, reader.info().height);
    check_area(width, height)?;
    let (colour, depth) = reader.output_color_type();
    let size = reader.output_buffer_size().ok_or(LabelMapError::TooLarge { width, height })?;
    let mut packed = vec![0; size];
    let frame = reader.next_frame(&mut packed)?;
    reader.finish()?;
    let (width, height) = (frame.width as usize, frame.height as usize);
    packed.truncate(frame.buffer_size());
    let wide = depth == BitDepth::Sixteen;
    let sample = |index: usize| match wide {
        true => u32::from(u16::from_be_bytes([packed[2 * index], packed[2 * index + 1]])),
        false => u32::from(packed[index]),
    };
    let channels = colour.samples();
    let alpha_differs = || {
        let alpha = |pixel: usize| sample(channels * pixel + channels - 1);
        (1..width * height).any(|pixel| alpha(pixel) != alpha(0))
    };
    let map = match colour {
        ColorType::Indexed | ColorType::Grayscale => {
            let values = match depth {
                BitDepth::Eight | BitDepth::Sixteen => (0..width * height).map(sample).collect(),
                few => unpacked(&packed, frame.line_size, width, few as usize).into_iter().map(u32::from).collect(),
            };
            return Ok(LabelMap::from_values(width, height, values));
        }
        ColorType::GrayscaleAlpha => {
            LabelMap::from_values(width, height, (0..width * height).map(|pixel| sample(2 * pixel)).collect())
        }
        ColorType::Rgb | ColorType::Rgba => {
            let pixel = |pixel: usize| [0, 1, 2].map(|channel| sample(channels * pixel + channel));
            one_channel(width, height, 0, (0..width * height).map(pixel))?
        }
    };
    let is_flat = map.values.iter().all(|&value| value == map.values[0]);
    if is_flat && colour != ColorType::Rgb && alpha_differs() {
        return Err(LabelMapError::OnlyTransparency);
    }
    Ok(map)
}

fn check_area(width: u32, height: u32) -> Result<(), LabelMapError> {
    match u64::from(width) * u64::from(height) > MAX_AREA_PX {
        true => Err(LabelMapError::TooLarge { width, height }),
        false => Ok(()),
    }
}

/// The map of pixels whose red, green and blue are the same number, or differ by no more than `tolerance`.
fn one_channel(
    width: usize,
    height: usize,
    tolerance: u32,
    pixels: impl Iterator<Item = [u32; 3]>,
) -> Result<LabelMap, LabelMapError> {
    let mut values = Vec::with_capacity(width * height);
    for (index, mut pixel) in pixels.enumerate() {
        let [red, green, blue] = pixel;
        pixel.sort_unstable();
        if pixel[2] - pixel[0] > tolerance {
            return Err(LabelMapError::Coloured { red, green, blue, x: index % width, y: index / width });
        }
        values.push(pixel[1]);
    }
    Ok(LabelMap::from_values(width, height, values))
}

/// Near an end of the scale of 256 levels.
const NEAR: usize = 32;

/// A mask of white on black whose rims are grey, cut at the middle: 0, or the white of its depth. None for every other map,
/// above all for maps of numbered classes.
///
/// Drawing with smooth edges, resizing and lossy compression leave values between black and white. Such a map has
/// - black or nearly black and white or nearly white, within 32 of 255 levels, in 90 of 100 pixels,
/// - no more pixels between than white ones,
/// - and what no map of classes with a void of 255 has: values just below white and a dozen others, or several just below
///   white and none far from both ends, or greys that lie between a black and a white neighbour.
pub fn cut_grey_edges(map: &LabelMap) -> Option<LabelMap> {
    let white = match *map.values.iter().max()? {
        ..=0xff => 0xff,
        0x100..=0xffff => 0xffff,
        _ => return None,
    };
    let shift = if white > 0xff { 8 } else { 0 };
    let level = |value: u32| (value >> shift) as usize;
    let mut counts = [0usize; 256];
    map.values.iter().for_each(|&value| counts[level(value)] += 1);
    let [black, white_px] = [&counts[..=NEAR], &counts[255 - NEAR..]].map(|part| part.iter().sum::<usize>());
    let between = map.values.len() - black - white_px;
    if black == 0 || white_px == 0 || between > white_px || 10 * between > map.values.len() {
        return None;
    }
    let distinct = |levels: &[usize]| levels.iter().filter(|count| **count > 0).count();
    let (grey, off_white) = (distinct(&counts[1..255]), distinct(&counts[255 - NEAR..255]));
    let is_smooth = off_white > 0 && grey > 12;
    let is_noise = off_white > 1 && between == 0;
    let lies_between = || {
        let [from_black, from_white] = [NEAR, 255 - NEAR];
        between > 0 && 10 * rim_pixels(&map.map(|value| level(value) as u8), from_black, from_white) >= 9 * between
    };
    (is_smooth || is_noise || lies_between())
        .then(|| map.map(|value| if 2 * u64::from(value) > u64::from(white) { white } else { 0 }))
}

/// How many pixels between the two levels have one up to `black` and one from `white` on among their eight neighbours.
fn rim_pixels(levels: &Raster<u8>, black: usize, white: usize) -> usize {
    let at = |x: usize, y: usize| usize::from(levels.at(x, y));
    let is_rim = |x: usize, y: usize| {
        let (mut has_black, mut has_white) = (false, false);
        for other_y in y.saturating_sub(1)..(y + 2).min(levels.height) {
            for other_x in x.saturating_sub(1)..(x + 2).min(levels.width) {
                has_black |= at(other_x, other_y) <= black;
                has_white |= at(other_x, other_y) >= white;
            }
        }
        has_black && has_white
    };
    let places = (0..levels.height).flat_map(|y| (0..levels.width).map(move |x| (x, y)));
    places.filter(|&(x, y)| (black + 1..white).contains(&at(x, y)) && is_rim(x, y)).count()
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

    fn png(width: u32, colour: ColorType, depth: BitDepth, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let row = width as usize * colour.samples() * depth as usize / 8;
        let mut encoder = png::Encoder::new(&mut bytes, width, (data.len() / row) as u32);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    #[test]
    fn equal_channels_are_one_and_colours_are_no_labels() {
        use BitDepth::{Eight, Sixteen};
        for (colour, depth, data) in [
            (ColorType::Rgb, Eight, &[7, 7, 7, 0, 0, 0][..]),
            (ColorType::Rgba, Eight, &[7, 7, 7, 255, 0, 0, 0, 9]),
            (ColorType::GrayscaleAlpha, Eight, &[7, 0, 0, 255]),
            (ColorType::Rgb, Sixteen, &[0, 7, 0, 7, 0, 7, 0, 0, 0, 0, 0, 0]),
        ] {
            let map = decode_label_map(&png(2, colour, depth, data)).unwrap();
            assert_eq!((map.width, map.height, map.values), (2, 1, vec![7, 0]), "{colour:?} {depth:?}");
        }
        let coloured = decode_label_map(&png(2, ColorType::Rgb, Eight, &[0, 0, 0, 128, 0, 0])).unwrap_err();
        assert!(matches!(coloured, LabelMapError::Coloured { red: 128, green: 0, blue: 0, x: 1, y: 0 }), "{coloured}");
        // A cut-out: what it shows lies in its transparency.
        let cut_out = decode_label_map(&png(2, ColorType::Rgba, Eight, &[255, 255, 255, 0, 255, 255, 255, 255]));
        assert!(matches!(cut_out, Err(LabelMapError::OnlyTransparency)));
    }

    #[test]
    fn tiff_keeps_its_numbers_and_other_formats_their_grey_levels() {
        use image::{DynamicImage, ImageFormat};
        let mut deep = Cursor::new(Vec::new());
        let mut encoder = tiff::encoder::TiffEncoder::new(&mut deep).unwrap();
        encoder.write_image::<tiff::encoder::colortype::Gray16>(3, 1, &[300u16, 0, 2]).unwrap();
        assert_eq!(decode_label_map(deep.get_ref()).unwrap().values, [300, 0, 2]);
        let mut bytes = Cursor::new(Vec::new());
        tiff::encoder::TiffEncoder::new(&mut bytes)
            .unwrap()
            .write_image::<tiff::encoder::colortype::Gray8>(2, 2, &[255u8, 0, 1, 2])
            .unwrap();
        assert_eq!(decode_label_map(bytes.get_ref()).unwrap().values, [255, 0, 1, 2]);
        let grey = image::GrayImage::from_raw(2, 2, vec![255, 0, 1, 7]).unwrap();
        for format in [ImageFormat::Bmp, ImageFormat::Gif] {
            let mut bytes = Cursor::new(Vec::new());
            DynamicImage::from(grey.clone()).to_rgb8().write_to(&mut bytes, format).unwrap();
            assert_eq!(decode_label_map(bytes.get_ref()).unwrap().values, [255, 0, 1, 7], "{format:?}");
        }
        let mut bytes = Cursor::new(Vec::new());
        image::RgbImage::from_pixel(8, 8, image::Rgb([255; 3])).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        assert!(decode_label_map(bytes.get_ref()).unwrap().values.iter().all(|&value| value > 250));
    }

    /// A disc whose value is that of `shade` at its distance from the rim, in pixels, outside below 0.
    fn disc(shade: impl Fn(f64, usize) -> u32) -> LabelMap {
        let side = 96;
        let value = |index: usize| {
            let (x, y) = ((index % side) as f64 - 47.5, (index / side) as f64 - 47.5);
            shade(30.0 - x.hypot(y), index)
        };
        LabelMap::from_values(side, side, (0..side * side).map(value).collect())
    }

    #[test]
    fn grey_rims_are_cut_at_the_middle() {
        let expected = disc(|depth, _| if depth > 0.0 { 255 } else { 0 });
        let ramp = |width: f64, steps: f64| {
            move |depth: f64, _| {
                let share = (depth / width + 0.5).clamp(0.0, 1.0);
                ((share * steps).round() / steps * 255.0) as u32
            }
        };
        let noise = |index: usize| (index as u32 * 7919 / 13) % 3;
        let noisy = disc(|depth, index| if depth > 0.0 { 255 - noise(index) } else { noise(index) });
        assert_eq!(cut_grey_edges(&noisy), Some(expected.clone()));
        // Drawn smoothly, resized, and by four samples a pixel.
        for (width, steps) in [(1.0, 255.0), (3.0, 255.0), (1.0, 4.0)] {
            let smooth = disc(ramp(width, steps));
            let cut = cut_grey_edges(&smooth).unwrap_or_else(|| panic!("{width} {steps}"));
            let wrong = cut.values.iter().zip(&expected.values).filter(|(a, b)| a != b).count();
            assert!(wrong <= 40, "{width} {steps}: {wrong}");
            let deep = smooth.map(|value| value * 257);
            assert_eq!(cut_grey_edges(&deep), Some(cut.map(|value| value * 257)));
        }
    }

    #[test]
    fn classes_are_no_grey_rims() {
        let banded = |inside: u32, rim: u32| {
            disc(move |depth, _| match depth {
                3.0.. => inside,
                -3.0..3.0 => rim,
                _ => 0,
            })
        };
        // Two values; classes with a void rim; a trimap; regions of many numbers; classes of 0 to 20 with a void of 255; a ramp.
        let maps = [
            disc(|depth, _| if depth > 0.0 { 255 } else { 0 }),
            banded(15, 255),
            banded(1, 255),
            banded(255, 128),
            disc(|_, index| index as u32 % 96 / 8 * 21),
            disc(|depth, index| if depth.abs() < 2.0 { 255 } else { (index as u32 % 96) / 5 + 1 }),
            LabelMap::from_values(4, 1, vec![0, 1, 2, 255]),
            disc(|_, index| index as u32 % 96 * 255 / 95),
            disc(|_, index| (index as u32 / 96) * 650),
            disc(|_, _| 0),
        ];
        for (number, map) in maps.iter().enumerate() {
            assert_eq!(cut_grey_edges(map), None, "map {number}");
        }
    }
}
