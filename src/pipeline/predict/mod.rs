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
use crate::event::Observer;
use crate::method::StepMilliseconds;
use crate::output::{Fetched, with_output};
use crate::pipeline::{PipelineError, ShardSummary, shards};
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

/// Lets `segment` write where the request says, also if that does not lie on a disk.
pub(super) fn with_results(
    request: &PredictRequest,
    observer: &dyn Observer,
    segment: impl FnOnce(PredictRequest) -> Result<PredictSummary, PipelineError>,
) -> Result<PredictSummary, PipelineError> {
    let part = shards::part(&request.data);
    with_output(&request.out, &part, Fetched::Own, observer, |out| {
        let summary = segment(PredictRequest { out: out.to_path_buf(), ..request.clone() });
        let summary = summary.map_err(|error| error.moved(out, &request.out))?;
        Ok(PredictSummary { out: shards::moved(&summary.out, out, &request.out), ..summary })
    })
}
