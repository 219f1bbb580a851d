//! Why a run ended early.

use std::io;
use std::path::{Path, PathBuf};

use super::shards::moved;
use super::{ClusterRunError, ShardsError};
use crate::cluster::ClusterError;
use crate::config::{ConfigError, NeedlessPrecision};
use crate::dataset::shards::PlanError;
use crate::dataset::truth::TruthError;
use crate::dataset::{DatasetError, Sources, TooManyBad};
use crate::error::ErrorKind;
use crate::evaluate::EvaluateError;
use crate::event::SkippedFile;
use crate::features::VectorFileError;
use crate::method::MethodError;
use crate::output::{LayOutError, OutputError};
use crate::parallel::ThreadsError;
use crate::results::ResultsError;
use crate::tensor::DeviceError;
use crate::weights::{PullError, WeightsError};

/// What a run was doing when it was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    Training,
    Segmenting,
    Grouping,
    Fetching,
    Describing,
    Comparing,
    Planning,
    Merging,
}

/// Why a run ended early; [`PipelineError::kind`] says what kind of failure it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Method(#[from] MethodError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    ClusterRun(#[from] ClusterRunError),
    #[error(transparent)]
    LayOut(#[from] LayOutError),
    #[error(transparent)]
    Shards(#[from] ShardsError),
    #[error("cannot use the output folder {}: {source}", path.display())]
    OutputFolder { path: PathBuf, source: io::Error },
    #[error("cannot write the feature cache: {0}; check permissions and free space, then repeat the command")]
    Cache(io::Error),
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error(transparent)]
    Truth(#[from] TruthError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error("no image was found in {}: {found}; name a folder, a list or a file of images", data.display())]
    NoImages { data: Sources, found: String },
    #[error(
        "none of the {} images of {} can be used; the first: {}: {}",
        skipped.len(), data.display(), skipped[0].path.display(), skipped[0].reason
    )]
    NoUsableImage { data: Sources, skipped: Vec<SkippedFile> },
    #[error(transparent)]
    TooManyBad(#[from] TooManyBad),
    #[error(transparent)]
    Vectors(#[from] VectorFileError),
    #[error("features are written to a .npy or a .safetensors file, unlike {}; give another name", path.display())]
    NoMatrix { path: PathBuf },
    #[error("{} is not a file; give a weights file", path.display())]
    NoWeightsFile { path: PathBuf },
    #[error("weights must be a .safetensors, .pth or .pt file, unlike {}; rename it", path.display())]
    WeightsExtension { path: PathBuf },
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("{name} is not on this machine")]
    NotStored { name: String },
    #[error("{} lies in a cache that other programs use too; confirm that it may be removed", path.display())]
    SharedWeights { path: PathBuf },
    #[error("the weights {} cannot be used: {source}", path.display())]
    WeightsFile { path: PathBuf, source: io::Error },
    #[error("there is no home folder; set DEEPCUT_HOME to a folder")]
    NoHome,
    #[error("cannot remove the old weights {}: {source}", path.display())]
    OldWeights { path: PathBuf, source: io::Error },
    #[error("interrupted; what was finished is kept")]
    Interrupted(Run),
}

impl PipelineError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PipelineError::Method(error) => error.kind(),
            PipelineError::Pull(error) => error.kind(),
            PipelineError::Output(error) => error.kind(),
            PipelineError::Config(error) => error.kind(),
            PipelineError::Cluster(error) => error.kind(),
            PipelineError::ClusterRun(error) => error.kind(),
            PipelineError::LayOut(error) => error.kind(),
            PipelineError::Dataset(error) => error.kind(),
            PipelineError::Shards(error) => error.kind(),
            PipelineError::Results(error) => error.kind(),
            PipelineError::Truth(error) => error.kind(),
            PipelineError::Evaluate(error) => error.kind(),
            PipelineError::Device(_)
            | PipelineError::NoImages { .. }
            | PipelineError::NoMatrix { .. }
            | PipelineError::NoWeightsFile { .. }
            | PipelineError::WeightsExtension { .. }
            | PipelineError::NoHome
            | PipelineError::NotStored { .. }
            | PipelineError::SharedWeights { .. }
            | PipelineError::Vectors(VectorFileError::Read { .. }) => ErrorKind::Usage,
            PipelineError::NoUsableImage { .. } | PipelineError::TooManyBad(_) | PipelineError::Vectors(_) => {
                ErrorKind::Untrusted
            }
            PipelineError::OutputFolder { .. }
            | PipelineError::Cache(_)
            | PipelineError::WeightsFile { .. }
            | PipelineError::OldWeights { .. } => ErrorKind::InputOutput,
            PipelineError::Interrupted(_) => ErrorKind::Interrupted,
        }
    }

    /// The same error, an interruption with what was interrupted.
    pub(super) fn during(self, run: Run) -> PipelineError {
        if self.kind() == ErrorKind::Interrupted { PipelineError::Interrupted(run) } else { self }
    }
}

impl PipelineError {
    /// The same error of a folder that stands for another one.
    pub(super) fn moved(mut self, from: &Path, to: &Path) -> PipelineError {
        let path = match &mut self {
            PipelineError::Output(
                OutputError::Foreign { path }
                | OutputError::Changed { path }
                | OutputError::InUse { path, .. }
                | OutputError::Manifest { path, .. },
            )
            | PipelineError::Dataset(DatasetError::Plan(PlanError::Exists { path, .. }))
            | PipelineError::NoMatrix { path } => path,
            PipelineError::Shards(
                ShardsError::Nothing { out: path }
                | ShardsError::Unfinished { out: path, .. }
                | ShardsError::OtherPlan { folder: path, .. }
                | ShardsError::BrokenRecord { path, .. }
                | ShardsError::Damaged { path, .. },
            ) => path,
            _ => return self,
        };
        *path = moved(path, from, to);
        self
    }
}

impl From<PlanError> for PipelineError {
    fn from(error: PlanError) -> Self {
        PipelineError::Dataset(error.into())
    }
}

impl From<NeedlessPrecision> for PipelineError {
    fn from(error: NeedlessPrecision) -> Self {
        MethodError::from(error).into()
    }
}

impl From<ThreadsError> for PipelineError {
    fn from(error: ThreadsError) -> Self {
        MethodError::from(error).into()
    }
}

impl From<WeightsError> for PipelineError {
    fn from(error: WeightsError) -> Self {
        MethodError::from(error).into()
    }
}
