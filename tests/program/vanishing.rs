//! Images that vanish or change under a run, and collections of which too many are bad.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::drive::{disc, expect, expect_error, path_text, predictions, program, project, run, text, write_png};

/// Nothing is kept, so that every epoch needs the images; all rounds and parts come after the first network.
const WITHOUT_CACHE: &str =
    "--set cache.limit_mebibytes=0 --set train.self_training=true --set superpixel.regions=60 --set train.batch_size=2";

fn write_collection(folder: &Path, images: u32) {
    for number in 0..images {
        write_png(&folder.join(format!("{number:02}.png")), 80 + number, 60, disc);
    }
}

fn wait_for(path: &Path) {
    for _ in 0..15_000 {
        if path.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("{} did not come", path.display());
}

fn lines_with(error: &str, name: &str) -> usize {
    error.lines().filter(|line| line.starts_with("skipped:") && line.contains(name)).count()
}

#[test]
fn training_goes_on_without_images_that_vanish_or_change() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("run"));
    write_collection(&data, 10);
    let train = ["train", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "15", "--parts", "2"];
    let train: Vec<&str> = train.into_iter().chain(WITHOUT_CACHE.split(' ')).collect();
    let child = program(&train).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&out.join("resume-teacher.safetensors"));
    fs::remove_file(data.join("03.png")).unwrap();
    write_png(&data.join("06.png"), 50, 40, disc);
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert_eq!([lines_with(&error, "03.png"), lines_with(&error, "06.png")], [1, 1], "{error}");
    assert_eq!(lines_with(&error, ""), 2, "{error}");
    assert!(text(&output.stdout).contains("2 images skipped"), "{}", text(&output.stdout));
    let log = fs::read_to_string(out.join("train.jsonl")).unwrap();
    assert!(log.contains("03.png") && log.contains("changed since the run began"), "{log}");
    assert!(log.contains(r#""stage":"objects""#) && log.contains(r#""stage":"parts""#), "{log}");
    // With the one that is only gone, nothing is new: the run is known to be over.
    write_png(&data.join("06.png"), 86, 60, disc);
    let again = expect(0, &[&train[..], &["--resume"]].concat());
    assert!(again.contains("nothing is left to do"), "{again}");
}

#[test]
fn a_killed_training_goes_on_without_images_that_vanished_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_collection(&data, 10);
    fs::write(data.join("bad.png"), "no image").unwrap();
    let train = |out: &Path, further: &[&str]| -> Vec<String> {
        let arguments = ["train", "--data", path_text(&data), "--out", path_text(out), "--resume"];
        let further = [&["--set", "superpixel.regions=60", "--epochs"], further];
        [&arguments[..], &further.concat()].concat().iter().map(ToString::to_string).collect()
    };
    let start = |out: &Path, further: &[&str]| {
        let mut child =
            program(&[]).args(train(out, further)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&out.join("resume-objects.safetensors"));
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let resume = |out: &Path, further: &[&str]| {
        let output = program(&[]).args(train(out, further)).output().unwrap();
        let (said, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(3), "{said}\n{error}");
        assert!(said.contains("resuming after epoch"), "{said}");
        error
    };
    let (kept, computed) = (["200"], ["40", "--set", "cache.limit_mebibytes=0"]);
    let outs = ["whole", "cached", "computed"].map(|name| folder.path().join(name));
    start(&outs[0], &kept);
    start(&outs[1], &kept);
    start(&outs[2], &computed);
    resume(&outs[0], &kept);

    fs::remove_file(data.join("03.png")).unwrap();
    write_png(&data.join("06.png"), 50, 40, disc);
    write_png(&data.join("new.png"), 50, 41, disc);
    for (out, further) in [(&outs[1], &kept[..]), (&outs[2], &computed[..])] {
        let error = resume(out, further);
        let told = ["03.png", "06.png", "bad.png"].map(|name| lines_with(&error, name));
        assert_eq!((told, lines_with(&error, "")), ([1; 3], 3), "{error}");
        assert!(error.contains("1 image came after the run began"), "{error}");
    }
    let [whole, cached, _] = outs.map(|out| fs::read(out.join("best.safetensors")).unwrap());
    assert!(whole == cached, "what the cache holds of an image is of the image with which the run began");

    // Other images are another run's.
    let other = folder.path().join("other");
    start(&other, &kept);
    fs::rename(&data, folder.path().join("old")).unwrap();
    write_png(&data.join("else.png"), 60, 60, disc);
    let arguments = train(&other, &kept);
    let error = expect_error(2, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("other images"), "{error}");
}

#[test]
fn too_many_bad_images_are_code_4_and_how_many_are_can_be_said() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_collection(&data, 2);
    for number in 0..3 {
        fs::write(data.join(format!("bad {number}.png")), "no image").unwrap();
    }
    let out = |name: &str| folder.path().join(name);
    let checkpoint = project("checkpoints/demonstration.safetensors");
    let [trained, inferred, segmented, grouped, joined] = ["train", "infer", "segment", "cluster", "join"].map(out);
    let groups = grouped.join("clusters.safetensors");
    let data = path_text(&data);
    let commands: [&[&str]; 5] = [
        &["train", "--data", data, "--out", path_text(&trained), "--epochs", "2"],
        &["infer", "--ckpt", path_text(&checkpoint), "--data", data, "--out", path_text(&inferred)],
        &["segment", "--data", data, "--out", path_text(&segmented), "--epochs", "2"],
        &["cluster", "--data", data, "--out", path_text(&grouped)],
        &["cluster", "--ckpt", path_text(&groups), "--data", data, "--out", path_text(&joined)],
    ];
    for command in commands {
        let error = expect_error(4, command);
        assert!(error.contains("3 of 5 images") && error.contains("--max-bad"), "{command:?}: {error}");
        assert!(error.contains("bad 0.png") && error.contains("bad 2.png"), "{command:?}: {error}");
        expect(3, &[command, &["--max-bad", "0.6"]].concat());
        assert_eq!(run(&[command, &["--max-bad", "1.5"]].concat()).status.code(), Some(2), "{command:?}");
    }
    // What was finished stays, and how many may be bad is no reason to do it again.
    assert!(predictions(&inferred)["00.png"]["status"] != "skipped");
    assert!(expect(3, &[commands[1], &["--max-bad", "1"]].concat()).contains("segmented 0 images, 2 already done"));
    let resumed = expect(3, &[commands[0], &["--resume", "--max-bad", "0.7"]].concat());
    assert!(resumed.contains("nothing is left to do"), "{resumed}");
    // Not one may be bad; and all are.
    fs::remove_file(folder.path().join("data/bad 0.png")).unwrap();
    fs::remove_file(folder.path().join("data/bad 1.png")).unwrap();
    assert!(expect_error(4, &[commands[2], &["--max-bad", "0"]].concat()).contains("1 of 3 images"));
    expect(3, commands[2]);
    fs::remove_file(folder.path().join("data/00.png")).unwrap();
    fs::remove_file(folder.path().join("data/01.png")).unwrap();
    for command in commands {
        expect_error(4, command);
    }
}
