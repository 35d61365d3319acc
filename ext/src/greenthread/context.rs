//! The `contextvars` context of what is spawned: a copy of the spawner's.
//!
//! A copy shares the variables until one of both sides sets one, so it costs an allocation; a spawner without
//! variables costs nothing, and leaves the green thread without a context as a plain greenlet is.
#![allow(unsafe_code)] // the context of a thread state

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::error;
use crate::greenlet::Gr;
use crate::object::{Object, owned};
use crate::pystate;
use crate::thread::Thread;

/// Whether it is copied.
static INHERITS: AtomicBool = AtomicBool::new(true);

/// Gives `new`, which has not started, a copy of the running greenlet's context.
#[inline(always)]
pub fn inherit(thread: &Thread, new: &Object) -> error::Result<()> {
    // SAFETY: the calling thread's own state.
    let context = unsafe { pystate::thread_context(thread.tstate) };
    if context.is_null() {
        return Ok(());
    }
    copy(context, new)
}

#[inline(never)]
fn copy(context: *mut ffi::PyObject, new: &Object) -> error::Result<()> {
    // SAFETY: the thread state's context, a live mapping.
    if !INHERITS.load(Ordering::Relaxed) || unsafe { ffi::PyObject_Size(context) } == 0 {
        return Ok(());
    }
    // SAFETY: a live context.
    let copy = owned(unsafe { ffi::PyContext_Copy(context) })?;
    // SAFETY: it has not started: nobody else uses its state.
    let state = unsafe { Gr::from_object(new).state() };
    let old = state.set_context(copy.into_ptr());
    // SAFETY: owned or null.
    drop(unsafe { Object::from_owned(old) });
    Ok(())
}

/// inherit_context(state=True) -> bool
///
/// Have green threads start with a copy of their spawner's `contextvars` context, or, as upstream's do, with an
/// empty one. Holds for what is spawned from now on, in the whole process. Returns what was set before. The
/// environment variable EVENTLET_INHERIT_CONTEXT (0, no, off or false) sets the first value. May switch: no.
///
/// >>> import contextvars, eventlet
/// >>> from eventlet import greenthread
/// >>> user = contextvars.ContextVar('user', default='nobody')
/// >>> token = user.set('ann')
/// >>> eventlet.spawn(user.get).wait()
/// 'ann'
/// >>> greenthread.inherit_context(False)
/// True
/// >>> eventlet.spawn(user.get).wait()
/// 'nobody'
/// >>> greenthread.inherit_context(True)
/// False
/// >>> user.reset(token)
#[pyfunction]
#[pyo3(signature = (state = true))]
fn inherit_context(state: bool) -> bool {
    INHERITS.swap(state, Ordering::Relaxed)
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    if let Ok(text) = std::env::var("EVENTLET_INHERIT_CONTEXT") {
        let off = ["0", "no", "off", "false"].contains(&text.trim().to_ascii_lowercase().as_str());
        INHERITS.store(!off, Ordering::Relaxed);
    }
    module.add_function(wrap_pyfunction!(inherit_context, module)?)
}
