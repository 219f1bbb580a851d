//! What images may be called: every image has results of its own, and one name in everything that is written.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use deepcut::output::read_mask;
use serde_json::{Value, json};

use crate::drive::{disc, expect, path_text, predictions, write_png};

/// Segments without training; gives the folder of results.
fn segment(code: i32, data: &Path, out: &str, save: &str) -> PathBuf {
    let out = data.parent().unwrap().join(out);
    let (data, place) = (path_text(data), path_text(&out));
    expect(code, &["segment", "--method", "spectral", "--data", data, "--out", place, "--save", save]);
    out
}

/// Scores that must be perfect; gives the summary.
fn perfect(predictions: &Path, truth: &Path, images: u64) -> Value {
    let arguments =
        ["eval", "--json", "--task", "objects", "--pred", path_text(predictions), "--truth", path_text(truth)];
    let scores: Value = serde_json::from_str(&expect(0, &arguments)).unwrap();
    assert_eq!((scores["images"].as_u64(), scores["miou"].as_f64()), (Some(images), Some(1.0)), "{scores}");
    scores
}

#[test]
fn images_that_differ_in_their_extensions_alone_have_results_and_a_truth_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_png(&data.join("a.bmp"), 80, 60, disc);
    write_png(&data.join("a.png"), 64, 70, |x, y| disc(x + 20, y));
    write_png(&data.join("a.x.png"), 90, 50, |x, y| disc(x, y + 10));
    fs::write(data.join("a.gif"), "no image").unwrap();
    let out = segment(3, &data, "out", "masks,overlays,report,coco,yolo,voc");
    let places = [("a.bmp", "a", Value::Null), ("a.png", "a.png", json!("a.png")), ("a.x.png", "a.x", Value::Null)];
    let lines = predictions(&out);
    for ((image, place, output), (width, height)) in places.iter().zip([(80, 60), (64, 70), (90, 50)]) {
        let mask = read_mask(&out.join(format!("masks/{place}.png"))).unwrap();
        assert_eq!((mask.width, mask.height), (width, height), "{image}");
        assert_eq!(lines[*image]["output"], *output);
        for file in ["overlays/{}.jpg", "yolo/labels/{}.txt", "voc/{}.xml"] {
            assert!(out.join(file.replace("{}", place)).exists(), "{file} {image}");
        }
    }
    assert_eq!(lines["a.gif"]["output"], "a.gif");
    assert_eq!(
        fs::read_to_string(out.join("report.html")).unwrap().matches("data:image/jpeg").count(),
        6,
        "on the sheet and among the least sure"
    );
    let again = segment(3, &data, "out", "masks,overlays,report,coco,yolo,voc");
    assert_eq!(predictions(&again), lines, "a repeated run finds what is done");

    // The run's own results are a ground truth that everything agrees with, if each is held against its own.
    perfect(&out, &out.join("masks"), 3);
    perfect(&out, &out.join("coco.json"), 3);
    let mut coco: Value = serde_json::from_slice(&fs::read(out.join("coco.json")).unwrap()).unwrap();
    coco["images"].as_array_mut().unwrap().retain(|image| image["file_name"] == "a.png");
    let one = folder.path().join("one.json");
    fs::write(&one, coco.to_string()).unwrap();
    assert_eq!(perfect(&out, &one, 1)["unmatched_predictions"], json!(["a", "a.x"]));
}

