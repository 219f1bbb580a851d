use image::codecs::{bmp::BmpEncoder, gif::GifEncoder, jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageFormat};
use tiff::encoder::{TiffEncoder, colortype};

use super::*;
use crate::pixels::settings::{Bands, NoData};

pub(super) const DEFAULT: DecodeConfig = DecodeConfig::DEFAULT;

const WIDTH: u32 = 13;
const HEIGHT: u32 = 9;

/// Smooth colours with an edge, RGB.
pub(super) fn picture() -> Vec<u8> {
    let pixel = |index: u32| {
        let (x, y) = (index % WIDTH, index / WIDTH);
        if x + y > 11 { [250, 30, 40] } else { [(x * 18) as u8, (y * 27) as u8, (x * y * 2) as u8] }
    };
    (0..WIDTH * HEIGHT).flat_map(pixel).collect()
}

pub(super) fn encode(format: ImageFormat, pixels: &[u8], color: ExtendedColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    match format {
        ImageFormat::Jpeg => {
            JpegEncoder::new_with_quality(&mut bytes, 90).write_image(pixels, WIDTH, HEIGHT, color).unwrap()
        }
        ImageFormat::Png => PngEncoder::new(&mut bytes).write_image(pixels, WIDTH, HEIGHT, color).unwrap(),
        ImageFormat::WebP => WebPEncoder::new_lossless(&mut bytes).write_image(pixels, WIDTH, HEIGHT, color).unwrap(),
        ImageFormat::Bmp => BmpEncoder::new(&mut bytes).write_image(pixels, WIDTH, HEIGHT, color).unwrap(),
        ImageFormat::Gif => GifEncoder::new(&mut bytes).encode(pixels, WIDTH, HEIGHT, color).unwrap(),
        ImageFormat::Tiff => {
            let mut encoder = TiffEncoder::new(Cursor::new(&mut bytes)).unwrap();
            encoder.write_image::<colortype::RGB8>(WIDTH, HEIGHT, pixels).unwrap();
        }
        _ => unreachable!("not one of the formats that are read"),
    }
    bytes
}

fn files() -> Vec<(ImageFormat, Vec<u8>)> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    [Jpeg, Png, Tiff, WebP, Bmp, Gif]
        .map(|format| (format, encode(format, &picture(), ExtendedColorType::Rgb8)))
        .to_vec()
}

#[test]
fn every_format_gives_its_pixels() {
    for (format, bytes) in files() {
        let image = decode(&bytes, &DEFAULT).unwrap();
        assert_eq!((image.width, image.height), (13, 9));
        // JPEG and the palette of GIF lose a little.
        let tolerance = match format {
            ImageFormat::Jpeg => 60,
            ImageFormat::Gif => 3,
            _ => 0,
        };
        let differences = image.values.as_flattened().iter().zip(picture()).map(|(&a, b)| a.abs_diff(b));
        assert!(differences.max() <= Some(tolerance), "{format:?}");
    }
}

#[test]
fn every_layout_becomes_rgb() {
    let count = (WIDTH * HEIGHT) as usize;
    let sixteen = |values: &[u16]| values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<u8>>();
    for (color, pixel, expected) in [
        (ExtendedColorType::L8, vec![77], [77; 3]),
        (ExtendedColorType::La8, vec![77, 0], [77; 3]),
        (ExtendedColorType::Rgba8, vec![10, 20, 30, 0], [10, 20, 30]),
        (ExtendedColorType::L16, sixteen(&[257 * 77 + 128]), [77; 3]),
        (ExtendedColorType::La16, sixteen(&[257 * 77 + 129, 0]), [78; 3]),
        (ExtendedColorType::Rgb16, sixteen(&[0, 65535, 300]), [0, 255, 1]),
        (ExtendedColorType::Rgba16, sixteen(&[0, 65535, 300, 0]), [0, 255, 1]),
    ] {
        let image = decode(&encode(ImageFormat::Png, &pixel.repeat(count), color), &DEFAULT).unwrap();
        assert_eq!(image.image, Raster::filled(13, 9, expected), "{color:?}");
    }
    let grey = decode(&encode(ImageFormat::Jpeg, &vec![77; count], ExtendedColorType::L8), &DEFAULT).unwrap();
    assert_eq!(grey.image, Raster::filled(13, 9, [77; 3]));
    let palette = indexed_png();
    assert_eq!(decode(&palette, &DEFAULT).unwrap().values, [[9, 8, 7], [255, 0, 1], [9, 8, 7]]);
}

