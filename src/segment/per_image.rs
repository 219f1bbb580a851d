//! Per-image mode, the paper's: the network is optimised on every image by itself, from the same start.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dense::DenseOptimiser;
use super::{Segmenter, Segments};
use crate::graph::{Batch, Graph};
use crate::model::{Network, NetworkConfig};
use crate::numerics::random;
use crate::numerics::range::{InvalidSetting, require, within};
use crate::objective::Objective;
use crate::refine::BackgroundRule;
use crate::tensor;
use crate::train::Optimiser;

/// How a single image is optimised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PerImageConfig {
    /// How an image is segmented. Default: with a transformer, where nothing is set that a network alone knows (an objective, epochs, a
    /// learning rate, parts, other than two clusters), `"spectral"`; else `"gnn"`.
    pub method: Option<PerImageMethod>,
    /// Steps of the optimiser; the answer is read off the forward pass of the last. Default: 10 with a transformer, as in the
    /// paper; 30 without.
    pub epochs: Option<usize>,
    /// Learning rate of AdamW. Default: 0.001 with a transformer, as in the paper; 0.01 without.
    pub learning_rate: Option<f64>,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Which cluster is background.
    pub background: BackgroundRule,
    /// Random networks that are tried on an image until one finds two clusters or more. The paper tries one.
    pub attempts: usize,
    /// Seed of the initialisation and of dropout.
    pub seed: u64,
}

/// How an image is segmented by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PerImageMethod {
    /// By a graph network that is optimised on the image, as in the paper.
    Gnn,
    /// By the second eigenvector of the normalised cut, as in TokenCut: into two clusters, without anything random.
    Spectral,
    /// Into regions by a convolutional network that learns to tell the image's own patches apart, with graph cuts between
    /// rounds of training, as in GraPL.
    Grapl,
    /// Into regions by one cut of a graph of patches, from SLIC's labels of their pixels.
    SlicCut,
}

impl PerImageMethod {
    /// How configurations write it.
    pub fn name(self) -> &'static str {
        match self {
            PerImageMethod::Gnn => "gnn",
            PerImageMethod::Spectral => "spectral",
            PerImageMethod::Grapl => "grapl",
            PerImageMethod::SlicCut => "slic-cut",
        }
    }

    /// Whether it divides images into regions by their pixels, without a backbone.
    pub fn is_of_pixels(self) -> bool {
        matches!(self, PerImageMethod::Grapl | PerImageMethod::SlicCut)
    }
}

impl Default for PerImageConfig {
    fn default() -> Self {
        PerImageConfig {
            method: None,
            epochs: None,
            learning_rate: None,
            weight_decay: 0.01,
            background: BackgroundRule::Edges,
            attempts: 4,
            seed: 0,
        }
    }
}

impl PerImageConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("epochs", self.epochs(), 1, 1_000_000)?;
        let rate = self.learning_rate();
        require(rate > 0.0 && rate <= 10.0, "learning_rate", rate, "above 0 and at most 10")?;
        within("attempts", self.attempts, 1, 100)?;
        within("weight_decay", self.weight_decay, 0.0, 1.0)
    }

    /// The method; the paper's where nothing was chosen.
    pub fn method(&self) -> PerImageMethod {
        self.method.unwrap_or(PerImageMethod::Gnn)
    }

    /// Steps of the optimiser; the paper's where nothing was chosen.
    pub fn epochs(&self) -> usize {
        self.epochs.unwrap_or(10)
    }

    /// Learning rate of AdamW; the paper's where nothing was chosen.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate.unwrap_or(1e-3)
    }
}

/// Optimises a fresh copy of one random network on every graph, and of further ones where that ends in one cluster.
#[derive(Debug)]
pub struct PerImageSegmenter {
    /// In the order in which they are tried.
    initial: Vec<Network>,
    objective: Objective,
    config: PerImageConfig,
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
    pub fn new(network: &NetworkConfig, objective: Objective, config: PerImageConfig) -> Self {
        let initial =
            (0..config.attempts as u64).map(|attempt| network.init(config.seed, attempt, &tensor::cpu())).collect();
        PerImageSegmenter { initial, objective, config }
    }

    /// Optimises on `graph` with dropout on; the answer is that of the last training forward, from the first of the random
    /// networks that tells any nodes apart.
    pub fn optimise(&self, graph: &Graph) -> Optimised {
        let mut found = self.optimise_from(&self.initial[0], graph);
        for initial in &self.initial[1..] {
            if found.segments.clusters_in_use() > 1 || graph.is_uniform() {
                break;
            }
            found = self.optimise_from(initial, graph);
        }
        found
    }

    fn optimise_from(&self, initial: &Network, graph: &Graph) -> Optimised {
        if DenseOptimiser::handles(graph) {
            let optimiser = DenseOptimiser::new(graph, initial);
            let (assignment, losses) = optimiser.run(self.objective, &self.config);
            let segments = Segments::from_probabilities(assignment, initial.config().clusters);
            return Optimised { segments, losses };
        }
        self.optimise_tensors(initial, graph)
    }

