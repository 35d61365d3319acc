//! `greenlet.settrace`: one callback per OS thread, called in the greenlet that was switched to.
#![allow(unsafe_code)] // calls with tracing suspended

use std::ffi::CStr;
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::{Pending, Raised, Result};
use crate::greenlet::{Gr, Transfer};
use crate::object::{Object, owned};
use crate::pystate;
use crate::thread::{TRACED, Thread};

/// Calls the thread's tracer with ('switch' or 'throw', (origin, target)). If it raises, the tracer is removed
/// and its exception is what arrives in the target. May switch: if the tracer does.
#[cold]
pub fn report(thread: &Thread, origin: Gr, target: Gr, transfer: Transfer) -> Transfer {
    let Some(tracer) = thread.tracer.borrow().clone() else {
        return transfer;
    };
    let event = if matches!(transfer, Transfer::Error(_)) {
        c"throw"
    } else {
        c"switch"
    };
    match call(thread, &tracer, event, origin, target) {
        Ok(()) => transfer,
        Err(Raised) => {
            drop(transfer);
            let pending = Pending::take();
            set(thread, None);
            Transfer::Error(pending)
        }
    }
}

fn call(thread: &Thread, tracer: &Object, event: &CStr, origin: Gr, target: Gr) -> Result<()> {
    // SAFETY: a static ASCII string.
    let event = owned(unsafe { ffi::PyUnicode_InternFromString(event.as_ptr()) })?;
    // SAFETY: two live objects.
    let pair =
        owned(unsafe { ffi::PyTuple_Pack(2, origin.as_object_ptr(), target.as_object_ptr()) })?;
    // SAFETY: this thread's own state; undone below.
    unsafe { pystate::enter_tracing(thread.tstate) };
    // SAFETY: live callable and arguments, ended by a null.
    let result = unsafe {
        ffi::PyObject_CallFunctionObjArgs(
            tracer.as_ptr(),
            event.as_ptr(),
            pair.as_ptr(),
            ptr::null_mut::<ffi::PyObject>(),
        )
    };
    // SAFETY: undoes `enter_tracing`.
    unsafe { pystate::leave_tracing(thread.tstate) };
    owned(result).map(drop)
}

fn set(thread: &Thread, tracer: Option<Object>) -> Option<Object> {
    if tracer.is_some() {
        thread.note(TRACED);
    } else {
        thread.settle(TRACED);
    }
    thread.tracer.replace(tracer)
}

/// settrace(callback) -> the previous callback, or None
///
/// Call `callback(event, (origin, target))` after each switch of this thread, in the target; event is 'switch'
/// or 'throw'. None stops it. An exception in the callback is raised in the target, and stops it too.
/// May switch: no.
///
/// >>> import greenlet
/// >>> greenlet.settrace(None)
#[pyfunction]
#[pyo3(signature = (callback, /))]
pub fn settrace(callback: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    let py = callback.py();
    let thread = Thread::get().ok_or_else(|| Raised.into_err(py))?;
    let new = (!callback.is_none()).then(|| Object::from_bound(callback));
    Ok(set(thread, new).map(|old| old.into_bound(py).unbind()))
}

/// gettrace() -> the callback that settrace() has set in this thread, or None
///
/// May switch: no.
///
/// >>> import greenlet
/// >>> greenlet.gettrace()
#[pyfunction]
pub fn gettrace(py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
    let thread = Thread::get().ok_or_else(|| Raised.into_err(py))?;
    let tracer = thread.tracer.borrow().clone();
    Ok(tracer.map(|tracer| tracer.into_bound(py).unbind()))
}