/// 3×1 pixels of a palette of two colours, one bit each.
fn indexed_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 3, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_palette(vec![9, 8, 7, 255, 0, 1]);
    encoder.write_header().unwrap().write_image_data(&[0b0100_0000]).unwrap();
    bytes
}

/// An 8×8 JPEG of one colour with four components, whose stored samples are `samples`, with an Adobe segment.
fn four_component_jpeg(samples: [u8; 4], transform: u8) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xEE, 0, 14];
    bytes.extend(b"Adobe");
    bytes.extend([0, 100, 0, 0, 0, 0, transform]);
    // Quantisation by 4 throughout: a constant coefficient of two is a step of one in every sample.
    bytes.extend([0xFF, 0xDB, 0, 67, 0]);
    bytes.extend([4; 64]);
    bytes.extend([0xFF, 0xC0, 0, 20, 8, 0, 8, 0, 8, 4, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0]);
    // Direct current: one code, 0, for differences of eight bits. Alternating current: one code, 0, end of block.
    bytes.extend([0xFF, 0xC4, 0, 20, 0x00, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8]);
    bytes.extend([0xFF, 0xC4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([0xFF, 0xDA, 0, 14, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]);
    let mut bits = Vec::new();
    for sample in samples {
        let difference = 2 * (i32::from(sample) - 128);
        assert!((128..256).contains(&difference.abs()), "the only code is for differences of eight bits");
        let code = if difference < 0 { difference + 255 } else { difference };
        bits.push(0);
        bits.extend((0..8).rev().map(|bit| (code >> bit) as u8 & 1));
        bits.push(0);
    }
    bits.resize(bits.len().next_multiple_of(8), 1);
    for byte in bits.as_chunks::<8>().0.iter().map(|bits| bits.iter().fold(0u8, |byte, bit| byte << 1 | bit)) {
        bytes.push(byte);
        if byte == 0xFF {
            bytes.push(0);
        }
    }
    bytes.extend([0xFF, 0xD9]);
    bytes
}

#[test]
fn four_inks_become_rgb() {
    // Adobe stores 255 − ink. Transform 0: red = C·K/255; 2: C is 255 − the red of the YCbCr conversion (T.871).
    for (transform, samples, expected) in [
        (0, [200, 64, 255, 255], [200, 64, 255]),
        (0, [200, 64, 255, 200], [157, 50, 200]),
        (2, [64, 64, 192, 255], [101, 215, 255]),
        (2, [64, 64, 192, 64], [25, 54, 64]),
    ] {
        let image = decode(&four_component_jpeg(samples, transform), &DEFAULT).unwrap();
        assert_eq!((image.width, image.height), (8, 8));
        let differences = image.values.iter().flat_map(|pixel| pixel.iter().zip(expected).map(|(a, b)| a.abs_diff(b)));
        assert!(differences.max() <= Some(2), "{samples:?} gave {:?} instead of {expected:?}", image.at(0, 0));
    }
}

fn oriented_jpeg(orientation: u8) -> Vec<u8> {
    turned(&encode(ImageFormat::Jpeg, &picture(), ExtendedColorType::Rgb8), orientation)
}

/// A JPEG with an EXIF segment that holds only the orientation.
pub(super) fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE1, 0, exif.len() as u8 + 2];
    bytes.extend(exif);
    bytes.extend(&jpeg[2..]);
    bytes
}

