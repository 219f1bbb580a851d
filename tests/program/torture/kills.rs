//! The process is killed without warning, as by a power cut or a scheduler.

use std::time::Duration;

use rand::Rng;

use super::ground::{GRAPL, INFER_REGIONS, INFER_SHARD, INFER_TAR, Scenario, TRAIN_REGIONS, fresh, random, verify};
use super::process::Process;
use super::{Row, settle, tries};

/// So often a kill is tried again that came too late.
const MOST_MISSES: usize = 8;

/// Kills the command so often at random moments, once or twice before it may complete.
fn kill(name: &'static str, seed: u64, often: usize) {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario::prepare(folder.path(), name);
    let random = &mut random(seed);
    let mut row = Row::new("kills", format!("SIGKILL at a random moment of {name}; the same command again"));
    let mut verified = Row::new("kills", format!("`verify` after a killed and completed {name}"));
    let (mut hit, mut kills) = (0, 0);
    for number in 0..often {
        let out = folder.path().join("attacked");
        fresh(&out);
        let mut moments = Vec::new();
        for _ in 0..random.random_range(1..=2) {
            for _ in 0..MOST_MISSES {
                let moment = scenario.moment(random.random_range(0.0..0.95));
                let mut process = Process::start(&mut scenario.command(&out));
                let is_hit = process.until(moment);
                process.kill();
                process.wait_at_most(Duration::from_secs(10));
                moments.push(format!("{:.0} ms", 1000.0 * moment.as_secs_f64()));
                hit += usize::from(is_hit);
                if is_hit {
                    break;
                }
                scenario.was_over();
                fresh(&out);
            }
            kills += 1;
        }
        let what = format!("try {number}, killed after {}", moments.join(" and "));
        row.attempt(&what, scenario.completes(&out));
        verified.attempt(&what, verify(&scenario.written(&out)).ended_with(&[0]));
    }
    row.needs(hit * 3 >= kills, format_args!("{hit} of {kills} kills met a live process"));
    settle([row, verified]);
}

#[test]
fn a_killed_training_completes_as_if_it_had_not_been_killed() {
    kill("train", 1, tries(3, 200));
}

#[test]
fn a_killed_inference_completes_as_if_it_had_not_been_killed() {
    kill("infer", 2, tries(3, 200));
}

#[test]
fn a_killed_inference_with_everything_saved_completes_as_if_it_had_not_been_killed() {
    kill("infer with everything saved", 3, tries(3, 200));
}

#[test]
fn a_killed_segmentation_completes_as_if_it_had_not_been_killed() {
    kill("segment", 4, tries(3, 200));
}

#[test]
fn a_killed_clustering_completes_as_if_it_had_not_been_killed() {
    kill("cluster", 5, tries(3, 200));
}

#[test]
fn a_killed_training_of_regions_completes_as_if_it_had_not_been_killed() {
    kill(TRAIN_REGIONS, 6, tries(1, 100));
}

#[test]
fn a_killed_inference_of_regions_completes_as_if_it_had_not_been_killed() {
    kill(INFER_REGIONS, 7, tries(1, 100));
}

#[test]
fn a_killed_learning_of_patches_completes_as_if_it_had_not_been_killed() {
    kill(GRAPL, 8, tries(1, 100));
}

#[test]
fn a_killed_shard_completes_as_if_it_had_not_been_killed() {
    kill(INFER_SHARD, 9, tries(1, 100));
}

#[test]
fn a_killed_inference_of_a_tar_completes_as_if_it_had_not_been_killed() {
    kill(INFER_TAR, 10, tries(1, 100));
}
