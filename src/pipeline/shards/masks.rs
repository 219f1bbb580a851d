//! Shards of masks → one folder of results.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Finished, MASKS, MergeRequest, MergeSummary, ShardsError, folder};
use crate::config::Settings;
use crate::dataset::sample::MOST_NAMED;
use crate::dataset::shards::{Entry, PlanError, PlannedShard};
use crate::dataset::{Record, SampleConfig};
use crate::event::{Event, Observer, Phase, SkippedFile};
use crate::files;
use crate::names::portable;
use crate::output::{OutputError, OutputFolder};
use crate::parallel::parallel_map;
use crate::pipeline::predict::Collected;
use crate::pipeline::{PipelineError, Run};
use crate::report::MaskReport;
use crate::results::{Prediction, Results, ResultsError, ResultsFolder, Status};

/// Most of giving files their places is waiting for the file system.
const THREADS: usize = 16;

/// What is kept of a finished shard.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskTotals {
    pub images: u64,
    pub skipped: u64,
    pub without_object: u64,
    pub one_cluster: u64,
    pub mean_clusters: Option<f64>,
    pub mean_negative_share: Option<f64>,
    /// blake3 of the table.
    pub table: String,
}

/// blake3 of the table of a folder of results.
pub fn table_hash(folder: &ResultsFolder) -> Result<String, PipelineError> {
    let path = folder.table();
    let hash = File::open(&path).and_then(|mut file| {
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut file, &mut hasher)?;
        Ok(hasher.finalize().to_hex().to_string())
    });
    Ok(hash.map_err(|source| OutputError::Read { path, source })?)
}

/// Merges shards of masks; see [`super::merge`].
pub fn merge(request: &MergeRequest, observer: &dyn Observer) -> Result<MergeSummary, PipelineError> {
    let started = Instant::now();
    let found = Finished::<MaskTotals>::find(&request.out, MASKS, request.plan.as_deref())?;
    let made = &found.made;
    let settings: Settings = serde_json::from_value(made.settings.clone()).map_err(|error| {
        ShardsError::BrokenRecord { path: found.record_path(&request.out, MASKS), reason: error.to_string() }
    })?;
    let out = OutputFolder::open(&request.out, "merge", &ResultsFolder::claims(made.save), request.wait, observer)?;
    let first = ResultsFolder::new(folder(&request.out, 0));
    let results = Results::like(&first, out, made.save, settings.output.clone())?;
    if results.origin() != made.origin {
        let (path, reason) = (first.labels(), "it is of another run".to_string());
        return Err(ShardsError::Damaged { shard: 0, path, reason }.into());
    }
    check_places(&found, &results, observer)?;
    let title = found.plan.sources().display().to_string();
    let report = made.save.report.then(|| MaskReport::new(&title, &made.description));
    let report = if results.is_of_regions() { report.map(MaskReport::of_regions) } else { report };
    let mut collected = Collected::new(results.begin()?, report, &results, &settings, observer);

    let mut summary = MergeSummary {
        out: request.out.clone(),
        shards: found.done.len(),
        images: 0,
        skipped: 0,
        placed: 0,
        copied: 0,
        rows: None,
        seconds: 0.0,
    };
    let mut first_skipped = Vec::new();
    observer.observe(Event::PhaseStarted { phase: Phase::Merging, total: Some(found.plan.images()) });
    let place = |line: Result<Line, PipelineError>| {
        if observer.interrupted() {
            return Err(PipelineError::Interrupted(Run::Merging));
        }
        let line = line?;
        let placed = match (&line.record, &line.prediction) {
            (Some(record), Prediction { content_hash: Some(hash), result: Some(_), .. }) => {
                let of_shard = ResultsFolder::new(folder(&request.out, line.shard));
                results.adopt(record, hash, &of_shard).map_err(|error| line.damaged(error.into()))?
            }
            _ => [0, 0],
        };
        Ok((line, placed))
    };
    parallel_map(found.lines(&request.out), THREADS, place, |line| {
        let (Line { shard, record, prediction }, [placed, copied]) = line?;
        summary.images += 1;
        summary.placed += placed;
        summary.copied += copied;
        if prediction.status == Status::Skipped {
            summary.skipped += 1;
            if first_skipped.len() < MOST_NAMED {
                let reason = prediction.reason.clone().unwrap_or_default();
                first_skipped.push(SkippedFile { path: prediction.path.clone().into(), reason });
            }
        }
        collected.push(&prediction, record.as_ref(), Some(shard))?;
        observer.observe(Event::PhaseProgress { phase: Phase::Merging, done: summary.images });
        Ok::<(), PipelineError>(())
    })?;
    observer.observe(Event::PhaseFinished { phase: Phase::Merging });
    collected.finish()?;
    summary.seconds = started.elapsed().as_secs_f64();
    let judged = SampleConfig { max_bad: request.max_bad, ..SampleConfig::default() };
    judged.judge(summary.skipped, summary.images, &first_skipped)?;
    Ok(summary)
}

