//! Collections in object storage and on web servers, from a server on this machine that also fails.

mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::drive::{disc, path_text, predictions, program, project, text, write_png};
use server::{Mood, Server};

/// Images as a folder and as what a server has.
struct Ground {
    folder: tempfile::TempDir,
    server: Server,
}

impl Ground {
    /// With images whose order is not that of their keys, one that is none, and what is no image.
    fn new(mood: Mood) -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("set");
        for number in 0..24u32 {
            let within = ["", "a/", "a-b/", "a.b/é ü/", "a/100% 'x'+&<y>/"][number as usize % 5];
            let colour = |x: u32, y: u32| disc(x + number % 9, y + number % 5);
            write_png(&data.join(format!("{within}{number:02}.png")), 80 + number, 60 + number % 9, colour);
        }
        write_png(&data.join("a/01.jpg"), 90, 70, disc);
        write_png(&data.join("a/no extension"), 70, 90, disc);
        for name in ["bad.png", "notes.txt", "README", "a/.hidden.png"] {
            fs::write(data.join(name), "no image").unwrap();
        }
        // More than is fetched at once.
        let noise = |x: u32, y: u32| {
            [3, 5, 7].map(|of_band| ((x * 2_654_435 + y * 40_503 * of_band).wrapping_pow(2) >> 13) as u8)
        };
        write_png(&data.join("large.png"), 1000, 800, noise);
        assert!(fs::metadata(data.join("large.png")).unwrap().len() > 2 << 20);
        Ground { server: Server::start(mood, objects(folder.path())), folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        command.current_dir(self.folder.path());
        std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"].iter().for_each(|name| {
            command.env_remove(name);
        });
        command.env("AWS_ENDPOINT_URL", self.server.address()).env("AWS_ALLOW_HTTP", "true");
        command.env("AWS_ACCESS_KEY_ID", "somebody").env("AWS_SECRET_ACCESS_KEY", "secret");
        command
    }

    /// Runs there and expects an exit code; gives both outputs.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{said}");
        assert!(!said.contains("panicked"), "{arguments:?}\n{said}");
        said
    }

    fn infer(&self, data: &str, out: &str) -> String {
        let checkpoint = project("checkpoints/demonstration.safetensors");
        let checkpoint = path_text(&checkpoint);
        self.expect(3, &["infer", "--ckpt", checkpoint, "--threads", "2", "--data", data, "--out", out])
    }

    /// What runs have left in a folder.
    fn results(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = objects(&self.at(out));
        files.retain(|name, _| !name.starts_with(".deepcut/") && !name.starts_with("shards/"));
        files
    }

    /// What runs have left in two folders is the same.
    fn assert_equal(&self, one: &str, other: &str) {
        let [one, other] = [one, other].map(|out| self.results(out));
        assert!(!one.is_empty());
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (name, bytes) in &one {
            assert!(bytes == &other[name], "{name} differs");
        }
    }
}

