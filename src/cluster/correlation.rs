//! Correlation clustering of a collection: the network on all vectors at once, restarted, then exact descent.

use rand_chacha::ChaCha8Rng;

use super::neighbours::Neighbours;
use super::partition::Partition;
use super::vectors::Vectors;
use super::{ClusterConfig, ClusterError, FitDetails, Propagation, Restart, propagation, reliance};
use crate::event::{Event, Observer, Phase};
use crate::model::{Network, NetworkConfig};
use crate::numerics::{argmax, random};
use crate::objective::collection_correlation;
use crate::tensor::{self, Device, Tensor};
use crate::train::Optimiser;

/// Up to this many vectors `Propagation::Auto` is exact.
const EXACT_UP_TO: usize = 100_000;
/// Random projection trees that neighbours are found by.
const TREES: u64 = 6;
/// Steps of the optimiser for up to [`FEW`] vectors, and at least for many.
const EPOCHS: usize = 200;
const LEAST_EPOCHS: usize = 40;
const FEW: usize = 4000;
/// Steps times learning rate: fewer steps are longer ones.
const TRAVEL: f64 = 0.2;

/// Groups vectors by the objective alone; the number of clusters follows from it, at most `most`, if any.
///
/// Every restart trains a fresh network S = softmax(MLP(P)) on all N vectors and takes the most probable cluster of each;
/// from there single moves, merges and splits lower the same objective of the hard clusters (see [`Partition`]) until
/// none does. The restart with the lowest objective wins, the first of equals.
/// Differs from the paper: there the network's assignment is the answer. The network is a smooth function of P and often
/// leaves two groups together or one in two although parting or joining them lowers the objective. The number of its
/// outputs limits the answer there; here it is where the splits begin.
pub(super) fn correlation(
    vectors: &Vectors,
    config: &ClusterConfig,
    network: &NetworkConfig,
    most: Option<usize>,
    device: &Device,
    observer: &dyn Observer,
) -> Result<(Vec<u32>, FitDetails), ClusterError> {
    let offset = vectors.largest_product() / config.alpha;
    let (count, width) = (vectors.count(), vectors.width());
    let exact = match config.propagation {
        Propagation::Auto => count <= EXACT_UP_TO,
        Propagation::Exact => true,
        Propagation::Sparse => false,
    };
    let propagated = if exact {
        propagation::exact(vectors, offset, device, observer).ok_or(ClusterError::Interrupted)?
    } else {
        let neighbours = Neighbours::find(vectors, config.neighbours, TREES, config.seed);
        let values = propagation::over_neighbours(vectors, offset, &neighbours);
        tensor::from_vec(values, [count, width], device)
    };
    let problem = Problem {
        features: tensor::from_slice(vectors.values(), [count, width], device),
        propagated,
        offset,
        magnitude: (count as f64 * count as f64 * vectors.largest_product()).max(f64::MIN_POSITIVE),
    };
    let epochs = config.epochs.unwrap_or_else(|| (EPOCHS * FEW / count).clamp(LEAST_EPOCHS, EPOCHS));
    let learning_rate = config.learning_rate.unwrap_or(TRAVEL / epochs as f64);
    let smallest = ((config.smallest_share * count as f64).ceil() as usize).max(2);

    let steps = (config.restarts * epochs) as u64;
    observer.observe(Event::PhaseStarted { phase: Phase::Training, total: Some(steps) });
    let mut restarts: Vec<Restart> = Vec::new();
    let mut assignments: Vec<Vec<u32>> = Vec::new();
    let mut best = 0;
    for restart in 0..config.restarts {
        let seed = config.seed.wrapping_add(restart as u64);
        let mut curve = Vec::with_capacity(epochs);
        let mut trained = network.init(seed, 0, device);
        let mut optimiser = Optimiser::new(config.weight_decay, trained.parameters().len());
        for epoch in 0..epochs {
            let dropout = random::stream(seed, "dropout", epoch as u64);
            curve.push(problem.step(&mut trained, &mut optimiser, dropout, learning_rate));
            observer.observe(Event::PhaseProgress { phase: Phase::Training, done: (restart * epochs + epoch) as u64 });
            if observer.interrupted() {
                return Err(ClusterError::Interrupted);
            }
        }
        let assigned = tensor::into_vec(assign(&trained, problem.propagated.clone(), None));
        let clusters: Vec<u32> = assigned.chunks_exact(network.clusters).map(|row| argmax(row) as u32).collect();
        let mut partition = Partition::new(vectors, offset, &clusters);
        let (network_objective, network_clusters) = (partition.objective(), partition.count());
        partition.descend(most.unwrap_or(usize::MAX), smallest);
        let objective = partition.objective();
        restarts.push(Restart { network_objective, network_clusters, objective, clusters: partition.count(), curve });
        assignments.push(partition.clusters);
        if objective < restarts[best].objective {
            best = restart;
        }
    }
    observer.observe(Event::PhaseFinished { phase: Phase::Training });
    let details = FitDetails {
        objective: Some(restarts[best].objective),
        restart_agreement: reliance::agreement(&assignments, best),
        restarts,
        best_restart: Some(best),
        propagation: Some(if exact { "exact" } else { "sparse" }),
        eigenvalues: Vec::new(),
    };
    Ok((assignments.swap_remove(best), details))
}

