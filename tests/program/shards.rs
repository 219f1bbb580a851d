//! Shards as processes: a plan, a run for each shard, a merge, and the result is that of one run, whatever happened on the way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::drive::{disc, path_text, program, project, text, write_png};

const EVERYTHING: &str = "masks,overlays,saliency,report,coco,yolo,voc";

/// A folder with `data` in it, in which the program runs.
struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    /// With 30 places: images in several folders, two of one name but the extension, a file that is none, and a folder that has
    /// the name of one.
    fn new() -> Ground {
        let ground = Ground { folder: tempfile::tempdir().unwrap() };
        let data = ground.at("data");
        for number in 0..27u32 {
            let (folder, shift) = (["", "a/", "b/c.png/"][number as usize % 3], number % 9);
            let colour = |x: u32, y: u32| disc(x + shift, y + number % 5);
            write_png(&data.join(format!("{folder}{number:02}.png")), 80 + number, 60 + shift, colour);
        }
        write_png(&data.join("a/01.jpg"), 90, 70, disc);
        fs::write(data.join("a/bad.png"), "no image").unwrap();
        ground
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program there.
    fn run(&self, arguments: &[&str]) -> Output {
        program(arguments).current_dir(self.folder.path()).output().unwrap()
    }

    /// Runs and expects an exit code; gives both outputs.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{said}");
        assert!(!said.contains("panicked"), "{arguments:?}\n{said}");
        said
    }

    fn plan(&self, shards: &str, further: &[&str]) -> String {
        let plan = ["plan", "--data", "data", "--shards", shards, "--out", "plan.json"];
        self.expect(3, &[&plan[..], further].concat())
    }

    /// What a run leaves in a folder, by names; but for what is kept about the folder, and shards.
    fn results(&self, out: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let root = self.at(out);
        let (mut folders, mut files) = (vec![root.clone()], BTreeMap::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().to_path_buf();
                if path.is_dir() && ![Path::new(".deepcut"), Path::new("shards")].contains(&name.as_path()) {
                    folders.push(path);
                } else if path.is_file() {
                    files.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        files
    }

    fn assert_equal(&self, one: &str, other: &str) {
        let [one, other] = [one, other].map(|out| self.results(out));
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (name, bytes) in &one {
            assert!(bytes == &other[name], "{} differs", name.display());
        }
    }
}

fn checkpoint() -> PathBuf {
    project("checkpoints/demonstration.safetensors")
}

/// `infer` with the checkpoint of the repository, on one thread.
fn infer<'a>(checkpoint: &'a Path, further: &[&'a str]) -> Vec<&'a str> {
    [&["infer", "--ckpt", path_text(checkpoint), "--threads", "1"], further].concat()
}

/// The same of one shard, into `out`.
fn of_shard<'a>(checkpoint: &'a Path, shard: &'a str, further: &[&'a str]) -> Vec<&'a str> {
    infer(checkpoint, &[&["--plan", "plan.json", "--shard", shard, "--out", "out"], further].concat())
}

/// Whether a shard says that it is finished.
fn is_finished(ground: &Ground, shard: usize) -> bool {
    let record = fs::read_to_string(ground.at(&format!("out/shards/{shard:05}/.deepcut/shard.json")));
    record.is_ok_and(|record| !serde_json::from_str::<serde_json::Value>(&record).unwrap()["done"].is_null())
}

