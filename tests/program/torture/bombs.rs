//! Files that are made to take memory or time.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use image::ImageFormat;

use super::bad_images::tiff_entry;
use super::ground::{checkpoint, encoded, fresh, save_picture};
use super::process::{Ended, run};
use super::{Outcome, Row, ensure, is_long, settle};
use crate::drive::{path_text, predictions, program, write_png};

/// What a run with bombs may need beyond one without, in KiB: room for a large image or two, not for every bomb.
const BOUND_KIB: u64 = 256 << 10;

const LIMIT: [&str; 2] = ["--memory", "256MiB"];

/// A file that says it is large and takes no room.
fn sparse(path: &Path, beginning: &[u8], mebibytes: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::create(path).unwrap();
    file.write_all(beginning).unwrap();
    file.set_len(mebibytes << 20).unwrap();
}

/// A valid PNG of one colour: some kilobytes that decode to `side` × `side` pixels.
fn png_of(side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&vec![0x55; (side.div_ceil(8) * side) as usize]).unwrap();
    writer.finish().unwrap();
    bytes
}

/// A GIF whose canvas, and whose picture if `whole`, has the largest size there is.
fn gif_bomb(whole: bool) -> Vec<u8> {
    let mut bytes = encoded(0, ImageFormat::Gif);
    bytes[6..10].fill(0xff);
    if whole {
        // The picture's descriptor: a comma, its place (4 bytes), its size.
        let at = bytes.windows(5).rposition(|five| five == [0x2c, 0, 0, 0, 0]).unwrap();
        bytes[at + 5..at + 9].fill(0xff);
    }
    bytes
}

/// A JPEG that ends after a header with the largest size.
fn jpeg_bomb() -> Vec<u8> {
    let mut bytes = encoded(0, ImageFormat::Jpeg);
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[frame + 5..frame + 9].fill(0xff);
    bytes
}

/// A TIFF whose directory has the largest sides.
fn tiff_bomb() -> Vec<u8> {
    let mut bytes = encoded(0, ImageFormat::Tiff);
    for tag in [256, 257] {
        let at = tiff_entry(&bytes, tag);
        bytes[at..at + 4].fill(0xff);
    }
    bytes
}

/// Bombs of a kind, with names that begin with `bomb`.
fn bombs(folder: &Path, kind: &str) {
    let number = 12;
    let name = |at: usize, extension: &str| folder.join(format!("bomb{at}.{extension}"));
    let write =
        |extension: &str, bytes: &[u8]| (0..number).for_each(|at| fs::write(name(at, extension), bytes).unwrap());
    fs::create_dir_all(folder).unwrap();
    match kind {
        "sparse files that are no images" => (0..number).for_each(|at| sparse(&name(at, "jpg"), b"", 500)),
        "sparse files with the beginning of an image" => {
            (0..number).for_each(|at| sparse(&name(at, "jpg"), &encoded(0, ImageFormat::Jpeg)[..300], 500));
            (0..number).for_each(|at| sparse(&name(at, "png"), &encoded(0, ImageFormat::Png)[..60], 500));
            (0..number).for_each(|at| sparse(&name(at, "bmp"), b"BM", 500));
        }
        "GIFs of 65535 × 65535 pixels" => {
            write("gif", &gif_bomb(false));
            (0..number).for_each(|at| fs::write(folder.join(format!("bomb{at} whole.gif")), gif_bomb(true)).unwrap());
        }
        "JPEGs of 65535 × 65535 pixels" => write("jpg", &jpeg_bomb()),
        "TIFFs with sides of 32 bits" => write("tif", &tiff_bomb()),
        "PNGs of a few kilobytes that are 14000 × 14000 pixels" => write("png", &png_of(14_000)),
        _ => panic!("there are no bombs {kind}"),
    }
}

const KINDS: [&str; 6] = [
    "sparse files that are no images",
    "sparse files with the beginning of an image",
    "TIFFs with sides of 32 bits",
    "GIFs of 65535 × 65535 pixels",
    "JPEGs of 65535 × 65535 pixels",
    "PNGs of a few kilobytes that are 14000 × 14000 pixels",
];

