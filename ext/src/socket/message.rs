//! recvmsg, recvmsg_into and sendmsg on a descriptor of our own: several buffers, and ancillary data.
//!
//! Descriptors that arrive as ancillary data belong to who gets the message; if making the result fails, they are
//! closed here.
#![allow(unsafe_code)] // system calls on buffers

use std::ffi::c_int;
use std::ptr;

use eventlet::reactor::Interest;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::Methods;
use super::address::Address;
use super::ancillary::{Control, header, sequence};
use super::call::{self, Args, raise_text, type_error};
use super::datagram::{audit, target};
use super::receive::{AT_ONCE, Received, View, new_bytes, receive};
use super::send::{SEND, transmit};
use super::state::Sock;
use super::wrapped::retry;
use crate::error::{Raised, Result};
use crate::object::Object;

/// What a receive of a message brought besides its data.
struct Arrived {
    bytes: usize,
    flags: c_int,
    address: Address,
    control: Control,
}

/// recvmsg(2) until it has something.
fn receive_message(
    py: Python<'_>,
    sock: Sock<'_>,
    parts: &mut [libc::iovec],
    ancillary: usize,
    flags: c_int,
) -> Result<Arrived> {
    let mut arrived = Arrived {
        bytes: 0,
        flags: 0,
        address: Address::new(),
        control: Control::new(ancillary),
    };
    // Two rules of `receive` do not hold here, so it is told of one byte: who asks for no data wants what comes with
    // it, and less data than asked for does not mean that there is no more (ancillary data ends a message).
    let received = receive(py, sock, 1, flags, |fd| {
        let mut header = header(parts, &mut arrived.control);
        arrived.address = Address::new();
        let (name, len) = arrived.address.place();
        header.msg_name = name.cast();
        // SAFETY: set by `place`.
        header.msg_namelen = unsafe { *len };
        // SAFETY: a header whose parts are exported buffers, and room for ancillary data and an address.
        let got = unsafe { libc::recvmsg(fd, &mut header, flags | AT_ONCE) };
        arrived.address.set_len(header.msg_namelen);
        arrived.flags = header.msg_flags;
        arrived.control.filled(header.msg_controllen as _);
        got
    })?;
    match received {
        Received::Bytes(got) => arrived.bytes = got,
        Received::Gone(code) => return Err(call::os_error(code)),
    }
    Ok(arrived)
}

impl Arrived {
    /// (first, ancillary data, flags, address).
    fn into_tuple(mut self, py: Python<'_>, sock: Sock<'_>, first: Object) -> Result<Object> {
        let ancillary = self.control.items(py)?;
        let address = match sock.state.peer.object_for(py, &self.address) {
            Ok(address) => address,
            Err(raised) => {
                self.control.close_descriptors();
                return Err(raised);
            }
        };
        let tuple = (
            first.into_bound(py),
            ancillary,
            self.flags,
            address.into_bound(py),
        );
        let tuple = tuple.into_pyobject(py);
        tuple
            .map(|tuple| tuple.into_any().into())
            .map_err(|error| Raised::from_err(py, error))
    }
}

/// Whether the native form serves: for the families whose addresses are known here.
fn native(sock: Sock<'_>, args: Args<'_>) -> bool {
    !sock.state.wraps.get() && Address::knows(sock.state.family.get()) && !args.has_keywords()
}

/// The optional size of the buffer for ancillary data, and the optional flags after it.
fn sizes(rest: &[*mut ffi::PyObject]) -> Result<(usize, c_int)> {
    let ancillary = match rest.first() {
        Some(size) => {
            usize::try_from(call::signed_size(*size)?)
                .ok()
                .filter(|size| *size <= i32::MAX as usize)
                .ok_or_else(|| {
                    // SAFETY: a static of the interpreter.
                    let error = unsafe { ffi::PyExc_ValueError };
                    raise_text(error, "invalid ancillary data buffer length")
                })?
        }
        None => 0,
    };
    let flags = rest.get(1).map_or(Ok(0), |flags| call::int(*flags))?;
    Ok((ancillary, flags))
}

