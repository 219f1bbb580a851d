//! What happens to a run must not happen to its results: kills, failing disks, damaged files, foreign files, bombs.
//!
//! Every kind of attack is a file of this folder; each of its tests makes a number of tries and counts which held. `cargo
//! test` makes a few tries of every kind; `scripts/torture.sh` makes all of them (DEEPCUT_TORTURE=long) and puts the table
//! into `docs/trust.md`. Nothing needs a network, an administrator or a file that is not in the repository.

mod bad_images;
mod bombs;
mod damage;
mod full_disk;
mod ground;
mod kills;
mod many;
mod names;
mod ownership;
mod parsers;
mod permissions;
mod process;
mod signals;
mod two_runs;
mod write_faults;

use std::fmt::Display;

/// What became of one try: what was promised and not kept.
type Outcome = Result<(), String>;

/// Whether all tries are made, not a sample of them.
fn is_long() -> bool {
    std::env::var_os("DEEPCUT_TORTURE").is_some_and(|form| form == "long")
}

/// How many tries to make.
fn tries(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

fn ensure<S: Into<String>>(holds: bool, otherwise: impl FnOnce() -> S) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

/// One line of the table.
struct Row {
    kind: &'static str,
    attack: String,
    tries: usize,
    broken: Vec<String>,
    not_run: Option<String>,
}

impl Row {
    fn new(kind: &'static str, attack: impl Into<String>) -> Row {
        Row { kind, attack: attack.into(), tries: 0, broken: Vec::new(), not_run: None }
    }

    fn attempt(&mut self, what: impl Display, outcome: Outcome) {
        self.tries += 1;
        if let Err(why) = outcome {
            self.broken.push(format!("{what}: {why}"));
        }
    }

    /// A row that would hold because its attack never happened does not hold.
    fn needs(&mut self, happened: bool, what: impl Display) {
        if !happened {
            self.broken.push(format!("the attack hardly happened: {what}"));
        }
    }

    /// Something that the attack needs is not on this machine.
    fn cannot_run(mut self, why: &str) -> Row {
        self.not_run = Some(format!("not run: {why}"));
        self
    }

    fn line(&self) -> String {
        let Row { kind, attack, tries, .. } = self;
        let broken = self.broken.len().min(*tries);
        match &self.not_run {
            Some(why) => format!("| {kind} | {attack} | {why} | | |"),
            None => format!("| {kind} | {attack} | {tries} | {} | {} |", tries - broken, self.broken.len()),
        }
    }
}

/// Prints the rows, and fails if one of them did.
fn settle(rows: impl IntoIterator<Item = Row>) {
    let mut reasons = Vec::new();
    for row in rows {
        // The test's name stands at the beginning of the line that is being written.
        println!("\n{}", row.line());
        if row.not_run.is_none() && row.tries == 0 {
            reasons.push(format!("{}, {}: no try was made", row.kind, row.attack));
        }
        // What a program says about hundreds of images is not for here.
        let beginning = |text: &String| text.chars().take(600).collect::<String>();
        let shown = row.broken.iter().take(8).map(|why| format!("{}, {}, {}", row.kind, row.attack, beginning(why)));
        reasons.extend(shown);
        if row.broken.len() > 8 {
            reasons.push(format!("… and {} more", row.broken.len() - 8));
        }
    }
    assert!(reasons.is_empty(), "{}", reasons.join("\n\n"));
}

#[test]
fn a_row_without_tries_or_with_a_broken_one_fails() {
    let settled = |row: Row| std::panic::catch_unwind(|| settle([row])).is_ok();
    let with = |outcomes: &[Outcome]| {
        let mut row = Row::new("rows", "themselves");
        outcomes.iter().for_each(|outcome| row.attempt("try", outcome.clone()));
        row
    };
    let silent = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let held = [with(&[]), with(&[Ok(()), Err("broken".into())]), with(&[Ok(())])].map(settled);
    std::panic::set_hook(silent);
    assert_eq!(held, [false, false, true]);
}
