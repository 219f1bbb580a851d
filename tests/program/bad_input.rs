//! The program with input that is wrong, broken or odd: what it says, what it skips, and the code it ends with.

use std::fs;
use std::path::Path;
use std::process::Command;

use deepcut::output::read_mask;
use serde_json::Value;

use crate::drive::{
    TINY_VIT, disc, expect, expect_error, path_text, predictions, program, project, run, text, train_demonstration,
    write_png,
};

#[test]
fn bad_images_are_listed_and_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_png(&data.join("deep/er/good.png"), 80, 60, disc);
    write_png(&data.join("flat.png"), 33, 21, |_, _| [90, 90, 90]);
    write_png(&data.join("one pixel.png"), 1, 1, |_, _| [1, 2, 3]);
    write_png(&data.join("long.png"), 10_000, 20, disc);
    write_png(&data.join("twin.png"), 20, 20, disc);
    let twin = fs::read(data.join("twin.png")).unwrap();
    fs::write(data.join("twin.jpeg"), &twin).unwrap();
    write_png(&data.join(".hidden/no.png"), 20, 20, disc);
    write_png(&data.join("ignored/no.png"), 20, 20, disc);
    fs::write(data.join(".deepcutignore"), "ignored/\n").unwrap();
    fs::write(data.join("text.jpg"), "this is no image\n").unwrap();
    fs::write(data.join("empty.png"), "").unwrap();
    let good = fs::read(data.join("deep/er/good.png")).unwrap();
    fs::write(data.join("truncated.png"), &good[..good.len() / 2]).unwrap();
    fs::write(data.join("notes.txt"), "not an image by name\n").unwrap();
    // A header of 60000 × 60000 pixels, with a right checksum, in a file of a few bytes.
    let mut enormous = Vec::new();
    let mut encoder = png::Encoder::new(&mut enormous, 60_000, 60_000);
    encoder.set_color(png::ColorType::Rgb);
    drop(encoder.write_header().unwrap());
    fs::write(data.join("enormous.png"), &enormous).unwrap();

    let out = folder.path().join("run");
    let arguments = ["train", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "5"];
    let output = run(&arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    let bad = ["empty.png", "enormous.png", "text.jpg", "truncated.png"];
    for name in bad {
        let count = error.lines().filter(|line| line.starts_with("skipped:") && line.contains(name)).count();
        assert_eq!(count, 1, "{name} in\n{error}");
    }
    assert_eq!(error.lines().filter(|line| line.starts_with("skipped:")).count(), bad.len(), "{error}");

    let masks = folder.path().join("out");
    let checkpoint = out.join("best.safetensors");
    expect(3, &["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&masks)]);
    let predictions = predictions(&masks);
    let skipped = predictions.values().filter(|line| line["status"] == "skipped");
    assert!(skipped.clone().all(|line| !line["reason"].as_str().unwrap().is_empty()));
    assert_eq!(skipped.count(), bad.len());
    for (name, width, height) in
        [("deep/er/good.png", 80, 60), ("flat.png", 33, 21), ("one pixel.png", 1, 1), ("long.png", 10_000, 20)]
    {
        assert_ne!(predictions[name]["status"], "skipped", "{name}");
        let mask = read_mask(&masks.join("masks").join(name)).unwrap();
        assert_eq!((mask.width, mask.height), (width, height), "{name}");
    }
    assert_eq!(predictions["flat.png"]["status"], "one_cluster");
    assert!(!masks.join("masks/ignored").exists() && !masks.join("masks/.hidden").exists());
}

#[test]
fn collections_with_nothing_to_find_are_said() {
    let warnings = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}\n{}", text(&output.stderr));
        text(&output.stderr)
    };
    let folder = tempfile::tempdir().unwrap();
    let weights = project("tests/golden/tiny_vit.pth");
    let vit = [&["--weights", path_text(&weights)][..], TINY_VIT].concat();
    // Two images; a dozen times the same; a dozen black frames.
    for (name, images, expected) in
        [("two", 2, "2 images are too few"), ("equal", 12, "same content"), ("black", 12, "look at the masks")]
    {
        let data = folder.path().join(name);
        for image in 0..images {
            let path = data.join(format!("{image}.png"));
            match name {
                "two" => write_png(&path, 60 + image, 50, disc),
                "equal" => write_png(&path, 60, 50, disc),
                _ => write_png(&path, 40 + image, 30, |_, _| [0; 3]),
            }
        }
        for (backbone, further) in [("superpixel", &[][..]), ("vit", &vit[..])] {
            let run = folder.path().join(format!("{name} {backbone}"));
            let out = run.join("results");
            let train = ["train", "--data", path_text(&data), "--out", path_text(&run), "--epochs", "10"];
            let said = warnings(&[&train[..], further].concat());
            assert!(said.contains(expected), "{name}, {backbone}: {expected} is not in\n{said}");
            if name != "black" {
                continue;
            }
            let checkpoint = run.join("best.safetensors");
            let weights = &further[..further.len().min(2)];
            let infer =
                ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&out)];
            let segment = ["segment", "--data", path_text(&data), "--out", path_text(&out), "--overwrite"];
            for arguments in [[&infer[..], weights].concat(), [&segment[..], further].concat()] {
                let said = warnings(&arguments);
                let found = predictions(&out);
                let undivided = found.values().filter(|line| line["status"] == "one_cluster").count();
                let warned = said.contains("lie in one cluster as a whole");
                assert_eq!(warned, undivided > 1, "{backbone}: {undivided} of {images} in\n{said}");
                assert!(backbone == "vit" || undivided == images as usize, "{backbone}: {undivided} in\n{said}");
            }
        }
    }
}

