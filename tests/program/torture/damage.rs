//! Results, cached features and checkpoints that change after they were written.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::ground::{
    Entry, PER_IMAGE, Scenario, TRAIN_REGIONS, fresh, random, results, same, times, tree, verify, visible,
};
use super::process::{Process, run};
use super::{Outcome, Row, ensure, settle, tries};
use crate::drive::{path_text, program};

const DAMAGES: [&str; 5] = ["flipped", "cut short", "emptied", "zeroed", "lengthened"];

/// Changes a file; `false` if that left it as it was.
fn damage(path: &Path, how: &str, random: &mut ChaCha8Rng) -> bool {
    let before = fs::read(path).unwrap();
    let mut bytes = before.clone();
    match how {
        "flipped" if !bytes.is_empty() => {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        "cut short" if !bytes.is_empty() => bytes.truncate(random.random_range(0..bytes.len())),
        "emptied" => bytes.clear(),
        "zeroed" => bytes.fill(0),
        "lengthened" => bytes.extend([b'0', b'\n']),
        _ => {}
    }
    fs::write(path, &bytes).unwrap();
    bytes != before
}

/// Files that a user may have meant to change: a run may refuse to write over them.
fn is_text(file: &str) -> bool {
    ["txt", "yaml", "xml", "json", "jsonl", "html", "csv"].iter().any(|end| file.ends_with(&format!(".{end}")))
}

/// `verify` names the file and no other, and the same command mends it alone, or refuses to.
fn mended(
    scenario: &Scenario,
    out: &Path,
    file: &str,
    random: &mut ChaCha8Rng,
    how: &str,
) -> Option<(Outcome, Outcome)> {
    let written = times(out);
    if !damage(&out.join(file), how, random) {
        return None;
    }
    let verified = verify(out);
    let named = || -> Outcome {
        verified.ended_with(&[4])?;
        let lines: Vec<&str> = verified.out.lines().filter(|line| line.contains(file)).collect();
        ensure(lines.len() == 1, || format!("`verify` does not name it once:\n{}", verified.out))?;
        let others = results(out).into_keys().filter(|path| path != Path::new(file));
        let wrong = others.map(|path| path.display().to_string()).find(|path| verified.out.contains(path.as_str()));
        ensure(wrong.is_none(), || format!("`verify` names {wrong:?} too:\n{}", verified.out))
    };
    let mended = || -> Outcome {
        let damaged = visible(out);
        let ended = scenario.run(out);
        if is_text(file) && ended.code == Some(2) {
            let name = Path::new(file).file_name().unwrap().to_str().unwrap();
            ensure(ended.complaint().contains(name), || format!("it is refused and not named: {}", ended.error))?;
            same(&damaged, &visible(out)).map_err(|why| format!("refused, and yet changed: {why}"))?;
            fs::remove_file(out.join(file)).unwrap();
        } else if is_text(file) && ended.code == Some(3) {
            // It still looks like a run's own at first sight, and is kept when its image's turn comes.
            ensure(ended.error.contains(file), || format!("it is kept and not named: {}", ended.error))?;
            let key = Path::new(file);
            ensure(damaged.get(key) == visible(out).get(key), || "kept, and yet changed")?;
            fs::remove_file(out.join(file)).unwrap();
        } else {
            ended.ended_with(&[0])?;
        }
        scenario.completes(out)?;
        verify(out).ended_with(&[0]).map_err(|why| format!("`verify` after it was mended: {why}"))?;
        let stem = Path::new(file).with_extension("");
        let stem = stem.file_name().unwrap();
        for (path, time) in times(out) {
            // Those of the same image were made anew with it.
            let other = path.file_stem() != Some(stem) && PER_IMAGE.iter().any(|folder| path.starts_with(folder));
            let touched = other && out.join(&path).is_file() && written.get(&path) != Some(&time);
            ensure(!touched, || format!("{} was written again", path.display()))?;
        }
        Ok(())
    };
    Some((named(), mended()))
}

fn damaged(name: &'static str, files: &[&str], seed: u64) -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario::prepare(folder.path(), name);
    let out = folder.path().join("attacked");
    let random = &mut random(seed);
    let mut seen = Row::new("damage", format!("damaged files of {name}: named by `verify`, no other is"));
    let mut mending =
        Row::new("damage", format!("damaged files of {name}: mended by the same command, no other is touched"));
    scenario.run(&out).ended_with(&[0]).unwrap();
    let mut number = 0;
    for file in files {
        assert!(out.join(file).is_file(), "{name} does not write {file}");
        for _ in 0..tries(1, 20) {
            let how = DAMAGES[random.random_range(0..DAMAGES.len())];
            if let Some((named, mended)) = mended(&scenario, &out, file, random, how) {
                number += 1;
                let what = format!("{file} {how}");
                if mended.is_err() {
                    scenario.run(fresh(&out)).ended_with(&[0]).unwrap();
                }
                seen.attempt(&what, named);
                mending.attempt(&what, mended);
            }
        }
    }
    seen.needs(number * 2 >= files.len(), format_args!("{number} files were changed"));
    vec![seen, mending]
}

/// Damaged entries of the cache, and two that have changed places, have no say in what is computed next.
fn cached(name: &'static str, seed: u64) -> Row {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario::prepare(folder.path(), name);
    let out = folder.path().join("attacked");
    let random = &mut random(seed);
    let mut row =
        Row::new("damage", format!("damaged and exchanged entries of the cache of {name}; the same command anew"));
    for at in 0..tries(3, 40) {
        scenario.run(fresh(&out)).ended_with(&[0]).unwrap();
        let mut entries: Vec<PathBuf> = tree(&out.join("cache"))
            .into_iter()
            .filter_map(|(path, entry)| matches!(entry, Entry::File(_)).then(|| out.join("cache").join(path)))
            .collect();
        if entries.len() < 2 {
            row.attempt("cache", Err("there are no entries to damage".to_string()));
            continue;
        }
        let entry = entries.swap_remove(random.random_range(0..entries.len()));
        let how = match at % 2 {
            0 => {
                let other = &entries[random.random_range(0..entries.len())];
                let (first, second) = (fs::read(&entry).unwrap(), fs::read(other).unwrap());
                fs::write(&entry, second).unwrap();
                fs::write(other, first).unwrap();
                "exchanged"
            }
            _ => {
                let how = DAMAGES[random.random_range(0..DAMAGES.len())];
                damage(&entry, how, random);
                how
            }
        };
        row.attempt(format_args!("try {at}, {how}"), scenario.completes_anew(&out));
    }
    row
}

#[test]
fn a_damaged_result_is_named_and_mended() {
    let files = [
        "masks/a0.png",
        "overlays/a0.jpg",
        "saliency/a0.png",
        "yolo/labels/a0.txt",
        "yolo/data.yaml",
        "voc/a0.xml",
        "coco.json",
        "report.html",
        "labels.json",
        "predictions.jsonl",
    ];
    settle(damaged("infer with everything saved", &files, 50));
    settle(damaged("segment", &files[..if super::is_long() { files.len() } else { 2 }], 51));
}

#[test]
fn a_damaged_clustering_is_named_and_mended() {
    let files = ["assignments.csv", "summary.json", "report.html", "clusters.safetensors"];
    settle(damaged("cluster", &files, 52));
}

#[test]
fn a_damaged_cache_has_no_say() {
    settle([cached("train", 53), cached("cluster", 54), cached(TRAIN_REGIONS, 57)]);
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ground = folder.path();
    let random = &mut random(55);
    let mut rows = Vec::new();
    for (name, file, user) in [
        ("train", "best.safetensors", "infer"),
        ("cluster", "clusters.safetensors", "cluster"),
        (TRAIN_REGIONS, "best.safetensors", "infer"),
    ] {
        let ground = ground.join(name);
        let scenario = Scenario::prepare(&ground, name);
        let (whole, bad, out) = (ground.join("whole").join(file), ground.join("bad.safetensors"), ground.join("out"));
        let data = ground.join("data");
        let (bad_text, data) = (path_text(&bad), path_text(&data));
        let mut row = Row::new("damage", format!("damaged checkpoints of {name} in {user} and inspect"));
        for at in 0..tries(5, 100) {
            let how = DAMAGES[at % DAMAGES.len()];
            fs::copy(&whole, &bad).unwrap();
            if !damage(&bad, how, random) {
                continue;
            }
            let ended = run(program(&[user, "--ckpt", bad_text, "--data", data, "--out"]).arg(fresh(&out)));
            let named = || ensure(ended.complaint().contains("bad.safetensors"), || ended.error.clone());
            let nothing = || ensure(!out.exists(), || "results were begun");
            let what = format!("try {at}, {how}");
            row.attempt(&what, ended.ended_with(&[4]).and_then(|()| named()).and_then(|()| nothing()));
            row.attempt(format_args!("{what}, inspect"), run(&mut program(&["inspect", bad_text])).ended_with(&[4]));
        }
        rows.push(row);
        drop(scenario);
    }
    settle(rows);
}

/// Where a training that was stopped goes on.
fn states(out: &Path) -> Vec<PathBuf> {
    let states = tree(out).into_keys().filter(|path| path.to_string_lossy().starts_with("resume-"));
    states.map(|path| out.join(path)).collect()
}

#[test]
fn a_damaged_state_of_a_training_does_not_mislead_it() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario::prepare(folder.path(), "train");
    let out = folder.path().join("attacked");
    let random = &mut random(56);
    let mut row = Row::new("damage", "damaged states of a killed train; the same command again");
    let mut found = 0;
    let number = tries(3, 60);
    for at in 0..number {
        fresh(&out);
        let mut process = Process::start(&mut scenario.command(&out));
        while states(&out).is_empty() && process.is_alive() {
            std::thread::sleep(Duration::from_millis(1));
        }
        process.until(process.age() + scenario.moment(random.random_range(0.0..0.4)));
        process.kill();
        process.wait_at_most(Duration::from_secs(10));
        let states = states(&out);
        let how = DAMAGES[random.random_range(0..DAMAGES.len())];
        states.iter().for_each(|state| {
            damage(state, how, random);
        });
        found += usize::from(!states.is_empty());
        let outcome = || -> Outcome {
            let ended = scenario.run(&out);
            // It may also be refused by its name, and then does without.
            if ended.code == Some(4) {
                ensure(ended.complaint().contains("resume-"), || format!("the state is not named: {}", ended.error))?;
                states.iter().try_for_each(fs::remove_file).map_err(|error| error.to_string())?;
            } else {
                ended.ended_with(&[0])?;
            }
            scenario.completes(&out)
        };
        row.attempt(format_args!("try {at}, {} states {how}", states.len()), outcome());
    }
    row.needs(found * 4 >= number, format_args!("{found} of {number} runs had states"));
    settle([row]);
}
