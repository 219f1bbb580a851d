//! Objects, their parts and their annotations, from the program as a process.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use deepcut::output::read_mask;
use deepcut::raster::{Mask, RunLengthMask};
use serde_json::Value;

use crate::drive::{expect, expect_error, path_text, predictions, project, train_demonstration, write_png};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn masks(out: &Path) -> Vec<Mask> {
    let mut paths: Vec<PathBuf> = fs::read_dir(out.join("masks")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| read_mask(path).unwrap()).collect()
}

/// The values of `labels.json` by role.
fn values(out: &Path, role: &str) -> BTreeSet<u8> {
    let labels = json(&out.join("labels.json"));
    let with_role = labels["labels"].as_array().unwrap().iter().filter(|label| label["role"] == role);
    with_role.map(|label| label["value"].as_u64().unwrap() as u8).collect()
}

/// Two bright discs, one larger, on a dark ground.
fn two_discs(x: u32, y: u32) -> [u8; 3] {
    let inside = |left: i64, top: i64, radius: i64| {
        let (dx, dy) = (i64::from(x) - left, i64::from(y) - top);
        dx * dx + dy * dy < radius * radius
    };
    if inside(35, 40, 20) || inside(100, 50, 12) {
        [230, 190, 60]
    } else {
        [25, 40 + (x % 5) as u8, 50 + (y % 3) as u8]
    }
}

#[test]
fn parts_have_labels_of_their_own_that_evaluation_understands() {
    let folder = tempfile::tempdir().unwrap();
    let (data, truth) = (project("demonstration/images"), project("demonstration/masks"));
    let plain = train_demonstration(&folder.path().join("plain"), &[]);
    let further = ["--parts", "3", "--background-parts", "2", "--set", "superpixel.descriptor=colour-place"];
    let divided = train_demonstration(&folder.path().join("divided"), &["--parts", "3", "--background-parts", "2"]);
    let out = |name: &str| folder.path().join(name);
    let infer = |checkpoint: &Path, out: &Path| {
        expect(0, &["infer", "--ckpt", path_text(checkpoint), "--data", path_text(&data), "--out", path_text(out)]);
        let evaluate = ["eval", "--pred", path_text(out), "--truth", path_text(&truth), "--task", "objects", "--json"];
        serde_json::from_str::<Value>(&expect(0, &evaluate)).unwrap()["miou"].as_f64().unwrap()
    };
    // The first stage is the same with parts and without; so is its foreground.
    assert_eq!(infer(&plain, &out("plain masks")), infer(&divided, &out("divided masks")));
    expect(
        0,
        &[&["segment", "--data", path_text(&data), "--out", path_text(&out("alone")), "--epochs", "60"][..], &further]
            .concat(),
    );
    for name in ["divided masks", "alone"] {
        let out = out(name);
        assert_eq!(values(&out, "object"), BTreeSet::from([1]));
        let (parts, background_parts) = (values(&out, "part"), values(&out, "background-part"));
        assert_eq!((parts.len(), background_parts.len()), (3, 2));
        let used: BTreeSet<u8> = masks(&out).iter().flat_map(|mask| mask.values.clone()).collect();
        assert!(used.intersection(&parts).count() >= 2, "{name}: {used:?}");
        assert!(used.intersection(&background_parts).count() == 2, "{name}: {used:?}");
    }

    // Where nothing is large enough to be divided, the first stage's labels stay.
    let strict = ["--parts", "3", "--set", "parts.minimum_nodes=100000"];
    expect(
        0,
        &[&["segment", "--data", path_text(&data), "--out", path_text(&out("strict")), "--epochs", "60"][..], &strict]
            .concat(),
    );
    let used: BTreeSet<u8> = masks(&out("strict")).iter().flat_map(|mask| mask.values.clone()).collect();
    assert!(used.iter().all(|value| *value <= 1), "{used:?}");
    let whole = train_demonstration(&out("whole"), &strict);
    let described: Value = serde_json::from_str(&expect(0, &["inspect", path_text(&whole), "--json"])).unwrap();
    assert!(described["parts"].is_null());
    for (flag, number) in [("--parts", "1"), ("--parts", "251"), ("--background-parts", "1")] {
        expect_error(2, &["train", "--data", path_text(&data), "--out", path_text(&out("no")), flag, number]);
    }
}

