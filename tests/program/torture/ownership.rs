//! Files of the user's that lie where results would go.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::ground::{ALL_KINDS, checkpoint, collection, fresh, no_leftovers, same, times, tree};
use super::process::{Ended, run};
use super::{Outcome, Row, ensure, settle};
use crate::drive::{path_text, predictions, program};

/// What a user has in a folder, and the commands that would write there.
const FOREIGN: [(&str, &[&str]); 18] = [
    ("masks/mine.png", &["infer", "segment"]),
    ("masks/a0.png", &["infer", "segment"]),
    ("overlays/mine.jpg", &["infer", "segment"]),
    ("saliency/mine.png", &["infer"]),
    ("coco.json", &["infer", "segment"]),
    ("report.html", &["infer", "segment", "cluster"]),
    ("voc/mine.xml", &["infer"]),
    ("yolo/labels/mine.txt", &["infer"]),
    ("yolo/data.yaml", &["infer"]),
    ("labels.json", &["infer", "segment"]),
    ("predictions.jsonl", &["infer", "segment"]),
    ("cache/mine", &["train", "cluster"]),
    ("clusters/mine/a.png", &["cluster"]),
    ("assignments.csv", &["cluster"]),
    ("summary.json", &["cluster"]),
    ("clusters.safetensors", &["cluster"]),
    ("best.safetensors", &["train"]),
    ("train.jsonl", &["train"]),
];

fn command(name: &str, data: &Path, out: &Path, further: &[&str]) -> Ended {
    let checkpoint = checkpoint();
    let arguments: Vec<&str> = match name {
        "train" => vec!["train", "--epochs", "1"],
        "infer" => vec!["infer", "--ckpt", path_text(&checkpoint), "--save", ALL_KINDS],
        "segment" => vec!["segment", "--epochs", "1", "--save", ALL_KINDS],
        _ => vec!["cluster", "--epochs", "5", "--restarts", "1", "--link"],
    };
    run(program(&arguments).arg("--data").arg(data).arg("--out").arg(out).args(further))
}

/// The run is refused with a word about what is in the way, and nothing in the folder is changed.
fn refused(name: &str, data: &Path, out: &Path, further: &[&str], file: &str) -> Outcome {
    let (before, written) = (tree(out), times(out));
    let ended = command(name, data, out, further);
    ended.ended_with(&[2])?;
    let top = file.split('/').next().unwrap();
    ensure(ended.complaint().contains(top), || format!("it does not name {file}: {}", ended.error))?;
    same(&before, &tree(out))?;
    ensure(written == times(out), || "something was written anew")
}

#[test]
fn a_users_files_are_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let data = collection(&folder.path().join("data"), 2);
    let out = folder.path().join("out");
    let mut rows = Vec::new();
    for name in ["train", "infer", "segment", "cluster"] {
        let mut row = Row::new("ownership", format!("a user's own files where {name} would write"));
        for (file, _) in FOREIGN.iter().filter(|(_, commands)| commands.contains(&name)) {
            fresh(&out);
            fs::create_dir_all(out.join(file).parent().unwrap()).unwrap();
            fs::write(out.join(file), "mine").unwrap();
            fs::write(out.join("diary.txt"), "mine too").unwrap();
            row.attempt(file, refused(name, &data, &out, &[], file));
            let further = match name {
                "infer" | "segment" => "--overwrite",
                "train" => "--resume",
                _ => continue,
            };
            row.attempt(format_args!("{file} with {further}"), refused(name, &data, &out, &[further], file));
        }
        rows.push(row);
    }
    settle(rows);
}

