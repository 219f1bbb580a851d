//! `deepcut features` as a process: one matrix for other tools, and an index that says which rows are of which image.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use deepcut::config::{Purpose, resolve};
use deepcut::features::{Backbone, BackboneSettings, read_vectors};
use deepcut::nodes::Layout;
use deepcut::pixels::{DecodeConfig, ImageContent};
use deepcut::raster::RgbImage;
use deepcut::tensor;
use deepcut::weights::WeightsFile;
use serde_json::Value;

use crate::drive::{TINY_VIT, disc, expect, expect_error, path_text, program, project, run, text, write_png};

fn features<'a>(data: &'a Path, out: &'a Path, further: &[&'a str]) -> Vec<&'a str> {
    [&["features", "--data", path_text(data), "--out", path_text(out), "--threads", "2"], further].concat()
}

/// The lines of the index beside a file of features.
fn index(out: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(format!("{}.index.jsonl", out.display())).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The backbone of these settings, as the library makes it.
fn backbone(overrides: &[&str]) -> Backbone {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let resolved = resolve(None, &overrides).unwrap().resolve(Purpose::Train, false, None).unwrap();
    let (entry, settings) = (resolved.backbone(), BackboneSettings::from(resolved.settings()));
    if !entry.needs_weights() {
        return Backbone::without_weights(entry, &settings);
    }
    let file = WeightsFile::read(&project("tests/golden/tiny_vit.pth")).unwrap();
    Backbone::with_weights(entry, &settings, &file, &tensor::cpu()).unwrap()
}

/// Images of several shapes, in the order of their paths.
fn images(data: &Path) -> Vec<(String, RgbImage)> {
    let shapes = [("a.png", 80, 60), ("b/c.png", 60, 90), ("b/d.png", 50, 50), ("e.png", 120, 40)];
    let image = |(name, width, height): (&str, u32, u32)| {
        write_png(&data.join(name), width, height, disc);
        let limits = DecodeConfig::default();
        let image = ImageContent::read(&data.join(name), None, &limits).unwrap().decode(&limits).unwrap();
        (name.to_string(), image.image.clone())
    };
    shapes.map(image).to_vec()
}

#[test]
fn the_file_holds_what_the_extractor_gives_and_the_index_says_of_which_image() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let images = images(&data);
    let weights = project("tests/golden/tiny_vit.pth");
    let vit = ["vit.head_width=8", "vit.resize=short", "vit.input_side=24"];
    let of_vit = [&["--weights", path_text(&weights), "--resize", "short:24"][..], &TINY_VIT[2..]].concat();
    for (name, dtype, described, settings) in [
        ("v.npy", "f32", "patches", &vit[..]),
        ("v.safetensors", "f32", "patches", &vit),
        ("h.npy", "f16", "patches", &vit),
        ("h.safetensors", "f16", "images", &vit),
        ("s.npy", "f32", "patches", &[]),
        ("s.safetensors", "f32", "images", &[]),
    ] {
        let out = folder.path().join("made").join(name);
        let deep = !settings.is_empty();
        let further =
            [&["--of", described, "--dtype", dtype, "--json"][..], if deep { &of_vit[..] } else { &[] }].concat();
        let said: Value = serde_json::from_str(&expect(0, &features(&data, &out, &further))).unwrap();
        let named = if deep { "backbone=vit" } else { "backbone=superpixel" };
        let backbone = backbone(&[&[named][..], settings].concat());
        let (mut values, mut lines) = (Vec::new(), Vec::new());
        for (name, image) in &images {
            let (found, layout) = match described {
                "images" => (backbone.extractor.image_vector(image, None), None),
                _ => {
                    let nodes = backbone.extractor.extract(image);
                    (nodes.values, Some(nodes.layout))
                }
            };
            let rows = layout.as_ref().map_or(1, Layout::nodes);
            let grid = match layout {
                Some(Layout::Grid { rows, columns }) => serde_json::json!([rows, columns]),
                _ => Value::Null,
            };
            let before: u64 = lines.iter().map(|(_, rows, _): &(&String, usize, Value)| *rows as u64).sum();
            let line = &index(&out)[lines.len()];
            assert_eq!((line["path"].as_str(), line["first_row"].as_u64()), (Some(name.as_str()), Some(before)));
            assert_eq!((line["rows"].as_u64(), &line["grid"]), (Some(rows as u64), &grid), "{name}");
            values.extend(found);
            lines.push((name, rows, grid));
        }
        let file = read_vectors(&out).unwrap();
        assert_eq!(file.values.len(), values.len(), "{}", out.display());
        let tolerance = if dtype == "f16" { 1e-3 } else { 0.0 };
        let close = |(found, value): (&f32, &f32)| (found - value).abs() <= tolerance * value.abs().max(1.0);
        assert!(file.values.iter().zip(&values).all(close), "{}", out.display());
        assert_eq!(
            (said["rows"].as_u64(), said["images"].as_u64()),
            (Some((values.len() / file.width) as u64), Some(4))
        );
        assert_eq!((said["width"].as_u64(), index(&out).len()), (Some(file.width as u64), 4));
    }
    // Nothing is left of the way there, and all of it is known for what it is.
    let made = folder.path().join("made");
    let left = |path: &str| fs::read_dir(&made).unwrap().any(|entry| path_text(&entry.unwrap().path()).contains(path));
    assert!(!left(".partial") && left("v.npy.index.jsonl"));
    assert!(expect(0, &["verify", path_text(&made)]).contains("12 files as written"));
}