/// Refuses to begin where a file that is from no run lies in the way.
fn check_places(found: &Finished<MaskTotals>, results: &Results, observer: &dyn Observer) -> Result<(), PipelineError> {
    if !results.is_begun() {
        return Ok(());
    }
    let entries = (0..found.done.len()).flat_map(|shard| match found.shard(shard) {
        Ok(shard) => Box::new(shard.entries()) as Box<dyn Iterator<Item = _> + Send>,
        Err(error) => Box::new(std::iter::once(Err(error))),
    });
    let look = |entry: Result<Entry, PlanError>| match entry {
        _ if observer.interrupted() => Err(PipelineError::Interrupted(Run::Merging)),
        Ok(Entry::Image { record, .. }) => Ok(results.foreign_in_the_way(&record)?),
        Ok(Entry::Fault { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    };
    parallel_map(entries, THREADS, look, |found| match found? {
        Some(path) => Err(OutputError::Foreign { path }.into()),
        None => Ok(()),
    })
}

/// A line of a shard's table, with its image.
struct Line {
    shard: usize,
    /// None where there is no image.
    record: Option<Record>,
    prediction: Prediction,
}

impl Line {
    /// A file of the shard that cannot be read is the shard's loss, whatever else goes wrong.
    fn damaged(&self, error: PipelineError) -> PipelineError {
        match error {
            PipelineError::Results(ResultsError::Output(OutputError::Read { path, source })) => {
                ShardsError::Damaged { shard: self.shard, path, reason: source.to_string() }.into()
            }
            other => other,
        }
    }
}

impl Finished<MaskTotals> {
    fn record_path(&self, out: &Path, name: &str) -> PathBuf {
        folder(out, 0).join(crate::manifest::FOLDER).join(name)
    }

    fn shard(&self, shard: usize) -> Result<PlannedShard, PlanError> {
        PlannedShard::of(&self.plan_path, Arc::clone(&self.plan), shard)
    }

    /// The lines of all tables, one shard after the other; an error is the last.
    fn lines(&self, out: &Path) -> impl Iterator<Item = Result<Line, PipelineError>> + Send {
        let out = out.to_path_buf();
        (0..self.done.len()).flat_map(move |shard| match self.lines_of(&out, shard) {
            Ok(lines) => Box::new(lines) as Box<dyn Iterator<Item = _> + Send>,
            Err(error) => Box::new(std::iter::once(Err(error))),
        })
    }

    /// The lines of a shard's table, each with the image of the plan that it must be of.
    fn lines_of(
        &self,
        out: &Path,
        shard: usize,
    ) -> Result<impl Iterator<Item = Result<Line, PipelineError>> + Send + use<>, PipelineError> {
        let path = ResultsFolder::new(folder(out, shard)).table();
        let damaged = {
            let path = path.clone();
            move |reason: String| PipelineError::from(ShardsError::Damaged { shard, path: path.clone(), reason })
        };
        let planned = self.shard(shard)?;
        planned.hold_against_plan()?;
        let sources = planned.sources().clone();
        let mut entries = planned.entries();
        let mut table = BufReader::new(files::open_ordinary(&path).map_err(|error| damaged(error.to_string()))?);
        let (mut hasher, expected) = (blake3::Hasher::new(), self.done[shard].table.clone());
        let mut text = Vec::new();
        let mut is_over = false;
        Ok(std::iter::from_fn(move || {
            if is_over {
                return None;
            }
            let mut next = || -> Result<Option<Line>, PipelineError> {
                text.clear();
                table.by_ref().read_until(b'\n', &mut text).map_err(|error| damaged(error.to_string()))?;
                hasher.update(&text);
                let entry = match (entries.next().transpose()?, text.is_empty()) {
                    (Some(entry), false) => entry,
                    (None, true) if hasher.finalize().to_hex().as_str() == expected => return Ok(None),
                    (None, true) => return Err(damaged("its content has changed".into())),
                    (Some(_), true) | (None, false) => {
                        return Err(damaged("it has another number of lines than the plan".into()));
                    }
                };
                let prediction: Prediction =
                    serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
                let (place, record) = match entry {
                    Entry::Image { record, .. } => (portable(&record.relative), Some(record)),
                    Entry::Fault { path, .. } => (portable(&sources.place_of(&path)), None),
                };
                if prediction.path != place {
                    return Err(damaged(format!("it has {} where the plan has {place}", prediction.path)));
                }
                Ok(Some(Line { shard, record, prediction }))
            };
            let line = next().transpose();
            is_over = !matches!(line, Some(Ok(_)));
            line
        }))
    }
}
