//! Failures of the library as exceptions of the package.

use std::error::Error as _;
use std::io;

use deepcut::dataset::DatasetError;
use deepcut::{Error, ErrorKind};
use pyo3::prelude::*;

/// The exception of an error: its class says what kind of failure it is, its text what happened and what to do.
pub fn exception(py: Python, error: &Error) -> PyErr {
    let class = match error.kind() {
        ErrorKind::Usage if is_absent(error) => "MissingFileError",
        ErrorKind::Usage => "UsageError",
        ErrorKind::Untrusted => "UntrustedError",
        ErrorKind::InputOutput => "InputOutputError",
        ErrorKind::Interrupted => "InterruptedRun",
        _ => "Error",
    };
    of_class(py, class, &error.to_string())
}

/// An exception of the package by the name of its class.
pub fn of_class(py: Python, class: &str, message: &str) -> PyErr {
    let raised = py.import("deepcut_vision._errors").and_then(|errors| errors.getattr(class)?.call1((message,)));
    raised.map_or_else(|error| error, PyErr::from_value)
}

/// A wrong value of an argument.
pub fn usage(py: Python, message: &str) -> PyErr {
    of_class(py, "UsageError", message)
}

/// Whether the reason is that a file is not there.
fn is_absent(error: &Error) -> bool {
    if matches!(error, Error::Dataset(DatasetError::Missing { .. })) {
        return true;
    }
    let mut cause = error.source();
    while let Some(source) = cause {
        if source.downcast_ref::<io::Error>().is_some_and(|source| source.kind() == io::ErrorKind::NotFound) {
            return true;
        }
        cause = source.source();
    }
    false
}
