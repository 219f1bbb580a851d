//! Signals: an interrupt ends the program soon, whatever it is doing, and a limit of the system is an error like others.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::drive::{disc, expect, path_text, program, project, text, write_png};

/// What the program promises, and what a loaded machine may add.
const SOON: Duration = Duration::from_millis(2000 + 1500);

/// Starts the program, ends it after `wait` with a SIGTERM, and gives what it said on both outputs.
fn terminated(arguments: &[&str], wait: Duration) -> (String, String) {
    let mut command = program(arguments);
    // Nobody ever writes to its standard input, and nobody closes it.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _silent = child.stdin.take();
    std::thread::sleep(wait);
    let sent = Instant::now();
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    // A program that does not end must not hold up the tests.
    let mut last_resort = Command::new("sh").args(["-c", &format!("sleep 20; kill -9 {id}")]).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let took = sent.elapsed();
    last_resort.kill().unwrap();
    last_resort.wait().unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(143), "{arguments:?} after {took:?}\n{out}\n{error}");
    assert!(took < SOON, "{arguments:?} ended {took:?} after the signal");
    assert_eq!(error.lines().filter(|line| line.starts_with("error: interrupted")).count(), 1, "{error}");
    assert!(!error.contains("panicked"), "{error}");
    (out, error)
}

/// Vectors without any groups, in the form of NumPy.
fn write_vectors(path: &Path, rows: usize, columns: usize) {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    while !(11 + header.len()).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    let mut state = 1u32;
    for _ in 0..rows * columns {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend((state as f32 / u32::MAX as f32).to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn long_computations_end_soon_after_an_interrupt() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = folder.path().join("vectors.npy");
    write_vectors(&vectors, 40_000, 64);
    let out = folder.path().join("groups");
    let group = ["cluster", "--features", path_text(&vectors), "--out", path_text(&out)];
    let (_, error) =
        terminated(&[&group[..], &["--method", "kmeans", "--clusters", "1000"]].concat(), Duration::from_secs(3));
    assert!(error.contains("repeat the command to continue"), "{error}");

    let image = folder.path().join("disc.png");
    write_png(&image, 80, 60, disc);
    let out = folder.path().join("results");
    let segment = ["segment", "--data", path_text(&image), "--out", path_text(&out), "--epochs", "1000000", "--json"];
    let (said, error) = terminated(&segment, Duration::from_secs(2));
    assert_eq!(said, "");
    assert!(error.contains("finished masks are kept"), "{error}");
    assert!(!out.join("masks/disc.png").exists());
}

#[test]
fn waiting_for_a_pipe_ends_soon_after_an_interrupt() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (project("demonstration/images"), folder.path().join("out"));
    let (pipe, data, out) = ("/dev/stdin", path_text(&data), path_text(&out));
    let cases: [(&[&str], &str); 3] = [
        (&["infer", "--ckpt", pipe, "--data", data, "--out", out], "finished masks are kept"),
        (&["train", "--config", pipe, "--data", data, "--out", out], "--resume"),
        (&["inspect", pipe], "interrupted; repeat the command"),
    ];
    for (arguments, expected) in cases {
        let (_, error) = terminated(arguments, Duration::from_millis(500));
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    assert!(!Path::new(out).exists());
}

/// A shell in which the program is started under limits of the system.
fn in_shell(script: &str, arguments: &[&str]) -> std::process::Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_deepcut")]).args(arguments);
    shell.env("DEEPCUT_HOME", "/nonexistent").stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_file_that_may_not_grow_is_an_error_of_writing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (project("demonstration/images"), folder.path().join("out"));
    let train = ["train", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "2"];
    let output = in_shell("ulimit -f 8; exec \"$@\"", &train);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{error}");
    assert!(error.contains("File too large") && error.contains(path_text(&out)), "{error}");
    expect(0, &train);
}

#[test]
fn closed_outputs_are_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_png(&data.join("disc.png"), 80, 60, disc);
    fs::write(data.join("bad.png"), "no image").unwrap();
    let segment = ["segment", "--data", path_text(&data), "--out", path_text(&out), "--epochs", "2"];
    for closed in ["exec \"$@\" >&-", "exec \"$@\" 2>&-", "exec \"$@\" >&- 2>&- <&-"] {
        let output = in_shell(closed, &segment);
        assert_eq!(output.status.code(), Some(3), "{closed}: {}", text(&output.stderr));
    }
    // A reader that has heard enough.
    let listing = in_shell("\"$@\" | head -n 1 >/dev/null", &["config"]);
    assert_eq!((listing.status.code(), text(&listing.stderr).as_str()), (Some(0), ""));
}

/// The user and his limit of threads: another one than the superuser, whom no limit binds.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_the_system_refuses_are_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let is_root = text(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
    // Any number, so that no other process counts.
    let user = if is_root { "setpriv --reuid=54321 --clear-groups " } else { "" };
    let limited =
        |limit: u32, arguments: &[&str]| in_shell(&format!("exec {user}prlimit --nproc={limit} -- \"$@\""), arguments);
    if limited(1, &["--version"]).status.code() != Some(0) {
        return;
    }
    let data = folder.path().join("data");
    for number in 0..4 {
        write_png(&data.join(format!("{number}.png")), 80 + number, 60, disc);
    }
    let vectors = folder.path().join("vectors.npy");
    write_vectors(&vectors, 50, 4);
    let checkpoint = project("checkpoints/demonstration.safetensors");
    let out = folder.path().join("out");
    let (data, out) = (path_text(&data), path_text(&out));
    let threads = ["--threads", "3"];
    let commands: [&[&str]; 4] = [
        &["train", "--data", data, "--out", out, "--epochs", "1"],
        &["segment", "--data", data, "--out", out, "--epochs", "1"],
        &["infer", "--ckpt", path_text(&checkpoint), "--data", data, "--out", out],
        &["cluster", "--features", path_text(&vectors), "--out", out],
    ];
    // A user who has other processes may start none at all with the lowest limit, and any number with the others.
    let limits = if is_root { 1..12 } else { 1..2 };
    for command in commands {
        let mut refused = 0;
        for limit in limits.clone() {
            let output = limited(limit, &[command, &threads].concat());
            let error = text(&output.stderr);
            assert!(!error.contains("panicked"), "{command:?} with {limit} threads\n{error}");
            match output.status.code() {
                Some(5) => {
                    assert!(error.contains("threads") && error.contains("--threads"), "{error}");
                    refused += 1;
                }
                code => assert_eq!(code, Some(0), "{command:?} with {limit} threads\n{error}"),
            }
        }
        assert!(refused > 0, "{command:?}");
    }
    if is_root {
        let locked = folder.path().join("locked.safetensors");
        fs::copy(&checkpoint, &locked).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        let output = limited(100, &["infer", "--ckpt", path_text(&locked), "--data", data, "--out", out]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{error}");
        assert!(error.contains("locked.safetensors") && error.contains("Permission denied"), "{error}");
    }
}
