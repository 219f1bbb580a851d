//! A collection in shards: planned once, computed by machines that do not talk to each other, and merged into one folder.
//!
//! Shard 7 writes into `OUT/shards/00007/` alone, a folder of results like any other, which is finished when its record
//! ([`record`]) says so: that is written last.

mod error;
mod features;
mod masks;
mod plan;
mod record;

pub use error::ShardsError;
pub(super) use features::FeatureTotals;
pub(super) use masks::{MaskTotals, table_hash};
pub use plan::{PlanRequest, PlanSummary, plan};
pub(super) use record::{Began, MASKS, Made, ShardRun, record_of};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::PipelineError;
use crate::dataset::Input;
use crate::dataset::shards::{PlannedShard, ShardPlan};
use crate::event::Observer;
use crate::files;
use crate::names;
use crate::output::{Fetched, MatrixFormat, with_output};
use record::ShardRecord;

const FOLDER: &str = "shards";

/// Where a shard's results go, given where those of all go.
pub(super) fn folder(out: &Path, shard: usize) -> PathBuf {
    out.join(FOLDER).join(format!("{shard:05}"))
}

/// What of the output a run writes: a shard's folder, or the whole, which is an empty name.
pub(super) fn part(data: &Input) -> String {
    match data {
        Input::Whole(_) => String::new(),
        Input::Shard(choice) => format!("{FOLDER}/{:05}", choice.shard),
    }
}

/// A path below one folder as that below another.
pub(super) fn moved(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        _ if from == to => path.to_path_buf(),
        Ok(inside) if inside.as_os_str().is_empty() => to.to_path_buf(),
        Ok(inside) => to.join(inside),
        Err(_) => path.to_path_buf(),
    }
}

/// What a run of one shard says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ShardSummary {
    /// Counted from 0.
    pub shard: usize,
    /// How many there are.
    pub shards: usize,
    /// Whether an earlier run had finished it, so that this one had nothing to do.
    pub was_finished: bool,
}

impl ShardSummary {
    pub(super) fn of(shard: &PlannedShard, was_finished: bool) -> ShardSummary {
        ShardSummary { shard: shard.index(), shards: shard.plan().shards().len(), was_finished }
    }
}

/// Which shards become one.
#[derive(Debug, Clone)]
pub struct MergeRequest {
    /// The output of the shards' runs: a folder of masks, or a `.npy` or `.safetensors` file of features.
    pub out: PathBuf,
    /// The plan that they follow; else the one that they name.
    pub plan: Option<PathBuf>,
    /// Share of all images that may be bad; see [`SampleConfig`](crate::dataset::SampleConfig).
    pub max_bad: f64,
    /// How long to wait for another run that writes to the same folder; none waits until it has finished.
    pub wait: Option<Duration>,
}

/// What a merge did.
#[derive(Debug, Clone, Serialize)]
pub struct MergeSummary {
    #[serde(serialize_with = "crate::pipeline::path_as_text")]
    pub out: PathBuf,
    pub shards: usize,
    /// Those of the plan: all are accounted for.
    pub images: u64,
    pub skipped: u64,
    /// Files of single images that were given a place in the folder by this run.
    pub placed: u64,
    /// Of these, those that had to be copied, as the file system does not give a file two names.
    pub copied: u64,
    /// Rows of a matrix of features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    pub seconds: f64,
}

/// Makes one output of those of all shards, as one run would have written it: masks and what lies beside them get second
/// names, tables and annotations are written anew, matrices joined. The shards stay as they are; repeated, it gives the same.
///
/// # Errors
/// [`ShardsError`] names what is missing or does not belong together, before anything is written.
pub fn merge(request: &MergeRequest, observer: &dyn Observer) -> Result<MergeSummary, PipelineError> {
    let format = MatrixFormat::of(&request.out);
    let root = if format.is_some() { files::parent(&request.out) } else { &request.out };
    with_output(root, "", Fetched::With(FOLDER), observer, |here| {
        let request = &MergeRequest { out: moved(&request.out, root, here), ..request.clone() };
        let merged = match format {
            Some(format) => features::merge(request, format, observer),
            None => masks::merge(request, observer),
        };
        let summary = merged.map_err(|error| error.moved(here, root))?;
        Ok(MergeSummary { out: moved(&summary.out, here, root), ..summary })
    })
}

