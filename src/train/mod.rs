//! The shared trainer: one network optimised over a whole collection of graphs.
//!
//! The trainer sees graphs and nothing else: where they come from is the business of [`GraphSource`].

mod kept;
mod learner;
mod optimiser;
mod resume;
mod roster;
mod trainer;

pub use kept::KeptGraphs;
pub use optimiser::{HostOptimiser, Optimiser};
pub use resume::{ResumeError, ResumeState};
pub use roster::{CHANGED, Gone, Roster};
pub use trainer::{Choice, Setup, TrainError, TrainOutcome, Trained, train};

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::graph::Graph;
use crate::numerics::range::{InvalidSetting, require, within};

/// More are no use, and every one keeps a file until the run is over.
pub const MOST_RESTARTS: usize = 64;

/// More views of one image show little that is new.
const MOST_VIEWS: usize = 64;

/// Steps after which the losses of random starts tell them apart; measured with 9 to 75 images.
const RESTART_STEPS: usize = 40;

/// How the network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the collection, in every round.
    pub epochs: usize,
    /// Random networks that the one which learns the objective is chosen from: each is trained for `restart_epochs`, and the one
    /// with the lowest loss over the collection goes on. Default: 4 with a transformer; 1 without, where all starts end
    /// alike. The paper has one.
    pub restarts: Option<usize>,
    /// Epochs of every restart; those of the one that is kept count as its first. Default: as many as make 40 steps.
    pub restart_epochs: Option<usize>,
    /// Whether the network learns masks that were found without it, fitted to their images by the bilateral solver, instead of
    /// the objective. Default: with a transformer's features; superpixels and pixels have too few channels to tell more than
    /// they were taught.
    pub self_training: Option<bool>,
    /// Who finds these masks. Default: the eigenvector; a network with superpixels or pixels, where more than two clusters or
    /// another objective than association are asked for, and where restarts are.
    pub teacher: Option<Teacher>,
    /// Views of every image that the network of objects is trained on: 1 is the image itself, 2 the image mirrored besides, and
    /// further ones are windows of 55 to 85 % of its sides, every second mirrored. Default: 1, and 6 of
    /// fewer than 64 images where the eigenvector teaches.
    pub views: Option<usize>,
    /// Graphs per step.
    pub batch_size: usize,
    /// Learning rate of AdamW, at its highest.
    pub learning_rate: f64,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// How the learning rate changes over the epochs.
    pub schedule: Schedule,
    /// Share of the images whose loss chooses the best epoch; they are not trained on. At least one of two or more images.
    pub held_out: f64,
    /// Epochs without a lower held-out loss after which training stops; 0 never stops early.
    pub patience: usize,
    /// Seed of initialisation, split, order and dropout.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            epochs: 60,
            restarts: None,
            restart_epochs: None,
            self_training: None,
            teacher: None,
            views: None,
            batch_size: 16,
            learning_rate: 1e-3,
            weight_decay: 0.01,
            schedule: Schedule::Constant,
            held_out: 0.1,
            patience: 0,
            seed: 0,
        }
    }
}

impl TrainConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("epochs", self.epochs, 1, 1_000_000)?;
        within("restarts", self.restarts.unwrap_or(1), 1, MOST_RESTARTS)?;
        within("restart_epochs", self.restart_epochs.unwrap_or(1), 1, 1_000_000)?;
        within("views", self.views.unwrap_or(1), 1, MOST_VIEWS)?;
        within("batch_size", self.batch_size, 1, 4096)?;
        let is_rate = self.learning_rate > 0.0 && self.learning_rate <= 10.0;
        require(is_rate, "learning_rate", self.learning_rate, "above 0 and at most 10")?;
        within("weight_decay", self.weight_decay, 0.0, 1.0)?;
        let is_share = self.held_out > 0.0 && self.held_out <= 0.9;
        require(is_share, "held_out", self.held_out, "above 0 and at most 0.9")
    }

    /// Epochs of every restart on so many images.
    pub fn restart_epochs(&self, images: usize) -> usize {
        let trained_on = ((1.0 - self.held_out) * images as f64).round() as usize;
        let steps = trained_on.div_ceil(self.batch_size).max(1);
        self.restart_epochs.unwrap_or(RESTART_STEPS.div_ceil(steps)).min(self.epochs)
    }
}

/// Where the masks come from that a network learns by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Teacher {
    /// Every image is cut in two by the second eigenvector of its normalised cut. It needs no seed, so that what is learnt hardly
    /// depends on one, and no training.
    Eigenvector,
    /// A first network learns the objective from the whole collection.
    Network,
}

/// The learning rate over the epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same rate in every epoch.
    Constant,
    /// From the full rate down towards zero along half a cosine.
    Cosine,
}

impl Schedule {
    /// The factor of the learning rate in `epoch` (from 0) of `epochs`.
    fn factor(self, epoch: usize, epochs: usize) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * epoch as f64 / epochs as f64).cos()),
        }
    }
}

/// Why a graph could not be had, for the user.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// A collection of graphs that can be read again and again, in any order, from several threads.
pub trait GraphSource: Sync {
    /// Number of graphs.
    fn len(&self) -> usize;

    /// Whether there is no graph.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Graphs in a row that are views of one image: all of them are trained on, or held out.
    fn views(&self) -> usize {
        1
    }

    /// The graph at `index` < `len()`, always the same for the same index; none once it can no longer be had, which is no
    /// reason to end a run.
    fn load(&self, index: usize) -> Result<Option<Arc<Graph>>, LoadError>;
}

/// Keeps graphs in memory; for small collections and tests.
impl GraphSource for Vec<Graph> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn load(&self, index: usize) -> Result<Option<Arc<Graph>>, LoadError> {
        Ok(Some(Arc::new(self[index].clone())))
    }
}
