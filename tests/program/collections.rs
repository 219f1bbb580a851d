//! What becomes a collection: folders with all kinds of files in them, lists in all forms, several of both.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::drive::{disc, expect, expect_error, path_text, predictions, run, text, write_png};

/// Segments by the eigenvector; gives what was said, and the paths of the images by the table.
fn segment(code: i32, data: &[&Path], out: &Path, further: &[&str]) -> (String, Vec<String>) {
    let mut arguments = vec!["segment", "--method", "spectral", "--backbone", "superpixel", "--save", "masks"];
    data.iter().for_each(|data| arguments.extend(["--data", path_text(data)]));
    arguments.extend(["--out", path_text(out)]);
    arguments.extend(further);
    let said = expect(code, &arguments);
    (said, predictions(out).into_keys().collect())
}

/// A picture under a name that need not be that of a picture.
fn picture(path: &Path) {
    write_png(path, 80, 60, disc);
}

#[test]
fn every_image_of_a_folder_is_found_whatever_its_name_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let names = ["a", "a.jpg", "b.JFIF", "c.jpe", "d.dat", "e.PNG", "f.txt", "private/g.png", "left out/h.png"];
    names.iter().for_each(|name| picture(&data.join(name)));
    picture(&data.join(".hidden.png"));
    for (name, content) in [
        ("notes.txt", &b"no image"[..]),
        ("annotations.json", b"{}"),
        ("more.json", b"{}"),
        ("README", b"BMW: a text"),
        ("phone.heic", b"\0\0\0\x20ftypheic\0\0\0\0mif1heic and the rest of it"),
        (".gitignore", b"private\n"),
        (".deepcutignore", b"left*\n"),
    ] {
        fs::write(data.join(name), content).unwrap();
    }
    let out = folder.path().join("out");
    let (said, found) = segment(3, &[&data], &out, &[]);
    let counted =
        "4 files are no images (2 .json, 1 without extension, 1 .txt), 1 hidden, 1 left out by .deepcutignore";
    let not_obeyed = "1 .gitignore or .ignore file does not count without --respect-ignore";
    assert!(said.contains(&format!("{counted}, {not_obeyed}\n")), "{said}");
    let expected = ["a", "a.jpg", "b.JFIF", "c.jpe", "d.dat", "e.PNG", "f.txt", "phone.heic", "private/g.png"];
    assert_eq!(found, expected);
    let lines = predictions(&out);
    for name in expected {
        // What cannot be decoded is listed as any other bad image.
        let (status, reason) = (&lines[name]["status"], &lines[name]["reason"]);
        assert_eq!((status == "skipped", reason.is_string()), (name == "phone.heic", name == "phone.heic"), "{name}");
    }
    for mask in ["a.png", "a.jpg.png", "b.png", "d.png", "f.png", "private/g.png"] {
        assert!(out.join("masks").join(mask).exists(), "{mask}");
    }

    let (said, found) = segment(3, &[&data], &folder.path().join("respected"), &["--respect-ignore"]);
    assert!(said.contains(&format!("{counted}, 1 left out by .gitignore\n")), "{said}");
    assert_eq!(found, &expected[..8]);
    // What has no extension is an image as any other where it is given itself.
    assert_eq!(segment(0, &[&data.join("a")], &folder.path().join("one"), &[]).1, ["a"]);
}

