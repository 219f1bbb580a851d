//! What is said of a training run when it is over.

use std::path::PathBuf;

use serde::Serialize;

use crate::model::checkpoint::{CheckpointHeader, TrainedStage};
use crate::model::{Diagnostics, Verdict};
use crate::pipeline::SkippedFile;

/// What a training run did.
#[derive(Debug, Clone, Serialize)]
pub struct TrainSummary {
    #[serde(serialize_with = "crate::pipeline::path_as_text")]
    pub checkpoint: PathBuf,
    pub skipped: Vec<SkippedFile>,
    /// The network that tells objects and background apart.
    #[serde(flatten)]
    pub objects: StageSummary,
    /// The network that taught that one, where there was such a round.
    pub teacher: Option<StageSummary>,
    /// The networks of the second stage, where there are any.
    pub parts: Option<StageSummary>,
    pub background_parts: Option<StageSummary>,
    /// What was measured while training.
    pub diagnostics: Option<Diagnostics>,
    /// Whether to trust the network by that, and why.
    pub verdict: Option<Verdict>,
    /// Whether the checkpoint was there already and nothing was trained.
    pub already_finished: bool,
}

/// How the training of one network went.
#[derive(Debug, Clone, Serialize)]
pub struct StageSummary {
    pub images: usize,
    pub epochs: usize,
    pub best_epoch: usize,
    pub held_out_loss: f64,
    pub collapsed: bool,
}

impl TrainSummary {
    pub(super) fn new(
        checkpoint: PathBuf,
        skipped: Vec<SkippedFile>,
        header: &CheckpointHeader,
        already_finished: bool,
    ) -> Self {
        TrainSummary {
            checkpoint,
            skipped,
            objects: (&header.objects).into(),
            teacher: header.teacher.as_ref().map(Into::into),
            parts: header.parts.as_ref().map(Into::into),
            background_parts: header.background_parts.as_ref().map(Into::into),
            diagnostics: header.diagnostics.clone(),
            verdict: header.verdict(),
            already_finished,
        }
    }
}

impl From<&TrainedStage> for StageSummary {
    fn from(stage: &TrainedStage) -> Self {
        let best = stage.best_epoch.checked_sub(1).and_then(|index| stage.curve.get(index));
        StageSummary {
            images: stage.images,
            epochs: stage.curve.len(),
            best_epoch: stage.best_epoch,
            held_out_loss: best.map_or(f64::NAN, |point| point.held_out_loss),
            collapsed: stage.collapsed,
        }
    }
}
