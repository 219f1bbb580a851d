//! What an interrupted run needs to go on as if nothing had happened.
//!
//! Random streams are derived from the seed and the step, so no generator state is stored.

use serde::{Deserialize, Serialize};

use super::optimiser::Moments;
use crate::model::NetworkConfig;
use crate::model::checkpoint::CurvePoint;
use crate::model::container::{self, ContainerError, Kind, NamedMatrix};

const KIND: Kind = Kind { name: "resume state", format: 1 };

/// The state of a training run between two epochs; all but the parameters and their moments is the file's header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeState {
    /// Identifies the run: configuration and collection.
    pub fingerprint: String,
    /// Optimiser steps taken.
    pub steps: usize,
    /// The epoch whose network would be kept if training ended here, from 1 ([`super::Choice`]).
    pub best_epoch: usize,
    /// One entry per finished epoch.
    pub curve: Vec<CurvePoint>,
    /// Parameter values after the last finished epoch, and those that would be kept.
    #[serde(skip)]
    pub parameters: Vec<Vec<f32>>,
    #[serde(skip)]
    pub best_parameters: Vec<Vec<f32>>,
    #[serde(skip)]
    pub moments: Vec<Moments>,
}

/// Why a resume file cannot be used.
pub type ResumeError = ContainerError;

impl ResumeState {
    /// The file's bytes; `network` gives the parameters' names and shapes.
    pub fn to_bytes(&self, network: &NetworkConfig) -> Result<Vec<u8>, ResumeError> {
        let mut matrices = Vec::new();
        for (index, (name, shape)) in network.parameter_shapes().into_iter().enumerate() {
            let stored = [
                ("last", &self.parameters[index]),
                ("best", &self.best_parameters[index]),
                ("first_moment", &self.moments[index].first),
                ("second_moment", &self.moments[index].second),
            ];
            matrices.extend(stored.map(|(role, values)| NamedMatrix {
                name: format!("{role}.{name}"),
                shape,
                values: values.clone(),
            }));
        }
        container::write(KIND, self, &matrices)
    }

    /// Reads and checks the bytes of a resume file for a network of these sizes.
    pub fn from_bytes(bytes: &[u8], network: &NetworkConfig) -> Result<ResumeState, ResumeError> {
        let (mut state, mut matrices): (ResumeState, _) = container::read(KIND, bytes)?;
        for (name, shape) in network.parameter_shapes() {
            let mut take = |role: &str| container::remove(&mut matrices, &format!("{role}.{name}"), shape);
            state.parameters.push(take("last")?);
            state.best_parameters.push(take("best")?);
            state.moments.push(Moments { first: take("first_moment")?, second: take("second_moment")? });
        }
        Ok(state)
    }
}
