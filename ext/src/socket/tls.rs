//! Reading and writing through TLS: calls of the standard library's TLS object, which works on the same non-blocking
//! descriptor, with parking in between.
//!
//! The TLS object says by exceptions that it has to wait; making one costs as much as a record. So a read whose last
//! predecessor took all of a record first looks whether the descriptor has anything at all, and parks without asking
//! if not. The methods are those of `GreenSSLSocket`, which takes them from here under their usual names.
#![allow(unsafe_code)] // calls by pointer

use std::ffi::c_int;
use std::ptr;
use std::sync::OnceLock;

use eventlet::reactor::Interest;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::call::{self, Args, int, matches, raise_text, raised};
use super::receive::View;
use super::state::{Mode, Sock};
use super::wait::{Limit, not_ready, wait};
use super::wrapped::PEER_GONE;
use crate::error::{Pending, Raised, Result};
use crate::object::{Object, owned, type_of};

/// What `ssl` gives when it is there; the objects live until the process ends.
struct Tls {
    /// `GreenSSLSocket`: instances of exactly this class have no methods of their own.
    class: *mut ffi::PyObject,
    /// `_ssl._SSLSocket`, and its methods.
    object: *mut ffi::PyTypeObject,
    read: *mut ffi::PyObject,
    write: *mut ffi::PyObject,
    want_read: *mut ffi::PyObject,
    want_write: *mut ffi::PyObject,
    error: *mut ffi::PyObject,
    eof: c_int,
    sslobj: *mut ffi::PyObject,
}

// SAFETY: objects that live until the process ends, used by whoever holds the GIL.
unsafe impl Sync for Tls {}
// SAFETY: as above.
unsafe impl Send for Tls {}

static TLS: OnceLock<Tls> = OnceLock::new();

/// `tls_class(class)`: has instances of `class` use the native methods. The `ssl` module must be there.
#[pyfunction]
pub fn tls_class(class: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = class.py();
    let module = py.import("_ssl")?;
    let object = module.getattr("_SSLSocket")?;
    let made = Tls {
        class: class.clone().into_ptr(),
        read: object.getattr("read")?.into_ptr(),
        write: object.getattr("write")?.into_ptr(),
        object: object.into_ptr().cast(),
        want_read: module.getattr("SSLWantReadError")?.into_ptr(),
        want_write: module.getattr("SSLWantWriteError")?.into_ptr(),
        error: module.getattr("SSLError")?.into_ptr(),
        eof: module.getattr("SSL_ERROR_EOF")?.extract()?,
        sslobj: PyString::intern(py, "_sslobj").into_ptr(),
    };
    // The first one stays: the module is imported once.
    let _ = TLS.set(made);
    Ok(())
}

fn tls() -> Result<&'static Tls> {
    TLS.get().ok_or_else(|| {
        // SAFETY: a static of the interpreter.
        let error = unsafe { ffi::PyExc_RuntimeError };
        raise_text(error, "eventlet.green.ssl has not been imported")
    })
}

/// The TLS object of a socket; `None` before and after TLS.
#[inline]
fn tls_object(tls: &Tls, sock: Sock<'_>) -> Result<Option<Object>> {
    // SAFETY: live objects.
    let object = owned(unsafe { ffi::PyObject_GetAttr(sock.object, tls.sslobj) })?;
    // SAFETY: the singleton's address.
    let none = unsafe { ffi::Py_None() };
    Ok((!object.is(none)).then_some(object))
}

/// Calls a method of the TLS object: by its descriptor if it is the standard one, else by name.
#[inline]
fn ask(
    tls: &Tls,
    object: &Object,
    descriptor: *mut ffi::PyObject,
    name: &'static str,
    args: &[*mut ffi::PyObject],
) -> Result<Object> {
    let mut values = [object.as_ptr(), ptr::null_mut(), ptr::null_mut()];
    values[1..=args.len()].copy_from_slice(args);
    let (function, first) = if type_of(object.as_ptr()) == tls.object {
        (None, 0)
    } else {
        // SAFETY: GIL held by whoever has an Object.
        let py = unsafe { Python::assume_attached() };
        (Some(super::state::attribute(py, object.as_ptr(), name)?), 1)
    };
    let function = function.as_ref().map_or(descriptor, Object::as_ptr);
    let count = args.len() + 1 - first;
    // SAFETY: `count` live values from `first` on.
    owned(unsafe {
        ffi::PyObject_Vectorcall(function, values[first..].as_ptr(), count, ptr::null_mut())
    })
}

