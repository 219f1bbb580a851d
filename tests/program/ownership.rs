//! What a user owns is never touched, what a run made is known for it, and one run at a time writes to a folder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::drive::{disc, expect, expect_error, path_text, predictions, program, project, run, text, write_png};

const SAVE_ALL: &str = "masks,overlays,saliency,report,coco,yolo,voc";

/// Every file, link and folder below a folder, with what must not change of it.
fn listing(folder: &Path) -> BTreeMap<PathBuf, (i64, i64, Vec<u8>)> {
    let (mut folders, mut found) = (vec![folder.to_path_buf()], BTreeMap::new());
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, (metadata.mtime(), metadata.mtime_nsec(), content));
        }
    }
    found
}

/// Three small images.
fn images(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    for (index, name) in ["a.png", "b.png", "sub/c.png"].into_iter().enumerate() {
        write_png(&data.join(name), 80, 60, |x, y| disc(x + 4 * index as u32, y));
    }
    data
}

fn checkpoint() -> PathBuf {
    project("checkpoints/demonstration.safetensors")
}

fn infer<'a>(checkpoint: &'a Path, data: &'a Path, out: &'a Path) -> Vec<&'a str> {
    let threads = ["--threads", "2", "--save", SAVE_ALL];
    let paths = ["infer", "--ckpt", path_text(checkpoint), "--data", path_text(data), "--out", path_text(out)];
    [&paths[..], &threads].concat()
}

#[test]
fn files_that_no_run_made_are_named_and_never_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ckpt) = (images(folder.path()), checkpoint());
    let segmenting = ["masks/a.png", "masks/other.png", "overlays/mine.jpg", "saliency/x", "coco.json", "report.html"];
    let segmenting = [&segmenting[..], &["voc/a.xml", "yolo/labels/a.txt", "yolo/data.yaml", "labels.json"]].concat();
    let segmenting = [&segmenting[..], &["predictions.jsonl"]].concat();
    for (index, name) in segmenting.iter().enumerate() {
        let out = folder.path().join(format!("out {index}"));
        fs::create_dir_all(out.join(name).parent().unwrap()).unwrap();
        fs::write(out.join(name), "mine").unwrap();
        let before = listing(&out);
        for further in [&[][..], &["--overwrite"]] {
            let said = expect_error(2, &[&infer(&ckpt, &data, &out)[..], further].concat());
            assert!(said.contains(path_text(&out)) && said.contains("not known to be deepcut's"), "{name}: {said}");
        }
        assert_eq!(listing(&out), before, "{name}");
    }
    for (command, names) in [
        ("train", ["best.safetensors", "train.jsonl", "cache/mine", "resume-objects.safetensors"]),
        ("cluster", ["assignments.csv", "summary.json", "clusters/3/mine.png", "clusters.safetensors"]),
    ] {
        for name in names {
            let out = folder.path().join(format!("{command} {}", name.replace('/', "-")));
            fs::create_dir_all(out.join(name).parent().unwrap()).unwrap();
            fs::write(out.join(name), "mine").unwrap();
            let before = listing(&out);
            let mut arguments = vec![command, "--data", path_text(&data), "--out", path_text(&out)];
            if command == "cluster" {
                arguments.push("--link");
            }
            let said = expect_error(2, &arguments);
            assert!(said.contains("not known to be deepcut's"), "{name}: {said}");
            assert_eq!(listing(&out), before, "{name}");
        }
    }
}

#[test]
fn a_linked_folder_is_not_followed_and_what_is_added_later_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ckpt, out) = (images(folder.path()), checkpoint(), folder.path().join("out"));
    let outside = folder.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(&out).unwrap();
    symlink(&outside, out.join("masks")).unwrap();
    assert!(expect_error(2, &infer(&ckpt, &data, &out)).contains("masks"));
    assert_eq!(listing(&outside).len(), 0);
    fs::remove_file(out.join("masks")).unwrap();
    expect(0, &infer(&ckpt, &data, &out));

    // A user's own mask for an image that comes later, and a run's mask that somebody has painted on.
    write_png(&data.join("d.png"), 80, 60, disc);
    write_png(&out.join("masks/d.png"), 80, 60, disc);
    let mine = fs::read(out.join("masks/d.png")).unwrap();
    let before = listing(&out.join("masks"));
    assert!(expect_error(2, &infer(&ckpt, &data, &out)).contains("masks/d.png"));
    assert_eq!(listing(&out.join("masks")), before);
    fs::remove_file(out.join("masks/d.png")).unwrap();
    fs::write(out.join("masks/a.png"), &mine).unwrap();
    assert!(expect_error(2, &infer(&ckpt, &data, &out)).contains("masks/a.png"));
    assert_eq!(fs::read(out.join("masks/a.png")).unwrap(), mine);
    // A link below a folder of results leads nowhere either.
    fs::remove_file(out.join("masks/a.png")).unwrap();
    fs::remove_dir_all(out.join("masks/sub")).unwrap();
    symlink(&outside, out.join("masks/sub")).unwrap();
    assert!(!run(&infer(&ckpt, &data, &out)).status.success());
    assert_eq!(listing(&outside).len(), 0);
}

