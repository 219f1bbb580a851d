//! Features of images, for other tools.

use std::path::PathBuf;

use deepcut::Error;
use deepcut::config::Purpose;
use deepcut::event::{Event, Observer, Phase};
use deepcut::features::Backbone;
use deepcut::method::{installed_weights, open_backbone};
use deepcut::nodes::Layout;
use deepcut::parallel::{parallel_map, workers};
use deepcut::pipeline::Run;
use deepcut::pixels::DecodeConfig;
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::errors::exception;
use crate::images::{Given, inputs, listed};
use crate::options::{self, Options};
use crate::runs::watched;

/// A backbone, which describes images as `train` sees them.
#[pyclass(frozen, module = "deepcut_vision._engine")]
pub struct Features {
    backbone: Backbone,
    limits: DecodeConfig,
    threads: usize,
}

/// Features `[N, D]` of an image's nodes, and the rows and columns of their grid if they lie in one.
type Nodes<'py> = (Bound<'py, PyArray2<f32>>, Option<(usize, usize)>);

#[pymethods]
impl Features {
    #[staticmethod]
    fn open(py: Python, config: Option<PathBuf>, options: Options) -> PyResult<Features> {
        let machine = options.machine(py)?;
        let open = || -> Result<(Backbone, DecodeConfig), Error> {
            let weights = options.weights.as_deref();
            let settings = options::settings(config.as_deref(), &options.overrides, weights)?;
            let limits = settings.pixels;
            let has_weights = weights.is_some() || installed_weights().is_some();
            let resolved = settings.resolve(Purpose::Train, has_weights, machine.precision)?;
            let device = machine.open(resolved.backbone())?;
            Ok((open_backbone(&resolved, weights, None, &device)?, limits))
        };
        let (backbone, limits) = py.detach(open).map_err(|error| exception(py, &error))?;
        Ok(Features { backbone, limits, threads: machine.threads })
    }

    /// Channels of a node and of an image as a whole.
    fn widths(&self) -> (usize, usize) {
        (self.backbone.extractor.width(), self.backbone.extractor.image_width())
    }

    /// What describes the images, for people.
    fn description(&self) -> String {
        self.backbone.description.clone()
    }

    /// Every patch, superpixel or pixel of an image.
    fn nodes<'py>(&self, py: Python<'py>, image: Given<'py>) -> PyResult<Nodes<'py>> {
        let input = image.input()?;
        let describe = || input.read(&self.limits).map(|picture| self.backbone.extractor.extract(&picture));
        let nodes = py.detach(describe).map_err(|reason| input.unusable(py, &reason))?;
        let shape = [nodes.nodes(), nodes.channels];
        let grid = match nodes.layout {
            Layout::Grid { rows, columns } => Some((rows, columns)),
            Layout::Superpixels { .. } | Layout::Part { .. } => None,
        };
        Ok((PyArray1::from_vec(py, nodes.values).reshape(shape)?, grid))
    }

    /// One vector `[D]` for every image, or the reason for which it has none.
    fn vectors<'py>(
        &self,
        images: Vec<Given<'py>>,
        stops_at_bad: bool,
        listener: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = listener.py();
        let inputs = inputs(&images)?;
        let vectors = watched(&listener, |relay| {
            let mut all: Vec<Result<Vec<f32>, String>> = Vec::with_capacity(inputs.len());
            let phase = Phase::Features;
            relay.observe(Event::PhaseStarted { phase, total: Some(inputs.len() as u64) });
            let describe = |input: &crate::images::Input| {
                let target = |width: usize, height: usize| self.backbone.extractor.input_size(width, height);
                let picture = input.read_for(&self.limits, Some(&target))?;
                Ok(self.backbone.extractor.image_vector(&picture, picture.outside.as_ref()))
            };
            let consumed = parallel_map(inputs.iter(), workers(self.threads)?, describe, |vector| {
                let stops = stops_at_bad && vector.is_err();
                all.push(vector);
                relay.observe(Event::PhaseProgress { phase, done: all.len() as u64 });
                if stops || relay.interrupted() { Err(Error::Interrupted(Run::Describing)) } else { Ok(()) }
            });
            match consumed {
                // Of the run's own doing: the last image says why.
                Err(Error::Interrupted(_)) if !relay.interrupted() => {}
                consumed => consumed?,
            }
            relay.observe(Event::PhaseFinished { phase });
            Ok(all)
        })?;
        listed(py, &inputs, vectors, stops_at_bad, |vector| Ok(PyArray1::from_vec(py, vector)))
    }
}
