//! Callbacks at switches, called in the greenlet that was switched to: `greenlet.settrace` and `greenlet.add_trace`.
//!
//! `settrace` has one slot per OS thread, with upstream's rules. `add_trace` has any number of observers beside it:
//! they are called after it, in order, and what one of them does wrong is neither the program's nor the others'.
#![allow(unsafe_code)] // calls with tracing suspended

use std::ffi::CStr;
use std::ptr;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::{Pending, Raised, Result};
use crate::greenlet::{Gr, Transfer};
use crate::object::{Object, owned};
use crate::pystate;
use crate::thread::{TRACED, Thread};

/// Calls the thread's callbacks with ('switch' or 'throw', (origin, target)); what they make of `transfer` arrives in
/// the target. If settrace's raises, it is removed and its exception arrives. If one of add_trace's raises an
/// Exception, it is removed and that is reported; any other exception (GreenletExit, Timeout, KeyboardInterrupt) was
/// meant for the target, where it arrives. May switch: if a callback does.
#[cold]
pub fn report(thread: &Thread, origin: Gr, target: Gr, transfer: Transfer) -> Transfer {
    let event = if matches!(transfer, Transfer::Error(_)) {
        c"throw"
    } else {
        c"switch"
    };
    let mut transfer = transfer;
    let tracer = thread.tracer.borrow().clone();
    if let Some(tracer) = tracer
        && call(thread, &tracer, event, origin, target).is_err()
    {
        let pending = Pending::take();
        set(thread, None);
        transfer = Transfer::Error(pending);
    }
    if thread.tracers.borrow().is_empty() {
        return transfer;
    }
    let observers = thread.tracers.borrow().clone();
    for observer in observers {
        if call(thread, &observer, event, origin, target).is_err()
            && let Some(pending) = blame(thread, &observer)
        {
            transfer = Transfer::Error(pending);
        }
    }
    transfer
}

/// Deals with the exception that an observer has raised; gives it back if it was meant for the target.
fn blame(thread: &Thread, observer: &Object) -> Option<Pending> {
    // SAFETY: a static of the interpreter.
    let class = unsafe { ffi::PyExc_Exception };
    // SAFETY: an exception is set and the class is live.
    if unsafe { ffi::PyErr_ExceptionMatches(class) } == 0 {
        return Some(Pending::take());
    }
    // SAFETY: an exception is set; the object is live.
    unsafe { ffi::PyErr_WriteUnraisable(observer.as_ptr()) };
    let removed = {
        let mut all = thread.tracers.borrow_mut();
        let place = all.iter().position(|other| other.is(observer.as_ptr()));
        place.map(|place| all.remove(place))
    };
    drop(removed);
    settle(thread);
    None
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
    let old = thread.tracer.replace(tracer);
    settle(thread);
    old
}

/// Has switches call `report` if there is anybody to be called.
fn settle(thread: &Thread) {
    if thread.tracer.borrow().is_some() || !thread.tracers.borrow().is_empty() {
        thread.note(TRACED);
    } else {
        thread.settle(TRACED);
    }
}

/// add_trace(callback)
///
/// Call `callback(event, (origin, target))` after each switch of this OS thread, as settrace() does, beside its
/// callback and those added before, which stay. An Exception in the callback is reported by sys.unraisablehook and
/// removes this callback alone; any other exception is raised in the target. May switch: no. Raises TypeError for
/// what cannot be called.
///
/// >>> import greenlet
/// >>> events = []
/// >>> trace = lambda event, pair: events.append(event)
/// >>> greenlet.add_trace(trace)
/// >>> greenlet.greenlet(lambda: None).switch()
/// >>> greenlet.remove_trace(trace)
/// >>> events
/// ['switch', 'switch']
#[pyfunction]
#[pyo3(signature = (callback, /))]
pub fn add_trace(callback: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = callback.py();
    if !callback.is_callable() {
        return Err(PyTypeError::new_err(format!(
            "callback must be callable, not {}",
            callback.get_type().name()?
        )));
    }
    let thread = Thread::get().ok_or_else(|| Raised.into_err(py))?;
    thread
        .tracers
        .borrow_mut()
        .push(Object::from_bound(callback));
    settle(thread);
    Ok(())
}

/// remove_trace(callback)
///
/// Undo the last add_trace() of an equal callback in this OS thread. May switch: no. Raises ValueError if there is
/// none.
///
/// >>> import greenlet
/// >>> greenlet.remove_trace(print)
/// Traceback (most recent call last):
///     ...
/// ValueError: <built-in function print> was not added in this thread
#[pyfunction]
#[pyo3(signature = (callback, /))]
pub fn remove_trace(callback: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = callback.py();
    let thread = Thread::get().ok_or_else(|| Raised.into_err(py))?;
    let all = thread.tracers.borrow().clone();
    for (place, other) in all.iter().enumerate().rev() {
        if !other.bind(py).eq(callback)? {
            continue;
        }
        let removed = {
            let mut now = thread.tracers.borrow_mut();
            // Comparing may have run code that changed the list.
            let here = now.get(place).is_some_and(|same| same.is(other.as_ptr()));
            here.then(|| now.remove(place))
        };
        settle(thread);
        drop(removed);
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "{} was not added in this thread",
        callback.repr()?
    )))
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
