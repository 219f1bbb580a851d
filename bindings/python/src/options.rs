//! What Python says of settings and of the machine.

use std::path::{Path, PathBuf};

use deepcut::pipeline::{Precision, known_settings};
use deepcut::{DeviceChoice, Error, Machine, Settings, config};
use pyo3::prelude::*;

use crate::errors::{exception, usage};

/// Settings as the program resolves them: those of a file over what is known of the weights, then `overrides`
/// (`room.key=value`).
pub fn settings(file: Option<&Path>, overrides: &[String], weights: Option<&Path>) -> Result<Settings, Error> {
    Ok(config::resolve_over(|settings: &Settings| known_settings(settings, weights), file, overrides)?)
}

/// Where and how is computed.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Options {
    pub weights: Option<PathBuf>,
    pub overrides: Vec<String>,
    device: String,
    threads: usize,
    memory: Option<u64>,
    precision: Option<String>,
}

impl Options {
    pub fn machine(&self, py: Python) -> PyResult<Machine> {
        let device = match self.device.as_str() {
            "auto" => DeviceChoice::Auto,
            "cpu" => DeviceChoice::Cpu,
            "cuda" => DeviceChoice::Cuda,
            other => return Err(usage(py, &format!("`device` is auto, cpu or cuda, not {other}"))),
        };
        let precision = match self.precision.as_deref() {
            None => None,
            Some("auto") => Some(Precision::Auto),
            Some("f32") => Some(Precision::F32),
            Some("bf16") => Some(Precision::Bf16),
            Some(other) => return Err(usage(py, &format!("`precision` is auto, f32 or bf16, not {other}"))),
        };
        let machine = Machine { device, threads: self.threads, memory: self.memory, precision };
        // Threads that cannot be had are refused before anything is read.
        deepcut::parallel::workers(machine.threads).map_err(|error| exception(py, &error.into()))?;
        Ok(machine)
    }
}
