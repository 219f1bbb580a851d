//! `deepcut cluster` as a process: what it writes, says and returns, with good and with bad input.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::drive::{expect_error, project, run, text, write_png};

/// Runs `deepcut cluster` and expects an exit code; gives both outputs.
fn expect(code: i32, arguments: &[&str]) -> String {
    let output = run(&[&["cluster"], arguments].concat());
    let text = [output.stdout, output.stderr].map(|bytes| text(&bytes)).join("\n");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{text}");
    assert!(!text.contains("panicked"), "{arguments:?}\n{text}");
    text
}

fn summary(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap()
}

/// Lines of assignments.csv without the header, as they are.
fn assignments(out: &Path) -> Vec<String> {
    let table = fs::read_to_string(out.join("assignments.csv")).unwrap();
    let mut lines = table.lines().map(str::to_string);
    assert_eq!(lines.next().as_deref(), Some("path,cluster,confidence"));
    lines.collect()
}

fn clusters(out: &Path) -> Vec<String> {
    assignments(out).iter().map(|line| line.rsplit(',').nth(1).unwrap().to_string()).collect()
}

/// A `.npy` file of single-precision numbers.
fn write_npy(path: &Path, rows: usize, values: &[f32]) {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {}), }}\n", values.len() / rows);
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

/// Vectors around `groups` different directions in turn.
fn groups(groups: usize, count: usize) -> Vec<f32> {
    let width = groups.max(4);
    let wave = |index: usize| ((index * 37 % 101) as f32 / 101.0 - 0.5) * 0.4;
    (0..count * width).map(|i| f32::from(i % width == i / width % groups) + wave(i)).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }
}

/// Copies demonstration images under the given names.
fn copy_images(folder: &Folder, names: &[(&str, &str)]) {
    for (from, to) in names {
        let target = folder.path(to);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(project(&format!("demonstration/images/{from}.jpg")), target).unwrap();
    }
}

#[test]
fn as_many_clusters_as_groups_are_found_scored_and_joined() {
    let folder = Folder::new();
    for count in [3usize, 12] {
        write_npy(&folder.path("v.npy"), 240, &groups(count, 240));
        let labels: String = (0..240).map(|row| format!("{row},group {}\n", row % count)).collect();
        fs::write(folder.path("labels.csv"), format!("id,class\n{labels}")).unwrap();
        let (features, out) = (folder.text("v.npy"), folder.text("out"));
        let labels = folder.text("labels.csv");
        let arguments = ["--features", &features, "--out", &out, "--clusters", "15", "--labels", &labels];
        let said = expect(0, &arguments);
        assert!(said.contains("cluster error +0"), "{said}");
        let found = summary(&folder.path("out"));
        assert_eq!((&found["clusters"], &found["cluster_error"]), (&count.into(), &0.into()));
        assert_eq!(found["sizes"], Value::from(vec![240 / count; count]));
        assert_eq!(
            (found["purity"].as_f64(), found["nmi"].as_f64(), found["ari"].as_f64()),
            (Some(1.0), Some(1.0), Some(1.0))
        );
        assert_eq!((&found["method"], &found["alpha"]), (&"correlation".into(), &3.0.into()));
        assert!(found["objective"].as_f64().unwrap() < 0.0);

        // The same again gives the same bytes, on one thread too.
        let files = ["assignments.csv", "summary.json", "report.html", "clusters.safetensors"];
        let before = files.map(|name| fs::read(folder.path("out").join(name)).unwrap());
        expect(0, &[&arguments[..], &["--threads", "1"]].concat());
        assert_eq!(before, files.map(|name| fs::read(folder.path("out").join(name)).unwrap()));

        // The collection's own vectors join where they are.
        let (checkpoint, joined) = (folder.text("out/clusters.safetensors"), folder.text("joined"));
        expect(0, &["--ckpt", &checkpoint, "--features", &features, "--out", &joined]);
        assert_eq!(assignments(&folder.path("joined")), assignments(&folder.path("out")));
        assert_eq!(summary(&folder.path("joined"))["joined"], true);
        assert!(!folder.path("joined/clusters.safetensors").exists());

        // It is no network's checkpoint, and is told apart from one.
        let error = expect_error(4, &["inspect", &checkpoint]);
        assert!(error.contains("a clustering of deepcut, not a checkpoint"), "{error}");
    }
}