fn infer(data: &Path, out: &Path, further: &[&str]) -> Ended {
    let checkpoint = checkpoint();
    let arguments = ["infer", "--ckpt", path_text(&checkpoint), "--save", "masks", "--threads", "8", "--max-bad", "1"];
    run(program(&arguments).arg("--data").arg(data).arg("--out").arg(fresh(out)).args(further))
}

/// What a run without bombs needs, in KiB.
fn usual_kib(ground: &Path) -> u64 {
    let data = ground.join("usual");
    (0..8).for_each(|number| save_picture(&data.join(format!("good{number}.png")), number));
    let ended = infer(&data, &ground.join("out"), &LIMIT);
    // Without the flags of a later test the memory is measured all the same.
    ended.peak_kib
}

fn within_bound(ended: &Ended, usual: u64) -> Outcome {
    let most = usual + BOUND_KIB;
    // What is refused at once may be over before anybody looks; nobody fills the memory in so short a time.
    ensure(ended.peak_kib > 0 || ended.took < Duration::from_secs(1), || "its memory was not seen")?;
    ensure(ended.peak_kib < most, || {
        format!("it took {} MiB, with good images {} MiB", ended.peak_kib >> 10, usual >> 10)
    })
}

#[test]
fn bombs_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let usual = usual_kib(folder.path());
    let out = folder.path().join("out");
    let kinds = if is_long() { &KINDS[..] } else { &KINDS[..4] };
    settle(kinds.iter().map(|kind| {
        let data = folder.path().join("data");
        fresh(&data);
        bombs(&data, kind);
        (0..8).for_each(|number| save_picture(&data.join(format!("good{number}.png")), number));
        let mut row = Row::new("bombs", format!("twelve and more {kind}, 8 threads, {}", LIMIT.join(" ")));
        let ended = infer(&data, &out, &LIMIT);
        row.attempt("the exit code", ended.ended_with(&[0, 3]));
        row.attempt("the memory", within_bound(&ended, usual));
        let done = || {
            predictions(&out)
                .iter()
                .filter(|(name, line)| name.starts_with("good") && line["status"] != "skipped")
                .count()
        };
        let counted = if out.join("predictions.jsonl").exists() { done() } else { 0 };
        row.attempt("the good images", ensure(counted == 8, || format!("{counted} of 8 are done")));
        row
    }));
}

#[test]
fn what_is_no_file_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let ground = folder.path();
    let data = ground.join("data");
    save_picture(&data.join("good.png"), 1);
    fs::create_dir(data.join("folder.jpg")).unwrap();
    std::os::unix::fs::symlink("nowhere.png", data.join("dangling.png")).unwrap();
    std::os::unix::fs::symlink("circle.png", data.join("circle.png")).unwrap();
    std::os::unix::fs::symlink("..", data.join("upwards")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", data.join("zero.png")).unwrap();
    let pipe = data.join("pipe.jpg");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(data.join("socket.png")).unwrap();
    let usual = usual_kib(ground);
    let out = ground.join("out");
    let list = ground.join("list.txt");
    let names =
        ["data/good.png", "/dev/zero", "/dev/random", "data/pipe.jpg", "data/socket.png", "data/folder.jpg", "data"];
    fs::write(&list, names.join("\n")).unwrap();
    let mut row = Row::new("bombs", "pipes, sockets, devices, folders and dead links named as images");
    for (what, given) in [("a folder", &data), ("a list", &list)] {
        let arguments =
            ["infer", "--ckpt", path_text(&checkpoint()), "--save", "masks", "--max-bad", "1"].map(String::from);
        let mut command = program(&[]);
        command.args(arguments).arg("--data").arg(given).arg("--out").arg(fresh(&out));
        let ended = super::process::Process::start(&mut command).wait_at_most(Duration::from_secs(20));
        row.attempt(format_args!("{what}, the exit code"), ended.ended_with(&[3]));
        row.attempt(format_args!("{what}, the memory"), within_bound(&ended, usual));
    }
    for device in ["/dev/zero", "/dev/random", path_text(&pipe)] {
        for arguments in [
            vec!["infer", "--ckpt", path_text(&checkpoint()), "--data", device],
            vec!["infer", "--ckpt", device, "--data", path_text(&data)],
            vec!["train", "--config", device, "--data", path_text(&data)],
            vec!["train", "--weights", device, "--data", path_text(&data)],
            vec!["cluster", "--features", device],
            vec!["cluster", "--data", path_text(&data), "--labels", device],
            vec!["eval", "--pred", path_text(&out), "--truth", device, "--task", "boxes"],
        ] {
            // A pipe that nobody writes to may be waited for where pipes are read at all; signals are another test.
            if device == path_text(&pipe) && arguments.get(3) != Some(&"--data") {
                continue;
            }
            let mut command = program(&arguments);
            if arguments[0] != "eval" {
                command.arg("--out").arg(fresh(&ground.join("other")));
            }
            let ended = super::process::Process::start(&mut command).wait_at_most(Duration::from_secs(20));
            let outcome = ended.ended_with(&[2, 3, 4, 5]).and_then(|()| within_bound(&ended, usual));
            row.attempt(format_args!("{arguments:?}"), outcome);
        }
    }
    settle([row]);
}

