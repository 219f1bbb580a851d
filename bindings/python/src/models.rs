//! Trained networks, code books, and the methods that need neither.

use std::path::{Path, PathBuf};

use burn_dataset::{Dataset, InMemDataset};
use deepcut::config::Settings;
use deepcut::dataset::{self, Record};
use deepcut::event::{Event, Observer, Phase, SkippedFile};
use deepcut::method::{Method, MethodError, SegmentedPicture, segment_each};
use deepcut::output::write_atomically;
use deepcut::parallel::workers;
use deepcut::pipeline::{Run, train_model_from};
use deepcut::pixels::ImageItem;
use deepcut::segment::regions::RegionCheckpoint;
use deepcut::{Error, Machine, ModelOptions, PatchRegions, RegionModel};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::errors::exception;
use crate::images::{Given, Input, Inputs, inputs, listed};
use crate::options::{self, Options};
use crate::runs::{Relay, watched};
use crate::segmentation::fields;

/// What training gives.
enum Trained {
    Networks(Box<deepcut::Model>),
    CodeBook(Box<RegionModel>),
}

impl Trained {
    /// Opens a checkpoint of networks, and by `code_book` one that is of a code book.
    fn open(
        networks: impl FnOnce() -> Result<deepcut::Model, MethodError>,
        code_book: impl FnOnce() -> Result<RegionModel, MethodError>,
    ) -> Result<Trained, Error> {
        match networks() {
            Err(MethodError::Checkpoint { source, .. }) if RegionCheckpoint::is_meant_by(&source) => {
                Ok(Trained::CodeBook(Box::new(code_book()?)))
            }
            opened => Ok(Trained::Networks(Box::new(opened?))),
        }
    }

    /// Calls `work` with the method in its fastest form, and with how many threads should wait for a device.
    fn run<R>(&self, work: impl FnOnce(&dyn Method, usize) -> Result<R, Error>) -> Result<R, Error> {
        match self {
            Trained::Networks(model) => model.method().run(work),
            Trained::CodeBook(model) => work(model.method(), 0),
        }
    }
}

/// A trained network or code book.
#[pyclass(frozen, module = "deepcut_vision._engine")]
pub struct Model {
    trained: Trained,
    threads: usize,
}

#[pymethods]
impl Model {
    /// Opens the file of a checkpoint.
    #[staticmethod]
    fn open(py: Python, path: PathBuf, options: Options) -> PyResult<Model> {
        let chosen = chosen(py, options)?;
        Model::of(py, chosen.machine.threads, || {
            Trained::open(|| deepcut::Model::open_with(&path, &chosen), || RegionModel::open_with(&path, &chosen))
        })
    }

    /// Opens the bytes of a checkpoint.
    #[staticmethod]
    fn from_bytes(py: Python, bytes: &[u8], options: Options) -> PyResult<Model> {
        let chosen = chosen(py, options)?;
        Model::of(py, chosen.machine.threads, || {
            let networks = || deepcut::Model::from_bytes_with(bytes, &chosen);
            Trained::open(networks, || RegionModel::from_bytes_with(bytes, &chosen))
        })
    }

    /// The checkpoint's bytes; the same model always gives the same.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| self.bytes()).map_err(|error| exception(py, &error))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Writes the checkpoint: the file is complete or stays as it was.
    fn save(&self, py: Python, path: PathBuf) -> PyResult<()> {
        let write = || -> Result<(), Error> {
            let bytes = self.bytes()?;
            Ok(write_atomically(&path, |file| file.write_all(&bytes))?)
        };
        py.detach(write).map_err(|error| exception(py, &error))
    }

    /// What the checkpoint says about itself, as JSON.
    fn header(&self) -> String {
        match &self.trained {
            Trained::Networks(model) => as_json(model.header()),
            Trained::CodeBook(model) => as_json(model.header()),
        }
    }

    /// How its images are read, as JSON.
    fn decoding(&self) -> String {
        as_json(self.method().decoding())
    }

    /// Whether to trust the network by what was measured while training, and why.
    fn verdict(&self) -> Option<(bool, String)> {
        match &self.trained {
            Trained::Networks(model) => model.header().verdict().map(|verdict| (verdict.trusted, verdict.sentence)),
            Trained::CodeBook(_) => None,
        }
    }

    /// blake3 of the checkpoint's bytes.
    fn hash(&self) -> String {
        match &self.trained {
            Trained::Networks(model) => model.hash().to_hex().to_string(),
            Trained::CodeBook(model) => model.hash().to_hex().to_string(),
        }
    }

