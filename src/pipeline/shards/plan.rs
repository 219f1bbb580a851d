//! `plan`: a collection → its list and the ranges of its shards.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::moved;
use crate::dataset::shards::{Balance, ListWriter, PlanError, ShardPlan, bytes_found, cut};
use crate::dataset::{self, Record, SampleConfig, Sources};
use crate::event::{Event, Observer, Phase, SkippedFile};
use crate::files::{self, TemporaryFile, sync_folder};
use crate::output::{Fetched, OutputError, with_output};
use crate::parallel::parallel_map;
use crate::pipeline::{PipelineError, Run, no_images, tell_of_passed_over};

/// Most of looking at files is waiting for them.
const THREADS: usize = 16;
/// Lines that a message shows are no longer.
const MOST_SHOWN: usize = 120;

/// What to cut, into how many shards, and where the plan goes.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// Folders, lists of images, or images.
    pub data: Sources,
    /// The plan; its list goes beside it.
    pub out: PathBuf,
    pub shards: usize,
    pub by: Balance,
    /// How the collection is searched.
    pub search: SampleConfig,
    /// Replace another plan.
    pub overwrite: bool,
}

/// What was planned.
#[derive(Debug, Clone, Serialize)]
pub struct PlanSummary {
    #[serde(serialize_with = "crate::pipeline::path_as_text")]
    pub out: PathBuf,
    #[serde(serialize_with = "crate::pipeline::path_as_text")]
    pub list: PathBuf,
    pub shards: usize,
    pub images: u64,
    /// Those of the images' files.
    pub bytes: u64,
    /// Images of the smallest and of the largest shard.
    pub images_per_shard: [u64; 2],
    pub bytes_per_shard: [u64; 2],
    /// Places of the collection where there is something in the way of an image; its shard lists each as skipped.
    pub skipped: u64,
    /// Whether the plan was there already, and is that of the collection as it is now.
    pub was_there: bool,
}

/// Searches a collection, lists its images with their sizes, and cuts the list into shards.
///
/// The same collection gives the same bytes. Where the plan is there already, this says whether the collection is as it
/// was: a plan of other images is an error that names the first difference.
///
/// # Errors
/// [`PlanError::TooManyShards`], [`PlanError::Exists`]; [`OutputError::Foreign`] where a file is in the way that is no plan.
pub fn plan(request: &PlanRequest, observer: &dyn Observer) -> Result<PlanSummary, PipelineError> {
    let root = files::parent(&request.out);
    let list = ShardPlan::list_path(&request.out);
    let names: Vec<&str> = [&request.out, &list].iter().filter_map(|path| path.file_name()?.to_str()).collect();
    with_output(root, "", Fetched::Files(&names), observer, |here| {
        let request = PlanRequest { out: moved(&request.out, root, here), ..request.clone() };
        let summary = plan_here(&request, observer).map_err(|error| error.moved(here, root))?;
        Ok(PlanSummary { out: moved(&summary.out, here, root), list: moved(&summary.list, here, root), ..summary })
    })
}