#[test]
fn baselines_and_the_sweep_say_what_they_find() {
    let folder = Folder::new();
    write_npy(&folder.path("v.npy"), 60, &groups(4, 60));
    let (features, out) = (folder.text("v.npy"), folder.text("out"));
    for (method, clusters, further) in [("spectral", 4, None), ("kmeans", 4, Some("4")), ("components", 1, None)] {
        let mut arguments = vec!["--features", &features, "--out", &out, "--method", method];
        arguments.extend(further.iter().flat_map(|count| ["--clusters", *count]));
        expect(0, &arguments);
        assert_eq!(summary(&folder.path("out"))["clusters"], clusters, "{method}");
    }
    let error = expect(2, &["--features", &features, "--out", &out, "--method", "kmeans"]);
    assert!(error.contains("--clusters"), "{error}");
    let said = expect(0, &["--features", &features, "--out", &out, "--alpha-sweep", "--epochs", "30"]);
    let sweep = &summary(&folder.path("out"))["alpha_sweep"];
    assert!(said.contains("stable from alpha") && sweep["stable"]["clusters"] == 4, "{said}");
    assert!(sweep["points"].as_array().unwrap().len() >= 10);
}

#[cfg(not(windows))] // which knows no file names with quotes
#[test]
fn images_are_grouped_laid_out_and_joined_and_bad_ones_skipped() {
    let folder = Folder::new();
    copy_images(
        &folder,
        &[
            ("balloon_red", "in/a,\"b\".jpg"),
            ("balloon_red", "in/sub/same.jpg"),
            ("pear_green", "in/other/same.jpg"),
            ("pears_two", "in/pears.jpg"),
        ],
    );
    fs::write(folder.path("in/broken.jpg"), b"no image").unwrap();
    let (data, out) = (folder.text("in"), folder.text("in/out"));
    let said = expect(3, &["--data", &data, "--out", &out, "--link"]);
    assert!(said.contains("broken.jpg"), "{said}");
    let out = folder.path("in/out");
    let lines = assignments(&out);
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("\"a,\"\"b\"\".jpg\","), "{lines:?}");
    let found = summary(&out);
    assert_eq!((&found["images"], found["skipped"].as_array().unwrap().len()), (&4.into(), 1));
    // The same picture is in the same cluster, and every image stands in the folder of its cluster.
    let names = ["a,\"b\".jpg", "other/same.jpg", "pears.jpg", "sub/same.jpg"];
    let clusters = clusters(&out);
    assert_eq!(clusters[0], clusters[3]);
    for (name, cluster) in names.iter().zip(&clusters) {
        let link = out.join("clusters").join(cluster).join(name);
        assert_eq!(fs::read(&link).unwrap(), fs::read(folder.path("in").join(name)).unwrap(), "{name}");
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }
    // Repeated, with copies: what was laid out is no input, and the folder is replaced.
    expect(3, &["--data", &data, "--out", out.to_str().unwrap(), "--copy"]);
    assert_eq!(assignments(&out), lines);
    let copied = out.join("clusters").join(&clusters[0]).join(names[0]);
    assert!(copied.symlink_metadata().unwrap().is_file());
    // Whoever names a folder of results as the collection means it.
    expect(0, &["--data", &folder.text("in/out/clusters"), "--out", &folder.text("again")]);
    assert_eq!(assignments(&folder.path("again")).len(), 4);
    // What somebody has put into it is not replaced.
    fs::write(out.join("clusters").join(&clusters[0]).join("notes.txt"), "mine").unwrap();
    let error = expect(2, &["--data", &data, "--out", out.to_str().unwrap(), "--copy"]);
    assert!(error.contains("notes.txt"), "{error}");

    // New images join; the wrong kind of input is told.
    let checkpoint = out.join("clusters.safetensors");
    let checkpoint = checkpoint.to_str().unwrap();
    copy_images(&folder, &[("balloon_red", "new/x.jpg")]);
    let (new, joined) = (folder.text("new"), folder.text("joined"));
    expect(0, &["--ckpt", checkpoint, "--data", &new, "--out", &joined]);
    assert_eq!(self::clusters(&folder.path("joined")), [clusters[0].clone()]);
    write_npy(&folder.path("v.npy"), 1, &[1.0, 2.0]);
    expect(2, &["--ckpt", checkpoint, "--data", &new, "--features", &folder.text("v.npy"), "--out", &joined]);
    expect(2, &["--ckpt", checkpoint, "--data", &new, "--out", &joined, "--alpha", "2"]);
    let mut damaged = fs::read(checkpoint).unwrap();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::write(folder.path("damaged"), damaged).unwrap();
    let error = expect(4, &["--ckpt", &folder.text("damaged"), "--data", &new, "--out", &joined]);
    assert!(error.contains("checksum"), "{error}");
}

