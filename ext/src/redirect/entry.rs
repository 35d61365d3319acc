//! The C functions that redirected builtins lead to: one for each slot and calling convention.
//!
//! CPython hands a builtin's function nothing that tells which builtin was called, so each slot has entries of its
//! own. Invariant: a panic becomes an exception here and never unwinds into the interpreter.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;

use super::{Raw, dispatch};
use crate::error::{self, Raised};

/// Number of slots.
pub const COUNT: usize = 128;

/// The entries of one slot, as `PyMethodDef` has them.
#[derive(Clone, Copy)]
struct Entries {
    one: unsafe extern "C" fn(*mut PyObject, *mut PyObject) -> *mut PyObject,
    pair: unsafe extern "C" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject,
    array: unsafe extern "C" fn(*mut PyObject, *const *mut PyObject, isize) -> *mut PyObject,
    named: unsafe extern "C" fn(
        *mut PyObject,
        *const *mut PyObject,
        isize,
        *mut PyObject,
    ) -> *mut PyObject,
    class: unsafe extern "C" fn(
        *mut PyObject,
        *mut PyTypeObject,
        *const *mut PyObject,
        usize,
        *mut PyObject,
    ) -> *mut PyObject,
}

/// The entry of the slot for a calling convention.
pub fn entry(slot: usize, flags: c_int) -> Option<*mut c_void> {
    const TUPLE_AND_DICT: c_int = ffi::METH_VARARGS | ffi::METH_KEYWORDS;
    const NAMED: c_int = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    const CLASS: c_int = ffi::METH_METHOD | NAMED;
    let entries = ENTRIES[slot];
    Some(match flags {
        ffi::METH_NOARGS | ffi::METH_O | ffi::METH_VARARGS => entries.one as *mut c_void,
        TUPLE_AND_DICT => entries.pair as *mut c_void,
        ffi::METH_FASTCALL => entries.array as *mut c_void,
        NAMED => entries.named as *mut c_void,
        CLASS => entries.class as *mut c_void,
        _ => return None,
    })
}

fn enter(slot: usize, this: *mut PyObject, raw: Raw) -> *mut PyObject {
    // SAFETY: CPython calls builtins with the GIL held.
    let py = unsafe { Python::assume_attached() };
    match catch_unwind(AssertUnwindSafe(|| dispatch(py, slot, this, raw))) {
        Ok(Ok(object)) => object.into_ptr(),
        Ok(Err(Raised)) => ptr::null_mut(),
        Err(_) => {
            // SAFETY: a static of the interpreter.
            let kind = unsafe { ffi::PyExc_SystemError };
            error::raise(kind, c"panic in a redirected builtin");
            ptr::null_mut()
        }
    }
}

unsafe extern "C" fn one<const N: usize>(
    this: *mut PyObject,
    args: *mut PyObject,
) -> *mut PyObject {
    enter(N, this, Raw::One(args))
}

unsafe extern "C" fn pair<const N: usize>(
    this: *mut PyObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    enter(N, this, Raw::Pair(args, kwargs))
}

unsafe extern "C" fn array<const N: usize>(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
) -> *mut PyObject {
    enter(N, this, Raw::Array(args, count))
}

unsafe extern "C" fn named<const N: usize>(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    enter(N, this, Raw::Named(args, count, names))
}

unsafe extern "C" fn class<const N: usize>(
    this: *mut PyObject,
    class: *mut PyTypeObject,
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    enter(N, this, Raw::Class(class, args, count, names))
}

const fn entries<const N: usize>() -> Entries {
    Entries {
        one: one::<N>,
        pair: pair::<N>,
        array: array::<N>,
        named: named::<N>,
        class: class::<N>,
    }
}

macro_rules! table {
    ($($row:literal)*) => {
        [$(
            entries::<{ $row * 8 }>(), entries::<{ $row * 8 + 1 }>(),
            entries::<{ $row * 8 + 2 }>(), entries::<{ $row * 8 + 3 }>(),
            entries::<{ $row * 8 + 4 }>(), entries::<{ $row * 8 + 5 }>(),
            entries::<{ $row * 8 + 6 }>(), entries::<{ $row * 8 + 7 }>(),
        )*]
    };
}

static ENTRIES: [Entries; COUNT] = table!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