/// What the exception that is set asks to wait for.
fn wanted(tls: &Tls) -> Option<Interest> {
    if matches(tls.want_read) {
        Some(Interest::Read)
    } else if matches(tls.want_write) {
        Some(Interest::Write)
    } else {
        None
    }
}

/// Calls until the TLS object need not wait. May switch.
#[inline]
fn until_done(
    py: Python<'_>,
    sock: Sock<'_>,
    tls: &Tls,
    limit: &mut Limit,
    mut attempt: impl FnMut() -> Result<Object>,
) -> Result<Object> {
    loop {
        let result = attempt();
        if result.is_ok() || sock.never_waits() {
            return result;
        }
        let Some(interest) = wanted(tls) else {
            return result;
        };
        drop(Pending::take());
        not_ready(py, sock, interest);
        wait(py, sock, interest, limit)?;
    }
}

/// `_until_done(function, *args)`: calls it until TLS need not wait.
pub fn call_until_done(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let tls = tls()?;
    let [function, rest @ ..] = args.values() else {
        return Err(call::type_error("_until_done() needs a function"));
    };
    until_done(py, sock, tls, &mut Limit::new(), || {
        // SAFETY: live objects, borrowed from our caller.
        owned(unsafe {
            ffi::PyObject_Vectorcall(*function, rest.as_ptr(), rest.len(), ptr::null_mut())
        })
    })
}

/// Parks until the descriptor has something, if the TLS object is known to have nothing. May switch.
fn wait_for_record(py: Python<'_>, sock: Sock<'_>, limit: &mut Limit) -> Result<()> {
    if !sock.state.record_read.replace(false) || sock.state.mode.get() == Mode::Never {
        return Ok(());
    }
    if sock.state.wraps.get() {
        return Ok(());
    }
    let mut byte = 0_u8;
    let flags = libc::MSG_PEEK | super::receive::AT_ONCE;
    // SAFETY: room for one byte.
    let got = unsafe { libc::recv(sock.fd()?, (&raw mut byte).cast(), 1, flags) };
    if got < 0 && call::errno() == libc::EAGAIN {
        not_ready(py, sock, Interest::Read);
        wait(py, sock, Interest::Read, limit)?;
    }
    Ok(())
}

/// Reads up to `len` (an int object) bytes, into `buffer` if that is not null. May switch.
fn read_some(
    py: Python<'_>,
    sock: Sock<'_>,
    tls: &Tls,
    object: &Object,
    len: *mut ffi::PyObject,
    buffer: *mut ffi::PyObject,
) -> Result<Object> {
    let mut limit = Limit::new();
    wait_for_record(py, sock, &mut limit)?;
    let args = [len, buffer];
    let args = if buffer.is_null() {
        &args[..1]
    } else {
        &args[..]
    };
    let result = until_done(py, sock, tls, &mut limit, || {
        ask(tls, object, tls.read, "read", args)
    });
    let got = match result {
        Ok(got) => got,
        Err(raised) => return ended(py, sock, tls, raised, buffer),
    };
    let count = if buffer.is_null() {
        // SAFETY: a live object; -1 and an exception for what has no length.
        unsafe { ffi::PyObject_Size(got.as_ptr()) }
    } else {
        call::signed_size(got.as_ptr())?
    };
    if count < 0 {
        return Err(Raised);
    }
    // SAFETY: an int, as the call has accepted it.
    let asked = unsafe { ffi::PyLong_AsSsize_t(len) };
    if asked == -1 && raised() {
        drop(Pending::take());
    }
    // Less than asked: that was the rest of a record.
    sock.state.record_read.set(count > 0 && count < asked);
    Ok(got)
}