#[test]
fn every_frame_is_an_image_where_all_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    picture(&data.join("a.png"));
    let frames = |moved: u32| {
        let picture = image::open(data.join("a.png")).unwrap().into_rgb8();
        image::RgbImage::from_fn(80, 60, |x, y| *picture.get_pixel((x + moved) % 80, y))
    };
    let mut animation = image::codecs::gif::GifEncoder::new(fs::File::create(data.join("b.gif")).unwrap());
    for moved in [0, 15, 30] {
        let frame = image::DynamicImage::from(frames(moved)).into_rgba8();
        animation.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(animation);
    let out = folder.path().join("out");
    assert_eq!(segment(0, &[&data], &out, &[]).1, ["a.png", "b.gif"]);
    let warning = predictions(&out)["b.gif"]["warning"].to_string();
    assert!(warning.contains("several frames, of which the first is taken"), "{warning}");

    let out = folder.path().join("all");
    let found = segment(0, &[&data], &out, &["--frames", "all"]).1;
    assert_eq!(found, ["a.png", "b.gif/000001", "b.gif/000002", "b.gif/000003"]);
    let mask = |name: &str| fs::read(out.join("masks").join(name)).unwrap();
    // The disc moves by half of itself between the frames.
    assert_ne!(mask("b.gif/000001.png"), mask("b.gif/000002.png"));
    let lines = predictions(&out);
    assert!(lines["b.gif/000001"]["warning"].is_null());
    let boxes: Vec<u64> =
        (1..=3).map(|frame| lines[&format!("b.gif/00000{frame}")]["box"][0].as_u64().unwrap()).collect();
    assert!(boxes[0] > boxes[1] && boxes[1] > boxes[2], "{boxes:?}");
    let (said, _) = segment(0, &[&data], &out, &["--frames", "all"]);
    assert!(said.contains("4 already done"), "{said}");

    // Cut off within its last frame, it has a frame that cannot be used.
    let bytes = fs::read(data.join("b.gif")).unwrap();
    fs::write(data.join("b.gif"), &bytes[..bytes.len() - 20]).unwrap();
    let out = folder.path().join("cut");
    assert_eq!(segment(3, &[&data], &out, &["--page", "all"]).1.len(), 4);
    let reason = predictions(&out)["b.gif/000003"]["reason"].to_string();
    assert!(reason.contains("frame 3: "), "{reason}");

    let clusters = folder.path().join("clusters");
    let further = ["--frames", "all", "--backbone", "superpixel", "--link"];
    let arguments = ["cluster", "--data", path_text(&data), "--out", path_text(&clusters)];
    expect(3, &[&arguments[..], &further].concat());
    assert!(clusters.join("clusters").exists() && !clusters.join("clusters/0/b.gif").exists());
    assert!(fs::read_to_string(clusters.join("assignments.csv")).unwrap().contains("b.gif/000002,"));
}

#[test]
fn a_folder_without_images_says_what_is_there_instead() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join(".hidden")).unwrap();
    ["x.csv", "y.csv", "z.md"].into_iter().for_each(|name| fs::write(data.join(name), "text").unwrap());
    let out = folder.path().join("out");
    for command in ["train", "segment", "cluster"] {
        let error = expect_error(2, &[command, "--data", path_text(&data), "--out", path_text(&out)]);
        let expected = "no image was found in";
        assert!(
            error.contains(expected) && error.contains("3 files are no images (2 .csv, 1 .md), 1 hidden"),
            "{error}"
        );
    }
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    let error = expect_error(2, &["segment", "--data", path_text(&data), "--out", path_text(&out)]);
    assert!(error.contains("there is no file at all"), "{error}");
}

#[test]
fn lists_are_read_as_other_programs_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let lists = folder.path().join("lists");
    let good = folder.path().join("good");
    ["g0.png", "g 1.png"].into_iter().for_each(|name| picture(&good.join(name)));
    ["#1.png", " t.png"].into_iter().for_each(|name| picture(&lists.join(name)));
    let utf_16: Vec<u8> =
        "\u{feff}../good/g0.png\r\n../good/g 1.png\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let both = ["good/g 1.png", "good/g0.png"];
    let label = "2 lines of";
    for (name, content, expected, remark) in [
        ("utf16.txt", &utf_16[..], &both[..], ""),
        ("tab.txt", b"../good/g0.png\tcat\n../good/g 1.png\tdog\n", &both, label),
        ("label.txt", b"../good/g0.png 0\n../good/g 1.png 1\n", &both, label),
        ("titles.csv", b"Label;File Name\n0;../good/g0.png\n1;\"../good/g 1.png\"\n", &both, ""),
        ("lines.jsonl", b"{\"path\": \"../good/g0.png\"}\n{\"path\": \"../good/g 1.png\"}\n", &both, ""),
        ("array.json", b"[\"../good/g0.png\", \"../good/g 1.png\"]", &both, ""),
        #[cfg(unix)]
        ("windows.txt", b"..\\good\\g0.png\r\n\"..\\good\\g 1.png\"\r\n", &both, ""),
        ("names.txt", b"# a comment\n#1.png\n t.png\n", &[" t.png", "#1.png"], ""),
    ] {
        let list = lists.join(name);
        fs::write(&list, content).unwrap();
        let (said, found) = segment(0, &[&list], &folder.path().join(name), &[]);
        assert_eq!(found, expected, "{name}");
        let said: Vec<&str> = said.lines().filter(|line| line.contains("more than a path")).collect();
        assert_eq!(said.len(), usize::from(!remark.is_empty()), "{name}: {said:?}");
        assert!(said.iter().all(|line| line.starts_with(remark)), "{name}: {said:?}");
    }
    let out = folder.path().join("out");
    for (name, content) in [("annotations.json", "{\n \"images\": []\n}"), ("keys.jsonl", "{\"url\": \"x\"}\n")] {
        let list = lists.join(name);
        fs::write(&list, content).unwrap();
        let error = expect_error(2, &["segment", "--data", path_text(&list), "--out", path_text(&out)]);
        assert!(error.contains("a list is text (UTF-8") && error.contains("in line 1"), "{error}");
    }
}