    /// The fields of one segmentation.
    fn segment<'py>(&self, py: Python<'py>, image: Given<'py>) -> PyResult<Bound<'py, PyDict>> {
        segment_one(py, self.method(), &image)
    }

    /// Those of several, or the reason for which an image has none.
    fn segment_batch<'py>(
        &self,
        images: Vec<Given<'py>>,
        stops_at_bad: bool,
        listener: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        segment_several(&images, stops_at_bad, &listener, |images, stops_at_bad, relay| {
            self.trained
                .run(|method, waiting| collect(method, images, workers(self.threads)? + waiting, stops_at_bad, relay))
        })
    }
}

impl Model {
    fn of(py: Python, threads: usize, open: impl FnOnce() -> Result<Trained, Error> + Send) -> PyResult<Model> {
        let trained = py.detach(open).map_err(|error| exception(py, &error))?;
        Ok(Model { trained, threads })
    }

    fn method(&self) -> &dyn Method {
        match &self.trained {
            Trained::Networks(model) => model.method(),
            Trained::CodeBook(model) => model.method(),
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(match &self.trained {
            Trained::Networks(model) => model.to_bytes()?,
            Trained::CodeBook(model) => model.to_bytes()?,
        })
    }
}

/// What a file says of itself, for the package to read.
fn as_json(value: &impl serde::Serialize) -> String {
    // Of plain values: nothing that could fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// How a checkpoint is opened.
fn chosen(py: Python, options: Options) -> PyResult<ModelOptions> {
    let machine = options.machine(py)?;
    let Options { weights, overrides, .. } = options;
    Ok(ModelOptions { weights, overrides, machine })
}

/// A collection, or images one by one.
#[derive(FromPyObject)]
pub enum Images<'py> {
    Several(Vec<Given<'py>>),
    Collection(PathBuf),
}

/// Trains on the images of a collection or on given ones; with `cache` networks find there what `GraphMaker` gave, in files.
#[pyfunction]
pub fn train<'py>(
    py: Python<'py>,
    images: Images<'py>,
    config: Option<PathBuf>,
    options: Options,
    cache: Option<PathBuf>,
    listener: Bound<'py, PyAny>,
) -> PyResult<Model> {
    let machine = options.machine(py)?;
    let weights = options.weights.as_deref();
    let settings = options::settings(config.as_deref(), &options.overrides, weights);
    let settings = settings.map_err(|error| exception(py, &error))?;
    let trained = match &images {
        Images::Several(given) => {
            let inputs = Inputs(inputs(given)?);
            watched(&listener, |relay| learn(&inputs, &settings, weights, &machine, cache.as_deref(), relay))?
        }
        Images::Collection(path) => watched(&listener, |relay| {
            let records = records(path, &settings, relay)?;
            learn(&records, &settings, weights, &machine, cache.as_deref(), relay)
        })?,
    };
    Ok(Model { trained, threads: machine.threads })
}

/// Networks, or a code book where the settings say so.
fn learn<I: ImageItem>(
    images: &dyn Dataset<I>,
    settings: &Settings,
    weights: Option<&Path>,
    machine: &Machine,
    cache: Option<&Path>,
    relay: &Relay,
) -> Result<Trained, Error> {
    if settings.regions.labels > 0 {
        let code_book = deepcut::train_regions_with(images, settings, weights, machine, relay)?;
        return Ok(Trained::CodeBook(Box::new(code_book)));
    }
    let networks = match cache {
        Some(cache) => train_model_from(images, settings, weights, machine, cache, relay)?,
        None => deepcut::train_with(images, settings, weights, machine, relay)?,
    };
    Ok(Trained::Networks(Box::new(networks)))
}

/// The images of a collection; what cannot be searched is told.
fn records(path: &Path, settings: &Settings, relay: &Relay) -> Result<InMemDataset<Record>, Error> {
    let collection = dataset::open_sources(&path.into(), &settings.data)?;
    let mut records = Vec::new();
    for record in collection.records() {
        match record {
            Ok(record) => records.push(record),
            Err(error) => SkippedFile::from(error).announce(relay),
        }
        if relay.interrupted() {
            return Err(Error::Interrupted(Run::Training));
        }
    }
    collection.remarks().into_iter().for_each(|remark| relay.observe(Event::Note(remark)));
    if records.is_empty() {
        return Err(Error::NoImages { data: path.into(), found: collection.instead_of_images() });
    }
    Ok(InMemDataset::new(records))
}

/// Every image by itself.
enum Alone {
    Nodes(Box<deepcut::PerImage>),
    Pixels(Box<PatchRegions>),
}

/// A method that needs no training.
#[pyclass(frozen, module = "deepcut_vision._engine")]
pub struct PerImage {
    method: Alone,
    threads: usize,
}

#[pymethods]
impl PerImage {
    #[staticmethod]
    fn open(py: Python, config: Option<PathBuf>, options: Options) -> PyResult<PerImage> {
        let machine = options.machine(py)?;
        let open = || -> Result<Alone, Error> {
            let weights = options.weights.as_deref();
            let settings = options::settings(config.as_deref(), &options.overrides, weights)?;
            Ok(if settings.segment.method().is_of_pixels() {
                Alone::Pixels(Box::new(PatchRegions::on_machine(settings, &machine)?))
            } else {
                Alone::Nodes(Box::new(deepcut::PerImage::with_weights(settings, weights, &machine)?))
            })
        };
        let method = py.detach(open).map_err(|error| exception(py, &error))?;
        Ok(PerImage { method, threads: machine.threads })
    }

