//! `_ssl._SSLSocket`: TLS over sockets that were made before they could be green.
//!
//! The original methods are called with the socket below in non-blocking mode; what OpenSSL then wants, to read or
//! to write, is waited for. TLS sockets of `eventlet.green` have timeout 0 below and pass through, as do objects over
//! memory, which have no socket.

use std::sync::OnceLock;

use eventlet::reactor::Interest;
use pyo3::ffi;
use pyo3::prelude::*;

use super::Native;
use super::arguments::Call;
use super::ready::Patience;
use super::socket::Socket;
use crate::error::{Pending, Raised, Result};
use crate::object::Object;

/// `_ssl.SSLWantReadError` and `SSLWantWriteError`, and the class of sockets.
struct Known {
    want_read: Py<PyAny>,
    want_write: Py<PyAny>,
    socket: Py<PyAny>,
}

static KNOWN: OnceLock<Known> = OnceLock::new();

/// Learns what the methods need; `module` is `_ssl`.
pub fn learn(module: &Bound<'_, PyAny>) -> PyResult<()> {
    let socket = module.py().import("_socket")?.getattr("socket")?;
    let known = Known {
        want_read: module.getattr("SSLWantReadError")?.unbind(),
        want_write: module.getattr("SSLWantWriteError")?.unbind(),
        socket: socket.unbind(),
    };
    let _ = KNOWN.set(known); // the first stays
    Ok(())
}

/// The socket object under a TLS object, kept alive; `None` if there is none.
fn socket_of(py: Python<'_>, call: &Call<'_>) -> Option<Object> {
    // SAFETY: a live object.
    let this = unsafe { Bound::from_borrowed_ptr(py, call.this) };
    let owner = this.getattr("owner").ok()?;
    let is_socket = owner
        .is_instance(KNOWN.get()?.socket.bind(py))
        .unwrap_or(false);
    is_socket.then(|| Object::from_bound(&owner))
}

/// What the exception that is set asks for; it is dropped then.
fn wanted(py: Python<'_>) -> Option<Interest> {
    let known = KNOWN.get()?;
    let is_set = |class: &Py<PyAny>| {
        // SAFETY: a live class, an exception is set.
        unsafe { ffi::PyErr_ExceptionMatches(class.bind(py).as_ptr()) != 0 }
    };
    let interest = if is_set(&known.want_read) {
        Interest::Read
    } else if is_set(&known.want_write) {
        Interest::Write
    } else {
        return None;
    };
    drop(Pending::take());
    Some(interest)
}

fn do_handshake(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    until_done(py, call, |_| "The handshake operation timed out")
}

fn read(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    until_done(py, call, |_| "The read operation timed out")
}

fn write(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    until_done(py, call, |_| "The write operation timed out")
}

fn shutdown(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    until_done(py, call, |interest| match interest {
        Interest::Read => "The read operation timed out",
        Interest::Write => "The write operation timed out",
    })
}

/// Tries and waits; `late` is the text of the TimeoutError.
fn until_done(
    py: Python<'_>,
    call: &Call<'_>,
    late: fn(Interest) -> &'static str,
) -> Result<Object> {
    let Some(object) = socket_of(py, call) else {
        return call.forward();
    };
    let Some(socket) = Socket::known(object.as_ptr()) else {
        return call.forward();
    };
    let timeout = socket.timeout(py);
    if timeout == 0 || socket.fd() < 0 {
        return call.forward();
    }
    let mut patience = Patience::new(timeout);
    loop {
        let result = socket.without_waiting(py, || call.forward());
        if result.is_ok() {
            return result;
        }
        let Some(interest) = wanted(py) else {
            return result;
        };
        if !patience.wait_or_over(py, socket.fd(), interest)? {
            let error = pyo3::exceptions::PyTimeoutError::new_err(late(interest));
            return Err(Raised::from_err(py, error));
        }
    }
}

/// What acts in the place of each method of `_ssl._SSLSocket`, where a hub runs.
pub const METHODS: [(&str, Native, bool); 4] = [
    ("do_handshake", do_handshake, false),
    ("read", read, false),
    ("write", write, false),
    ("shutdown", shutdown, false),
];
