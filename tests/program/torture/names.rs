//! Names that mean something to a shell, a list, a table or a file system.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use deepcut::output::read_mask;
use image::ImageFormat;
use image::imageops::{self, FilterType};
use serde_json::Value;

use super::ground::{ALL_KINDS, Entry, checkpoint, encoded, fresh, picture, same, tree, visible};
use super::process::{Ended, run};
use super::{Outcome, Row, ensure, settle};
use crate::drive::program;

fn format(name: &OsStr) -> ImageFormat {
    ImageFormat::from_path(Path::new(name)).unwrap()
}

/// Writes an image under every name, each of a width that no other one has, so that its mask is known by that; gives the
/// widths.
fn write(folder: &Path, names: &[&[u8]]) -> BTreeSet<u32> {
    for (name, width) in names.iter().zip(30..) {
        let name = OsStr::from_bytes(name);
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let wide = imageops::resize(&picture(width), width, 40, FilterType::Nearest);
        wide.save_with_format(&path, format(name)).unwrap();
    }
    (30..30 + names.len() as u32).collect()
}

/// Names of a kind each.
fn kinds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let long = |letter: u8, length: usize, extension: &str| {
        let mut name = vec![letter; length - extension.len()];
        name.extend(extension.as_bytes());
        name
    };
    let all = |names: &[&[u8]]| names.iter().map(|name| name.to_vec()).collect::<Vec<_>>();
    vec![
        (
            "bytes that are no text",
            all(&[
                b"a\xff.png",
                b"a\xfe.png",
                b"a\\xff.png",
                "a\u{fffd}.png".as_bytes(),
                b"\xe9/b.png",
                b"\xe8/b.png",
                b"\\x5cxff.png",
            ]),
        ),
        (
            "line breaks, quotes and controls",
            all(&[
                b"a\nb.png",
                b"a\rb.png",
                b"a\r\nb.png",
                b"a\tb.png",
                b"a\"b.png",
                b"a'b.png",
                b"a\x1b[31mb.png",
                b"a,b.png",
                b"a;b.png",
                b"a b.png",
                b" a.png",
                b"a .png",
            ]),
        ),
        (
            "signs of lists, formulas, flags and pages",
            all(&[
                b"#a.png",
                b"\\#a.png",
                b"=a.png",
                b"+a.png",
                b"@a.png",
                b"-a.png",
                b"--out.png",
                b"<b>.png",
                b"&amp;.png",
                b"%41.png",
                b"*.png",
                b"?.png",
                b"~.png",
                b"$HOME.png",
                b"`a`.png",
                b"|a.png",
                b"<script>alert(1)<_script>.png",
            ]),
        ),
        (
            "one stem, several extensions and points",
            all(&[
                b"a.png",
                b"a.jpg",
                b"a.jpeg",
                b"a.PNG",
                b"a.bmp",
                b"a.png.png",
                b"a.png.jpg",
                b"a.png-2.png",
                b"a.b.png",
                b"a.b.jpg",
                b"a..png",
                b".a.b/a.png",
                b"a/a.png",
                b"A.png",
            ]),
        ),
        (
            "Unicode in several forms",
            all(&[
                "\u{e9}.png".as_bytes(),
                "e\u{301}.png".as_bytes(),
                "\u{212b}.png".as_bytes(),
                "\u{c5}.png".as_bytes(),
                "\u{202e}gnp.png".as_bytes(),
                "\u{200b}.png".as_bytes(),
                "\u{feff}a.png".as_bytes(),
                "日本語.png".as_bytes(),
                "🦀.png".as_bytes(),
            ]),
        ),
        (
            "names as long as the file system allows",
            vec![
                long(b'l', 255, ".png"),
                long(b'l', 255, ".jpg"),
                long(b'm', 255, ".webp"),
                long(b'n', 254, ".bmp"),
                long(b'o', 250, ".png"),
                long(b'p', 255, ".gif"),
            ],
        ),
        (
            "names of outputs",
            all(&[
                b"masks/a.png",
                b"overlays/a.jpg",
                b"predictions.jsonl.png",
                b"labels.json.png",
                b"yolo/labels/a.png",
                b"coco.json.png",
                b"con.png",
                b"nul.png",
                b"lock.png",
            ]),
        ),
    ]
}

