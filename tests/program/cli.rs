//! The program as a process: what it writes, says and returns.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use deepcut::output::read_mask;
use deepcut::raster::Raster;
use serde_json::Value;

use crate::drive::{
    disc, expect, expect_error, path_text, predictions, program, project, run, text, train_demonstration, write_png,
};
use crate::kept_checkpoints::{expect_demonstration, iou};

/// What superpixels do not do by themselves.
const SELF_TRAINING: [&str; 2] = ["--set", "train.self_training=true"];

/// Nor this, for which they have too few neighbours.
const LEARNING_CUTS: [&str; 8] = [
    "--backbone",
    "pixel",
    "--set",
    "pixel.side=16",
    "--set",
    "train.self_training=true",
    "--set",
    "train.teacher=eigenvector",
];

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
        // Around one piece of it: all four sides touch foreground.
        let (right, bottom) = (left + width - 1, top + height - 1);
        let row = |y: usize| (left..=right).any(|x| mask.at(x, y) > 0);
        let column = |x: usize| (top..=bottom).any(|y| mask.at(x, y) > 0);
        assert!(row(top) && row(bottom) && column(left) && column(right), "{path}");
        assert!(out.join("overlays").join(name.with_extension("jpg")).exists());
        total += iou(&mask, &truth);
    }
    assert!(total / 24.0 > 0.6, "mean IoU {}", total / 24.0);
    expect_demonstration(&checkpoint, &out.join("masks"));

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
    let json = inspected(&checkpoint);
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
    let restarts = ["--set", "train.restarts=3", "--set", "train.restart_epochs=4"];
    let further = ["--epochs", "30", "--parts", "3", "--background-parts", "2"];
    let states = ["teacher", "objects", "parts", "background-parts", "teacher-start-0", "teacher-start-2"];
    resumes_after_kills(8, &[&further[..], &restarts, &SELF_TRAINING].concat(), &states);
}

#[test]
fn killed_learning_of_cuts_resumes_to_the_same_bytes() {
    resumes_after_kills(3, &[&["--epochs", "30", "--threads", "1"][..], &LEARNING_CUTS].concat(), &["objects"]);
}

