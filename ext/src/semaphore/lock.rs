//! `Lock`: a semaphore of one unit whose release is checked.

use pyo3::exceptions::{PyOverflowError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::{Semaphore, Truth};
use crate::hub::{self, Reason};

/// Longest timeout in seconds, as `_thread.TIMEOUT_MAX` has it.
pub const TIMEOUT_MAX: f64 = 9_223_372_036.0;

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
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(value=1)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Lock> {
        PyClassInitializer::from(Semaphore::with_counter(1, Reason::Lock).in_object())
            .add_subclass(Lock)
    }

    /// Lock; True if the lock was taken. Waits while somebody has it.
    ///
    /// With *blocking* false the answer comes at once. *timeout* is in seconds; None or -1 waits for ever. Raises
    /// ValueError for another negative timeout and for a timeout without blocking, OverflowError for one that is too
    /// long. *May switch: yes.*
    ///
    /// >>> from eventlet.lock import Lock
    /// >>> lock = Lock()
    /// >>> lock.acquire(), lock.acquire(timeout=0.001)
    /// (True, False)
    #[pyo3(signature = (blocking=Truth(true), timeout=None), text_signature = "(self, blocking=True, timeout=None)")]
    fn acquire(slf: &Bound<'_, Self>, blocking: Truth, timeout: Option<f64>) -> PyResult<bool> {
        if timeout.is_some_and(|seconds| seconds > TIMEOUT_MAX) {
            return Err(PyOverflowError::new_err("timeout value is too large"));
        }
        let py = slf.py();
        if blocking.0 {
            hub::interrupt_spinner(py)?;
        }
        let semaphore = slf.as_super().get();
        semaphore.acquire_with(py, blocking.0, timeout)
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
            hub::interrupt_spinner(py)?;
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

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (counter, waiters) = slf.as_super().get().numbers(slf.py());
        let state = if counter > 0 { "unlocked" } else { "locked" };
        let class = slf.get_type().name()?;
        Ok(format!(
            "<{state} {class} object at {:#x} c={counter} _w[{waiters}]>",
            slf.as_ptr() as usize
        ))
    }

    /// In a forked child: free, without waiters.
    fn _at_fork_reinit(slf: &Bound<'_, Self>) {
        slf.as_super().get().renew(slf.py(), 1);
    }
}
