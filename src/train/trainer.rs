//! Epochs over a collection of graphs.

use std::sync::Arc;

use super::learner::Learner;
use super::{GraphSource, LoadError, ResumeState, TrainConfig};
use crate::error::ErrorKind;
use crate::event::{EpochReport, Event, Observer, Phase};
use crate::graph::Graph;
use crate::model::checkpoint::CurvePoint;
use crate::model::{Network, NetworkConfig};
use crate::numerics::random;
use crate::objective::Objective;
use crate::tensor;

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

/// Which of the networks that training goes through is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// The one after the epoch with the lowest loss of the images that are held out.
    LowestLoss,
    /// The running average of all steps' parameters, of which every step keeps this share, as it is in the end: a few images
    /// that are held out tell epochs apart by accident, and so does the last step.
    Average(f64),
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
    pub choice: Choice,
    /// Identifies the run in its saved states.
    pub fingerprint: String,
}

/// Trains one network on all graphs of `setup.source`.
///
/// `resume` continues a saved run; `save` receives the state after every epoch. The network that is returned is chosen without
/// any label ([`Choice`]). The same setup gives the same network to the bit, resumed or not.
pub fn train(
    setup: &Setup,
    resume: Option<ResumeState>,
    save: &mut dyn FnMut(&ResumeState) -> Result<(), LoadError>,
    observer: &dyn Observer,
) -> Result<TrainOutcome, TrainError> {
    let config = setup.config;
    let (training, held_out) = split(setup.source.len(), setup.source.views(), config)?;
    let mut learner = Learner::new(setup, resume.as_ref());
    let mut state = match resume {
        Some(state) => state,
        None => ResumeState {
            fingerprint: setup.fingerprint.clone(),
            steps: 0,
            best_epoch: 0,
            curve: Vec::new(),
            parameters: learner.parameters(),
            best_parameters: learner.chosen(),
            moments: Vec::new(),
        },
    };

    observer.observe(Event::PhaseStarted { phase: Phase::Training, total: Some(setup.epochs as u64) });
    while state.curve.len() < setup.epochs && !exhausted(&state, config) {
        let epoch = state.curve.len();
        let learning_rate = config.learning_rate * config.schedule.factor(epoch, config.epochs);
        let order = random::permutation(&mut random::stream(config.seed, "order", epoch as u64), training.len());
        let order: Vec<usize> = order.into_iter().map(|position| training[position]).collect();
        let Some(train_loss) = pass(setup, [&order, &held_out], observer, |graphs| {
            let dropout = random::stream(config.seed, "dropout", state.steps as u64);
            state.steps += 1;
            let loss = learner.step(setup, &graphs, dropout, learning_rate);
            learner.average(setup.choice, state.steps);
            loss
        })?
        else {
            return Ok(TrainOutcome::Interrupted);
        };
        let mut counts = vec![0.0; setup.network.clusters];
        let Some(held_out_loss) =
            pass(setup, [&held_out, &training], observer, |graphs| learner.losses(setup, &graphs, &mut counts))?
        else {
            return Ok(TrainOutcome::Interrupted);
        };
        for loss in [train_loss, held_out_loss] {
            if !loss.is_finite() {
                return Err(TrainError::Diverged(loss, epoch + 1));
            }
        }

        let largest_cluster_share = counts.iter().copied().fold(0.0, f64::max) / counts.iter().sum::<f64>();
        let best = match setup.choice {
            Choice::LowestLoss => lowest(&state.curve).is_none_or(|lowest| held_out_loss < lowest),
            Choice::Average(_) => true,
        };
        state.curve.push(CurvePoint { train_loss, held_out_loss, largest_cluster_share });
        state.parameters = learner.parameters();
        state.moments = learner.moments();
        if best {
            state.best_epoch = epoch + 1;
            state.best_parameters = learner.chosen();
        }
        save(&state).map_err(TrainError::Save)?;
        observer.observe(Event::Epoch(EpochReport {
            epoch: epoch + 1,
            epochs: setup.epochs,
            train_loss,
            held_out_loss,
            largest_cluster_share,
            learning_rate,
            // The average of the steps is kept as it is at the end: no epoch is better than another.
            best: best && setup.choice == Choice::LowestLoss,
        }));
        observer.observe(Event::PhaseProgress { phase: Phase::Training, done: epoch as u64 + 1 });
    }
    observer.observe(Event::PhaseFinished { phase: Phase::Training });

    let collapsed =
        state.best_epoch.checked_sub(1).is_some_and(|best| state.curve[best].largest_cluster_share >= COLLAPSED_SHARE);
    Ok(TrainOutcome::Finished(Box::new(Trained {
        network: Network::from_values(&setup.network, &state.best_parameters, &tensor::cpu()),
        best_epoch: state.best_epoch,
        curve: state.curve.clone(),
        collapsed,
        state,
    })))
}

/// Whether the held-out loss has not fallen for `patience` epochs.
fn exhausted(state: &ResumeState, config: &TrainConfig) -> bool {
    let Some(before) = state.curve.len().checked_sub(config.patience) else { return false };
    let (before, since) = state.curve.split_at(before);
    config.patience > 0 && lowest(before).is_some_and(|before| lowest(since).is_some_and(|since| since >= before))
}

/// The lowest held-out loss of some epochs, of which there is one at least.
fn lowest(curve: &[CurvePoint]) -> Option<f64> {
    curve.iter().map(|point| point.held_out_loss).reduce(f64::min)
}