#[test]
fn instances_are_told_apart_and_annotated() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = train_demonstration(&folder.path().join("run"), &[]);
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_png(&data.join("two.png"), 128, 80, two_discs);
    write_png(&data.join("deep/flat.png"), 30, 20, |_, _| [90, 90, 90]);
    let base = ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&out)];
    let infer = |further: &[&str]| expect(0, &[&base[..], further].concat());
    let save = ["--save", "masks,saliency,report,coco,yolo,voc"];
    assert!(infer(&[&save[..], &["--instances"]].concat()).contains("1 without object"));

    let found = &predictions(&out)["two.png"];
    let objects = found["objects"].as_array().unwrap();
    assert_eq!(objects.len(), 2, "{found}");
    let mask = read_mask(&out.join("masks/two.png")).unwrap();
    let decoded: Vec<Mask> = objects
        .iter()
        .map(|object| {
            RunLengthMask::from_compressed(128, 80, object["segmentation"]["counts"].as_str().unwrap()).unwrap()
        })
        .map(|mask| mask.decode())
        .collect();
    for (at, &value) in mask.values.iter().enumerate() {
        assert_eq!(decoded[0].values[at] + decoded[1].values[at], value, "every pixel in one object");
    }
    // The larger disc is about 40 pixels wide.
    assert!((34..=44).contains(&objects[0]["box"][2].as_u64().unwrap()), "{found}");
    assert!(objects.iter().all(|object| (0.5..=1.0).contains(&object["confidence"].as_f64().unwrap())));
    assert_eq!(predictions(&out)["deep/flat.png"]["box"], Value::Null);
    let saliency = read_mask(&out.join("saliency/two.png")).unwrap();
    assert!(saliency.values.iter().zip(&mask.values).all(|(grey, value)| (*grey >= 128) == (*value > 0)));

    let coco = json(&out.join("coco.json"));
    assert_eq!(coco["images"].as_array().unwrap().len(), 2);
    assert_eq!(coco["annotations"].as_array().unwrap().len(), 2);
    assert_eq!(coco["annotations"][0]["bbox"], objects[0]["box"]);
    assert_eq!(fs::read_to_string(out.join("yolo/labels/two.txt")).unwrap().lines().count(), 2);
    assert_eq!(fs::read_to_string(out.join("yolo/labels/deep/flat.txt")).unwrap(), "");
    assert_eq!(fs::read_to_string(out.join("voc/two.xml")).unwrap().matches("<object>").count(), 2);

    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("two.png") && report.contains("deep/flat.png"));
    // The picture of the image itself, on the sheet and among the doubtful ones.
    assert!(report.matches("data:image/jpeg;base64,").count() >= 2);

    // Again: the annotations of what is done come from the masks, and a file that was removed comes back.
    let bytes = fs::read(out.join("coco.json")).unwrap();
    fs::remove_file(out.join("voc/two.xml")).unwrap();
    assert!(infer(&[&save[..], &["--instances"]].concat()).contains("segmented 1 image"));
    assert!(fs::read(out.join("coco.json")).unwrap() == bytes);
    assert!(out.join("voc/two.xml").exists());

    // Without instances all foreground is one object; a bar that is too high leaves none.
    infer(&["--save", "masks,coco"]);
    assert_eq!(predictions(&out)["two.png"]["objects"].as_array().unwrap().len(), 1);
    assert!(infer(&["--min-confidence", "1"]).contains("2 without object"));
    let none = &predictions(&out)["two.png"];
    assert!(none["box"].is_null() && none["confidence"].is_null() && none["foreground_area_px"] == 0, "{none}");
    assert!(read_mask(&out.join("masks/two.png")).unwrap().values.iter().all(|value| *value == 0));
    assert!(expect_error(2, &[&base[..], &["--min-confidence", "1.5"]].concat()).contains("minimum_confidence"));
}

#[test]
fn nothing_of_another_run_is_taken_for_done() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_png(&data.join("two.png"), 128, 80, two_discs);
    let [first, second] = ["0", "1"].map(|seed| train_demonstration(&folder.path().join(seed), &["--seed", seed]));
    let infer = |checkpoint: &Path, save: &str| {
        let arguments = ["--ckpt", path_text(checkpoint), "--data", path_text(&data), "--out", path_text(&out)];
        expect(0, &[&["infer"][..], &arguments, &["--save", save]].concat())
    };
    infer(&first, "masks,overlays,saliency,yolo,coco");
    // What is not asked for this time stays, as long as it belongs to the same masks.
    assert!(infer(&first, "masks").contains("1 already done"));
    assert!(out.join("yolo/labels/two.txt").exists() && out.join("coco.json").exists());
    infer(&first, "masks,voc");
    assert!(out.join("voc/two.xml").exists());
    // Another network's masks take everything of the first away.
    infer(&second, "masks");
    for name in ["yolo/labels/two.txt", "overlays/two.jpg", "saliency/two.png", "voc/two.xml", "coco.json"] {
        assert!(!out.join(name).exists(), "{name}");
    }
    assert!(infer(&second, "masks,yolo").contains("segmented 1 image"));
    // Masks that are not wanted are not left beside what is.
    infer(&first, "saliency");
    assert!(!out.join("masks/two.png").exists());
    assert!(infer(&second, "masks,saliency").contains("segmented 1 image"));
}

#[test]
fn refined_instances_stay_several() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = train_demonstration(&folder.path().join("run"), &[]);
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_png(&data.join("two.png"), 128, 80, two_discs);
    let base = ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&out)];
    let around_all = ["--instances", "--set", "objects.bounds=all"];
    let one_component = ["--set", "refine.largest_component=true", "--set", "objects.bounds=all"];
    for (further, right) in [(&around_all[..], 112), (&["--instances"], 55), (&one_component, 55)] {
        expect(0, &[&base[..], &["--refine", "bilateral"], further].concat());
        let [left, _, width, _] = [0, 1, 2, 3].map(|i| predictions(&out)["two.png"]["box"][i].as_u64().unwrap());
        assert!((left + width).abs_diff(right) <= 3, "{further:?}: {left} {width}");
    }
}
