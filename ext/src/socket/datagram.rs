//! sendto and recvfrom_into on a descriptor of our own.
#![allow(unsafe_code)] // system calls on buffers

use std::ffi::{CStr, c_char, c_int};

use eventlet::reactor::Interest;
use pyo3::ffi;
use pyo3::prelude::*;

use super::address::Address;
use super::call::{self, Args};
use super::connect::numeric;
use super::receive::{AT_ONCE, Received, View, receive};
use super::send::{SEND, transmit};
use super::state::Sock;
use super::wrapped::{self, retry};
use crate::error::{Raised, Result};
use crate::object::Object;

unsafe extern "C" {
    /// Public C API that pyo3-ffi does not declare (it is variadic).
    fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

/// `sendto(data, address)` and `sendto(data, flags, address)`.
pub fn sendto(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let (flags, to) = match *args.values() {
        [_, to] => (Ok(0), to),
        [_, flags, to] => (call::int(flags), to),
        _ => return general(py, sock, args), // which has the right complaint
    };
    if sock.state.wraps.get() || args.has_keywords() {
        return general(py, sock, args);
    }
    let flags = flags?;
    let Some(address) = target(py, sock, to)? else {
        return general(py, sock, args);
    };
    audit(sock, c"socket.sendto", to)?;
    let view = View::new(args.values()[0], false)?;
    let (name, len) = address.name();
    let sent = transmit(py, sock, flags, |fd| {
        // SAFETY: an exported buffer and a complete address.
        unsafe { libc::sendto(fd, view.place(), view.len(), flags | SEND, name, len) }
    })?;
    call::new_int(sent)
}

/// Where a datagram goes; `None` if only the base class can tell. May switch.
pub fn target(py: Python<'_>, sock: Sock<'_>, to: *mut ffi::PyObject) -> Result<Option<Address>> {
    let known = sock.state.peer.address_of(to);
    if known.is_some() {
        return Ok(known);
    }
    let resolved = numeric(py, sock, to)?;
    let to = resolved.as_ref().map_or(to, Object::as_ptr);
    Ok(Address::parse(sock.state.family.get(), to))
}

/// Through the method of the base class, or of the wrapped object.
fn general(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    retry(
        py,
        sock,
        args,
        "sendto",
        |methods| methods.sendto,
        Interest::Write,
    )
}

/// Raises an audit event with the socket and an address, as the socket module does.
pub fn audit(sock: Sock<'_>, event: &CStr, address: *mut ffi::PyObject) -> Result<()> {
    // SAFETY: format and arguments agree: two live objects.
    let heard = unsafe { PySys_Audit(event.as_ptr(), c"OO".as_ptr(), sock.object, address) };
    if heard < 0 { Err(Raised) } else { Ok(()) }
}

/// `recvfrom_into(buffer, nbytes=0, flags=0)`.
pub fn recvfrom_into(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    if sock.state.wraps.get() || !Address::knows(sock.state.family.get()) {
        let own = |methods: &super::Methods| methods.recvfrom_into;
        return wrapped::read(py, sock, args, "recvfrom_into", own, || call::new_int(0));
    }
    let [buffer, nbytes, flags] = args.parse("recvfrom_into", ["buffer", "nbytes", "flags"], 1)?;
    let asked = if nbytes.is_null() {
        0
    } else {
        call::size(nbytes, "recvfrom_into")?
    };
    let flags: c_int = call::flags(flags)?;
    let view = View::new(buffer, true)?;
    if asked > view.len() {
        // SAFETY: a static of the interpreter.
        let error = unsafe { ffi::PyExc_ValueError };
        return Err(call::raise_text(
            error,
            "nbytes is greater than the length of the buffer",
        ));
    }
    let room = if asked == 0 { view.len() } else { asked };
    let mut address = Address::new();
    let received = receive(py, sock, room, flags, |fd| {
        address = Address::new();
        let (name, len) = address.place();
        // SAFETY: the exported buffer has that much room, and there is room for any address.
        unsafe { libc::recvfrom(fd, view.place(), room, flags | AT_ONCE, name, len) }
    })?;
    match received {
        Received::Bytes(got) => {
            let got = call::new_int(got)?.into_bound(py);
            let address = sock.state.peer.object_for(py, &address)?.into_bound(py);
            let tuple = (got, address).into_pyobject(py);
            tuple
                .map(|tuple| tuple.into_any().into())
                .map_err(|error| Raised::from_err(py, error))
        }
        Received::Gone(_) => call::new_int(0),
    }
}
