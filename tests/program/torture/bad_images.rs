//! Damaged and forged images among good ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use image::ImageFormat;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::ground::{
    SLIC_CUT, SMALL_PATCHES, TRAIN_REGIONS, checkpoint, encoded, fresh, random, results, save_picture,
};
use super::process::{Ended, run};
use super::{Outcome, Row, ensure, settle, tries};
use crate::drive::{path_text, predictions, program};

const FORMATS: [(&str, ImageFormat); 6] = [
    ("png", ImageFormat::Png),
    ("jpg", ImageFormat::Jpeg),
    ("tif", ImageFormat::Tiff),
    ("bmp", ImageFormat::Bmp),
    ("gif", ImageFormat::Gif),
    ("webp", ImageFormat::WebP),
];

/// Ways of spoiling an image; whether nothing of it can be an image afterwards.
const DAMAGES: [(&str, bool); 10] = [
    ("empty", true),
    ("text", true),
    ("zeroes", true),
    ("noise", true),
    ("magic", true),
    ("huge", true),
    ("beginning", true),
    ("truncated", false),
    ("flipped", false),
    ("hole", false),
];

/// Where the number of an entry stands in a little-endian TIFF.
pub fn tiff_entry(bytes: &[u8], tag: u16) -> usize {
    let [low, high] = tag.to_le_bytes();
    bytes.windows(8).rposition(|entry| entry == [low, high, 4, 0, 1, 0, 0, 0]).unwrap() + 8
}

fn spoil(bytes: &mut Vec<u8>, damage: &str, format: &str, random: &mut ChaCha8Rng) {
    let length = bytes.len();
    match damage {
        "empty" => bytes.clear(),
        "text" => *bytes = b"<html><body>404 Not Found</body></html>\n".repeat(random.random_range(1..9)),
        "zeroes" => *bytes = vec![0; length],
        "noise" => random.fill(&mut bytes[..]),
        "magic" => bytes[..4].copy_from_slice(b"MZ\x90\x00"),
        "beginning" => bytes.truncate(random.random_range(1..12)),
        "huge" => {
            // The fields of width and height: in a JPEG they follow the marker of the frame.
            let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]);
            let (at, size) = match format {
                "png" => (16, &[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff][..]),
                "jpg" => (frame.unwrap() + 5, &[0xff; 4][..]),
                "bmp" => (18, &[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f][..]),
                "gif" => (6, &[0xff; 4][..]),
                // Two entries of a directory: their tag, their kind, and that there is one number.
                "tif" => (tiff_entry(bytes, 257), &[0xff; 4][..]),
                // The header of lossless WebP: 14 bits each after the signature.
                _ => (21, &[0xff; 3][..]),
            };
            bytes[at..at + size.len()].copy_from_slice(size);
            if format == "tif" {
                let at = tiff_entry(bytes, 256);
                bytes[at..at + size.len()].copy_from_slice(size);
            }
        }
        "truncated" => bytes.truncate(random.random_range(length / 4..length - 1)),
        "flipped" => (0..random.random_range(1..9)).for_each(|_| {
            let at = random.random_range(0..length);
            bytes[at] ^= 1 << random.random_range(0..8);
        }),
        "hole" => {
            let at = random.random_range(0..length - 8);
            let end = (at + random.random_range(8..200)).min(length);
            bytes[at..end].fill(0);
        }
        _ => panic!("there is no damage {damage}"),
    }
}

/// A collection of as many good images as bad ones and some more, one of the good ones alone, and the names of the bad
/// ones with whether they surely are no images.
fn collections(ground: &Path, bad: usize) -> (PathBuf, PathBuf, BTreeMap<String, bool>) {
    let random = &mut random(31);
    let (mixed, good) = (ground.join("mixed"), ground.join("good"));
    for number in 0..bad as u32 + 8 {
        let name = format!("good{number}.png");
        save_picture(&good.join(&name), number);
        fs::create_dir_all(&mixed).unwrap();
        fs::hard_link(good.join(&name), mixed.join(&name)).unwrap();
    }
    let mut names = BTreeMap::new();
    for number in 0..bad {
        let (extension, format) = *FORMATS.choose(random).unwrap();
        let (damage, is_none) = DAMAGES[number % DAMAGES.len()];
        // A GIF's canvas may be larger than its picture, and a WebP's size is its decoder's matter.
        let is_none = is_none && !(damage == "huge" && ["gif", "webp"].contains(&extension));
        let mut bytes = encoded(number as u32, format);
        spoil(&mut bytes, damage, extension, random);
        let name = format!("{damage}{number}.{extension}");
        fs::write(mixed.join(&name), bytes).unwrap();
        names.insert(name, is_none);
    }
    (mixed, good, names)
}