    /// The same by tensor operations, for every kind of graph.
    fn optimise_tensors(&self, initial: &Network, graph: &Graph) -> Optimised {
        let batch =
            Batch::collate(std::slice::from_ref(graph), &tensor::autodiff(&tensor::cpu())).with_formed_weights();
        let mut network = initial.clone();
        let (epochs, learning_rate) = (self.config.epochs(), self.config.learning_rate());
        let mut optimiser = Optimiser::new(self.config.weight_decay, network.parameters().len());
        let mut losses = Vec::with_capacity(epochs);
        let mut assignment = None;
        for epoch in 0..epochs {
            let dropout = random::stream(self.config.seed, "dropout", epoch as u64);
            let of_assignment = |assignment| self.objective.losses(&batch, assignment);
            let descent = optimiser.descend_on_batch(&mut network, &batch, of_assignment, dropout, learning_rate);
            losses.push(descent.loss);
            assignment = Some(descent.assignment);
        }
        let assignment = assignment.unwrap_or_else(|| {
            let batch = Batch::collate(std::slice::from_ref(graph), &tensor::cpu());
            network.assign(&batch, None)
        });
        Optimised { segments: Segments::from_assignment(assignment), losses }
    }
}

impl Segmenter for PerImageSegmenter {
    fn segment(&self, graph: &Graph) -> Segments {
        self.optimise(graph).segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Affinity;
    use crate::nodes::{Adjacency, Layout, NodeFeatures};

    /// Channels, more than one thread gathers the gradient of.
    const CHANNELS: usize = 110;

    /// Two groups of features with noise, of more than two blocks of nodes.
    fn nodes() -> NodeFeatures {
        let (count, channels) = (150, CHANNELS);
        let noise = random::uniform(&mut random::stream(2, "test", 0), 0.6, count * channels);
        let values = noise.iter().enumerate().map(|(place, noise)| {
            let group = (place / channels) % 3 / 2;
            noise + if place % channels % 2 == group { 1.0 } else { 0.0 }
        });
        let layout = Layout::Grid { rows: 10, columns: 15 };
        NodeFeatures { values: values.collect(), channels, layout, adjacency: Adjacency::Complete }
    }

    #[test]
    fn the_written_out_optimisation_equals_that_by_tensor_operations() {
        let (ncut, cc) = (Objective::Ncut { balance: 1.0 }, Objective::Cc);
        let correlation = Affinity::Correlation { alpha: 3.0 };
        for (objective, affinity, clusters, dropout) in [
            (ncut, Affinity::NonNegative, 2, 0.25),
            (ncut, Affinity::NonNegative, 5, 0.0),
            (Objective::Association, Affinity::NonNegative, 3, 0.25),
            (cc, correlation, 10, 0.25),
        ] {
            let config =
                NetworkConfig { input: CHANNELS, hidden: [64, 32], clusters, dropout, root_weight: false, scale: 1.0 };
            for epochs in [0, 1, 20] {
                let settings = PerImageConfig { epochs: Some(epochs), attempts: 1, ..PerImageConfig::default() };
                let segmenter = PerImageSegmenter::new(&config, objective, settings);
                let graph = Graph::build(&nodes(), affinity);
                let (found, expected) =
                    (segmenter.optimise(&graph), segmenter.optimise_tensors(&segmenter.initial[0], &graph));
                let what = format!("{objective:?} {clusters} {epochs}");
                assert_eq!(found.losses.len(), epochs, "{what}");
                // Correlation clustering is a small difference of large sums.
                let tolerance =
                    if objective == cc { 1e-7 * f64::from(graph.channels as u32) * 150f64.powi(2) } else { 1e-4 };
                for (found, expected) in found.losses.iter().zip(&expected.losses) {
                    assert!((found - expected).abs() <= tolerance, "{what}: {found} {expected}");
                }
                let pairs = found.segments.probabilities.iter().zip(&expected.segments.probabilities);
                let worst = pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-4, "{what}: off by {worst}");
                if epochs == 20 {
                    assert!(found.losses[19] < found.losses[0], "{what}: it learns");
                }
            }
        }
    }

    #[test]
    fn kept_affinities_change_nothing() {
        let config = NetworkConfig {
            input: CHANNELS,
            hidden: [64, 32],
            clusters: 2,
            dropout: 0.25,
            root_weight: false,
            scale: 1.0,
        };
        let objective = Objective::Ncut { balance: 1.0 };
        let segmenter = PerImageSegmenter::new(&config, objective, PerImageConfig::default());
        let kept = Graph::build_keeping_affinities(&nodes(), Affinity::NonNegative);
        let plain = Graph::build(&nodes(), Affinity::NonNegative);
        assert!(kept.affinities.is_some() && plain.affinities.is_none());
        let [kept, plain] = [kept, plain].map(|graph| segmenter.optimise(&graph).segments.probabilities);
        assert!(kept.iter().zip(&plain).all(|(one, other)| (one - other).abs() < 1e-5));
    }
}
