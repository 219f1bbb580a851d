//! What the program says of itself, word for word, in `snapshots/`.
//!
//! A change that is meant is accepted with `INSTA_UPDATE=always cargo test --test program words`, and read in the diff.

use insta::{Settings, assert_snapshot};

use crate::drive::{program, project, text};

const SUBCOMMANDS: &[&str] = &[
    "train",
    "infer",
    "segment",
    "cluster",
    "features",
    "plan",
    "merge",
    "eval",
    "verify",
    "inspect",
    "backbone",
    "config",
    "completions",
];

/// Standard output of a run in the project's folder, in lines as on a wide terminal.
fn said(arguments: &[&str]) -> String {
    let output = program(arguments).current_dir(project("")).env("COLUMNS", "200").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).replace("deepcut.exe", "deepcut")
}

/// Short names, and nothing but the words in the files.
fn settings() -> Settings {
    let mut settings = Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn help() {
    let help = said(&["--help"]);
    // The list above is whole: every subcommand has a line of its own in the help.
    let listed = help.split("Commands:\n").nth(1).unwrap().lines().take_while(|line| !line.is_empty());
    // What is too long for one line goes on further in.
    let listed = listed.filter(|line| !line.starts_with("   "));
    let listed: Vec<&str> = listed.map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(listed, [SUBCOMMANDS, &["help"]].concat());
    settings().bind(|| {
        assert_snapshot!("help", help);
        for subcommand in SUBCOMMANDS {
            assert_snapshot!(format!("help_{subcommand}"), said(&[subcommand, "--help"]));
        }
    });
}

#[test]
fn inspect() {
    settings().bind(|| {
        assert_snapshot!("inspect", said(&["inspect", "tests/golden/checkpoint_format_3.safetensors"]));
        assert_snapshot!("inspect_vit", said(&["inspect", "tests/golden/checkpoint_format_3_vit.safetensors"]));
    });
}