/// A bad image is skipped once, with a reason, in the table and on standard error.
fn listed(name: &str, is_none: bool, found: &BTreeMap<String, Value>, ended: &Ended) -> Outcome {
    let line = found.get(name).ok_or("it is not in the table")?;
    let skipped = line["status"] == "skipped";
    let said = ended.error.lines().filter(|line| line.starts_with("skipped:") && line.contains(name)).count();
    let reason = line["reason"].as_str().unwrap_or_default();
    ensure(skipped || !is_none, || "it was taken for an image")?;
    ensure(said == usize::from(skipped), || format!("it was said {said} times"))?;
    ensure(!skipped || !reason.is_empty(), || "it was skipped without a reason")
}

/// Good images have the lines and masks that they have alone; nothing else is in the table.
fn unharmed(out: &Path, alone: &Path, bad: usize) -> Outcome {
    let (found, expected) = (predictions(out), predictions(alone));
    let lines = fs::read_to_string(out.join("predictions.jsonl")).unwrap().lines().count();
    ensure(lines == expected.len() + bad, || format!("{lines} lines in the table"))?;
    for (name, line) in &expected {
        ensure(found.get(name) == Some(line), || format!("{name} has another line than without bad images"))?;
    }
    let masks = results(out);
    for (path, entry) in results(alone).into_iter().filter(|(path, _)| path.starts_with("masks")) {
        ensure(masks.get(&path) == Some(&entry), || format!("{} differs", path.display()))?;
    }
    Ok(())
}

#[test]
fn bad_images_are_listed_and_the_others_are_as_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let (mixed, good, bad) = collections(folder.path(), tries(30, 400));
    let (checkpoint, out, alone) = (checkpoint(), folder.path().join("out"), folder.path().join("alone"));
    let infer = ["infer", "--ckpt", path_text(&checkpoint)];
    let segment = ["segment", "--epochs", "2"];
    let by_pixels = [&["segment", "--method", "slic-cut"][..], &SMALL_PATCHES].concat();
    let on = |command: &[&str], data: &Path, out: &Path, further: &[&str]| {
        run(program(command)
            .arg("--data")
            .arg(data)
            .arg("--out")
            .arg(fresh(out))
            .args(["--save", "masks"])
            .args(further))
    };
    let mut rows = Vec::new();
    for (name, command) in [("infer", &infer[..]), ("segment", &segment), (SLIC_CUT, &by_pixels)] {
        let mut row = Row::new("bad images", format!("damaged and forged images in {name}"));
        on(command, &good, &alone, &[]).ended_with(&[0]).unwrap();
        let ended = on(command, &mixed, &out, &["--threads", "2"]);
        row.attempt("the exit code", ended.ended_with(&[3]));
        if ended.code == Some(3) {
            let found = predictions(&out);
            bad.iter().for_each(|(name, is_none)| row.attempt(name, listed(name, *is_none, &found, &ended)));
            row.attempt("the good images", unharmed(&out, &alone, bad.len()));
        }
        rows.push(row);
    }
    let mut row = Row::new("bad images", "more of them than `--max-bad` allows");
    for (share, code) in [("0.1", 4), ("0.9", 3), ("1", 3), ("0", 4)] {
        let ended = on(&infer, &mixed, &out, &["--max-bad", share]);
        let named = || ensure(code == 3 || ended.error.contains("--max-bad"), || ended.error.clone());
        row.attempt(format_args!("--max-bad {share}"), ended.ended_with(&[code]).and_then(|()| named()));
    }
    rows.push(row);
    settle(rows);
}

#[test]
fn a_training_and_a_clustering_pass_over_bad_images() {
    let folder = tempfile::tempdir().unwrap();
    let (mixed, _, bad) = collections(folder.path(), tries(20, 400));
    let surely: Vec<&String> = bad.iter().filter(|(_, is_none)| **is_none).map(|(name, _)| name).collect();
    let commands = [
        ("train", &["train", "--epochs", "1"][..]),
        (TRAIN_REGIONS, &["train", "--regions", "3", "--backbone", "superpixel"]),
        ("cluster", &["cluster", "--epochs", "5", "--restarts", "1"]),
    ];
    settle(commands.map(|(name, command)| {
        let mut row = Row::new("bad images", format!("damaged and forged images in {name}"));
        let out = folder.path().join(name);
        let ended = run(program(command).arg("--data").arg(&mixed).arg("--out").arg(&out));
        row.attempt("run", ended.ended_with(&[3]));
        for name in &surely {
            let said = ended.error.lines().filter(|line| line.starts_with("skipped:") && line.contains(*name)).count();
            row.attempt(name, ensure(said == 1, || format!("it was said {said} times")));
        }
        row
    }));
}
