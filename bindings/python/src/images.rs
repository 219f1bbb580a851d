//! Images as Python gives them: a path, the bytes of a file, or an array.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use burn_dataset::Dataset;
use deepcut::output;
use deepcut::parallel::Held;
use deepcut::pixels::{DecodeConfig, ImageContent, ImageItem, Picture, ResizedTo, Samples, picture_of_samples};
use deepcut::{Raster, RgbImage};
use numpy::{PyArray1, PyArray3, PyArrayMethods, PyReadonlyArray2, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyList;

use crate::errors::{of_class, usage};
use crate::segmentation::array;

/// An image, which borrows from the interpreter.
#[derive(FromPyObject)]
pub enum Given<'py> {
    U8(PyReadonlyArray3<'py, u8>),
    U16(PyReadonlyArray3<'py, u16>),
    F32(PyReadonlyArray3<'py, f32>),
    Encoded(PyBackedBytes),
    Path(PathBuf),
}

/// The same without the interpreter.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    Path(&'a Path),
    /// What a file holds.
    Encoded(&'a [u8]),
    /// `[height, width, bands]`
    Samples([usize; 3], Samples<'a>),
}

impl Given<'_> {
    /// What it holds; arrays must be contiguous.
    pub fn input(&self) -> PyResult<Input<'_>> {
        let shape = |shape: &[usize]| [shape[0], shape[1], shape[2]];
        Ok(match self {
            Given::Path(path) => Input::Path(path),
            Given::Encoded(bytes) => Input::Encoded(bytes),
            Given::U8(array) => Input::Samples(shape(array.shape()), Samples::U8(array.as_slice()?)),
            Given::U16(array) => Input::Samples(shape(array.shape()), Samples::U16(array.as_slice()?)),
            Given::F32(array) => Input::Samples(shape(array.shape()), Samples::F32(array.as_slice()?)),
        })
    }
}

/// What was found in every input, as Python has it, and in place of what is missing the reason, or at the first of these the error
/// that says which input it is.
pub fn listed<'py, T, P: IntoPyObject<'py>>(
    py: Python<'py>,
    inputs: &[Input],
    found: Vec<Result<T, String>>,
    stops_at_bad: bool,
    as_python: impl Fn(T) -> PyResult<P>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (input, found) in inputs.iter().zip(found) {
        match found {
            Ok(found) => list.append(as_python(found)?)?,
            Err(reason) if stops_at_bad => {
                let error = input.unusable(py, &reason);
                error.value(py).setattr("index", list.len())?;
                return Err(error);
            }
            Err(reason) => list.append(reason)?,
        }
    }
    Ok(list)
}

/// What all of them hold.
pub fn inputs<'a>(given: &'a [Given<'_>]) -> PyResult<Vec<Input<'a>>> {
    given.iter().map(Given::input).collect()
}

impl Input<'_> {
    /// The picture, as the program reads it; the error is the reason for which there is none.
    pub fn read(&self, limits: &DecodeConfig) -> Result<Held<Picture>, String> {
        self.read_for(limits, None)
    }

    /// The same for those who bring it to another size before anything else.
    pub fn read_for(&self, limits: &DecodeConfig, target: Option<&ResizedTo>) -> Result<Held<Picture>, String> {
        match *self {
            Input::Path(path) => ImageContent::read(path, None, limits)?.decode_for(limits, target),
            Input::Encoded(bytes) => ImageContent::read_from(Cursor::new(bytes), bytes.len() as u64, None, limits)?
                .decode_for(limits, target),
            Input::Samples([height, width, bands], samples) => {
                let picture = picture_of_samples(width, height, bands, samples, limits);
                Ok(Held::new(picture.map_err(|error| error.to_string())?, None))
            }
        }
    }

    /// The exception for a picture that there is not.
    pub fn unusable(&self, py: Python, reason: &str) -> PyErr {
        match self {
            Input::Path(path) => {
                let class = if path.exists() { "ImageError" } else { "MissingImageError" };
                of_class(py, class, &format!("{}: {reason}", path.display()))
            }
            Input::Encoded(_) | Input::Samples(..) => of_class(py, "ImageError", reason),
        }
    }
}

/// Inputs as a dataset.
pub struct Inputs<'a>(pub Vec<Input<'a>>);

impl<'a> Dataset<Input<'a>> for Inputs<'a> {
    fn get(&self, index: usize) -> Option<Input<'a>> {
        self.0.get(index).cloned()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl ImageItem for Input<'_> {
    fn content(&self, limits: &DecodeConfig) -> Result<ImageContent, String> {
        match self {
            Input::Path(path) => ImageContent::read(path, None, limits),
            Input::Encoded(_) | Input::Samples(..) => self.read(limits)?.into_value().image.content(limits),
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Input::Path(path) => Some(path),
            Input::Encoded(_) | Input::Samples(..) => None,
        }
    }
}

/// Pixels, which of them have no data, remarks, and the EXIF orientation.
type Read<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, Vec<String>, u8);

/// Reads an image as the program does.
///
/// # Shapes
/// `[height, width, 3]` u8, and `[height, width]` u8, 1 where there is no data
#[pyfunction]
pub fn read_image<'py>(py: Python<'py>, image: Given<'py>, decoding: &str) -> PyResult<Read<'py>> {
    let limits = limits(py, decoding)?;
    let input = image.input()?;
    let picture = py.detach(|| input.read(&limits)).map_err(|reason| input.unusable(py, &reason))?;
    let Picture { image, outside, remarks, orientation } = picture.into_value();
    Ok((pixels(py, image)?, outside.map(|outside| array(py, outside)).transpose()?, remarks, orientation))
}

/// Draws a mask over an image, as the program draws overlays.
///
/// # Shapes
/// mask `[height, width]` u16 → `[s·height, s·width, 3]` u8 with s = min(1, max_side / max(height, width))
#[pyfunction]
pub fn overlay<'py>(
    py: Python<'py>,
    image: Given<'py>,
    mask: PyReadonlyArray2<'py, u16>,
    max_side: usize,
    decoding: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let limits = limits(py, decoding)?;
    let input = image.input()?;
    let (height, width) = (mask.shape()[0], mask.shape()[1]);
    let mask = Raster::from_values(width, height, mask.as_slice()?.to_vec());
    let picture = py.detach(|| input.read(&limits)).map_err(|reason| input.unusable(py, &reason))?;
    if (picture.width, picture.height) != (width, height) {
        let (given_width, given_height) = (picture.width, picture.height);
        return Err(usage(
            py,
            &format!(
                "the mask has {width}x{height} pixels, the image {given_width}x{given_height}; give its own image"
            ),
        ));
    }
    let drawn = py.detach(|| output::overlay(&picture, &mask, max_side));
    pixels(py, drawn)
}

/// How images are read: settings of the room `pixels`, as JSON.
fn limits(py: Python, decoding: &str) -> PyResult<DecodeConfig> {
    serde_json::from_str(decoding).map_err(|error| usage(py, &format!("a setting of `pixels` is not valid: {error}")))
}

/// # Shapes
/// `[height, width, 3]`
fn pixels(py: Python<'_>, image: RgbImage) -> PyResult<Bound<'_, PyAny>> {
    let (height, width) = (image.height, image.width);
    let array: Bound<PyArray3<u8>> =
        PyArray1::from_vec(py, image.values.into_flattened()).reshape([height, width, 3])?;
    Ok(array.into_any())
}