#[test]
fn several_sources_are_segmented_together_below_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    ["a/in/1.png", "b/in/1.png", "b/in/2.png", "one.png"].into_iter().for_each(|name| picture(&at(name)));
    fs::write(at("b/in/bad.jpg"), "no image").unwrap();
    fs::write(at("list.txt"), "a/in/1.png\n").unwrap();
    let out = at("out");
    let sources = ["a/in", "b/in", "list.txt", "one.png"].map(at);
    let data: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    let (said, found) = segment(3, &data, &out, &[]);
    assert!(
        said.starts_with(&format!(
            "segmenting {}, {}, {}, 1 more",
            data[0].display(),
            data[1].display(),
            data[2].display()
        )),
        "{said}"
    );
    let expected = ["in-2/1.png", "in-2/2.png", "in-2/bad.jpg", "in/1.png", "list/a/in/1.png", "one/one.png"];
    assert_eq!(found, expected);
    assert!(out.join("masks/in-2/2.png").exists() && out.join("masks/one/one.png").exists());
    assert!(segment(3, &data, &out, &[]).0.contains("5 already done"));

    // The images of two folders train one network, which is called after both.
    let [first, second] = [path_text(data[0]), path_text(data[1])];
    let train = |further: &[&str]| {
        let command = ["train", "--data", first, "--data", second, "--json", "--epochs", "2"];
        let mut program = crate::drive::program(&[&command[..], further].concat());
        let output = program.current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let trained = train(&[]);
    assert_eq!((&trained["images"], &trained["checkpoint"]), (&3.into(), &"checkpoints/in+in/best.safetensors".into()));
    let described = at("features.npy");
    expect(3, &["features", "--data", first, "--data", second, "--of", "images", "--out", path_text(&described)]);
    let index = fs::read_to_string(at("features.npy.index.jsonl")).unwrap();
    let paths: Vec<String> = index
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["path"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(paths, ["in/1.png", "in-2/1.png", "in-2/2.png"]);
    let grouped = ["cluster", "--data", first, "--data", second, "--features", path_text(&described)];
    expect(0, &[&grouped[..], &["--epochs", "5", "--out", path_text(&at("groups"))]].concat());
    let assigned = fs::read_to_string(at("groups/assignments.csv")).unwrap();
    assert!(paths.iter().all(|path| assigned.contains(path)), "{assigned}");

    let error = run(&["segment", "--data", path_text(&at("b")), "--data", second, "--out", path_text(&out)]);
    assert_eq!(error.status.code(), Some(2));
    assert!(text(&error.stderr).contains("there twice"), "{}", text(&error.stderr));
}

#[cfg(not(feature = "remote"))]
#[test]
fn what_lies_elsewhere_needs_a_build_that_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    picture(&data.join("a.png"));
    let (here, plan) = (path_text(&data), folder.path().join("plan.json"));
    for (data, out) in [
        ("s3://bucket/photographs", path_text(&plan)),
        ("https://host/a.jpg", path_text(&plan)),
        (here, "gs://bucket/plan.json"),
    ] {
        let error = expect_error(2, &["plan", "--data", data, "--shards", "1", "--out", out]);
        assert!(error.contains("build it with the feature `remote`"), "{data}: {error}");
    }
    assert!(!plan.exists());
}