#[test]
fn results_in_the_folder_of_the_images_are_no_images() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ckpt) = (images(folder.path()), checkpoint());
    for (out, said) in [(data.clone(), "segmented 3 images"), (data.join("results"), "segmented 3 images")] {
        assert!(expect(0, &infer(&ckpt, &data, &out)).contains(said));
        let again = expect(0, &infer(&ckpt, &data, &out));
        assert!(again.contains("3 already done") && again.contains("passed over"), "{again}");
        assert_eq!(predictions(&out).len(), 3);
    }
    let out = folder.path().join("run");
    let train = ["train", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "2", "--json"];
    let summary: serde_json::Value = serde_json::from_str(&expect(0, &train)).unwrap();
    assert_eq!(summary["images"], 3);
}

#[test]
fn the_second_run_waits_for_the_first_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (project("demonstration/images"), folder.path().join("run"));
    let long = ["train", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "100000"];
    let mut first = program(&long).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !out.join("resume-objects.safetensors").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let short = ["train", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "3"];
    let began = Instant::now();
    let said = expect_error(2, &[&short[..], &["--wait", "0"]].concat());
    assert!(said.contains(path_text(&out)) && said.contains(&first.id().to_string()), "{said}");
    assert!(began.elapsed() < Duration::from_secs(20));
    let second = program(&short).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(out.join("resume-objects.safetensors").exists(), "the second one began");
    // Its lock dies with the first one, and so do its temporary files.
    first.kill().unwrap();
    first.wait().unwrap();
    fs::write(out.join(".deepcut/tmp/.deepcut-1-1.tmp"), "half").unwrap();
    let second = second.wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(0), "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("waiting"), "{}", text(&second.stderr));
    assert!(out.join("best.safetensors").exists());
    assert_eq!(fs::read_dir(out.join(".deepcut/tmp")).unwrap().count(), 0);
}

/// What happens to the bytes of a file.
type Damage = fn(&mut Vec<u8>);

#[test]
fn done_means_intact_and_a_rerun_mends_just_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ckpt, out) = (images(folder.path()), checkpoint(), folder.path().join("out"));
    expect(0, &infer(&ckpt, &data, &out));
    assert!(expect(0, &["verify", path_text(&out)]).contains("as written"));
    let whole = listing(&out);
    let damages: [(&str, Damage); 4] = [
        ("a flipped bit", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
        }),
        ("a cut", |bytes| bytes.truncate(bytes.len() / 2)),
        ("nothing", |bytes| bytes.clear()),
        ("zeros", |bytes| bytes.fill(0)),
    ];
    for name in ["masks/a.png", "overlays/a.jpg", "saliency/sub/c.png"] {
        for (what, damage) in damages {
            let mut bytes = whole[&out.join(name)].2.clone();
            damage(&mut bytes);
            fs::write(out.join(name), bytes).unwrap();
            let found = run(&["verify", path_text(&out)]);
            assert_eq!(found.status.code(), Some(4), "{name}: {what}");
            assert!(text(&found.stdout).contains(&format!("damaged: {name}")), "{name}: {what}");
            let said = expect(0, &infer(&ckpt, &data, &out));
            assert!(said.contains("segmented 1 image") && said.contains("2 already done"), "{name}: {what}\n{said}");
            let mended = listing(&out);
            assert_eq!(mended[&out.join(name)].2, whole[&out.join(name)].2, "{name}: {what}");
            let untouched = out.join("masks/b.png");
            assert_eq!(mended[&untouched], whole[&untouched], "{name}: {what}");
        }
    }
    for (name, what) in [("coco.json", "{"), ("predictions.jsonl", ""), ("report.html", ""), ("voc/b.xml", "\0\0")] {
        fs::write(out.join(name), what).unwrap();
        assert_eq!(run(&["verify", path_text(&out)]).status.code(), Some(4), "{name}");
        expect(0, &infer(&ckpt, &data, &out));
        assert_eq!(fs::read(out.join(name)).unwrap(), whole[&out.join(name)].2, "{name}");
    }
    fs::remove_file(out.join("overlays/b.jpg")).unwrap();
    let missing = run(&["verify", path_text(&out), "--json"]);
    let missing: serde_json::Value = serde_json::from_slice(&missing.stdout).unwrap();
    assert_eq!(missing["faults"][0]["path"], "overlays/b.jpg");
    assert_eq!(missing["faults"][0]["fault"], "missing");
    // What reads as well as before may be somebody's work: it is named and kept.
    expect(0, &infer(&ckpt, &data, &out));
    let edited = text(&whole[&out.join("voc/b.xml")].2).replace("Unspecified", "Left");
    fs::write(out.join("voc/b.xml"), &edited).unwrap();
    let output = run(&infer(&ckpt, &data, &out));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("voc/b.xml"), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(out.join("voc/b.xml")).unwrap(), edited);
}

