//! The hallway: files, threads and progress around what the rooms do in memory.

mod backbones;
mod cluster;
mod compare;
mod error;
mod features;
mod images;
mod infer;
mod page_pictures;
mod precision;
mod predict;
mod segment;
mod shards;
#[cfg(test)]
mod test_pictures;
mod train;

pub use crate::cluster::ClusterError;
pub use crate::dataset::shards::{Balance, PlanError, ShardChoice};
pub use crate::dataset::{Input, SampleConfig, Sources};
pub use crate::evaluate::{
    EvaluateError, EvaluateRequest, EvaluateSide, EvaluateSummary, EvaluateTask, RegionOptions, SequenceScores,
};
pub use crate::event::SkippedFile;
pub use crate::features::vit::Precision;
pub use crate::method::{Machine, StepMilliseconds, read_checkpoint, read_code_book};
pub use crate::model::checkpoint::TrainedStage;
pub use crate::model::{PositionShares, Restarts};
pub use crate::output::{LayOut, LayOutError, NumberType};
pub use crate::results::{
    Fault, ListedObject, Measures, Prediction, ResultsError, RunLengthText, SaveKinds, Status, Verification,
};
pub use crate::segment::PerImageMethod;
pub use crate::tensor::DeviceChoice;
pub use crate::weights::{DEFAULT_NAME as DEFAULT_BACKBONE, Installed, PullError, installed};
pub use backbones::{
    Checked, ListedBackbone, PulledBackbone, VerifiedBackbone, WeightsDescription, describe_weights, install_weights,
    known_settings, list_backbones, pull_backbone, remove_backbone, verify_backbones,
};
pub use cluster::{ClusterRequest, ClusterResult, ClusterRunError, ClusterSummary, cluster};
pub use compare::{CompareRequest, CompareSummary, ComparedRow, Division, compare};
pub use error::{PipelineError, Run};
pub use features::{Described, FeaturesRequest, FeaturesSummary, features};
pub use infer::{InferRequest, infer};
pub use predict::{PredictRequest, PredictSummary};
pub use segment::{SegmentRequest, segment};
pub use shards::{MergeRequest, MergeSummary, PlanRequest, PlanSummary, ShardSummary, ShardsError, merge, plan};
pub use train::{
    GraphMaker, RegionsSummary, StageSummary, TrainRequest, TrainSummary, train, train_model, train_model_from,
    train_model_with, train_region_model, train_region_model_with, train_regions,
};

use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::dataset::Collection;
use crate::event::{Event, Observer, path_as_text};
use crate::method::MethodError;
use crate::model::Verdict;
use crate::model::checkpoint::CheckpointHeader;
use crate::names::portable;
use crate::output::CacheConfig;
use crate::segment::regions::{RegionCheckpoint, RegionHeader};

/// The settings as a file of results keeps them: without what cannot change the result.
fn stored_config(settings: &Settings) -> serde_json::Value {
    let data = SampleConfig { max_images: settings.data.max_images, ..SampleConfig::default() };
    let kept = Settings { cache: CacheConfig::default(), data, ..settings.clone() };
    serde_json::to_value(kept).unwrap_or_default()
}

/// Scores results against ground truth; see [`crate::evaluate::evaluate`].
pub fn evaluate(request: &EvaluateRequest, observer: &dyn Observer) -> Result<EvaluateSummary, PipelineError> {
    Ok(crate::evaluate::evaluate(request, observer)?)
}

/// Holds what runs have left in a folder against its checksums; see [`crate::results::verify()`].
pub fn verify(out: &Path, observer: &dyn Observer) -> Result<Verification, PipelineError> {
    Ok(crate::results::verify(out, observer)?)
}

/// Says what was passed over in a collection that was listed to its end, such as results of earlier runs, and how its lists
/// were read.
fn tell_of_passed_over(collection: &Collection, observer: &dyn Observer) {
    collection.remarks().into_iter().for_each(|remark| observer.observe(Event::Note(remark)));
}

/// A collection without images, once it was listed to its end.
fn no_images(collection: &Collection) -> PipelineError {
    PipelineError::NoImages { data: collection.sources().clone(), found: collection.instead_of_images() }
}

/// What `inspect` shows of a checkpoint.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CheckpointDescription {
    #[serde(serialize_with = "path_as_text")]
    pub path: PathBuf,
    /// blake3 of the file.
    pub blake3: String,
    /// Number of trained values, of all stages.
    pub parameters: usize,
    /// Whether to trust the network by what was measured while training, and why.
    pub verdict: Option<Verdict>,
    #[serde(flatten)]
    pub header: CheckpointHeader,
}

/// What `inspect` shows of a code book.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CodeBookDescription {
    #[serde(serialize_with = "path_as_text")]
    pub path: PathBuf,
    /// blake3 of the file.
    pub blake3: String,
    #[serde(flatten)]
    pub header: RegionHeader,
}

/// What `train` wrote.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(untagged)]
pub enum Description {
    Networks(Box<CheckpointDescription>),
    CodeBook(Box<CodeBookDescription>),
}

/// Reads a checkpoint of networks or of a code book and describes it.
pub fn describe_checkpoint(path: &Path) -> Result<Description, PipelineError> {
    let (checkpoint, hash) = match read_checkpoint(path) {
        Err(MethodError::Checkpoint { source, .. }) if RegionCheckpoint::is_meant_by(&source) => {
            let (RegionCheckpoint { header, .. }, hash) = read_code_book(path)?;
            let blake3 = hash.to_hex().to_string();
            return Ok(Description::CodeBook(Box::new(CodeBookDescription {
                path: path.to_path_buf(),
                blake3,
                header,
            })));
        }
        read => read?,
    };
    Ok(Description::Networks(Box::new(CheckpointDescription {
        path: path.to_path_buf(),
        blake3: hash.to_hex().to_string(),
        parameters: checkpoint.parameter_shapes().map(|(_, [rows, columns])| rows * columns).sum(),
        verdict: checkpoint.header.verdict(),
        header: checkpoint.header,
    })))
}
