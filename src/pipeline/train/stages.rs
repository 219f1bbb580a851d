//! One stage of training after the other, each resumable, and what an earlier run left of them.

use std::path::{Path, PathBuf};

use super::{StageSummary, interrupted};
use crate::config::{ObjectiveKind, RunConfig};
use crate::event::{Event, Observer};
use crate::model::NetworkConfig;
use crate::model::checkpoint::{Stage, TrainedStage};
use crate::output::{JsonLog, write_atomically};
use crate::pipeline::{PipelineError, remove_outdated};
use crate::tensor::Device;
use crate::train::{self, GraphSource, LoadError, ResumeError, ResumeState, Setup, TrainError, TrainOutcome, Trained};

/// What all stages of a run share.
pub struct StageTrainer<'a> {
    pub out: &'a Path,
    pub config: &'a RunConfig,
    pub device: &'a Device,
    /// Identifies the run: two runs with the same fingerprint give the same checkpoint.
    pub fingerprint: String,
    /// Whether to go on from what an earlier run left.
    pub resume: bool,
    pub pool: &'a rayon::ThreadPool,
    pub log: JsonLog,
    pub observer: &'a dyn Observer,
}

const STAGES: [Stage; 3] = [Stage::Objects, Stage::Parts, Stage::BackgroundParts];

/// Where the state of a stage is kept until the run is finished.
fn resume_path(out: &Path, stage: Stage) -> PathBuf {
    out.join(match stage {
        Stage::Objects => "resume.safetensors",
        Stage::Parts => "resume-parts.safetensors",
        Stage::BackgroundParts => "resume-background-parts.safetensors",
    })
}

/// Whether there is a run to go on with.
pub fn resumable(out: &Path) -> bool {
    resume_path(out, Stage::Objects).exists()
}

/// Removes the states of all stages.
pub fn remove_states(out: &Path) -> Result<(), PipelineError> {
    STAGES.iter().try_for_each(|&stage| remove_outdated(&resume_path(out, stage)))
}

impl StageTrainer<'_> {
    /// Trains the network of one stage on `source`, from where an earlier run left it.
    pub fn train(
        &mut self,
        stage: Stage,
        source: &dyn GraphSource,
        network: NetworkConfig,
    ) -> Result<(Trained, TrainedStage), PipelineError> {
        let name = name(stage);
        let fingerprint = match stage {
            Stage::Objects => self.fingerprint.clone(),
            _ => format!("{} {name}", self.fingerprint),
        };
        let path = resume_path(self.out, stage);
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
        let setup = Setup {
            source,
            network,
            objective: self.config.objective(),
            config: &self.config.train,
            device: self.device,
            fingerprint,
        };
        let outcome = self.pool.install(|| train::train(&setup, resume, &mut save, self.observer));
        let outcome = outcome.map_err(|error| match error {
            TrainError::Save(_) | TrainError::Load(_) => PipelineError::InputOutput(error.to_string()),
            TrainError::Empty | TrainError::Diverged(..) => PipelineError::Untrusted(error.to_string()),
        })?;
        let TrainOutcome::Finished(trained) = outcome else { return Err(interrupted()) };
        if trained.collapsed {
            let remedy = match self.config.objective.kind {
                ObjectiveKind::Ncut => "a higher objective.balance",
                ObjectiveKind::Cc => "a smaller graph.alpha",
            };
            self.observer.observe(Event::Warning(format!(
                "the network of {name} collapsed: nearly all nodes lie in one cluster; try more --epochs, another --seed, or {remedy}"
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

/// What a stage is called in logs and messages.
fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Objects => "objects",
        Stage::Parts => "parts",
        Stage::BackgroundParts => "background parts",
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
