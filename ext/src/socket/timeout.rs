//! Timeouts of a socket: settimeout, gettimeout, setblocking, getblocking and the attributes over them.
//!
//! They are ours alone: the descriptor and the base class stay non-blocking whatever the program sets.
#![allow(unsafe_code)] // objects by pointer

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::call::{Args, matches, raise_text, raised, type_error};
use super::class;
use super::state::{Mode, Sock, State};
use crate::error::{Raised, Result};
use crate::object::Object;

/// Fills in a state's timeout: `None` is for ever.
pub fn set_state(state: &State, seconds: Option<f64>) {
    state.timeout.set(seconds.unwrap_or(0.0));
    state.mode.set(match seconds {
        None => Mode::Forever,
        Some(seconds) if seconds > 0.0 => Mode::Limited,
        Some(_) => Mode::Never,
    });
}

/// `settimeout(seconds)`.
pub fn settimeout(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let [howlong] = args.parse("settimeout", ["howlong"], 1)?;
    set(py, sock, howlong)?;
    Ok(Object::none())
}

/// Takes over a timeout: None or the socket module's "global default" marker is for ever, 0 is non-blocking.
fn set(py: Python<'_>, sock: Sock<'_>, howlong: *mut ffi::PyObject) -> Result<()> {
    // SAFETY: the singleton's address.
    if howlong == unsafe { ffi::Py_None() } || is_default_marker(py, howlong) {
        sock.state.mode.set(Mode::Forever);
        return Ok(());
    }
    // SAFETY: a live object.
    let seconds = unsafe { ffi::PyFloat_AsDouble(howlong) };
    if seconds == -1.0 && raised() {
        // SAFETY: a static of the interpreter.
        if matches(unsafe { ffi::PyExc_TypeError }) {
            return Err(type_error("a float is required"));
        }
        return Err(Raised);
    }
    if seconds.is_nan() {
        return Err(value_error("Invalid value NaN (not a number)"));
    }
    if seconds < 0.0 {
        return Err(value_error("Timeout value out of range"));
    }
    sock.state.timeout.set(seconds);
    sock.state.mode.set(if seconds == 0.0 {
        Mode::Never
    } else {
        Mode::Limited
    });
    Ok(())
}

fn value_error(text: &str) -> Raised {
    // SAFETY: a static of the interpreter.
    raise_text(unsafe { ffi::PyExc_ValueError }, text)
}

/// Whether it is `socket._GLOBAL_DEFAULT_TIMEOUT`.
fn is_default_marker(py: Python<'_>, value: *mut ffi::PyObject) -> bool {
    // SAFETY: a live object.
    if unsafe { ffi::PyFloat_CheckExact(value) } != 0 {
        return false;
    }
    // SAFETY: a live object.
    if unsafe { ffi::PyLong_CheckExact(value) } != 0 {
        return false;
    }
    py.import("socket")
        .and_then(|module| module.getattr("_GLOBAL_DEFAULT_TIMEOUT"))
        .is_ok_and(|marker| marker.as_ptr() == value)
}

/// Sets the timeout that new sockets have (`socket.setdefaulttimeout`).
pub fn set_default(py: Python<'_>, sock: Sock<'_>) -> Result<()> {
    // SAFETY: a function object that lives until the process ends.
    let value = unsafe { ffi::PyObject_CallNoArgs(class().default_timeout) };
    // SAFETY: a new reference or null.
    let value = unsafe { Object::from_owned(value) }.ok_or(Raised)?;
    set(py, sock, value.as_ptr())
}

/// `gettimeout()`.
pub fn gettimeout(_py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    args.parse("gettimeout", [], 0)?;
    get(sock)
}

fn get(sock: Sock<'_>) -> Result<Object> {
    let seconds = match sock.state.mode.get() {
        Mode::Forever => return Ok(Object::none()),
        Mode::Limited => sock.state.timeout.get(),
        Mode::Never => 0.0,
    };
    // SAFETY: GIL held.
    let number = unsafe { ffi::PyFloat_FromDouble(seconds) };
    // SAFETY: a new reference or null.
    unsafe { Object::from_owned(number) }.ok_or(Raised)
}

/// `setblocking(flag)`.
pub fn setblocking(_py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let [flag] = args.parse("setblocking", ["flag"], 1)?;
    let mode = if truth(flag)? {
        Mode::Forever
    } else {
        Mode::Never
    };
    sock.state.timeout.set(0.0);
    sock.state.mode.set(mode);
    Ok(Object::none())
}

/// `getblocking()`.
pub fn getblocking(_py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    args.parse("getblocking", [], 0)?;
    Ok(boolean(!sock.never_waits()))
}

fn truth(value: *mut ffi::PyObject) -> Result<bool> {
    // SAFETY: a live object.
    match unsafe { ffi::PyObject_IsTrue(value) } {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Raised),
    }
}

/// True or False.
pub fn boolean(value: bool) -> Object {
    // SAFETY: GIL held; returns a new reference to a singleton.
    let object = unsafe { ffi::PyBool_FromLong(value.into()) };
    // SAFETY: never null.
    unsafe { Object::from_owned(object) }.expect("the booleans exist")
}

/// Getter of `timeout` and `_timeout`.
pub unsafe extern "C" fn get_timeout(
    this: *mut ffi::PyObject,
    _: *mut c_void,
) -> *mut ffi::PyObject {
    // SAFETY: CPython's own call of a getter of this class.
    let sock = unsafe { Sock::from_ptr(this) };
    get(sock).map_or(ptr::null_mut(), Object::into_ptr)
}

/// Setter of `_timeout`.
pub unsafe extern "C" fn set_timeout(
    this: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    _: *mut c_void,
) -> c_int {
    // SAFETY: CPython's own call of a setter of this class.
    let sock = unsafe { Sock::from_ptr(this) };
    // SAFETY: setters run with the GIL held.
    let py = unsafe { Python::assume_attached() };
    if value.is_null() {
        type_error("cannot delete _timeout");
        return -1;
    }
    set(py, sock, value).map_or(-1, |()| 0)
}

/// Getter of `act_non_blocking`.
pub unsafe extern "C" fn get_act_non_blocking(
    this: *mut ffi::PyObject,
    _: *mut c_void,
) -> *mut ffi::PyObject {
    // SAFETY: CPython's own call of a getter of this class.
    let sock = unsafe { Sock::from_ptr(this) };
    boolean(sock.never_waits()).into_ptr()
}

/// Setter of `act_non_blocking`: False brings back the timeout that was set last.
pub unsafe extern "C" fn set_act_non_blocking(
    this: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    _: *mut c_void,
) -> c_int {
    // SAFETY: CPython's own call of a setter of this class.
    let sock = unsafe { Sock::from_ptr(this) };
    if value.is_null() {
        type_error("cannot delete act_non_blocking");
        return -1;
    }
    let Ok(on) = truth(value) else { return -1 };
    let mode = match sock.state.mode.get() {
        _ if on => Mode::Never,
        Mode::Never if sock.state.timeout.get() > 0.0 => Mode::Limited,
        Mode::Never => Mode::Forever,
        other => other,
    };
    sock.state.mode.set(mode);
    0
}