/// The collection as tensors.
struct Problem {
    /// F, `[N, D]`.
    features: Tensor<2>,
    /// P, `[N, D]`.
    propagated: Tensor<2>,
    /// c.
    offset: f64,
    /// What the loss is divided by, so that it does not grow with the collection: N² max(F Fᵀ).
    magnitude: f64,
}

/// S = softmax(MLP(P)).
///
/// # Shapes
/// P `[N, D]`, dropout mask `[1, N, hidden[1]]` → `[N, K]`
fn assign(network: &Network, propagated: Tensor<2>, mask: Option<Tensor<3>>) -> Tensor<2> {
    network.probabilities(propagated.unsqueeze(), None, mask).squeeze_dim(0)
}

impl Problem {
    /// One step of AdamW with dropout on; gives the loss before it.
    fn step(&self, network: &mut Network, optimiser: &mut Optimiser, dropout: ChaCha8Rng, rate: f64) -> f64 {
        let nodes = self.propagated.dims()[0];
        optimiser.descend(network, [1, nodes], dropout, rate, |network, mask| {
            let assignment = assign(network, Tensor::from_inner(self.propagated.clone()), mask);
            let constant = assignment.clone().inner();
            let (loss, gradient) = collection_correlation(&self.features, self.offset, self.magnitude, constant);
            ((assignment * Tensor::from_inner(gradient)).sum(), loss)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::vectors::Scaling;
    use crate::event::Silent;
    use crate::graph::{Affinity, Batch, Graph};
    use crate::nodes::{Adjacency, Layout, NodeFeatures};
    use crate::objective::Objective;

    #[test]
    fn loss_and_steps_are_those_of_the_shared_objective() {
        let (count, width, alpha) = (50, 6, 3.0);
        let values = random::uniform(&mut random::stream(2, "steps", 0), 1.0, count * width);
        let vectors = Vectors::new(values.clone(), width).unwrap();
        let layout = Layout::Grid { rows: 1, columns: count };
        let nodes = NodeFeatures { values, channels: width, layout, adjacency: Adjacency::Complete };
        let device = tensor::cpu();
        let graph = Graph::build(&nodes, Affinity::Correlation { alpha });
        let graphs = [graph];
        let batch = Batch::collate(&graphs, &tensor::autodiff(&device));
        let largest = vectors.largest_product();
        let problem = Problem {
            features: tensor::from_slice(vectors.values(), [count, width], &device),
            propagated: propagation::exact(&vectors, largest / alpha, &device, &Silent).unwrap(),
            offset: largest / alpha,
            magnitude: (count * count) as f64 * largest,
        };
        let config =
            NetworkConfig { input: width, hidden: [8, 5], clusters: 4, dropout: 0.25, root_weight: false, scale: 1.0 };
        let (mut shared, mut own) = (config.init(1, 0, &device), config.init(1, 0, &device));
        let (mut first, mut second) = (Optimiser::new(0.01, 6), Optimiser::new(0.01, 6));
        for epoch in 0..5 {
            let stream = || random::stream(1, "dropout", epoch);
            let losses = |assignment| Objective::Cc.scaled_losses(&batch, assignment);
            let expected = first.descend_on_batch(&mut shared, &batch, losses, stream(), 0.01).loss;
            let loss = problem.step(&mut own, &mut second, stream(), 0.01);
            assert!((loss - expected).abs() < 1e-5, "{loss} is not {expected}");
        }
        for (a, b) in shared.values().concat().iter().zip(own.values().concat()) {
            assert!((a - b).abs() < 2e-4, "{b} is not {a}");
        }
    }

    #[test]
    fn as_many_clusters_are_found_as_there_are_groups() {
        for groups in [1usize, 3, 6] {
            let centres = random::uniform(&mut random::stream(9, "centres", groups as u64), 1.0, groups * 32);
            let noise = random::uniform(&mut random::stream(9, "noise", groups as u64), 0.3, 120 * 32);
            let values = noise.iter().enumerate().map(|(i, n)| centres[i / 32 % groups * 32 + i % 32] + n).collect();
            let vectors = Vectors::new(values, 32).unwrap();
            let vectors = vectors.fit(Scaling::Unit).apply(vectors);
            let config = ClusterConfig { restarts: 2, ..ClusterConfig::default() };
            let network = NetworkConfig {
                input: 32,
                hidden: [64, 32],
                clusters: 10,
                dropout: 0.25,
                root_weight: false,
                scale: 1.0,
            };
            let (clusters, found) = correlation(&vectors, &config, &network, None, &tensor::cpu(), &Silent).unwrap();
            assert!((0..120).all(|i| (0..120).all(|j| (clusters[i] == clusters[j]) == (i % groups == j % groups))));
            assert!(found.restarts.iter().all(|restart| restart.objective <= restart.network_objective + 1e-6));
            let sparse = ClusterConfig { propagation: Propagation::Sparse, ..config };
            let again = correlation(&vectors, &sparse, &network, None, &tensor::cpu(), &Silent).unwrap();
            assert_eq!((again.0, again.1.propagation), (clusters, Some("sparse")));
        }
    }
}
