//! `Definition`: the `PyMethodDef` that all references to one builtin lead to.
//!
//! A function object points to it (`m_ml`), a method descriptor too (`d_method`), and so do bound methods made from
//! one. CPython reads the function pointer in it at each call, also in the specialised instructions of 3.11 and
//! later. The tables are writable data in CPython; one that is not is found out by the kernel, not by a crash.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use pyo3::ffi;
use pyo3::prelude::*;

use super::convention;

/// Where a builtin's function pointer stands, and what it was.
#[derive(Clone, Copy)]
pub struct Definition {
    place: NonNull<ffi::PyMethodDef>,
    original: NonNull<c_void>,
}

impl Definition {
    /// That of a builtin function or a method descriptor; the error says why there is none.
    pub fn of(function: &Bound<'_, PyAny>) -> Result<Definition, String> {
        let object = function.as_ptr();
        // SAFETY: a live object.
        let place = if unsafe { ffi::PyCFunction_Check(object) } != 0 {
            let object = object.cast::<ffi::PyCFunctionObject>();
            // SAFETY: just checked.
            unsafe { (*object).m_ml }
        } else if function.get_type().as_type_ptr() == method_descriptor() {
            let object = object.cast::<ffi::PyMethodDescrObject>();
            // SAFETY: just checked.
            unsafe { (*object).d_method }
        } else {
            let kind = function.get_type();
            return Err(format!("{kind} is no builtin function or method"));
        };
        let place = NonNull::new(place).ok_or("it has no definition")?;
        // SAFETY: CPython's own, which lives as long as the function object.
        let original = NonNull::new(unsafe { *pointer_in(place) }).ok_or("it has no function")?;
        Ok(Definition { place, original })
    }

    /// A definition of the same builtin that leads to the original function.
    pub fn copy(self) -> ffi::PyMethodDef {
        // SAFETY: lives as long as the builtin; plain data.
        let mut copy = unsafe { self.place.as_ptr().read() };
        let place = NonNull::from(&mut copy);
        // SAFETY: our copy.
        unsafe { *pointer_in(place) = self.original() };
        copy
    }

    /// Whether both are the same place.
    pub fn same(self, other: Definition) -> bool {
        self.place == other.place
    }

    /// The calling convention.
    pub fn flags(self) -> c_int {
        // SAFETY: lives as long as the builtin, which is never freed.
        convention(unsafe { (*self.place.as_ptr()).ml_flags })
    }

    /// The function that was there at first.
    pub fn original(self) -> *mut c_void {
        self.original.as_ptr()
    }

    /// The error says that the place cannot be written to. Asks the kernel, by reading what stands there from a
    /// pipe into it.
    pub fn is_writable(self) -> Result<(), String> {
        let place = pointer_in(self.place).cast::<c_void>();
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } < 0 {
            return Err(std::io::Error::last_os_error().to_string());
        }
        let size = size_of::<*mut c_void>();
        // SAFETY: the pipe takes a copy of so many readable bytes.
        let put = unsafe { libc::write(ends[1], place, size) };
        // SAFETY: writes what stands there already; the kernel refuses where it may not.
        let got = unsafe { libc::read(ends[0], place, size) };
        for end in ends {
            // SAFETY: ours.
            unsafe { libc::close(end) };
        }
        if put == size as isize && got == put {
            Ok(())
        } else {
            Err("its definition is read-only".to_owned())
        }
    }

    /// Has the builtin call `entry` from now on.
    pub fn lead_to(self, entry: *mut c_void) {
        // SAFETY: writable (asked before), and read under the GIL, which we hold.
        unsafe { *pointer_in(self.place) = entry };
    }
}

/// Where the function pointer stands in a definition.
fn pointer_in(place: NonNull<ffi::PyMethodDef>) -> *mut *mut c_void {
    // SAFETY: a field of a live structure; no reference is made.
    unsafe { &raw mut (*place.as_ptr()).ml_meth }.cast()
}

/// The type of method descriptors.
fn method_descriptor() -> *mut ffi::PyTypeObject {
    &raw mut ffi::PyMethodDescr_Type
}
