//! Single system calls fail: the disk is full for a moment, a sector cannot be read, a file cannot be renamed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::ground::{Scenario, fresh};
use super::process::{Ended, has, run, within};
use super::{Outcome, Row, ensure, settle, tries};

/// A kind of system call, the names it goes by, and what it can fail with.
const FAULTS: [(&str, &[&str], &[&str]); 6] = [
    ("write", &["write", "writev", "pwrite64"], &["ENOSPC", "EIO"]),
    ("fsync", &["fsync", "fdatasync"], &["EIO", "ENOSPC"]),
    ("rename", &["rename", "renameat", "renameat2"], &["EIO", "ENOSPC"]),
    ("create", &["openat"], &["ENOSPC", "EIO"]),
    ("mkdir", &["mkdir", "mkdirat"], &["ENOSPC", "EIO"]),
    ("read", &["read", "pread64"], &["EIO"]),
];

const HOW_MANY: usize = 50;

/// Every call of a kind below the test's folder fails once, as far as there are `HOW_MANY`.
fn faults(name: &'static str) {
    let row = |kind: &str| Row::new("write faults", format!("a failing {kind} in {name}; the same command again"));
    if !has("strace", &["-f", "-o", "/dev/null", "true"]) {
        settle(FAULTS.map(|(kind, ..)| row(kind).cannot_run("strace is missing or may not trace")));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let ground = folder.path();
    let scenario = Scenario::prepare(ground, name);
    let out = ground.join("attacked");
    let log = ground.join("calls.log");
    let rows = FAULTS.map(|(kind, calls, errors)| {
        let mut row = row(kind);
        let places = recorded(&scenario, &out, &log, kind, calls);
        let number = tries(2, HOW_MANY).min(places.len());
        let mut hit = 0;
        for at in 0..number {
            // In the short form from all over the run.
            let (call, index) = &places[if number < HOW_MANY { at * places.len() / number } else { at }];
            let error = errors[at % errors.len()];
            fresh(&out);
            let inject = format!("inject={call}:error={error}:when={index}");
            let ended = traced(&scenario, &out, &log, call, &inject);
            let injected = fs::read_to_string(&log).unwrap_or_default();
            hit += usize::from(injected.lines().any(|line| line.contains("(INJECTED)") && is_below(line, ground)));
            row.attempt(format_args!("{error} at {call} {index}"), survived(&scenario, &out, &ended));
        }
        // A command may make no call of a kind at all, such as mkdir; then there is nothing to attack.
        row.needs(hit * 2 >= number, format_args!("{hit} of {number} faults met the folder"));
        if number == 0 { row.cannot_run("there is no such call") } else { row }
    });
    settle(rows);
}

/// Runs under strace, which writes the calls of one name into `log`.
fn traced(scenario: &Scenario, out: &Path, log: &Path, call: &str, inject: &str) -> Ended {
    let log = log.to_str().unwrap();
    let trace = format!("trace={call}");
    let mut wrapper = vec!["strace", "-f", "-y", "-qq", "--seccomp-bpf", "-s", "0", "-o", log, "-e", &trace];
    if !inject.is_empty() {
        wrapper.extend(["-e", inject]);
    }
    run(&mut within(&wrapper, &scenario.command(out)))
}

/// The calls of a kind that reach into the test's folder in a run without faults: their names, and the how many-eth they
/// are of their thread, which is how strace counts.
fn recorded(
    scenario: &Scenario,
    out: &Path,
    log: &Path,
    kind: &str,
    calls: &[&'static str],
) -> Vec<(&'static str, usize)> {
    let ground = log.parent().unwrap();
    let mut places = BTreeSet::new();
    for call in calls {
        fresh(out);
        // strace knows no calls that this processor lacks.
        if traced(scenario, out, log, call, "").code != Some(0) {
            continue;
        }
        let mut made: BTreeMap<String, usize> = BTreeMap::new();
        for line in fs::read_to_string(log).unwrap().lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            if !rest.trim_start().starts_with(&format!("{call}(")) {
                continue;
            }
            let index = made.entry(thread.to_string()).or_default();
            *index += 1;
            // Names are shown in full whatever the length of other strings.
            if is_below(line, ground) && (kind != "create" || line.contains("O_CREAT")) {
                places.insert((*index, *call));
            }
        }
    }
    places.into_iter().map(|(index, call)| (call, index)).collect()
}

fn is_below(line: &str, ground: &Path) -> bool {
    line.contains(ground.to_str().unwrap())
}

/// A fault ends the run with an error, or spoils an image, or does no harm; nothing is half written, and the same command
/// completes.
fn survived(scenario: &Scenario, out: &Path, ended: &Ended) -> Outcome {
    ended.ended_with(&[0, 3, 5])?;
    match ended.code {
        Some(0) => scenario.equals_whole(out)?,
        // An image that could not be read is missing in what holds all images.
        Some(3) => scenario.nothing_half_written_of_an_image(out)?,
        _ => {
            ensure(!ended.complaint().is_empty(), || "it ended with 5 and no word")?;
            scenario.nothing_half_written(out)?;
        }
    }
    if ended.code == Some(3) { scenario.completes_anew(out) } else { scenario.completes(out) }
}

#[test]
fn failing_calls_of_a_training_end_it_in_order() {
    faults("train");
}

#[test]
fn failing_calls_of_an_inference_end_it_in_order() {
    faults("infer with everything saved");
}

#[test]
fn failing_calls_of_a_segmentation_end_it_in_order() {
    faults("segment");
}

#[test]
fn failing_calls_of_a_clustering_end_it_in_order() {
    faults("cluster");
}