#[test]
fn one_image_and_equal_images_are_one_cluster() {
    let folder = Folder::new();
    for count in 1..=3 {
        copy_images(&folder, &[("sheep", &format!("in/{count}.jpg"))]);
        let (data, out) = (folder.text("in"), folder.text("out"));
        expect(0, &["--data", &data, "--out", &out]);
        assert_eq!(summary(&folder.path("out"))["sizes"], Value::from(vec![count]), "{count} images");
    }
}

/// A number without a pattern for every index.
fn scrambled(index: u32) -> u32 {
    let mixed = (index ^ (index >> 16)).wrapping_mul(0x7feb_352d);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x846c_a68b);
    mixed ^ (mixed >> 16)
}

/// What `summary.json` and `report.html` in `out` say against the clusters; they agree.
fn doubts(out: &Path) -> Vec<String> {
    let found = summary(out)["doubts"].as_array().unwrap().clone();
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert_eq!(report.matches("<p class=\"warning\">").count(), found.len());
    found.iter().map(|doubt| doubt.as_str().unwrap().to_string()).collect()
}

#[test]
fn a_limit_that_is_reached_is_told_and_none_is_set_unasked() {
    let folder = Folder::new();
    write_npy(&folder.path("v.npy"), 240, &groups(12, 240));
    let (features, out) = (folder.text("v.npy"), folder.text("out"));
    let arguments = ["--features", &features, "--out", &out];
    let said = expect(0, &arguments);
    assert!(said.contains("restarts agree: 1.00 of 1, the groups are stable") && !said.contains("warning"), "{said}");
    let found = summary(&folder.path("out"));
    assert_eq!((&found["clusters"], &found["at_most"], &found["limited"]), (&12.into(), &Value::Null, &false.into()));
    assert_eq!((found["restart_agreement"].as_f64(), doubts(&folder.path("out"))), (Some(1.0), vec![]));

    for method in ["correlation", "spectral"] {
        let said = expect(0, &[&arguments[..], &["--clusters", "8", "--method", method]].concat());
        let found = summary(&folder.path("out"));
        if found["clusters"] != 8 {
            // Where the largest gap lies below the limit, nothing was cut off.
            assert_eq!((method, &found["limited"]), ("spectral", &false.into()));
            continue;
        }
        assert!(said.contains("warning: as many clusters were found as --clusters allows (8)"), "{said}");
        assert_eq!((&found["at_most"], &found["limited"]), (&8.into(), &true.into()));
        assert!(doubts(&folder.path("out")).contains(&"limited".to_string()));
    }
    // k-means finds as many as it is told.
    expect(0, &[&arguments[..], &["--clusters", "12", "--method", "kmeans"]].concat());
    assert_eq!(summary(&folder.path("out"))["limited"], false);
}

