//! The program as a process: what it writes, says and returns, with good and with bad input.

mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use deepcut::output::read_mask;
use deepcut::raster::Raster;
use program::{
    disc, expect, expect_error, path_text, predictions, program, project, run, text, train_demonstration, write_png,
};
use serde_json::Value;

/// What superpixels do not do by themselves.
const SELF_TRAINING: [&str; 2] = ["--set", "train.self_training=true"];

#[test]
fn trains_infers_and_tells_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = train_demonstration(&folder.path().join("run"), &[]);
    let out = folder.path().join("masks of a demonstration");
    let data = project("demonstration/images");
    let infer = ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&out)];
    let said = expect(0, &infer);
    assert!(said.lines().next().unwrap().contains("superpixel"), "{said}");
    assert!(said.lines().last().unwrap().contains("24 images"), "{said}");

    let mut total = 0.0;
    let predictions = predictions(&out);
    assert_eq!(predictions.len(), 24);
    for (path, prediction) in &predictions {
        assert_eq!(prediction["status"], "done");
        let name = Path::new(path).with_extension("png");
        let mask = read_mask(&out.join("masks").join(&name)).unwrap();
        let truth = read_mask(&project("demonstration/masks").join(&name)).unwrap();
        assert_eq!((mask.width, mask.height), (truth.width, truth.height), "{path}");
        assert_eq!(prediction["width"], mask.width);
        let foreground = mask.values.iter().filter(|value| **value > 0).count();
        assert_eq!(prediction["foreground_area_px"], foreground);
        let [left, top, width, height] = [0, 1, 2, 3].map(|i| prediction["box"][i].as_u64().unwrap() as usize);
        let outside = |index: usize| {
            let (x, y) = (index % mask.width, index / mask.width);
            x < left || y < top || x >= left + width || y >= top + height
        };
        assert!(mask.values.iter().enumerate().all(|(index, value)| *value == 0 || !outside(index)), "{path}");
        assert!(out.join("overlays").join(name.with_extension("jpg")).exists());
        let both = mask.values.iter().zip(&truth.values).filter(|(a, b)| **a > 0 && **b > 0).count();
        let either = mask.values.iter().zip(&truth.values).filter(|(a, b)| **a > 0 || **b > 0).count();
        total += both as f64 / either as f64;
    }
    assert!(total / 24.0 > 0.6, "mean IoU {}", total / 24.0);

    // Again: nothing is left to do, and the table is the same. Then with one mask damaged: that one only.
    let table = fs::read(out.join("predictions.jsonl")).unwrap();
    assert!(expect(0, &infer).contains("segmented 0 images, 24 already done"));
    let damaged = out.join("masks/boat_white.png");
    let bytes = fs::read(&damaged).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() - 20]).unwrap();
    assert!(expect(0, &infer).contains("segmented 1 image"));
    assert_eq!(fs::read(&damaged).unwrap(), bytes);
    assert_eq!(fs::read(out.join("predictions.jsonl")).unwrap(), table);
    let mut again = infer.to_vec();
    again.push("--overwrite");
    assert!(expect(0, &again).contains("segmented 24 images"));
}

#[test]
fn inspect_shows_the_checkpoint_to_people_and_machines() {
    let folder = tempfile::tempdir().unwrap();
    let further = ["--clusters", "2", "--epochs", "40", "--seed", "7", "--set", "graph.alpha=2.5"];
    let further = [&further[..], &SELF_TRAINING].concat();
    let checkpoint = train_demonstration(folder.path(), &further);
    let json: Value = serde_json::from_str(&expect(0, &["inspect", path_text(&checkpoint), "--json"])).unwrap();
    assert_eq!(json["backbone"], "superpixel");
    assert_eq!(json["teacher"]["network"]["clusters"], 2);
    assert_eq!(json["teacher"]["network"]["root_weight"], false);
    assert_eq!(json["objects"]["network"]["root_weight"], true);
    assert_eq!(json["config"]["graph"]["alpha"], 2.5);
    assert_eq!(json["seed"], 7);
    assert_eq!(json["objects"]["curve"].as_array().unwrap().len(), 40);
    assert_eq!(json["blake3"], blake3::hash(&fs::read(&checkpoint).unwrap()).to_hex().as_str());
    let table = expect(0, &["inspect", path_text(&checkpoint)]);
    for expected in ["superpixel", "association", "teacher", "2 clusters", "trained on 24 images", "of 40"] {
        assert!(table.contains(expected), "{expected} in\n{table}");
    }
}

#[test]
fn training_is_the_same_to_the_byte_with_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |name: &str, threads: &str| {
        let arguments = ["--epochs", "8", "--threads", threads];
        fs::read(train_demonstration(&folder.path().join(name), &arguments)).unwrap()
    };
    let first = bytes("a", "1");
    assert!(first == bytes("b", "2"), "one and two threads");
    assert!(first == bytes("c", "3"), "one and three threads");
}

