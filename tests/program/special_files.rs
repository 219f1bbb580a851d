//! Files that are no files, and files that are too large: nothing waits for ever, and memory stays bounded.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::drive::{disc, path_text, predictions, program, project, text, write_png};

/// How a run ended, and the most memory that it had in MiB.
struct Ended {
    code: Option<i32>,
    error: String,
    peak_mebibytes: u64,
}

/// Runs the program for at most a minute.
fn watched(arguments: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let errors = folder.path().join("errors");
    let mut command = program(arguments);
    command.stdout(Stdio::null()).stderr(File::create(&errors).unwrap());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (begun, mut peak) = (Instant::now(), 0);
    let code = loop {
        // The peak as the system keeps it, so that nothing is missed between two looks but the last moment.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
        peak = line.map_or(peak, |number| number.trim().parse().unwrap());
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{arguments:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Ended { code, error: fs::read_to_string(&errors).unwrap(), peak_mebibytes: peak >> 10 }
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// However many images are bad.
const SPECTRAL: [&str; 5] = ["segment", "--method", "spectral", "--max-bad", "1"];

#[test]
fn what_is_no_file_is_skipped_and_never_opened() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_png(&data.join("good.png"), 80, 60, disc);
    write_png(&data.join("folder.jpg/inner.png"), 80, 60, disc);
    make_pipe(&data.join("pipe.jpg"));
    symlink("/dev/zero", data.join("zero.bmp")).unwrap();
    let _listener = UnixListener::bind(data.join("socket.png")).unwrap();
    // Two images of one stem whose name leaves no room for a second extension.
    let long = "x".repeat(251);
    for extension in ["bmp", "png"] {
        write_png(&data.join(format!("{long}.{extension}")), 80, 60, disc);
    }
    let list = folder.path().join("list.txt");
    let listed = "data/good.png\ndata/pipe.jpg\ndata/zero.bmp\ndata/socket.png\ndata/folder.jpg\ndata/missing.png\n";
    fs::write(&list, listed).unwrap();
    let kinds = [("pipe.jpg", "a named pipe"), ("zero.bmp", "a device"), ("socket.png", "a socket")];
    let kinds = [&kinds[..], &[("folder.jpg", "a folder")]].concat();
    for (source, done, further) in [
        (&data, &["folder.jpg/inner.png", "good.png"][..], &["too long"][..]),
        (&list, &["data/good.png"], &["missing.png"]),
        (&data.join("pipe.jpg"), &[], &[]),
    ] {
        let out = folder.path().join("out");
        let ended = watched(&[&SPECTRAL[..], &["--data", path_text(source), "--out", path_text(&out)]].concat());
        assert_eq!(ended.code, Some(3), "{}", ended.error);
        let expected = kinds.iter().filter(|(name, _)| source.is_dir() || source == &list || source.ends_with(name));
        for (name, kind) in expected {
            let said = |line: &&str| line.starts_with("skipped:") && line.contains(name) && line.contains(kind);
            assert_eq!(ended.error.lines().filter(said).count(), 1, "{name}\n{}", ended.error);
        }
        assert!(further.iter().all(|text| ended.error.contains(text)), "{}", ended.error);
        let lines = predictions(&out);
        assert!(done.iter().all(|name| lines[*name]["status"] != "skipped"), "{lines:?}");
        if source.is_dir() {
            assert_eq!(lines[&format!("{long}.png")]["status"], "skipped");
            assert_ne!(lines[&format!("{long}.bmp")]["status"], "skipped");
        }
        fs::remove_dir_all(&out).unwrap();
    }
    let run = folder.path().join("run");
    let ended =
        watched(&["train", "--data", path_text(&data), "--out", path_text(&run), "--epochs", "2", "--max-bad", "1"]);
    assert_eq!(ended.code, Some(3), "{}", ended.error);
}

#[test]
fn no_argument_waits_for_a_pipe_or_reads_a_device_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let data = path("data");
    write_png(&Path::new(&data).join("good.png"), 80, 60, disc);
    let (zero, zero_json, pipe, pipe_json) = (path("zero"), path("zero.json"), path("pipe"), path("pipe.json"));
    for name in [&zero, &zero_json] {
        symlink("/dev/zero", name).unwrap();
    }
    make_pipe(Path::new(&pipe));
    make_pipe(Path::new(&pipe_json));
    fs::create_dir(path("predictions")).unwrap();
    let (out, predictions, pixel) = (path("out"), path("predictions"), ["--backbone", "pixel"]);
    for (file, json) in [(&*zero, &*zero_json), (&pipe, &pipe_json)] {
        for arguments in [
            &["segment", "--data", file, "--out", &out][..],
            &["segment", "--data", &data, "--out", &out, "--config", file],
            &["segment", "--data", &data, "--out", &out, "--weights", file, "--set", "backbone=vit"],
            &["infer", "--data", &data, "--out", &out, "--ckpt", file],
            &["cluster", "--out", &out, "--features", file],
            &["cluster", "--data", &data, "--out", &out, "--ckpt", file],
            &["cluster", "--data", &data, "--out", &out, "--labels", file, pixel[0], pixel[1]],
            &["eval", "--pred", &predictions, "--truth", json, "--task", "boxes"],
        ] {
            let Ended { code, error, peak_mebibytes } = watched(arguments);
            let told = error.lines().filter(|line| line.starts_with("error:") && line.contains(file)).count();
            assert!(matches!(code, Some(2 | 4 | 5)) && told == 1, "{arguments:?} {code:?}\n{error}");
            assert!(peak_mebibytes < 300, "{arguments:?} takes {peak_mebibytes} MiB");
        }
    }
}

#[test]
fn a_configuration_may_come_from_another_program() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_png(&data.join("good.png"), 80, 60, disc);
    let script =
        "printf '[segment]\\nmethod = \"spectral\"\\n' | \"$0\" segment --config /dev/stdin --data \"$1\" --out \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_deepcut")]).args([&data, &out]);
    let Output { status, stderr, .. } = command.env("DEEPCUT_HOME", "/nonexistent").output().unwrap();
    assert!(status.success(), "{}", text(&stderr));
}