fn infer(data: &OsStr, out: &Path, folder: &Path) -> Ended {
    let mut command = program(&["infer", "--save", ALL_KINDS, "--threads", "2", "--max-bad", "1", "--ckpt"]);
    command.arg(checkpoint()).arg("--data").arg(data).arg("--out").arg(out).current_dir(folder);
    run(&mut command)
}

/// Every image has one line of its own and, unless it is skipped for a reason, one mask of its own size.
fn accounted(out: &Path, images: &BTreeSet<u32>, ended: &Ended) -> Outcome {
    ended.ended_with(&[0, 3])?;
    let table = fs::read_to_string(out.join("predictions.jsonl")).map_err(|error| error.to_string())?;
    let lines: Vec<Value> =
        table.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let paths: BTreeSet<&str> = lines.iter().filter_map(|line| line["path"].as_str()).collect();
    ensure(lines.len() == images.len(), || format!("{} lines for {} images:\n{table}", lines.len(), images.len()))?;
    ensure(paths.len() == images.len(), || format!("{} images have a line of their own:\n{table}", paths.len()))?;
    let mut expected = BTreeSet::new();
    for line in &lines {
        match line["width"].as_u64() {
            Some(width) => ensure(expected.insert(width as u32), || format!("two images of {width} pixels"))?,
            // Only names that are too long for their results may have none.
            None => ensure(line["reason"].as_str().is_some_and(|reason| reason.contains("long")), || line.to_string())?,
        }
    }
    let mut found = BTreeSet::new();
    for (path, entry) in tree(&out.join("masks")) {
        if entry != Entry::Folder {
            let mask = read_mask(&out.join("masks").join(&path)).map_err(|error| error.to_string())?;
            ensure(found.insert(mask.width as u32), || format!("two masks of {} pixels", mask.width))?;
        }
    }
    ensure(found == expected, || format!("masks are {found:?} wide, images that are done {expected:?}"))?;
    ensure(found.is_subset(images), || format!("masks are {found:?} wide, images {images:?}"))
}

/// Pages and tables that others read: no name may break them.
fn readable(out: &Path) -> Outcome {
    let read = |name: &str| fs::read_to_string(out.join(name)).map_err(|error| format!("{name}: {error}"));
    let coco: Value = serde_json::from_str(&read("coco.json")?).map_err(|error| format!("coco.json: {error}"))?;
    let names: Vec<&str> =
        coco["images"].as_array().unwrap().iter().filter_map(|image| image["file_name"].as_str()).collect();
    let unique: BTreeSet<&&str> = names.iter().collect();
    ensure(unique.len() == names.len(), || format!("coco.json has equal names: {names:?}"))?;
    let page = read("report.html")?;
    ensure(!page.contains("<script>alert(1)"), || "a name became part of the page")
}

#[test]
fn every_name_has_results_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut row = Row::new("names", "images with odd names in a folder: a line and a mask of its own each");
    for (at, (what, names)) in kinds().into_iter().enumerate() {
        let (data, out) = (folder.path().join(format!("data{at}")), folder.path().join(format!("out{at}")));
        // A file system that does not tell names apart has fewer of them.
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).filter(|name| !name.starts_with(b".")).collect();
        let images = write(&data, &names);
        let ended = infer(data.as_os_str(), &out, folder.path());
        row.attempt(what, accounted(&out, &images, &ended).and_then(|()| readable(&out)));
        // A second time everything is known again.
        let before = visible(&out);
        let ended = infer(data.as_os_str(), &out, folder.path());
        let nothing_done = ensure(ended.out.contains("segmented 0 images"), || ended.out.clone());
        let outcome = accounted(&out, &images, &ended).and(nothing_done);
        let kept = same(&before, &visible(&out));
        row.attempt(format_args!("{what}, again"), outcome.and(kept));
    }
    settle([row]);
}

