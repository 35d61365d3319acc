//! The waiting methods for socket objects that are not ours: plain `_socket.socket` objects that a program took
//! before the standard module was patched, and whose methods are redirected in place.
//!
//! `call` runs the same code as for our own class, on the object's own descriptor, family and timeout. Whether the
//! descriptor is blocking does not matter and is left as it is. What this code passes on to the base class's methods
//! (odd addresses, wrong arguments) comes back through the same redirection: `wants_original` tells it then.
#![allow(unsafe_code)] // CPython's calling convention

use std::cell::Cell;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::address::Address;
use super::call::{Args, call_one, finish, int};
use super::state::{Sock, State};
use super::{accept, class, connect, datagram, message, receive, send, timeout};
use crate::error::{Raised, Result};
use crate::object::{Object, type_of};

/// A method that may wait.
pub type Method = fn(Python<'_>, Sock<'_>, Args<'_>) -> Result<Object>;

/// The methods of `_socket.socket` that may wait, by name.
pub const METHODS: [(&str, Method); 13] = [
    ("_accept", accept::accept_descriptor),
    ("connect", connect::connect),
    ("connect_ex", connect::connect_ex),
    ("recv", receive::recv),
    ("recv_into", receive::recv_into),
    ("recvfrom", receive::recvfrom),
    ("recvfrom_into", datagram::recvfrom_into),
    ("recvmsg", message::recvmsg),
    ("recvmsg_into", message::recvmsg_into),
    ("send", send::send),
    ("sendall", send::sendall),
    ("sendto", datagram::sendto),
    ("sendmsg", message::sendmsg),
];

thread_local! {
    static IN_BASE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, which calls a method of the base class.
pub fn with_original<R>(f: impl FnOnce() -> R) -> R {
    let before = IN_BASE.replace(true);
    let result = f();
    IN_BASE.set(before);
    result
}

/// Whether a redirected method must call what it stands for: `object` is ours, has no known family or never waits, or
/// it is this code that calls. GIL held; the class exists.
pub fn wants_original(py: Python<'_>, object: *mut ffi::PyObject) -> bool {
    IN_BASE.get() || Sock::of(object).is_some() || !serves(py, object)
}

/// Whether `object` is one that `call` does not serve because of its family, and that may block.
pub fn is_rare(py: Python<'_>, object: *mut ffi::PyObject) -> bool {
    if IN_BASE.get() || Sock::of(object).is_some() {
        return false;
    }
    let waits = seconds(py, object).is_ok_and(|seconds| seconds != Some(0.0));
    let rare = member(class().family, object).is_ok_and(|family| !Address::knows(family));
    if !(waits && rare) {
        drop(crate::error::Pending::take());
    }
    waits && rare
}

fn serves(py: Python<'_>, object: *mut ffi::PyObject) -> bool {
    let waits = seconds(py, object).is_ok_and(|seconds| seconds != Some(0.0));
    let family = member(class().family, object);
    let known = family.is_ok_and(Address::knows);
    if !(waits && known) {
        drop(crate::error::Pending::take());
    }
    waits && known
}

/// `method` of METHODS for a plain socket object, with the arguments of a METH_FASTCALL | METH_KEYWORDS call; a new
/// reference, or null with an exception set. May switch: yes.
///
/// # Safety
/// - GIL held, `wants_original` has just said false, and the pointers are live during the call.
pub unsafe fn call(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
    method: Method,
) -> *mut ffi::PyObject {
    // SAFETY: by the caller's word.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: as above.
    let args = unsafe { Args::new(args, positional, names) };
    finish(catch_unwind(AssertUnwindSafe(|| {
        let state = borrow(py, object)?;
        let sock = Sock {
            object,
            state: &state,
        };
        method(py, sock, args)
    })))
}

/// The state of a plain socket object for one call.
fn borrow(py: Python<'_>, object: *mut ffi::PyObject) -> Result<State> {
    let state = State::new();
    let class = class();
    state.borrowed.set(true);
    state
        .fd
        .set(int(call_one(class.methods.fileno, object)?.as_ptr())?);
    state.family.set(member(class.family, object)?);
    state
        .kind
        .set(member(class.kind, object)? & !super::lifetime::flags());
    state.proto.set(member(class.proto, object)?);
    timeout::set_state(&state, seconds(py, object)?);
    Ok(state)
}

/// What a member descriptor of `_socket.socket` says of an object.
fn member(descriptor: *mut ffi::PyObject, object: *mut ffi::PyObject) -> Result<c_int> {
    // SAFETY: a live descriptor.
    let get = unsafe { (*type_of(descriptor)).tp_descr_get }.expect("a member descriptor");
    // SAFETY: a live object and its type.
    let value = unsafe { get(descriptor, object, type_of(object).cast()) };
    // SAFETY: a new reference or null.
    let value = unsafe { Object::from_owned(value) }.ok_or(Raised)?;
    int(value.as_ptr())
}

/// The timeout that the object has.
fn seconds(py: Python<'_>, object: *mut ffi::PyObject) -> Result<Option<f64>> {
    let seconds = call_one(class().methods.gettimeout, object)?;
    seconds
        .bind(py)
        .extract::<Option<f64>>()
        .map_err(|error| Raised::from_err(py, error))
}

/// `_call_plain(sock, name, args)`: what a redirected method of that name does, for tests.
#[pyfunction]
pub fn _call_plain<'py>(
    sock: &Bound<'py, PyAny>,
    name: &str,
    args: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = sock.py();
    super::class::socket_class(py)?;
    // SAFETY: the class is there, and so is its base.
    let plain = unsafe { ffi::PyObject_TypeCheck(sock.as_ptr(), class().raw) } != 0;
    let method = METHODS.iter().find(|(known, _)| *known == name);
    let Some((_, method)) = method.filter(|_| plain) else {
        return Err(PyTypeError::new_err("no such method of a socket"));
    };
    if wants_original(py, sock.as_ptr()) {
        return sock.call_method1(name, args);
    }
    let values: Vec<_> = args.iter().collect();
    let values: Vec<_> = values.iter().map(Bound::as_ptr).collect();
    let count = values.len() as ffi::Py_ssize_t;
    // SAFETY: live objects; asked just before.
    let result = unsafe {
        call(
            sock.as_ptr(),
            values.as_ptr(),
            count,
            std::ptr::null_mut(),
            *method,
        )
    };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, result) }
}