/// A file of `mebibytes` that begins with `start`, without taking that much of the disk.
fn sparse(path: &Path, start: &[u8], mebibytes: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, start).unwrap();
    File::options().write(true).open(path).unwrap().set_len(mebibytes << 20).unwrap();
}

#[test]
fn however_large_files_and_pictures_say_they_are_memory_stays_within_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    for number in 0..12 {
        // No image at all: known after a few bytes. Then one that has to be read to the end to know that it is none.
        sparse(&data.join(format!("text-{number}.jpg")), b"no image", 505);
        sparse(&data.join(format!("cut-{number}.jpg")), b"\xFF\xD8\xFF\xDB\0\x04\0\0", 100);
    }
    // Canvases of 65535 × 65535 and of 11000 × 8000 pixels, and a frame much larger than its canvas.
    let gif = |canvas: [u16; 2], frame: [u16; 2]| {
        let numbers = |numbers: [u16; 2]| numbers.map(u16::to_le_bytes).concat();
        let frame = [&b"\x2C\0\0\0\0"[..], &numbers(frame), b"\0\x02\x02\x44\x01\0\x3B"].concat();
        [&b"GIF89a"[..], &numbers(canvas), b"\x80\0\0\0\0\0\xFF\xFF\xFF", &frame].concat()
    };
    fs::write(data.join("canvas.gif"), gif([65535, 65535], [65535, 65535])).unwrap();
    fs::write(data.join("large.gif"), gif([11000, 8000], [11000, 8000])).unwrap();
    fs::write(data.join("frame.gif"), gif([10, 10], [11000, 11000])).unwrap();
    let out = folder.path().join("out");
    let arguments = ["--memory", "250MiB", "--threads", "8", "--data", path_text(&data), "--out", path_text(&out)];
    let Ended { code, error, peak_mebibytes } = watched(&[&SPECTRAL[..], &arguments].concat());
    assert_eq!(code, Some(3), "{error}");
    assert_eq!(error.lines().filter(|line| line.starts_with("skipped:")).count(), 27, "{error}");
    assert!(peak_mebibytes < 400, "{peak_mebibytes} MiB");

    // An image that never fits is left out, and what to do about it is said.
    let data = folder.path().join("photographs");
    fs::create_dir(&data).unwrap();
    fs::copy(project("demonstration/images/balloon_red.jpg"), data.join("a.jpg")).unwrap();
    write_png(&data.join("b.png"), 700, 700, disc);
    let arguments = ["--memory", "1", "--data", path_text(&data), "--out", path_text(&out)];
    let Ended { code, error, .. } = watched(&[&SPECTRAL[..], &arguments].concat());
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("b.png") && error.contains("raise --memory"), "{error}");
    let Ended { code, .. } = watched(&[&SPECTRAL[..], &["--memory", "much"], &arguments[2..]].concat());
    assert_eq!(code, Some(2));
}
