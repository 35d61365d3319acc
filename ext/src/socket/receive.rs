//! recv, recv_into and recvfrom on a descriptor of our own.
//!
//! `recv` reads into one scratch buffer of the process and copies what came into a bytes object of that size:
//! no allocation of the size asked for. The GIL is held from the system call to the copy, so nobody else can
//! use the buffer in between.
#![allow(unsafe_code)] // system calls on buffers

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use eventlet::reactor::Interest;
use pyo3::ffi;
use pyo3::prelude::*;

use super::address::Address;
use super::call::{self, Args, check_signals, errno, os_error};
use super::state::{Mode, Sock};
use super::wait::{Limit, drained, known_empty, not_ready, wait};
use super::wrapped::{self, PEER_GONE};
use crate::error::{Raised, Result};
use crate::object::Object;

unsafe extern "C" {
    /// Public C API that pyo3-ffi does not declare for builds of one version.
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> c_int;
}

/// Added to the flags of every call: the descriptor may share its mode with another process, or not be ours.
pub const AT_ONCE: c_int = libc::MSG_DONTWAIT;

/// Bytes in the scratch buffer.
pub const SCRATCH: usize = 64 * 1024;

/// Address of the scratch buffer; it is used under the GIL only and lives until the process ends.
pub fn scratch() -> *mut u8 {
    static PLACE: OnceLock<usize> = OnceLock::new();
    *PLACE.get_or_init(|| Box::leak(vec![0_u8; SCRATCH].into_boxed_slice()).as_mut_ptr() as usize)
        as *mut u8
}

/// What one receive found.
pub enum Received {
    /// So many bytes.
    Bytes(usize),
    /// The peer is gone, by this errno: most calls read that as the end of the stream.
    Gone(c_int),
}

/// Tries and parks until `attempt` has something. `room`: bytes that it can take.
#[inline(always)]
pub fn receive(
    py: Python<'_>,
    sock: Sock<'_>,
    room: usize,
    flags: c_int,
    mut attempt: impl FnMut(c_int) -> isize,
) -> Result<Received> {
    let waits = sock.state.mode.get() != Mode::Never && flags & AT_ONCE == 0;
    let mut limit = Limit::new();
    if waits && room == 0 {
        wait_for_data(py, sock, &mut limit)?;
    } else if waits && known_empty(py, sock) {
        wait(py, sock, Interest::Read, &mut limit)?;
    }
    loop {
        let got = attempt(sock.fd()?);
        if got >= 0 {
            let got = got as usize;
            // A stream that gave less than asked has no more; the end of the stream stays readable.
            if got < room && got > 0 && flags == 0 && sock.state.kind.get() == libc::SOCK_STREAM {
                drained(py, sock);
            }
            return Ok(Received::Bytes(got));
        }
        match errno() {
            libc::EINTR => check_signals()?,
            libc::EAGAIN if waits => {
                not_ready(py, sock, Interest::Read);
                wait(py, sock, Interest::Read, &mut limit)?;
            }
            code if waits && PEER_GONE.contains(&code) => return Ok(Received::Gone(code)),
            code => return Err(os_error(code)),
        }
    }
}

/// Waits until there is something to receive, without taking it: what a receive of no bytes does.
#[cold]
#[inline(never)]
fn wait_for_data(py: Python<'_>, sock: Sock<'_>, limit: &mut Limit) -> Result<()> {
    loop {
        let mut byte = 0_u8;
        let fd = sock.fd()?;
        // SAFETY: room for one byte.
        let got = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_PEEK | AT_ONCE) };
        if got >= 0 || errno() != libc::EAGAIN {
            return Ok(());
        }
        not_ready(py, sock, Interest::Read);
        wait(py, sock, Interest::Read, limit)?;
    }
}

/// `recv(bufsize, flags=0)`.
pub fn recv(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    if sock.state.wraps.get() {
        return recv_wrapped(py, sock, args);
    }
    let [bufsize, flags] = args.parse("recv", ["bufsize", "flags"], 1)?;
    let size = call::size(bufsize, "recv")?;
    let flags = call::flags(flags)?;
    if size > SCRATCH {
        return recv_large(py, sock, size, flags);
    }
    let place = scratch();
    let received = receive(py, sock, size, flags, |fd| {
        // SAFETY: the scratch buffer has that much room.
        unsafe { libc::recv(fd, place.cast(), size, flags | AT_ONCE) }
    })?;
    match received {
        Received::Bytes(got) => new_bytes(place, got),
        Received::Gone(_) => new_bytes(std::ptr::null(), 0),
    }
}

#[inline(never)]
fn recv_wrapped(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let none = || new_bytes(std::ptr::null(), 0);
    wrapped::read(py, sock, args, "recv", |_| std::ptr::null_mut(), none)
}

/// Into a bytes object of the size asked for, made smaller afterwards: its pages are touched only where the
/// kernel writes.
#[inline(never)]
fn recv_large(py: Python<'_>, sock: Sock<'_>, size: usize, flags: c_int) -> Result<Object> {
    let bytes = new_bytes(std::ptr::null(), size)?;
    // SAFETY: a new bytes object that nobody else knows.
    let place = unsafe { ffi::PyBytes_AsString(bytes.as_ptr()) };
    let received = receive(py, sock, size, flags, |fd| {
        // SAFETY: the object has that much room and stays ours while we wait.
        unsafe { libc::recv(fd, place.cast(), size, flags | AT_ONCE) }
    });
    match received? {
        Received::Bytes(got) => shortened(bytes, got),
        Received::Gone(_) => shortened(bytes, 0),
    }
}

