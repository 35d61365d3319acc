//! `LocalTimer`: a timer that depends on the life of a greenlet.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::Timer;
use crate::gil_cell::GilCell;
use crate::hub;
use crate::object::Object;

/// A timer that is not called if the greenlet that made it has ended by then.
#[pyclass(extends = Timer, subclass, frozen, module = "eventlet.hubs.timer")]
pub struct LocalTimer {
    /// Whose life it depends on; nobody's once cancelled.
    owner: GilCell<Option<Object>>,
}

impl LocalTimer {
    fn unset() -> PyClassInitializer<LocalTimer> {
        let owner = GilCell::new(None);
        PyClassInitializer::from(Timer::unset()).add_subclass(LocalTimer { owner })
    }

    /// A local timer of the current greenlet for this call, not scheduled yet.
    pub fn for_call<'py>(
        py: Python<'py>,
        seconds: &Bound<'py, PyAny>,
        callback: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Timer>> {
        let timer = Bound::new(py, LocalTimer::unset())?;
        LocalTimer::__init__(&timer, seconds, callback, args, kwargs)?;
        Ok(timer.into_super())
    }

    fn owner_is_dead(&self, py: Python<'_>) -> Option<bool> {
        let owner = self.owner.with(py, |owner| owner.clone())?;
        let dead = owner.bind(py).getattr(pyo3::intern!(py, "dead"));
        Some(dead.and_then(|dead| dead.is_truthy()).unwrap_or(false))
    }
}

#[pymethods]
impl LocalTimer {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(seconds, cb, *args, **kw)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<LocalTimer> {
        LocalTimer::unset()
    }

    #[pyo3(signature = (seconds, cb, *args, **kw))]
    fn __init__<'py>(
        slf: &Bound<'py, Self>,
        seconds: &Bound<'py, PyAny>,
        cb: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kw: Option<Bound<'py, PyDict>>,
    ) -> PyResult<()> {
        let py = slf.py();
        slf.get().owner.set(py, Some(hub::current_greenlet(py)?));
        Timer::fill(slf.as_super(), seconds, cb, args, kw)
    }

    /// The greenlet that made it; None once cancelled.
    #[getter]
    fn greenlet<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.owner
            .with(py, |owner| owner.clone())
            .map(|owner| owner.into_bound(py))
    }

    /// Whether it is going to be called.
    #[getter]
    fn pending(slf: &Bound<'_, Self>) -> bool {
        let py = slf.py();
        slf.get().owner_is_dead(py) == Some(false) && slf.as_super().get().is_pending(py)
    }

    /// Keep it from being called; nothing happens if it was called or cancelled before.
    fn cancel(slf: &Bound<'_, Self>) {
        slf.get().owner.set(slf.py(), None);
        slf.as_super().get().cancel(slf.py());
    }

    #[pyo3(signature = (*_args))]
    fn __call__(slf: &Bound<'_, Self>, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        let py = slf.py();
        let dead = slf.get().owner_is_dead(py) == Some(true);
        let call = slf.as_super().get().begin(py)?;
        match call {
            Some(call) if !dead => call.make(py),
            Some(call) => {
                call.release(py);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.owner
            .peek(|owner| owner.iter().try_for_each(|owner| visit.call(owner.as_py())))
    }

    fn __clear__(&self, py: Python<'_>) {
        self.owner.set(py, None);
    }
}
