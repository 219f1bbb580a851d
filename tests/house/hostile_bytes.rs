//! Readers of bytes that others made, with bytes that were made to confuse them: the functions that `fuzz/` runs for hours,
//! on mutations that are the same every time.

use std::path::Path;

use burn_dataset::InMemDataset;
use deepcut::event::Silent;
use deepcut::settings::BackboneChoice;
use deepcut::{RgbImage, Settings};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tiff::encoder::colortype::RGB16;
use tiff::encoder::{Compression, TiffEncoder};

#[path = "../../fuzz/targets.rs"]
mod targets;

const MUTATIONS: usize = 2000;

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

/// One of the usual ways in which a file is damaged or forged.
fn mutate(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut ChaCha8Rng) {
    /// What lengths, offsets and counts are when somebody means ill.
    const EXTREMES: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
    let place = |random: &mut ChaCha8Rng, bytes: &[u8]| random.random_range(0..bytes.len().max(1));
    let at = place(random, bytes);
    match random.random_range(0..6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
        1 if at < bytes.len() => bytes[at] = random.random(),
        2 => bytes.truncate(at),
        3 => {
            let end = (at + random.random_range(1..64)).min(bytes.len());
            drop(bytes.drain(at.min(end)..end));
        }
        4 => {
            let width = *[1, 2, 4, 8].choose(random).unwrap();
            let extreme = EXTREMES.choose(random).unwrap().to_le_bytes();
            let text = i64::from_le_bytes(extreme).to_string();
            // As binary numbers, and as the decimal ones of texts.
            if bytes.get(at).is_some_and(u8::is_ascii_digit) {
                drop(bytes.splice(at..=at, text.into_bytes()));
            } else if let Some(field) = bytes.get_mut(at..at + width) {
                field.copy_from_slice(&extreme[..width]);
            }
        }
        _ => {
            // A piece of this or another file in the midst of this one.
            let other = corpus.choose(random).unwrap();
            let start = place(random, other);
            let end = (start + random.random_range(1..256)).min(other.len());
            drop(bytes.splice(at..at, other[start.min(end)..end].iter().copied()));
        }
    }
}

/// Calls `target` with the corpus and with mutations of it; panics, as `target` does, naming the mutation.
fn survives(target: fn(&[u8]), corpus: &[Vec<u8>]) {
    corpus.iter().for_each(|bytes| target(bytes));
    for seed in 0..MUTATIONS as u64 {
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = corpus[seed as usize % corpus.len()].clone();
        for _ in 0..random.random_range(1..5) {
            mutate(&mut bytes, corpus, random);
        }
        let outcome = std::panic::catch_unwind(|| target(&bytes));
        assert!(outcome.is_ok(), "panicked on mutation {seed}, {} bytes: {}", bytes.len(), bytes.escape_ascii());
    }
}

#[test]
fn checkpoints() {
    let mut corpus = ["", "_vit"].map(|kind| golden(&format!("checkpoint_format_3{kind}.safetensors"))).to_vec();
    let mut settings = Settings { backbone: BackboneChoice::Superpixel, ..Settings::default() };
    settings.regions.labels = 3;
    let pixels = (0..24 * 16).map(|place| [place as u8, 90, (place / 24) as u8 * 9]);
    let images = InMemDataset::new(vec![RgbImage::from_values(24, 16, pixels.collect())]);
    corpus.push(deepcut::train_regions(&images, &settings, &Silent).unwrap().to_bytes().unwrap());
    survives(targets::checkpoint, &corpus);
}

#[test]
fn weights() {
    let mut corpus = ["tiny_vit.pth", "tiny_vit_legacy.pth", "tiny_vit_nested.pth"].map(golden).to_vec();
    corpus.push(golden("checkpoint_format_3.safetensors"));
    survives(targets::weights, &corpus);
}

#[test]
fn vectors() {
    let numbers: Vec<u8> = (0..6u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
    let npy = |descriptor: &str, order: &str| {
        let header = format!("{{'descr': '{descriptor}', 'fortran_order': {order}, 'shape': (2, 3), }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &numbers, &numbers].concat()
    };
    let tensors = br#"{"features":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    let safetensors = [&(tensors.len() as u64).to_le_bytes()[..], tensors, &numbers].concat();
    survives(targets::vectors, &[npy("<f4", "False"), npy("<f8", "True"), safetensors]);
}

#[test]
fn coco() {
    let annotations = br#"{"images": [{"id": 1, "file_name": "a/b.jpg", "width": 9, "height": 6}, {"id": 2, "file_name": "c"}],
        "annotations": [
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3.5, 4], "iscrowd": 0, "segmentation": [[1, 1, 5.5, 1, 5, 4.25]],
         "keypoints": [1, 2, 2, 3, 4, 0]},
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 6], "iscrowd": 1, "keypoints": [[1, 2, 1]],
         "segmentation": {"size": [6, 9], "counts": [10, 20, 24]}},
        {"image_id": 1, "bbox": [0, 0, 1, 1], "segmentation": {"size": [6, 9], "counts": "61X13mN000`0"}}],
        "categories": [{"id": 1, "name": "cow", "keypoints": ["nose", "tail"]}]}"#;
    survives(targets::coco_json, &[annotations.to_vec()]);
}

#[test]
fn voc() {
    let annotation = b"<?xml version=\"1.0\"?>\n<annotation><filename>a.jpg</filename><size><width>9</width>\
        <height>6</height><depth>3</depth></size><object><name>cow &amp; calf</name><bndbox><xmin>1</xmin><ymin>2.5</ymin>\
        <xmax>8</xmax><ymax>6</ymax></bndbox><difficult>0</difficult></object></annotation>";
    survives(targets::voc_xml, &[annotation.to_vec()]);
}

#[test]
fn lists() {
    let corpus = [
        &b"# images\n../a.jpg\r\n\"b c.png\",1\nd\\e.jpg\tlabel\nfile:///f%20g.gif 7\n"[..],
        b"File Name;Label\n\"a;b\".jpg;cat\nb.jpg;\xe9\n",
        b"a.jpg,1\nb.jpg,2\n",
        b"{\"path\": \"a\\u00e9.jpg\"}\n{\"file_name\": \"b.jpg\", \"id\": 1}\n",
        b"[\"a.jpg\", {\"image\": \"b.jpg\"}, 3]",
        b"\xff\xfea\0.\0j\0p\0g\0\r\0\n\0",
    ];
    survives(targets::list, &corpus.map(<[u8]>::to_vec));
}

#[test]
fn runs() {
    let mask = |width: u16, height: u16, counts: &[u8]| [&width.to_le_bytes(), &height.to_le_bytes(), counts].concat();
    survives(targets::runs, &[mask(9, 6, b"61X13mN000`0"), mask(9, 6, b"f1"), mask(5, 1, b"122")]);
}

#[test]
fn pictures() {
    let demonstration = Path::new(env!("CARGO_MANIFEST_DIR")).join("demonstration");
    let mut corpus = ["images/leaf_autumn.jpg", "masks/leaf_autumn.png"]
        .map(|name| std::fs::read(demonstration.join(name)).unwrap())
        .to_vec();
    corpus.push(b"GIF89a\x02\x00\x01\x00\x80\x00\x00\xff\x00\x00\x00\xff\x00,\x00\x00\x00\x00\x02\x00\x01\x00\x00\x02\x02D\n\x00;".to_vec());
    let mut tiff = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut tiff).unwrap().with_compression(Compression::Lzw);
    encoder.write_image::<RGB16>(5, 4, &[700; 60]).unwrap();
    corpus.push(tiff.into_inner());
    survives(targets::picture, &corpus);
}
