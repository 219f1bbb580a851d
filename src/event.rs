//! How every room reports progress, warnings and failures: the library itself never prints.

use std::path::{Path, PathBuf};

use crate::names;

/// A step of a run that takes long enough to show progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Decoding images and computing their graphs.
    Features,
    /// Propagating the vectors of a collection, counted in tiles.
    Propagation,
    /// Optimising the network, counted in epochs.
    Training,
    /// Deciding which clusters are background, counted in images.
    Background,
    /// Fitting a first network's masks to their images for a second to learn, counted in images.
    Teaching,
    /// Segmenting images with a trained network.
    Inference,
    /// Holding results against ground truth, counted in images.
    Evaluation,
    /// Holding results against their checksums, counted in images.
    Verification,
    /// Fetching published weights, counted in bytes.
    Transfer,
    /// Listing a collection for its shards, counted in images.
    Listing,
    /// Joining shards, counted in images.
    Merging,
}

/// Something that happened during a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// What the run is about to do.
    Plan(Plan),
    /// A phase begins; `total` is unknown for collections that are read as a stream.
    PhaseStarted { phase: Phase, total: Option<u64> },
    /// `done` items of the phase are finished.
    PhaseProgress { phase: Phase, done: u64 },
    /// The phase is over.
    PhaseFinished { phase: Phase },
    /// One epoch of training is over.
    Epoch(EpochReport),
    /// One input was left out; the run goes on.
    Skipped { path: PathBuf, reason: String },
    /// Something the user should know and can act on.
    Warning(String),
    /// Something the user may want to know.
    Note(String),
}

/// What a run is about to do, for one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is done to what.
    pub doing: String,
    /// What turns images into features.
    pub backbone: String,
    /// Whether the user could have chosen deeper features.
    pub could_be_deeper: bool,
    /// Device and method.
    pub how: String,
}

impl std::fmt::Display for Plan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "{}: {}, {}", self.doing, self.backbone, self.how)
    }
}

/// One input that was left out of a run, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SkippedFile {
    #[serde(serialize_with = "path_as_text")]
    pub path: PathBuf,
    pub reason: String,
}

/// The reason with the path before it; some reasons are about a path and name it themselves.
impl std::fmt::Display for SkippedFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        let path = names::text(self.path.as_os_str());
        match self.reason.contains(&path) || self.reason.contains(&self.path.display().to_string()) {
            true => formatter.write_str(&self.reason),
            false => write!(formatter, "{path}: {}", self.reason),
        }
    }
}

impl SkippedFile {
    /// Tells the observer.
    pub fn announce(&self, observer: &dyn Observer) {
        observer.observe(Event::Skipped { path: self.path.clone(), reason: self.reason.clone() });
    }
}

/// Paths in reports are text: what is none in them is escaped.
pub(crate) fn path_as_text<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&names::text(path.as_os_str()))
}

/// 3 images, 1 image.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {}", plural(count, noun))
}

/// What follows a list that leaves out so many.
pub fn and_more(left_out: usize) -> String {
    if left_out > 0 { format!(" and {left_out} more") } else { String::new() }
}

/// `noun` as it stands after `count`.
pub fn plural(count: u64, noun: &str) -> String {
    format!("{noun}{}", if count == 1 { "" } else { "s" })
}

/// The figures of one epoch of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: usize,
    /// Epochs the run was asked for.
    pub epochs: usize,
    /// Mean loss of the optimised graphs, dropout on.
    pub train_loss: f64,
    /// Mean loss of the held-out graphs, dropout off.
    pub held_out_loss: f64,
    /// Share of the held-out nodes in the largest cluster, in [1/K, 1].
    pub largest_cluster_share: f64,
    /// Learning rate of the epoch.
    pub learning_rate: f64,
    /// Whether the held-out loss is the lowest so far.
    pub best: bool,
}

/// Receives the events of a run and can ask it to stop.
pub trait Observer: Sync {
    /// Called as things happen, possibly from several threads.
    fn observe(&self, event: Event);

    /// Asked often: `true` makes the run stop at the next point from which it can be resumed.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Ignores every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _event: Event) {}
}
