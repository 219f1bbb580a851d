//! What every segmenting run does around its network: read images in order, segment them, write results atomically,
//! pass over what is done.

mod predictor;
mod report;

pub(super) use predictor::Predictor;
pub(super) use report::Collected;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::dataset::Input;
use crate::method::StepMilliseconds;
use crate::pipeline::ShardSummary;
use crate::results::SaveKinds;

/// Which images are segmented and where the results go.
#[derive(Debug, Clone)]
pub struct PredictRequest {
    /// Folders, lists of images, or images; or a shard of a plan.
    pub data: Input,
    /// Results of a shard go to its folder below, `shards/00007/`.
    pub out: PathBuf,
    pub save: SaveKinds,
    /// Do again what is already done.
    pub overwrite: bool,
    /// How long to wait for another run that writes to the same folder; none waits until it has finished.
    pub wait: Option<Duration>,
}

/// What a segmenting run did.
#[derive(Debug, Clone, Serialize)]
pub struct PredictSummary {
    #[serde(serialize_with = "crate::pipeline::path_as_text")]
    pub out: PathBuf,
    /// Images segmented in this run.
    pub segmented: u64,
    /// Images whose results were there already, made from the same bytes in the same way.
    pub already_done: u64,
    pub skipped: u64,
    /// Images with results in which no object was found.
    pub without_object: u64,
    /// Of these, images that lie in one cluster as a whole.
    pub one_cluster: u64,
    /// Mean number of clusters in use in an image, over all images with results.
    pub mean_clusters: Option<f64>,
    /// Correlation clustering only: mean share of affinities that are not positive.
    pub mean_negative_share: Option<f64>,
    pub seconds: f64,
    /// Mean time of one worker for each step of an image, over the images segmented in this run.
    pub mean_milliseconds: Option<StepMilliseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardSummary>,
}
