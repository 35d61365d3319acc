//! Waiting for any of several descriptors: what `eventlet.green.select` is made of.
//!
//! `select`, and the objects of `poll` and `epoll`, with the interface of the standard module. What is ready is
//! always what the kernel says in a call that does not wait; the hub is only asked when to look again. In an OS
//! thread that has no hub there is nobody to run meanwhile: there the call waits in the kernel, without the GIL.
//! Invariant: nothing stays registered with the hub when a call returns.
#![allow(unsafe_code)] // poll(2), epoll(7)

#[cfg(target_os = "linux")]
mod epoll;
mod function;
mod native;
mod poll;
mod wait;

use std::ffi::c_int;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

/// Adds what Python sees of this module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    #[cfg(target_os = "linux")]
    module.add_class::<epoll::Epoll>()?;

    module.add_function(wrap_pyfunction!(poll::poll, module)?)?;
    module.add_function(wrap_pyfunction!(function::select, module)?)
}

/// The descriptor that `object` is or has. TypeError, ValueError for a negative one.
fn descriptor(object: &Bound<'_, PyAny>) -> PyResult<c_int> {
    // SAFETY: a live object; GIL held.
    let fd = unsafe { ffi::PyObject_AsFileDescriptor(object.as_ptr()) };
    if fd < 0 {
        Err(PyErr::fetch(object.py()))
    } else {
        Ok(fd)
    }
}

/// A timeout given in units of `unit` seconds: `None` waits for ever. `what` is the TypeError's text.
fn seconds(
    timeout: Option<&Bound<'_, PyAny>>,
    unit: f64,
    what: &'static str,
) -> PyResult<Option<f64>> {
    let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else {
        return Ok(None);
    };
    let py = timeout.py();
    // Not `extract`: a text is no number, whatever __float__ may make of it.
    // SAFETY: a live object.
    let value = unsafe { ffi::PyFloat_AsDouble(timeout.as_ptr()) };
    if value == -1.0
        && let Some(error) = PyErr::take(py)
    {
        return Err(if error.is_instance_of::<PyTypeError>(py) {
            PyTypeError::new_err(what)
        } else if error.is_instance_of::<PyOverflowError>(py) {
            PyOverflowError::new_err("timeout is too large")
        } else {
            error
        });
    }
    if value.is_nan() {
        return Err(PyValueError::new_err("Invalid value NaN (not a number)"));
    }
    let seconds = value * unit;
    if seconds > LONGEST {
        return Err(PyOverflowError::new_err("timeout is too large"));
    }
    Ok(Some(seconds))
}

/// What CPython's clock can count, in seconds.
const LONGEST: f64 = i64::MAX as f64 / 1e9;
