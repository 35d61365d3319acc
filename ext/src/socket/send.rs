//! send and sendall on a descriptor of our own.
#![allow(unsafe_code)] // system calls on buffers

use std::ffi::{c_int, c_void};

use eventlet::reactor::Interest;
use pyo3::ffi;
use pyo3::prelude::*;

use super::call::{self, Args, check_signals, errno, os_error};
use super::receive::{AT_ONCE, View};
use super::state::{Mode, Sock, attribute};
use super::wait::{Limit, not_ready, wait};
use super::wrapped::retry;
use crate::error::{Raised, Result};
use crate::object::Object;

/// Added to the flags of every call. NOSIGNAL: EPIPE is an error, not a signal (the interpreter ignores SIGPIPE, a
/// program may have changed that).
pub const SEND: c_int = AT_ONCE | libc::MSG_NOSIGNAL;

/// Sends what the kernel takes of `len` bytes at `place`, and at least one if there are any. May switch.
#[inline]
fn send_some(
    py: Python<'_>,
    sock: Sock<'_>,
    place: *const c_void,
    len: usize,
    flags: c_int,
) -> Result<usize> {
    transmit(py, sock, flags, |fd| {
        // SAFETY: the caller's exported buffer has that many bytes.
        unsafe { libc::send(fd, place, len, flags | SEND) }
    })
}

/// Tries and parks until `attempt` has sent something; only tries if `flags`, the caller's, say so. May switch.
#[inline(always)]
pub fn transmit(
    py: Python<'_>,
    sock: Sock<'_>,
    flags: c_int,
    mut attempt: impl FnMut(c_int) -> isize,
) -> Result<usize> {
    let mut limit = Limit::new();
    loop {
        let sent = attempt(sock.fd()?);
        if sent >= 0 {
            return Ok(sent as usize);
        }
        match errno() {
            libc::EINTR => check_signals()?,
            libc::EAGAIN if sock.state.mode.get() != Mode::Never && flags & AT_ONCE == 0 => {
                not_ready(py, sock, Interest::Write);
                wait(py, sock, Interest::Write, &mut limit)?;
            }
            code => return Err(os_error(code)),
        }
    }
}

/// `send(data, flags=0)`.
pub fn send(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    if sock.state.wraps.get() {
        return retry(
            py,
            sock,
            args,
            "send",
            |_| std::ptr::null_mut(),
            Interest::Write,
        );
    }
    let [data, flags] = args.parse("send", ["data", "flags"], 1)?;
    let flags = call::flags(flags)?;
    let view = View::new(data, false)?;
    let sent = send_some(py, sock, view.place(), view.len(), flags)?;
    call::new_int(sent)
}

/// `sendall(data, flags=0)`: the timeout counts anew whenever something was sent, as upstream's does.
pub fn sendall(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let [data, flags] = args.parse("sendall", ["data", "flags"], 1)?;
    let bits = call::flags(flags)?;
    if sock.state.wraps.get() {
        return sendall_wrapped(py, sock, data, bits);
    }
    let view = View::new(data, false)?;
    let mut done = 0;
    while done < view.len() {
        // SAFETY: `done` is within the buffer.
        let rest = unsafe { view.place().cast::<u8>().add(done) };
        done += send_some(py, sock, rest.cast(), view.len() - done, bits)?;
    }
    Ok(Object::none())
}

/// Through the `send` of the object itself, which waits.
fn sendall_wrapped(
    py: Python<'_>,
    sock: Sock<'_>,
    data: *mut ffi::PyObject,
    flags: c_int,
) -> Result<Object> {
    let error = |error| Raised::from_err(py, error);
    // SAFETY: a live object.
    let view = unsafe { ffi::PyMemoryView_FromObject(data) };
    // SAFETY: a new reference or null.
    let view = unsafe { Object::from_owned(view) }
        .ok_or(Raised)?
        .into_bound(py);
    let view = view.call_method1("cast", ("B",)).map_err(error)?;
    let send = attribute(py, sock.object, "send")?.into_bound(py);
    let mut done = 0;
    let total = view.len().map_err(error)?;
    while done < total {
        let slice = pyo3::types::PySlice::new(py, done as isize, total as isize, 1);
        let rest = view.get_item(slice).map_err(error)?;
        done += send
            .call1((rest, flags))
            .and_then(|sent| sent.extract::<usize>())
            .map_err(error)?;
    }
    Ok(Object::none())
}
