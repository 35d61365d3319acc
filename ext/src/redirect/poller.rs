//! Objects of `select.poll()` and `select.epoll()` that were made before those could be green.
//!
//! The original `poll` is asked without waiting. If it has nothing, the green thread parks until the object's own
//! descriptor (epoll) or one of the registered ones (poll) is ready, and it is asked again.

use std::ffi::c_int;

use eventlet::reactor::Interest;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::Native;
use super::arguments::Call;
use crate::error::{Raised, Result};
use crate::hub::{self, Instant, Woken};
use crate::object::Object;

/// Longest timeout that is waited for with a deadline, in seconds (a century).
const LONGEST: f64 = 3_153_600_000.0;

/// How long to wait.
enum Limit {
    Now,
    Until(Option<Instant>),
}

/// Reads a timeout given in units of `unit` seconds; `None` if the original is to complain.
fn limit(py: Python<'_>, timeout: *mut PyObject, unit: f64) -> Result<Option<Limit>> {
    // SAFETY: a live object or null.
    let timeout = unsafe { Bound::from_borrowed_ptr_or_opt(py, timeout) };
    let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else {
        return Ok(Some(Limit::Until(None)));
    };
    let Ok(seconds) = timeout.extract::<f64>().map(|number| number * unit) else {
        return Ok(None);
    };
    Ok(Some(if seconds == 0.0 || seconds.is_nan() {
        Limit::Now
    } else if !(0.0..LONGEST).contains(&seconds) {
        Limit::Until(None)
    } else {
        let deadline = hub::deadline_in(py, seconds);
        Limit::Until(Some(deadline.map_err(|error| Raised::from_err(py, error))?))
    }))
}

fn is_empty(py: Python<'_>, list: &Object) -> bool {
    list.bind(py).len().is_ok_and(|len| len == 0)
}

fn until_found(
    py: Python<'_>,
    deadline: Option<Instant>,
    ask: impl Fn() -> Result<Object>,
    wanted: impl Fn() -> PyResult<Vec<(c_int, Interest)>>,
) -> Result<Object> {
    let raise = |error| Raised::from_err(py, error);
    loop {
        let found = ask()?;
        if !is_empty(py, &found) {
            return Ok(found);
        }
        let wanted = wanted().map_err(raise)?;
        if let Woken::TimedOut = hub::park_any(py, &wanted, deadline).map_err(raise)? {
            return ask();
        }
    }
}

/// An int object.
fn int(value: i64) -> Result<Object> {
    // SAFETY: GIL held.
    let number = unsafe { pyo3::ffi::PyLong_FromLongLong(value) };
    // SAFETY: a new reference or null.
    unsafe { Object::from_owned(number) }.ok_or(Raised)
}

/// `epoll.poll(timeout=None, maxevents=-1)`, in seconds.
fn epoll(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    hub::learn_loops(py);
    let Some([timeout, maximum]) = call.parse(["timeout", "maxevents"]) else {
        return call.forward();
    };
    let Some(Limit::Until(deadline)) = limit(py, timeout, 1.0)? else {
        return call.forward();
    };
    let (zero, all) = (int(0)?, int(-1)?);
    let maximum = if maximum.is_null() {
        all.as_ptr()
    } else {
        maximum
    };
    let ask = || call.call_with(&[zero.as_ptr(), maximum]);
    let wanted = || {
        // SAFETY: a live object.
        let this = unsafe { Bound::from_borrowed_ptr(py, call.this) };
        let fd: c_int = this.call_method0("fileno")?.extract()?;
        Ok(vec![(fd, Interest::Read)])
    };
    until_found(py, deadline, ask, wanted)
}

/// The dictionary descriptor -> events of a polling object, which is its first field.
fn registered<'py>(py: Python<'py>, object: *mut PyObject) -> Option<Bound<'py, PyDict>> {
    // SAFETY: within the object, which is larger than its head.
    let place = unsafe { object.add(1) }.cast::<*mut PyObject>();
    // SAFETY: as above.
    let dict = unsafe { *place };
    // SAFETY: CPython's field, an object or null.
    let dict = unsafe { Bound::from_borrowed_ptr_or_opt(py, dict) }?;
    dict.cast_into::<PyDict>().ok()
}

/// `poll.poll(timeout=None)`, in milliseconds.
fn poll(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    hub::learn_loops(py);
    let Some([timeout]) = call.parse(["timeout"]) else {
        return call.forward();
    };
    let Some(Limit::Until(deadline)) = limit(py, timeout, 0.001)? else {
        return call.forward();
    };
    let Some(watched) = registered(py, call.this) else {
        return call.forward();
    };
    let zero = int(0)?;
    let ask = || call.call_with(&[zero.as_ptr()]);
    let wanted = || {
        let mut wanted = Vec::new();
        for (fd, events) in watched.iter() {
            let (fd, events): (c_int, i32) = (fd.extract()?, events.extract()?);
            if events & i32::from(libc::POLLOUT | libc::POLLWRNORM) != 0 {
                wanted.push((fd, Interest::Write));
            }
            if events & i32::from(libc::POLLOUT) == 0 || events & i32::from(libc::POLLIN) != 0 {
                wanted.push((fd, Interest::Read));
            }
        }
        Ok(wanted)
    };
    until_found(py, deadline, ask, wanted)
}

/// Whether the polling objects are as `registered` reads them; `object` is one of them, without descriptors.
pub fn check(object: &Bound<'_, PyAny>) -> PyResult<std::result::Result<(), String>> {
    let py = object.py();
    let size: usize = object
        .getattr("__class__")?
        .getattr("__basicsize__")?
        .extract()?;
    let known = size >= size_of::<PyObject>() + size_of::<usize>();
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    if !known || unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Ok(Err("the fields of its objects are not known".to_owned()));
    }
    let result = object.call_method1("register", (ends[0], 1)).map(|_| {
        let found = registered(py, object.as_ptr());
        found.is_some_and(|dict| dict.contains(ends[0]).unwrap_or(false))
    });
    for end in ends {
        // SAFETY: ours.
        unsafe { libc::close(end) };
    }
    Ok(if result? {
        Ok(())
    } else {
        Err("the fields of its objects are not known".to_owned())
    })
}

/// What acts in the place of `epoll.poll`.
pub const EPOLL: [(&str, Native, bool); 1] = [("poll", epoll, false)];
/// What acts in the place of `poll.poll`.
pub const POLL: [(&str, Native, bool); 1] = [("poll", poll, false)];
