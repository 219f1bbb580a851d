//! Groups among vectors.

use deepcut::Error as PipelineError;
use deepcut::settings::ClusterConfig;
use deepcut::{ClusterNetwork, DeviceChoice, Fitted, Membership, Provenance, Vectors};
use numpy::{PyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors::{exception, of_class, usage};
use crate::runs::watched;

/// The clusters of a collection, which new vectors can join.
#[pyclass(frozen, module = "deepcut_vision._engine")]
pub struct ClusterModel {
    model: deepcut::ClusterModel,
}

/// Clusters `[N]` and how sure they are, `[N]`.
type Memberships<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f64>>);

#[pymethods]
impl ClusterModel {
    /// Groups vectors `[N, D]`; gives with the model its fields for `deepcut_vision.Clusters`. `settings` are those of the room
    /// `cluster`, as JSON.
    #[staticmethod]
    fn fit<'py>(
        vectors: PyReadonlyArray2<'py, f32>,
        settings: &str,
        hidden: [usize; 2],
        dropout: f64,
        listener: Bound<'py, PyAny>,
    ) -> PyResult<(ClusterModel, Bound<'py, PyDict>)> {
        let py = listener.py();
        let settings: ClusterConfig =
            serde_json::from_str(settings).map_err(|error| usage(py, &format!("a setting is not valid: {error}")))?;
        if hidden.contains(&0) || !(0.0..1.0).contains(&dropout) {
            return Err(usage(py, "`hidden` are two numbers from 1 on, and `dropout` is a share below 1"));
        }
        let (values, width) = borrowed(py, &vectors)?;
        let network = ClusterNetwork { hidden, dropout };
        let Fitted { model, clusters, confidences, details, reliance } = watched(&listener, |relay| {
            let vectors = Vectors::new(values.to_vec(), width)?;
            let device = DeviceChoice::Auto.open()?;
            let provenance = Provenance::default();
            Ok(deepcut::ClusterModel::fit(&vectors, &settings, &network, provenance, &device, relay)?)
        })?;
        let fields = PyDict::new(py);
        let labels = clusters.into_iter().map(i64::from).collect();
        fields.set_item("labels", PyArray1::from_vec(py, labels))?;
        fields.set_item("confidences", PyArray1::from_vec(py, confidences))?;
        fields.set_item("objective", details.objective)?;
        fields.set_item("restart_agreement", details.restart_agreement)?;
        let doubts: Vec<String> = reliance.doubts.iter().map(ToString::to_string).collect();
        fields.set_item("doubts", doubts)?;
        Ok((ClusterModel { model }, fields))
    }

    /// The clusters that new vectors `[N, D]` belong to.
    fn predict<'py>(&self, py: Python<'py>, vectors: PyReadonlyArray2<'py, f32>) -> PyResult<Memberships<'py>> {
        let (values, width) = borrowed(py, &vectors)?;
        let expected = self.model.header().width;
        if width != expected {
            return Err(usage(py, &format!("the vectors have {width} channels, those of the collection {expected}")));
        }
        let predict = || -> Result<Vec<Membership>, PipelineError> {
            Ok(self.model.predict(&Vectors::new(values.to_vec(), width)?))
        };
        let found = py.detach(predict).map_err(|error| exception(py, &error))?;
        let clusters = found.iter().map(|found| i64::from(found.cluster)).collect();
        let confidences = found.iter().map(|found| found.confidence).collect();
        Ok((PyArray1::from_vec(py, clusters), PyArray1::from_vec(py, confidences)))
    }

    /// Vectors in every cluster, descending.
    fn sizes(&self) -> Vec<u64> {
        self.model.header().sizes.clone()
    }

    fn width(&self) -> usize {
        self.model.header().width
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.model.to_bytes().map_err(|error| of_class(py, "UntrustedError", &error.to_string()))?;
        Ok(PyBytes::new(py, &bytes))
    }

    #[staticmethod]
    fn from_bytes(py: Python, bytes: &[u8]) -> PyResult<ClusterModel> {
        let model = deepcut::ClusterModel::from_bytes(bytes);
        let refused = |error: &dyn std::fmt::Display| {
            let message = format!("this is no usable file of clusters: {error}; cluster again or copy it anew");
            of_class(py, "UntrustedError", &message)
        };
        Ok(ClusterModel { model: model.map_err(|error| refused(&error))? })
    }
}

/// The values and the number of channels of contiguous vectors.
fn borrowed<'a>(py: Python, vectors: &'a PyReadonlyArray2<f32>) -> PyResult<(&'a [f32], usize)> {
    let values = vectors.as_slice().map_err(|_| usage(py, "the vectors are not contiguous"))?;
    if values.is_empty() {
        return Err(usage(py, "there are no vectors, or they have no channels"));
    }
    Ok((values, vectors.shape()[1]))
}
