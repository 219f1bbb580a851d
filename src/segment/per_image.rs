//! Per-image mode, the paper's: the network is optimised on every image by itself, from the same start.

use serde::{Deserialize, Serialize};

use super::{Assign, Segments};
use crate::graph::{Batch, Graph};
use crate::model::{Network, NetworkConfig};
use crate::numerics::random;
use crate::objective::Objective;
use crate::refine::BackgroundRule;
use crate::tensor::{self, Device};
use crate::train::Optimiser;

/// How a single image is optimised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerImageConfig {
    pub method: PerImageMethod,
    /// Steps of the optimiser; the answer is read off the forward pass of the last. The paper uses 10 for objects.
    pub epochs: usize,
    /// Learning rate of AdamW.
    pub learning_rate: f64,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Which cluster is background.
    pub background: BackgroundRule,
    /// Seed of the initialisation and of dropout.
    pub seed: u64,
}

/// How an image is segmented by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PerImageMethod {
    /// By a graph network that is optimised on the image, as in the paper.
    #[default]
    Gnn,
    /// By the second eigenvector of the normalised cut, as in TokenCut: into two clusters, without anything random.
    Spectral,
}

impl Default for PerImageConfig {
    fn default() -> Self {
        PerImageConfig {
            method: PerImageMethod::Gnn,
            epochs: 10,
            learning_rate: 1e-3,
            weight_decay: 0.01,
            background: BackgroundRule::Edges,
            seed: 0,
        }
    }
}

/// Optimises a fresh copy of one random network on every graph.
#[derive(Debug)]
pub struct PerImageSegmenter {
    initial: Network,
    objective: Objective,
    config: PerImageConfig,
    device: Device,
}

/// The result of one image's optimisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimised {
    pub segments: Segments,
    /// The loss before every step.
    pub losses: Vec<f64>,
}

impl PerImageSegmenter {
    /// One random initialisation serves every image of a run, as in the official code.
    pub fn new(network: &NetworkConfig, objective: Objective, config: PerImageConfig, device: Device) -> Self {
        PerImageSegmenter { initial: network.init(config.seed, &device), objective, config, device }
    }

    /// Optimises on `graph` with dropout on; the answer is that of the last training forward.
    pub fn optimise(&self, graph: &Graph) -> Optimised {
        let batch = Batch::collate(std::slice::from_ref(graph), &tensor::autodiff(&self.device)).with_formed_weights();
        let mut network = self.initial.clone();
        let mut optimiser = Optimiser::new(self.config.weight_decay, network.parameters().len());
        let mut losses = Vec::with_capacity(self.config.epochs);
        let mut assignment = None;
        for epoch in 0..self.config.epochs {
            let dropout = random::stream(self.config.seed, "dropout", epoch as u64);
            let of_assignment = |assignment| self.objective.losses(&batch, assignment);
            let descent = optimiser.descend(&mut network, &batch, of_assignment, dropout, self.config.learning_rate);
            losses.push(descent.loss);
            assignment = Some(descent.assignment);
        }
        let assignment = assignment.unwrap_or_else(|| {
            let batch = Batch::collate(std::slice::from_ref(graph), &self.device);
            network.assign(&batch, None)
        });
        Optimised { segments: Segments::from_assignment(assignment), losses }
    }
}

impl Assign for PerImageSegmenter {
    fn assign(&self, graph: &Graph) -> Segments {
        self.optimise(graph).segments
    }
}
