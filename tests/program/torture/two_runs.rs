//! Two processes that write into one folder.

use std::time::{Duration, Instant};

use rand::Rng;

use super::ground::{INFER_REGIONS, SCENARIOS, SLIC_CUT, Scenario, collection, fresh, no_leftovers, random};
use super::process::{Process, run, soon};
use super::{Outcome, Row, ensure, settle, tries};
use crate::drive::{path_text, program};

#[test]
fn two_runs_at_once_give_the_results_of_one() {
    let random = &mut random(40);
    settle(SCENARIOS.into_iter().chain([INFER_REGIONS, SLIC_CUT]).map(|name| {
        let folder = tempfile::tempdir().unwrap();
        let scenario = Scenario::prepare(folder.path(), name);
        let out = folder.path().join("attacked");
        let mut row =
            Row::new("two runs", format!("two processes of {name} in one folder, the second at a random moment"));
        let (mut together, number) = (0, tries(2, 50));
        for _ in 0..number {
            let moment = scenario.moment(random.random_range(0.0..0.8));
            let mut first = Process::start(&mut scenario.command(fresh(&out)));
            together += usize::from(first.until(moment));
            let second = Process::start(&mut scenario.command(&out));
            let (first, second) = (first.wait(), second.wait());
            let outcome = || -> Outcome {
                first.ended_with(&[0]).map_err(|why| format!("the first: {why}"))?;
                second.ended_with(&[0]).map_err(|why| format!("the second: {why}"))?;
                scenario.equals_whole(&out)?;
                no_leftovers(&out)
            };
            row.attempt(format_args!("after {:.0} ms", 1000.0 * moment.as_secs_f64()), outcome());
        }
        row.needs(together * 2 >= number, format_args!("{together} of {number} pairs ran at a time"));
        row
    }));
}

#[test]
fn who_will_not_wait_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = collection(&folder.path().join("data"), 2);
    let data = path_text(&data);
    let out = folder.path().join("out");
    let mut row = Row::new("two runs", "a second process with `--wait 0`");
    let mut alive = 0;
    let mut number = 0;
    for command in [&["train", "--data", data][..], &["segment", "--data", data], &["cluster", "--data", data]] {
        fresh(&out);
        let long = ["segment", "--data", data, "--epochs", "1000000"];
        let mut first = Process::start(program(&long).arg("--out").arg(&out));
        let locked = Instant::now();
        while !out.join(".deepcut/lock").exists() && locked.elapsed() < soon() {
            std::thread::sleep(Duration::from_millis(10));
        }
        first.until(Duration::from_millis(500));
        let second = run(program(command).args(["--wait", "0", "--out"]).arg(&out));
        alive += usize::from(first.is_alive());
        number += 1;
        first.kill();
        first.wait();
        let outcome = || -> Outcome {
            second.ended_with(&[2])?;
            ensure(second.complaint().contains(path_text(&out)), || {
                format!("it does not name the folder: {}", second.error)
            })?;
            ensure(second.took < soon(), || format!("it took {:?}", second.took))
        };
        row.attempt(command[0], outcome());
        // The lock of a process that is gone holds nobody back.
        let third = run(program(&["segment", "--data", data, "--epochs", "1", "--wait", "0", "--out"]).arg(&out));
        row.attempt(format_args!("{} after the first was killed", command[0]), third.ended_with(&[0]));
    }
    row.needs(alive == number, format_args!("{alive} of {number} first processes were alive"));
    settle([row]);
}
