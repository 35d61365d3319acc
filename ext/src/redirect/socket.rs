//! `_socket.socket`: sockets that were made before they could be green, or by a name that was taken before.
//!
//! The original methods do the work, on a descriptor that is made non-blocking: try, wait until the socket is ready
//! or its timeout is over, try again. For the time of a try the object's own timeout reads 0, so that the method does
//! not wait by itself. An OS thread without a hub waits in the kernel, and takes part only because the descriptor may
//! be non-blocking already. Sockets of `eventlet.green` have timeout 0 here and pass through.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use eventlet::reactor::Interest;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use super::Native;
use super::arguments::Call;
use super::ready::{self, Patience};
use crate::error::{Pending, Raised, Result};
use crate::gil_cell::GilCell;
use crate::hub;
use crate::object::Object;

/// The first fields of CPython's socket object, the same in all versions; `check` compares them.
#[repr(C)]
struct Fields {
    head: PyObject,
    fd: Cell<c_int>,
    family: c_int,
    kind: c_int,
    proto: c_int,
    errorhandler: *const (),
    /// Nanoseconds; negative: none.
    timeout: Cell<i64>,
}

static CHECKED: AtomicBool = AtomicBool::new(false);

/// Looks whether the fields are where this file expects them. The error says that they are not.
pub fn check(class: &Bound<'_, PyAny>) -> PyResult<std::result::Result<(), String>> {
    let size: usize = class.getattr("__basicsize__")?.extract()?;
    let unknown = || Ok(Err("the fields of its objects are not known".to_owned()));
    if size < size_of::<Fields>() {
        return unknown();
    }
    let made = class.call1((libc::AF_INET, libc::SOCK_DGRAM, 0))?;
    made.call_method1("settimeout", (12.5,))?;
    let number: c_int = made.call_method0("fileno")?.extract()?;
    let fields = Socket::of(made.as_ptr());
    let limited = fields.fd() == number && fields.0.timeout.get() == 12_500_000_000;
    let kind = (fields.0.family, fields.0.kind) == (libc::AF_INET, libc::SOCK_DGRAM);
    made.call_method1("settimeout", (py_none(class),))?;
    let unlimited = fields.0.timeout.get() < 0;
    made.call_method0("close")?;
    if !(limited && kind && unlimited) {
        return unknown();
    }
    CHECKED.store(true, Ordering::Relaxed);
    Ok(Ok(()))
}

fn py_none(object: &Bound<'_, PyAny>) -> Py<PyAny> {
    object.py().None()
}

/// A socket object during a call.
#[derive(Clone, Copy)]
pub struct Socket<'a>(&'a Fields);

/// Timeouts of sockets that are being tried: address -> (how many tries, timeout).
static TRIED: GilCell<Option<HashMap<usize, (usize, i64)>>> = GilCell::new(None);

impl<'a> Socket<'a> {
    /// The view of a `_socket.socket`, which the caller keeps alive.
    pub fn of(object: *mut PyObject) -> Socket<'a> {
        // SAFETY: an instance of the class that `check` has looked at (or is looking at).
        Socket(unsafe { &*object.cast::<Fields>() })
    }

    /// As `of`; `None` before `check`.
    pub fn known(object: *mut PyObject) -> Option<Socket<'a>> {
        CHECKED.load(Ordering::Relaxed).then(|| Socket::of(object))
    }

    /// The descriptor, or -1.
    pub fn fd(self) -> c_int {
        self.0.fd.get()
    }

    fn address(self) -> usize {
        std::ptr::from_ref(self.0) as usize
    }

    /// The timeout in nanoseconds, also while another OS thread tries; negative: none.
    pub fn timeout(self, py: Python<'_>) -> i64 {
        let tried = TRIED.with(py, |tried| {
            let tried = tried.as_ref()?.get(&self.address())?;
            Some(tried.1)
        });
        tried.unwrap_or(self.0.timeout.get())
    }

    /// Whether a call that has to wait is ours to see to.
    fn is_ours(self, py: Python<'_>) -> bool {
        let timeout = self.timeout(py);
        timeout != 0
            && self.fd() >= 0
            && (hub::runs_here() || timeout < 0 && ready::is_non_blocking(self.fd()))
    }

    /// Runs `f`, an original method, with no timeout and on a descriptor that does not block.
    pub fn without_waiting<T>(self, py: Python<'_>, f: impl FnOnce() -> Result<T>) -> Result<T> {
        ready::set_non_blocking(self.fd());
        let before = self.timeout(py);
        TRIED.with(py, |tried| {
            let tried = tried.get_or_insert_with(HashMap::new);
            tried.entry(self.address()).or_insert((0, before)).0 += 1;
        });
        self.0.timeout.set(0);
        let result = f();
        TRIED.with(py, |tried| {
            let Some(tried) = tried.as_mut() else { return };
            let Some(entry) = tried.get_mut(&self.address()) else {
                return;
            };
            entry.0 -= 1;
            if entry.0 == 0 {
                tried.remove(&self.address());
                // Unless the method itself, or somebody meanwhile, has set another.
                if self.0.timeout.get() == 0 {
                    self.0.timeout.set(before);
                }
            }
        });
        result
    }
}

/// Whether the exception that is set says that the call would have to wait; it is dropped then.
fn would_block() -> bool {
    // SAFETY: a static of the interpreter.
    let kind = unsafe { ffi::PyExc_BlockingIOError };
    // SAFETY: GIL held, an exception is set.
    let blocking = unsafe { ffi::PyErr_ExceptionMatches(kind) } != 0;
    if blocking {
        drop(Pending::take());
    }
    blocking
}