/// Indices of the graphs to optimise on and of those held out, all views of an image together; a single image serves as both.
fn split(count: usize, views: usize, config: &TrainConfig) -> Result<(Vec<usize>, Vec<usize>), TrainError> {
    let graphs = |images: Vec<usize>| images.into_iter().flat_map(|image| image * views..(image + 1) * views).collect();
    match count / views {
        0 => Err(TrainError::Empty),
        1 => Ok((graphs(vec![0]), graphs(vec![0]))),
        images => {
            let mut order = random::permutation(&mut random::stream(config.seed, "held-out", 0), images);
            let held_out = ((images as f64 * config.held_out).round() as usize).clamp(1, images - 1);
            let mut training = order.split_off(held_out);
            // In the collection's order, so that reading the cache is sequential where order does not matter.
            order.sort_unstable();
            training.sort_unstable();
            Ok((graphs(training), graphs(order)))
        }
    }
}

/// Runs `step` over the graphs of `order`, or over those of `instead` where none of `order` can be had any more: a small
/// collection may lose everything that it holds out. The mean of the losses over graphs; `None` if the observer interrupted.
fn pass(
    setup: &Setup,
    [order, instead]: [&[usize]; 2],
    observer: &dyn Observer,
    mut step: impl FnMut(Vec<Arc<Graph>>) -> f64 + Send,
) -> Result<Option<f64>, TrainError> {
    for order in [order, instead] {
        match for_each_batch(setup, order, observer, &mut step)? {
            Pass::Mean(loss) => return Ok(Some(loss)),
            Pass::Interrupted => return Ok(None),
            Pass::WithoutGraphs => {}
        }
    }
    Err(TrainError::Empty)
}

/// How a pass over graphs ended.
enum Pass {
    Mean(f64),
    WithoutGraphs,
    Interrupted,
}

/// Runs `step` on successive mini-batches of `order`, loading the next while one is at work, and gives the mean of
/// its losses over graphs. Graphs that can no longer be had are left out of their batches.
fn for_each_batch(
    setup: &Setup,
    order: &[usize],
    observer: &dyn Observer,
    step: &mut (impl FnMut(Vec<Arc<Graph>>) -> f64 + Send),
) -> Result<Pass, TrainError> {
    let load = |indices: &[usize]| -> Result<Vec<Arc<Graph>>, TrainError> {
        indices.iter().filter_map(|&index| setup.source.load(index).map_err(TrainError::Load).transpose()).collect()
    };
    let chunks: Vec<&[usize]> = order.chunks(setup.config.batch_size.max(1)).collect();
    let mut loaded = load(chunks[0])?;
    let (mut total, mut count) = (0.0, 0);
    for position in 0..chunks.len() {
        if observer.interrupted() {
            return Ok(Pass::Interrupted);
        }
        let next = chunks.get(position + 1).copied().unwrap_or_default();
        let graphs = std::mem::take(&mut loaded);
        let size = graphs.len();
        let (next, loss) = rayon::join(|| load(next), || if size == 0 { 0.0 } else { step(graphs) });
        total += loss * size as f64;
        count += size;
        loaded = next?;
    }
    Ok(if count == 0 { Pass::WithoutGraphs } else { Pass::Mean(total / count as f64) })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::event::Silent;
    use crate::graph::Affinity;
    use crate::nodes::{Adjacency, Layout, NodeFeatures};

    /// Graphs of which some can no longer be had after so many were loaded.
    struct Vanishing<'a> {
        graphs: Vec<Graph>,
        gone: &'a [usize],
        after: usize,
        loaded: AtomicUsize,
    }

    impl GraphSource for Vanishing<'_> {
        fn len(&self) -> usize {
            self.graphs.len()
        }

        fn load(&self, index: usize) -> Result<Option<Arc<Graph>>, LoadError> {
            let gone = self.loaded.fetch_add(1, Ordering::SeqCst) >= self.after && self.gone.contains(&index);
            Ok((!gone).then(|| Arc::new(self.graphs[index].clone())))
        }
    }

    #[test]
    fn training_goes_on_without_graphs_that_vanish() {
        let graph = |index| {
            let values = random::uniform(&mut random::stream(3, "features", index), 1.0, 40);
            let layout = Layout::Grid { rows: 1, columns: 20 };
            let nodes = NodeFeatures { values, channels: 2, layout, adjacency: Adjacency::Complete };
            Graph::build(&nodes, Affinity::NonNegative)
        };
        let config = TrainConfig { epochs: 5, batch_size: 2, ..TrainConfig::default() };
        let network =
            NetworkConfig { input: 2, hidden: [4, 4], clusters: 2, dropout: 0.0, root_weight: false, scale: 1.0 };
        let run = |gone: &[usize]| {
            let source = Vanishing { graphs: (0..6).map(graph).collect(), gone, after: 7, loaded: AtomicUsize::new(0) };
            let setup = Setup {
                source: &source,
                network: network.clone(),
                objective: Objective::Association,
                config: &config,
                start: 0,
                epochs: config.epochs,
                choice: Choice::LowestLoss,
                fingerprint: String::new(),
            };
            train(&setup, None, &mut |_| Ok(()), &Silent)
        };
        let (training, held_out) = split(6, 1, &config).unwrap();
        // A whole batch and more, then all that is held out, then all that is trained on.
        for gone in [&training[..3], &held_out, &training] {
            let Ok(TrainOutcome::Finished(trained)) = run(gone) else { panic!("not finished without {gone:?}") };
            assert_eq!(trained.curve.len(), 5);
            let losses = trained.curve.iter().flat_map(|point| [point.train_loss, point.held_out_loss]);
            assert!(losses.into_iter().all(f64::is_finite), "{:?}", trained.curve);
        }
        assert!(matches!(run(&[0, 1, 2, 3, 4, 5]), Err(TrainError::Empty)));
    }
}
