//! `_queue.SimpleQueue`: a green thread that waits for an item does not stop its OS thread.
//!
//! Items stay in the queue itself. `put` is redirected in every OS thread, because it may be a green thread that
//! waits; `get` without a hub waits as it always did.

use pyo3::ffi;
use pyo3::prelude::*;

use super::Native;
use super::arguments::Call;
use super::line::{self, Told};
use crate::error::{Raised, Result};
use crate::hub::{self, Reason};
use crate::object::Object;

/// Longest timeout that is waited for with a deadline, in seconds (a century).
const LONGEST: f64 = 3_153_600_000.0;

/// `get(block=True, timeout=None)`.
fn get(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let Some([block, timeout]) = call.parse(["block", "timeout"]) else {
        return call.forward();
    };
    // SAFETY: a live object or null.
    let blocks = block.is_null() || unsafe { ffi::PyObject_IsTrue(block) } == 1;
    // SAFETY: GIL held.
    if !blocks || !unsafe { ffi::PyErr_Occurred() }.is_null() {
        return call.forward();
    }
    // SAFETY: a live object or null.
    let timeout = unsafe { Bound::from_borrowed_ptr_or_opt(py, timeout) };
    let seconds = match timeout.filter(|timeout| !timeout.is_none()) {
        None => None,
        Some(timeout) => match timeout.extract::<f64>() {
            Ok(seconds) if seconds >= 0.0 => Some(seconds),
            _ => return call.forward(), // which complains
        },
    };
    if has_items(py, call)? {
        return call.forward();
    }
    let deadline = seconds
        .filter(|seconds| *seconds < LONGEST)
        .map(|seconds| hub::deadline_in(py, seconds))
        .transpose()
        .map_err(|error| Raised::from_err(py, error))?;
    let take = || {
        if has_items(py, call)? {
            now(call).map(Some)
        } else {
            Ok(None)
        }
    };
    match line::wait(py, call.this, Reason::Queue, deadline, Told::Always, take)? {
        Some(item) => Ok(item),
        None => now(call),
    }
}

/// Calls the original without waiting: an item, or `Empty`.
fn now(call: &Call<'_>) -> Result<Object> {
    // SAFETY: the singleton's address.
    call.call_with(&[unsafe { ffi::Py_False() }])
}

fn has_items(py: Python<'_>, call: &Call<'_>) -> Result<bool> {
    // SAFETY: a live object.
    let queue = unsafe { Bound::from_borrowed_ptr(py, call.this) };
    let size = queue.call_method0(pyo3::intern!(py, "qsize"));
    size.and_then(|size| size.extract::<usize>())
        .map(|size| size > 0)
        .map_err(|error| Raised::from_err(py, error))
}

/// `put(item, block=True, timeout=None)`, `put_nowait(item)`.
fn put(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let done = call.forward()?;
    line::advance(py, call.this, true);
    Ok(done)
}

/// What acts in the place of each method of `SimpleQueue`, and whether in every OS thread.
pub const METHODS: [(&str, Native, bool); 3] = [
    ("get", get, false),
    ("put", put, true),
    ("put_nowait", put, true),
];
