//! One network after the other, each from where an earlier run left it.

use super::Recipe;
use crate::event::Event;
use crate::method::MethodError;
use crate::model::NetworkConfig;
use crate::model::checkpoint::{Stage, TrainedStage};
use crate::objective::Objective;
use crate::train::{self, Choice, GraphSource, LoadError, ResumeState, Setup, TrainOutcome, Trained};

/// One network to train, for what, and on what.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub trainee: Trainee,
    pub objective: Objective,
    pub source: &'a dyn GraphSource,
    pub network: &'a NetworkConfig,
    pub epochs: usize,
    pub choice: Choice,
}

/// Which of a run's networks is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trainee {
    /// The one whose masks teach the network of objects.
    Teacher,
    /// One that the checkpoint keeps.
    Kept(Stage),
}

impl Trainee {
    pub const ALL: [Trainee; 4] = [
        Trainee::Teacher,
        Trainee::Kept(Stage::Objects),
        Trainee::Kept(Stage::Parts),
        Trainee::Kept(Stage::BackgroundParts),
    ];

    /// What it is called in logs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Trainee::Teacher => "teacher",
            Trainee::Kept(Stage::Objects) => "objects",
            Trainee::Kept(Stage::Parts) => "parts",
            Trainee::Kept(Stage::BackgroundParts) => "background parts",
        }
    }
}

/// What is about to be trained.
#[derive(Debug, Clone, Copy)]
pub struct StageStart<'a> {
    pub trainee: Trainee,
    /// Which of the networks is begun that the first one is chosen from; none once it is chosen.
    pub restart: Option<usize>,
    /// Identifies the training of this network.
    pub fingerprint: &'a str,
    pub network: &'a NetworkConfig,
    pub images: usize,
}

/// Where the states of a run are kept between its epochs.
pub trait Journal: Send {
    /// A network's training begins; gives the state of an earlier run to go on from, if there is one.
    fn begin(&mut self, start: &StageStart) -> Result<Option<ResumeState>, MethodError>;

    /// An epoch is over.
    fn save(&mut self, start: &StageStart, state: &ResumeState) -> Result<(), LoadError>;
}

impl Recipe<'_> {
    /// Trains one network.
    pub(super) fn train_stage(
        &self,
        task: Task,
        journal: &mut dyn Journal,
    ) -> Result<(Trained, TrainedStage), MethodError> {
        let trained = self.run_stage(task, None, (0, None), journal)?;
        Ok(self.described(task, trained))
    }

    /// Trains a network from its random start, or from a state, as far as its epochs or those of a restart go.
    pub(super) fn run_stage(
        &self,
        task: Task,
        restart: Option<usize>,
        (start, state): (usize, Option<ResumeState>),
        journal: &mut dyn Journal,
    ) -> Result<Trained, MethodError> {
        let config = &self.resolved.settings().train;
        let fingerprint = format!("{} {}", self.fingerprint, task.trainee.name());
        let images = task.source.len();
        let begin =
            StageStart { trainee: task.trainee, restart, fingerprint: &fingerprint, network: task.network, images };
        let resume = journal.begin(&begin)?;
        if let Some(state) = &resume {
            self.observer.observe(Event::Note(format!("resuming after epoch {}", state.curve.len())));
        }
        let setup = Setup {
            source: task.source,
            network: task.network.clone(),
            objective: task.objective,
            config,
            start: start as u64,
            epochs: if restart.is_some() { config.restart_epochs(images) } else { task.epochs },
            choice: task.choice,
            fingerprint: fingerprint.clone(),
        };
        let mut save = |state: &ResumeState| journal.save(&begin, state);
        let train = || train::train(&setup, resume.or(state), &mut save, self.observer);
        match self.pool.install(train)? {
            TrainOutcome::Finished(trained) => Ok(*trained),
            TrainOutcome::Interrupted => Err(MethodError::Interrupted),
        }
    }

    /// The same network with the story of its training.
    pub(super) fn described(&self, task: Task, trained: Trained) -> (Trained, TrainedStage) {
        if trained.collapsed {
            self.warn_of_collapse(task.trainee, task.objective);
        }
        let description = TrainedStage {
            network: task.network.clone(),
            images: task.source.len() / task.source.views(),
            best_epoch: trained.best_epoch,
            collapsed: trained.collapsed,
            curve: trained.curve.clone(),
        };
        (trained, description)
    }

    fn warn_of_collapse(&self, trainee: Trainee, objective: Objective) {
        let remedy = match objective {
            Objective::Ncut { .. } => ", or a higher objective.balance",
            Objective::Cc => ", or a smaller graph.alpha",
            Objective::Association | Objective::CrossEntropy => "",
        };
        let network = match trainee {
            Trainee::Teacher => "the first network".to_string(),
            Trainee::Kept(_) => format!("the network of {}", trainee.name()),
        };
        self.observer.observe(Event::Warning(format!(
            "{network} collapsed: nearly all nodes lie in one cluster; try more `train.epochs` or another `train.seed`{remedy}"
        )));
    }
}