/// The finished shards of a plan, all made in the same way.
struct Finished<T> {
    plan_path: PathBuf,
    plan: Arc<ShardPlan>,
    made: Made,
    /// By their numbers.
    done: Vec<T>,
}

impl<T: serde::Serialize + serde::de::DeserializeOwned> Finished<T> {
    /// Reads what the shards below `out` say in their records called `name`.
    fn find(out: &Path, name: &str, plan: Option<&Path>) -> Result<Finished<T>, PipelineError> {
        let known = |shard: usize| ShardRecord::<T>::read(&folder(out, shard), name);
        let plan_path = match plan {
            Some(path) => path.to_path_buf(),
            None => first_record::<T>(out, name)?
                .map(|record| names::path(&record.plan_path))
                .ok_or_else(|| ShardsError::Nothing { out: out.to_path_buf() })?,
        };
        let plan = ShardPlan::read(&plan_path)?;
        let (mut first, mut done, mut missing) = (None::<(usize, Made)>, Vec::new(), Missing::default());
        for (shard, range) in plan.shards().iter().enumerate() {
            let Some(record) = known(shard)? else {
                missing.add(shard, range.images);
                continue;
            };
            if record.plan != plan.fingerprint() {
                return Err(ShardsError::OtherPlan { folder: folder(out, shard), plan: plan_path }.into());
            }
            let Some(finished) = record.done else {
                missing.add(shard, range.images);
                continue;
            };
            match &first {
                None => first = Some((shard, record.made)),
                Some((first, made)) => {
                    if let Some(what) = made.difference(&record.made) {
                        return Err(ShardsError::Differ { first: *first, shard, what }.into());
                    }
                }
            }
            done.push(finished);
        }
        if !missing.shards.is_empty() {
            let (all, images) = (plan.shards().len(), plan.images());
            let shown = missing.shown();
            return Err(ShardsError::Unfinished {
                out: out.to_path_buf(),
                count: missing.shards.len(),
                all,
                shown,
                missing: missing.images,
                images,
            }
            .into());
        }
        let (_, made) = first.ok_or_else(|| ShardsError::Nothing { out: out.to_path_buf() })?;
        if made.version != env!("CARGO_PKG_VERSION") {
            return Err(ShardsError::OtherProgram { version: made.version }.into());
        }
        Ok(Finished { plan_path, plan: Arc::new(plan), made, done })
    }
}

/// The record of the first shard that has one.
fn first_record<T: serde::Serialize + serde::de::DeserializeOwned>(
    out: &Path,
    name: &str,
) -> Result<Option<ShardRecord<T>>, ShardsError> {
    let Ok(entries) = std::fs::read_dir(out.join(FOLDER)) else { return Ok(None) };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    folders.iter().find_map(|folder| ShardRecord::read(folder, name).transpose()).transpose()
}

/// Shards that are not finished.
#[derive(Default)]
struct Missing {
    shards: Vec<usize>,
    images: u64,
}

/// Ranges of shards that an error names.
const MOST_NAMED: usize = 10;

impl Missing {
    fn add(&mut self, shard: usize, images: u64) {
        self.shards.push(shard);
        self.images += images;
    }

    /// 0,3-5,7: as job arrays take it.
    fn shown(&self) -> String {
        let ranges: Vec<String> = self
            .shards
            .chunk_by(|one, next| one + 1 == *next)
            .map(|range| match range {
                [first, .., last] => format!("{first}-{last}"),
                [only] => only.to_string(),
                [] => String::new(),
            })
            .collect();
        let more = ranges.len().saturating_sub(MOST_NAMED);
        let shown = ranges[..ranges.len() - more].join(",");
        if more > 0 { format!("{shown} and {more} more ranges") } else { shown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_shards_are_named_as_job_arrays_take_them() {
        for (shards, expected) in [
            (vec![3], "3"),
            (vec![0, 3, 4, 5, 7, 8], "0,3-5,7-8"),
            ((0..24).step_by(2).collect(), "0,2,4,6,8,10,12,14,16,18 and 2 more ranges"),
        ] {
            let mut missing = Missing::default();
            shards.into_iter().for_each(|shard| missing.add(shard, 2));
            assert_eq!(missing.shown(), expected);
        }
    }
}
