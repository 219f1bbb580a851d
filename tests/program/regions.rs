//! `train --regions` and `infer` of a code book: whole images in regions that mean the same in all of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::drive::{expect, expect_error, path_text, predictions, text, write_png};

const SIDES: (u32, u32) = (96, 64);
const SKY: [u8; 3] = [70, 120, 230];
const FIELD: [u8; 3] = [60, 140, 40];
const WALL: [u8; 3] = [200, 40, 50];

/// Sky above a field, and from the second image on a wall of another place in each.
fn colour(image: u32, x: u32, y: u32) -> [u8; 3] {
    let noise = ((x * 31 + y * 17 + image * 7) % 9) as u8;
    let horizon = 24 + 4 * image;
    let is_wall = image > 0 && (12 * image..12 * image + 26).contains(&x) && (horizon - 12..horizon + 20).contains(&y);
    let flat = if is_wall {
        WALL
    } else if y < horizon {
        SKY
    } else {
        FIELD
    };
    flat.map(|value| value + noise)
}

fn collection(folder: &Path) {
    for image in 0..5 {
        write_png(&folder.join(format!("{image}.png")), SIDES.0, SIDES.1, |x, y| colour(image, x, y));
    }
}

/// The mask's value at a place.
fn mask(out: &Path, image: u32) -> impl Fn(u32, u32) -> u8 {
    let bytes = fs::read(out.join(format!("masks/{image}.png"))).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut values = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut values).unwrap();
    move |x, y| values[(y * SIDES.0 + x) as usize]
}

#[test]
fn regions_have_the_same_labels_in_every_image() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    collection(&data);
    fs::write(data.join("bad.jpg"), "no image").unwrap();
    let out = folder.path().join("book");
    let train = |out: &Path, threads: &str| {
        let arguments = ["train", "--data", path_text(&data), "--out", path_text(out), "--regions", "3"];
        let said = expect(3, &[&arguments[..], &["--backbone", "superpixel", "--threads", threads]].concat());
        (said, fs::read(out.join("best.safetensors")).unwrap())
    };
    let (said, bytes) = train(&out, "2");
    assert!(
        said.contains("learned 3 kinds of regions from") && said.contains("of 5 images, 1 image skipped"),
        "{said}"
    );
    assert!(train(&out, "2").0.contains("had learned 3 kinds"));
    assert!(bytes == train(&folder.path().join("other"), "1").1, "threads do not change a code book");

    let checkpoint = out.join("best.safetensors");
    let infer = |name: &str, further: &[&str]| {
        let out = folder.path().join(name);
        let arguments =
            ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&out)];
        let said = expect(3, &[&arguments[..], further].concat());
        (said, out)
    };
    let (_, results) = infer("results", &["--save", "masks,overlays,report,coco"]);
    let [sky, field, wall] = [(4, 4), (4, 60), (30, 34)].map(|(x, y)| mask(&results, 1)(x, y));
    assert_eq!(BTreeSet::from([sky, field, wall]), BTreeSet::from([1, 2, 3]));
    for image in 0..5 {
        let value = mask(&results, image);
        let right = (0..SIDES.0 * SIDES.1).filter(|at| {
            let (x, y) = (at % SIDES.0, at / SIDES.0);
            let flat = colour(image, x, y);
            let expected = if flat[2] > 200 {
                sky
            } else if flat[0] > 190 {
                wall
            } else {
                field
            };
            value(x, y) == expected
        });
        let share = right.count() as f64 / f64::from(SIDES.0 * SIDES.1);
        assert!(share > 0.9, "image {image}: {share}");
    }
    let labels: Value = serde_json::from_slice(&fs::read(results.join("labels.json")).unwrap()).unwrap();
    assert!(labels.to_string().contains("region 3") && labels.to_string().contains("no data"), "{labels}");
    assert!(results.join("report.html").exists());
    let lines = predictions(&results);
    assert_eq!((lines["0.png"]["clusters"].as_u64(), lines["1.png"]["clusters"].as_u64()), (Some(2), Some(3)));
    assert!(infer("results", &["--save", "masks,overlays,report,coco"]).0.contains("5 already done"));

    // A boundary that costs too much is nowhere; what is set is part of what a result comes from.
    let (said, _) = infer("results", &["--save", "masks", "--set", "regions.lambda=1e9"]);
    assert!(said.contains("segmented 5 images"), "{said}");
    assert_eq!(predictions(&results)["1.png"]["clusters"].as_u64(), Some(1));
    let (_, split) = infer("split", &["--save", "masks", "--set", "regions.split=true"]);
    let value = mask(&split, 0);
    assert_eq!(BTreeSet::from([value(4, 4), value(4, 60)]), BTreeSet::from([1, 2]));

    let error = expect_error(
        2,
        &[
            "infer",
            "--ckpt",
            path_text(&checkpoint),
            "--data",
            path_text(&data),
            "--out",
            path_text(&split),
            "--set",
            "regions.labels=4",
        ],
    );
    assert!(error.contains("regions.labels"), "{error}");
    let shown = expect(0, &["inspect", path_text(&checkpoint)]);
    assert!(shown.contains("kinds of regions   3") && shown.contains("superpixel"), "{shown}");
    let shown: Value = serde_json::from_str(&expect(0, &["inspect", path_text(&checkpoint), "--json"])).unwrap();
    assert_eq!(shown["labels"], 3);
}