#[test]
fn killed_training_resumes_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let data = project("demonstration/images");
    let further = [&["--epochs", "30", "--parts", "3", "--background-parts", "2"][..], &SELF_TRAINING].concat();
    let expected = fs::read(train_demonstration(&folder.path().join("whole"), &further)).unwrap();
    let states = ["teacher", "objects", "parts", "background-parts"].map(|name| format!("resume-{name}.safetensors"));
    let mut resumed = 0;
    for attempt in 0..8u64 {
        let out = folder.path().join(format!("killed {attempt}"));
        let mut arguments = vec!["train", "--data", path_text(&data), "--out", path_text(&out), "--resume"];
        arguments.extend(&further);
        // Killed several times: at growing distances from the start, and from the first saved epoch of a network.
        let state = out.join(&states[attempt as usize % 4]);
        for kill in 0..3u64 {
            let mut child = program(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            while kill > 0 && !state.exists() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_millis(7 * attempt + 17 * kill));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        resumed += u32::from(expect(0, &arguments).contains("resuming after epoch"));
        assert!(fs::read(out.join("best.safetensors")).unwrap() == expected, "attempt {attempt}");
        assert!(states.iter().all(|state| !out.join(state).exists()));
        let again = expect(0, &arguments);
        assert!(again.contains("nothing is left to do"), "{again}");
    }
    assert!(resumed > 0, "no kill left a state to resume from");
}

#[cfg(unix)]
#[test]
fn an_interrupt_says_how_to_continue() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (project("demonstration/images"), folder.path().join("run"));
    let arguments = ["train", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "100000"];
    let child = program(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !out.join("resume-objects.safetensors").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("--resume"), "{}", text(&output.stderr));
    assert!(!out.join("best.safetensors").exists());

    // Another command cannot continue this run by accident.
    let mut other = arguments.to_vec();
    other.extend(["--resume", "--seed", "1"]);
    assert!(expect_error(2, &other).contains("other settings"));
}

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
    fs::write(data.join(".gitignore"), "ignored/\n").unwrap();
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
    let bad = ["empty.png", "enormous.png", "text.jpg", "truncated.png", "twin."];
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
        assert_eq!(predictions[name]["status"], "done");
        let mask = read_mask(&masks.join("masks").join(name)).unwrap();
        assert_eq!((mask.width, mask.height), (width, height), "{name}");
    }
    assert!(!masks.join("masks/ignored").exists() && !masks.join("masks/.hidden").exists());
}