/// Most that dividing one long image may take, in KiB.
const LONG_KIB: u64 = 300 << 10;

#[test]
fn long_thin_images_are_divided_in_bounded_memory() {
    const SIDES: (u32, u32) = (20, 10_000);
    let folder = tempfile::tempdir().unwrap();
    let ground = folder.path();
    let [data, book, out] = ["data", "book", "out"].map(|name| ground.join(name));
    // Bands of two colours, upright and lying.
    let colour = |along: u32, across: u32| {
        let noise = (along * 7 + across * 13) as u8 % 20;
        if (along / 2500).is_multiple_of(2) { [200 + noise, 40, 60] } else { [30, 160 + noise, 70] }
    };
    write_png(&data.join("upright.png"), SIDES.0, SIDES.1, |x, y| colour(y, x));
    write_png(&data.join("lying.png"), SIDES.1, SIDES.0, colour);
    let (data, checkpoint) = (path_text(&data), book.join("best.safetensors"));
    let mut row = Row::new("bombs", "images of 20 × 10000 pixels divided into regions, within 300 MiB");
    let bounded = |ended: &Ended, most: u64| {
        ended.ended_with(&[0])?;
        ensure(ended.peak_kib < most, || format!("it took {} MiB", ended.peak_kib >> 10))
    };
    let learn = ["train", "--regions", "8", "--backbone", "superpixel", "--data", data, "--out", path_text(&book)];
    row.attempt("train --regions", bounded(&run(&mut program(&learn)), LONG_KIB));
    let infer = ["infer", "--ckpt", path_text(&checkpoint)];
    let steps: &[&str] = if is_long() { &[] } else { &["--set", "grapl.steps=[2, 2]"] };
    for arguments in [
        [&["segment", "--method", "grapl"][..], steps].concat(),
        vec!["segment", "--method", "slic-cut"],
        infer.to_vec(),
        [&infer[..], &["--refine", "cut"]].concat(),
        [&infer[..], &["--refine", "bilateral", "--set", "regions.split=true"]].concat(),
    ] {
        let ended = run(program(&arguments).args(["--data", data, "--threads", "1", "--out"]).arg(fresh(&out)));
        let outcome = || -> Outcome {
            bounded(&ended, LONG_KIB)?;
            for (name, (width, height)) in [("upright", SIDES), ("lying", (SIDES.1, SIDES.0))] {
                let mask = deepcut::output::read_mask(&out.join(format!("masks/{name}.png"))).unwrap();
                let sides = (mask.width as u32, mask.height as u32);
                ensure(sides == (width, height), || format!("{name} has a mask of {sides:?}"))?;
                ensure(!mask.values.contains(&0), || format!("{name} is not divided as a whole"))?;
                // In the middle of two bands beside each other.
                let at = |along: usize| if height > width { mask.at(10, along) } else { mask.at(along, 10) };
                ensure(at(3750) != at(6250), || format!("{name} is one region"))?;
            }
            Ok(())
        };
        row.attempt(format_args!("{arguments:?}"), outcome());
    }
    settle([row]);
}