#[test]
fn a_users_file_among_results_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let data = collection(&folder.path().join("data"), 3);
    let out = folder.path().join("out");
    let mut row =
        Row::new("ownership", "a user's own file that came beside finished results, under the name of a new one");
    command("infer", &data, &out, &[]).ended_with(&[0]).unwrap();
    // A fourth image has come, and so has a file where its mask belongs.
    super::ground::save_picture(&data.join("new.png"), 7);
    for file in ["masks/new.png", "overlays/new.jpg", "yolo/labels/new.txt"] {
        fs::write(out.join(file), "mine").unwrap();
        let ended = command("infer", &data, &out, &[]);
        let outcome = || -> Outcome {
            ended.ended_with(&[2, 3])?;
            ensure(ended.error.contains(file.rsplit('/').next().unwrap()), || {
                format!("it is not named: {}", ended.error)
            })?;
            ensure(fs::read(out.join(file)).unwrap() == b"mine", || "it was written over")
        };
        row.attempt(file, outcome());
        fs::remove_file(out.join(file)).unwrap();
    }
    row.attempt("without them", command("infer", &data, &out, &[]).ended_with(&[0]));
    // What has other names disturbs nobody and stays.
    fs::write(out.join("diary.txt"), "mine").unwrap();
    row.attempt("a file of another name", command("infer", &data, &out, &["--overwrite"]).ended_with(&[0]));
    row.attempt(
        "a file of another name, kept",
        ensure(fs::read(out.join("diary.txt")).unwrap() == b"mine", || "changed"),
    );
    settle([row]);
}

#[test]
fn links_do_not_lead_results_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let data = collection(&folder.path().join("data"), 2);
    let (out, elsewhere) = (folder.path().join("out"), folder.path().join("elsewhere"));
    let mut row = Row::new("ownership", "links in the folder of results that lead out of it");
    let places = [
        ("infer", "masks"),
        ("infer", "overlays"),
        ("infer", "predictions.jsonl"),
        ("infer", "yolo"),
        ("infer", ".deepcut"),
        ("cluster", "clusters"),
        ("cluster", "cache"),
        ("cluster", "summary.json"),
        ("train", "cache"),
        ("train", "best.safetensors"),
    ];
    for (name, place) in places {
        fresh(&out);
        fresh(&elsewhere);
        fs::create_dir(&out).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        let target = if place.contains('.') && !place.starts_with('.') {
            fs::write(elsewhere.join("file"), "mine").unwrap();
            elsewhere.join("file")
        } else {
            elsewhere.clone()
        };
        symlink(&target, out.join(place)).unwrap();
        let before = tree(&elsewhere);
        let outcome = refused(name, &data, &out, &[], place);
        row.attempt(format_args!("{name}, {place}"), outcome.and(same(&before, &tree(&elsewhere))));
    }
    settle([row]);
}

#[test]
fn a_link_as_the_folder_of_results_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let data = collection(&folder.path().join("data"), 2);
    let (real, out) = (folder.path().join("real"), folder.path().join("out"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &out).unwrap();
    let mut row = Row::new("ownership", "a link that is itself named with --out");
    for again in ["once", "again"] {
        row.attempt(again, command("infer", &data, &out, &[]).ended_with(&[0]));
        row.attempt(format_args!("{again}, results"), ensure(real.join("masks/a0.png").is_file(), || "no mask"));
    }
    settle([row]);
}

#[test]
fn results_among_images_are_results_and_images_stay_images() {
    let folder = tempfile::tempdir().unwrap();
    let mut row = Row::new("ownership", "results in the folder of the images: found again, never taken for images");
    let data = collection(&folder.path().join("data"), 4);
    let images: Vec<String> = ["a0.png", "b1.jpg", "deep/c2.png", "deep/er/d3.webp"].map(String::from).to_vec();
    let originals = tree(&data);
    for out in [data.clone(), data.join("deep/results")] {
        for run in ["first", "second"] {
            let ended = command("segment", &data, &out, &[]);
            let outcome = || -> Outcome {
                ended.ended_with(&[0])?;
                let found: Vec<String> = predictions(&out).into_keys().collect();
                ensure(found == images, || format!("{found:?}"))?;
                no_leftovers(&out)
            };
            row.attempt(format_args!("{} run into {}", run, out.display()), outcome());
        }
    }
    for (name, what) in [("train", "a training"), ("cluster", "a clustering"), ("infer", "another run")] {
        let out = folder.path().join(name);
        let ended = command(name, &data, &out, &["--json"]);
        let counted = serde_json::from_str::<serde_json::Value>(&ended.out).unwrap_or_default();
        let images = counted["images"].as_u64().or(counted["segmented"].as_u64());
        row.attempt(what, ended.ended_with(&[0]).and(ensure(images == Some(4), || format!("{images:?} images"))));
    }
    let now = tree(&data);
    let kept = originals.iter().all(|(path, entry)| now.get(path) == Some(entry));
    row.attempt("the images", ensure(kept, || "they were changed"));
    settle([row]);
}