#[test]
fn lists_and_single_images_are_collections_too() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = train_demonstration(&folder.path().join("run"), &["--epochs", "5"]);
    let image = folder.path().join("pictures/disc.png");
    write_png(&image, 80, 60, disc);
    let list = folder.path().join("list.txt");
    fs::write(
        &list,
        format!("# two of them\npictures/disc.png\n\n{}\n", project("demonstration/images/boat_white.jpg").display()),
    )
    .unwrap();
    let infer = |data: &Path, out: &Path| {
        expect(0, &["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(data), "--out", path_text(out)]);
        predictions(out).len()
    };
    assert_eq!(infer(&image, &folder.path().join("one")), 1);
    assert_eq!(infer(&list, &folder.path().join("two")), 2);
    let only_masks = folder.path().join("only masks");
    expect(
        0,
        &[
            "infer",
            "--ckpt",
            path_text(&checkpoint),
            "--data",
            path_text(&image),
            "--out",
            path_text(&only_masks),
            "--save",
            "masks",
        ],
    );
    assert!(only_masks.join("masks/disc.png").exists() && !only_masks.join("overlays").exists());
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
    let error =
        expect_error(2, &["train", "--data", path_text(&data), "--out", path_text(folder.path()), "--device", "cuda"]);
    assert!(error.contains("--features cuda") && error.contains("--device cpu"), "{error}");
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

    // Weights: no ViT, cut short, a text file.
    fs::write(&bad, &good).unwrap();
    let train = ["train", "--data", path_text(&data), "--out", path_text(&out), "--weights", path_text(&bad)];
    expect_error(4, &train);
    fs::write(&bad, "hello").unwrap();
    expect_error(4, &train);
}

/// A complete ViT, in small: the program's own test weights.
const TINY_VIT: &[&str] = &["--set", "vit.input_side=32", "--set", "vit.head_width=8"];

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
fn segment_optimises_every_image_and_continues_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (project("demonstration/images"), folder.path().join("out"));
    let segment = |further: &[&str]| {
        let mut arguments = vec!["segment", "--data", path_text(&data), "--out", path_text(&out)];
        arguments.extend(["--set", "superpixel.regions=100", "--epochs", "60"]);
        arguments.extend(further);
        expect(0, &arguments)
    };
    assert!(segment(&["--threads", "1"]).contains("segmented 24 images"));
    let first = fs::read(out.join("predictions.jsonl")).unwrap();
    assert!(segment(&[]).contains("24 already done"));
    assert!(segment(&["--threads", "3", "--overwrite"]).contains("segmented 24 images"));
    assert!(fs::read(out.join("predictions.jsonl")).unwrap() == first, "one thread and three");
    let losses: Vec<f64> = predictions(&out).into_values().map(|line| line["final_loss"].as_f64().unwrap()).collect();
    assert!(losses.iter().all(|loss| (-1.0..0.5).contains(loss)), "{losses:?}");

    // Another way of segmenting is another result, though the files are there.
    assert!(segment(&["--seed", "1"]).contains("segmented 24 images"));
    assert!(segment(&["--objective", "cc", "--clusters", "4"]).contains("clusters per image"));
    assert!(predictions(&out).values().all(|line| line["negative_share"].as_f64().is_some()));
    expect_error(2, &["segment", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "0"]);
    // The eigenvector has neither epochs nor parts, and nothing random.
    let spectral = ["segment", "--data", path_text(&data), "--out", path_text(&out), "--method", "spectral"];
    assert!(expect(0, &spectral).contains("segmented 24 images"));
    let first = fs::read(out.join("predictions.jsonl")).unwrap();
    assert!(expect(0, &[&spectral[..], &["--seed", "5"]].concat()).contains("segmented 24 images"));
    assert!(fs::read(out.join("predictions.jsonl")).unwrap() == first);
    for refused in [["--epochs", "3"], ["--parts", "2"], ["--clusters", "3"], ["--objective", "cc"]] {
        expect_error(2, &[&spectral[..], &refused].concat());
    }
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

/// Several images at once, each with recording tensors and products large enough to be shared among threads.
#[test]
fn refinement_fits_masks_to_edges() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // A disc on a plain ground: the truth is known exactly, the coarse grid cannot follow it.
    let plain = |x, y| if disc(x, y)[0] > 100 { [220, 180, 60] } else { [30, 50, 40] };
    write_png(&data.join("disc.png"), 80, 60, plain);
    let further = ["--backbone", "pixel", "--set", "pixel.side=12", "--epochs", "60"];
    let checkpoint = train_demonstration(&folder.path().join("run"), &further);
    let wrong = |refine: &str| {
        let out = folder.path().join(refine);
        let mut infer = vec!["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data)];
        infer.extend(["--out", path_text(&out), "--refine", refine]);
        expect(0, &infer);
        let mask = read_mask(&out.join("masks/disc.png")).unwrap();
        let pixels = mask.values.iter().enumerate();
        pixels.filter(|(i, value)| (**value > 0) != (plain(*i as u32 % 80, *i as u32 / 80)[0] > 100)).count()
    };
    let (coarse, refined) = (wrong("none"), wrong("bilateral-tokencut"));
    assert!(refined * 2 < coarse, "{coarse} wrong pixels before, {refined} after");

    let infer = ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&data)];
    let set = |value| {
        let mut infer = infer.to_vec();
        infer.extend(["--set", value]);
        expect_error(2, &infer)
    };
    assert!(set("model.clusters=4").contains("fixes this"));
    assert!(set("refine.bilateral.lambda=-1").contains("lambda"));
}

#[test]
fn json_output_is_one_object_and_quiet_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (project("demonstration/images"), folder.path().join("run"));
    let arguments = ["train", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "2"];
    let with = |flag| {
        let mut arguments = arguments.to_vec();
        arguments.push(flag);
        expect(0, &arguments)
    };
    let summary: Value = serde_json::from_str(&with("--json")).unwrap();
    assert_eq!(summary["images"], 24);
    assert_eq!(summary["checkpoint"], path_text(&out.join("best.safetensors")));
    assert_eq!(with("--quiet"), "");
    let log = fs::read_to_string(out.join("train.jsonl")).unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert_eq!(log.lines().filter(|line| line.contains("\"epoch\"")).count(), 4);
}

#[test]
fn a_full_cache_changes_nothing_but_time() {
    let folder = tempfile::tempdir().unwrap();
    let cached = fs::read(train_demonstration(&folder.path().join("a"), &["--epochs", "3"])).unwrap();
    let further = ["--epochs", "3", "--set", "cache.limit_mebibytes=0"];
    let uncached = fs::read(train_demonstration(&folder.path().join("b"), &further)).unwrap();
    assert!(cached == uncached);
}

#[test]
fn masks_hold_the_clusters_of_many() {
    let folder = tempfile::tempdir().unwrap();
    let further = ["--epochs", "20", "--clusters", "4", "--backbone", "pixel", "--set", "pixel.side=24"];
    let checkpoint = train_demonstration(&folder.path().join("run"), &further);
    let (data, out) = (project("demonstration/images"), folder.path().join("out"));
    expect(0, &["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&out)]);
    let json: Value = serde_json::from_str(&expect(0, &["inspect", path_text(&checkpoint), "--json"])).unwrap();
    let foreground = json["background"].as_array().unwrap().iter().filter(|is| **is == false).count();
    let highest = fs::read_dir(out.join("masks")).unwrap().map(|entry| {
        let mask: Raster<u8> = read_mask(&entry.unwrap().path()).unwrap();
        usize::from(*mask.values.iter().max().unwrap())
    });
    assert_eq!(highest.max(), Some(foreground));
}
