//! connect and connect_ex.
//!
//! Names are looked up first, by the method `_resolve`, which does not block other green threads. Numeric addresses
//! and paths are parsed here; all other forms by the base class's `connect_ex`, which returns an errno.
#![allow(unsafe_code)] // system calls

use std::ffi::c_int;
use std::mem;

use eventlet::reactor::Interest;
use pyo3::ffi;
use pyo3::prelude::*;

use super::address::Address;
use super::call::{Args, call_one, int, os_error};
use super::datagram::audit;
use super::plain::with_original;
use super::state::{Sock, attribute};
use super::wait::{Limit, fileno, wait};
use super::{address, class};
use crate::error::{Raised, Result};
use crate::hub;
use crate::object::Object;

/// Seconds between two attempts at a Unix socket whose backlog is full: the kernel offers nothing to wait for.
const BACKLOG_PAUSE: f64 = 0.001;

/// `connect(address)`.
pub fn connect(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let [address] = args.parse("connect", ["address"], 1)?;
    match establish(py, sock, address, true)? {
        0 => Ok(Object::none()),
        code => Err(os_error(code)),
    }
}

/// `connect_ex(address)`: the errno instead of an exception; EAGAIN when the timeout is over.
pub fn connect_ex(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let [address] = args.parse("connect_ex", ["address"], 1)?;
    let result = establish(py, sock, address, false);
    let code = match result {
        Ok(code) => code,
        Err(raised) => errno_of(py, raised)?,
    };
    super::call::new_int(code as usize)
}

/// The errno that `connect_ex` returns for an exception of the wait; what is not about the socket goes on.
fn errno_of(py: Python<'_>, raised: Raised) -> Result<c_int> {
    let error = raised.into_err(py);
    let value = error.value(py);
    if error.is_instance_of::<pyo3::exceptions::PyTimeoutError>(py)
        && value.getattr("errno").is_ok_and(|e| e.is_none())
    {
        return Ok(libc::EAGAIN);
    }
    let is_lookup = py
        .import("socket")
        .and_then(|module| module.getattr("gaierror"))
        .is_ok_and(|class| error.matches(py, class).unwrap_or(false));
    match value
        .getattr("errno")
        .and_then(|errno| errno.extract::<c_int>())
    {
        Ok(errno) if !is_lookup => Ok(errno),
        _ => Err(Raised::from_err(py, error)),
    }
}

/// 0, or the errno of the failure. May switch.
///
/// `raising`: for `connect`, whose complaints about an address name it.
fn establish(
    py: Python<'_>,
    sock: Sock<'_>,
    address: *mut ffi::PyObject,
    raising: bool,
) -> Result<c_int> {
    let resolved = numeric(py, sock, address)?;
    let address = resolved.as_ref().map_or(address, Object::as_ptr);
    let mut limit = Limit::new();
    loop {
        let code = attempt(py, sock, address, raising)?;
        if code == 0 || (code == libc::EISCONN && !sock.never_waits()) {
            return Ok(0);
        }
        if sock.never_waits() {
            return Ok(code);
        }
        match code {
            libc::EAGAIN if sock.state.family.get() == libc::AF_UNIX => {
                pause(py, sock, &mut limit)?
            }
            libc::EINPROGRESS | libc::EALREADY | libc::EAGAIN | libc::EINTR => {
                if let Err(raised) = wait(py, sock, Interest::Write, &mut limit) {
                    return Err(obsolete(py, raised));
                }
                let code = pending_error(py, sock)?;
                if code != 0 && code != libc::EISCONN {
                    return Ok(code);
                }
            }
            code => return Ok(code),
        }
    }
}

/// The address with its host looked up, if that is a name. May switch.
pub fn numeric(
    py: Python<'_>,
    sock: Sock<'_>,
    address: *mut ffi::PyObject,
) -> Result<Option<Object>> {
    let looks_up = !sock.never_waits()
        && !sock.state.wraps.get()
        && address::needs_lookup(py, sock.state.family.get(), address);
    looks_up.then(|| resolve(py, sock, address)).transpose()
}

