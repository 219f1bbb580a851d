//! The states of a run beside its checkpoint, and its log.

use std::path::{Path, PathBuf};

use crate::method::MethodError;
use crate::method::recipe::{Journal, StageStart, Trainee};
use crate::names;
use crate::output::{Claim, JsonLog, OutputError, OutputFolder};
use crate::pipeline::{PipelineError, SkippedFile};
use crate::train::{LoadError, MOST_RESTARTS, ResumeError, ResumeState, Roster};

/// Keeps states and log in a folder.
pub(super) struct FolderJournal<'a> {
    pub out: &'a OutputFolder,
    /// Whether to go on from what an earlier run left.
    pub resume: bool,
    pub log: JsonLog,
}

/// Keeps nothing: for runs that are over before anybody could interrupt them.
pub(super) struct NoJournal;

/// The file in which a network's state is kept until the run is finished.
fn state_name(trainee: Trainee, restart: Option<usize>) -> String {
    let restart = restart.map_or(String::new(), |number| format!("-start-{number}"));
    format!("resume-{}{restart}.safetensors", trainee.name().replace(' ', "-"))
}

fn state_path(out: &OutputFolder, start: &StageStart) -> PathBuf {
    out.root().join(state_name(start.trainee, start.restart))
}

/// Every file that a run may keep a state in.
fn state_names() -> impl Iterator<Item = String> {
    let of_trainee = |&trainee| {
        std::iter::once(None).chain((0..MOST_RESTARTS).map(Some)).map(move |restart| state_name(trainee, restart))
    };
    Trainee::ALL.iter().flat_map(of_trainee)
}

/// The images with which a run began, for as long as its checkpoint.
pub(in crate::pipeline) const ROSTER: &str = "images.json";

/// The names under which states are written, and the images that they go with.
pub(super) fn claims() -> impl Iterator<Item = Claim> {
    std::iter::once(Claim::file(ROSTER)).chain(state_names().map(|name| Claim::working(&name)))
}

/// Where the images of a run are listed.
pub(super) fn roster_path(out: &OutputFolder) -> PathBuf {
    out.root().join(ROSTER)
}

/// Keeps the images with which a run begins, for as long as its checkpoint.
pub(super) fn write_roster(out: &OutputFolder, roster: &Roster) -> Result<(), PipelineError> {
    Ok(out.write(&roster_path(out), |writer| Ok(serde_json::to_writer(writer, roster)?))?)
}

/// The images of the run that was begun in a folder, if there was one.
pub(super) fn roster(out: &OutputFolder) -> Option<Roster> {
    // Damaged, it is as good as none: whether states go with the images that are there is seen by their fingerprints.
    serde_json::from_slice(&std::fs::read(roster_path(out)).ok()?).ok()
}

/// Notes images that are bad.
pub(super) fn log_skipped(log: &mut JsonLog, skipped: &[SkippedFile]) -> Result<(), OutputError> {
    skipped.iter().try_for_each(|skip| {
        let path = names::text(skip.path.as_os_str());
        log.append(&serde_json::json!({"event": "skipped", "path": path, "reason": skip.reason}))
    })
}

/// Whether there is a run to go on with.
pub(super) fn is_resumable(out: &OutputFolder) -> bool {
    state_names().any(|name| out.root().join(name).exists())
}

/// Removes the states of all networks.
pub(super) fn remove_states(out: &OutputFolder) -> Result<(), PipelineError> {
    Ok(state_names().try_for_each(|name| out.remove(&out.root().join(name)))?)
}

impl Journal for FolderJournal<'_> {
    fn begin(&mut self, start: &StageStart) -> Result<Option<ResumeState>, MethodError> {
        let path = state_path(self.out, start);
        let state = if self.resume { state(&path, start)? } else { None };
        self.log.append(&serde_json::json!({
            "event": "start",
            "stage": start.trainee.name(),
            "restart": start.restart,
            "fingerprint": start.fingerprint,
            "images": start.images,
            "finished_epochs": state.as_ref().map_or(0, |state| state.curve.len()),
        }))?;
        Ok(state)
    }

    fn save(&mut self, start: &StageStart, state: &ResumeState) -> Result<(), LoadError> {
        let bytes = state.to_bytes(start.network)?;
        self.out.write(&state_path(self.out, start), |writer| writer.write_all(&bytes))?;
        let (epoch, point) = (state.curve.len(), state.curve.last());
        let name = start.trainee.name();
        let entry = serde_json::json!({
            "event": "epoch", "stage": name, "restart": start.restart, "epoch": epoch, "losses": point
        });
        self.log.append(&entry)?;
        Ok(())
    }
}

impl Journal for NoJournal {
    fn begin(&mut self, _start: &StageStart) -> Result<Option<ResumeState>, MethodError> {
        Ok(None)
    }

    fn save(&mut self, _start: &StageStart, _state: &ResumeState) -> Result<(), LoadError> {
        Ok(())
    }
}

/// The state that an earlier run with this fingerprint left, if there is one.
fn state(path: &Path, start: &StageStart) -> Result<Option<ResumeState>, MethodError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OutputError::Read { path: path.to_path_buf(), source }.into()),
    };
    let path = path.to_path_buf();
    match ResumeState::from_bytes(&bytes, start.network) {
        Ok(state) if state.fingerprint == start.fingerprint => Ok(Some(state)),
        Ok(_) | Err(ResumeError::Tensor(_)) => Err(MethodError::StateOfOtherRun { path }),
        Err(source) => Err(MethodError::DamagedState { path, source }),
    }
}
