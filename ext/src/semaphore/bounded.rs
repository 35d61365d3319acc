//! `BoundedSemaphore`: a semaphore that knows how many units it started with.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::Semaphore;
use crate::gil_cell::GilCell;
use crate::hub::Reason;

/// A semaphore that refuses more releases than acquires with ValueError.
///
/// >>> import eventlet
/// >>> eventlet.BoundedSemaphore(1).release()
/// Traceback (most recent call last):
///     ...
/// ValueError: Semaphore released too many times
#[pyclass(extends = Semaphore, subclass, frozen, module = "eventlet.semaphore")]
pub struct BoundedSemaphore {
    original: GilCell<i64>,
}

impl BoundedSemaphore {
    fn give(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, semaphore) = (slf.py(), slf.as_super().get());
        if semaphore.units(py) >= slf.get().original.get(py) {
            return Err(PyValueError::new_err("Semaphore released too many times"));
        }
        semaphore.give(py);
        Ok(())
    }
}

#[pymethods]
impl BoundedSemaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(value=1)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<BoundedSemaphore> {
        PyClassInitializer::from(Semaphore::with_counter(1, Reason::Semaphore).in_object())
            .add_subclass(BoundedSemaphore {
                original: GilCell::new(1),
            })
    }

    #[pyo3(signature = (value=None))]
    fn __init__(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let py = slf.py();
        slf.as_super().get().__init__(py, value)?;
        slf.get().original.set(py, slf.as_super().get().units(py));
        Ok(())
    }

    /// Give a unit back. Raises ValueError if all of them are free already. *May switch: no.*
    #[pyo3(signature = (blocking=None))]
    fn release(slf: &Bound<'_, Self>, blocking: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let _ = blocking; // documented in Semaphore: accepted for symmetry
        BoundedSemaphore::give(slf).map(|()| true)
    }

    /// The number of units at the start.
    #[getter]
    fn original_counter(&self, py: Python<'_>) -> i64 {
        self.original.get(py)
    }

    #[setter(original_counter)]
    fn set_original_counter(&self, py: Python<'_>, value: i64) {
        self.original.set(py, value);
    }
}
