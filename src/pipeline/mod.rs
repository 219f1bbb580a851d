//! The hallway: joins the rooms into the runs that a user asks for. Only here do folders meet networks.

mod backbone;
mod batches;
mod cluster;
mod evaluate;
mod images;
mod infer;
mod machine;
mod predict;
mod segment;
#[cfg(test)]
mod test_pictures;
mod train;

pub use crate::cluster::ClusterError;
pub use crate::features::vit::Precision;
pub use crate::model::checkpoint::TrainedStage;
pub use crate::output::{LayOut, LayOutError};
pub use crate::segment::PerImageMethod;
pub use crate::tensor::DeviceChoice;
pub use backbone::{InstalledWeights, install_weights, installed_weights};
pub use cluster::{ClusterRequest, ClusterResult, ClusterRunError, ClusterSummary, cluster};
pub use evaluate::{EvaluateRequest, EvaluateSummary, EvaluateTask, Scores, SequenceScores, evaluate};
pub use infer::{InferRequest, infer};
pub use machine::Machine;
pub use predict::{
    ListedObject, Measures, PredictRequest, PredictSummary, Prediction, SaveKinds, Segmentation, Status,
    StepMilliseconds,
};
pub use segment::{SegmentRequest, segment};
pub use train::{StageSummary, TrainRequest, TrainSummary, train};

use std::path::{Path, PathBuf};

use crate::config::{ConfigError, Settings};
use crate::dataset::DatasetError;
use crate::error::ErrorKind;
use crate::model::checkpoint::{Checkpoint, CheckpointHeader};
use crate::output::CacheConfig;
use crate::output::OutputError;
use crate::tensor::DeviceError;

/// Why a run ended early. Each variant is one exit code of the program.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// What was asked for cannot be done: a wrong path, key, value or device.
    #[error("{0}")]
    Usage(String),
    /// A model or an input that cannot be trusted.
    #[error("{0}")]
    Untrusted(String),
    /// Reading or writing failed; the same command continues.
    #[error("{0}")]
    InputOutput(String),
    /// The user stopped the run; the same command continues, training with --resume.
    #[error("interrupted; {0}")]
    Interrupted(String),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    ClusterRun(#[from] ClusterRunError),
    #[error(transparent)]
    LayOut(#[from] LayOutError),
}

impl PipelineError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PipelineError::Usage(_) => ErrorKind::Usage,
            PipelineError::Untrusted(_) => ErrorKind::Untrusted,
            PipelineError::InputOutput(_) => ErrorKind::InputOutput,
            PipelineError::Interrupted(_) => ErrorKind::Interrupted,
            PipelineError::Cluster(error) => error.kind(),
            PipelineError::ClusterRun(error) => error.kind(),
            PipelineError::LayOut(error) => error.kind(),
        }
    }
}

impl From<ConfigError> for PipelineError {
    fn from(error: ConfigError) -> Self {
        PipelineError::Usage(error.to_string())
    }
}

impl From<DatasetError> for PipelineError {
    fn from(error: DatasetError) -> Self {
        PipelineError::Usage(error.to_string())
    }
}

impl From<DeviceError> for PipelineError {
    fn from(error: DeviceError) -> Self {
        PipelineError::Usage(error.to_string())
    }
}

impl From<OutputError> for PipelineError {
    fn from(error: OutputError) -> Self {
        PipelineError::InputOutput(error.to_string())
    }
}

/// Reads and checks a checkpoint; gives it with the blake3 of its file.
pub fn read_checkpoint(path: &Path) -> Result<(Checkpoint, blake3::Hash), PipelineError> {
    let bytes = std::fs::read(path).map_err(|error| {
        PipelineError::Usage(format!(
            "cannot read the checkpoint {}: {error}; `deepcut train` writes one",
            path.display()
        ))
    })?;
    let checkpoint = Checkpoint::from_bytes(&bytes).map_err(|error| {
        PipelineError::Untrusted(format!(
            "{} is no usable checkpoint: {error}; train again or copy it anew",
            path.display()
        ))
    })?;
    Ok((checkpoint, blake3::hash(&bytes)))
}

/// Paths in reports are text: what is not Unicode in them is replaced.
fn lossy_path<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// The configuration as a file of results keeps it: without what cannot change the result.
fn stored_config(config: &Settings) -> serde_json::Value {
    let kept = Settings { cache: CacheConfig::default(), ..config.clone() };
    serde_json::to_value(kept).unwrap_or_default()
}

/// A relative path with `/` between its parts on every system.
fn portable(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Removes a file of an earlier run; it may not be there.
fn remove_outdated(path: &Path) -> Result<(), PipelineError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(PipelineError::InputOutput(format!("cannot remove the outdated {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// A collection without images.
fn no_images(data: &Path) -> PipelineError {
    PipelineError::Usage(format!(
        "no image was found in {}; images end in .jpg, .jpeg, .png, .webp, .bmp or .gif; hidden files and what ignore files exclude do not count",
        data.display()
    ))
}

/// One image that was left out of a run, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Skip {
    #[serde(serialize_with = "lossy_path")]
    pub path: PathBuf,
    pub reason: String,
}

/// What `inspect` shows of a checkpoint.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CheckpointDescription {
    #[serde(serialize_with = "lossy_path")]
    pub path: PathBuf,
    /// blake3 of the file.
    pub blake3: String,
    /// Number of trained values, of all stages.
    pub parameters: usize,
    #[serde(flatten)]
    pub header: CheckpointHeader,
}

/// Reads a checkpoint and describes it.
pub fn describe_checkpoint(path: &Path) -> Result<CheckpointDescription, PipelineError> {
    let (checkpoint, hash) = read_checkpoint(path)?;
    Ok(CheckpointDescription {
        path: path.to_path_buf(),
        blake3: hash.to_hex().to_string(),
        parameters: checkpoint.parameter_shapes().map(|(_, [rows, columns])| rows * columns).sum(),
        header: checkpoint.header,
    })
}