#[test]
fn wrong_usage_is_one_line_and_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let bad_config = folder.path().join("bad.toml");
    fs::write(&bad_config, "[train]\nepoch = 3\n").unwrap();
    let data = project("demonstration/images");
    let (data, empty, bad_config) = (path_text(&data), path_text(&empty), path_text(&bad_config));
    let out = folder.path().join("out");
    let out = path_text(&out);
    let cases: &[(&[&str], &str)] = &[
        (&["train", "--data", "/no/such/folder", "--out", out], "/no/such/folder"),
        (&["train", "--data", empty, "--out", out], "no image"),
        (&["train", "--data", data, "--out", out, "--clusters", "1"], "clusters"),
        (&["train", "--data", data, "--out", out, "--config", "/no/such.toml"], "/no/such.toml"),
        (&["train", "--data", data, "--out", out, "--config", bad_config], "epoch"),
        (&["train", "--data", data, "--out", out, "--set", "trian.epochs=3"], "trian"),
        (&["train", "--data", data, "--out", out, "--set", "trian=default"], "trian"),
        (
            &["train", "--data", data, "--out", out, "--set", "train.epochs"],
            "error: --set train.epochs: write it as key=value, for example --set train.epochs=20",
        ),
        (
            &["train", "--data", data, "--out", out, "--epochs", "0"],
            "error: train.epochs must be from 1 to 1000000, not 0",
        ),
        (
            &["cluster", "--data", data, "--out", out, "--alpha", "0.5"],
            "error: [cluster] setting `alpha` is 0.5; give it a value from 1 to 1000000",
        ),
        (&["config", "trian"], "train, segment"),
        (&["train", "--data", data, "--out", out, "--backbone", "vit"], "--weights"),
        (&["train", "--data", data, "--out", out, "--weights", "/no/such.pth"], "/no/such.pth"),
        (&["train", "--data", data, "--out", out, "--backbone", "pixel", "--weights", bad_config], "no weights"),
        (&["infer", "--ckpt", "/no/such.safetensors", "--data", data, "--out", out], "/no/such.safetensors"),
        (&["inspect", "/no/such.safetensors"], "/no/such.safetensors"),
        (&["train", "--data", data, "--out", out, "--threads", "100000"], "--threads"),
        (&["backbone", "--install", bad_config], ".pth"),
        (&["train", "--data", data, "--out", out, "--backbone", "pixel", "--precision", "bf16"], "--precision"),
    ];
    for (arguments, expected) in cases {
        let error = expect_error(2, arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    for arguments in [&["train"][..], &["train", "--data", data, "--sett", "x"], &["nonsense"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    expect(0, &["--help"]);
    expect(0, &["--version"]);
    assert!(expect(0, &["completions", "bash"]).contains("deepcut"));
    assert!(expect(0, &["backbone"]).contains("/nonexistent"));
    let rooms = expect(0, &["config"]);
    assert!(rooms.starts_with("  backbone  auto  choice\n") && rooms.contains("\n\n[train] How"), "{rooms}");
    let keys: Value = serde_json::from_str(&expect(0, &["config", "train", "--json"])).unwrap();
    assert_eq!(keys["train.epochs"]["default"], 60);
    assert!(keys.get("segment.epochs").is_none());
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_build_without_cuda_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = project("demonstration/images");
    let error = expect_error(
        2,
        &["cluster", "--data", path_text(&data), "--out", path_text(folder.path()), "--device", "cuda"],
    );
    assert!(error.contains("--features cuda") && error.contains("--device cpu"), "{error}");
}

#[test]
fn a_gpu_is_refused_where_nothing_is_computed_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = project("demonstration/images");
    let out = folder.path().join("out.npy");
    for command in ["train", "segment", "features"] {
        let on_gpu = ["--backbone", "superpixel", "--device", "cuda"];
        let arguments = [command, "--data", path_text(&data), "--out", path_text(&out)];
        let error = expect_error(2, &[&arguments[..], &on_gpu].concat());
        assert!(error.contains("computes nothing on a GPU; leave out --device cuda"), "{command}: {error}");
    }
}

#[test]
fn broken_checkpoints_and_weights_are_code_4() {
    let folder = tempfile::tempdir().unwrap();
    let data = project("demonstration/images");
    let out = folder.path().join("out");
    let checkpoint = train_demonstration(&folder.path().join("run"), &["--epochs", "2"]);
    let good = fs::read(&checkpoint).unwrap();
    let bad = folder.path().join("bad.safetensors");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let foreign = project("tests/golden/vit_p16_s16.safetensors");
    let cases = [good[..good.len() - 7].to_vec(), flipped, Vec::new(), b"hello".to_vec(), fs::read(foreign).unwrap()];
    for bytes in cases {
        fs::write(&bad, &bytes).unwrap();
        let infer = ["infer", "--ckpt", path_text(&bad), "--data", path_text(&data), "--out", path_text(&out)];
        let error = expect_error(4, &infer);
        assert!(error.contains("bad.safetensors"), "{error}");
        expect_error(4, &["inspect", path_text(&bad)]);
    }
    assert!(!out.exists(), "nothing is written for a broken checkpoint");

    // Weights: no ViT.
    fs::write(&bad, &good).unwrap();
    let train = ["train", "--data", path_text(&data), "--out", path_text(&out), "--weights", path_text(&bad)];
    expect_error(4, &train);
    // What is given in place of weights is refused by what it is, with what to do.
    for (text, advice) in [
        ("hello", "fetch it again"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        ("<!DOCTYPE html><html>Sign in</html>", "a web page"),
    ] {
        fs::write(&bad, text).unwrap();
        let error = expect_error(4, &train);
        assert!(error.contains(advice) && error.contains("bad.safetensors"), "{error}");
    }
}

#[test]
fn a_checkpoint_insists_on_its_own_weights() {
    let folder = tempfile::tempdir().unwrap();
    let data = project("demonstration/images");
    let weights = project("tests/golden/tiny_vit.pth");
    let mut arguments = vec!["--weights", path_text(&weights), "--epochs", "3"];
    arguments.extend(TINY_VIT);
    let checkpoint = train_demonstration(&folder.path().join("run"), &arguments);
    let out = folder.path().join("out");
    let infer = ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&out)];
    assert!(expect_error(2, &infer).contains("--weights"));
    let other = project("tests/golden/tiny_vit_nested.pth");
    let with = |weights: &Path| -> Vec<String> {
        infer.iter().map(|part| part.to_string()).chain(["--weights".into(), path_text(weights).into()]).collect()
    };
    let error = expect_error(4, &with(&other).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("blake3"), "{error}");
    expect(0, &with(&weights).iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(predictions(&out).len(), 24);

    // What was made in one precision is not taken for what another gives.
    let segmented_in = |precision: &str| -> Option<u64> {
        let mut arguments = with(&weights);
        arguments.extend(["--precision".into(), precision.into(), "--json".into()]);
        let output = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        if !output.status.success() {
            assert!(text(&output.stderr).contains("AVX-512 BF16"), "{}", text(&output.stderr));
            return None;
        }
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["segmented"].as_u64()
    };
    assert_eq!(segmented_in("f32"), Some(0));
    if let Some(segmented) = segmented_in("bf16") {
        assert_eq!((segmented, segmented_in("bf16")), (24, Some(0)));
    }
    assert_eq!((segmented_in("int8"), segmented_in("int8")), (Some(24), Some(0)));

    // Images of many shapes make graphs of many sizes.
    let mut further = arguments.clone();
    further.extend(["--resize", "short:24", "--set", "vit.log_bins=true"]);
    let checkpoint = train_demonstration(&folder.path().join("short"), &further);
    let json: Value = serde_json::from_str(&expect(0, &["inspect", path_text(&checkpoint), "--json"])).unwrap();
    assert_eq!(json["objects"]["network"]["input"], 17 * 8);
    let odd = folder.path().join("odd");
    write_png(&odd.join("one pixel.png"), 1, 1, disc);
    write_png(&odd.join("long.png"), 10_000, 20, disc);
    write_png(&odd.join("disc.png"), 80, 60, disc);
    for (resize, code) in
        [("keep", 0), ("short:16", 0), ("square:24", 0), ("square:4096", 4), ("short:x", 2), ("square", 2)]
    {
        let out = folder.path().join(resize);
        let mut segment =
            vec!["segment", "--data", path_text(&odd), "--out", path_text(&out), "--weights", path_text(&weights)];
        segment.extend(TINY_VIT);
        segment.extend(["--resize", resize, "--epochs", "2", "--set", "vit.maximum_nodes=300"]);
        assert_eq!(run(&segment).status.code(), Some(code), "{resize}");
        if code == 0 {
            for (name, width, height) in [("one pixel", 1, 1), ("long", 10_000, 20), ("disc", 80, 60)] {
                let mask = read_mask(&out.join("masks").join(name).with_extension("png")).unwrap();
                assert_eq!((mask.width, mask.height), (width, height), "{resize} {name}");
            }
        }
    }

    // Installed weights are found without being named.
    let home = folder.path().join("home");
    let installed = |arguments: &[&str]| program(arguments).env("DEEPCUT_HOME", &home).output().unwrap();
    assert!(installed(&["backbone", "--install", path_text(&weights)]).status.success());
    let again = folder.path().join("again");
    let output =
        installed(&["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&again)]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn results_inside_the_collection_are_no_input() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = train_demonstration(&folder.path().join("run"), &["--epochs", "5"]);
    for out in ["data", "data/deep/results"] {
        let data = folder.path().join("data");
        write_png(&data.join("disc.png"), 80, 60, disc);
        write_png(&data.join("deep/disc.png"), 80, 60, disc);
        let out = folder.path().join(out);
        let infer = ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&out)];
        assert!(expect(0, &infer).contains("segmented 2 images"), "{}", out.display());
        assert!(expect(0, &infer).contains("2 already done"), "{}", out.display());
        fs::remove_dir_all(&data).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_are_names_all_the_same() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let odd = |name: &[u8]| folder.path().join(std::ffi::OsStr::from_bytes(name));
    let data = odd(b"d\xffta");
    write_png(&data.join(std::ffi::OsStr::from_bytes(b"d\xe9sc.png")), 80, 60, disc);
    fs::write(data.join(std::ffi::OsStr::from_bytes(b"b\xe4d.jpg")), "no image").unwrap();
    let out = odd(b"o\xfft");
    let run = |command: &str, further: &[&Path]| {
        let mut arguments = Command::new(env!("CARGO_BIN_EXE_deepcut"));
        arguments.args([command, "--json", "--data"]).arg(&data).arg("--out").arg(&out).args(further);
        let output = arguments.env("DEEPCUT_HOME", "/nonexistent").output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(run("train", &[Path::new("--epochs"), Path::new("2")])["images"], 1);
    assert_eq!(run("infer", &[Path::new("--ckpt"), &out.join("best.safetensors")])["segmented"], 1);
}