fn until_done(py: Python<'_>, call: &Call<'_>, interest: Interest) -> Result<Object> {
    let socket = Socket::of(call.this);
    if !socket.is_ours(py) {
        return call.forward();
    }
    let mut patience = Patience::new(socket.timeout(py));
    loop {
        let result = socket.without_waiting(py, || call.forward());
        if result.is_ok() || !would_block() {
            return result;
        }
        patience.wait(py, socket.fd(), interest)?;
    }
}

fn read(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    until_done(py, call, Interest::Read)
}

fn write(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    until_done(py, call, Interest::Write)
}

/// `sendall(data, flags=0)`: the original forgets how far it came.
fn sendall(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let socket = Socket::of(call.this);
    let Some([data, flags]) = call.parse(["", ""]).filter(|_| socket.is_ours(py)) else {
        return call.forward();
    };
    // SAFETY: live objects or null.
    let data = unsafe { Bound::from_borrowed_ptr_or_opt(py, data) };
    // SAFETY: as above.
    let flags = unsafe { Bound::from_borrowed_ptr_or_opt(py, flags) };
    let flags = flags.map_or(Ok(0), |flags| flags.extract::<c_int>());
    let view = data.as_ref().map(pyo3::buffer::PyUntypedBuffer::get);
    let (Some(Ok(view)), Ok(flags)) = (view, flags) else {
        return call.forward(); // which complains
    };
    if !view.is_c_contiguous() {
        return call.forward(); // which complains
    }
    let mut patience = Patience::new(socket.timeout(py));
    let (start, len) = (view.buf_ptr().cast::<u8>(), view.len_bytes());
    let mut sent = 0;
    ready::set_non_blocking(socket.fd());
    while sent < len {
        // SAFETY: within the buffer, which is exported to us.
        let place = unsafe { start.add(sent) };
        // SAFETY: so many bytes stand there.
        let count = unsafe { libc::send(socket.fd(), place.cast(), len - sent, flags) };
        if count >= 0 {
            sent += count as usize;
            continue;
        }
        let error = std::io::Error::last_os_error();
        match error.raw_os_error() {
            // SAFETY: GIL held.
            Some(libc::EINTR) if unsafe { ffi::PyErr_CheckSignals() } < 0 => return Err(Raised),
            Some(libc::EINTR) => (),
            Some(libc::EAGAIN) => patience.wait(py, socket.fd(), Interest::Write)?,
            _ => {
                let error = crate::error::system_error(&error);
                return Err(Raised::from_err(py, error));
            }
        }
    }
    Ok(Object::none())
}

/// `connect(address)`: begun without waiting, and then waited for.
fn connect(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let socket = Socket::of(call.this);
    if !socket.is_ours(py) {
        return call.forward();
    }
    let mut patience = Patience::new(socket.timeout(py));
    loop {
        let result = socket.without_waiting(py, || call.forward());
        if result.is_ok() {
            return result;
        }
        let error = Raised.into_err(py);
        let errno = error.value(py).getattr_opt("errno");
        match errno.ok().flatten().and_then(|errno| errno.extract::<c_int>().ok()) {
            Some(libc::EINPROGRESS) => break,
            // A Unix socket whose listener has no room: nothing tells when there is some.
            Some(libc::EAGAIN) => patience.pause(py)?,
            _ => return Err(Raised::from_err(py, error)),
        }
    }
    patience.wait(py, socket.fd(), Interest::Write)?;
    match ready::pending_error(socket.fd()) {
        0 => Ok(Object::none()),
        code => {
            let error = std::io::Error::from_raw_os_error(code);
            Err(Raised::from_err(py, crate::error::system_error(&error)))
        }
    }
}

/// `connect_ex(address)`: the errno instead of the exception.
fn connect_ex(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let socket = Socket::of(call.this);
    if !socket.is_ours(py) {
        return call.forward();
    }
    let mut patience = Patience::new(socket.timeout(py));
    let code = |code: c_int| {
        // SAFETY: GIL held.
        let number = unsafe { ffi::PyLong_FromLong(code.into()) };
        // SAFETY: a new reference or null.
        unsafe { Object::from_owned(number) }.ok_or(Raised)
    };
    loop {
        let answer = socket.without_waiting(py, || call.forward())?;
        match answer.bind(py).extract::<c_int>() {
            Ok(libc::EINPROGRESS) => break,
            Ok(libc::EAGAIN) if !patience.is_over(py)? => patience.pause(py)?,
            _ => return Ok(answer),
        }
    }
    if patience.wait_or_over(py, socket.fd(), Interest::Write)? {
        code(ready::pending_error(socket.fd()))
    } else {
        code(libc::EWOULDBLOCK)
    }
}

/// `close()`, `detach()`: who waits for the descriptor hears of it first.
fn close(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let fd = Socket::of(call.this).fd();
    if fd >= 0 {
        hub::notify_close(py, fd);
    }
    call.forward()
}

/// What acts in the place of each method of `_socket.socket`; all in every OS thread.
pub const METHODS: [(&str, Native, bool); 16] = [
    ("_accept", read, true),
    ("recv", read, true),
    ("recv_into", read, true),
    ("recvfrom", read, true),
    ("recvfrom_into", read, true),
    ("recvmsg", read, true),
    ("recvmsg_into", read, true),
    ("send", write, true),
    ("sendto", write, true),
    ("sendmsg", write, true),
    ("sendmsg_afalg", write, true),
    ("sendall", sendall, true),
    ("connect", connect, true),
    ("connect_ex", connect_ex, true),
    ("close", close, true),
    ("detach", close, true),
];