#[test]
fn a_file_gets_its_name_when_it_is_on_the_disk_and_then_the_name_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ckpt, out) = (images(folder.path()), checkpoint(), folder.path().join("out"));
    let log = folder.path().join("log");
    let traced = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-qq",
            "-e",
            "trace=fsync,rename,unlink",
            "-o",
            path_text(&log),
            env!("CARGO_BIN_EXE_deepcut"),
        ])
        .args(["infer", "--threads", "1", "--save", "masks", "--ckpt", path_text(&ckpt), "--data", path_text(&data)])
        .args(["--out", path_text(&out)])
        .env("DEEPCUT_HOME", "/nonexistent")
        .output();
    if !traced.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: strace is not at hand or may not trace; it shows in which order files are synced");
        return;
    }
    let calls = fs::read_to_string(log).unwrap();
    let calls: Vec<&str> = calls.lines().filter(|call| !call.contains("resumed")).collect();
    let place = |what: &str, from: usize| {
        let found = calls[from..].iter().position(|call| what.split('*').all(|part| call.contains(part)));
        from + found.unwrap_or_else(|| panic!("no {what} after call {from} in\n{}", calls.join("\n")))
    };
    let table = place("rename(*predictions.jsonl", 0);
    for (name, inner) in [("masks/a.png", "/out/masks>"), ("masks/sub/c.png", "/out/masks/sub>")] {
        let renamed = place(&format!("rename(*{name}"), 0);
        let temporary = calls[renamed].split('"').nth(1).unwrap().rsplit('/').next().unwrap();
        assert!(place(&format!("fsync(*{temporary}>"), 0) < renamed, "{name} got its name before its bytes");
        assert!(
            place(&format!("fsync(*{inner}"), renamed) < table,
            "the table names {name} before it is there for good"
        );
    }
    place("fsync(*/out>", table);

    let out = folder.path().join("run");
    let log = folder.path().join("training");
    let train = ["train", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "2", "--threads", "1"];
    let program =
        ["-f", "-y", "-qq", "-e", "trace=fsync,rename,unlink", "-o", path_text(&log), env!("CARGO_BIN_EXE_deepcut")];
    let traced = Command::new("strace").args(program).args(train).env("DEEPCUT_HOME", "/nonexistent").output().unwrap();
    assert!(traced.status.success(), "{}", text(&traced.stderr));
    let calls = fs::read_to_string(log).unwrap();
    let calls: Vec<&str> = calls.lines().filter(|call| !call.contains("resumed")).collect();
    let position = |word: &str, path: &str| calls.iter().rposition(|call| call.contains(word) && call.contains(path));
    let named = position("rename(", "best.safetensors\"").unwrap();
    let synced =
        named + calls[named..].iter().position(|call| call.contains("fsync(") && call.contains("/run>")).unwrap();
    assert!(
        synced < position("unlink(", "resume-objects.safetensors").unwrap(),
        "the state went before the checkpoint stayed"
    );
}