#[test]
fn entries_from_outside_a_lists_folder_have_results_inside_the_output_folder() {
    let folder = tempfile::tempdir().unwrap();
    let lists = folder.path().join("lists");
    write_png(&lists.join("a.png"), 80, 60, disc);
    write_png(&lists.join("#1.png"), 50, 60, disc);
    write_png(&folder.path().join("a.png"), 64, 70, disc);
    fs::write(lists.join("list.txt"), "../a.png\n# a comment.png\n\\#1.png\na.png\n").unwrap();
    let out = lists.join("out");
    let list = lists.join("list.txt");
    expect(0, &["segment", "--method", "spectral", "--data", path_text(&list), "--out", path_text(&out)]);
    assert_eq!(predictions(&out).into_keys().collect::<Vec<_>>(), ["#1.png", "a-2.png", "a.png"]);
    for (name, width) in [("#1", 50), ("a", 80), ("a-2", 64)] {
        assert_eq!(read_mask(&out.join(format!("masks/{name}.png"))).unwrap().width, width, "{name}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_are_told_apart_everywhere() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let names = [&b"a\xfe.png"[..], b"a\xff.png", b"a\\xff.png", "a\u{fffd}.png".as_bytes()];
    for name in names {
        write_png(&data.join(OsStr::from_bytes(name)), 80, 60, disc);
    }
    fs::write(data.join(OsStr::from_bytes(b"bad\xff.png")), "no image").unwrap();
    let written = ["a\\x5cxff.png", "a\\xfe.png", "a\\xff.png", "a\u{fffd}.png"];
    let out = segment(3, &data, "out", "masks,coco,report");
    for name in names {
        assert!(out.join("masks").join(OsStr::from_bytes(name)).exists());
    }
    let lines = predictions(&out);
    assert_eq!(lines.keys().map(String::as_str).collect::<Vec<_>>(), [&written[..], &["bad\\xff.png"]].concat());
    let coco: Value = serde_json::from_slice(&fs::read(out.join("coco.json")).unwrap()).unwrap();
    let files: BTreeSet<_> =
        coco["images"].as_array().unwrap().iter().map(|image| image["file_name"].as_str()).collect();
    assert_eq!(files, written.map(Some).into());
    perfect(&out, &out.join("masks"), 4);
    perfect(&out, &out.join("coco.json"), 4);

    let groups = folder.path().join("groups");
    let cluster = ["cluster", "--data", path_text(&data), "--out", path_text(&groups), "--link"];
    expect(3, &cluster);
    for name in names {
        assert!(groups.join("clusters/0").join(OsStr::from_bytes(name)).exists());
    }
    // What was written is read back as the classes of the same images.
    let labels = folder.path().join("labels.csv");
    fs::copy(groups.join("assignments.csv"), &labels).unwrap();
    expect(3, &[&cluster[..], &["--labels", path_text(&labels), "--label-column", "cluster"]].concat());
    let summary: Value = serde_json::from_slice(&fs::read(groups.join("summary.json")).unwrap()).unwrap();
    assert_eq!((&summary["labelled"], &summary["unknown_labels"]), (&json!(4), &json!(0)));
    assert!(summary["skipped"][0]["path"].as_str().unwrap().ends_with("/bad\\xff.png"), "{summary}");
}

#[test]
fn no_cell_of_a_table_is_a_formula() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let names = ["+1.png", "-1.png", "=1+1.png", "@sum.png", "\t1.png", "a=1.png"];
    for name in names {
        write_png(&data.join(name), 80, 60, disc);
    }
    let groups = folder.path().join("groups");
    let labels = folder.path().join("labels.csv");
    let cluster = ["cluster", "--data", path_text(&data), "--out", path_text(&groups)];
    expect(0, &cluster);
    fs::copy(groups.join("assignments.csv"), &labels).unwrap();
    let out = segment(0, &data, "out", "masks");
    let table = folder.path().join("table.csv");
    let truth = out.join("masks");
    let scores = ["eval", "--task", "objects", "--pred", path_text(&out), "--truth", path_text(&truth)];
    expect(0, &[&scores[..], &["--csv", path_text(&table)]].concat());
    for path in [&labels, &table] {
        let text = fs::read_to_string(path).unwrap();
        let cells: Vec<&str> = text.lines().skip(1).map(|line| line.trim_start_matches('"')).collect();
        assert_eq!(cells.iter().filter(|cell| cell.starts_with("./")).count(), 5, "{text}");
        assert!(cells.iter().all(|cell| cell.starts_with(['.', 'a'])), "{text}");
    }
    expect(0, &[&cluster[..], &["--labels", path_text(&labels), "--label-column", "cluster"]].concat());
    let summary: Value = serde_json::from_slice(&fs::read(groups.join("summary.json")).unwrap()).unwrap();
    assert_eq!((&summary["labelled"], &summary["unknown_labels"]), (&json!(6), &json!(0)));
}
