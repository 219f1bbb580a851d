//! Shards: a collection cut into numbered ranges of its images, for machines that share the work without talking.
//!
//! A plan is made once, by searching the collection as every run does, and is two files: `plan.json`, small, with what was
//! searched and where every shard begins ([`ShardPlan`]); and beside it `plan.images.jsonl` with one line per image, of which
//! a run reads the range of its shard alone ([`PlannedShard`]). The ranges follow the collection's order, so that the tables
//! of all shards, one after the other, are that of one run.

mod changes;
mod cut;
mod error;
mod list;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use cut::{Balance, cut};
pub use error::PlanError;
pub use list::{Entry, ListWriter, is_line};

use super::{DatasetError, FrameUse, Record, SampleConfig, Sources, Stored};
use crate::files::{self, Section};
use crate::names;
use crate::remote::{self, Address, RemoteError};
use list::Roots;

const FORMAT: u32 = 1;
/// A plan of a million shards is smaller.
const MOST_BYTES: u64 = 1 << 30;

/// A collection cut into shards, without its images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardPlan {
    format: u32,
    /// blake3 of all else here: the same plan of the same images has the same one.
    fingerprint: String,
    /// The sources as they were given.
    data: Vec<String>,
    /// The working folder in which they were, where one of them is relative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    respect_ignore: bool,
    frames: FrameUse,
    by: Balance,
    images: u64,
    /// Those of the images' files.
    bytes: u64,
    shards: Vec<ShardRange>,
}

/// What a plan says of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRange {
    pub images: u64,
    /// Those of the images' files.
    pub bytes: u64,
    /// Where its lines begin in the list.
    offset: u64,
    /// Bytes of its lines.
    length: u64,
    /// blake3 of its lines, and so of its images' names and sizes.
    blake3: String,
}

impl ShardPlan {
    /// The plan of a collection of `sources` that was searched as `settings` say and whose list was cut into `shards`.
    ///
    /// # Errors
    /// If the working folder is needed and cannot be told.
    pub fn new(
        sources: &Sources,
        settings: &SampleConfig,
        by: Balance,
        shards: Vec<ShardRange>,
    ) -> io::Result<ShardPlan> {
        let is_relative = sources.paths().iter().any(|path| path.is_relative() && !remote::is_remote(path));
        let folder = if is_relative { Some(names::text(std::env::current_dir()?.as_os_str())) } else { None };
        let mut plan = ShardPlan {
            format: FORMAT,
            fingerprint: String::new(),
            data: sources.paths().iter().map(|path| names::text(path.as_os_str())).collect(),
            folder,
            respect_ignore: settings.respect_ignore,
            frames: settings.frames,
            by,
            images: shards.iter().map(|shard| shard.images).sum(),
            bytes: shards.iter().map(|shard| shard.bytes).sum(),
            shards,
        };
        plan.fingerprint = plan.computed_fingerprint();
        Ok(plan)
    }

    /// Where the list of a plan lies: beside it, `plan.images.jsonl` for `plan.json`.
    pub fn list_path(plan: &Path) -> PathBuf {
        plan.with_extension("images.jsonl")
    }

