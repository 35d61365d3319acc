//! accept, and the making of a socket object around a new descriptor.
#![allow(unsafe_code)] // system calls, instances made without their constructor

use std::ffi::c_int;
use std::ptr;

use eventlet::reactor::Interest;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::address::Address;
use super::call::{Args, call_one, check_signals, errno, os_error};
use super::class;
use super::lifetime::{initialise, open};
use super::state::{Mode, Sock, attribute};
use super::wait::{Limit, not_ready, wait};
use super::wrapped::retry;
use crate::error::{Raised, Result};
use crate::object::Object;

/// `accept()` -> (socket, address).
pub fn accept(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    args.parse("accept", [], 0)?;
    if sock.state.wraps.get() {
        return accept_wrapped(py, sock, args);
    }
    let (fd, address) = accept_any(py, sock, args)?;
    let conn = socket_around(py, sock, fd)?;
    pair(py, conn, address)
}

/// `_accept()` -> (descriptor, address): what `accept` of subclasses with objects of their own begins with.
pub fn accept_descriptor(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    args.parse("_accept", [], 0)?;
    let (fd, address) = accept_any(py, sock, args)?;
    pair(py, super::call::new_int(fd as usize)?, address)
}

fn accept_any(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<(c_int, Object)> {
    if cfg!(target_os = "linux") && Address::knows(sock.state.family.get()) {
        accept_native(py, sock)
    } else {
        accept_general(py, sock, args)
    }
}

/// With accept4: non-blocking and not inherited at once.
#[cfg(target_os = "linux")]
fn accept_native(py: Python<'_>, sock: Sock<'_>) -> Result<(c_int, Object)> {
    let mut limit = Limit::new();
    let borrowed = sock.state.borrowed.get();
    loop {
        let listener = sock.fd()?;
        let mut address = Address::new();
        let (name, len) = address.place();
        let flags = if borrowed {
            libc::SOCK_CLOEXEC // as the base class does it
        } else {
            libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC
        };
        if borrowed && !has_client(listener) {
            wait(py, sock, Interest::Read, &mut limit)?;
            continue;
        }
        // SAFETY: room for any address.
        let fd = unsafe { libc::accept4(listener, name, len, flags) };
        if fd >= 0 {
            return match address.to_python(py) {
                Ok(address) => Ok((fd, address)),
                Err(raised) => Err(discard(fd, raised)),
            };
        }
        match errno() {
            libc::EINTR => check_signals()?,
            libc::EAGAIN if sock.state.mode.get() != Mode::Never => {
                not_ready(py, sock, Interest::Read);
                wait(py, sock, Interest::Read, &mut limit)?;
            }
            code => return Err(os_error(code)),
        }
    }
}

/// Whether somebody has connected to a listener that may be blocking.
#[cfg(target_os = "linux")]
fn has_client(listener: c_int) -> bool {
    let mut asked = libc::pollfd {
        fd: listener,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one live entry.
    unsafe { libc::poll(&mut asked, 1, 0) != 0 }
}

#[cfg(not(target_os = "linux"))]
fn accept_native(py: Python<'_>, sock: Sock<'_>) -> Result<(c_int, Object)> {
    let _ = (py, sock); // never called here: `accept` asks for Linux
    Err(os_error(libc::ENOSYS))
}

/// Closes a descriptor that no object owns yet.
fn discard(fd: c_int, raised: Raised) -> Raised {
    // SAFETY: just made, known to nobody else.
    unsafe { libc::close(fd) };
    raised
}

/// With the base class's `_accept`, for families and systems without a native one.
fn accept_general(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<(c_int, Object)> {
    let result = retry(
        py,
        sock,
        args,
        "_accept",
        |methods| methods.accept,
        Interest::Read,
    )?;
    let error = |error| Raised::from_err(py, error);
    let (fd, address) = result
        .bind(py)
        .extract::<(c_int, Bound<'_, PyAny>)>()
        .map_err(error)?;
    Ok((fd, address.into()))
}

/// What the wrapped object accepts, greened: a plain socket that only we know gives its descriptor away.
fn accept_wrapped(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let result = retry(
        py,
        sock,
        args,
        "accept",
        |_| ptr::null_mut(),
        Interest::Read,
    )?;
    let error = |error| Raised::from_err(py, error);
    let (client, address) = result
        .bind(py)
        .extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()
        .map_err(error)?;
    let class = class();
    // The class that the listener had before it wrapped an object.
    let makes = attribute(py, sock.object, "_accepts")?;
    let makes = makes
        .bind(py)
        .cast::<PyType>()
        .map_err(|failure| error(failure.into()))?
        .as_type_ptr();
    // SAFETY: a live object and a type.
    let green = unsafe { ffi::PyObject_TypeCheck(client.as_ptr(), makes) } != 0;
    if green {
        return Ok(result);
    }
    // SAFETY: a live type.
    let plain = unsafe { (*class.class).tp_base };
    let conn = if client.get_type().as_type_ptr() == plain && has_our_constructor(makes) {
        let family = attribute(py, client.as_ptr(), "family")?
            .bind(py)
            .extract::<c_int>()
            .map_err(error)?;
        let kind = attribute(py, client.as_ptr(), "type")?
            .bind(py)
            .extract::<c_int>()
            .map_err(error)?;
        let proto = attribute(py, client.as_ptr(), "proto")?
            .bind(py)
            .extract::<c_int>()
            .map_err(error)?;
        client
            .call_method1("setblocking", (false,))
            .map_err(error)?;
        let fd = client
            .call_method0("detach")
            .and_then(|fd| fd.extract::<c_int>())
            .map_err(error)?;
        make(py, makes, fd, family, kind, proto)?
    } else {
        call_one(makes.cast(), client.as_ptr())?
    };
    pair(py, conn, address.into())
}

fn pair(py: Python<'_>, conn: Object, address: Object) -> Result<Object> {
    let tuple = (conn.into_bound(py), address.into_bound(py)).into_pyobject(py);
    tuple
        .map(|tuple| tuple.into_any().into())
        .map_err(|error| Raised::from_err(py, error))
}

/// Whether instances of `class` may be made without running Python code: nobody has overridden `__init__`.
fn has_our_constructor(class: *mut ffi::PyTypeObject) -> bool {
    // SAFETY: a live type.
    let init = unsafe { (*class).tp_init };
    init.is_some_and(|init| ptr::fn_addr_eq(init, initialise as ffi::initproc))
}

/// A socket of the listener's class around an accepted descriptor.
fn socket_around(py: Python<'_>, sock: Sock<'_>, fd: c_int) -> Result<Object> {
    let (family, kind, proto) = (
        sock.state.family.get(),
        sock.state.kind.get(),
        sock.state.proto.get(),
    );
    if has_our_constructor(sock.class()) {
        return make(py, sock.class(), fd, family, kind, proto);
    }
    // A subclass with a constructor of its own is given a socket object, as upstream does.
    // SAFETY: a live type.
    let plain = unsafe { (*class().class).tp_base };
    // SAFETY: formats and arguments agree.
    let args = unsafe { ffi::Py_BuildValue(c"(iiii)".as_ptr(), family, kind, proto, fd) };
    // SAFETY: a new reference or null.
    let Some(args) = (unsafe { Object::from_owned(args) }) else {
        return Err(discard(fd, Raised));
    };
    // SAFETY: live objects.
    let client = unsafe { ffi::PyObject_Call(plain.cast(), args.as_ptr(), ptr::null_mut()) };
    // SAFETY: a new reference or null.
    let Some(client) = (unsafe { Object::from_owned(client) }) else {
        return Err(discard(fd, Raised));
    };
    call_one(sock.class().cast(), client.as_ptr())
}

/// A socket of `class` that owns the non-blocking descriptor `fd`; closes it on failure.
fn make(
    py: Python<'_>,
    class: *mut ffi::PyTypeObject,
    fd: c_int,
    family: c_int,
    kind: c_int,
    proto: c_int,
) -> Result<Object> {
    let empty = PyTuple::empty(py);
    // SAFETY: a live type; every class derived from ours has a constructor.
    let new = unsafe { (*class).tp_new }.expect("socket classes can be instantiated");
    // SAFETY: the constructor's own signature.
    let object = unsafe { new(class, empty.as_ptr(), ptr::null_mut()) };
    // SAFETY: a new reference or null.
    let Some(object) = (unsafe { Object::from_owned(object) }) else {
        return Err(discard(fd, Raised));
    };
    // SAFETY: an instance of a class derived from ours.
    let sock = unsafe { Sock::from_ptr(object.as_ptr()) };
    match open(py, sock, family, kind, proto, Some(fd)) {
        Ok(()) => Ok(object),
        Err(raised) if sock.state.fd.get() < 0 => Err(discard(fd, raised)),
        Err(raised) => Err(raised),
    }
}
