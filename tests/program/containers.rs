//! Collections that lie in tars and Parquet files, and results in one: the same as those of folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tar::{Builder, EntryType, Header};

use crate::drive::{disc, expect, expect_error, path_text, predictions, program, run, text, write_png};

const SPECTRAL: [&str; 3] = ["segment", "--method", "spectral"];

/// Six images in folders, by their places.
fn images(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = ["a/0.png", "a/1.png", "a/1.b.png", "b.PNG", "c/d/2.png", "z.png"];
    let image = |(number, name): (usize, &str)| {
        let path = folder.join(name);
        write_png(&path, 70 + 3 * number as u32, 60, disc);
        (name.to_string(), fs::read(path).unwrap())
    };
    names.into_iter().enumerate().map(image).collect()
}

fn append(tar: &mut Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content).unwrap();
}

/// A shard as WebDataset writes them: every image has a label and a description beside it.
fn shard<'a>(images: impl Iterator<Item = (&'a String, &'a Vec<u8>)>) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, content) in images {
        let key = name.rsplit_once('.').unwrap().0;
        append(&mut tar, &format!("{key}.json"), b"{}");
        append(&mut tar, name, content);
        append(&mut tar, &format!("{key}.cls"), b"3");
    }
    tar.into_inner().unwrap()
}

/// Everything below a folder but what runs keep for themselves.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true if entry.ends_with(".deepcut") || entry.ends_with("cache") => {}
                true => folders.push(entry),
                false => drop(found.insert(entry.strip_prefix(root).unwrap().to_path_buf(), fs::read(entry).unwrap())),
            }
        }
    }
    found
}

fn segment(data: &Path, out: &Path, further: &[&str]) -> Vec<String> {
    let arguments = [&SPECTRAL[..], &["--data", path_text(data), "--out", path_text(out)], further].concat();
    arguments.into_iter().map(str::to_string).collect()
}

fn expect_all(code: i32, arguments: &[String]) -> String {
    let output = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

fn assert_same(one: &Path, other: &Path) {
    let [one, other] = [one, other].map(files);
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    let differing: Vec<_> = one.iter().filter(|(path, bytes)| other[*path] != **bytes).map(|(path, _)| path).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

#[test]
fn a_tar_gives_the_bytes_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let images = images(&at("data"));
    // In no order.
    fs::write(at("data.tar"), shard(images.iter().rev())).unwrap();
    expect_all(0, &segment(&at("data"), &at("folder"), &["--save", "masks,overlays,coco"]));
    let arguments = segment(&at("data.tar"), &at("tar"), &["--save", "masks,overlays,coco"]);
    let said = expect(0, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("12 files are no images (6 .cls, 6 .json)"), "{said}");
    assert_same(&at("folder"), &at("tar"));
    // Without the name.
    fs::rename(at("data.tar"), at("shard")).unwrap();
    expect_all(0, &segment(&at("shard"), &at("tar"), &["--save", "masks,overlays,coco"]));
    assert_same(&at("folder"), &at("tar"));

    // Several are one collection, below the names of the tars.
    fs::create_dir(at("shards")).unwrap();
    fs::write(at("shards/08.tar"), shard(images.iter().take(4))).unwrap();
    fs::write(at("shards/09.tar"), shard(images.iter().skip(4))).unwrap();
    expect_all(0, &segment(&at("shards/{08..09}.tar"), &at("several"), &["--save", "masks"]));
    let lines = predictions(&at("several"));
    let expected: Vec<String> =
        images.keys().enumerate().map(|(number, name)| format!("0{}/{name}", 8 + number / 4)).collect();
    assert_eq!(lines.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    for (name, content) in files(&at("folder/masks")) {
        let masks = ["08", "09"].map(|shard| fs::read(at("several/masks").join(shard).join(&name)).ok());
        let pixels = |mask: &[u8]| {
            let mut reader = png::Decoder::new(std::io::Cursor::new(mask)).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            pixels
        };
        let mask = masks.into_iter().flatten().next().unwrap();
        assert_eq!(pixels(&mask), pixels(&content), "{name:?}");
    }
    expect(0, &["verify", path_text(&at("several"))]);

    // In a folder they are passed over, which is said where there is nothing else.
    let error = expect_error(
        2,
        &[&SPECTRAL[..], &["--data", path_text(&at("shards")), "--out", path_text(&at("none"))]].concat(),
    );
    assert!(
        error.contains("2 files are no images (2 .tar), 2 of them hold images if their paths are given"),
        "{error}"
    );
    fs::write(at("x.tar.gz"), b"\x1f\x8b").unwrap();
    let error = expect_error(
        2,
        &[&SPECTRAL[..], &["--data", path_text(&at("x.tar.gz")), "--out", path_text(&at("none"))]].concat(),
    );
    assert!(error.contains("is a compressed tar"), "{error}");
}

#[test]
fn what_is_broken_in_a_tar_is_named_and_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut images = images(&at("data"));
    let broken = images.get_mut("a/1.png").unwrap();
    broken.truncate(60);
    fs::write(at("0.tar"), shard(images.iter().take(3))).unwrap();
    let second = shard(images.iter().skip(3));
    // In the middle of its last image, after which come its label and the mark of the end.
    let last = images["z.png"].len();
    let end = second.len() - 1024 - 1024 - last.next_multiple_of(512) + last / 2;
    fs::write(at("1.tar"), &second[..end]).unwrap();
    fs::write(at("2.tar"), b"no tar").unwrap();
    let data = folder.path().join("{0..2}.tar");
    let error = expect_all(3, &segment(&data, &at("out"), &["--save", "masks"]));
    let skipped: Vec<&str> = error.lines().filter(|line| line.starts_with("skipped:")).collect();
    assert_eq!(skipped.len(), 3, "{error}");
    let expected = [
        ("0.tar/a/1.png", "cut off"),
        ("1.tar/z.png", "is cut off"),
        ("2.tar", "is a broken tar: it ends at its beginning"),
    ];
    for (name, reason) in expected {
        assert!(skipped.iter().any(|line| line.contains(name) && line.contains(reason)), "{name}: {error}");
    }
    let lines = predictions(&at("out"));
    let done: Vec<&String> =
        lines.iter().filter(|(_, line)| line["status"] != "skipped").map(|(path, _)| path).collect();
    assert_eq!(done, ["0/a/0.png", "0/a/1.b.png", "1/b.PNG", "1/c/d/2.png"]);
    let bad: Vec<&String> = lines.keys().filter(|path| !done.contains(path)).collect();
    assert_eq!(bad, ["0/a/1.png", "1/z.png", "2/2.tar"]);
}

#[test]
fn a_killed_run_over_a_tar_goes_on_and_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let images = images(&at("data"));
    fs::write(at("x.tar"), shard(images.iter())).unwrap();
    let arguments = |out: &str| -> Vec<String> {
        let (data, out) = (at("x.tar"), at(out));
        let arguments =
            ["segment", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "300", "--threads", "1"];
        [&arguments[..], &["--set", "superpixel.regions=80"]].concat().iter().map(ToString::to_string).collect()
    };
    expect_all(0, &arguments("whole"));
    let mut child = program(&[]).args(arguments("killed")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !at("killed/masks/a/0.png").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!at("killed/predictions.jsonl").exists());
    let output = program(&[]).args(arguments("killed")).output().unwrap();
    assert!(text(&output.stdout).contains("already done"), "{}", text(&output.stdout));
    assert_same(&at("whole"), &at("killed"));
}