    /// Reads the plan at `path`.
    ///
    /// # Errors
    /// [`PlanError::Unreadable`], [`PlanError::NotAPlan`], [`PlanError::Format`].
    pub fn read(path: &Path) -> Result<ShardPlan, PlanError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let shown = || path.to_path_buf();
        let read = || match Address::of(path) {
            Some(address) => files::read_rest(remote::open(&address)?, MOST_BYTES, 0),
            None => files::read(path, MOST_BYTES),
        };
        let bytes = read().map_err(|source| PlanError::Unreadable { path: shown(), source })?;
        let not_a_plan = |reason: String| PlanError::NotAPlan { path: shown(), reason };
        let head: Head = serde_json::from_slice(&bytes).map_err(|error| not_a_plan(error.to_string()))?;
        if head.format != FORMAT {
            return Err(PlanError::Format { path: shown(), found: head.format, known: FORMAT });
        }
        let plan: ShardPlan = serde_json::from_slice(&bytes).map_err(|error| not_a_plan(error.to_string()))?;
        if plan.fingerprint != plan.computed_fingerprint() {
            return Err(not_a_plan("it was changed since it was written".into()));
        }
        Ok(plan)
    }

    /// The plan as it is written: what is searched in one line, and one for every shard.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = ShardPlan { shards: Vec::new(), ..self.clone() };
        let mut text = serde_json::to_string(&head).unwrap_or_default();
        // The empty list of shards is what it ends with.
        text.truncate(text.len().saturating_sub("]}".len()));
        for (number, shard) in self.shards.iter().enumerate() {
            text += if number == 0 { "\n" } else { ",\n" };
            text += &serde_json::to_string(shard).unwrap_or_default();
        }
        text += "\n]}\n";
        text.into_bytes()
    }

    fn computed_fingerprint(&self) -> String {
        let plain = ShardPlan { fingerprint: String::new(), ..self.clone() };
        blake3::hash(&plain.to_bytes()).to_hex().to_string()
    }

    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Images of all shards, with what stands in the place of some.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// Bytes of the images' files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn shards(&self) -> &[ShardRange] {
        &self.shards
    }

    /// What of the search and the cut differs from another plan's, if anything.
    pub fn difference(&self, other: &ShardPlan) -> Option<&'static str> {
        let differences = [
            (self.data != other.data, "other data"),
            (self.folder != other.folder, "data relative to another folder"),
            (self.respect_ignore != other.respect_ignore, "other ignore files"),
            (self.frames != other.frames, "other frames"),
            (self.shards.len() != other.shards.len(), "another number of shards"),
            (self.by != other.by, "shards balanced by something else"),
        ];
        differences.into_iter().find_map(|(differs, what)| differs.then_some(what))
    }

    /// The folder that relative paths of the plan are in; none where they are as good as they stand.
    fn base(&self) -> Option<PathBuf> {
        let folder = names::path(self.folder.as_deref()?);
        let is_here = std::env::current_dir().is_ok_and(|here| here == folder);
        (!is_here).then_some(folder)
    }

    /// The sources of the collection, from wherever the program runs now.
    pub fn sources(&self) -> Sources {
        let base = self.base();
        self.data.iter().map(|text| placed(base.as_deref(), names::path(text))).collect::<Vec<_>>().into()
    }
}

/// Which shard of which plan a run works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardChoice {
    pub plan: PathBuf,
    /// Counted from 0.
    pub shard: usize,
    /// Whether images that are not as the plan has them are taken as they are now, instead of ending the run.
    pub accept_changes: bool,
}

/// What a run works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// All images of the sources.
    Whole(Sources),
    /// One shard of a planned collection.
    Shard(ShardChoice),
}

impl From<Sources> for Input {
    fn from(sources: Sources) -> Self {
        Input::Whole(sources)
    }
}

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Self {
        Input::Whole(path.into())
    }
}

impl From<&Path> for Input {
    fn from(path: &Path) -> Self {
        Input::Whole(path.into())
    }
}

/// One shard of a plan, with its place in the list.
#[derive(Debug)]
pub struct PlannedShard {
    /// The plan's path.
    path: PathBuf,
    plan: Arc<ShardPlan>,
    index: usize,
    accept_changes: bool,
    sources: Sources,
    roots: Roots,
}

impl PlannedShard {
    /// Opens a shard for a run with `settings`, and holds its lines against the plan.
    ///
    /// # Errors
    /// Those of [`ShardPlan::read`], [`PlanError::NoSuchShard`], [`PlanError::OtherSearch`], [`PlanError::OtherList`].
    pub fn open(choice: &ShardChoice, settings: &SampleConfig) -> Result<PlannedShard, PlanError> {
        let plan = ShardPlan::read(&choice.plan)?;
        // A run searches nothing, and takes over what the plan was made with; it must not have been asked for something else.
        let (asked, usual) = (settings, SampleConfig::default());
        if asked.respect_ignore != usual.respect_ignore && asked.respect_ignore != plan.respect_ignore {
            return Err(PlanError::OtherSearch { setting: "data.respect_ignore" });
        }
        if asked.frames != usual.frames && asked.frames != plan.frames {
            return Err(PlanError::OtherSearch { setting: "data.frames" });
        }
        let mut shard = PlannedShard::of(&choice.plan, Arc::new(plan), choice.shard)?;
        shard.accept_changes = choice.accept_changes;
        shard.hold_against_plan()?;
        Ok(shard)
    }

