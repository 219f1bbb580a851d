//! What was found in an image, as arrays and plain values.

use deepcut::method::SegmentedPicture;
use deepcut::{Raster, Role, RunLengthMask, Segmentation};
use numpy::{Element, PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::errors::of_class;

/// # Shapes
/// `[height, width]`, without a copy
pub fn array<T: Element>(py: Python<'_>, raster: Raster<T>) -> PyResult<Bound<'_, PyAny>> {
    let (height, width) = (raster.height, raster.width);
    Ok(PyArray1::from_vec(py, raster.values).reshape([height, width])?.into_any())
}

/// The fields of `deepcut_vision.Segmentation`.
pub fn fields<'py>(py: Python<'py>, found: SegmentedPicture) -> PyResult<Bound<'py, PyDict>> {
    let SegmentedPicture { segmentation, remarks, orientation } = found;
    let Segmentation { mask, numbered, legend, objects, confidence, saliency, clusters, .. } = segmentation;
    let (negative_share, final_loss) = (segmentation.negative_share, segmentation.final_loss);
    let (bounding_box, area) = (segmentation.bounding_box, segmentation.foreground_area_px);
    let fields = PyDict::new(py);
    fields.set_item("mask", array(py, mask)?)?;
    fields.set_item("numbered", numbered.map(|numbered| array(py, numbered)).transpose()?)?;
    fields.set_item("saliency", array(py, saliency)?)?;
    let labels = legend.into_iter().map(|label| (label.value, label.name, role(label.role)));
    fields.set_item("legend", PyList::new(py, labels.collect::<Vec<_>>())?)?;
    let corners = |bounds: deepcut::Rectangle| (bounds.x, bounds.y, bounds.x + bounds.width, bounds.y + bounds.height);
    let found = objects.into_iter().map(|object| {
        let (label, area, confidence) = (object.label, object.area_px, object.confidence);
        (label, corners(object.bounding_box), area, confidence, object.mask.compressed())
    });
    fields.set_item("objects", PyList::new(py, found.collect::<Vec<_>>())?)?;
    fields.set_item("box", bounding_box.map(corners))?;
    fields.set_item("area", area)?;
    fields.set_item("confidence", confidence)?;
    fields.set_item("clusters", clusters)?;
    fields.set_item("negative_share", negative_share)?;
    fields.set_item("final_loss", final_loss)?;
    fields.set_item("remarks", remarks)?;
    fields.set_item("orientation", orientation)?;
    Ok(fields)
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Background => "background",
        Role::Object => "object",
        Role::Region => "region",
        Role::Part => "part",
        Role::BackgroundPart => "background-part",
    }
}

/// The mask of COCO's compressed runs.
///
/// # Shapes
/// `[height, width]` u8, 1 inside
#[pyfunction]
pub fn decode_mask<'py>(py: Python<'py>, height: usize, width: usize, counts: &str) -> PyResult<Bound<'py, PyAny>> {
    let runs = RunLengthMask::from_compressed(width, height, counts);
    array(py, runs.map_err(|error| of_class(py, "UntrustedError", &error.to_string()))?.decode())
}
