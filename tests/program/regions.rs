//! `train --regions` and `infer` of a code book: whole images in regions that mean the same in all of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::drive::{expect, expect_error, path_text, predictions, program, text, write_png};

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

    // What no edge joins is parted at any price; what is set is part of what a result comes from.
    let (said, _) = infer("results", &["--save", "masks", "--set", "regions.lambda=1e9"]);
    assert!(said.contains("segmented 5 images"), "{said}");
    assert_eq!(predictions(&results)["1.png"]["clusters"].as_u64(), Some(3));
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

/// Learns from a collection and divides it, with further arguments for either; gives what was said and the folder of masks.
fn learned_and_divided(folder: &Path, data: &Path, train: &[&str], infer: &[&str]) -> (String, PathBuf) {
    let [book, out] = ["book", "divided"].map(|name| folder.join(name));
    let learn = ["train", "--data", path_text(data), "--out", path_text(&book), "--backbone", "superpixel"];
    let mut learned = program(&[&learn[..], train].concat());
    let learned = learned.output().unwrap();
    assert!(learned.status.success(), "{}", text(&learned.stderr));
    let checkpoint = book.join("best.safetensors");
    let divide = ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(data), "--out", path_text(&out)];
    let divided = program(&[&divide[..], &["--overwrite"], infer].concat()).output().unwrap();
    assert!(divided.status.success(), "{}", text(&divided.stderr));
    (text(&learned.stderr) + &text(&learned.stdout) + &text(&divided.stderr), out)
}

fn values(path: &Path) -> BTreeSet<u8> {
    deepcut::output::read_mask(path).unwrap().values.into_iter().collect()
}

#[test]
fn what_differs_in_nothing_is_one_kind_and_that_is_said() {
    for (width, height) in [(1, 1), (70, 50)] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        write_png(&data.join("flat.png"), width, height, |_, _| SKY);
        for refine in ["none", "cut", "bilateral"] {
            let (said, out) = learned_and_divided(folder.path(), &data, &["--regions", "255"], &["--refine", refine]);
            assert!(said.contains("for no more than 1 kind") && said.contains("in one cluster"), "{said}");
            assert_eq!(values(&out.join("masks/flat.png")), BTreeSet::from([1]), "{refine}");
        }
        // Two images of one colour each are two kinds, in whichever order and however dear a boundary is.
        write_png(&data.join("other.png"), width, height, |_, _| WALL);
        for lambda in ["0", "1e30"] {
            let lambda = format!("regions.lambda={lambda}");
            let (said, out) = learned_and_divided(folder.path(), &data, &["--regions", "255"], &["--set", &lambda]);
            assert!(said.contains("for no more than 2 kinds"), "{said}");
            let found = ["flat", "other"].map(|name| values(&out.join(format!("masks/{name}.png"))));
            assert!(found.iter().all(|values| values.len() == 1), "{lambda}: {found:?}");
            assert_ne!(found[0], found[1], "{lambda}");
        }
    }
}

#[test]
fn a_boundary_may_cost_nothing_or_all() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // So gradual that neighbours are joined everywhere.
    write_png(&data.join("1.png"), SIDES.0, SIDES.1, |x, _| [60 + x as u8, 140, 200 - x as u8]);
    let count = |out: &Path| predictions(out)["1.png"]["clusters"].as_u64().unwrap();
    let few =
        ["affinity=\"uniform\"", "patches=8", "side=64", "sigma=1", "steps=[6, 4]"].map(|set| format!("grapl.{set}"));
    let few: Vec<&str> = few.iter().flat_map(|set| ["--set", set]).collect();
    for method in ["grapl", "slic-cut"] {
        let found = ["0", "1e12"].map(|lambda| {
            let (out, lambda) = (folder.path().join(format!("{method}{lambda}")), format!("grapl.lambda={lambda}"));
            let arguments = ["segment", "--method", method, "--data", path_text(&data), "--out", path_text(&out)];
            expect(0, &[&arguments[..], &["--set", &lambda], &few].concat());
            count(&out)
        });
        // A network that has learnt for a few steps need not say that all is one.
        assert!(found[0] > 2 && (method == "grapl" || found[1] == 1), "{method}: {found:?}");
    }
    for (lambda, refine) in [("0", "none"), ("1e30", "none"), ("0", "cut"), ("1e30", "cut")] {
        let setting = format!("regions.lambda={lambda}");
        for smoothness in ["0", "1e6"] {
            let smoothness = format!("refine.cut.smoothness={smoothness}");
            let further = ["--refine", refine, "--set", &setting, "--set", &smoothness];
            let (_, out) = learned_and_divided(folder.path(), &data, &["--regions", "3"], &further);
            assert_eq!(count(&out) > 1, lambda == "0", "{further:?}");
            assert!(!values(&out.join("masks/1.png")).contains(&0), "{further:?}");
        }
    }
}

#[test]
fn a_price_that_is_none_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_png(&data.join("1.png"), SIDES.0, SIDES.1, |x, y| colour(1, x, y));
    learned_and_divided(folder.path(), &data, &["--regions", "3"], &[]);
    let checkpoint = folder.path().join("book/best.safetensors");
    let infer = ["infer", "--ckpt", path_text(&checkpoint), "--refine", "cut"];
    let out = folder.path().join("out");
    for (arguments, setting, refused) in [
        (&["segment", "--method", "grapl"][..], "grapl.lambda", &["-1", "nan", "inf", "1e30"][..]),
        (&["segment", "--method", "slic-cut"], "grapl.lambda", &["-1", "nan", "inf", "1e30"]),
        (&["train", "--regions", "3"], "regions.lambda", &["-1", "nan", "inf"]),
        (&infer, "regions.lambda", &["-1", "nan", "inf"]),
        (&infer, "refine.cut.smoothness", &["-1", "nan", "inf", "1e30"]),
    ] {
        for value in refused {
            let value = format!("{setting}={value}");
            let places = ["--data", path_text(&data), "--out", path_text(&out), "--set", &value];
            let error = expect_error(2, &[arguments, &places].concat());
            let (room, key) = setting.rsplit_once('.').unwrap();
            assert!(error.contains(&format!("[{room}] setting `{key}`")), "{value}: {error}");
            assert!(!out.exists(), "{value}: nothing was begun");
        }
    }
}
