//! `Lock`: a semaphore of one unit whose release is checked.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::Semaphore;
use crate::hub::Reason;

/// A lock for green threads and OS threads, with the interface of `threading.Lock`.
///
/// >>> from eventlet.lock import Lock
/// >>> lock = Lock()
/// >>> with lock:
/// ...     lock.locked()
/// True
#[pyclass(extends = Semaphore, subclass, frozen, module = "eventlet.lock")]
pub struct Lock;

impl Lock {
    fn give(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, semaphore) = (slf.py(), slf.as_super().get());
        if semaphore.units(py) > 0 {
            return Err(PyRuntimeError::new_err("release unlocked lock"));
        }
        semaphore.give(py);
        Ok(())
    }
}

#[pymethods]
impl Lock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Lock> {
        PyClassInitializer::from(Semaphore::with_counter(1, Reason::Lock).in_object())
            .add_subclass(Lock)
    }

    /// Unlock. Raises RuntimeError if the lock is free. *May switch: no.*
    #[pyo3(signature = (blocking=None))]
    fn release(slf: &Bound<'_, Self>, blocking: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let _ = blocking; // documented in Semaphore: accepted for symmetry
        Lock::give(slf).map(|()| true)
    }

    fn __enter__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        if slf.get_type().is(py.get_type::<Lock>()) {
            return slf.as_super().get().take(py, None).map(drop);
        }
        slf.call_method0(pyo3::intern!(py, "acquire")).map(drop)
    }

    #[pyo3(signature = (*_exc_info))]
    fn __exit__(slf: &Bound<'_, Self>, _exc_info: &Bound<'_, PyTuple>) -> PyResult<()> {
        let py = slf.py();
        if slf.get_type().is(py.get_type::<Lock>()) {
            return Lock::give(slf);
        }
        slf.call_method0(pyo3::intern!(py, "release")).map(drop)
    }

    /// In a forked child: free, without waiters.
    fn _at_fork_reinit(slf: &Bound<'_, Self>) {
        slf.as_super().get().renew(slf.py(), 1);
    }
}
