//! `deepcut backbone compare` as a process: one table of backbones and objectives, equal to what `segment` and `eval` say.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::drive::{TINY_VIT, expect, expect_error, path_text, program, project, run, text};

fn compare<'a>(data: &'a Path, truth: &'a Path, weights: &'a str, further: &[&'a str]) -> Vec<&'a str> {
    let paths = ["backbone", "compare", "--data", path_text(data), "--truth", path_text(truth), "--weights", weights];
    [&paths[..], &["--threads", "2", "--json"], further].concat()
}

/// The row of a backbone and an objective.
fn row<'a>(table: &'a Value, backbone: &str, division: &str) -> &'a Value {
    let rows = table["rows"].as_array().unwrap();
    rows.iter().find(|row| row["backbone"] == backbone && row["division"] == division).unwrap()
}

#[test]
fn the_table_says_what_segment_and_eval_say() {
    let folder = tempfile::tempdir().unwrap();
    let (data, truth) = (project("demonstration/images"), project("demonstration/masks"));
    let weights = project("tests/golden/tiny_vit.pth");
    let few = ["--set", "segment.epochs=4"];
    let list = format!("{},superpixel", path_text(&weights));
    let further = [TINY_VIT, &few].concat();
    let csv = folder.path().join("table.csv");
    let said = expect(0, &compare(&data, &truth, &list, &[&further[..], &["--csv", path_text(&csv)]].concat()));
    let table: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(table["rows"].as_array().unwrap().len(), 8);
    assert_eq!(fs::read_to_string(&csv).unwrap().lines().count(), 9);

    for (backbone, division, flags) in [
        (path_text(&weights), "ncut", &["--objective", "ncut"][..]),
        (path_text(&weights), "cc", &["--objective", "cc"]),
        (path_text(&weights), "spectral", &["--method", "spectral"]),
        ("superpixel", "association", &["--objective", "association"]),
    ] {
        let out = folder.path().join(format!("{}{division}", backbone.len()));
        let of_backbone = match backbone {
            "superpixel" => vec!["--backbone", "superpixel"],
            _ => [&["--weights", backbone], TINY_VIT].concat(),
        };
        let segment = ["segment", "--data", path_text(&data), "--out", path_text(&out), "--save", "masks", "--json"];
        // The eigenvector has no epochs, and no use for them.
        let segment = [&segment[..], &of_backbone, flags, &few].concat();
        let segmented: Value = serde_json::from_str(&expect(0, &segment)).unwrap();
        let eval = ["eval", "--pred", path_text(&out), "--truth", path_text(&truth), "--task", "objects", "--json"];
        let scored: Value = serde_json::from_str(&expect(0, &eval)).unwrap();
        let row = row(&table, backbone, division);
        assert_eq!((&row["miou"], &row["accuracy"]), (&scored["miou"], &scored["accuracy"]), "{backbone} {division}");
        assert_eq!(row["images"], 24);
        let close = |one: &Value, other: &Value| match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => (one - other).abs() < 1e-9,
            (one, other) => one == other,
        };
        let share = &segmented["mean_negative_share"];
        assert!(close(&row["negative_share"], share) && share.is_null() == (division != "cc"), "{row} {share}");
    }
    // Nothing is left in the folder for temporary files.
    let scratch = folder.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let mut limited = program(&compare(&data, &truth, "superpixel", &["--objective", "spectral", "--limit", "5"]));
    let output = limited.env("TMPDIR", &scratch).output().unwrap();
    let table: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row(&table, "superpixel", "spectral")["images"], 5);
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_compared_is_said_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (images, truth) = (project("demonstration/images"), project("demonstration/masks"));
    fs::create_dir(&data).unwrap();
    for entry in fs::read_dir(&images).unwrap().take(3) {
        let path = entry.unwrap().path();
        fs::copy(&path, data.join(path.file_name().unwrap())).unwrap();
    }
    let broken = folder.path().join("broken.pth");
    fs::write(&broken, "no weights").unwrap();
    let list = format!("{},superpixel", path_text(&broken));
    let output = run(&compare(&data, &truth, &list, &["--objective", "spectral"]));
    let table: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("broken.pth"), "{}", text(&output.stderr));
    assert!(row(&table, path_text(&broken), "spectral")["failure"].as_str().unwrap().contains("broken.pth"));
    assert!(row(&table, "superpixel", "spectral")["miou"].as_f64().unwrap() > 0.0);

    // A bad image that has a ground truth is skipped; what has none is not looked at.
    fs::write(data.join("no truth.jpg"), "no image").unwrap();
    let spectral = ["--objective", "spectral"];
    expect(0, &compare(&data, &truth, "superpixel", &spectral));
    let one = fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_stem().unwrap() != "no truth");
    fs::write(one.unwrap(), "no image").unwrap();
    let said: Value = serde_json::from_str(&expect(3, &compare(&data, &truth, "superpixel,pixel", &spectral))).unwrap();
    assert_eq!((said["skipped"].as_array().unwrap().len(), &row(&said, "pixel", "spectral")["images"]), (1, &2.into()));

    // So is one whose ground truth cannot be read; that is told once for all backbones.
    let damaged = folder.path().join("truth");
    fs::create_dir(&damaged).unwrap();
    for mask in fs::read_dir(&truth).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&mask, damaged.join(mask.file_name().unwrap())).unwrap();
    }
    let image = fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| fs::read(path).unwrap() != b"no image")
        .unwrap();
    fs::write(damaged.join(image.with_extension("png").file_name().unwrap()), "no map").unwrap();
    let output = run(&compare(&data, &damaged, "superpixel,pixel", &spectral));
    let warnings = text(&output.stderr);
    assert_eq!(warnings.matches("1 image cannot be scored, such as ").count(), 1, "{warnings}");
    let table: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row(&table, "pixel", "spectral")["images"], 1, "{table}");

    let absent = folder.path().join("absent");
    assert!(expect_error(2, &compare(&data, &absent, "superpixel", &spectral)).contains("--truth"));
    fs::create_dir(&absent).unwrap();
    assert!(expect_error(2, &compare(&absent, &truth, "superpixel", &spectral)).contains("no image was found"));
}
