//! The general form of a call that may have to wait: a method that raises BlockingIOError is called again when
//! the descriptor is ready. Used for the rarer methods of the base class, and for every method of a socket that
//! wraps another object.

use std::ffi::c_int;

use eventlet::reactor::Interest;
use pyo3::ffi;
use pyo3::prelude::*;

use super::call::{Args, would_block};
use super::plain::with_original;
use super::state::{Sock, attribute};
use super::wait::{Limit, wait};
use super::{Methods, class};
use crate::error::{Pending, Raised, Result};
use crate::object::Object;

/// Errors that mean, to a reader, that the peer is gone: they read as the end of the stream.
pub const PEER_GONE: [c_int; 3] = [libc::ECONNRESET, libc::ESHUTDOWN, libc::EPIPE];

/// Calls the method `name` of the wrapped object, or `own` of the base class, until it need not wait. May switch.
pub fn retry(
    py: Python<'_>,
    sock: Sock<'_>,
    args: Args<'_>,
    name: &str,
    own: impl Fn(&Methods) -> *mut ffi::PyObject,
    interest: Interest,
) -> Result<Object> {
    let mut limit = Limit::new();
    loop {
        let result = once(py, sock, args, name, &own);
        if result.is_ok() || sock.never_waits() || !would_block() {
            return result;
        }
        drop(Pending::take());
        super::wait::not_ready(py, sock, interest);
        wait(py, sock, interest, &mut limit)?;
    }
}

/// Calls it once.
pub fn once(
    py: Python<'_>,
    sock: Sock<'_>,
    args: Args<'_>,
    name: &str,
    own: impl Fn(&Methods) -> *mut ffi::PyObject,
) -> Result<Object> {
    if sock.state.wraps.get() {
        let wrapped = sock.wrapped(py)?;
        let method = attribute(py, wrapped.as_ptr(), name)?;
        args.forward(method.as_ptr(), None)
    } else {
        with_original(|| args.forward(own(&class().methods), Some(sock.object)))
    }
}

/// As `retry` for a method that reads: waits first when asked for nothing, and takes a vanished peer for the
/// end of the stream, as upstream does.
pub fn read(
    py: Python<'_>,
    sock: Sock<'_>,
    args: Args<'_>,
    name: &str,
    own: impl Fn(&Methods) -> *mut ffi::PyObject,
    empty: impl FnOnce() -> Result<Object>,
) -> Result<Object> {
    if !sock.never_waits() && args.first().is_some_and(asks_for_nothing) {
        wait(py, sock, Interest::Read, &mut Limit::new())?;
    }
    let result = retry(py, sock, args, name, own, Interest::Read);
    if result.is_err() && !sock.never_waits() && peer_gone(py) {
        return empty();
    }
    result
}

/// Whether a size is 0 or a buffer is empty.
#[allow(unsafe_code)]
fn asks_for_nothing(value: *mut ffi::PyObject) -> bool {
    // SAFETY: a live object.
    match unsafe { ffi::PyObject_IsTrue(value) } {
        0 => true,
        1 => false,
        _ => {
            drop(Pending::take()); // the method itself will complain
            false
        }
    }
}

/// Whether the exception that is set is an OSError that says so; it is dropped then.
fn peer_gone(py: Python<'_>) -> bool {
    let error = Raised.into_err(py);
    let errno = error
        .value(py)
        .getattr("errno")
        .and_then(|errno| errno.extract::<c_int>());
    let gone = error.is_instance_of::<pyo3::exceptions::PyOSError>(py)
        && errno.is_ok_and(|errno| PEER_GONE.contains(&errno));
    if !gone {
        error.restore(py);
    }
    gone
}