/// All files below a folder by their places, with `/`.
fn objects(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut folders, mut files) = (vec![root.to_path_buf()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let parts = path.strip_prefix(root).unwrap().iter().map(|part| part.to_str().unwrap());
                files.insert(parts.collect::<Vec<_>>().join("/"), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Packs what lies in a folder, in the order of its names.
fn pack(folder: &Path, names: &[String], tar: &Path) {
    fs::create_dir_all(tar.parent().unwrap()).unwrap();
    let mut builder = tar::Builder::new(fs::File::create(tar).unwrap());
    for name in names {
        builder.append_path_with_name(folder.join(name), name).unwrap();
    }
    builder.finish().unwrap();
}

#[test]
fn a_bucket_gives_the_bytes_of_the_folder_though_every_tenth_request_fails() {
    let ground = Ground::new(Mood::Failing);
    let said = ground.infer("set", "local");
    let remote = ground.infer("s3://photos/set", "remote");
    for said in [&said, &remote] {
        assert!(said.contains("2 files are no images (1 without extension, 1 .txt), 1 hidden"), "{said}");
    }
    assert_eq!(predictions(&ground.at("remote")).len(), 28);
    ground.assert_equal("local", "remote");
    // Every kind of failure.
    assert!(ground.server.failed() >= 3, "{}", ground.server.failed());
    // What is done already is known by its content.
    assert!(ground.infer("s3://photos/set/", "remote").contains("27 already done"));

    for data in ["set", "s3://photos/set"] {
        let out = if data == "set" { "local-network" } else { "remote-network" };
        let few = ["--set", "train.epochs=2", "--backbone", "superpixel"];
        ground.expect(3, &[&["train", "--data", data, "--out", out][..], &few].concat());
        let of_image = ["--backbone", "superpixel", "--of", "images", "--data", data];
        ground.expect(3, &[&["features"][..], &of_image, &["--out", &format!("{out}-features/x.npy")]].concat());
        ground.expect(3, &["cluster", "--backbone", "superpixel", "--data", data, "--out", &format!("{out}-clusters")]);
    }
    let network = |out: &str| fs::read(ground.at(out).join("best.safetensors")).unwrap();
    assert!(network("local-network") == network("remote-network"));
    ground.assert_equal("local-network-features", "remote-network-features");
    let clusters = |out: &str| fs::read_to_string(ground.at(out).join("assignments.csv")).unwrap();
    assert_eq!(clusters("local-network-clusters"), clusters("remote-network-clusters"));
}

#[test]
fn tars_lists_and_single_images_are_read_where_they_lie() {
    let ground = Ground::new(Mood::Failing);
    let names: Vec<String> = objects(&ground.at("set")).into_keys().collect();
    let (first, second) = names.split_at(names.len() / 2);
    pack(&ground.at("set"), first, &ground.at("shards/00.tar"));
    pack(&ground.at("set"), second, &ground.at("shards/01.tar"));
    fs::write(ground.at("set/list.txt"), "a/01.jpg 7\n05.png\n../set/a-b/02.png\nnone.png\nbad.png\n").unwrap();
    ground.server.replace(objects(ground.folder.path()));
    for (local, remote) in [
        ("shards/{00..01}.tar", "s3://photos/shards/{00..01}.tar"),
        ("set/list.txt", "s3://photos/set/list.txt"),
        ("shards/01.tar", "{server}/web/shards/01.tar"),
        ("set/list.txt", "{server}/web/set/list.txt"),
    ] {
        let remote = remote.replace("{server}", &ground.server.address());
        ["local", "remote"].iter().for_each(|out| drop(fs::remove_dir_all(ground.at(out))));
        ground.infer(local, "local");
        ground.infer(&remote, "remote");
        let [one, other] = ["local", "remote"].map(|out| objects(&ground.at(out).join("masks")));
        assert!(one.len() >= 3, "{remote}");
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{remote}");
        assert!(one == other, "{remote}");
        let [one, other] = ["local", "remote"].map(|out| predictions(&ground.at(out)));
        let state = |(name, line): (&String, &serde_json::Value)| (name.clone(), line["content_hash"].clone());
        assert_eq!(one.iter().map(state).collect::<Vec<_>>(), other.iter().map(state).collect::<Vec<_>>(), "{remote}");
    }
    // A list here of what lies elsewhere; a server that sends whole files only.
    let web = ground.server.address();
    fs::write(ground.at("list.txt"), format!("{web}/whole/set/a/01.jpg\ns3://photos/set/bad.png\nset/05.png\n"))
        .unwrap();
    ground.infer("list.txt", "mixed");
    let lines = predictions(&ground.at("mixed"));
    let states: Vec<(&str, bool)> = lines.iter().map(|(name, line)| (&**name, line["status"] == "skipped")).collect();
    let host = web.trim_start_matches("http://");
    let of_web = format!("{host}/whole/set/a/01");
    let expected = [(&*format!("{of_web}.jpg"), false), ("photos/set/bad.png", true), ("set/05.png", false)];
    assert_eq!(states, expected);
    // A mask names its image; what was found is the same.
    let local = &predictions(&ground.at("local"))["a/01.jpg"];
    for field in ["content_hash", "width", "foreground_area_px", "confidence"] {
        assert_eq!(lines[&format!("{of_web}.jpg")][field], local[field], "{field}");
    }
}

#[test]
fn shards_of_a_bucket_are_one_run_and_its_changes_are_told() {
    let ground = Ground::new(Mood::Failing);
    ground.infer("s3://photos/set", "single");
    let plan = ["plan", "--data", "s3://photos/set", "--shards", "3", "--out", "plan.json"];
    assert!(ground.expect(0, &plan).contains("28 images in 3 shards"));
    assert!(ground.expect(0, &plan).contains("as it was"));
    let checkpoint = project("checkpoints/demonstration.safetensors");
    let shards = || {
        ["0", "1", "2"].map(|number| {
            let input = ["--plan", "plan.json", "--shard", number, "--out", "merged", "--threads", "2"];
            ground.command(&[&["infer", "--ckpt", path_text(&checkpoint)], &input[..]].concat()).output().unwrap()
        })
    };
    // The one with the file that is no image.
    let mut codes = shards().map(|output| output.status.code());
    codes.sort();
    assert_eq!(codes, [Some(0), Some(0), Some(3)]);
    ground.expect(3, &["merge", "--plan", "plan.json", "merged"]);
    ground.assert_equal("single", "merged");

    let mut objects = objects(ground.folder.path());
    objects.remove("set/00.png");
    objects.insert("set/05.png".into(), vec![0; 10]);
    ground.server.replace(objects);
    fs::remove_dir_all(ground.at("merged")).unwrap();
    let said = shards().map(|output| text(&output.stderr)).join("");
    assert!(said.contains("1 file is missing, 1 file has another size (the first: s3://photos/set/00.png)"), "{said}");
}

#[test]
fn results_in_a_bucket_are_those_on_a_disk_and_are_gone_on_with() {
    let ground = Ground::new(Mood::Failing);
    ground.infer("set", "local");
    let local = ground.results("local");
    let there = |ground: &Ground, key: &str| {
        let mut objects = ground.server.below(key);
        objects.retain(|name, _| !name.starts_with(".deepcut/") && !name.starts_with("shards/"));
        objects
    };
    let said = ground.infer("s3://photos/set", "s3://photos/results/first");
    assert!(said.contains("segmented 27 images") && said.contains("s3://photos/results/first"), "{said}");
    assert!(there(&ground, "results/first/") == local);
    assert!(ground.server.below("results/first/.deepcut/").keys().eq(["manifest.json"]));

    // As a killed run leaves it, and one that was sent by somebody who had other images.
    let mut objects = ground.server.below("");
    objects.remove("results/first/predictions.jsonl").unwrap();
    objects.remove("results/first/masks/05.png").unwrap();
    // And what somebody has put beside the results and among them.
    for name in ["notes.txt", "masks/notes.txt", "mine/masks/05.png"] {
        objects.insert(format!("results/first/{name}"), b"mine".to_vec());
    }
    ground.server.replace(objects);
    let said = ground.infer("s3://photos/set", "s3://photos/results/first");
    assert!(said.contains("segmented 1 image ") && said.contains("26 already done"), "{said}");
    let mut gone_on = there(&ground, "results/first/");
    for name in ["notes.txt", "masks/notes.txt", "mine/masks/05.png"] {
        assert!(gone_on.remove(name).is_some_and(|bytes| bytes == b"mine"), "{name}");
    }
    assert!(gone_on == local);
    // Results are no images, but what lies beside them may be.
    let checkpoint = project("checkpoints/demonstration.safetensors");
    let results = ["--data", "s3://photos/results/", "--out", "nothing"];
    let said = ground.expect(4, &[&["infer", "--ckpt", path_text(&checkpoint)], &results[..]].concat());
    assert!(said.contains("1 of 1 images cannot be used"), "{said}");
    assert!(said.contains("passed over what earlier runs have written in s3://photos/results/first"), "{said}");
}

/// What a shard sends begins with the record of what is its own, and ends with what says that it is finished.
fn assert_in_order(written: &[String]) {
    let of_shard: Vec<&String> = written.iter().filter(|key| key.starts_with("merged/shards/")).collect();
    let is_record = |key: &&String| key.ends_with("/.deepcut/manifest.json");
    let last = |wanted: &str| of_shard.iter().rposition(|key| key.contains(wanted)).expect(wanted);
    let is_end = |key: &&String| key.contains("/.deepcut/") && !is_record(key);
    let ends = of_shard.iter().position(is_end).expect("a shard's record");
    assert!(of_shard.first().is_some_and(is_record), "{of_shard:?}");
    assert!(last("/masks/") < last("/predictions.jsonl") && last("/predictions.jsonl") < ends, "{of_shard:?}");
    assert!(of_shard[ends..].iter().all(is_end), "{of_shard:?}");
}

#[test]
fn shards_in_a_bucket_are_merged_there() {
    let ground = Ground::new(Mood::Failing);
    ground.infer("set", "local");
    let plan = ["plan", "--data", "s3://photos/set", "--shards", "3", "--out", "s3://photos/work/plan.json"];
    assert!(ground.expect(0, &plan).contains("plan: s3://photos/work/plan.json"));
    assert!(ground.expect(0, &plan).contains("as it was"));
    let checkpoint = project("checkpoints/demonstration.safetensors");
    let of_vectors = ["features", "--backbone", "superpixel", "--of", "images"];
    for number in ["0", "1", "2"] {
        let input = ["--plan", "s3://photos/work/plan.json", "--shard", number, "--threads", "2"];
        for (command, out) in [
            (&["infer", "--ckpt", path_text(&checkpoint)][..], "s3://photos/merged"),
            (&of_vectors, "s3://photos/vectors/all.npy"),
        ] {
            let output = ground.command(&[command, &input, &["--out", out]].concat()).output().unwrap();
            assert!(matches!(output.status.code(), Some(0 | 3)), "{}", text(&output.stderr));
            if out == "s3://photos/merged" {
                assert_in_order(&ground.server.written());
            }
        }
    }
    let repeated = ["infer", "--ckpt", path_text(&checkpoint), "--plan", "s3://photos/work/plan.json", "--shard", "0"];
    let output = ground.command(&[&repeated[..], &["--out", "s3://photos/merged"]].concat()).output().unwrap();
    assert!(text(&output.stdout).contains("finished before"), "{}", text(&output.stdout));
    ground.expect(3, &["merge", "s3://photos/merged"]);
    let mut merged = ground.server.below("merged/");
    merged.retain(|name, _| !name.starts_with(".deepcut/") && !name.starts_with("shards/"));
    assert!(merged == ground.results("local"));

    ground.expect(3, &[&of_vectors[..], &["--data", "set", "--out", "all.npy"]].concat());
    ground.expect(3, &["merge", "s3://photos/vectors/all.npy"]);
    assert!(ground.server.below("vectors/all.npy")[""] == fs::read(ground.at("all.npy")).unwrap());
}

#[test]
fn what_others_have_in_a_bucket_is_not_touched() {
    let ground = Ground::new(Mood::Good);
    let mut objects = objects(ground.folder.path());
    objects.insert("mine/masks/00.png".into(), b"painted".to_vec());
    objects.insert("mine/notes.txt".into(), b"mine".to_vec());
    ground.server.replace(objects.clone());
    let checkpoint = project("checkpoints/demonstration.safetensors");
    let infer = ["infer", "--ckpt", path_text(&checkpoint), "--data", "set", "--out", "s3://photos/mine"];
    let said = ground.expect(2, &infer);
    assert!(said.contains("s3://photos/mine/masks is there already and not known to be deepcut's"), "{said}");
    assert!(ground.server.below("") == objects);
    let said =
        ground.expect(2, &["train", "--data", "set", "--backbone", "superpixel", "--out", "s3://photos/network"]);
    assert!(said.contains("the output s3://photos/network must lie on a disk"), "{said}");
    let web = format!("{}/web/results", ground.server.address());
    let said = ground.expect(2, &[&infer[..6], &[&web]].concat());
    assert!(said.contains("not on a web server"), "{said}");
    assert!(ground.server.below("") == objects);
}

#[test]
fn what_cannot_be_had_is_listed_and_the_rest_done() {
    let ground = Ground::new(Mood::Refusing("set/05.png"));
    ground.infer("s3://photos/set", "out");
    let lines = predictions(&ground.at("out"));
    let reason = lines["05.png"]["reason"].as_str().unwrap();
    assert!(reason.contains("cannot read it: S3 cannot be asked") && reason.contains("503"), "{reason}");
    assert_eq!(lines.values().filter(|line| line["status"] == "skipped").count(), 2);
}

#[test]
fn what_is_not_there_or_not_allowed_is_an_error_that_says_what_to_do() {
    let ground = Ground::new(Mood::Good);
    let web = ground.server.address();
    let mut wrong = Vec::new();
    for (data, code, expected) in [
        ("s3://photos/nowhere".to_string(), 2, "cannot read s3://photos/nowhere: S3 has nothing there"),
        ("s3://other/set".into(), 2, "cannot read s3://other/set: S3 has nothing there"),
        ("s3://".into(), 2, "write it as s3://bucket/folder"),
        ("s3://secret/set".into(), 2, "S3 refuses it"),
        ("s3://secret/set".into(), 2, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (web.clone(), 2, "a web server does not tell what files it has"),
        (format!("{web}/web/set/05.png?key=1"), 2, "give a plain address"),
        (format!("{web}/whole/set.tar"), 2, "the web server has nothing there"),
        ("az://box/set".into(), 2, "set AZURE_STORAGE_ACCOUNT_NAME"),
        ("s3://photos/set,s3://photos/set/a".into(), 2, "lies in s3://photos/set, which is given as well"),
    ] {
        let mut arguments = vec!["plan", "--shards", "1", "--out", "plan.json"];
        data.split(',').for_each(|data| arguments.extend(["--data", data]));
        let output = ground.command(&arguments).output().unwrap();
        let said = text(&output.stderr);
        if output.status.code() != Some(code) || !said.contains(expected) {
            wrong.push(format!("{data}: {:?} {said}", output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nobody listens there.
    let mut command = ground.command(&["plan", "--shards", "1", "--out", "plan.json", "--data", "s3://photos/set"]);
    let output = command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("S3 cannot be asked") && said.contains("check the network"), "{said}");
}