#[test]
fn where_there_is_nothing_to_find_it_is_said() {
    let folder = Folder::new();
    let out = folder.text("out");
    for (name, count, doubt) in [
        ("one", 1, "too_few"),
        ("two", 2, "too_few"),
        ("black", 40, "equal"),
        ("equal", 40, "equal"),
        ("noise", 40, "alike"),
    ] {
        for frame in 0..count {
            write_png(&folder.path(&format!("{name}/{frame}.png")), 48, 32, |x, y| match name {
                "black" => [0; 3],
                "noise" | "two" => [0, 1, 2].map(|band| scrambled(((frame * 32 + y) * 48 + x) * 3 + band) as u8),
                _ => [(x * 5) as u8, (y * 7) as u8, 99],
            });
        }
        let said = expect(0, &["--data", &folder.text(name), "--out", &out]);
        assert!(said.contains("warning: "), "{name}: {said}");
        assert_eq!(doubts(&folder.path("out"))[0], doubt, "{name}: {said}");
        assert_eq!(assignments(&folder.path("out")).len(), count as usize);
    }
    let noise = |index: u32| (0..8).map(|part| scrambled(index * 8 + part) as f32 / u32::MAX as f32 - 0.5).sum();
    write_npy(&folder.path("v.npy"), 120, &(0..120 * 64).map(noise).collect::<Vec<f32>>());
    let features = folder.text("v.npy");
    for (method, doubt) in
        [("correlation", "unstable"), ("spectral", "no_gap"), ("kmeans", "unstable"), ("components", "one_cluster")]
    {
        let mut arguments = vec!["--features", &features, "--out", &out, "--method", method];
        if method == "kmeans" {
            arguments.extend(["--clusters", "6"]);
        }
        let said = expect(0, &arguments);
        let found = doubts(&folder.path("out"));
        assert!(said.contains("warning: ") && found.iter().any(|found| found == doubt), "{method}: {found:?} {said}");
    }
}

#[test]
fn a_folder_that_no_run_laid_out_is_never_replaced() {
    let folder = Folder::new();
    copy_images(&folder, &[("sheep", "in/1.jpg")]);
    fs::create_dir_all(folder.path("out/clusters")).unwrap();
    fs::write(folder.path("out/clusters/mine.txt"), "mine").unwrap();
    let error = expect(2, &["--data", &folder.text("in"), "--out", &folder.text("out"), "--copy"]);
    assert!(error.contains("not known to be deepcut's"), "{error}");
    assert_eq!(fs::read_to_string(folder.path("out/clusters/mine.txt")).unwrap(), "mine");
}