/// An error of a read that means the end of the stream: a peer that is gone, or one that left without saying so in
/// TLS, if the socket puts up with that.
#[cold]
fn ended(
    py: Python<'_>,
    sock: Sock<'_>,
    tls: &Tls,
    raised: Raised,
    buffer: *mut ffi::PyObject,
) -> Result<Object> {
    let error = raised.into_err(py);
    let value = error.value(py);
    let ragged = value.is_instance(
        // SAFETY: a class that lives until the process ends.
        &unsafe { Bound::from_borrowed_ptr(py, tls.error) },
    );
    let end = if ragged.unwrap_or(false) {
        let code = value
            .getattr("args")
            .and_then(|args| args.get_item(0))
            .and_then(|code| code.extract::<c_int>());
        code.is_ok_and(|code| code == tls.eof) && suppresses(py, sock)
    } else {
        let errno = value
            .getattr("errno")
            .and_then(|errno| errno.extract::<c_int>());
        let gone = errno.is_ok_and(|errno| PEER_GONE.contains(&errno));
        gone && !sock.never_waits() && error.is_instance_of::<pyo3::exceptions::PyOSError>(py)
    };
    if !end {
        return Err(Raised::from_err(py, error));
    }
    if buffer.is_null() {
        super::receive::new_bytes(ptr::null(), 0)
    } else {
        call::new_int(0)
    }
}

fn suppresses(py: Python<'_>, sock: Sock<'_>) -> bool {
    let value = sock.attribute(py, "suppress_ragged_eofs");
    let truth = value.map(|value| value.bind(py).is_truthy().unwrap_or(false));
    truth.unwrap_or_else(|Raised| {
        drop(Pending::take());
        false
    })
}

/// Null for `None` and for what was not given.
fn given(value: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the singleton's address.
    if value == unsafe { ffi::Py_None() } {
        ptr::null_mut()
    } else {
        value
    }
}

/// `read(len=1024, buffer=None)`.
pub fn read(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let tls = tls()?;
    let [len, buffer] = args.parse("read", ["len", "buffer"], 0)?;
    let Some(object) = tls_object(tls, sock)? else {
        // SAFETY: a static of the interpreter.
        let error = unsafe { ffi::PyExc_ValueError };
        return Err(raise_text(error, "Read on closed or unwrapped SSL socket."));
    };
    let usual;
    let len = if len.is_null() {
        usual = call::new_int(1024)?;
        usual.as_ptr()
    } else {
        len
    };
    read_some(py, sock, tls, &object, len, given(buffer))
}

/// Whether methods that use others may do so natively: no subclass has overridden any.
fn is_plain(tls: &Tls, sock: Sock<'_>) -> bool {
    sock.class().cast::<ffi::PyObject>() == tls.class
}

fn no_flags(py: Python<'_>, sock: Sock<'_>, flags: *mut ffi::PyObject, name: &str) -> Result<()> {
    if call::flags(flags)? == 0 {
        return Ok(());
    }
    // SAFETY: a live type.
    let class = unsafe { Bound::from_borrowed_ptr(py, sock.class().cast()) };
    let class = class.str().map_err(|error| Raised::from_err(py, error))?;
    // SAFETY: a static of the interpreter.
    let error = unsafe { ffi::PyExc_ValueError };
    let text = format!("non-zero flags not allowed in calls to {name}() on {class}");
    Err(raise_text(error, &text))
}

/// `recv(buflen=1024, flags=0)`.
pub fn recv(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let tls = tls()?;
    let Some(object) = tls_object(tls, sock)? else {
        return super::receive::recv(py, sock, args);
    };
    let [len, flags] = args.parse("recv", ["buflen", "flags"], 0)?;
    no_flags(py, sock, flags, "recv")?;
    let usual;
    let len = if len.is_null() {
        usual = call::new_int(1024)?;
        usual.as_ptr()
    } else {
        len
    };
    if !is_plain(tls, sock) {
        let method = sock.attribute(py, "read")?;
        return call::call_one(method.as_ptr(), len);
    }
    read_some(py, sock, tls, &object, len, ptr::null_mut())
}

