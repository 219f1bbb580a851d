//! One network after the other, each from where an earlier run left it.

use super::Recipe;
use crate::event::Event;
use crate::method::MethodError;
use crate::model::NetworkConfig;
use crate::model::checkpoint::{Stage, TrainedStage};
use crate::objective::Objective;
use crate::train::{self, GraphSource, LoadError, ResumeState, Setup, TrainOutcome, Trained};

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
    /// Trains one network for `objective` on `source`.
    pub(super) fn train_stage(
        &self,
        trainee: Trainee,
        objective: Objective,
        source: &dyn GraphSource,
        network: NetworkConfig,
        journal: &mut dyn Journal,
    ) -> Result<(Trained, TrainedStage), MethodError> {
        let fingerprint = format!("{} {}", self.fingerprint, trainee.name());
        let start = StageStart { trainee, fingerprint: &fingerprint, network: &network, images: source.len() };
        let resume = journal.begin(&start)?;
        if let Some(state) = &resume {
            self.observer.observe(Event::Note(format!("resuming after epoch {}", state.curve.len())));
        }
        let setup = Setup {
            source,
            network: network.clone(),
            objective,
            config: &self.resolved.settings().train,
            device: self.device,
            fingerprint: fingerprint.clone(),
        };
        let mut save = |state: &ResumeState| journal.save(&start, state);
        let outcome = self.pool.install(|| train::train(&setup, resume, &mut save, self.observer))?;
        let TrainOutcome::Finished(trained) = outcome else { return Err(MethodError::Interrupted) };
        if trained.collapsed {
            self.warn_of_collapse(trainee, objective);
        }
        let description = TrainedStage {
            network,
            images: source.len(),
            best_epoch: trained.best_epoch,
            collapsed: trained.collapsed,
            curve: trained.curve.clone(),
        };
        Ok((trained, description))
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