#[test]
fn every_command_reads_tars() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let images = images(&at("data"));
    fs::write(at("data.tar"), shard(images.iter())).unwrap();
    for (source, run) in [("data", "folder"), ("data.tar", "tar")] {
        fs::create_dir(at(run)).unwrap();
        let data = at(source);
        let below = |name: &str| path_text(&at(run).join(name)).to_string();
        let arguments = |command: &str, out: &str, further: &[&str]| -> Vec<String> {
            let out = below(out);
            let arguments = [&[command, "--data", path_text(&data), "--out", &out][..], further].concat();
            arguments.into_iter().map(str::to_string).collect()
        };
        let slic = ["--set", "superpixel.regions=60"];
        expect_all(0, &arguments("train", "trained", &[&slic[..], &["--epochs", "3"]].concat()));
        expect_all(0, &arguments("infer", "masks", &["--ckpt", &below("trained/best.safetensors")]));
        expect_all(0, &arguments("features", "features.npy", &[&slic[..], &["--of", "images"]].concat()));
        let output = program(&[]).args(arguments("cluster", "groups", &["--link"])).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let said =
            text(&output.stderr).contains("6 images in files with several (frames, members of tars) are not laid out");
        assert_eq!(said, run == "tar");
        let report = fs::read_to_string(at(run).join("groups/report.html")).unwrap();
        assert!(report.contains("data:image/jpeg;base64,") && !text(&output.stderr).contains("has no picture"));
    }
    for name in ["trained/best.safetensors", "features.npy", "features.npy.index.jsonl", "groups/assignments.csv"] {
        let [one, other] = ["folder", "tar"].map(|run| fs::read(at(run).join(name)).unwrap());
        assert!(one == other, "{name}");
    }
    assert_same(&at("folder/masks"), &at("tar/masks"));
    assert!(at("folder/groups/clusters").is_dir());
}

#[test]
fn shards_of_tars_are_merged_into_what_one_run_writes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let images = images(&at("data"));
    fs::write(at("data-0.tar"), shard(images.iter().take(4))).unwrap();
    fs::write(at("data-1.tar"), shard(images.iter().skip(4))).unwrap();
    let (tars, plan) = (at("data-{0..1}.tar"), at("plan.json"));
    expect(0, &["plan", "--data", path_text(&tars), "--shards", "3", "--out", path_text(&plan)]);
    let save = ["--save", "masks,coco"];
    expect_all(0, &segment(&tars, &at("single"), &save));
    let one = |shard: &str, code: i32| {
        let of_shard =
            ["--plan", path_text(&plan), "--shard", shard, "--out", path_text(&at("merged"))].map(str::to_string);
        let arguments: Vec<String> = SPECTRAL.iter().chain(&save).map(ToString::to_string).chain(of_shard).collect();
        expect_all(code, &arguments)
    };
    for shard in ["0", "1", "2"] {
        one(shard, 0);
    }
    expect(0, &["merge", path_text(&at("merged"))]);
    fs::remove_dir_all(at("merged/shards")).unwrap();
    assert_same(&at("single"), &at("merged"));

    // A tar that has become shorter is no longer what was planned.
    let short = fs::read(at("data-1.tar")).unwrap();
    fs::write(at("data-1.tar"), &short[..700]).unwrap();
    fs::remove_dir_all(at("merged")).unwrap();
    let said = one("2", 4);
    assert!(said.contains("data-1.tar"), "{said}");
}
