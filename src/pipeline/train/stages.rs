//! One stage of training after the other, each resumable, and what an earlier run left of them.

use std::path::{Path, PathBuf};

use super::{StageSummary, interrupted};
use crate::config::Settings;
use crate::event::{Event, Observer};
use crate::model::NetworkConfig;
use crate::model::checkpoint::{Stage, TrainedStage};
use crate::objective::Objective;
use crate::output::{JsonLog, write_atomically};
use crate::pipeline::{PipelineError, remove_outdated};
use crate::tensor::Device;
use crate::train::{self, GraphSource, LoadError, ResumeError, ResumeState, Setup, TrainError, TrainOutcome, Trained};

/// What all stages of a run share.
pub struct StageTrainer<'a> {
    pub out: &'a Path,
    pub config: &'a Settings,
    pub device: &'a Device,
    /// Identifies the run: two runs with the same fingerprint give the same checkpoint.
    pub fingerprint: String,
    /// Whether to go on from what an earlier run left.
    pub resume: bool,
    pub pool: &'a rayon::ThreadPool,
    pub log: JsonLog,
    pub observer: &'a dyn Observer,
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
    const ALL: [Trainee; 4] = [
        Trainee::Teacher,
        Trainee::Kept(Stage::Objects),
        Trainee::Kept(Stage::Parts),
        Trainee::Kept(Stage::BackgroundParts),
    ];

    /// What it is called in logs and messages.
    fn name(self) -> &'static str {
        match self {
            Trainee::Teacher => "teacher",
            Trainee::Kept(Stage::Objects) => "objects",
            Trainee::Kept(Stage::Parts) => "parts",
            Trainee::Kept(Stage::BackgroundParts) => "background parts",
        }
    }

    /// Where its state is kept until the run is finished.
    fn resume_path(self, out: &Path) -> PathBuf {
        out.join(format!("resume-{}.safetensors", self.name().replace(' ', "-")))
    }
}

/// Whether there is a run to go on with.
pub fn resumable(out: &Path) -> bool {
    Trainee::ALL.iter().any(|trainee| trainee.resume_path(out).exists())
}

/// Removes the states of all networks.
pub fn remove_states(out: &Path) -> Result<(), PipelineError> {
    Trainee::ALL.iter().try_for_each(|trainee| remove_outdated(&trainee.resume_path(out)))
}

impl StageTrainer<'_> {
    /// Trains one network for `objective` on `source`, from where an earlier run left it.
    pub fn train(
        &mut self,
        trainee: Trainee,
        objective: Objective,
        source: &dyn GraphSource,
        network: NetworkConfig,
    ) -> Result<(Trained, TrainedStage), PipelineError> {
        let name = trainee.name();
        let fingerprint = format!("{} {name}", self.fingerprint);
        let path = trainee.resume_path(self.out);
        let resume = if self.resume { state(&path, &fingerprint, &network, self.observer)? } else { None };
        self.log.append(&serde_json::json!({
            "event": "start",
            "stage": name,
            "fingerprint": fingerprint,
            "images": source.len(),
            "finished_epochs": resume.as_ref().map_or(0, |state| state.curve.len()),
        }))?;
        let log = &mut self.log;
        let stored_network = network.clone();
        let mut save = |state: &ResumeState| -> Result<(), LoadError> {
            let bytes = state.to_bytes(&stored_network)?;
            write_atomically(&path, |writer| writer.write_all(&bytes))?;
            let (epoch, point) = (state.curve.len(), state.curve.last());
            log.append(&serde_json::json!({"event": "epoch", "stage": name, "epoch": epoch, "losses": point}))?;
            Ok(())
        };
        let setup = Setup { source, network, objective, config: &self.config.train, device: self.device, fingerprint };
        let outcome = self.pool.install(|| train::train(&setup, resume, &mut save, self.observer));
        let outcome = outcome.map_err(|error| match error {
            TrainError::Save(_) | TrainError::Load(_) => PipelineError::InputOutput(error.to_string()),
            TrainError::Empty | TrainError::Diverged(..) => PipelineError::Untrusted(error.to_string()),
        })?;
        let TrainOutcome::Finished(trained) = outcome else { return Err(interrupted()) };
        if trained.collapsed {
            let remedy = match objective {
                Objective::Ncut { .. } => ", or a higher objective.balance",
                Objective::Cc => ", or a smaller graph.alpha",
                Objective::Association | Objective::CrossEntropy => "",
            };
            let network = match trainee {
                Trainee::Teacher => "the first network".to_string(),
                Trainee::Kept(_) => format!("the network of {name}"),
            };
            self.observer.observe(Event::Warning(format!(
                "{network} collapsed: nearly all nodes lie in one cluster; try more --epochs or another --seed{remedy}"
            )));
        }
        let description = TrainedStage {
            network: setup.network,
            images: source.len(),
            best_epoch: trained.best_epoch,
            collapsed: trained.collapsed,
            curve: trained.curve.clone(),
        };
        Ok((trained, description))
    }
}

/// The state that an earlier run with this fingerprint left, if there is one.
fn state(
    path: &Path,
    fingerprint: &str,
    network: &NetworkConfig,
    observer: &dyn Observer,
) -> Result<Option<ResumeState>, PipelineError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(PipelineError::InputOutput(format!("cannot read {}: {error}", path.display())));
        }
    };
    match ResumeState::from_bytes(&bytes, network) {
        Ok(state) if state.fingerprint == fingerprint => {
            observer.observe(Event::Note(format!("resuming after epoch {}", state.curve.len())));
            Ok(Some(state))
        }
        Ok(_) | Err(ResumeError::Tensor(_)) => Err(PipelineError::Usage(format!(
            "{} is from a run with other settings or other images; repeat that run's command, or leave out --resume to start anew",
            path.display()
        ))),
        Err(error) => Err(PipelineError::Untrusted(format!(
            "{} cannot be used: {error}; leave out --resume to start anew",
            path.display()
        ))),
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