/// A name may not break out of the line that it is named in, nor speak to the terminal.
#[test]
fn names_in_messages_stay_names() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write(&data, &[b"good.png"]);
    let mut row = Row::new("names", "messages about files with odd names: a line each, without control characters");
    let names: [&[u8]; 6] = [
        b"a\nskipped: good.png: forged.png",
        b"a\rerror: forged.png",
        b"a\x1b]0;title\x07.png",
        b"a\x1b[2J.png",
        b"a\x9b2J.png",
        "\u{9b}2J.png".as_bytes(),
    ];
    for name in names {
        let path = data.join(OsStr::from_bytes(name));
        fs::write(&path, "no image").unwrap();
        let ended = infer(data.as_os_str(), fresh(&folder.path().join("out")), folder.path());
        fs::remove_file(&path).unwrap();
        let outcome = || -> Outcome {
            ended.ended_with(&[3])?;
            let lines = ended.error.lines().filter(|line| line.starts_with("skipped:")).count();
            ensure(lines == 1 && !ended.error.contains("\nerror:"), || format!("{:?}", ended.error))?;
            let raw = ended.error.chars().any(|character| character.is_control() && character != '\n');
            ensure(!raw, || format!("{:?}", ended.error))
        };
        row.attempt(name.escape_ascii(), outcome());
    }
    settle([row]);
}

#[test]
fn every_line_of_a_list_has_results_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let ground = folder.path().join("a/b");
    let names: [&[u8]; 9] =
        [b"x.png", b"../x.png", b"../../x.png", b"#y.png", b"=z.png", b"-z.png", b"deep/x.png", b"s s.png", b"e.png"];
    let images = write(&ground, &names);
    let absolute = ground.join("e.png").into_os_string();
    let mut lines: Vec<Vec<u8>> = names[..8].iter().map(|name| name.to_vec()).collect();
    lines.push(absolute.into_vec());
    lines[3] = b"\\#y.png".to_vec();
    lines.insert(0, b"# the images of this list".to_vec());
    lines.insert(4, Vec::new());
    let list = ground.join("list.txt");
    let mut row = Row::new("names", "odd lines of a list: a line and a mask of its own each");
    for (what, end) in [("lines", &b"\n"[..]), ("lines of Windows", b"\r\n")] {
        let out = folder.path().join("out");
        fs::write(&list, lines.join(end)).unwrap();
        let ended = infer(list.as_os_str(), fresh(&out), &ground);
        row.attempt(what, accounted(&out, &images, &ended).and_then(|()| readable(&out)));
        let outside = tree(folder.path());
        let strays: Vec<&PathBuf> = outside
            .keys()
            .filter(|path| !path.starts_with("out") && path.extension().is_some_and(|end| end == "png"))
            .collect();
        row.attempt(
            format_args!("{what}, outside the results"),
            ensure(strays.len() == images.len(), || format!("{strays:?}")),
        );
    }
    settle([row]);
}

#[test]
fn odd_folders_are_folders_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut row = Row::new("names", "odd names of the folders of images and results");
    for (at, name) in
        [&b"-d"[..], b"d\xff", b"d\nd", b"#d", b"=d", b"d.png", b"d,d", b"d d", b"\"d\""].iter().enumerate()
    {
        let ground = folder.path().join(at.to_string());
        let data = OsStr::from_bytes(name);
        let images = write(&ground.join(data), &[b"a.png", b"b/c.jpg"]);
        let out = OsString::from_vec([b"./out ", *name].concat());
        // A name that begins like a flag is given as all programs take it.
        let given =
            if name.starts_with(b"-") { OsString::from_vec([b"./", *name].concat()) } else { data.to_os_string() };
        let ended = infer(&given, Path::new(&out), &ground);
        row.attempt(name.escape_ascii(), accounted(&ground.join(out), &images, &ended));
    }
    settle([row]);
}

#[test]
fn pictures_of_all_formats_are_written_by_this_harness() {
    // The rows above would mean little if their images were none.
    for name in ["a.png", "a.jpg", "a.jpeg", "a.PNG", "a.bmp", "a.gif", "a.webp"] {
        let format = format(OsStr::new(name));
        assert!(image::load_from_memory_with_format(&encoded(1, format), format).is_ok(), "{name}");
    }
}