#[test]
fn five_shards_of_which_one_is_killed_are_one_run() {
    let (ground, checkpoint) = (Ground::new(), checkpoint());
    let save = ["--save", EVERYTHING, "--instances"];
    ground.expect(3, &infer(&checkpoint, &[&["--data", "data", "--out", "single"], &save[..]].concat()));
    assert!(ground.plan("5", &[]).contains("30 images in 5 shards of 6, 1 of them to be skipped"));
    let shard = |shard: &'static str| of_shard(&checkpoint, shard, &save);

    // Killed as soon as it has finished an image; where it was faster, again.
    let masks = ground.at("out/shards/00002/masks");
    let was_hit = (0..20).any(|_| {
        let mut run = program(&shard("2")).current_dir(ground.folder.path()).spawn().unwrap();
        while run.try_wait().unwrap().is_none() && !has_png(&masks) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        run.kill().unwrap();
        run.wait().unwrap();
        let hit = has_png(&masks) && !is_finished(&ground, 2);
        if !hit {
            fs::remove_dir_all(ground.at("out/shards/00002")).unwrap();
        }
        hit
    });
    assert!(was_hit, "no kill met a run");
    let said = ground.expect(4, &["merge", "out"]);
    assert!(said.contains("5 of the 5 shards") && said.contains("(0-4), with 30 of 30 images"), "{said}");
    ground.expect(0, &shard("0"));
    ground.expect(3, &shard("3"));
    let said = ground.expect(4, &["merge", "out"]);
    assert!(said.contains("3 of the 5 shards of out are not finished (1-2,4), with 18 of 30 images"), "{said}");
    assert!(!ground.at("out/predictions.jsonl").exists(), "nothing is written of half the shards");

    // Goes on where it was killed.
    let said = ground.expect(0, &shard("2"));
    assert!(said.contains("already done") && is_finished(&ground, 2), "{said}");
    // Two at once: one waits and finds it done.
    let both = [shard("1"), shard("1")].map(|arguments| {
        let mut command = program(&arguments);
        command.current_dir(ground.folder.path()).stdout(std::process::Stdio::piped()).spawn().unwrap()
    });
    let both =
        both.map(|run| run.wait_with_output().unwrap()).map(|output| (output.status.code(), text(&output.stdout)));
    assert!(both.iter().all(|(code, _)| *code == Some(0)), "{both:?}");
    assert_eq!(both.iter().filter(|(_, said)| said.contains("finished before: nothing to do")).count(), 1, "{both:?}");
    // From anywhere.
    let (plan, out) = (ground.at("plan.json"), ground.at("out"));
    let elsewhere = ["--plan", path_text(&plan), "--shard", "4", "--out", path_text(&out)];
    let output = program(&infer(&checkpoint, &[&elsewhere[..], &save].concat())).current_dir("/").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let said = ground.expect(3, &["merge", "out"]);
    assert!(said.contains("merged 5 shards with all of 30 images, 2 skipped"), "{said}");
    ground.assert_equal("single", "out");
    assert_eq!(ground.results("out").len(), 5 * 28 + 5);
    ground.expect(0, &["verify", "out"]);

    // Finished shards do nothing, merging again changes nothing, and neither needs the other.
    let before = fs::metadata(ground.at("out/masks/00.png")).unwrap().modified().unwrap();
    for (number, code) in [("2", 0), ("3", 3)] {
        let said = ground.expect(code, &shard(number));
        assert!(said.contains(&format!("shard {number} of 5, finished before: nothing to do")), "{said}");
    }
    let again: serde_json::Value =
        serde_json::from_slice(&ground.run(&["merge", "out", "--plan", "plan.json", "--json"]).stdout).unwrap();
    assert_eq!((&again["images"], &again["placed"]), (&30.into(), &0.into()));
    ground.assert_equal("single", "out");
    fs::remove_dir_all(ground.at("out/shards")).unwrap();
    ground.expect(0, &["verify", "out"]);
    // It is a folder of results like any other.
    let said = ground.expect(3, &infer(&checkpoint, &[&["--data", "data", "--out", "out"], &save[..]].concat()));
    assert!(said.contains("28 already done"), "{said}");
    assert_eq!(fs::metadata(ground.at("out/masks/00.png")).unwrap().modified().unwrap(), before);
    ground.assert_equal("single", "out");
    assert!(ground.expect(2, &["merge", "out"]).contains("no shard has written below out"));
}

fn has_png(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() { has_png(&path) } else { path.extension().is_some_and(|extension| extension == "png") }
    })
}

