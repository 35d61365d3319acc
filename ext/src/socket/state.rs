//! `State`: what a native socket keeps behind the fields of its base class, and `Sock`, the view of one socket
//! during a call.
//!
//! Invariant: a `Sock` lives only as long as the call that made it; the caller of a method keeps the object
//! alive, so it may be used after a switch. Cells are read anew after a switch: anybody may have closed it.
#![allow(unsafe_code)] // fields behind a base class

use std::cell::Cell;
use std::ffi::c_int;

use eventlet::reactor::Token;
use pyo3::ffi;
use pyo3::prelude::*;

use super::call::os_error;
use super::class;
use super::peer::LastPeer;
use crate::error::{Raised, Result};
use crate::object::Object;

/// How long a call may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// As long as it takes (`settimeout(None)`).
    Forever,
    /// `State::timeout` seconds.
    Limited,
    /// Not at all (`setblocking(False)`).
    Never,
}

/// A registration of the descriptor with one hub.
#[derive(Clone, Copy)]
pub struct Registration {
    /// Which hub.
    pub hub: u64,
    /// Its name there.
    pub token: Token,
}

/// The native fields of a socket.
pub struct State {
    /// The descriptor, or -1.
    pub fd: Cell<c_int>,
    /// Address family, socket type without flags, protocol.
    pub family: Cell<c_int>,
    pub kind: Cell<c_int>,
    pub proto: Cell<c_int>,
    /// Seconds; for `Mode::Limited` only.
    pub timeout: Cell<f64>,
    pub mode: Cell<Mode>,
    /// Another socket object (attribute `_wrapped`) has the descriptor.
    pub wraps: Cell<bool>,
    /// The object is not of our class: this state was made for one call, and its descriptor may be blocking.
    pub borrowed: Cell<bool>,
    /// The last receive has emptied the kernel's buffer: the next one parks without asking.
    pub drained: Cell<bool>,
    /// The last read through TLS took the rest of a record: the TLS object has nothing by itself.
    pub record_read: Cell<bool>,
    pub registration: Cell<Option<Registration>>,
    /// Emptied when the object is finalised: nobody drops a `State` that lies behind a base class.
    pub peer: LastPeer,
}

impl State {
    /// A socket without a descriptor.
    pub const fn new() -> State {
        State {
            fd: Cell::new(-1),
            family: Cell::new(0),
            kind: Cell::new(0),
            proto: Cell::new(0),
            timeout: Cell::new(0.0),
            mode: Cell::new(Mode::Forever),
            wraps: Cell::new(false),
            borrowed: Cell::new(false),
            drained: Cell::new(false),
            record_read: Cell::new(false),
            registration: Cell::new(None),
            peer: LastPeer::none(),
        }
    }
}

/// One socket during a call.
#[derive(Clone, Copy)]
pub struct Sock<'a> {
    pub object: *mut ffi::PyObject,
    pub state: &'a State,
}

impl<'a> Sock<'a> {
    /// The view of a `Socket` instance.
    ///
    /// # Safety
    /// - `object` is an instance of our class and stays alive for `'a`.
    #[inline(always)]
    pub unsafe fn from_ptr(object: *mut ffi::PyObject) -> Sock<'a> {
        // SAFETY: our `tp_new` has put a State there; the offset is behind the base's fields.
        let place = unsafe { object.cast::<u8>().add(class().offset) };
        // SAFETY: initialised by `tp_new`, aligned (CPython rounds basic sizes to pointers), alive for 'a.
        let state = unsafe { &*place.cast::<State>() };
        Sock { object, state }
    }

    /// The view of `object` if it is one of ours.
    pub fn of(object: *mut ffi::PyObject) -> Option<Sock<'a>> {
        // SAFETY: a live object and a type.
        let ours = unsafe { ffi::PyObject_TypeCheck(object, class().class) } != 0;
        // SAFETY: just checked; the caller keeps `object` alive.
        ours.then(|| unsafe { Sock::from_ptr(object) })
    }

    /// The descriptor, or OSError EBADF.
    #[inline(always)]
    pub fn fd(&self) -> Result<c_int> {
        let fd = self.state.fd.get();
        if fd < 0 {
            Err(os_error(libc::EBADF))
        } else {
            Ok(fd)
        }
    }

    /// The attribute `name`.
    pub fn attribute(&self, py: Python<'_>, name: &str) -> Result<Object> {
        attribute(py, self.object, name)
    }

    /// The wrapped socket object.
    pub fn wrapped(&self, py: Python<'_>) -> Result<Object> {
        self.attribute(py, "_wrapped")
    }

    /// The class of the object.
    pub fn class(&self) -> *mut ffi::PyTypeObject {
        // SAFETY: a live object.
        unsafe { ffi::Py_TYPE(self.object) }
    }

    /// Whether calls return at once.
    #[inline(always)]
    pub fn never_waits(&self) -> bool {
        self.state.mode.get() == Mode::Never
    }
}

/// The attribute `name` of any object.
pub fn attribute(py: Python<'_>, object: *mut ffi::PyObject, name: &str) -> Result<Object> {
    // SAFETY: a live object.
    let object = unsafe { Bound::from_borrowed_ptr(py, object) };
    object
        .getattr(name)
        .map(Object::from)
        .map_err(|error| Raised::from_err(py, error))
}
