//! The user or the system asks the program to stop.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::Rng;

use super::ground::{
    SCENARIOS, SLIC_CUT, Scenario, TRAIN_REGIONS, checkpoint, collection, fresh, random, save_picture,
};
use super::process::{Ended, Process, soon};
use super::{Outcome, Row, ensure, is_long, settle, tries};
use crate::drive::{path_text, program};

const SIGNALS: [(&str, i32); 2] = [("INT", 2), ("TERM", 15)];

/// A signal that comes before anybody could listen for it ends a process as the system does.
const STARTING: Duration = Duration::from_millis(100);

/// How a process ended that got a signal at `moment`, and how long after the signal.
fn stopped(mut process: Process, moment: Duration, signals: &[&str]) -> Option<(Ended, Duration)> {
    if !process.until(moment) {
        return None;
    }
    let sent = Instant::now();
    for signal in signals {
        process.send(signal);
        std::thread::sleep(Duration::from_millis(30));
    }
    let ended = process.wait_at_most(Duration::from_secs(20));
    Some((ended, sent.elapsed()))
}

/// It ended by the signal, or had all but ended before and did so by itself; in either case soon.
fn in_time(ended: &Ended, passed: Duration, number: i32, moment: Duration) -> Outcome {
    if !(moment < STARTING && ended.signal == Some(number)) {
        ended.ended_with(&[128 + number, 0])?;
    }
    ensure(passed <= soon(), || format!("it went on for {:.1} s after the signal", passed.as_secs_f64()))
}

/// Commands that take less than a second, interrupted at random moments and repeated.
fn interrupted(name: &'static str, seed: u64) -> Row {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario::prepare(folder.path(), name);
    let out = folder.path().join("attacked");
    let random = &mut random(seed);
    let mut row =
        Row::new("signals", format!("SIGINT or SIGTERM at a random moment of {name}; the same command again"));
    let (mut hit, number) = (0, tries(3, 50));
    for at in 0..number {
        let (signal, code) = SIGNALS[at % 2];
        let moment = scenario.moment(random.random_range(0.0..0.95));
        fresh(&out);
        let ended = stopped(Process::start(&mut scenario.command(&out)), moment, &[signal]);
        let outcome = || -> Outcome {
            if let Some((ended, passed)) = &ended {
                in_time(ended, *passed, code, moment)?;
            }
            scenario.completes(&out)
        };
        row.attempt(format_args!("SIG{signal} after {:.0} ms", 1000.0 * moment.as_secs_f64()), outcome());
        let is_hit = ended.is_some_and(|(ended, _)| ended.code != Some(0));
        hit += usize::from(is_hit);
        if !is_hit {
            scenario.was_over();
        }
    }
    row.needs(hit * 3 >= number, format_args!("{hit} of {number} runs were interrupted"));
    row
}

