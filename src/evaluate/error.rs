//! Why results cannot be scored.

use std::io;
use std::path::{Path, PathBuf};

use crate::dataset::truth::TruthError;
use crate::error::ErrorKind;
use crate::metrics::MetricError;
use crate::output::OutputError;
use crate::parallel::ThreadsError;
use crate::pixels::LabelMapError;
use crate::results::ResultsError;

/// One side of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvaluateSide {
    Predictions,
    Truth,
}

/// Results or a ground truth that cannot be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    #[error("{} {}: {source}; check the path", side.name(), path.display())]
    Missing { side: EvaluateSide, path: PathBuf, source: io::Error },

    #[error("the predictions {} are no folder; name the folder of a run's results or of masks", path.display())]
    NoFolder { path: PathBuf },

    #[error("only the task video can do without a ground truth")]
    TruthNeeded,

    #[error("void and foreground classes tell what the values of label maps mean: tasks objects, parts and video")]
    TaskWithoutMaps,

    #[error("an oracle and scales are for the task regions")]
    TaskWithoutRegions,

    #[error("void and foreground classes are for label maps, not for {truth}")]
    TruthWithoutMaps { truth: &'static str },

    #[error("a value cannot be void and a foreground class")]
    VoidForeground,

    #[error("no pixel of the ground truth has a foreground class ({classes:?}); check the classes' numbers")]
    AbsentClasses { classes: Vec<u32> },

    #[error(
        "the ground truth has no foreground pixel in any image; check its values, what is void and the foreground classes"
    )]
    NoForeground,

    #[error("{} is no ground truth for this task; give {expected}", path.display())]
    WrongTruth { path: PathBuf, expected: &'static str },

    #[error("no mask was found in {}; name the folder of a run's results or of masks", folder.display())]
    NoMask { folder: PathBuf },

    #[error("no mask in {} has a name ID_k with a scale k; score without scales, or name the maps of each image so", folder.display())]
    NoScale { folder: PathBuf },

    #[error("it has no segmentation at scale {scale}, which others have")]
    ScaleMissing { scale: u32 },

    #[error("{} has no mask of {image}, which its predictions.jsonl lists; run again and save masks", folder.display())]
    MaskMissing { folder: PathBuf, image: String },

    #[error("{} lists no objects one by one; predict again with `objects.instances`", table.display())]
    NoObjects { table: PathBuf },

    #[error("{} lists no segmented image", table.display())]
    NothingSegmented { table: PathBuf },

    #[error("{}: {image} has no width and height", table.display())]
    SizeMissing { table: PathBuf, image: String },

    #[error(
        "no prediction in {} has a ground truth in {} (such as {prediction} here and {annotation} there); \
         they are matched by relative path, or by the end of it that is unique, without extension",
        predictions.display(), truth.display()
    )]
    NoMatch { predictions: PathBuf, truth: PathBuf, prediction: String, annotation: String },

    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },

    #[error("cannot use {} as a label map: {source}", path.display())]
    BrokenMap { path: PathBuf, source: LabelMapError },

    #[error("{}: {image}: {reason}", path.display())]
    BrokenMasks { path: PathBuf, image: String, reason: String },

    #[error("{}: has another size than {}; annotations of an image must agree", path.display(), first.display())]
    AnnotationsDiffer { path: PathBuf, first: PathBuf },

    #[error("{}: {source}", path.display())]
    Incomparable { path: PathBuf, source: MetricError },

    #[error(
        "its ground truth has {}x{} pixels and its prediction {}x{}, another shape; it is of another picture or was cut",
        truth.0, truth.1, prediction.0, prediction.1
    )]
    OtherShape { truth: (usize, usize), prediction: (usize, usize) },

    #[error(
        "its ground truth has {}x{} pixels and its prediction {}x{}: drawn before the photograph was turned upright, and the \
         results do not tell to which side; predict again to have it told",
        truth.0, truth.1, prediction.0, prediction.1
    )]
    TurnUnknown { truth: (usize, usize), prediction: (usize, usize) },

    #[error("nothing of its ground truth can be drawn ({reason})")]
    NothingDrawn { reason: String },

    #[error("interrupted; nothing was written")]
    Interrupted,

    #[error(transparent)]
    Results(#[from] ResultsError),

    #[error(transparent)]
    Truth(#[from] TruthError),

    #[error(transparent)]
    Output(#[from] OutputError),

    #[error(transparent)]
    Threads(#[from] ThreadsError),
}

impl EvaluateSide {
    fn name(self) -> &'static str {
        match self {
            EvaluateSide::Predictions => "the predictions",
            EvaluateSide::Truth => "the ground truth",
        }
    }
}

impl EvaluateError {
    pub(super) fn incomparable(path: &Path) -> impl Fn(MetricError) -> EvaluateError + '_ {
        move |source| EvaluateError::Incomparable { path: path.to_path_buf(), source }
    }

    /// Whether other images can be scored all the same.
    pub(super) fn is_of_one_image(&self) -> bool {
        matches!(
            self,
            EvaluateError::Unreadable { .. }
                | EvaluateError::BrokenMap { .. }
                | EvaluateError::BrokenMasks { .. }
                | EvaluateError::AnnotationsDiffer { .. }
                | EvaluateError::ScaleMissing { .. }
                | EvaluateError::Incomparable { .. }
                | EvaluateError::OtherShape { .. }
                | EvaluateError::TurnUnknown { .. }
                | EvaluateError::NothingDrawn { .. }
        )
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            EvaluateError::SizeMissing { .. }
            | EvaluateError::BrokenMap { .. }
            | EvaluateError::BrokenMasks { .. }
            | EvaluateError::AnnotationsDiffer { .. }
            | EvaluateError::OtherShape { .. }
            | EvaluateError::TurnUnknown { .. }
            | EvaluateError::NothingDrawn { .. }
            | EvaluateError::Incomparable { .. } => ErrorKind::Untrusted,
            EvaluateError::Unreadable { .. } => ErrorKind::InputOutput,
            EvaluateError::Interrupted => ErrorKind::Interrupted,
            EvaluateError::Results(error) => error.kind(),
            EvaluateError::Truth(error) => error.kind(),
            EvaluateError::Output(error) => error.kind(),
            EvaluateError::Threads(error) => error.kind(),
            _ => ErrorKind::Usage,
        }
    }
}