/// `recv_into(buffer, nbytes=None, flags=0)`.
pub fn recv_into(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let tls = tls()?;
    let [buffer, nbytes, flags] = args.parse("recv_into", ["buffer", "nbytes", "flags"], 1)?;
    let Some(object) = tls_object(tls, sock)? else {
        if given(nbytes).is_null() {
            let values = [buffer];
            // SAFETY: one live value.
            let args = unsafe { Args::new(values.as_ptr(), 1, ptr::null_mut()) };
            return super::receive::recv_into(py, sock, args);
        }
        return super::receive::recv_into(py, sock, args);
    };
    let size = if given(nbytes).is_null() {
        let view = View::new(buffer, false)?;
        call::new_int(if view.len() == 0 { 1024 } else { view.len() })?
    } else {
        // SAFETY: a live object.
        unsafe { Object::from_borrowed(nbytes) }.expect("given")
    };
    no_flags(py, sock, flags, "recv_into")?;
    if !is_plain(tls, sock) {
        let method = sock.attribute(py, "read")?;
        let values = [size.as_ptr(), buffer];
        // SAFETY: live objects.
        return owned(unsafe {
            ffi::PyObject_Vectorcall(method.as_ptr(), values.as_ptr(), 2, ptr::null_mut())
        });
    }
    read_some(py, sock, tls, &object, size.as_ptr(), buffer)
}

/// Writes something of `data`. May switch.
fn write_some(
    py: Python<'_>,
    sock: Sock<'_>,
    tls: &Tls,
    object: &Object,
    data: *mut ffi::PyObject,
) -> Result<Object> {
    until_done(py, sock, tls, &mut Limit::new(), || {
        ask(tls, object, tls.write, "write", &[data])
    })
}

/// `write(data)`.
pub fn write(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let tls = tls()?;
    let [data] = args.parse("write", ["data"], 1)?;
    let Some(object) = tls_object(tls, sock)? else {
        // SAFETY: a static of the interpreter.
        let error = unsafe { ffi::PyExc_ValueError };
        return Err(raise_text(
            error,
            "Write on closed or unwrapped SSL socket.",
        ));
    };
    write_some(py, sock, tls, &object, data)
}

/// `send(data, flags=0)`.
pub fn send(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let tls = tls()?;
    let Some(object) = tls_object(tls, sock)? else {
        return super::send::send(py, sock, args);
    };
    let [data, flags] = args.parse("send", ["data", "flags"], 1)?;
    no_flags(py, sock, flags, "send")?;
    write_some(py, sock, tls, &object, data)
}

/// `sendall(data, flags=0)`: the timeout counts anew for each part, as upstream's does.
pub fn sendall(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let tls = tls()?;
    let Some(object) = tls_object(tls, sock)? else {
        return super::send::sendall(py, sock, args);
    };
    let [data, flags] = args.parse("sendall", ["data", "flags"], 1)?;
    no_flags(py, sock, flags, "sendall")?;
    let raise = |error| Raised::from_err(py, error);
    let total = View::new(data, false)?.len();
    let mut done = 0;
    let mut rest: Option<Bound<'_, PyAny>> = None;
    while done < total {
        let part = rest.as_ref().map_or(data, Bound::as_ptr);
        let sent = if is_plain(tls, sock) {
            write_some(py, sock, tls, &object, part)?
        } else {
            call::call_one(sock.attribute(py, "send")?.as_ptr(), part)?
        };
        done += usize::try_from(int(sent.as_ptr())?).unwrap_or(0);
        if done < total {
            // SAFETY: a live object.
            let view = owned(unsafe { ffi::PyMemoryView_FromObject(data) })?.into_bound(py);
            let view = view.call_method1("cast", ("B",)).map_err(raise)?;
            let slice = pyo3::types::PySlice::new(py, done as isize, total as isize, 1);
            rest = Some(view.get_item(slice).map_err(raise)?);
        }
    }
    Ok(Object::none())
}
