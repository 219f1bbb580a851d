//! Pictures that are decoded at a fraction of their size.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::tests::{DEFAULT, turned};
use super::*;
use crate::pixels::resize_lanczos;
use crate::pixels::settings::NoData;

/// A JPEG of waves, of fine ones too, with an edge; `bands` is 1 or 3.
fn waves(width: u32, height: u32, bands: usize) -> Vec<u8> {
    let pixel = |index: u32| {
        let (x, y) = ((index % width) as f32, (index / width) as f32);
        let wave = |length: f32, phase: f32| 40.0 * (x / length + phase).sin() * (y / (1.7 * length)).cos();
        let edge = if 2.0 * x + y > width as f32 { 40.0 } else { 0.0 };
        let value = |channel: usize| 100.0 + wave(60.0, channel as f32) + 0.3 * wave(3.0, 0.0) + edge;
        (0..bands).map(value).map(|value| value as u8).collect::<Vec<_>>()
    };
    let values: Vec<u8> = (0..width * height).flat_map(pixel).collect();
    let color = if bands == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90).write_image(&values, width, height, color).unwrap();
    bytes
}

fn decoded_for(bytes: &[u8], target: [usize; 2], settings: &DecodeConfig) -> Picture {
    let target = |width: usize, height: usize| {
        assert!(width > height, "{width} x {height} are not the sides of the upright picture");
        Some(target)
    };
    decode_announced(bytes, None, settings, Some(&target), |_| ()).unwrap()
}

#[test]
fn a_jpeg_that_is_made_smaller_anyway_is_decoded_no_larger_than_twice_that() {
    let cases = [
        // As stored, bands, turned, target upright, size that comes out.
        ([640, 480], 3, 1, [80, 60], [160, 120]),
        ([640, 480], 1, 1, [80, 60], [160, 120]),
        ([640, 480], 3, 1, [100, 120], [320, 240]),
        ([640, 480], 3, 1, [40, 30], [160, 120]),
        ([640, 480], 3, 1, [26, 20], [80, 60]),
        ([640, 480], 3, 3, [80, 60], [160, 120]),
        ([480, 640], 3, 6, [80, 60], [160, 120]),
        // Not of tall pictures by their width alone.
        ([480, 640], 3, 6, [30, 121], [640, 480]),
        // Sides that no factor divides, or not enough.
        ([641, 480], 3, 1, [80, 60], [641, 480]),
        ([644, 484], 3, 1, [20, 20], [161, 121]),
    ];
    for ([width, height], bands, orientation, target, expected) in cases {
        let file = turned(&waves(width, height, bands), orientation);
        let reduced = decoded_for(&file, target, &DEFAULT);
        assert_eq!([reduced.width, reduced.height], expected, "{width} x {height}, {orientation} for {target:?}");
        let whole = decode(&file, &DEFAULT).unwrap();
        assert_eq!((reduced.orientation, &reduced.remarks), (whole.orientation, &whole.remarks));
        let [found, right] = [&reduced, &whole].map(|picture| resize_lanczos(picture, target[0], target[1]));
        let pairs = found.values.as_flattened().iter().zip(right.values.as_flattened());
        let off: u64 = pairs.map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
        let mean = off as f64 / (3 * found.values.len()) as f64;
        assert!(mean < 1.0, "off by {mean} of 255 on average: {width} x {height}, {orientation} for {target:?}");
    }
}

#[test]
fn where_single_values_count_a_jpeg_is_decoded_whole() {
    let file = waves(640, 480, 3);
    for settings in [
        DecodeConfig { nodata: NoData::Value(255.0), ..DEFAULT },
        DecodeConfig { range: ValueRange::Percentile(2.0), ..DEFAULT },
        DecodeConfig { bands: Some(crate::pixels::Bands::One(2)), ..DEFAULT },
    ] {
        assert_eq!(decoded_for(&file, [80, 60], &settings), decode(&file, &settings).unwrap());
    }
}

#[test]
fn limits_and_bad_files_are_judged_as_of_the_whole_picture() {
    let file = waves(640, 480, 3);
    let judge = |bytes: &[u8], settings: &DecodeConfig| {
        let target = |_: usize, _: usize| Some([20, 15]);
        let reduced = decode_announced(bytes, None, settings, Some(&target), |_| ());
        (reduced.map_err(|error| error.to_string()), decode(bytes, settings).map_err(|error| error.to_string()))
    };
    let small = DecodeConfig { max_mebibytes: 1, ..DEFAULT };
    let (reduced, whole) = judge(&waves(1024, 768, 3), &small);
    assert!(reduced.is_err() && reduced == whole, "{reduced:?}");
    // Cut off with and without an end marker, and with bytes changed on the way: what is refused whole is refused reduced.
    let half = &file[..file.len() / 2];
    let mut damaged = vec![half.to_vec(), [half, &[0xFF, 0xD9]].concat()];
    for place in (700..file.len() - 2).step_by(997) {
        let mut changed = file.clone();
        changed[place..place + 2].copy_from_slice(&[0xFF, 0xC4]);
        damaged.push(changed);
    }
    for (number, bytes) in damaged.iter().enumerate() {
        let (reduced, whole) = judge(bytes, &DEFAULT);
        assert_eq!(reduced.is_err(), whole.is_err(), "{number}: {:?} {:?}", reduced.err(), whole.err());
    }
}
