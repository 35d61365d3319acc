//! Errors between Rust and Python.
//!
//! Code that can switch reports failure as `Raised`: the exception itself waits in the thread state, where
//! CPython keeps it. `Pending` takes it out for the time in which other Python code runs.
#![allow(unsafe_code)] // the interpreter's error indicator

use std::ffi::CStr;
use std::io;

use pyo3::exceptions::PyOSError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::object::Object;

/// A Python exception is set in the thread state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised;

/// What can raise.
pub type Result<T> = std::result::Result<T, Raised>;

impl Raised {
    /// Sets `error` as the thread's exception.
    pub fn from_err(py: Python<'_>, error: PyErr) -> Raised {
        error.restore(py);
        Raised
    }

    /// The thread's exception as PyO3's.
    #[inline(never)] // keeps what it needs off the stacks of those who park
    pub fn into_err(self, py: Python<'_>) -> PyErr {
        PyErr::fetch(py)
    }
}

/// Sets `exception(text)`.
pub fn raise(exception: *mut ffi::PyObject, text: &CStr) -> Raised {
    // SAFETY: an exception class of the interpreter or of this module (never freed), a C string; GIL held.
    unsafe { ffi::PyErr_SetString(exception, text.as_ptr()) };
    Raised
}

/// Sets `error`, made by code that has no `Python` token at hand.
#[cold]
pub fn raise_err(error: PyErr) -> Raised {
    // SAFETY: whoever can raise holds the GIL.
    Raised::from_err(unsafe { Python::assume_attached() }, error)
}

/// Sets TypeError.
pub fn type_error(text: &CStr) -> Raised {
    // SAFETY: a static of the interpreter.
    raise(unsafe { ffi::PyExc_TypeError }, text)
}

/// Sets ValueError.
pub fn value_error(text: &CStr) -> Raised {
    // SAFETY: a static of the interpreter.
    raise(unsafe { ffi::PyExc_ValueError }, text)
}

/// Sets AttributeError.
pub fn attribute_error(text: &CStr) -> Raised {
    // SAFETY: a static of the interpreter.
    raise(unsafe { ffi::PyExc_AttributeError }, text)
}

/// Sets RuntimeError.
pub fn runtime_error(text: &CStr) -> Raised {
    // SAFETY: a static of the interpreter.
    raise(unsafe { ffi::PyExc_RuntimeError }, text)
}

/// Sets the exception for an engine error: MemoryError for ENOMEM, else OSError with errno.
pub fn io_error(py: Python<'_>, error: io::Error) -> Raised {
    if error.raw_os_error() == Some(libc::ENOMEM) {
        // SAFETY: a static of the interpreter.
        return raise(
            unsafe { ffi::PyExc_MemoryError },
            c"cannot allocate a greenlet stack",
        );
    }
    Raised::from_err(py, system_error(&error))
}

/// The OSError of an engine's or a system call's error, with its errno and of the subclass that goes with it.
/// (PyO3's own conversion tells neither.)
#[cold]
pub fn system_error(error: &io::Error) -> PyErr {
    let Some(errno) = error.raw_os_error() else {
        return PyOSError::new_err(error.to_string());
    };
    // SAFETY: takes any number. What it returns the next call may overwrite; the GIL is held.
    let text = unsafe { libc::strerror(errno) };
    // SAFETY: a C string, as POSIX has it.
    let text = unsafe { CStr::from_ptr(text) };
    PyOSError::new_err((errno, text.to_string_lossy().into_owned()))
}

/// An exception taken out of the thread state.
pub struct Pending {
    kind: Option<Object>,
    value: Option<Object>,
    traceback: Option<Object>,
}

impl Pending {
    /// Takes the thread's exception; empty if there is none.
    #[allow(deprecated)] // PyErr_Fetch: the one form that all supported versions have
    pub fn take() -> Pending {
        let (mut kind, mut value, mut traceback) = (
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        );
        // SAFETY: three valid places; GIL held.
        unsafe { ffi::PyErr_Fetch(&mut kind, &mut value, &mut traceback) };
        // SAFETY: PyErr_Fetch gives owned references or nulls.
        let kind = unsafe { Object::from_owned(kind) };
        // SAFETY: as above.
        let value = unsafe { Object::from_owned(value) };
        // SAFETY: as above.
        let traceback = unsafe { Object::from_owned(traceback) };
        Pending {
            kind,
            value,
            traceback,
        }
    }

    /// An exception of PyO3's.
    pub fn from_err(py: Python<'_>, error: PyErr) -> Pending {
        error.restore(py);
        Pending::take()
    }

    /// The exception made of these parts, as `raise` takes them.
    pub fn new(kind: Object, value: Option<Object>, traceback: Option<Object>) -> Pending {
        Pending {
            kind: Some(kind),
            value,
            traceback,
        }
    }

    /// The same with its instance built: what `raise` does before anybody sees the exception.
    #[allow(deprecated)] // as in `take`
    pub fn normalized(self) -> Pending {
        let into = |part: Option<Object>| part.map_or(std::ptr::null_mut(), Object::into_ptr);
        let (mut kind, mut value, mut traceback) =
            (into(self.kind), into(self.value), into(self.traceback));
        // SAFETY: owned references or nulls, in places that stay valid.
        unsafe { ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut traceback) };
        // SAFETY: owned or null.
        let kind = unsafe { Object::from_owned(kind) };
        // SAFETY: owned or null.
        let value = unsafe { Object::from_owned(value) };
        // SAFETY: owned or null.
        let traceback = unsafe { Object::from_owned(traceback) };
        Pending {
            kind,
            value,
            traceback,
        }
    }

    /// The exception itself, of one that is `normalized`.
    pub fn instance(&self) -> Option<&Object> {
        self.value.as_ref()
    }

    /// Sets it again.
    #[allow(deprecated)] // as in `take`
    pub fn restore(self) -> Raised {
        let into = |part: Option<Object>| part.map_or(std::ptr::null_mut(), Object::into_ptr);
        let (kind, value, traceback) = (into(self.kind), into(self.value), into(self.traceback));
        // SAFETY: owned references or nulls, given away.
        unsafe { ffi::PyErr_Restore(kind, value, traceback) };
        Raised
    }

    /// The exception as an instance (built if need be) and its traceback set on it; `None` when empty.
    #[allow(deprecated)] // PyErr_NormalizeException, as in `take`
    pub fn into_instance(self) -> Option<Object> {
        let into = |part: Option<Object>| part.map_or(std::ptr::null_mut(), Object::into_ptr);
        let (mut kind, mut value, mut traceback) =
            (into(self.kind), into(self.value), into(self.traceback));
        // SAFETY: owned references or nulls, in places that stay valid.
        unsafe { ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut traceback) };
        // SAFETY: owned or null.
        drop(unsafe { Object::from_owned(kind) });
        // SAFETY: owned or null.
        let traceback = unsafe { Object::from_owned(traceback) };
        // SAFETY: owned or null.
        let value = unsafe { Object::from_owned(value) };
        if let (Some(value), Some(traceback)) = (&value, &traceback) {
            // SAFETY: an exception instance and a traceback object, both live.
            unsafe { ffi::PyException_SetTraceback(value.as_ptr(), traceback.as_ptr()) };
        }
        value
    }
}