/// Kills every attempt several times, at growing distances from the start, and from the first saved epoch of one of the networks.
fn resumes_after_kills(attempts: u64, further: &[&str], states: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let data = project("demonstration/images");
    let expected = fs::read(train_demonstration(&folder.path().join("whole"), further)).unwrap();
    let states: Vec<String> = states.iter().map(|name| format!("resume-{name}.safetensors")).collect();
    let mut resumed = 0;
    for attempt in 0..attempts {
        let out = folder.path().join(format!("killed {attempt}"));
        let mut arguments = vec!["train", "--data", path_text(&data), "--out", path_text(&out), "--resume"];
        arguments.extend(further);
        let state = out.join(&states[attempt as usize % states.len()]);
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

#[test]
fn a_network_learns_the_cuts_of_single_images_or_the_objective_where_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let train = |data: &Path, out: &Path, epochs: &str| {
        let arguments = ["train", "--data", path_text(data), "--out", path_text(out), "--set", epochs];
        let output = run(&[&arguments[..], &LEARNING_CUTS].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        (said, inspected(&out.join("best.safetensors")))
    };
    let discs = folder.path().join("discs");
    for image in 0..8 {
        let is_inside = move |x: u32, y: u32| x.abs_diff(14 + 2 * image).pow(2) + y.abs_diff(12 + image).pow(2) < 90;
        let colour = |x, y| if is_inside(x, y) { [200, 60, 40] } else { [30, 90, 120] };
        write_png(&discs.join(format!("{image}.png")), 48, 40, colour);
    }
    let (_, found) = train(&discs, &folder.path().join("of discs"), "teaching.epochs=60");
    // Every image is seen in six views, and so half as often.
    assert_eq!(found["objects"]["curve"].as_array().unwrap().len(), 30);
    assert_eq!(found["teacher"], Value::Null);
    assert_eq!(found["objects"]["network"]["root_weight"], true);
    let learnt = found["diagnostics"]["learnt"].as_f64().unwrap();
    assert!(learnt > 0.3 && learnt <= 1.0, "{learnt}");
    assert_eq!(found["diagnostics"]["restarts"], Value::Null);

    // Images of one colour have no eigenvector to learn.
    let data = folder.path().join("plain");
    (0..4).for_each(|image| write_png(&data.join(format!("{image}.png")), 60, 40, |_, _| [90, 120, 60]));
    let (said, found) = train(&data, &folder.path().join("nothing"), "teaching.epochs=12");
    assert!(said.contains("one that learns the objective is trained instead"), "{said}");
    assert_eq!(found["objects"]["network"]["root_weight"], false);
}

/// What `inspect` tells machines.
fn inspected(checkpoint: &Path) -> Value {
    serde_json::from_str(&expect(0, &["inspect", path_text(checkpoint), "--json"])).unwrap()
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
fn images_are_divided_into_regions_without_a_backbone() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    (0..3).for_each(|shift| write_png(&data.join(format!("{shift}.png")), 80, 60, |x, y| disc(x + 9 * shift, y)));
    let common = ["segment", "--data", path_text(&data), "--out", path_text(&out), "--set", "grapl.lambda=4"];
    let small = ["--set", "grapl.patches=8", "--set", "grapl.side=80", "--set", "grapl.steps=[6, 4]"];
    for method in ["grapl", "slic-cut"] {
        let chosen = [&common[..], &small, &["--method", method]].concat();
        let segment = |further: &[&str]| expect(0, &[&chosen[..], further].concat());
        let said = segment(&["--threads", "1", "--overwrite"]);
        let plan = said.lines().next().unwrap();
        assert!(plan.contains("no backbone") && !plan.contains("pull"), "{said}");
        let first = fs::read(out.join("predictions.jsonl")).unwrap();
        let masks =
            || (0..3).map(|image| fs::read(out.join(format!("masks/{image}.png"))).unwrap()).collect::<Vec<_>>();
        let first_masks = masks();
        segment(&["--threads", "3", "--overwrite"]);
        assert!(fs::read(out.join("predictions.jsonl")).unwrap() == first && masks() == first_masks, "{method}");
        assert!(segment(&[]).contains("3 already done"));
        // Only the network has something random.
        assert_eq!(segment(&["--seed", "5"]).contains("segmented 3 images"), method == "grapl");
        assert!(predictions(&out).values().all(|line| line["clusters"].as_u64().unwrap() > 1), "{method}");
        let labels: Value = serde_json::from_slice(&fs::read(out.join("labels.json")).unwrap()).unwrap();
        assert!(labels.to_string().contains("region 1") && labels.to_string().contains("no data"), "{labels}");
        for refused in [["--weights", "dino.pth"], ["--backbone", "vit"], ["--clusters", "3"], ["--epochs", "4"]] {
            let said = expect_error(2, &[&chosen[..], &refused].concat());
            assert!(said.contains(&format!("--method {method}")) && said.contains(refused[0]), "{said}");
        }
    }
    let said = expect_error(2, &[&common[..], &["--set", "grapl.side=100"]].concat());
    assert!(said.contains("[grapl]") && said.contains("side"), "{said}");
}

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
    let coarse = wrong("none");
    for refine in ["bilateral-tokencut", "cut"] {
        let refined = wrong(refine);
        assert!(refined * 2 < coarse, "{refine}: {coarse} wrong pixels before, {refined} after");
    }

    let infer = ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&data)];
    let set = |value| {
        let mut infer = infer.to_vec();
        infer.extend(["--set", value]);
        expect_error(2, &infer)
    };
    assert!(set("model.clusters=4").contains("fixes this"));
    assert!(set("refine.bilateral.lambda=-1").contains("[refine.bilateral] setting `lambda`"));
    assert!(set("refine.cut.band_px=0").contains("[refine.cut] setting `band_px`"));
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