/// What takes long, by its name; the arguments but for --out.
fn long_commands(ground: &Path) -> Vec<(&'static str, Vec<String>)> {
    let data = collection(&ground.join("data"), 8);
    let one = ground.join("one.png");
    save_picture(&one, 3);
    // Several, so that they last longer than a process may after a signal.
    let large = ground.join("large");
    std::fs::create_dir(&large).unwrap();
    let side = if is_long() { 6000 } else { 2000 };
    let picture =
        image::imageops::resize(&super::ground::picture(1), side, side, image::imageops::FilterType::Triangle);
    picture.save(large.join("0.png")).unwrap();
    for copy in 1..tries(1, 4) {
        std::fs::hard_link(large.join("0.png"), large.join(format!("{copy}.png"))).unwrap();
    }
    let [few, many, wide] = ["few.npy", "many.npy", "wide.npy"].map(|name| ground.join(name));
    // Spectral clustering takes no more.
    write_vectors(&few, 3_000, 32);
    write_vectors(&many, tries(20_000, 100_000), 32);
    write_vectors(&wide, tries(20_000, 100_000), tries(32, 512));
    let [data, one, large, few, many, wide] =
        [&data, &one, &large, &few, &many, &wide].map(|path| path_text(path).to_string());
    let checkpoint = path_text(&checkpoint()).to_string();
    let endless = "1000000";
    let commands: [(&'static str, Vec<&str>); 10] = [
        ("a training of a million epochs", vec!["train", "--data", &data, "--epochs", endless]),
        ("per-image optimisation of a million epochs", vec!["segment", "--data", &one, "--epochs", endless]),
        (
            "the learning of patches",
            vec!["segment", "--method", "grapl", "--data", &one, "--set", "grapl.steps=[10000, 10000, 10000]"],
        ),
        ("the parts of a training", vec!["train", "--data", &data, "--epochs", endless, "--parts", "3"]),
        (
            "k-means",
            vec!["cluster", "--features", &many, "--method", "kmeans", "--clusters", "300", "--restarts", "1000"],
        ),
        ("spectral clustering", vec!["cluster", "--features", &few, "--method", "spectral", "--clusters", "50"]),
        ("correlation clustering", vec!["cluster", "--features", &few, "--epochs", endless]),
        ("the map of a collection", vec!["cluster", "--features", &wide, "--method", "components"]),
        (
            "the eigenvector of large images",
            vec!["segment", "--method", "spectral", "--backbone", "pixel", "--data", &large],
        ),
        ("refinement of large images", vec!["infer", "--ckpt", &checkpoint, "--data", &large, "--refine", "bilateral"]),
    ];
    commands.map(|(name, arguments)| (name, arguments.into_iter().map(str::to_string).collect())).to_vec()
}

/// A `.npy` file of random single-precision numbers.
fn write_vectors(path: &Path, rows: usize, columns: usize) {
    let random = &mut random(9);
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..rows * columns).flat_map(|_| random.random_range(-1.0f32..1.0).to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn an_interrupted_run_completes_as_if_it_had_not_been_interrupted() {
    let names = SCENARIOS.into_iter().chain([TRAIN_REGIONS, SLIC_CUT]);
    settle(names.zip(10..).map(|(name, seed)| interrupted(name, seed)));
}

#[test]
fn whatever_is_being_computed_an_interrupt_ends_it_soon() {
    let folder = tempfile::tempdir().unwrap();
    let random = &mut random(20);
    let out = folder.path().join("attacked");
    let rows = long_commands(folder.path()).into_iter().map(|(name, arguments)| {
        let start = || {
            let mut command = program(&[]);
            Process::start(command.args(&arguments).arg("--out").arg(fresh(&out)))
        };
        // How long it takes by itself, as far as that is of interest.
        let longest = Duration::from_secs(if is_long() { 6 } else { 1 });
        let mut whole = start();
        let lasts = whole.until(longest);
        whole.kill();
        let whole = whole.wait();
        let seconds = if lasts { longest } else { whole.took }.as_secs_f64();
        let mut row = Row::new("signals", format!("SIGINT or SIGTERM in {name}"));
        row.needs(lasts || whole.code == Some(0), format_args!("it ends by itself: {}", whole.error));
        let (number, mut hit) = (tries(1, 20), 0);
        for at in 0..number {
            let (signal, code) = SIGNALS[random.random_range(0..2)];
            let moment = Duration::from_secs_f64(seconds * random.random_range(0.1..0.8));
            let outcome = match stopped(start(), moment, &[signal]) {
                // It was done before its turn came.
                None => Ok(()),
                Some((ended, passed)) => {
                    hit += usize::from(ended.code != Some(0));
                    in_time(&ended, passed, code, moment)
                }
            };
            row.attempt(format_args!("try {at}, SIG{signal} after {:.1} s", moment.as_secs_f64()), outcome);
        }
        // In the short form commands are no longer than they have to be, and beside other tests hard to meet.
        row.needs(hit * 2 >= number || !is_long(), format_args!("{hit} of {number} runs were interrupted"));
        row
    });
    settle(rows.collect::<Vec<_>>());
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (name, arguments) = long_commands(folder.path()).swap_remove(1);
    let mut row = Row::new("signals", format!("a second signal in {name}"));
    for at in 0..tries(2, 20) {
        let out = folder.path().join("attacked");
        let command = &mut program(&[]);
        command.args(&arguments).arg("--out").arg(fresh(&out));
        let moment = Duration::from_millis(400);
        let outcome = match stopped(Process::start(command), moment, &["INT", "INT"]) {
            Some((ended, passed)) => in_time(&ended, passed, 2, moment)
                .and_then(|()| ensure(passed < soon() / 3, || format!("it went on for {passed:?}"))),
            None => Err("it had ended before".to_string()),
        };
        row.attempt(format_args!("try {at}"), outcome);
    }
    settle([row]);
}

#[test]
fn an_interrupt_ends_a_run_that_waits_for_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let data = collection(&folder.path().join("data"), 2);
    let (data, network) = (path_text(&data).to_string(), path_text(&checkpoint()).to_string());
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = path_text(&pipe);
    let commands: [&[&str]; 7] = [
        &["infer", "--ckpt", pipe, "--data", &data],
        &["infer", "--ckpt", &network, "--data", pipe],
        &["train", "--data", &data, "--config", pipe],
        &["train", "--data", &data, "--weights", pipe],
        &["segment", "--data", pipe],
        &["cluster", "--features", pipe],
        &["cluster", "--data", &data, "--labels", pipe],
    ];
    let mut row = Row::new("signals", "SIGINT or SIGTERM while a pipe is waited for that nobody writes to");
    for arguments in commands {
        for (signal, code) in &SIGNALS[..tries(1, 2)] {
            let out = folder.path().join("attacked");
            let command = &mut program(arguments);
            let process = Process::start(command.arg("--out").arg(fresh(&out)));
            let moment = Duration::from_millis(300);
            let outcome = match stopped(process, moment, &[signal]) {
                // Pipes need not be read where files are expected: it may have been refused or skipped.
                Some((ended, _)) if ended.code.is_some_and(|code| code < 128) => ended.ended_with(&[0, 2, 3, 4, 5]),
                Some((ended, passed)) => in_time(&ended, passed, *code, moment),
                None => Ok(()),
            };
            row.attempt(format_args!("SIG{signal}, {arguments:?}"), outcome);
        }
    }
    settle([row]);
}
