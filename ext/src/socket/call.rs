//! Entry of the native methods: CPython's calling convention on one side, a Rust function on the other.
//!
//! The methods are entered without PyO3 because they switch greenlets. Invariant: a panic becomes an exception
//! here and never unwinds into the interpreter.
#![allow(unsafe_code)] // CPython's calling convention

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{ptr, slice};

use pyo3::ffi;
use pyo3::prelude::*;

use super::state::Sock;
use crate::call;
use crate::error::{Raised, Result};
use crate::object::Object;

/// The arguments of a METH_FASTCALL | METH_KEYWORDS call; borrowed from the caller for the whole call.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    /// Positional values, then those of the keywords.
    values: &'a [*mut ffi::PyObject],
    positional: usize,
    names: *mut ffi::PyObject,
}

impl<'a> Args<'a> {
    /// The arguments of such a call.
    ///
    /// # Safety
    /// - As CPython calls: `positional` values and those of the keywords at `values`, live for 'a; `names` is null or
    ///   a tuple of str.
    #[inline(always)]
    pub unsafe fn new(
        values: *const *mut ffi::PyObject,
        positional: ffi::Py_ssize_t,
        names: *mut ffi::PyObject,
    ) -> Args<'a> {
        let keywords = if names.is_null() {
            0
        } else {
            // SAFETY: `names` is a tuple when it is not null.
            unsafe { ffi::PyTuple_Size(names) }
        };
        let values = if values.is_null() {
            &[]
        } else {
            // SAFETY: that many values stand there during the call.
            unsafe { slice::from_raw_parts(values, (positional + keywords) as usize) }
        };
        Args {
            values,
            positional: positional as usize,
            names,
        }
    }

    /// The values of `parameters` (null where not given), of which the first `required` must be given.
    #[inline]
    pub fn parse<const N: usize>(
        &self,
        function: &str,
        parameters: [&str; N],
        required: usize,
    ) -> Result<[*mut ffi::PyObject; N]> {
        let mut out = [ptr::null_mut(); N];
        if self.positional > N {
            let given = self.positional;
            return Err(type_error(&format!(
                "{function}() takes at most {N} arguments ({given} given)"
            )));
        }
        out[..self.positional].copy_from_slice(&self.values[..self.positional]);
        if !self.names.is_null() {
            self.parse_keywords(function, &parameters, &mut out)?;
        }
        if let Some(missing) = out[..required].iter().position(|value| value.is_null()) {
            let name = parameters[missing];
            return Err(type_error(&format!(
                "{function}() missing required argument '{name}'"
            )));
        }
        Ok(out)
    }

    #[cold]
    fn parse_keywords(
        &self,
        function: &str,
        parameters: &[&str],
        out: &mut [*mut ffi::PyObject],
    ) -> Result<()> {
        for (index, value) in self.values[self.positional..].iter().enumerate() {
            // SAFETY: `names` is a tuple of as many str as there are keyword values (calling convention).
            let name = unsafe { ffi::PyTuple_GetItem(self.names, index as ffi::Py_ssize_t) };
            let place = parameters
                .iter()
                .position(|parameter| str_equals(name, parameter));
            match place {
                Some(place) if out[place].is_null() => out[place] = *value,
                Some(place) => {
                    let name = parameters[place];
                    return Err(type_error(&format!(
                        "{function}() got multiple values for argument '{name}'"
                    )));
                }
                None => {
                    return Err(type_error(&format!(
                        "{function}() got an unexpected keyword argument"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Calls `callable` with `first` (if any) and then exactly these arguments.
    pub fn forward(
        &self,
        callable: *mut ffi::PyObject,
        first: Option<*mut ffi::PyObject>,
    ) -> Result<Object> {
        let mut values = Vec::with_capacity(self.values.len() + 1);
        values.extend(first);
        values.extend_from_slice(self.values);
        let positional = self.positional + usize::from(first.is_some());
        // SAFETY: live objects, borrowed from our own caller; `names` as CPython gave it to us.
        unsafe { call::vectorcall(callable, values.as_ptr(), positional, self.names) }
    }

    /// The positional values.
    pub fn values(&self) -> &'a [*mut ffi::PyObject] {
        &self.values[..self.positional]
    }

    /// Whether any was given by keyword.
    pub fn has_keywords(&self) -> bool {
        self.values.len() > self.positional
    }

    /// The first positional value.
    pub fn first(&self) -> Option<*mut ffi::PyObject> {
        self.values[..self.positional].first().copied()
    }
}

/// `function(arg)`. (CPython 3.10 does not export PyObject_CallOneArg.)
#[inline]
pub fn call_one(function: *mut ffi::PyObject, arg: *mut ffi::PyObject) -> Result<Object> {
    // SAFETY: live objects; the callee takes its own references.
    unsafe { call::vectorcall(function, &arg, 1, ptr::null_mut()) }
}

fn str_equals(object: *mut ffi::PyObject, text: &str) -> bool {
    let mut len = 0;
    // SAFETY: keyword names are str objects.
    let bytes = unsafe { ffi::PyUnicode_AsUTF8AndSize(object, &mut len) };
    if bytes.is_null() {
        // SAFETY: GIL held; a name with lone surrogates matches nothing.
        unsafe { ffi::PyErr_Clear() };
        return false;
    }
    // SAFETY: CPython keeps `len` bytes there as long as the str lives.
    text.as_bytes() == unsafe { slice::from_raw_parts(bytes.cast::<u8>(), len as usize) }
}

/// Sets TypeError with a text made at run time.
#[cold]
pub fn type_error(text: &str) -> Raised {
    raise_text(
        // SAFETY: a static of the interpreter.
        unsafe { ffi::PyExc_TypeError },
        text,
    )
}

/// Sets `exception(text)`.
#[cold]
pub fn raise_text(exception: *mut ffi::PyObject, text: &str) -> Raised {
    if let Ok(text) = std::ffi::CString::new(text) {
        crate::error::raise(exception, &text);
    }
    Raised
}

/// Sets the OSError of an errno (its subclass, with the system's text), as the socket module does.
#[cold]
pub fn os_error(errno: c_int) -> Raised {
    // SAFETY: a static of the interpreter.
    raise_errno(unsafe { ffi::PyExc_OSError }, errno, None)
}

/// Sets `exception(errno, text)`; the system's text if none is given.
#[cold]
pub fn raise_errno(exception: *mut ffi::PyObject, errno: c_int, text: Option<&CStr>) -> Raised {
    let text = match text {
        Some(text) => text.as_ptr(),
        // SAFETY: returns a C string that stays valid until the next call; the GIL serialises us.
        None => unsafe { libc::strerror(errno) },
    };
    // SAFETY: format and arguments agree: an int, a C string.
    let value = unsafe { ffi::Py_BuildValue(c"(is)".as_ptr(), errno, text) };
    // SAFETY: a new reference or null.
    let Some(value) = (unsafe { Object::from_owned(value) }) else {
        return Raised;
    };
    // The instance decides its class (BlockingIOError and so on), which who asks for it must find.
    // SAFETY: an exception class and the tuple of its arguments.
    let error = unsafe { ffi::PyObject_CallObject(exception, value.as_ptr()) };
    // SAFETY: a new reference or null.
    if let Some(error) = unsafe { Object::from_owned(error) } {
        // SAFETY: a live object.
        let class = unsafe { ffi::Py_TYPE(error.as_ptr()) };
        // SAFETY: an exception and its class.
        unsafe { ffi::PyErr_SetObject(class.cast(), error.as_ptr()) };
    }
    Raised
}

/// Runs `body` for a method call on `this`.
///
/// # Safety
/// - Called by CPython as the method of a `Socket` instance: GIL held, all pointers live during the call.
#[inline(always)]
pub unsafe fn enter(
    this: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
    body: impl FnOnce(Python<'_>, Sock<'_>, Args<'_>) -> Result<Object>,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls methods with the GIL held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: as CPython calls.
    let args = unsafe { Args::new(args, positional, names) };
    // SAFETY: the method descriptor has checked the type of `this`.
    let sock = unsafe { Sock::from_ptr(this) };
    finish(catch_unwind(AssertUnwindSafe(|| body(py, sock, args))))
}

/// The result as CPython wants it.
#[inline(always)]
pub fn finish(result: std::thread::Result<Result<Object>>) -> *mut ffi::PyObject {
    match result {
        Ok(Ok(object)) => object.into_ptr(),
        Ok(Err(Raised)) => ptr::null_mut(),
        Err(_) => {
            // SAFETY: a static of the interpreter.
            raise_text(
                unsafe { ffi::PyExc_SystemError },
                "panic in a socket method",
            );
            ptr::null_mut()
        }
    }
}

/// A C function for a method table that runs the given Rust function.
macro_rules! method {
    ($body:path) => {{
        unsafe extern "C" fn entry(
            this: *mut ::pyo3::ffi::PyObject,
            args: *const *mut ::pyo3::ffi::PyObject,
            positional: ::pyo3::ffi::Py_ssize_t,
            names: *mut ::pyo3::ffi::PyObject,
        ) -> *mut ::pyo3::ffi::PyObject {
            // SAFETY: CPython's own call of a method of this class.
            unsafe { $crate::socket::call::enter(this, args, positional, names, $body) }
        }
        entry
    }};
}
pub(crate) use method;

/// `value` as a C int, with the interpreter's errors.
#[inline]
pub fn int(value: *mut ffi::PyObject) -> Result<c_int> {
    // SAFETY: a live object.
    let number = unsafe { ffi::PyLong_AsLong(value) };
    if number == -1 && raised() {
        return Err(Raised);
    }
    c_int::try_from(number).map_err(|_| {
        // SAFETY: a static of the interpreter.
        raise_text(
            unsafe { ffi::PyExc_OverflowError },
            "Python int too large to convert to C int",
        )
    })
}

/// `value` as a flags argument: 0 if not given.
#[inline]
pub fn flags(value: *mut ffi::PyObject) -> Result<c_int> {
    if value.is_null() { Ok(0) } else { int(value) }
}

/// `value` as a signed size, with the interpreter's errors.
#[inline]
pub fn signed_size(value: *mut ffi::PyObject) -> Result<isize> {
    // SAFETY: a static of the interpreter.
    let overflow = unsafe { ffi::PyExc_OverflowError };
    // SAFETY: a live object and an exception class for what does not fit, as the socket module has it.
    let number = unsafe { ffi::PyNumber_AsSsize_t(value, overflow) };
    if number == -1 && raised() {
        return Err(Raised);
    }
    Ok(number)
}

/// `value` as a size; `what` names it in the ValueError for a negative one.
#[inline]
pub fn size(value: *mut ffi::PyObject, what: &str) -> Result<usize> {
    let number = signed_size(value)?;
    usize::try_from(number).map_err(|_| {
        // SAFETY: a static of the interpreter.
        raise_text(
            unsafe { ffi::PyExc_ValueError },
            &format!("negative buffersize in {what}"),
        )
    })
}

/// Whether an exception is set.
#[inline]
pub fn raised() -> bool {
    // SAFETY: GIL held.
    !unsafe { ffi::PyErr_Occurred() }.is_null()
}

/// An int object.
#[inline]
pub fn new_int(value: usize) -> Result<Object> {
    // SAFETY: GIL held.
    let number = unsafe { ffi::PyLong_FromSize_t(value) };
    // SAFETY: a new reference or null.
    unsafe { Object::from_owned(number) }.ok_or(Raised)
}

/// The calling thread's errno.
#[inline]
pub fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Whether the exception that is set says that a non-blocking call would have to wait.
pub fn would_block() -> bool {
    // SAFETY: a static of the interpreter.
    matches(unsafe { ffi::PyExc_BlockingIOError })
}

/// Whether the exception that is set is an instance of `class`.
pub fn matches(class: *mut ffi::PyObject) -> bool {
    // SAFETY: GIL held, an exception is set; a live class.
    unsafe { ffi::PyErr_ExceptionMatches(class) != 0 }
}

/// Runs the signal handlers that wait (after EINTR).
pub fn check_signals() -> Result<()> {
    // SAFETY: GIL held.
    if unsafe { ffi::PyErr_CheckSignals() } < 0 {
        Err(Raised)
    } else {
        Ok(())
    }
}