#[test]
fn a_plan_is_the_same_for_the_same_images_and_tells_of_others() {
    let ground = Ground::new();
    ground.plan("4", &["--by", "bytes"]);
    let files = || [ground.at("plan.json"), ground.at("plan.images.jsonl")].map(|path| fs::read(path).unwrap());
    let first = files();
    assert!(ground.plan("4", &["--by", "bytes"]).contains("as it was: 30 images in 4 shards"));
    assert_eq!(files(), first);
    let plan = |further: &[&'static str]| [&["plan", "--data", "data", "--out", "plan.json"], further].concat();
    for (further, expected) in [
        (&["--shards", "4"][..], "shards balanced by something else"),
        (&["--shards", "3", "--by", "bytes"], "another number of shards"),
        (&["--shards", "4", "--by", "bytes", "--frames", "all"], "other frames"),
        (
            &["--shards", "31", "--overwrite"],
            "31 shards cannot be made of 30 images; give a smaller number of --shards",
        ),
        (&["--shards", "0", "--overwrite"], "0 shards cannot be made"),
    ] {
        let said = ground.expect(2, &plan(further));
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(files(), first);

    // A new image.
    write_png(&ground.at("data/a/02new.png"), 40, 40, disc);
    let said = ground.expect(2, &plan(&["--shards", "4", "--by", "bytes"]));
    assert!(
        said.contains("not as it was planned") && said.contains("a/02new.png") && said.contains("--overwrite"),
        "{said}"
    );
    assert_eq!(files(), first);
    assert!(ground.expect(3, &plan(&["--shards", "31", "--overwrite"])).contains("31 images in 31 shards of 1"));

    // What is no plan is nobody's to replace.
    for name in ["plan.json", "plan.images.jsonl"] {
        files()
            .iter()
            .zip(["plan.json", "plan.images.jsonl"])
            .for_each(|(_, name)| fs::remove_file(ground.at(name)).unwrap());
        fs::write(ground.at(name), "mine").unwrap();
        let said = ground.expect(2, &plan(&["--shards", "4", "--overwrite"]));
        assert!(said.contains("not known to be deepcut's"), "{said}");
        assert_eq!(fs::read(ground.at(name)).unwrap(), b"mine");
        fs::remove_file(ground.at(name)).unwrap();
        ground.plan("4", &[]);
    }
    fs::create_dir(ground.at("empty")).unwrap();
    let said = ground.expect(2, &["plan", "--data", "empty", "--shards", "2", "--out", "empty.json"]);
    assert!(said.contains("no image was found"), "{said}");
    assert!(!ground.at("empty.json").exists() && !ground.at("empty.images.jsonl").exists());
}

#[test]
fn what_a_shard_cannot_be_made_of_is_told() {
    let (ground, checkpoint) = (Ground::new(), checkpoint());
    ground.plan("5", &[]);
    let shard = |shard: &'static str, further: &[&'static str]| of_shard(&checkpoint, shard, further);
    for (arguments, code, expected) in [
        (shard("5", &[]), 2, "there is no shard 5 of plan.json: they are numbered from 0 to 4"),
        (shard("-1", &[]), 2, "unexpected argument"),
        (infer(&checkpoint, &["--plan", "plan.json", "--out", "out"]), 2, "--shard <I>"),
        (shard("0", &["--data", "data"]), 2, "cannot be used with"),
        (infer(&checkpoint, &["--plan", "none.json", "--shard", "0", "--out", "out"]), 2, "cannot read none.json"),
        (shard("0", &["--set", "data.frames=all"]), 2, "`data.frames` is not what the plan was made with"),
    ] {
        let said = ground.expect(code, &arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    assert!(!ground.at("out").exists(), "nothing is written of what cannot be");

    let lines = fs::read_to_string(ground.at("plan.images.jsonl")).unwrap();
    let name = "b/c.png/26.png";
    assert!(lines.lines().last().unwrap().starts_with(&format!("{{\"image\":\"{name}\"")), "{lines}");
    let image = ground.at("data").join(name);
    let bytes = fs::read(&image).unwrap();
    fs::remove_file(&image).unwrap();
    let said = ground.expect(4, &shard("4", &[]));
    assert!(said.contains("1 file is missing") && said.contains(name) && said.contains("--accept-changes"), "{said}");
    fs::write(&image, [&bytes[..], b"more"].concat()).unwrap();
    let said = ground.expect(4, &shard("4", &[]));
    assert!(said.contains("1 file has another size"), "{said}");
    assert!(!is_finished(&ground, 4));
    fs::remove_file(&image).unwrap();
    let said = ground.expect(3, &shard("4", &["--accept-changes"]));
    assert!(said.contains("1 skipped") && is_finished(&ground, 4), "{said}");
    fs::write(&image, &bytes).unwrap();

    // Another plan has other shards.
    ground.plan("6", &["--overwrite"]);
    let said = ground.expect(2, &shard("4", &[]));
    assert!(said.contains("out/shards/00004 holds a shard of another plan than plan.json"), "{said}");
    // Plans of other versions, changed ones, lists of other plans.
    let plan = fs::read_to_string(ground.at("plan.json")).unwrap();
    fs::write(ground.at("plan.json"), plan.replace("\"format\":1", "\"format\":9")).unwrap();
    assert!(ground.expect(2, &shard("0", &[])).contains("a plan of format 9, this program knows 1"));
    fs::write(ground.at("plan.json"), plan.replace("\"images\":30", "\"images\":29")).unwrap();
    assert!(ground.expect(4, &shard("0", &[])).contains("no plan of shards: it was changed"));
    fs::write(ground.at("plan.json"), &plan).unwrap();
    fs::write(ground.at("plan.images.jsonl"), lines.replacen("0", "1", 1)).unwrap();
    assert!(ground.expect(4, &shard("0", &[])).contains("is not the list that plan.json was made with"));
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let (ground, checkpoint) = (Ground::new(), checkpoint());
    let said = ground.expect(2, &["merge", "out"]);
    assert!(said.contains("no shard has written below out"), "{said}");
    ground.plan("3", &[]);
    assert!(ground.expect(4, &["merge", "out", "--plan", "plan.json"]).contains("(0-2), with 30 of 30 images"));
    let shard = |shard: &'static str, further: &[&'static str]| of_shard(&checkpoint, shard, further);
    ground.expect(0, &shard("0", &[]));
    ground.expect(3, &shard("1", &[]));
    for (further, expected) in [
        (
            &["--set", "refine.largest_component=true"][..],
            "shards 0 and 2 were made differently: with other settings: `refine.largest_component` is false and true",
        ),
        (&["--save", "masks"], "with other kinds of files to save"),
    ] {
        ground.expect(3, &shard("2", further));
        let said = ground.expect(4, &["merge", "out"]);
        assert!(said.contains(expected), "{said}");
    }
    let other = ground.at("other");
    let trained = crate::drive::train_demonstration(&other, &["--epochs", "2"]);
    ground.expect(3, &of_shard(&trained, "2", &[]));
    let said = ground.expect(4, &["merge", "out"]);
    assert!(said.contains("with other checkpoints, of blake3"), "{said}");
    ground.expect(3, &shard("2", &[]));
    let record = ground.at("out/shards/00002/.deepcut/shard.json");
    let text = fs::read_to_string(&record).unwrap();
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    fs::write(&record, text.replace(&version, "\"version\":\"0.0.1\"")).unwrap();
    let said = ground.expect(4, &["merge", "out"]);
    assert!(said.contains("versions") && said.contains("0.0.1"), "{said}");
    fs::write(&record, &text).unwrap();

    // What a shard has lost is named, and its run makes it again.
    let table = ground.at("out/shards/00001/predictions.jsonl");
    let mask = ground.at("out/shards/00001").join("masks").join(first_output(&table));
    fs::remove_file(&mask).unwrap();
    let said = ground.expect(4, &["merge", "out"]);
    assert!(said.contains("shard 1 is not as its run left it") && said.contains("run it again"), "{said}");
    assert!(!ground.at("out/predictions.jsonl").exists());
    let said = ground.expect(3, &shard("1", &[]));
    assert!(said.contains("segmented 1 image"), "{said}");
    let line = fs::read_to_string(&table).unwrap();
    fs::write(&table, line.replacen("\"done\"", "\"one_cluster\"", 1)).unwrap();
    let said = ground.expect(4, &["merge", "out"]);
    assert!(said.contains("its content has changed"), "{said}");
    fs::remove_file(&table).unwrap();
    ground.expect(3, &shard("1", &[]));

    // A file of the user's in the way stays.
    let own = ground.at("out/masks/mine.png");
    fs::remove_dir_all(ground.at("out/masks")).unwrap();
    fs::create_dir(ground.at("out/masks")).unwrap();
    write_png(&ground.at("out/masks/00.png"), 9, 9, disc);
    let before = fs::read(ground.at("out/masks/00.png")).unwrap();
    let said = ground.expect(2, &["merge", "out"]);
    assert!(said.contains("00.png"), "{said}");
    assert_eq!(fs::read(ground.at("out/masks/00.png")).unwrap(), before);
    fs::rename(ground.at("out/masks/00.png"), &own).unwrap();
    ground.expect(3, &["merge", "out"]);
    assert!(own.exists());
    // Too many bad ones are a question to all shards.
    let said = ground.expect(4, &["merge", "out", "--max-bad", "0.01"]);
    assert!(said.contains("2 of 30 images cannot be used"), "{said}");
}

/// The mask of the first image of a table that has one.
fn first_output(table: &Path) -> String {
    let text = fs::read_to_string(table).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(line["status"], "done");
    let without_extension = line["path"].as_str().unwrap().trim_end_matches(".png");
    format!("{}.png", line["output"].as_str().unwrap_or(without_extension))
}

#[test]
fn segmenting_and_describing_in_shards_is_as_in_one_run() {
    let ground = Ground::new();
    ground.plan("4", &["--by", "bytes"]);
    let segment = ["segment", "--method", "slic-cut", "--save", "masks,coco,report", "--threads", "1"];
    ground.expect(3, &[&segment[..], &["--data", "data", "--out", "single"]].concat());
    let shards = ["0", "1", "2", "3"];
    let codes = |arguments: &dyn Fn(&'static str) -> Vec<&'static str>| {
        shards.map(|shard| ground.run(&arguments(shard)).status.code().unwrap())
    };
    let in_shards = |shard| [&segment[..], &["--plan", "plan.json", "--out", "out", "--shard", shard]].concat();
    let found = codes(&in_shards);
    assert!(found.contains(&3) && found.iter().all(|code| [0, 3].contains(code)), "{found:?}");
    ground.expect(3, &["merge", "out"]);
    ground.assert_equal("single", "out");

    for (single, out, further) in [
        ("single/v.npy", "out/v.npy", &[][..]),
        ("single/h.safetensors", "out/h.safetensors", &["--of", "images", "--dtype", "f16"]),
    ] {
        let features = ["features", "--backbone", "superpixel", "--threads", "1"];
        let features = [&features[..], further].concat();
        ground.expect(3, &[&features[..], &["--data", "data", "--out", single]].concat());
        let in_shards = |shard| [&features[..], &["--plan", "plan.json", "--out", out, "--shard", shard]].concat();
        for shard in &shards[..3] {
            let code = ground.run(&in_shards(shard)).status.code().unwrap();
            assert!([0, 3].contains(&code), "{code}");
        }
        let said = ground.expect(4, &["merge", out]);
        assert!(said.contains("1 of the 4 shards") && said.contains("(3)"), "{said}");
        let first = ground.run(&in_shards("3"));
        let again = ground.run(&in_shards("3"));
        assert_eq!(first.status.code(), again.status.code());
        assert!(text(&again.stdout).contains("finished before: nothing to do"), "{}", text(&again.stdout));
        // What is damaged is made again.
        let matrix = ground.at("out/shards/00003").join(Path::new(out).file_name().unwrap());
        fs::write(&matrix, &fs::read(&matrix).unwrap()[..100]).unwrap();
        let said = ground.expect(4, &["merge", out]);
        assert!(said.contains("shard 3 is not as its run left it"), "{said}");
        ground.run(&in_shards("3"));
        for _ in 0..2 {
            assert!(ground.expect(3, &["merge", out]).contains("merged 4 shards with all of 30 images"));
            for end in ["", ".index.jsonl"] {
                let read = |name: &str| fs::read(ground.at(&format!("{name}{end}"))).unwrap();
                assert!(read(single) == read(out), "{out}{end}");
            }
        }
    }
    ground.expect(0, &["verify", "out"]);
}

/// The scripts of the page about shards, run as the job systems run them.
#[cfg(unix)]
#[test]
fn the_examples_for_job_systems_run_as_they_stand() {
    let page = fs::read_to_string(project("docs/shards.md")).unwrap();
    let between = |start: &str, end: &str| page.split(start).nth(1).unwrap().split(end).next().unwrap().to_string();
    let slurm = between("```bash\n", "```");
    let kubernetes = between("            - |\n", "          resources:");
    let ground = Ground::new();
    fs::copy(checkpoint(), ground.at("best.safetensors")).unwrap();
    ground.plan("2", &[]);
    let folder = Path::new(env!("CARGO_BIN_EXE_deepcut")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let run = |shell: &str, script: &str, variable: &str, shard: &str| {
        let mut command = std::process::Command::new(shell);
        command.args(["-c", script]).current_dir(ground.folder.path()).env("PATH", &path).env(variable, shard);
        command.env("DEEPCUT_HOME", "/nonexistent").output().unwrap()
    };
    for (shell, script, variable) in
        [("bash", slurm, "SLURM_ARRAY_TASK_ID"), ("sh", kubernetes, "JOB_COMPLETION_INDEX")]
    {
        // The second shard has what is skipped; the second shell finds both finished.
        for shard in ["0", "1"] {
            let output = run(shell, &script, variable, shard);
            assert_eq!(output.status.code(), Some(0), "{script}\n{}", text(&output.stderr));
        }
        let output = run(shell, &script, variable, "2");
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
    assert!(ground.expect(3, &["merge", "results"]).contains("all of 30 images"));
}
