//! The hallway: files, threads and progress around what the rooms do in memory.

mod cluster;
mod error;
mod evaluate;
mod images;
mod infer;
mod install;
mod predict;
mod segment;
#[cfg(test)]
mod test_pictures;
mod train;

pub use crate::cluster::ClusterError;
pub use crate::features::vit::Precision;
pub use crate::method::{Machine, StepMilliseconds, read_checkpoint};
pub use crate::model::checkpoint::TrainedStage;
pub use crate::output::{LayOut, LayOutError};
pub use crate::segment::PerImageMethod;
pub use crate::tensor::DeviceChoice;
pub use crate::weights::{Installed, installed};
pub use cluster::{ClusterRequest, ClusterResult, ClusterRunError, ClusterSummary, cluster};
pub use error::{PipelineError, Run};
pub use evaluate::{EvaluateRequest, EvaluateSummary, EvaluateTask, Scores, SequenceScores, evaluate};
pub use infer::{InferRequest, infer};
pub use install::install_weights;
pub use predict::{
    ListedObject, Measures, PredictRequest, PredictSummary, Prediction, SaveKinds, Segmentation, Status,
};
pub use segment::{SegmentRequest, segment};
pub use train::{StageSummary, TrainRequest, TrainSummary, train, train_model, train_model_with};

use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::dataset::DatasetError;
use crate::event::{Event, Observer};
use crate::model::checkpoint::CheckpointHeader;
use crate::output::CacheConfig;

/// Paths in reports are text: what is not Unicode in them is replaced.
fn lossy_path<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// The settings as a file of results keeps them: without what cannot change the result.
fn stored_config(settings: &Settings) -> serde_json::Value {
    let kept = Settings { cache: CacheConfig::default(), ..settings.clone() };
    serde_json::to_value(kept).unwrap_or_default()
}

/// A relative path with `/` between its parts on every system.
fn portable(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Removes a file of an earlier run; it may not be there.
fn remove_outdated(path: &Path) -> Result<(), PipelineError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(PipelineError::Outdated { path: path.to_path_buf(), source })
        }
        _ => Ok(()),
    }
}

/// A collection without images.
fn no_images(data: &Path) -> PipelineError {
    PipelineError::NoImages { data: data.to_path_buf() }
}

/// One image that was left out of a run, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Skip {
    #[serde(serialize_with = "lossy_path")]
    pub path: PathBuf,
    pub reason: String,
}

impl Skip {
    /// Tells the observer.
    fn announce(&self, observer: &dyn Observer) {
        observer.observe(Event::Skipped { path: self.path.clone(), reason: self.reason.clone() });
    }
}

impl From<DatasetError> for Skip {
    fn from(error: DatasetError) -> Self {
        Skip { path: error.path().to_path_buf(), reason: error.to_string() }
    }
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