#[test]
fn labels_are_read_as_tables_come_and_matched_by_the_ends_of_paths() {
    let folder = Folder::new();
    for number in 0..8u8 {
        let colour = [40 * (number / 2), 60 * (number % 4), 90];
        write_png(&folder.path(&format!("in/g{number}.png")), 40 + u32::from(number), 30, |_, _| colour);
    }
    let (images, out, labels) = (folder.text("in"), folder.text("out"), folder.text("labels.csv"));
    let kmeans = ["--data", &images, "--out", &out, "--labels", &labels, "--method", "kmeans", "--clusters", "2"];
    let table = |header: &str, row: &str| -> String {
        let rows = "aabbccdd".chars().enumerate();
        let row = |(number, class): (usize, char)| {
            row.replace("NAME", &format!("g{number}.png")).replace("CLASS", &class.to_string())
        };
        header.chars().chain(rows.flat_map(|at| row(at).chars().collect::<Vec<_>>())).collect()
    };
    for (header, row, guess) in [
        ("filename,label\n", "NAME,CLASS\n", None),
        ("filename;label\n", "NAME;CLASS\n", None),
        ("label\tpath\n", "CLASS\tNAME\n", None),
        ("Filename , Label\n", "NAME , CLASS\n", None),
        ("filename,label\r\n", "images\\NAME,CLASS\r\n", None),
        ("filename,label\n", "/data/x/NAME,CLASS\n", None),
        ("image_id,x,label\n", "NAME,1,CLASS\n", None),
        ("", "NAME,CLASS\n", Some("its first line, g0.png,a, was taken for an image")),
        ("filename,label\n", "NAME,\u{e9}CLASS\n", Some("was read as windows-1252")),
    ] {
        // As bytes of one character each.
        let bytes: Vec<u8> = table(header, row).chars().map(|character| character as u8).collect();
        fs::write(folder.path("labels.csv"), bytes).unwrap();
        let said = expect(0, &kmeans);
        let guesses: Vec<&str> =
            said.lines().filter(|line| line.starts_with("warning:") && line.contains("labels.csv")).collect();
        assert_eq!(guesses.len(), usize::from(guess.is_some()), "{row:?}: {said}");
        assert!(guess.is_none_or(|guess| guesses[0].contains(guess)), "{row:?}: {said}");
        let found = summary(&folder.path("out"));
        let counts = ["labelled", "unknown_labels", "classes"].map(|key| found[key].as_u64());
        assert_eq!(counts, [8, 0, 4].map(Some), "{row:?}");
    }
    fs::create_dir_all(folder.path("in/more")).unwrap();
    fs::copy(folder.path("in/g0.png"), folder.path("in/more/g0.png")).unwrap();
    fs::write(folder.path("labels.csv"), "file,label\nold/g0.png,a\ng1.png,b\n").unwrap();
    assert!(expect(0, &kmeans).contains("1 of them could be of several images, the first of old/g0.png"));
}

#[test]
fn bad_vectors_and_labels_are_named() {
    let folder = Folder::new();
    let good = groups(3, 12);
    let (features, out, labels) = (folder.text("v.npy"), folder.text("out"), folder.text("labels.csv"));
    copy_images(&folder, &[("sheep", "in/1.jpg")]);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = good.clone();
        values[9] = bad;
        write_npy(&folder.path("v.npy"), 12, &values);
        let error = expect(4, &["--features", &features, "--out", &out]);
        assert!(error.contains("vector 2") && error.contains("v.npy"), "{error}");
    }
    write_npy(&folder.path("v.npy"), 12, &good);
    let error = expect(4, &["--features", &features, "--data", &folder.text("in"), "--out", &out]);
    assert!(error.contains("12 vectors for 1 images"), "{error}");
    expect(2, &["--features", &features, "--out", &out, "--link"]);
    expect(2, &["--features", &folder.text("nowhere.npy"), "--out", &out]);
    expect(2, &["--features", &features, "--out", &out, "--alpha", "0.5"]);

    let with_labels = |text: &str, column: &[&str], code: i32| {
        fs::write(folder.path("labels.csv"), text).unwrap();
        let arguments = ["--features", &features, "--out", &out, "--epochs", "5", "--labels", &labels];
        expect(code, &[&arguments[..], column].concat())
    };
    let error = with_labels("id,kind\n1,a\n", &["--label-column", "colour"], 2);
    assert!(error.contains("colour") && error.contains("id, kind"), "{error}");
    assert!(with_labels("id,kind\nnobody,a\n", &[], 2).contains("no name"));
    assert!(with_labels("id,kind\n1,a,b\n", &[], 4).contains("row 2"));
    assert!(with_labels("id,kind\n1,a\n1,b\n", &[], 4).contains("more than one class"));
    let said = with_labels("id,kind\n1,a\n2,b\nnobody,c\n", &[], 0);
    assert!(said.contains("1 label is of no single image"), "{said}");
    let found = summary(&folder.path("out"));
    assert_eq!(
        (&found["labelled"], &found["unlabelled"], &found["unknown_labels"]),
        (&2.into(), &10.into(), &1.into())
    );
}