fn plan_here(request: &PlanRequest, observer: &dyn Observer) -> Result<PlanSummary, PipelineError> {
    let PlanRequest { data, out, shards, by, search, overwrite } = request;
    let list_path = ShardPlan::list_path(out);
    let before = planned_before(out, &list_path)?;
    let collection = dataset::open_sources(data, search)?;
    let written = |source| OutputError::Write { path: list_path.clone(), source };
    fs::create_dir_all(files::parent(out))
        .map_err(|source| OutputError::CreateFolder { path: files::parent(out).to_path_buf(), source })?;
    files::remove_those_of_the_dead(files::parent(out));
    let mut list = TemporaryFile::create(files::parent(out)).map_err(written)?;

    observer.observe(Event::PhaseStarted { phase: Phase::Listing, total: None });
    let mut lines = ListWriter::new(&mut list.writer, data);
    let mut skipped = 0;
    let measure = |record: Result<Record, dataset::DatasetError>| {
        record.map(|record| {
            let bytes = bytes_found(&record);
            (record, bytes)
        })
    };
    parallel_map(collection.records(), THREADS, measure, |found| {
        if observer.interrupted() {
            return Err(PipelineError::Interrupted(Run::Planning));
        }
        match &found {
            Ok((record, bytes)) => lines.push(Ok((record, *bytes))),
            Err(error) => {
                skipped += 1;
                SkippedFile { path: error.path().to_path_buf(), reason: error.to_string() }.announce(observer);
                lines.push(Err(error))
            }
        }
        .map_err(written)?;
        observer.observe(Event::PhaseProgress { phase: Phase::Listing, done: lines.totals().0 });
        Ok(())
    })?;
    observer.observe(Event::PhaseFinished { phase: Phase::Listing });
    tell_of_passed_over(&collection, observer);
    let (images, bytes) = lines.totals();
    if images == 0 {
        return Err(no_images(&collection));
    }
    if *shards as u64 > images || *shards == 0 {
        return Err(PlanError::TooManyShards { shards: *shards, images }.into());
    }
    list.sync().map_err(written)?;
    let file = list.writer.get_mut();
    let ranges =
        file.rewind().and_then(|()| cut(BufReader::new(file), *shards, *by, images, bytes)).map_err(written)?;
    let plan = ShardPlan::new(data, search, *by, ranges).map_err(written)?;

    let was_there = before.as_ref() == Some(&plan);
    if !was_there
        && !overwrite
        && let Some(before) = before
    {
        let what = match before.difference(&plan) {
            Some(what) => format!("of {what}"),
            None => changed(&list_path, list.writer.get_mut()).map_err(written)?,
        };
        return Err(PlanError::Exists { path: out.clone(), what }.into());
    }
    // The list first: a plan that is there has one. Written anew even if it is there, for it may have been damaged.
    list.rename(&list_path).map_err(written)?;
    if !was_there {
        let bytes = plan.to_bytes();
        files::write_whole(out, |writer| writer.write_all(&bytes))
            .map_err(|source| OutputError::Write { path: out.clone(), source })?;
    }
    sync_folder(files::parent(out)).map_err(|source| OutputError::Write { path: out.clone(), source })?;
    let least_and_most = |of: fn(&dataset::shards::ShardRange) -> u64| {
        let all = || plan.shards().iter().map(of);
        [all().min().unwrap_or(0), all().max().unwrap_or(0)]
    };
    Ok(PlanSummary {
        out: out.clone(),
        list: list_path,
        shards: *shards,
        images,
        bytes,
        images_per_shard: least_and_most(|shard| shard.images),
        bytes_per_shard: least_and_most(|shard| shard.bytes),
        skipped,
        was_there,
    })
}

/// The plan that is there; what is there and is none is somebody's.
fn planned_before(out: &Path, list: &Path) -> Result<Option<ShardPlan>, PipelineError> {
    let is_there = |path: &Path| match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if files::says_absent(&error) => Ok(false),
        Err(source) => Err(OutputError::Read { path: path.to_path_buf(), source }),
    };
    let foreign = |path: &Path| OutputError::Foreign { path: path.to_path_buf() };
    if is_there(out)? {
        return match ShardPlan::read(out) {
            Ok(plan) => Ok(Some(plan)),
            Err(PlanError::NotAPlan { .. }) => Err(foreign(out).into()),
            Err(error) => Err(error.into()),
        };
    }
    // A run that was killed between both files leaves a list alone.
    if is_there(list)? && !begins_as_list(list) {
        return Err(foreign(list).into());
    }
    Ok(None)
}

fn begins_as_list(path: &Path) -> bool {
    let mut line = Vec::new();
    let read = files::open_ordinary(path).and_then(|file| BufReader::new(file).read_until(b'\n', &mut line));
    read.is_ok() && dataset::shards::is_line(&line)
}

/// The first difference between the list at `path` and the one in `file`.
fn changed(path: &Path, file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let (mut before, mut now) = (BufReader::new(File::open(path)?).lines(), BufReader::new(file).lines());
    loop {
        let (before, now) = (before.next().transpose()?, now.next().transpose()?);
        if before != now || before.is_none() {
            let shown = |line: Option<String>| match line {
                Some(line) => line.chars().take(MOST_SHOWN).collect(),
                None => "its end".to_string(),
            };
            return Ok(format!(
                "the collection is not as it was planned; where the plan has {}, there is {} now",
                shown(before),
                shown(now)
            ));
        }
    }
}
