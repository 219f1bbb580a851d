//! Collections that are large.

use std::fs;
use std::path::{Path, PathBuf};

use super::ground::{checkpoint, encoded, fresh};
use super::process::{Ended, run};
use super::{Outcome, Row, ensure, is_long, settle};
use crate::drive::{path_text, program};

/// A folder of hard links to a few images; a file may have some ten thousand names.
fn links(folder: &Path, count: usize) -> PathBuf {
    const ORIGINALS: usize = 16;
    const PER_FOLDER: usize = 1000;
    let originals = folder.with_extension("originals");
    fs::create_dir_all(&originals).unwrap();
    let original = |number: usize| originals.join(format!("{number}.bin"));
    for number in 0..ORIGINALS {
        // Pictures of another size each, so that lines can be told apart.
        fs::write(original(number), encoded(number as u32, image::ImageFormat::Png)).unwrap();
    }
    for number in 0..count {
        let inner = folder.join(format!("{:04}", number / PER_FOLDER));
        if number % PER_FOLDER == 0 {
            fs::create_dir_all(&inner).unwrap();
        }
        fs::hard_link(original(number % ORIGINALS), inner.join(format!("{number}.png"))).unwrap();
    }
    folder.to_path_buf()
}

/// Every image has its line, in the order of paths, and its mask.
fn accounted(out: &Path, count: usize) -> Outcome {
    let table = fs::read_to_string(out.join("predictions.jsonl")).unwrap();
    let paths: Vec<String> = table
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].as_str().unwrap().to_string())
        .collect();
    ensure(paths.len() == count, || format!("{} lines for {count} images", paths.len()))?;
    let mut unique = paths.clone();
    unique.sort();
    unique.dedup();
    ensure(unique.len() == count, || format!("{} of {count} images have lines", unique.len()))?;
    let missing = paths.iter().find(|path| !out.join("masks").join(path).is_file());
    ensure(missing.is_none(), || format!("{missing:?} has no mask"))
}

#[test]
fn memory_does_not_grow_with_the_collection() {
    let folder = tempfile::tempdir().unwrap();
    let (few, many) = if is_long() { (2_000, 100_000) } else { (50, 300) };
    let checkpoint = checkpoint();
    let infer = |count: usize| -> (PathBuf, Ended) {
        let data = links(&folder.path().join(format!("data{count}")), count);
        let out = folder.path().join(format!("out{count}"));
        let arguments = ["infer", "--ckpt", path_text(&checkpoint), "--save", "masks", "--threads", "2", "--quiet"];
        let ended = run(program(&arguments).arg("--data").arg(data).arg("--out").arg(&out));
        (out, ended)
    };
    let mut row = Row::new("many images", format!("infer on {many} images in memory within 1.3 × that of {few}"));
    let (out, small) = infer(few);
    row.attempt(few, small.ended_with(&[0]).and_then(|()| accounted(&out, few)));
    fresh(&out);
    let (out, large) = infer(many);
    row.attempt(many, large.ended_with(&[0]).and_then(|()| accounted(&out, many)));
    let (small, large) = (small.peak_kib, large.peak_kib);
    println!("\npeak memory of {few} and {many} images: {} and {} MiB", small >> 10, large >> 10);
    let grown = || format!("{} MiB for {many}, {} MiB for {few}", large >> 10, small >> 10);
    row.attempt("memory", ensure(small > 0 && large * 10 < small * 13, grown));
    settle([row]);
}
