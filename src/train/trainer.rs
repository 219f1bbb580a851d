//! Epochs over a collection of graphs.

use super::{GraphSource, LoadError, Optimiser, ResumeState, TrainConfig};
use crate::error::ErrorKind;
use crate::event::{EpochReport, Event, Observer, Phase};
use crate::graph::{Batch, Graph};
use crate::model::checkpoint::CurvePoint;
use crate::model::{Network, NetworkConfig};
use crate::numerics::{argmax, random};
use crate::objective::Objective;
use crate::tensor::{self, Device};

/// Above this share of nodes in one cluster the network tells nothing apart.
const COLLAPSED_SHARE: f64 = 0.99;

/// Why training ended without a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    #[error("there is no graph to train on")]
    Empty,
    #[error("the loss became {0} in epoch {1}; try a lower train.learning_rate")]
    Diverged(f64, usize),
    #[error("a graph of the collection could not be read: {0}")]
    Load(LoadError),
    #[error("the state of the run could not be saved: {0}")]
    Save(LoadError),
}

impl TrainError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TrainError::Load(_) | TrainError::Save(_) => ErrorKind::InputOutput,
            TrainError::Empty | TrainError::Diverged(..) => ErrorKind::Untrusted,
        }
    }
}

/// How training ended.
#[derive(Debug)]
pub enum TrainOutcome {
    Finished(Box<Trained>),
    /// The observer asked to stop; the last saved state continues from there.
    Interrupted,
}

/// The best network of a run.
#[derive(Debug)]
pub struct Trained {
    pub network: Network,
    /// The epoch it is from, counted from 1.
    pub best_epoch: usize,
    pub curve: Vec<CurvePoint>,
    /// Whether the best network puts nearly all held-out nodes in one cluster.
    pub collapsed: bool,
    /// What more epochs go on from.
    pub state: ResumeState,
}

/// What is trained, on what, and how.
pub struct Setup<'a> {
    pub source: &'a dyn GraphSource,
    pub network: NetworkConfig,
    pub objective: Objective,
    pub config: &'a TrainConfig,
    /// Which of the seed's random networks is the start.
    pub start: u64,
    /// How many of the configured epochs are gone through.
    pub epochs: usize,
    pub device: &'a Device,
    /// Identifies the run in its saved states.
    pub fingerprint: String,
}

/// Trains one network on all graphs of `setup.source`.
///
/// `resume` continues a saved run; `save` receives the state after every epoch. The held-out loss chooses the network
/// that is returned, without any label. The same setup gives the same network to the bit, resumed or not.
pub fn train(
    setup: &Setup,
    resume: Option<ResumeState>,
    save: &mut dyn FnMut(&ResumeState) -> Result<(), LoadError>,
    observer: &dyn Observer,
) -> Result<TrainOutcome, TrainError> {
    let (config, device) = (setup.config, setup.device);
    let (training, held_out) = split(setup.source.len(), config)?;
    let shapes: Vec<[usize; 2]> = setup.network.parameter_shapes().into_iter().map(|(_, shape)| shape).collect();
    let mut optimiser = Optimiser::new(config.weight_decay, shapes.len());
    let mut network = setup.network.init(config.seed, setup.start, device);
    let mut state = match resume {
        Some(state) => {
            network = Network::from_values(&setup.network, &state.parameters, device);
            optimiser.restore(state.steps, &state.moments, &shapes, device);
            state
        }
        None => ResumeState {
            fingerprint: setup.fingerprint.clone(),
            steps: 0,
            best_epoch: 0,
            curve: Vec::new(),
            parameters: network.values(),
            best_parameters: network.values(),
            moments: Vec::new(),
        },
    };

    observer.observe(Event::PhaseStarted { phase: Phase::Training, total: Some(setup.epochs as u64) });
    while state.curve.len() < setup.epochs && !exhausted(&state, config) {
        let epoch = state.curve.len();
        let learning_rate = config.learning_rate * config.schedule.factor(epoch, config.epochs);
        let order = random::permutation(&mut random::stream(config.seed, "order", epoch as u64), training.len());
        let order: Vec<usize> = order.into_iter().map(|position| training[position]).collect();
        let Some(train_loss) = for_each_batch(setup, &order, observer, |graphs| {
            let batch = Batch::collate(&graphs, &tensor::autodiff(device));
            let dropout = random::stream(config.seed, "dropout", state.steps as u64);
            let losses = |assignment| setup.objective.scaled_losses(&batch, assignment);
            state.steps += 1;
            optimiser.descend_on_batch(&mut network, &batch, losses, dropout, learning_rate).loss
        })?
        else {
            return Ok(TrainOutcome::Interrupted);
        };
        let mut counts = vec![0.0; setup.network.clusters];
        let Some(held_out_loss) = for_each_batch(setup, &held_out, observer, |graphs| {
            held_out_losses(setup, &network, &graphs, &mut counts)
        })?
        else {
            return Ok(TrainOutcome::Interrupted);
        };
        for loss in [train_loss, held_out_loss] {
            if !loss.is_finite() {
                return Err(TrainError::Diverged(loss, epoch + 1));
            }
        }

        let largest_cluster_share = counts.iter().copied().fold(0.0, f64::max) / counts.iter().sum::<f64>();
        let best = state.best_epoch == 0 || held_out_loss < state.curve[state.best_epoch - 1].held_out_loss;
        state.curve.push(CurvePoint { train_loss, held_out_loss, largest_cluster_share });
        state.parameters = network.values();
        state.moments = optimiser.state().1;
        if best {
            state.best_epoch = epoch + 1;
            state.best_parameters = state.parameters.clone();
        }
        save(&state).map_err(TrainError::Save)?;
        observer.observe(Event::Epoch(EpochReport {
            epoch: epoch + 1,
            epochs: setup.epochs,
            train_loss,
            held_out_loss,
            largest_cluster_share,
            learning_rate,
            best,
        }));
        observer.observe(Event::PhaseProgress { phase: Phase::Training, done: epoch as u64 + 1 });
    }
    observer.observe(Event::PhaseFinished { phase: Phase::Training });

    let collapsed =
        state.best_epoch.checked_sub(1).is_some_and(|best| state.curve[best].largest_cluster_share >= COLLAPSED_SHARE);
    Ok(TrainOutcome::Finished(Box::new(Trained {
        network: Network::from_values(&setup.network, &state.best_parameters, device),
        best_epoch: state.best_epoch,
        curve: state.curve.clone(),
        collapsed,
        state,
    })))
}

