//! `poll()`: polling objects.
//!
//! Invariant: the list of watched descriptors is copied before a wait, so that it may be changed meanwhile.

use std::ffi::c_int;

use pyo3::exceptions::{
    PyFileNotFoundError, PyKeyError, PyOverflowError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;

use super::{descriptor, seconds, wait::wait};
use crate::gil_cell::GilCell;

/// `poll()`: a polling object, with the interface of `select.poll()`.
///
/// >>> from eventlet.green import select
/// >>> import os
/// >>> r, w = os.pipe()
/// >>> p = select.poll(); p.register(w, select.POLLOUT); p.poll() == [(w, select.POLLOUT)]
/// True
#[pyfunction]
pub fn poll() -> Poll {
    Poll {
        watched: GilCell::new(Vec::new()),
        polled: GilCell::new(false),
    }
}

/// A polling object, made by `poll()`.
#[pyclass(frozen, module = "select", name = "poll")]
pub struct Poll {
    /// In the order in which they were registered.
    watched: GilCell<Vec<(c_int, i16)>>,
    /// Somebody is in `poll`.
    polled: GilCell<bool>,
}

/// The right to be in `poll`, given back on drop.
struct Turn<'a>(&'a Poll, Python<'a>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.polled.set(self.1, false);
    }
}

#[pymethods]
impl Poll {
    /// Watch *fd*, an int or an object with `fileno()`; again: with other events. *May switch: no.*
    #[pyo3(signature = (fd, eventmask=None, /))]
    fn register(
        &self,
        fd: &Bound<'_, PyAny>,
        eventmask: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = fd.py();
        let all = libc::POLLIN | libc::POLLPRI | libc::POLLOUT;
        let events = eventmask.map_or(Ok(all), mask)?;
        let fd = descriptor(fd)?;
        self.watched.with(py, |watched| {
            match watched.iter_mut().find(|entry| entry.0 == fd) {
                Some(entry) => entry.1 = events,
                None => watched.push((fd, events)),
            }
        });
        Ok(())
    }

    /// Change the events of a watched descriptor. *May switch: no.* Raises FileNotFoundError.
    #[pyo3(signature = (fd, eventmask, /))]
    fn modify(&self, fd: &Bound<'_, PyAny>, eventmask: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = fd.py();
        let events = mask(eventmask)?;
        let fd = descriptor(fd)?;
        let found = self.watched.with(py, |watched| {
            let entry = watched.iter_mut().find(|entry| entry.0 == fd);
            entry.map(|entry| entry.1 = events).is_some()
        });
        if found {
            Ok(())
        } else {
            Err(PyFileNotFoundError::new_err((
                libc::ENOENT,
                "No such file or directory",
            )))
        }
    }

    /// Stop watching. *May switch: no.* Raises KeyError.
    #[pyo3(signature = (fd, /))]
    fn unregister(&self, fd: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = fd.py();
        let fd = descriptor(fd)?;
        let found = self.watched.with(py, |watched| {
            let place = watched.iter().position(|entry| entry.0 == fd);
            place.map(|place| watched.remove(place)).is_some()
        });
        if found {
            Ok(())
        } else {
            Err(PyKeyError::new_err(fd))
        }
    }

    /// The events of the watched descriptors, `[(descriptor, events)]`, as soon as there are any. *timeout*:
    /// milliseconds; None or negative waits for ever, 0 only asks. *May switch: yes.* Raises RuntimeError while
    /// another call waits.
    #[pyo3(signature = (timeout=None, /))]
    fn poll(
        &self,
        py: Python<'_>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<(c_int, c_int)>> {
        let seconds = seconds(timeout, 1e-3, "timeout must be an integer or None")?
            .filter(|seconds| *seconds >= 0.0);
        if seconds.is_some_and(|seconds| seconds * 1e3 > f64::from(c_int::MAX)) {
            return Err(PyOverflowError::new_err("timeout is too large"));
        }
        if self.polled.replace(py, true) {
            return Err(PyRuntimeError::new_err("concurrent poll() invocation"));
        }
        let turn = Turn(self, py);
        let mut fds = self.watched.with(py, |watched| {
            let fd = |&(fd, events): &(c_int, i16)| libc::pollfd {
                fd,
                events,
                revents: 0,
            };
            watched.iter().map(fd).collect::<Vec<_>>()
        });
        wait(py, &mut fds, seconds, true, |fd| fd.revents != 0)?;
        drop(turn);
        let ready = fds.iter().filter(|fd| fd.revents != 0);
        Ok(ready
            .map(|fd| (fd.fd, c_int::from(fd.revents as u16)))
            .collect())
    }
}

/// A mask of events, with the errors of the standard module.
fn mask(value: &Bound<'_, PyAny>) -> PyResult<i16> {
    let py = value.py();
    match value.extract::<i64>() {
        Ok(number) if number < 0 => Err(PyValueError::new_err("value must be positive")),
        Ok(number) => u16::try_from(number)
            .map(|number| number as i16)
            .map_err(|_| too_large()),
        Err(error) if error.is_instance_of::<PyOverflowError>(py) => Err(too_large()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "'{}' object cannot be interpreted as an integer",
            value.get_type().name()?
        ))),
    }
}

fn too_large() -> PyErr {
    PyOverflowError::new_err("Python int too large for C unsigned short")
}