    /// A shard of a plan that was read from `path`.
    pub fn of(path: &Path, plan: Arc<ShardPlan>, index: usize) -> Result<PlannedShard, PlanError> {
        if index >= plan.shards.len() {
            return Err(PlanError::NoSuchShard { path: path.to_path_buf(), index, shards: plan.shards.len() });
        }
        let sources = plan.sources();
        let roots = Roots::of(&sources, plan.base());
        Ok(PlannedShard { path: path.to_path_buf(), plan, index, accept_changes: false, sources, roots })
    }

    pub fn plan(&self) -> &ShardPlan {
        &self.plan
    }

    /// The path of the plan.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its number, counted from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Its images, with what stands in the place of some.
    pub fn images(&self) -> u64 {
        self.range().images
    }

    fn range(&self) -> &ShardRange {
        &self.plan.shards[self.index]
    }

    fn lines(&self) -> io::Result<Box<dyn BufRead + Send>> {
        let ShardRange { offset, length, .. } = *self.range();
        let path = ShardPlan::list_path(&self.path);
        if let Some(address) = Address::of(&path) {
            return Ok(Box::new(BufReader::new(remote::open_section(&address, offset, length))));
        }
        Ok(Box::new(BufReader::new(Section::open(&path, offset, length)?)))
    }

    /// Refuses a list whose lines are not those of the plan.
    pub fn hold_against_plan(&self) -> Result<(), PlanError> {
        let path = ShardPlan::list_path(&self.path);
        let mut hasher = blake3::Hasher::new();
        let read = self.lines().and_then(|mut lines| io::copy(&mut lines, &mut hasher));
        read.map_err(|source| PlanError::Unreadable { path: path.clone(), source })?;
        match hasher.finalize().to_hex().as_str() == self.range().blake3 {
            true => Ok(()),
            false => Err(PlanError::OtherList { plan: self.path.clone(), path }),
        }
    }

    /// What its lines say, in order; after an error nothing follows.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry, PlanError>> + Send + use<> {
        let path = ShardPlan::list_path(&self.path);
        let (plan, roots) = (self.path.clone(), self.roots.clone());
        let mut lines = Some(self.lines());
        let mut text = Vec::new();
        std::iter::from_fn(move || {
            let unreadable = |source| PlanError::Unreadable { path: path.clone(), source };
            let reader = match lines.as_mut()? {
                Ok(reader) => reader,
                Err(_) => return lines.take()?.err().map(|source| Err(unreadable(source))),
            };
            text.clear();
            let entry = match reader.read_until(b'\n', &mut text) {
                Ok(0) => return None,
                Ok(_) => {
                    roots.entry(&text).ok_or_else(|| PlanError::OtherList { plan: plan.clone(), path: path.clone() })
                }
                Err(source) => Err(unreadable(source)),
            };
            if entry.is_err() {
                lines = None;
            }
            Some(entry)
        })
    }

    /// Its images as every collection has them; what could not be had when the plan was made comes as the error of that time.
    pub(super) fn records(&self) -> impl Iterator<Item = Result<Record, DatasetError>> + Send + use<> {
        self.entries().map(|entry| match entry? {
            Entry::Image { record, .. } => Ok(record),
            Entry::Fault { path, reason } => Err(DatasetError::Planned { path, reason }),
        })
    }
}

/// A path that a plan has, from wherever the program runs now; `base` is the folder of relative ones.
fn placed(base: Option<&Path>, path: PathBuf) -> PathBuf {
    match base.filter(|_| !remote::is_remote(&path)) {
        Some(base) => base.join(&path),
        None => path,
    }
}

/// Bytes of an image's file as it was found; none if it cannot be told. Of images in a table it is the mean of their group, for
/// which nothing but the table's end need be read.
pub fn bytes_found(record: &Record) -> Option<u64> {
    match &record.stored {
        Stored::Object { length: Some(length) } | Stored::Member { length, .. } => Some(*length),
        #[cfg(feature = "parquet")]
        Stored::Cell(cell) => Some(cell.mean_bytes()),
        Stored::Lost(_) => None,
        Stored::Object { length: None } | Stored::File => bytes_at(&record.path).ok().flatten(),
    }
}

/// Bytes of a file or an object now; none if there is none. Whether there is one elsewhere may not be known, which is an error.
fn bytes_at(path: &Path) -> Result<Option<u64>, RemoteError> {
    let Some(address) = Address::of(path) else { return Ok(fs::metadata(path).ok().map(|metadata| metadata.len())) };
    match remote::size(&address) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(RemoteError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
