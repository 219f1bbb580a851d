//! Scores: see the table of `deepcut::metrics` for every definition.

use deepcut::metrics::{
    self, Annotations, BETA_SQUARED, BoundingBox, Contingency, MetricError, Overlap, SaliencyCurve,
};
use deepcut::raster::LabelMap;
use deepcut::{Mask, Raster};
use numpy::{Element, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::usage;

fn raster<T: Element + Copy>(py: Python, array: &PyReadonlyArray2<T>) -> PyResult<Raster<T>> {
    let (height, width) = (array.shape()[0], array.shape()[1]);
    let values = array.as_slice().map_err(|_| usage(py, "the array is not contiguous"))?;
    Ok(Raster::from_values(width, height, values.to_vec()))
}

fn refused(py: Python, error: &MetricError) -> PyErr {
    usage(py, &error.to_string())
}

/// The mask of void pixels; none are void where there is no such mask.
fn void_or_none(py: Python, void: Option<&PyReadonlyArray2<u8>>, like: &Mask) -> PyResult<Mask> {
    void.map_or_else(|| Ok(Mask::filled(like.width, like.height, 0)), |void| raster(py, void))
}

/// IoU, accuracy, precision, recall and F_β of a mask; any value but 0 is foreground.
#[pyfunction]
pub fn overlap<'py>(
    py: Python<'py>,
    truth: PyReadonlyArray2<'py, u8>,
    predicted: PyReadonlyArray2<'py, u8>,
    void: Option<PyReadonlyArray2<'py, u8>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (truth, predicted) = (raster(py, &truth)?, raster(py, &predicted)?);
    let void = void_or_none(py, void.as_ref(), &predicted)?;
    let found = py.detach(|| Overlap::of(&predicted, &truth, &void)).map_err(|error| refused(py, &error))?;
    let scores = PyDict::new(py);
    scores.set_item("iou", found.iou())?;
    scores.set_item("accuracy", found.accuracy())?;
    scores.set_item("precision", found.precision())?;
    scores.set_item("recall", found.recall())?;
    scores.set_item("f_beta", found.f_beta(BETA_SQUARED))?;
    Ok(scores)
}

/// The largest F_β over thresholds of saliency maps (0 to 255), precision and recall averaged over images.
#[pyfunction]
pub fn largest_f_beta<'py>(
    py: Python<'py>,
    truths: Vec<PyReadonlyArray2<'py, u8>>,
    saliencies: Vec<PyReadonlyArray2<'py, u8>>,
) -> PyResult<Option<f64>> {
    let mut curve = SaliencyCurve::default();
    for (truth, saliency) in truths.iter().zip(&saliencies) {
        let (truth, saliency) = (raster(py, truth)?, raster(py, saliency)?);
        let void = Mask::filled(saliency.width, saliency.height, 0);
        py.detach(|| curve.add(&saliency, &truth, &void)).map_err(|error| refused(py, &error))?;
    }
    Ok(curve.maximum(BETA_SQUARED))
}

/// IoU of two boxes `[left, top, right, bottom]`.
#[pyfunction]
pub fn box_iou(first: [f64; 4], second: [f64; 4]) -> f64 {
    let of_corners = |[left, top, right, bottom]: [f64; 4]| BoundingBox {
        x: left,
        y: top,
        width: right - left,
        height: bottom - top,
    };
    of_corners(first).iou(&of_corners(second))
}

fn values(py: Python, labels: &PyReadonlyArray1<u32>) -> PyResult<Vec<u32>> {
    Ok(labels.as_slice().map_err(|_| usage(py, "the labels are not contiguous"))?.to_vec())
}

fn contingency(py: Python, truth: &PyReadonlyArray1<u32>, predicted: &PyReadonlyArray1<u32>) -> PyResult<Contingency> {
    let (truth, predicted) = (values(py, truth)?, values(py, predicted)?);
    if truth.len() != predicted.len() {
        let message = format!("there are {} true and {} predicted labels", truth.len(), predicted.len());
        return Err(usage(py, &message));
    }
    Ok(py.detach(|| Contingency::from_labels(&truth, &predicted)))
}

#[pyfunction]
pub fn normalised_mutual_information(
    py: Python,
    truth: PyReadonlyArray1<u32>,
    predicted: PyReadonlyArray1<u32>,
) -> PyResult<f64> {
    Ok(contingency(py, &truth, &predicted)?.normalised_mutual_information())
}

#[pyfunction]
pub fn adjusted_rand_index(
    py: Python,
    truth: PyReadonlyArray1<u32>,
    predicted: PyReadonlyArray1<u32>,
) -> PyResult<f64> {
    Ok(contingency(py, &truth, &predicted)?.adjusted_rand_index())
}

#[pyfunction]
pub fn purity(py: Python, truth: PyReadonlyArray1<u32>, predicted: PyReadonlyArray1<u32>) -> PyResult<f64> {
    Ok(contingency(py, &truth, &predicted)?.purity())
}

/// A segmentation of a whole image against those of one or several people.
#[pyfunction]
pub fn region_scores<'py>(
    py: Python<'py>,
    truths: Vec<PyReadonlyArray2<'py, u32>>,
    predicted: PyReadonlyArray2<'py, u32>,
) -> PyResult<Bound<'py, PyDict>> {
    let maps: Vec<LabelMap> = truths.iter().map(|truth| raster(py, truth)).collect::<PyResult<_>>()?;
    let predicted = raster(py, &predicted)?;
    let found: Result<metrics::RegionScores, MetricError> = py.detach(|| Annotations::of(&maps).score(&predicted));
    let found = found.map_err(|error| refused(py, &error))?;
    let scores = PyDict::new(py);
    scores.set_item("iou", found.iou)?;
    scores.set_item("accuracy", found.accuracy)?;
    scores.set_item("covering", found.covering)?;
    scores.set_item("rand_index", found.rand_index)?;
    scores.set_item("variation_of_information_bits", found.variation_of_information_bits)?;
    scores.set_item("undersegmentation_error", found.undersegmentation_error)?;
    scores.set_item("iou_by_predicted_area", found.iou_by_predicted_area)?;
    scores.set_item("oracle_iou", found.oracle_iou)?;
    scores.set_item("oracle_accuracy", found.oracle_accuracy)?;
    scores.set_item("boundary_precision", found.boundary.precision())?;
    scores.set_item("boundary_recall", found.boundary.recall())?;
    scores.set_item("boundary_f_measure", found.boundary.f_measure())?;
    scores.set_item("segments", found.segment_count)?;
    Ok(scores)
}