    /// As [`Model::decoding`].
    fn decoding(&self) -> String {
        as_json(self.method().decoding())
    }

    /// As [`Model::segment`].
    fn segment<'py>(&self, py: Python<'py>, image: Given<'py>) -> PyResult<Bound<'py, PyDict>> {
        segment_one(py, self.method(), &image)
    }

    /// As [`Model::segment_batch`].
    fn segment_batch<'py>(
        &self,
        images: Vec<Given<'py>>,
        stops_at_bad: bool,
        listener: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        segment_several(&images, stops_at_bad, &listener, |images, stops_at_bad, relay| {
            collect(self.method(), images, workers(self.threads)?, stops_at_bad, relay)
        })
    }
}

impl PerImage {
    fn method(&self) -> &dyn Method {
        match &self.method {
            Alone::Nodes(method) => method.as_ref(),
            Alone::Pixels(method) => method.as_ref(),
        }
    }
}

fn segment_one<'py>(py: Python<'py>, method: &dyn Method, image: &Given<'py>) -> PyResult<Bound<'py, PyDict>> {
    let input = image.input()?;
    let segment = || -> Result<Result<SegmentedPicture, String>, Error> {
        let picture = match input.read(method.decoding()) {
            Ok(picture) => picture,
            Err(reason) => return Ok(Err(reason)),
        };
        let segmentation = method.segment_picture(&picture)?;
        let (remarks, orientation) = (picture.remarks.clone(), picture.orientation);
        Ok(Ok(SegmentedPicture { segmentation, remarks, orientation }))
    };
    let found = py.detach(segment).map_err(|error| exception(py, &error))?;
    fields(py, found.map_err(|reason| input.unusable(py, &reason))?)
}

/// One for every image, or the reason for which there is none; only up to the first such where that stops the run.
type Found = Vec<Result<SegmentedPicture, String>>;

/// Segments images in order; `segment` goes from the images to what was found.
fn segment_several<'py>(
    images: &[Given<'py>],
    stops_at_bad: bool,
    listener: &Bound<'py, PyAny>,
    segment: impl FnOnce(&[Input], bool, &Relay) -> Result<Found, Error> + Send,
) -> PyResult<Bound<'py, PyList>> {
    let py = listener.py();
    let inputs = inputs(images)?;
    let found = watched(listener, |relay| segment(&inputs, stops_at_bad, relay))?;
    listed(py, &inputs, found, stops_at_bad, |found| fields(py, found))
}

fn collect(
    method: &dyn Method,
    images: &[Input],
    workers: usize,
    stops_at_bad: bool,
    relay: &Relay,
) -> Result<Found, Error> {
    let mut all = Found::with_capacity(images.len());
    relay.observe(Event::PhaseStarted { phase: Phase::Inference, total: Some(images.len() as u64) });
    let read = |image: &Input, limits: &_| image.read(limits);
    let consumed = segment_each(method, images.iter(), workers, read, |found| {
        let stops = stops_at_bad && found.is_err();
        all.push(found);
        relay.observe(Event::PhaseProgress { phase: Phase::Inference, done: all.len() as u64 });
        if stops || relay.interrupted() { Err(Error::Interrupted(Run::Segmenting)) } else { Ok(()) }
    });
    match consumed {
        // Of the run's own doing: the last image says why.
        Err(Error::Interrupted(_)) if !relay.interrupted() => {}
        consumed => consumed?,
    }
    relay.observe(Event::PhaseFinished { phase: Phase::Inference });
    Ok(all)
}