#[test]
fn a_killed_run_goes_on_and_gives_the_bytes_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    for entry in fs::read_dir(project("demonstration/images")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, data.join(path.file_name().unwrap())).unwrap();
    }
    fs::write(data.join("a bad one.jpg"), "no image").unwrap();
    let (whole, killed) = (folder.path().join("whole/f.npy"), folder.path().join("killed/f.npy"));
    expect(3, &features(&data, &whole, &[]));
    let contents = |out: &Path| (fs::read(out).unwrap(), index(out));

    let journal = folder.path().join("killed/f.npy.partial.jsonl");
    let lines = || fs::read_to_string(&journal).unwrap_or_default().lines().count();
    let kill = || {
        let mut child = program(&features(&data, &killed, &["--quiet"])).spawn().unwrap();
        let began = Instant::now();
        while lines() < 6 && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(lines() >= 6 && !killed.exists(), "killed after {} lines", lines());
    };
    let resumed = || {
        let output = run(&features(&data, &killed, &["--json"]));
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["skipped"].as_array().unwrap().len(), 1);
        said["resumed"].as_u64().unwrap()
    };
    kill();
    assert!((4..24).contains(&resumed()));
    assert_eq!(contents(&killed), contents(&whole));

    // What has changed since is described anew, with all that comes after it.
    fs::remove_file(&killed).unwrap();
    kill();
    let second = index(&whole)[1]["path"].as_str().unwrap().to_string();
    write_png(&data.join("other.png"), 80, 60, disc);
    fs::rename(data.join("other.png"), data.join(second)).unwrap();
    assert_eq!(resumed(), 1);
    expect(3, &features(&data, &whole, &[]));
    assert_eq!(contents(&killed), contents(&whole));

    // Other settings share nothing with what was left.
    fs::remove_file(&killed).unwrap();
    kill();
    let other = ["--of", "images", "--json"];
    let said: Value = serde_json::from_str(&expect(3, &features(&data, &killed, &other))).unwrap();
    assert_eq!((said["resumed"].as_u64(), said["rows"].as_u64()), (Some(0), Some(24)));
}

#[test]
fn vectors_of_images_are_grouped_under_the_names_of_their_images() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out, groups) =
        (project("demonstration/images"), folder.path().join("v.npy"), folder.path().join("groups"));
    expect(0, &features(&data, &out, &["--of", "images"]));
    let names: Vec<String> = index(&out).iter().map(|line| line["path"].as_str().unwrap().to_string()).collect();
    let cluster = ["cluster", "--features", path_text(&out), "--out", path_text(&groups)];
    for further in [&[][..], &["--data", path_text(&data)]] {
        expect(0, &[&cluster[..], further].concat());
        let table = fs::read_to_string(groups.join("assignments.csv")).unwrap();
        let found: Vec<&str> = table.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(found, names);
    }
}

#[test]
fn bad_images_and_files_in_the_way_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("f.npy"));
    images(&data);
    fs::write(data.join("bad.jpg"), "no image").unwrap();
    let output = run(&features(&data, &out, &[]));
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("bad.jpg"), "{}", text(&output.stderr));
    assert_eq!(index(&out).len(), 4);
    // What was finished stays.
    let rows = fs::read(&out).unwrap();
    assert!(expect_error(4, &features(&data, &out, &["--max-bad", "0.1"])).contains("--max-bad"));
    assert_eq!(fs::read(&out).unwrap(), rows);

    let mine = folder.path().join("mine.npy");
    fs::write(&mine, "mine").unwrap();
    for (out, code, expected) in [
        (mine.clone(), 2, "not known to be deepcut's"),
        (folder.path().join("f.csv"), 2, "--out"),
        (folder.path().join("f.npy/x.npy"), 5, "f.npy"),
    ] {
        let said = expect_error(code, &features(&data, &out, &[]));
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    fs::write(data.join("bad only.txt"), path_text(&data.join("bad.jpg"))).unwrap();
    let nothing = folder.path().join("nothing.npy");
    expect_error(4, &features(&data.join("bad only.txt"), &nothing, &[]));
    assert!(!nothing.exists() && !folder.path().join("nothing.npy.partial").exists());

    // A file of features on which somebody has worked since is not replaced.
    let mut changed = rows.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&out, &changed).unwrap();
    assert!(expect_error(2, &features(&data, &out, &[])).contains("was changed since"));
    assert_eq!(fs::read(&out).unwrap(), changed);
}
