//! Single system calls fail: the disk is full for a moment, a sector cannot be read, a file cannot be renamed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::Path;

use super::ground::{Scenario, TRAIN_REGIONS, fresh};
use super::process::{Ended, has, run, within};
use super::{Outcome, Row, ensure, is_long, settle, tries};
use crate::drive::path_text;

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
    let calls = recorded(&scenario, fresh(&out), &log);
    let rows = FAULTS.map(|(kind, names, errors)| {
        let mut row = row(kind);
        let places: Vec<&Place> = calls.iter().filter(|place| names.contains(&place.call)).collect();
        let number = tries(2, HOW_MANY).min(places.len() * errors.len());
        let (mut hit, mut begun) = (0, 0);
        for at in 0..number {
            // Every call with its first error, then with the next; in the short form calls from all over the run.
            let place = places[if is_long() { at % places.len() } else { (at + 1) * places.len() / number - 1 }];
            let error = errors[if is_long() { at / places.len() } else { at % errors.len() }];
            fresh(&out);
            let ended = traced(&scenario, &out, &log, Some((place, error)));
            // Threads are counted alike: it may have met the loader, before there was a program.
            if ended.code == Some(127) {
                continue;
            }
            begun += 1;
            let text = fs::read_to_string(&log).unwrap_or_default();
            let injected: Vec<&str> = text.lines().filter(|line| line.contains("(INJECTED)")).collect();
            let met = injected.iter().filter(|line| is_attacked(line, ground)).count();
            hit += usize::from(met > 0);
            let only = met == injected.len();
            let outcome = if only { survived(&scenario, &out, &ended) } else { ended_somehow(&scenario, &out, &ended) };
            row.attempt(format_args!("{error} at {place}"), outcome);
        }
        // A command may make no call of a kind at all, such as mkdir; then there is nothing to attack.
        // Of few calls most may be those of other threads in the next run.
        row.needs(hit * 4 >= begun || begun < 4, format_args!("{hit} of {begun} faults met the folder"));
        if number == 0 { row.cannot_run("there is no such call") } else { row }
    });
    settle(rows);
}

/// A system call of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// The how many-eth it is of its thread, which is how strace counts.
    index: usize,
    call: &'static str,
    /// The file it is about, where only calls about that file count.
    path: Option<String>,
}

impl Display for Place {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Place { index, call, path } = self;
        write!(formatter, "{call} {index}{}", path.as_ref().map_or(String::new(), |path| format!(" of {path}")))
    }
}

/// Runs under strace, which writes calls into `log`: all that are attacked, or those of one name, of which one fails.
fn traced(scenario: &Scenario, out: &Path, log: &Path, fault: Option<(&Place, &str)>) -> Ended {
    // With a question mark: processors differ in the calls that they have.
    let all =
        FAULTS.iter().flat_map(|(_, names, _)| *names).map(|name| format!("?{name}")).collect::<Vec<_>>().join(",");
    let trace = format!("trace={}", fault.map_or(all.as_str(), |(place, _)| place.call));
    let mut wrapper = vec!["strace", "-f", "-y", "-qq", "--seccomp-bpf", "-s", "0", "-o", path_text(log), "-e", &trace];
    let inject = fault.map(|(place, error)| format!("inject={}:error={error}:when={}", place.call, place.index));
    wrapper.extend(inject.iter().flat_map(|inject| ["-e", inject]));
    wrapper.extend(fault.and_then(|(place, _)| place.path.as_ref()).iter().flat_map(|path| ["-P", path]));
    run(&mut within(&wrapper, &scenario.command(out)))
}

/// The calls that reach into the test's folder in a run without faults, the earliest of every thread first.
fn recorded(scenario: &Scenario, out: &Path, log: &Path) -> BTreeSet<Place> {
    traced(scenario, out, log, None).ended_with(&[0]).unwrap();
    let ground = log.parent().unwrap();
    let mut made: BTreeMap<(&str, &str, Option<String>), usize> = BTreeMap::new();
    let mut places = BTreeSet::new();
    let text = fs::read_to_string(log).unwrap();
    for (thread, rest) in text.lines().filter_map(|line| line.split_once(' ')) {
        let rest = rest.trim_start();
        let all = FAULTS.iter().flat_map(|(_, names, _)| *names);
        let Some(call) = all.copied().find(|call| rest.split('(').next() == Some(*call)) else { continue };
        // Every thread's first reads are of files that the loader or the system needs; those of one file can be told apart
        // as its name is the same in every run, unlike those of temporary files.
        let is_read = call.contains("read");
        let path = is_read.then(|| rest.split(['<', '>']).nth(1).unwrap_or_default().to_string());
        let index = made.entry((thread, call, path.clone())).or_default();
        *index += 1;
        if is_attacked(rest, ground) {
            places.insert(Place { index: *index, call, path });
        }
    }
    places
}

/// Whether a call reaches into the test's folder; of those that open files only the ones that may create it are meant.
fn is_attacked(line: &str, ground: &Path) -> bool {
    line.contains(path_text(ground)) && (!line.contains("openat(") || line.contains("O_CREAT"))
}

/// The fault also met something that has no part in the results, such as what the system says of the processor.
fn ended_somehow(scenario: &Scenario, out: &Path, ended: &Ended) -> Outcome {
    ended.ended_with(&[0, 2, 3, 4, 5])?;
    if ended.code == Some(5) {
        scenario.nothing_half_written(out)?;
    }
    scenario.completes_anew(out)
}

/// A fault ends the run with an error, or spoils an image, or does no harm; nothing is half written, and the same command
/// completes.
fn survived(scenario: &Scenario, out: &Path, ended: &Ended) -> Outcome {
    ended.ended_with(&[0, 3, 5])?;
    match ended.code {
        // A picture of the page that is for people only may be left out, and said to be.
        Some(0) if ended.error.contains("report.html has no picture") => {
            scenario.nothing_half_written_of_an_image(out)?
        }
        Some(0) => scenario.equals_whole(out)?,
        // An image that could not be read is missing in what holds all images.
        Some(3) => scenario.nothing_half_written_of_an_image(out)?,
        _ => {
            ensure(!ended.complaint().is_empty(), || "it ended with 5 and no word")?;
            // What holds all images holds those that could be read.
            if ended.error.contains("skipped: ") {
                scenario.nothing_half_written_of_an_image(out)?;
            } else {
                scenario.nothing_half_written(out)?;
            }
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

#[test]
fn failing_calls_of_a_training_of_regions_end_it_in_order() {
    faults(TRAIN_REGIONS);
}
