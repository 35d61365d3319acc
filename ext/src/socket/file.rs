//! sendfile: a file's bytes from the kernel's cache to the socket, without a copy in this process.
//!
//! The GIL is released during each system call, which may read from a disk, and held when the green thread parks.
#![allow(unsafe_code)] // system calls

use std::ffi::c_int;

use eventlet::reactor::Interest;
use pyo3::exceptions::{PyAttributeError, PyOSError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::call::{self, Args, check_signals, errno, os_error, raise_text};
use super::state::Sock;
use super::wait::{Limit, fileno, not_ready, wait};
use crate::error::{Pending, Raised, Result};
use crate::gil::Gil;
use crate::object::Object;

/// Bytes asked for in one call when the caller wants the whole file: what one call can be asked for.
const MOST: usize = 1 << 30;

/// `sendfile(file, offset=0, count=None)` -> bytes sent. The file is left where sending ended.
pub fn sendfile(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let [file, offset, count] = args.parse("sendfile", ["file", "offset", "count"], 1)?;
    let raise = |error: PyErr| Raised::from_err(py, error);
    // SAFETY: live objects, borrowed from our caller; null where not given.
    let given = |value| unsafe { Bound::from_borrowed_ptr_or_opt(py, value) };
    let file = given(file).expect("required");
    let offset = given(offset).map_or_else(|| Ok(call::new_int(0)?.into_bound(py)), Ok)?;
    let count = given(count).unwrap_or_else(|| Object::none().into_bound(py));
    let this = {
        // SAFETY: the object of this call.
        unsafe { Bound::from_borrowed_ptr(py, sock.object) }
    };
    this.call_method1("_check_sendfile_params", (&file, &offset, &count))
        .map_err(raise)?;
    if sock.never_waits() {
        // SAFETY: a static of the interpreter.
        let error = unsafe { ffi::PyExc_ValueError };
        return Err(raise_text(error, "non-blocking sockets are not supported"));
    }
    let by_send = || {
        this.call_method1("_sendfile_use_send", (&file, &offset, &count))
            .map(Object::from)
            .map_err(raise)
    };
    let Some(source) = source(py, &file)? else {
        return by_send();
    };
    let start = offset.extract::<i64>().map_err(raise)?;
    let Ok(start) = u64::try_from(start) else {
        return Err(os_error(libc::EINVAL));
    };
    let limit = count.extract::<Option<u64>>().map_err(raise)?;
    match transfer(py, sock, source, start, limit)? {
        Transfer::Sent(sent) => {
            rewind(py, &file, start + sent, sent)?;
            call::new_int(sent as usize)
        }
        Transfer::Failed(sent) => {
            let pending = Pending::take();
            rewind(py, &file, start + sent, sent)?;
            Err(pending.restore())
        }
        Transfer::Impossible => by_send(),
    }
}

/// The descriptor of `file`; `None` for an object without one. A closed file has one no more: ValueError.
fn source(py: Python<'_>, file: &Bound<'_, PyAny>) -> Result<Option<c_int>> {
    let error = match fileno(py, file.as_ptr()) {
        Ok(fd) => return Ok(Some(fd)),
        Err(raised) => raised.into_err(py),
    };
    // io.UnsupportedOperation is both.
    let unsupported =
        error.is_instance_of::<PyOSError>(py) && error.is_instance_of::<PyValueError>(py);
    if unsupported || error.is_instance_of::<PyAttributeError>(py) {
        return Ok(None);
    }
    Err(Raised::from_err(py, error))
}

enum Transfer {
    Sent(u64),
    /// An exception is set; so much was sent before.
    Failed(u64),
    /// The kernel cannot do it for such a file.
    Impossible,
}

fn transfer(
    py: Python<'_>,
    sock: Sock<'_>,
    source: c_int,
    start: u64,
    count: Option<u64>,
) -> Result<Transfer> {
    let mut sent = 0_u64;
    let mut limit = Limit::new();
    loop {
        let left = count.map_or(MOST as u64, |count| count - sent);
        if left == 0 {
            return Ok(Transfer::Sent(sent));
        }
        let fd = match sock_fd(py, sock) {
            Ok(fd) => fd,
            Err(Raised) => return Ok(Transfer::Failed(sent)),
        };
        let done = send_part(py, fd, source, start + sent, left.min(MOST as u64) as usize);
        match done {
            Ok(0) => return Ok(Transfer::Sent(sent)),
            Ok(done) => {
                sent += done as u64;
                limit = Limit::new();
            }
            Err(libc::EINTR) => {
                if check_signals().is_err() {
                    return Ok(Transfer::Failed(sent));
                }
            }
            Err(libc::EAGAIN) => {
                not_ready(py, sock, Interest::Write);
                if wait(py, sock, Interest::Write, &mut limit).is_err() {
                    return Ok(Transfer::Failed(sent));
                }
            }
            Err(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP) if sent == 0 => {
                return Ok(Transfer::Impossible);
            }
            Err(code) => {
                let Raised = os_error(code);
                return Ok(Transfer::Failed(sent));
            }
        }
    }
}

/// The descriptor to send on; that of the wrapped object if there is one.
fn sock_fd(py: Python<'_>, sock: Sock<'_>) -> Result<c_int> {
    if sock.state.wraps.get() {
        fileno(py, sock.wrapped(py)?.as_ptr())
    } else {
        sock.fd()
    }
}

/// One sendfile(2), without the GIL.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn send_part(
    py: Python<'_>,
    fd: c_int,
    source: c_int,
    from: u64,
    len: usize,
) -> std::result::Result<usize, c_int> {
    Gil::release(py, |_| {
        let mut from = from as libc::off_t;
        // SAFETY: a place for the offset; descriptors are only numbers.
        let sent = unsafe { libc::sendfile(fd, source, &mut from, len) };
        usize::try_from(sent).map_err(|_| errno())
    })
}

/// Other systems have other functions of that name: the bytes are read and sent.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn send_part(
    _py: Python<'_>,
    _fd: c_int,
    _source: c_int,
    _from: u64,
    _len: usize,
) -> std::result::Result<usize, c_int> {
    Err(libc::ENOSYS)
}

/// Puts the file's position behind what was sent, as the standard method does.
fn rewind(py: Python<'_>, file: &Bound<'_, PyAny>, position: u64, sent: u64) -> Result<()> {
    if sent == 0 || file.getattr("seek").is_err() {
        return Ok(());
    }
    file.call_method1("seek", (position,))
        .map(drop)
        .map_err(|error| Raised::from_err(py, error))
}
