//! `trampoline`: waiting for a descriptor by hand.

use eventlet::reactor::Interest;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::get_hub;
use crate::event::error_of;
use crate::hub::{self, Woken};
use crate::timeout::Timeout;

/// Wait until the descriptor *fd* (or object with `fileno()`) can be read, or written.
///
/// Exactly one of *read* and *write* is true. After *timeout* seconds (None: never) *timeout_exc* is raised, an
/// instance or a class. *mark_as_closed* is called if the descriptor is found to have been closed and used again
/// meanwhile. Returns the descriptor. Raises RuntimeError for a second green thread that waits for the same, and
/// for both or none of *read* and *write*; `IOClosed` if the descriptor is closed.
/// *May switch: yes.*
///
/// >>> import os
/// >>> from eventlet import hubs
/// >>> here, there = os.pipe()
/// >>> hubs.trampoline(there, write=True) == there
/// True
/// >>> os.close(here), os.close(there)
/// (None, None)
#[pyfunction]
#[pyo3(signature = (fd, read=None, write=None, timeout=None, timeout_exc=None, mark_as_closed=None))]
pub fn trampoline<'py>(
    py: Python<'py>,
    fd: &Bound<'py, PyAny>,
    read: Option<&Bound<'py, PyAny>>,
    write: Option<&Bound<'py, PyAny>>,
    timeout: Option<f64>,
    timeout_exc: Option<Bound<'py, PyAny>>,
    mark_as_closed: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let truth = |flag: Option<&Bound<'py, PyAny>>| flag.map_or(Ok(false), |flag| flag.is_truthy());
    let interest = match (truth(read)?, truth(write)?) {
        (true, true) => {
            return Err(PyRuntimeError::new_err(
                "not allowed to trampoline for reading and writing",
            ));
        }
        (true, false) => Interest::Read,
        (false, true) => Interest::Write,
        (false, false) => return Err(PyRuntimeError::new_err("trampoline() needs read or write")),
    };
    let fileno = match fd.getattr_opt(pyo3::intern!(py, "fileno"))? {
        Some(fileno) => fileno.call0()?,
        None => fd.clone(),
    };
    let number: i32 = fileno.extract().map_err(|_| {
        let kind = fileno.get_type();
        PyTypeError::new_err(format!(
            "a descriptor is an int or has a fileno() that returns one, not {kind}"
        ))
    })?;
    let deadline = timeout
        .map(|seconds| hub::deadline_in(py, seconds))
        .transpose()?;
    let closer = mark_as_closed
        .map(|closer| Closer::register(py, number, closer))
        .transpose()?;
    let woken = hub::park_fd(py, number, interest, deadline);
    let closed = closer.map_or(Ok(()), |closer| closer.withdraw(py));
    match woken? {
        Woken::Waker => closed.map(|()| fileno),
        Woken::Switched(value) => Ok(value.into_bound(py)),
        Woken::TimedOut => {
            let what = timeout_exc.unwrap_or_else(|| py.get_type::<Timeout>().into_any());
            Err(error_of(&PyTuple::new(py, [what])?))
        }
    }
}

/// A `mark_as_closed` function while its caller waits.
struct Closer<'py> {
    fileno: i32,
    key: Bound<'py, PyAny>,
    all: Bound<'py, PyDict>,
}

impl<'py> Closer<'py> {
    fn register(py: Python<'py>, fileno: i32, closer: Bound<'py, PyAny>) -> PyResult<Closer<'py>> {
        let all = get_hub(py)?.getattr("_closers")?.cast_into::<PyDict>()?;
        let of_fileno = match all.get_item(fileno)? {
            Some(of_fileno) => of_fileno.cast_into::<PyDict>()?,
            None => {
                let fresh = PyDict::new(py);
                all.set_item(fileno, &fresh)?;
                fresh
            }
        };
        let key = hub::current_greenlet(py)?.into_bound(py);
        of_fileno.set_item(&key, closer)?;
        Ok(Closer { fileno, key, all })
    }

    fn withdraw(self, _py: Python<'py>) -> PyResult<()> {
        if let Some(of_fileno) = self.all.get_item(self.fileno)? {
            let of_fileno = of_fileno.cast_into::<PyDict>()?;
            if of_fileno.contains(&self.key)? {
                of_fileno.del_item(&self.key)?;
            }
            if of_fileno.is_empty() {
                self.all.del_item(self.fileno)?;
            }
        }
        Ok(())
    }
}
