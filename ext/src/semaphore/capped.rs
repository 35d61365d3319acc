//! `CappedSemaphore`: two semaphores, one of units and one of the room up to the limit.
//!
//! Every acquire gives to the one and takes from the other, every release the other way round.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::{Semaphore, Truth, parse_value};
use crate::gil_cell::GilCell;
use crate::hub::Reason;

/// A semaphore whose release waits while the counter is at its limit.
///
/// *count* units are free at the start, at most *limit* can be. Raises ValueError if count is negative or more
/// than limit.
///
/// >>> import eventlet
/// >>> belt = eventlet.CappedSemaphore(1, limit=1)
/// >>> belt.release(blocking=False)
/// False
#[pyclass(subclass, frozen, weakref, dict, module = "eventlet.semaphore")]
pub struct CappedSemaphore {
    bounds: GilCell<Option<(Py<Semaphore>, Py<Semaphore>)>>,
}

impl CappedSemaphore {
    fn both<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, Semaphore>, Bound<'py, Semaphore>)> {
        self.bounds
            .with(py, |bounds| {
                bounds
                    .as_ref()
                    .map(|(low, high)| (low.bind(py).clone(), high.bind(py).clone()))
            })
            .ok_or_else(|| PyRuntimeError::new_err("CappedSemaphore.__init__() was not called"))
    }

    /// `take` from one bound after giving to the other; takes that back if the wait is broken off.
    fn cross(py: Python<'_>, give: &Semaphore, take: &Semaphore) -> PyResult<bool> {
        give.give(py);
        take.take(py, None).inspect_err(|_| give.add(py, -1))
    }
}

#[pymethods]
impl CappedSemaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(count, limit)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> CappedSemaphore {
        CappedSemaphore {
            bounds: GilCell::new(None),
        }
    }

    fn __init__(
        &self,
        py: Python<'_>,
        count: &Bound<'_, PyAny>,
        limit: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if count.lt(0)? {
            return Err(PyValueError::new_err(format!(
                "CappedSemaphore must be initialized with a positive number, got {}",
                count.str()?
            )));
        }
        if count.gt(limit)? {
            return Err(PyValueError::new_err("'count' cannot be more than 'limit'"));
        }
        let low = Py::new(
            py,
            Semaphore::with_counter(parse_value(count)?, Reason::Semaphore).in_object(),
        )?;
        let high = Py::new(
            py,
            Semaphore::with_counter(parse_value(&limit.sub(count)?)?, Reason::Semaphore)
                .in_object(),
        )?;
        self.bounds.set(py, Some((low, high)));
        Ok(())
    }

    /// Take a unit, waiting while there is none; False only with *blocking* false. *May switch: yes.*
    #[pyo3(signature = (blocking=Truth(true)), text_signature = "(self, blocking=True)")]
    fn acquire(&self, py: Python<'_>, blocking: Truth) -> PyResult<bool> {
        let (low, high) = self.both(py)?;
        if !blocking.0 && low.get().units(py) <= 0 {
            return Ok(false);
        }
        CappedSemaphore::cross(py, high.get(), low.get())
    }

    /// Give a unit back, waiting while the counter is at its limit; False only with *blocking* false.
    /// *May switch: yes.*
    #[pyo3(signature = (blocking=Truth(true)), text_signature = "(self, blocking=True)")]
    fn release(&self, py: Python<'_>, blocking: Truth) -> PyResult<bool> {
        let (low, high) = self.both(py)?;
        if !blocking.0 && high.get().units(py) <= 0 {
            return Ok(false);
        }
        CappedSemaphore::cross(py, low.get(), high.get())
    }

    /// Whether `acquire` would wait.
    fn locked(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.both(py)?.0.get().units(py) <= 0)
    }

    /// Whether `release` would wait.
    fn bounded(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.both(py)?.1.get().units(py) <= 0)
    }

    /// Free units, less those who wait to take one, plus those who wait to give one, less the room left.
    #[getter]
    fn balance(&self, py: Python<'_>) -> PyResult<i64> {
        let (low, high) = self.both(py)?;
        Ok(low.get().surplus(py) - high.get().surplus(py))
    }

    /// The semaphore of the units.
    #[getter]
    fn lower_bound<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Semaphore>> {
        Ok(self.both(py)?.0)
    }

    /// The semaphore of the room up to the limit.
    #[getter]
    fn upper_bound<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Semaphore>> {
        Ok(self.both(py)?.1)
    }

    fn __enter__(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.call_method0(pyo3::intern!(slf.py(), "acquire"))
            .map(drop)
    }

    #[pyo3(signature = (*_exc_info))]
    fn __exit__(slf: &Bound<'_, Self>, _exc_info: &Bound<'_, PyTuple>) -> PyResult<()> {
        slf.call_method0(pyo3::intern!(slf.py(), "release"))
            .map(drop)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (class, text) = (slf.get_type().name()?, CappedSemaphore::numbers(slf)?);
        Ok(format!("<{class} at {:#x} {text}>", slf.as_ptr() as usize))
    }

    fn __str__(slf: &Bound<'_, Self>) -> PyResult<String> {
        Ok(format!(
            "<{} {}>",
            slf.get_type().name()?,
            CappedSemaphore::numbers(slf)?
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.bounds.peek(|bounds| {
            bounds
                .iter()
                .try_for_each(|(low, high)| visit.call(low).and_then(|()| visit.call(high)))
        })
    }
}

impl CappedSemaphore {
    fn numbers(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, capped) = (slf.py(), slf.get());
        let (low, high) = capped.both(py)?;
        Ok(format!(
            "b={} l={} u={}",
            capped.balance(py)?,
            low.str()?,
            high.str()?
        ))
    }
}