#[test]
fn exif_orientation_is_applied() {
    let stored = decode(&oriented_jpeg(1), &DEFAULT).unwrap();
    assert_eq!((stored.width, stored.height), (13, 9));
    // 6: the camera was turned so that the stored left column is the top row, read from below.
    let turned = decode(&oriented_jpeg(6), &DEFAULT).unwrap();
    assert_eq!((turned.width, turned.height), (9, 13));
    assert_eq!(turned.at(0, 0), stored.at(0, 8));
    assert_eq!(turned.at(8, 0), stored.at(0, 0));
    assert_eq!(turned.at(8, 12), stored.at(12, 0));
}

#[test]
fn limits_are_compared_with_the_header() {
    // 65535×65535 pixels in a file of 54 bytes: a header without anything to decode.
    let mut bomb = b"BM".to_vec();
    bomb.extend([54, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 1, 0, 24, 0]);
    bomb.resize(54, 0);
    let message = decode(&bomb, &DEFAULT).unwrap_err().to_string();
    assert!(message.contains("65535x65535") && message.contains("pixels.max_megapixels"), "{message}");
    let wide = DecodeConfig { max_megapixels: u64::MAX, ..DEFAULT };
    let message = decode(&bomb, &wide).unwrap_err().to_string();
    assert!(message.contains("512 MiB") && message.contains("pixels.max_mebibytes"), "{message}");
    for (format, bytes) in files() {
        let nothing = DecodeConfig { max_megapixels: 0, ..DEFAULT };
        assert!(matches!(decode(&bytes, &nothing), Err(DecodeError::TooManyPixels { .. })), "{format:?}");
        let no_memory = DecodeConfig { max_mebibytes: 0, ..DEFAULT };
        assert!(matches!(decode(&bytes, &no_memory), Err(DecodeError::TooMuchMemory { .. })), "{format:?}");
    }
}