/// Whether the held-out loss has not fallen for `patience` epochs.
fn exhausted(state: &ResumeState, config: &TrainConfig) -> bool {
    config.patience > 0 && state.curve.len() >= state.best_epoch + config.patience
}

/// Indices of the graphs to optimise on and of those held out; a single graph serves as both.
fn split(count: usize, config: &TrainConfig) -> Result<(Vec<usize>, Vec<usize>), TrainError> {
    match count {
        0 => Err(TrainError::Empty),
        1 => Ok((vec![0], vec![0])),
        _ => {
            let mut order = random::permutation(&mut random::stream(config.seed, "held-out", 0), count);
            let held_out = ((count as f64 * config.held_out).round() as usize).clamp(1, count - 1);
            let mut training = order.split_off(held_out);
            // In the collection's order, so that reading the cache is sequential where order does not matter.
            order.sort_unstable();
            training.sort_unstable();
            Ok((training, order))
        }
    }
}

/// Runs `step` on successive mini-batches of `order`, loading the next while one is at work, and gives the mean of
/// its losses over graphs; `None` if the observer interrupted.
fn for_each_batch(
    setup: &Setup,
    order: &[usize],
    observer: &dyn Observer,
    mut step: impl FnMut(Vec<Graph>) -> f64 + Send,
) -> Result<Option<f64>, TrainError> {
    let load = |indices: &[usize]| -> Result<Vec<Graph>, TrainError> {
        indices.iter().map(|&index| setup.source.load(index).map_err(TrainError::Load)).collect()
    };
    let chunks: Vec<&[usize]> = order.chunks(setup.config.batch_size.max(1)).collect();
    let mut loaded = load(chunks[0])?;
    let mut total = 0.0;
    for (position, chunk) in chunks.iter().enumerate() {
        if observer.interrupted() {
            return Ok(None);
        }
        let next = chunks.get(position + 1).copied().unwrap_or_default();
        let graphs = std::mem::take(&mut loaded);
        let (next, loss) = rayon::join(|| load(next), || step(graphs));
        total += loss * chunk.len() as f64;
        loaded = next?;
    }
    Ok(Some(total / order.len() as f64))
}

/// Mean loss of graphs without dropout, adding their nodes per cluster to `counts`.
fn held_out_losses(setup: &Setup, network: &Network, graphs: &[Graph], counts: &mut [f64]) -> f64 {
    let batch = Batch::collate(graphs, setup.device);
    let assignment = network.assign(&batch, None);
    let losses = tensor::into_vec(setup.objective.scaled_losses(&batch, assignment.clone()));
    let [_, nodes, clusters] = assignment.dims();
    let rows = tensor::into_vec(assignment);
    for (rows, &count) in rows.chunks_exact(nodes * clusters).zip(&batch.counts) {
        for row in rows.chunks_exact(clusters).take(count) {
            counts[argmax(row)] += 1.0;
        }
    }
    losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / graphs.len() as f64
}