#[test]
fn what_editors_and_links_leave_in_the_output_folder_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ckpt, out) = (images(folder.path()), checkpoint(), folder.path().join("out"));
    let precious = folder.path().join("precious");
    fs::create_dir_all(&precious).unwrap();
    fs::write(precious.join("thesis.txt"), "mine").unwrap();
    expect(0, &infer(&ckpt, &data, &out));
    // Links where a run keeps its own things lead to nothing that is a run's.
    for (name, target) in [("tmp", precious.clone()), ("lock", precious.join("thesis.txt"))] {
        let own = out.join(".deepcut").join(name);
        let aside = out.join("aside");
        fs::rename(&own, &aside).unwrap();
        symlink(&target, &own).unwrap();
        assert!(expect_error(2, &infer(&ckpt, &data, &out)).contains(name));
        assert_eq!(fs::read_to_string(precious.join("thesis.txt")).unwrap(), "mine");
        fs::remove_file(&own).unwrap();
        fs::rename(&aside, &own).unwrap();
    }
    // Text of another encoding, JSON with a remark, an older table, a picture written anew with its comments.
    let written = listing(&out);
    let overlay = &written[&out.join("overlays/a.jpg")].2;
    let seal = overlay.windows(12).position(|window| window == b"deepcut-seal").unwrap();
    let picture = image::load_from_memory(overlay).unwrap().to_rgb8();
    let mut anew = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut anew, image::ImageFormat::Jpeg).unwrap();
    let mut anew = anew.into_inner();
    anew.splice(20..20, overlay[seal - 4..seal - 4 + 2 + 2 + 12 + 1 + 24].to_vec());
    let labels = text(&written[&out.join("labels.json")].2);
    let voc = text(&written[&out.join("voc/a.xml")].2);
    let latin = voc.replace("<annotation>", "<annotation>K").into_bytes();
    let latin: Vec<u8> = latin.into_iter().map(|byte| if byte == b'K' { 0xe4 } else { byte }).collect();
    for (name, content, code) in [
        ("labels.json", format!("// which is which\n{labels}").into_bytes(), 2),
        ("labels.json", labels.replace("object", "cat").into_bytes(), 2),
        ("overlays/a.jpg", anew, 3),
        ("voc/a.xml", [b"<annotation>\xe4".as_slice(), &latin[12..voc.len() - 60]].concat(), 2),
        ("yolo/labels/a.txt", b"0 0.250000 0.250000 0.500000 0.500000\n".to_vec(), 2),
    ] {
        let path = out.join(name);
        fs::write(&path, &content).unwrap();
        assert_eq!(run(&["verify", path_text(&out)]).status.code(), Some(4), "{name}");
        let output = run(&infer(&ckpt, &data, &out));
        assert_eq!(output.status.code(), Some(code), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(name), "{name}: {}", text(&output.stderr));
        assert!(fs::read(&path).unwrap() == content, "{name} was replaced");
        fs::write(&path, &written[&path].2).unwrap();
        expect(0, &infer(&ckpt, &data, &out));
    }
}

#[test]
fn a_record_of_results_that_cannot_be_read_is_listed_and_waits_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ckpt, out) = (images(folder.path()), checkpoint(), folder.path().join("out"));
    for (name, code) in [("pipe", 3), ("text", 3)] {
        let own = data.join(name).join(".deepcut");
        write_png(&data.join(name).join("x.png"), 80, 60, disc);
        fs::create_dir_all(&own).unwrap();
        let manifest = own.join("manifest.json");
        match name {
            "pipe" => assert!(Command::new("mkfifo").arg(&manifest).status().unwrap().success()),
            _ => fs::write(&manifest, "{").unwrap(),
        }
        let output = run(&infer(&ckpt, &data, &out));
        assert_eq!(output.status.code(), Some(code), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("manifest.json"), "{name}: {}", text(&output.stderr));
        assert_eq!(predictions(&out).values().filter(|line| line["status"] != "skipped").count(), 3, "{name}");
        fs::remove_dir_all(data.join(name)).unwrap();
    }
}

#[test]
fn what_another_selection_of_results_leaves_is_checked_and_known_again() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ckpt, out) = (images(folder.path()), checkpoint(), folder.path().join("out"));
    let save = |kinds: &'static str| {
        ["infer", "--ckpt", path_text(&ckpt), "--data", path_text(&data), "--out", path_text(&out), "--save", kinds]
    };
    expect(0, &save("masks,yolo"));
    let mask = fs::read(out.join("masks/a.png")).unwrap();
    expect(0, &save("masks,voc"));
    assert!(expect(0, &save("masks,yolo")).contains("3 already done"), "masks forgot the labels beside them");
    assert!(fs::read(out.join("masks/a.png")).unwrap() == mask, "the same results have other bytes");
    fs::write(out.join("voc/b.xml"), "").unwrap();
    let found = run(&["verify", path_text(&out)]);
    assert!(text(&found.stdout).contains("damaged: voc/b.xml"), "{}", text(&found.stdout));
    // A table of an earlier run is not this one's.
    expect(0, &save("masks,voc"));
    let table = fs::read(out.join("predictions.jsonl")).unwrap();
    write_png(&data.join("e.png"), 80, 60, disc);
    expect(0, &save("masks,voc"));
    fs::write(out.join("predictions.jsonl"), table).unwrap();
    assert_eq!(run(&["verify", path_text(&out)]).status.code(), Some(4));
}