#[test]
fn what_is_no_image_is_named() {
    for (bytes, expected) in [
        (&b""[..], "empty"),
        (b"what is this", "known format"),
        (b"%PDF-1.7", "a PDF document, which is not read; convert it"),
        (b"\0\0\0\x18ftypheic", "a HEIC picture, which is not read; convert it"),
        (b"II*\0tiff", "cut off"),
    ] {
        let message = decode(bytes, &DEFAULT).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_cut_file_is_an_error_or_the_whole_picture() {
    let mut all = files();
    all.push((ImageFormat::Png, indexed_png()));
    all.push((ImageFormat::Jpeg, oriented_jpeg(3)));
    for (format, bytes) in all {
        let whole = decode(&bytes, &DEFAULT).unwrap();
        for end in 0..bytes.len() {
            if let Ok(image) = decode(&bytes[..end], &DEFAULT) {
                // Formats with a trailer after the pixels may miss it, which browsers overlook as well.
                assert_eq!(image.image, whole.image, "{format:?} of {} bytes cut at {end}", bytes.len());
                assert!(format != ImageFormat::Jpeg || image.remarks.len() == 1, "{:?}", image.remarks);
                assert!(end * 10 >= bytes.len() * 8, "{format:?} of {} bytes cut at {end}", bytes.len());
            }
        }
    }
}

#[test]
fn damage_never_panics() {
    for (_, bytes) in files() {
        for at in 0..bytes.len() {
            for damage in [0x01, 0x80, 0xFF] {
                let mut damaged = bytes.clone();
                damaged[at] ^= damage;
                // Either answer is right: not every damage can be seen.
                let _ = decode(&damaged, &DecodeConfig { max_megapixels: 1, max_mebibytes: 16, ..DEFAULT });
            }
        }
    }
}

/// An 8-bit picture of grey values as a PNG, and its values as 16 bits each, made by `wide`.
fn wide_png(grey: &[u8], wide: impl Fn(u8) -> u16) -> Vec<u8> {
    let values: Vec<u8> = grey.iter().flat_map(|&value| wide(value).to_ne_bytes()).collect();
    encode(ImageFormat::Png, &values, ExtendedColorType::L16)
}

/// Grey values from 20 to 250.
fn greys() -> Vec<u8> {
    (0..WIDTH * HEIGHT).map(|index| 20 + (index * 230 / (WIDTH * HEIGHT - 1)) as u8).collect()
}

#[test]
fn wide_values_are_shown_by_their_own_range_and_that_is_said() {
    let grey = greys();
    let eight = decode(&encode(ImageFormat::Png, &grey, ExtendedColorType::L8), &DEFAULT).unwrap();
    assert!(eight.remarks.is_empty());
    let farthest = |picture: &Picture| {
        let pairs = picture.image.values.iter().zip(&eight.image.values);
        pairs.map(|(a, b)| a[0].abs_diff(b[0])).max().unwrap()
    };
    let shown = |bytes: &[u8], range: ValueRange| decode(bytes, &DecodeConfig { range, ..DEFAULT }).unwrap();
    // 12 bits in 16, as a microscope stores them: the range of 12 bits is taken whole.
    let twelve = wide_png(&grey, |value| u16::from(value) * 16 + 5);
    let picture = shown(&twelve, ValueRange::Auto);
    assert!(farthest(&picture) <= 1, "{}", farthest(&picture));
    assert!(picture.remarks[0].contains("0 to 4095 (12 bits)"), "{:?}", picture.remarks);
    assert!(shown(&twelve, ValueRange::Full).image.values.iter().all(|pixel| pixel[0] <= 16));
    assert!(farthest(&shown(&twelve, ValueRange::Between(5.0, 4085.0))) <= 1);
    // All 16 bits are as they were.
    let sixteen = shown(&wide_png(&grey, |value| u16::from(value) * 257), ValueRange::Auto);
    assert_eq!((farthest(&sixteen), &sixteen.remarks), (0, &Vec::new()));
    // A dim picture that fills no usual range is stretched from its darkest to its brightest value.
    let dim = shown(&wide_png(&grey, |value| 150 + u16::from(value) * 2), ValueRange::Auto);
    let (first, last) = (dim.image.values[0][0], dim.image.values.last().unwrap()[0]);
    assert_eq!((first, last), (0, 255));
    assert!(dim.remarks[0].contains("190 to 650 (its own)"), "{:?}", dim.remarks);
    // A range that is asked for holds for eight bits, too.
    let half = shown(&encode(ImageFormat::Png, &grey, ExtendedColorType::L8), ValueRange::Between(0.0, 510.0));
    assert_eq!(half.image.values[0][0], 10);
    let percentile = shown(&twelve, ValueRange::Percentile(10.0));
    let ends = [0, 255].map(|end| percentile.image.values.iter().filter(|pixel| pixel[0] == end).count());
    assert!(ends.into_iter().all(|count| (11..=14).contains(&count)), "{ends:?}");
}

#[test]
fn bands_are_chosen_by_their_numbers() {
    let pixels = picture();
    let png = encode(ImageFormat::Png, &pixels, ExtendedColorType::Rgb8);
    let with = |bands| decode(&png, &DecodeConfig { bands: Some(bands), ..DEFAULT });
    let at = (2 * WIDTH + 3) as usize;
    let &[red, green, blue] = &pixels[3 * at..3 * at + 3] else { unreachable!() };
    assert_eq!(with(Bands::Three([3, 1, 2])).unwrap().image.values[at], [blue, red, green]);
    assert_eq!(with(Bands::One(2)).unwrap().image.values[at], [green; 3]);
    let refused = with(Bands::Three([4, 3, 2])).unwrap_err();
    assert!(matches!(refused, DecodeError::NoBand { band: 4, bands: 3 }), "{refused}");
}

#[test]
fn colours_that_nobody_sees_do_not_count() {
    // The right half is transparent, the left half covered in part.
    let with_hidden = |hidden: [u8; 3]| {
        let pixel = |index: u32| match index % WIDTH {
            0..3 => [200, 100, 50, 255],
            3..6 => [200, 100, 50, 128],
            _ => [hidden[0], hidden[1], hidden[2], 0],
        };
        let pixels: Vec<u8> = (0..WIDTH * HEIGHT).flat_map(pixel).collect();
        encode(ImageFormat::Png, &pixels, ExtendedColorType::Rgba8)
    };
    let shown = |bytes: &[u8], alpha| decode(bytes, &DecodeConfig { alpha, ..DEFAULT }).unwrap();
    let (one, other) = (with_hidden([0, 0, 0]), with_hidden([250, 7, 99]));
    let picture = shown(&one, AlphaUse::Composite);
    assert_eq!(picture, shown(&other, AlphaUse::Composite));
    assert_eq!([0, 4, 9].map(|x| picture.at(x, 1)), [[200, 100, 50], [164, 114, 89], [128; 3]]);
    assert!(picture.outside.is_none() && picture.remarks[0].contains("53.8 %"), "{:?}", picture.remarks);
    assert_eq!(shown(&other, AlphaUse::Ignore).at(9, 1), [250, 7, 99]);
    let masked = shown(&other, AlphaUse::Mask);
    let outside = masked.outside.unwrap();
    assert_eq!([0, 4, 9].map(|x| outside.at(x, 1)), [0, 0, 1]);
    // A channel that hides everything is meant for something else.
    let nothing: Vec<u8> = [9, 8, 7, 0].repeat((WIDTH * HEIGHT) as usize);
    let picture = shown(&encode(ImageFormat::Png, &nothing, ExtendedColorType::Rgba8), AlphaUse::Mask);
    assert_eq!((picture.at(0, 0), picture.outside, picture.remarks.len()), ([9, 8, 7], None, 1));
}

#[test]
fn what_has_no_data_is_outside_and_disturbs_no_neighbour() {
    let pixel = |index: u32| if index % WIDTH < 6 { [0; 3] } else { [(index % 7) as u8 + 100, 60, 200] };
    let pixels: Vec<u8> = (0..WIDTH * HEIGHT).flat_map(pixel).collect();
    let png = encode(ImageFormat::Png, &pixels, ExtendedColorType::Rgb8);
    let shown = |bytes: &[u8], nodata| decode(bytes, &DecodeConfig { nodata, ..DEFAULT }).unwrap();
    let picture = shown(&png, NoData::Auto);
    let outside = picture.outside.as_ref().unwrap();
    assert_eq!([5, 6].map(|x| outside.at(x, 4)), [1, 0]);
    assert!((100..107).contains(&picture.at(0, 0)[0]) && picture.at(0, 0)[1..] == [60, 200], "{:?}", picture.at(0, 0));
    assert!(
        picture.remarks[0].contains("46.2 %") && picture.remarks[0].contains("`pixels.nodata`"),
        "{:?}",
        picture.remarks
    );
    let whole = shown(&png, NoData::None);
    assert_eq!((whole.at(0, 0), whole.outside, whole.remarks.len()), ([0; 3], None, 0));
    // What compression has changed is judged by a value that is named, not by how it looks.
    let jpeg = encode(ImageFormat::Jpeg, &pixels, ExtendedColorType::Rgb8);
    assert_eq!(shown(&jpeg, NoData::Auto).outside, None);
    assert_eq!(shown(&png, NoData::Value(0.0)).outside, picture.outside);
    let black = encode(ImageFormat::Png, &vec![0; pixels.len()], ExtendedColorType::Rgb8);
    assert_eq!(shown(&black, NoData::Auto).outside, None);
    let nothing = decode(&black, &DecodeConfig { nodata: NoData::Value(0.0), ..DEFAULT });
    assert!(matches!(nothing, Err(DecodeError::NoData)));
}

#[test]
fn whole_numbers_are_had_as_they_are_stored() {
    let stored = |bytes: &[u8]| stored_samples(bytes, &DEFAULT).unwrap();
    let palette = stored(&indexed_png());
    assert_eq!((palette.width, palette.height, palette.bands, palette.values), (3, 1, 1, vec![0, 1, 0]));
    for (format, bytes) in files() {
        let samples = stored(&bytes);
        let image = decode(&bytes, &DEFAULT).unwrap();
        let colours = samples.values.chunks(samples.bands).flat_map(|pixel| pixel[..3].to_vec());
        assert!(colours.eq(image.image.values.as_flattened().iter().map(|&value| u32::from(value))), "{format:?}");
    }
    let wide = stored(&wide_png(&greys(), |value| u16::from(value) * 201));
    assert_eq!((wide.bands, wide.values[0]), (1, 20 * 201));
}
