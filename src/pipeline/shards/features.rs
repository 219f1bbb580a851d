//! Shards of features → one matrix with its index.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Finished, MergeRequest, MergeSummary, ShardsError, folder, record_of};
use crate::dataset::SampleConfig;
use crate::event::{Event, Observer, Phase};
use crate::files;
use crate::output::{GrowingMatrix, MatrixFormat, MatrixKind, NumberType, OutputFolder};
use crate::pipeline::features::{Described, IndexLine, Journal, claims, index_path, working_paths};
use crate::pipeline::{PipelineError, Run};

/// What is kept of a finished shard.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureTotals {
    pub described: Described,
    pub numbers: NumberType,
    pub rows: u64,
    pub width: usize,
    pub images: u64,
    /// Paths of the images that were left out, and why.
    pub skipped: Vec<(String, String)>,
}

/// Merges shards of features; see [`super::merge`].
pub fn merge(
    request: &MergeRequest,
    format: MatrixFormat,
    observer: &dyn Observer,
) -> Result<MergeSummary, PipelineError> {
    let started = Instant::now();
    let (out, no_matrix) = (&request.out, || PipelineError::NoMatrix { path: request.out.clone() });
    let name = out.file_name().and_then(|name| name.to_str()).ok_or_else(no_matrix)?;
    let root = files::parent(out);
    let found = Finished::<FeatureTotals>::find(root, &record_of(name), request.plan.as_deref())?;
    let Some(&FeatureTotals { numbers, width, .. }) = found.done.first() else {
        return Err(ShardsError::Nothing { out: out.clone() }.into());
    };
    let target = OutputFolder::open(root, "merge", &claims(name), request.wait, observer)?;
    let [working, journal_path] = working_paths(out);
    let kind = MatrixKind { format, numbers, columns: width };
    let mut matrix = GrowingMatrix::open(&target, &working, out, kind)?;
    matrix.begin()?;
    let mut journal = Journal::anew(&journal_path, &found.made.origin)?;
    let (mut images, mut skipped) = (0, 0);
    observer.observe(Event::PhaseStarted { phase: Phase::Merging, total: Some(found.plan.images()) });
    for (shard, totals) in found.done.iter().enumerate() {
        let path = folder(root, shard).join(name);
        let damaged = |path: PathBuf, reason: String| ShardsError::Damaged { shard, path, reason };
        let index = index_path(&path);
        let rows_left = || damaged(path.clone(), "it has other rows than its index".into());
        let mut rows = kind.rows_of(&path).map_err(|error| damaged(path.clone(), error.to_string()))?;
        for line in lines(&index).map_err(|error| damaged(index.clone(), error.to_string()))? {
            if observer.interrupted() {
                return Err(PipelineError::Interrupted(Run::Merging));
            }
            let line = line.map_err(|error| damaged(index.clone(), error.to_string()))?;
            let line: IndexLine =
                serde_json::from_str(&line).map_err(|error| damaged(index.clone(), error.to_string()))?;
            let first_row = matrix.rows();
            let copied = matrix.copy(&mut rows, line.rows)?;
            if copied != Some(line.crc32) {
                return Err(rows_left().into());
            }
            journal.push(&IndexLine { first_row, ..line })?;
            images += 1;
            observer.observe(Event::PhaseProgress { phase: Phase::Merging, done: images });
        }
        skipped += totals.skipped.len() as u64;
        let planned: u64 = found.plan.shards()[..=shard].iter().map(|shard| shard.images).sum();
        if images + skipped != planned {
            return Err(damaged(index, "it has another number of images than the plan".into()).into());
        }
    }
    observer.observe(Event::PhaseFinished { phase: Phase::Merging });
    let rows = Some(matrix.rows());
    journal.finish(&target, &index_path(out), matrix)?;
    let first = found.done.iter().flat_map(|totals| &totals.skipped).take(crate::dataset::sample::MOST_NAMED);
    let first = first.map(|(path, reason)| crate::event::SkippedFile { path: path.into(), reason: reason.clone() });
    let judged = SampleConfig { max_bad: request.max_bad, ..SampleConfig::default() };
    judged.judge(skipped, images + skipped, &first.collect::<Vec<_>>())?;
    let seconds = started.elapsed().as_secs_f64();
    let shards = found.done.len();
    Ok(MergeSummary {
        out: out.clone(),
        shards,
        images: images + skipped,
        skipped,
        placed: 0,
        copied: 0,
        rows,
        seconds,
    })
}

fn lines(path: &Path) -> std::io::Result<impl Iterator<Item = std::io::Result<String>>> {
    Ok(BufReader::new(File::open(path)?).lines())
}