/// A bytes object that nobody else knows, cut to `len` bytes.
pub fn shortened(bytes: Object, len: usize) -> Result<Object> {
    let mut bytes = bytes.into_ptr();
    // SAFETY: the only reference; on failure it is set to null and the object freed.
    unsafe { _PyBytes_Resize(&mut bytes, len as ffi::Py_ssize_t) };
    // SAFETY: ours, or null with MemoryError set.
    unsafe { Object::from_owned(bytes) }.ok_or(Raised)
}

/// A bytes object with a copy of `len` bytes at `place` (not initialised if that is null).
#[inline]
pub fn new_bytes(place: *const u8, len: usize) -> Result<Object> {
    // SAFETY: null, or so many bytes; GIL held.
    let bytes = unsafe { ffi::PyBytes_FromStringAndSize(place.cast(), len as ffi::Py_ssize_t) };
    // SAFETY: a new reference or null.
    unsafe { Object::from_owned(bytes) }.ok_or(Raised)
}

/// An exported buffer, given back on drop. Its memory cannot move or go while it is held, also across a switch.
pub struct View(ffi::Py_buffer);

impl View {
    /// The buffer of `object`; writable if asked.
    pub fn new(object: *mut ffi::PyObject, writable: bool) -> Result<View> {
        let mut view = MaybeUninit::<ffi::Py_buffer>::zeroed();
        let flags = if writable {
            ffi::PyBUF_WRITABLE
        } else {
            ffi::PyBUF_SIMPLE
        };
        // SAFETY: a live object and room for the description.
        if unsafe { ffi::PyObject_GetBuffer(object, view.as_mut_ptr(), flags) } < 0 {
            return Err(if writable { read_only(object) } else { Raised });
        }
        // SAFETY: filled in.
        Ok(View(unsafe { view.assume_init() }))
    }

    /// Where it is.
    #[inline]
    pub fn place(&self) -> *mut c_void {
        self.0.buf
    }

    /// Its bytes.
    pub fn len(&self) -> usize {
        self.0.len as usize
    }
}

/// The socket module's complaint about an object that cannot be written to.
#[cold]
fn read_only(object: *mut ffi::PyObject) -> Raised {
    // SAFETY: a static of the interpreter.
    if !call::matches(unsafe { ffi::PyExc_BufferError }) {
        return Raised;
    }
    drop(crate::error::Pending::take());
    // SAFETY: GIL held by every caller.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: a live object.
    let name = unsafe { Bound::from_borrowed_ptr(py, object) }
        .get_type()
        .name()
        .map_or_else(|_| "object".to_owned(), |name| name.to_string());
    call::type_error(&format!(
        "recv_into() argument 1 must be read-write bytes-like object, not {name}"
    ))
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: filled by PyObject_GetBuffer and given back once; GIL held.
        unsafe { ffi::PyBuffer_Release(&mut self.0) };
    }
}

/// `recv_into(buffer, nbytes=0, flags=0)`.
pub fn recv_into(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    if sock.state.wraps.get() {
        return wrapped::read(
            py,
            sock,
            args,
            "recv_into",
            |_| std::ptr::null_mut(),
            || call::new_int(0),
        );
    }
    let [buffer, nbytes, flags] = args.parse("recv_into", ["buffer", "nbytes", "flags"], 1)?;
    let asked = if nbytes.is_null() {
        0
    } else {
        call::size(nbytes, "recv_into")?
    };
    let flags = call::flags(flags)?;
    let view = View::new(buffer, true)?;
    if asked > view.len() {
        // SAFETY: a static of the interpreter.
        let error = unsafe { ffi::PyExc_ValueError };
        return Err(call::raise_text(
            error,
            "buffer too small for requested bytes",
        ));
    }
    let room = if asked == 0 { view.len() } else { asked };
    let received = receive(py, sock, room, flags, |fd| {
        // SAFETY: the exported buffer has that much room.
        unsafe { libc::recv(fd, view.place(), room, flags | AT_ONCE) }
    })?;
    match received {
        Received::Bytes(got) => call::new_int(got),
        Received::Gone(_) => call::new_int(0),
    }
}

/// `recvfrom(bufsize, flags=0)`.
pub fn recvfrom(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let known = !sock.state.wraps.get() && Address::knows(sock.state.family.get());
    let [bufsize, flags] = args.parse("recvfrom", ["bufsize", "flags"], 1)?;
    let size = call::size(bufsize, "recvfrom")?;
    if !known || size > SCRATCH {
        let empty = || new_bytes(std::ptr::null(), 0);
        return wrapped::read(
            py,
            sock,
            args,
            "recvfrom",
            |methods| methods.recvfrom,
            empty,
        );
    }
    let flags = call::flags(flags)?;
    let place = scratch();
    let mut address = Address::new();
    let received = receive(py, sock, size, flags, |fd| {
        address = Address::new();
        let (name, len) = address.place();
        // SAFETY: room for the data and for any address.
        unsafe { libc::recvfrom(fd, place.cast(), size, flags | AT_ONCE, name, len) }
    })?;
    match received {
        Received::Bytes(got) => {
            let data = new_bytes(place, got)?.into_bound(py);
            let address = sock.state.peer.object_for(py, &address)?.into_bound(py);
            let tuple = (data, address).into_pyobject(py);
            tuple
                .map(|tuple| tuple.into_any().into())
                .map_err(|error| Raised::from_err(py, error))
        }
        Received::Gone(_) => new_bytes(std::ptr::null(), 0),
    }
}
