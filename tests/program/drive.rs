//! Driving the program as a process, for the tests that do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A complete ViT, in small, for the weights of `tests/golden/tiny_vit.pth`.
pub const TINY_VIT: &[&str] = &["--set", "vit.input_side=32", "--set", "vit.head_width=8"];

pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The program, unaware of weights that this machine's user may have installed.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deepcut"));
    command.args(arguments).env("DEEPCUT_HOME", "/nonexistent").env("HF_HOME", "/nonexistent").stdin(Stdio::null());
    command.env_remove("HF_HUB_CACHE").env_remove("HUGGINGFACE_HUB_CACHE");
    command
}

pub fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs and expects an exit code; gives standard output.
pub fn expect(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{error}");
    assert!(!error.contains("panicked"), "{arguments:?}\n{error}");
    out
}

/// Runs, expects an exit code, and gives the one line that standard error must hold.
pub fn expect_error(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{error}");
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(lines.len(), 1, "{arguments:?}\n{error}");
    assert!(!error.contains("panicked"), "{arguments:?}\n{error}");
    lines[0].to_string()
}

pub fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Trains on the demonstration collection with the given further arguments; gives the checkpoint.
pub fn train_demonstration(out: &Path, further: &[&str]) -> PathBuf {
    let data = project("demonstration/images");
    let mut arguments = vec!["train", "--data", path_text(&data), "--out", path_text(out)];
    arguments.extend(further);
    expect(0, &arguments);
    out.join("best.safetensors")
}

/// The lines of predictions.jsonl by path.
pub fn predictions(out: &Path) -> BTreeMap<String, Value> {
    let table = fs::read_to_string(out.join("predictions.jsonl")).unwrap();
    let lines = table.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["path"].as_str().unwrap().to_string(), line)).collect()
}

pub fn write_png(path: &Path, width: u32, height: u32, colour: impl Fn(u32, u32) -> [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Rgb);
    let pixels: Vec<u8> = (0..width * height).flat_map(|i| colour(i % width, i / width)).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

/// A bright disc on a dark ground.
pub fn disc(x: u32, y: u32) -> [u8; 3] {
    let (dx, dy) = (x as i64 - 40, y as i64 - 30);
    if dx * dx + dy * dy < 300 { [220, 180, 60] } else { [30, 50 + (x % 7) as u8, 40 + (y % 5) as u8] }
}