#[test]
fn what_is_for_networks_is_refused_with_regions() {
    for further in [&["--clusters", "3"][..], &["--epochs", "5"], &["--parts", "2"]] {
        let arguments = [&["train", "--data", "x", "--regions", "3"][..], further].concat();
        let output = crate::drive::run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("cannot be used with"), "{}", text(&output.stderr));
    }
    for number in ["1", "256", "x"] {
        let output = crate::drive::run(&["train", "--data", "x", "--regions", number]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
}

#[test]
fn a_network_without_a_transformer_gives_the_same_labels_in_every_image() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    collection(&data);
    fs::write(data.join("bad.jpg"), "no image").unwrap();
    let sizes = ["--set", "regions.by=patch-network", "--set", "grapl.patches=16", "--set", "grapl.side=96"];
    let train = |name: &str, threads: &str| {
        let out = folder.path().join(name);
        let arguments = ["train", "--data", path_text(&data), "--out", path_text(&out), "--regions", "3"];
        let said = expect(3, &[&arguments[..], &sizes, &["--threads", threads]].concat());
        (said, out.join("best.safetensors"))
    };
    let (said, checkpoint) = train("network", "2");
    assert!(said.contains("learned 3 kinds of regions from 1280 patches of 5 images, 1 image skipped"), "{said}");
    assert!(train("network", "2").0.contains("had learned 3 kinds"));
    assert!(fs::read(&checkpoint).unwrap() == fs::read(train("other", "1").1).unwrap(), "threads change no network");

    let out = folder.path().join("results");
    let data = path_text(&data);
    let infer =
        ["infer", "--ckpt", path_text(&checkpoint), "--data", data, "--out", path_text(&out), "--save", "masks"];
    let said = expect(3, &infer);
    assert!(said.contains("segmented 5 images"), "{said}");
    // In the middle of sky, field and wall.
    let found: Vec<[u8; 3]> = (0..5)
        .map(|image| {
            let value = mask(&out, image);
            [(90, 6), (4, 60), (12 * image + 13, 24 + 4 * image + 4)].map(|(x, y)| value(x, y))
        })
        .collect();
    let [sky, field, wall] = found[1];
    assert_eq!(BTreeSet::from([sky, field, wall]), BTreeSet::from([1, 2, 3]));
    assert!(found[1..].iter().all(|of_image| *of_image == found[1]), "{found:?}");
    assert_eq!(found[0][..2], found[1][..2]);

    let shown = expect(0, &["inspect", path_text(&checkpoint)]);
    assert!(shown.contains("GraPL's, for 16 x 16 patches of 6 x 6 pixels"), "{shown}");
    let train = ["train", "--data", data, "--out", path_text(&out), "--regions", "--set", "regions.by=patch-network"];
    for needless in [["--backbone", "superpixel"], ["--weights", "vit.safetensors"]] {
        let error = expect_error(2, &[&train[..], &needless].concat());
        assert!(error.contains("patch-network") && error.contains(needless[0]), "{error}");
    }
}
