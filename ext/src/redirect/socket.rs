//! `_socket.socket`: sockets that were made before they could be green, or by a name that was taken before.
//!
//! What may wait is done by the code of the green sockets, on the object's own descriptor and timeout (`plain`).
//! Sockets of rare families are waited for until they are ready, and then the original is called. Sockets of
//! `eventlet.green` pass through, as do OS threads without a hub.
//!
//! TLS needs the original methods, on a descriptor that does not block: `without_waiting` puts it into that mode for
//! the time of a try, in which the object's timeout reads 0, so that the method does not wait by itself.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use eventlet::reactor::Interest;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use super::arguments::Call;
use super::definition::Definition;
use super::ready::{self, Patience};
use super::{Native, install};
use crate::error::{Raised, Result};
use crate::gil_cell::GilCell;
use crate::hub;
use crate::object::Object;
use crate::socket::{class, plain};

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

    /// Runs `f`, an original method, with no timeout and on a descriptor that does not block.
    pub fn without_waiting<T>(self, py: Python<'_>, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let mode = ready::set_non_blocking(self.fd());
        let before = self.timeout(py);
        TRIED.with(py, |tried| {
            let tried = tried.get_or_insert_with(HashMap::new);
            tried.entry(self.address()).or_insert((0, before)).0 += 1;
        });
        self.0.timeout.set(0);
        let result = f();
        if let Some(mode) = mode {
            ready::restore(self.fd(), mode);
        }
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

/// The method of this index in `plain::METHODS`.
fn method<const INDEX: usize>(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    if plain::wants_original(py, call.this) {
        return original::<INDEX>(py, call);
    }
    let flags = call.slot.definition.get().map_or(0, Definition::flags);
    let (args, kwargs) = call.collect(flags)?;
    let args = args.bind(py);
    let mut values: Vec<*mut PyObject> = Vec::new();
    let mut names = None;
    for value in args
        .try_iter()
        .map_err(|error| Raised::from_err(py, error))?
    {
        // The tuple keeps it alive.
        values.push(value.map_err(|error| Raised::from_err(py, error))?.as_ptr());
    }
    let count = values.len() as ffi::Py_ssize_t;
    if let Some(kwargs) = &kwargs {
        let kwargs = kwargs.bind(py);
        let Ok(kwargs) = kwargs.cast::<pyo3::types::PyDict>() else {
            return call.forward();
        };
        let mut keys = Vec::new();
        for (name, value) in kwargs.iter() {
            values.push(value.as_ptr());
            keys.push(name.as_ptr());
        }
        names = Some(super::arguments::tuple(&keys)?);
    }
    let names = names.as_ref().map_or(std::ptr::null_mut(), Object::as_ptr);
    let (_, method) = plain::METHODS[INDEX];
    // SAFETY: GIL held, `wants_original` has said no, and the arguments are alive.
    let result = unsafe { plain::call(call.this, values.as_ptr(), count, names, method) };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Object::from_owned(result) }.ok_or(Raised)
}

/// Methods, by name, that read and write; the others never wait for a socket that is ready.
const READS: [&str; 6] = [
    "_accept",
    "recv",
    "recv_into",
    "recvfrom",
    "recvmsg",
    "recvmsg_into",
];
const WRITES: [&str; 4] = ["send", "sendall", "sendto", "sendmsg"];

/// The original. A socket of a rare family that would block is waited for first.
fn original<const INDEX: usize>(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let socket = Socket::of(call.this);
    let (name, _) = plain::METHODS[INDEX];
    let interest = if READS.contains(&name) || name == "recvfrom_into" {
        Interest::Read
    } else if WRITES.contains(&name) {
        Interest::Write
    } else {
        return call.forward();
    };
    if plain::is_rare(py, call.this) && socket.fd() >= 0 {
        Patience::new(socket.timeout(py)).wait(py, socket.fd(), interest)?;
    }
    call.forward()
}

/// `close()`, `detach()`: who waits for the descriptor hears of it first.
fn close(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let fd = Socket::of(call.this).fd();
    if fd >= 0 {
        hub::notify_close(py, fd);
    }
    call.forward()
}

const NATIVES: [Native; plain::METHODS.len()] = [
    method::<0>,
    method::<1>,
    method::<2>,
    method::<3>,
    method::<4>,
    method::<5>,
    method::<6>,
    method::<7>,
    method::<8>,
    method::<9>,
    method::<10>,
    method::<11>,
    method::<12>,
];

/// Redirects the methods of `_socket.socket`; the reasons, by method, why some cannot be.
pub fn redirect(raw: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    class::socket_class(raw.py())?;
    let mut failed = Vec::new();
    let waiting = plain::METHODS.iter().zip(NATIVES);
    let waiting = waiting.map(|(&(name, _), native)| (name, native));
    for (name, native) in waiting.chain([("close", close as Native), ("detach", close)]) {
        let Some(method) = raw.getattr_opt(name)? else {
            continue; // this system has it not
        };
        if let Err(reason) = install(&method, native, false) {
            failed.push((name.to_owned(), reason));
        }
    }
    Ok(failed)
}