/// `recvmsg(bufsize, ancbufsize=0, flags=0)` -> (data, ancillary data, flags, address).
pub fn recvmsg(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let values = args.values();
    if !native(sock, args) || !(1..=3).contains(&values.len()) {
        return general(py, sock, args, "recvmsg", |methods| methods.recvmsg);
    }
    let size = call::signed_size(values[0])?;
    if size < 0 {
        // SAFETY: a static of the interpreter.
        let error = unsafe { ffi::PyExc_ValueError };
        return Err(raise_text(error, "negative buffer size in recvmsg()"));
    }
    let (ancillary, flags) = sizes(&values[1..])?;
    let bytes = new_bytes(ptr::null(), size as usize)?;
    // SAFETY: a new bytes object that nobody else knows.
    let place = unsafe { ffi::PyBytes_AsString(bytes.as_ptr()) };
    let mut parts = [libc::iovec {
        iov_base: place.cast(),
        iov_len: size as usize,
    }];
    let arrived = receive_message(py, sock, &mut parts, ancillary, flags)?;
    let data = super::receive::shortened(bytes, arrived.bytes)?;
    arrived.into_tuple(py, sock, data)
}

/// `recvmsg_into(buffers, ancbufsize=0, flags=0)` -> (bytes received, ancillary data, flags, address).
pub fn recvmsg_into(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let values = args.values();
    if !native(sock, args) || !(1..=3).contains(&values.len()) {
        return general(py, sock, args, "recvmsg_into", |methods| {
            methods.recvmsg_into
        });
    }
    let (ancillary, flags) = sizes(&values[1..])?;
    let buffers = sequence(values[0], "recvmsg_into() argument 1 must be an iterable")?;
    let views = views(py, &buffers, true).map_err(|raised| not_writable(py, raised))?;
    let mut parts: Vec<_> = views.iter().map(part).collect();
    let arrived = receive_message(py, sock, &mut parts, ancillary, flags)?;
    let got = call::new_int(arrived.bytes)?;
    arrived.into_tuple(py, sock, got)
}

/// `sendmsg(buffers, ancdata=(), flags=0, address=None)` -> bytes sent.
pub fn sendmsg(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let values = args.values();
    if !native(sock, args) || !(1..=4).contains(&values.len()) {
        return general(py, sock, args, "sendmsg", |methods| methods.sendmsg);
    }
    // SAFETY: the singleton's address.
    let none = unsafe { ffi::Py_None() };
    let to = values.get(3).copied().filter(|to| *to != none);
    let address = match to {
        Some(to) => {
            let Some(address) = target(py, sock, to)? else {
                return general(py, sock, args, "sendmsg", |methods| methods.sendmsg);
            };
            Some(address)
        }
        None => None,
    };
    let buffers = sequence(values[0], "sendmsg() argument 1 must be an iterable")?;
    let views = views(py, &buffers, false)?;
    let mut parts: Vec<_> = views.iter().map(part).collect();
    let flags = values.get(2).map_or(Ok(0), |flags| call::int(*flags))?;
    let mut control = match values.get(1) {
        Some(items) => Control::packed(py, *items)?,
        None => Control::new(0),
    };
    // SAFETY: the singleton's address.
    audit(sock, c"socket.sendmsg", to.unwrap_or(none))?;
    let sent = transmit(py, sock, flags, |fd| {
        let mut header = header(&mut parts, &mut control);
        if let Some(address) = &address {
            let (name, len) = address.name();
            header.msg_name = name.cast_mut().cast();
            header.msg_namelen = len;
        }
        // SAFETY: a header whose parts are exported buffers, packed ancillary data and a complete address.
        unsafe { libc::sendmsg(fd, &header, flags | SEND) }
    })?;
    call::new_int(sent)
}

const READ_WRITE: &str =
    "recvmsg_into() argument 1 must be an iterable of single-segment read-write buffers";

/// The socket module's complaint about what cannot be written to.
fn not_writable(py: Python<'_>, raised: Raised) -> Raised {
    let error = raised.into_err(py);
    if error.is_instance_of::<pyo3::exceptions::PyTypeError>(py)
        || error.is_instance_of::<pyo3::exceptions::PyBufferError>(py)
    {
        return type_error(READ_WRITE);
    }
    Raised::from_err(py, error)
}

/// The buffers of a list of objects.
fn views(py: Python<'_>, buffers: &Object, writable: bool) -> Result<Vec<View>> {
    let list = buffers.bind(py);
    let list = list.cast::<PyList>().expect("made by `sequence`");
    list.iter()
        .map(|buffer| View::new(buffer.as_ptr(), writable))
        .collect()
}

fn part(view: &View) -> libc::iovec {
    libc::iovec {
        iov_base: view.place(),
        iov_len: view.len(),
    }
}

/// Through the method of the base class, or of the wrapped object.
fn general(
    py: Python<'_>,
    sock: Sock<'_>,
    args: Args<'_>,
    name: &str,
    own: impl Fn(&Methods) -> *mut ffi::PyObject,
) -> Result<Object> {
    let interest = if name == "sendmsg" {
        Interest::Write
    } else {
        Interest::Read
    };
    retry(py, sock, args, name, own, interest)
}
