//! There is no room for a file: a limit on the size of files, and a disk that is full.

use std::fs;

use super::ground::{Scenario, TRAIN_REGIONS, fresh, no_leftovers};
use super::process::{has, run, within};
use super::{Outcome, Row, ensure, settle, tries};

/// Limits on a file's size, in the shell's blocks.
const LIMITS: [u32; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256];

/// Sizes of a disk in KiB; the files of a run take some hundred.
const DISKS: [u32; 16] = [4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 80, 96, 128, 160, 192, 256];

fn some<T: Copy>(all: &[T], short: usize) -> Vec<T> {
    let number = tries(short, all.len());
    (0..number).map(|at| all[at * all.len() / number]).collect()
}

fn limited(name: &'static str) -> Row {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario::prepare(folder.path(), name);
    let out = folder.path().join("attacked");
    let mut row = Row::new("full disk", format!("files of {name} limited by `ulimit -f`; the same command without"));
    let mut refused = 0;
    for limit in some(&LIMITS, 4) {
        fresh(&out);
        let limit = limit.to_string();
        let shell = ["sh", "-c", "ulimit -f \"$0\" && exec \"$@\"", &limit];
        let ended = run(&mut within(&shell, &scenario.command(&out)));
        refused += usize::from(ended.code == Some(5));
        let outcome = || -> Outcome {
            ended.ended_with(&[0, 5])?;
            scenario.nothing_half_written(&out)?;
            scenario.completes(&out)
        };
        row.attempt(format_args!("limit {limit}"), outcome());
    }
    row.needs(refused > 1, format_args!("{refused} limits were too small"));
    row
}

/// Runs the command twice on a small disk that has more room the second time, and copies what lies there each time.
const ON_A_SMALL_DISK: &str = r#"
disk=$0 size=$1 ground=$2; shift 2
mount -t tmpfs -o "size=${size}k" none "$disk" || exit 99
"$@"; first=$?
cp -a "$disk" "$ground/first"
mount -o remount,size=256m none "$disk" || exit 99
"$@"; second=$?
cp -a "$disk" "$ground/second"
echo "codes $first $second"
"#;

/// A shell that may mount for itself, without being an administrator.
const OWN_MOUNTS: [&str; 6] = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"];

fn full(name: &'static str) -> Row {
    let mut row = Row::new("full disk", format!("{name} on a disk that is full; the same command with room"));
    let folder = tempfile::tempdir().unwrap();
    let ground = folder.path();
    let disk = ground.join("disk");
    fs::create_dir(&disk).unwrap();
    let disk_text = disk.to_str().unwrap();
    let [unshare, arguments @ ..] = OWN_MOUNTS;
    let trial = [&arguments[..], &["mount -t tmpfs -o size=64k none \"$0\"", disk_text]].concat();
    if !has(unshare, &trial) {
        return row.cannot_run("no disk can be mounted here");
    }
    let scenario = Scenario::prepare(ground, name);
    let mut refused = 0;
    for size in some(&DISKS, 3) {
        let (first, second) = (ground.join("first"), ground.join("second"));
        fresh(&first);
        fresh(&second);
        let size = size.to_string();
        let wrapper = [&OWN_MOUNTS[..], &[ON_A_SMALL_DISK, disk_text, &size, ground.to_str().unwrap()]].concat();
        let ended = run(&mut within(&wrapper, &scenario.command(&disk)));
        let codes = ended.out.lines().rev().find_map(|line| line.strip_prefix("codes ")).unwrap_or_default();
        refused += usize::from(codes.starts_with("5 "));
        let outcome = || -> Outcome {
            ended.ended_with(&[0])?;
            ensure(["0 0", "5 0"].contains(&codes), || format!("exit codes {codes:?}:\n{}", ended.error))?;
            scenario.nothing_half_written(&first)?;
            scenario.equals_whole(&second)?;
            no_leftovers(&second)
        };
        row.attempt(format_args!("disk of {size} KiB"), outcome());
    }
    row.needs(refused > 0, format_args!("{refused} disks were too small"));
    row
}

#[test]
fn files_that_may_not_grow_end_a_run_in_order() {
    settle(["train", "infer with everything saved", "cluster", TRAIN_REGIONS].map(limited));
}

#[test]
fn a_full_disk_ends_a_run_in_order() {
    settle(["train", "infer with everything saved", "cluster", TRAIN_REGIONS].map(full));
}
