//! Keeps nested sorts from running off a greenlet's C stack (CPython 3.10 and 3.11).
//!
//! `list.sort` keeps its merge state, about 5 KiB, in its C frame, five times what any other recursion needs
//! per level of `sys.getrecursionlimit()`. These versions count levels only, so a thousand of them do not fit
//! the stack of a greenlet. The method is therefore entered through a check of the stack that is left: what is
//! too deep raises RecursionError, as on a thread's own stack. From 3.12 on CPython has a budget for C calls.
#![allow(unsafe_code)] // replaces a function pointer in a method definition of the interpreter

use std::os::raw::c_int;
use std::sync::OnceLock;

use pyo3::exceptions::{PyImportError, PyRecursionError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{PyTypeInfo, ffi};

use crate::thread::Thread;

type Method = ffi::PyCFunctionFastWithKeywords;

static SORT: OnceLock<Method> = OnceLock::new();

/// Puts the check in front of `list.sort`, once per process.
pub fn install(py: Python<'_>) -> PyResult<()> {
    if SORT.get().is_some() {
        return Ok(());
    }
    let descriptor = PyList::type_object(py).getattr("sort")?;
    let expected = &raw mut ffi::PyMethodDescr_Type;
    if descriptor.get_type().as_type_ptr() != expected {
        return Err(PyImportError::new_err(
            "list.sort is not the method that CPython has there",
        ));
    }
    let descriptor = descriptor.as_ptr().cast::<ffi::PyMethodDescrObject>();
    // SAFETY: an object of exactly that type; it lives as long as `list` does.
    let definition = unsafe { (*descriptor).d_method };
    // SAFETY: the method table of `list`, a static variable of the interpreter.
    let definition = unsafe { &mut *definition };
    let fast: c_int = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    if definition.ml_flags != fast {
        return Err(PyImportError::new_err(
            "list.sort does not take its arguments as CPython's does",
        ));
    }
    // SAFETY: the flags say which member of the union it is.
    let original = unsafe { definition.ml_meth.PyCFunctionFastWithKeywords };
    if SORT.set(original).is_ok() {
        definition.ml_meth = ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: sort,
        };
    }
    Ok(())
}

unsafe extern "C" fn sort(
    list: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    if is_too_deep() {
        return refuse();
    }
    let original = SORT.get().expect("set before this function can be reached");
    // SAFETY: CPython's own method with the arguments that CPython passed.
    unsafe { original(list, arguments, count, names) }
}

/// Whether less than a quarter of the running greenlet's C stack is left; never on a thread's own stack.
#[inline(always)]
fn is_too_deep() -> bool {
    let Some(thread) = Thread::existing() else {
        return false;
    };
    let place = thread.current.get().get().stack.as_ptr();
    // SAFETY: only a switch of this thread changes the cell of its running greenlet.
    let Some(stack) = (unsafe { (*place).as_ref() }) else {
        return false;
    };
    let here = (&raw const place).addr();
    here.wrapping_sub(stack.limit().addr()) < stack.size() / 4
}

#[cold]
fn refuse() -> *mut ffi::PyObject {
    // SAFETY: called from a method, so the GIL is held.
    let py = unsafe { Python::assume_attached() };
    PyRecursionError::new_err("maximum recursion depth exceeded while sorting in a greenlet")
        .restore(py);
    std::ptr::null_mut()
}