/// connect(2) on a descriptor that does not block meanwhile: 0 or the errno.
fn connect_native(sock: Sock<'_>, address: &Address) -> Result<c_int> {
    let fd = sock.fd()?;
    // A descriptor that is not ours may be blocking, which is a property of the connection, not of the call: it is
    // so again before anybody else runs.
    let blocking = if sock.state.borrowed.get() {
        // SAFETY: no pointers.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        (flags >= 0 && flags & libc::O_NONBLOCK == 0).then_some(flags)
    } else {
        None
    };
    if let Some(flags) = blocking {
        // SAFETY: no pointers.
        unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) };
    }
    let (name, len) = address.name();
    // SAFETY: a complete address.
    let failed = unsafe { libc::connect(fd, name, len) } < 0;
    let code = if failed { super::call::errno() } else { 0 };
    if let Some(flags) = blocking {
        // SAFETY: no pointers.
        unsafe { libc::fcntl(fd, libc::F_SETFL, flags) };
    }
    Ok(code)
}

/// One attempt that does not wait.
fn attempt(
    py: Python<'_>,
    sock: Sock<'_>,
    address: *mut ffi::PyObject,
    raising: bool,
) -> Result<c_int> {
    if !sock.state.wraps.get()
        && let Some(parsed) = Address::parse(sock.state.family.get(), address)
    {
        audit(sock, c"socket.connect", address)?;
        return connect_native(sock, &parsed);
    }
    let result = if sock.state.wraps.get() {
        let wrapped = sock.wrapped(py)?;
        let method = attribute(py, wrapped.as_ptr(), "connect_ex")?;
        call_one(method.as_ptr(), address)?
    } else {
        let values = [sock.object, address];
        let methods = &class().methods;
        let method = if raising {
            methods.connect
        } else {
            methods.connect_ex
        };
        let result = with_original(|| {
            // SAFETY: a method of the base class and its two arguments.
            unsafe { ffi::PyObject_Vectorcall(method, values.as_ptr(), 2, std::ptr::null_mut()) }
        });
        // SAFETY: a new reference or null.
        let result = unsafe { Object::from_owned(result) }.ok_or(Raised);
        if raising {
            return result.map_or_else(|raised| errno_of(py, raised), |_| Ok(0));
        }
        result?
    };
    int(result.as_ptr())
}

/// What became of the connection (SO_ERROR).
fn pending_error(py: Python<'_>, sock: Sock<'_>) -> Result<c_int> {
    let fd = if sock.state.wraps.get() {
        fileno(py, sock.wrapped(py)?.as_ptr())?
    } else {
        sock.fd()?
    };
    let mut code: c_int = 0;
    let mut len = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: room for one int.
    let failed = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut code).cast(),
            &mut len,
        )
    };
    if failed < 0 {
        Ok(super::call::errno())
    } else {
        Ok(code)
    }
}

/// `self._resolve(address)`: the same address with a numeric host.
fn resolve(py: Python<'_>, sock: Sock<'_>, address: *mut ffi::PyObject) -> Result<Object> {
    // SAFETY: a live object, borrowed from our caller.
    let sock = unsafe { Bound::from_borrowed_ptr(py, sock.object) };
    // SAFETY: as above.
    let address = unsafe { Bound::from_borrowed_ptr(py, address) };
    let resolved = match sock.getattr("_resolve") {
        Ok(method) => method.call1((address,)),
        // Not one of our class.
        Err(_) => py
            .import("eventlet.greenio.base")
            .and_then(|module| module.getattr("_resolve"))
            .and_then(|function| function.call1((sock, address))),
    };
    resolved
        .map(Object::from)
        .map_err(|error| Raised::from_err(py, error))
}

/// Sleeps a little, within the limit.
fn pause(py: Python<'_>, sock: Sock<'_>, limit: &mut Limit) -> Result<()> {
    let until = hub::deadline_in(py, BACKLOG_PAUSE).map_err(|error| Raised::from_err(py, error))?;
    if limit.is_over(py, sock)? {
        return Err(super::wait::timed_out());
    }
    hub::park(py, hub::Reason::Sleep, Some(until)).map(drop)
}

/// A descriptor that was closed or recycled under a connect reads EBADFD, as upstream has it.
fn obsolete(py: Python<'_>, raised: Raised) -> Raised {
    let error = raised.into_err(py);
    if hub::is_closed_error(py, &error) {
        return os_error(libc::EBADFD);
    }
    Raised::from_err(py, error)
}
