//! What training learns from, made on other machines than the one that trains.

use std::path::PathBuf;

use deepcut::Error;
use deepcut::names;
use deepcut::pipeline;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::errors::exception;
use crate::images::{Given, Inputs, inputs};
use crate::options::{self, Options};
use crate::runs::watched;

/// A backbone with the settings of a training.
#[pyclass(frozen, module = "deepcut_vision._engine")]
pub struct GraphMaker {
    /// None where a code book is learned, of which nothing is made beforehand.
    maker: Option<pipeline::GraphMaker>,
}

#[pymethods]
impl GraphMaker {
    /// With what `train` is given, too.
    #[staticmethod]
    fn open(py: Python, config: Option<PathBuf>, options: Options) -> PyResult<GraphMaker> {
        let machine = options.machine(py)?;
        let open = || -> Result<Option<pipeline::GraphMaker>, Error> {
            let weights = options.weights.as_deref();
            let settings = options::settings(config.as_deref(), &options.overrides, weights)?;
            let is_needed = settings.regions.labels == 0;
            is_needed.then(|| pipeline::GraphMaker::open(settings, weights, &machine)).transpose()
        };
        let maker = py.detach(open).map_err(|error| exception(py, &error))?;
        Ok(GraphMaker { maker })
    }

    /// For every image a name below the folder of a training's cache, and what the file of that name holds; none of images
    /// that cannot be used.
    fn graphs<'py>(&self, images: Vec<Given<'py>>, listener: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let (py, given) = (listener.py(), Inputs(inputs(&images)?));
        let graphs = match &self.maker {
            Some(maker) => watched(&listener, |relay| maker.graphs(&given, relay))?,
            None => vec![None; images.len()],
        };
        let as_python = |(name, bytes): (PathBuf, Vec<u8>)| (names::portable(&name), PyBytes::new(py, &bytes));
        PyList::new(py, graphs.into_iter().map(|graph| graph.map(as_python)))
    }
}
