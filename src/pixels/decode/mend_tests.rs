//! Files with faults that others overlook, and those that their usual decoder misreads.

use image::{ExtendedColorType, ImageFormat};

use super::decode;
use super::tests::{DEFAULT, encode, picture};

#[test]
fn a_png_is_read_as_browsers_read_it() {
    let whole = encode(ImageFormat::Png, &picture(), ExtendedColorType::Rgb8);
    let expected = decode(&whole, &DEFAULT).unwrap();
    let data = whole.windows(4).position(|name| name == b"IDAT").unwrap();
    let length = u32::from_be_bytes(whole[data - 4..data].try_into().unwrap()) as usize;
    let mut checksum = whole.clone();
    checksum[data + 4 + length] ^= 1;
    for (bytes, said) in [(&checksum, "checksum"), (&whole[..whole.len() - 12].to_vec(), "end of the file")] {
        let picture = decode(bytes, &DEFAULT).unwrap();
        assert_eq!(picture.image, expected.image);
        assert!(picture.remarks[0].contains(said), "{:?}", picture.remarks);
    }
    // A checksum is wrong also where pixels are.
    let mut damaged = whole.clone();
    damaged[data + 4 + length / 2] ^= 0x10;
    assert!(decode(&damaged, &DEFAULT).is_err());
}

#[test]
fn a_frame_covers_its_part_of_a_gif() {
    // One red and one green pixel in the second and third column of the first of two rows.
    let mut bytes = b"GIF89a\x04\x00\x02\x00\x80\x00\x00\xff\x00\x00\x00\xff\x00".to_vec();
    let frame = b",\x01\x00\x00\x00\x02\x00\x01\x00\x00\x02\x02D\n\x00";
    bytes.extend(frame);
    let two = [&bytes[..], frame, b";"].concat();
    bytes.push(b';');
    let picture = decode(&bytes, &DEFAULT).unwrap();
    assert_eq!((0..4).map(|x| picture.at(x, 0)).collect::<Vec<_>>(), [[128; 3], [255, 0, 0], [0, 255, 0], [128; 3]]);
    assert!(picture.remarks.iter().any(|remark| remark.contains("covers a part")), "{:?}", picture.remarks);
    let picture = decode(&two, &DEFAULT).unwrap();
    assert!(picture.remarks.iter().any(|remark| remark.contains("several frames")), "{:?}", picture.remarks);
}

#[test]
fn a_jpeg_without_tables_has_those_of_the_standard() {
    let whole = encode(ImageFormat::Jpeg, &picture(), ExtendedColorType::Rgb8);
    let mut bytes = whole.clone();
    while let Some(at) = bytes.windows(2).position(|marker| marker == [0xFF, 0xC4]) {
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        bytes.drain(at..at + 2 + length);
    }
    assert!(bytes.len() + 400 < whole.len());
    let picture = decode(&bytes, &DEFAULT).unwrap();
    assert_eq!(picture.image, decode(&whole, &DEFAULT).unwrap().image);
    assert!(picture.remarks[0].contains("Huffman"), "{:?}", picture.remarks);
}

/// The bits of a JPEG's scan whose blocks have one value each, stored as differences of eighths.
struct Scan(Vec<u8>);

impl Scan {
    fn block(&mut self, value: i32, before: &mut i32) {
        let difference = value - *before;
        *before = value;
        let bits = 32 - difference.unsigned_abs().leading_zeros();
        // Codes of four bits for the number of bits that follow; one bit ends the block.
        let stored = if difference < 0 { difference + (1 << bits) - 1 } else { difference };
        self.0.extend((0..4).rev().map(|bit| (bits >> bit) as u8 & 1));
        self.0.extend((0..bits).rev().map(|bit| (stored >> bit) as u8 & 1));
        self.0.push(0);
    }

    fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len().next_multiple_of(8), 1);
        let bytes = self.0.as_chunks::<8>().0.iter().map(|bits| bits.iter().fold(0u8, |byte, bit| byte << 1 | bit));
        bytes.flat_map(|byte| if byte == 0xFF { vec![0xFF, 0] } else { vec![byte] }).collect()
    }
}

/// A JPEG of 16×32 pixels whose brightness has twice as many rows as its colours, with the components' scans in an order,
/// or all in one.
fn sampled_jpeg(scans: &[&[u8]]) -> Vec<u8> {
    const COMPONENTS: [(u8, usize); 3] = [(1, 2), (2, 1), (3, 1)];
    let value = |component: u8, x: usize, y: usize| match component {
        1 => (x * 170 + y * 131) as i32 % 600 - 300,
        2 => 60 - 30 * y as i32,
        _ => 25 * x as i32 - 80,
    };
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
    bytes.extend([2; 64]);
    bytes.extend([0xFF, 0xC0, 0, 17, 8, 0, 32, 0, 16, 3, 1, 0x12, 0, 2, 0x11, 0, 3, 0x11, 0]);
    bytes.extend([0xFF, 0xC4, 0, 31, 0x00, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(0..12);
    bytes.extend([0xFF, 0xC4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for &codes in scans {
        bytes.extend([0xFF, 0xDA, 0, 6 + 2 * codes.len() as u8, codes.len() as u8]);
        codes.iter().for_each(|&code| bytes.extend([code, 0]));
        bytes.extend([0, 63, 0]);
        let mut scan = Scan(Vec::new());
        let mut before = [0; 4];
        let is_one = codes.len() == 1;
        for (row, x) in (0..if is_one { 2 * COMPONENTS[usize::from(codes[0]) - 1].1 } else { 2 })
            .flat_map(|row| [(row, 0), (row, 1)])
        {
            for &code in codes {
                let down = if is_one { 1 } else { COMPONENTS[usize::from(code) - 1].1 };
                for y in row * down..(row + 1) * down {
                    scan.block(value(code, x, y), &mut before[usize::from(code)]);
                }
            }
        }
        bytes.extend(scan.bytes());
    }
    bytes.extend([0xFF, 0xD9]);
    bytes
}

#[test]
fn components_in_scans_of_their_own_give_the_same_picture() {
    let together = decode(&sampled_jpeg(&[&[1, 2, 3]]), &DEFAULT).unwrap();
    assert_eq!((together.width, together.height), (16, 32));
    let scans: [&[&[u8]]; 4] = [&[&[1], &[2], &[3]], &[&[1], &[2, 3]], &[&[3], &[2], &[1]], &[&[2, 3], &[1]]];
    for scans in scans {
        let apart = decode(&sampled_jpeg(scans), &DEFAULT).unwrap();
        let pairs = together.image.values.as_flattened().iter().zip(apart.image.values.as_flattened());
        let mean = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / (16.0 * 32.0 * 3.0);
        assert!(mean <= 2.0, "{scans:?}: {mean}");
    }
    // Without its last scan it is cut off.
    let missing = sampled_jpeg(&[&[1], &[2]]);
    assert!(decode(&missing[..missing.len() - 2], &DEFAULT).is_err());
}
