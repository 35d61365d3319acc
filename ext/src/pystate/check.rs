//! Whether the running interpreter has the layout that this module was built for.
//!
//! [`self_check`] runs at import: it calls public functions and looks where their effect shows up
//! in the mirror, so that a build for another layout is refused instead of corrupting memory.
//! [`layout`] lists the offsets for `tools/pystate_check`, which compares them with the headers.

use super::attached::calls;
#[cfg(Py_3_11)]
use super::datastack::DataStack;
use super::version;
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::{PyResult, Python, ffi};
use std::os::raw::{c_int, c_ulong};

/// One field of a mirrored structure.
pub(super) struct Field {
    pub(super) structure: &'static str,
    pub(super) name: &'static str,
    pub(super) offset: usize,
    pub(super) size: usize,
}

/// `field!(Mirror, "CType", field)` or `field!(Mirror, "CType", field, "name_in_c")`.
macro_rules! field {
    ($mirror:ty, $structure:literal, $($field:ident).+, $name:literal) => {
        $crate::pystate::check::Field {
            structure: $structure,
            name: $name,
            offset: std::mem::offset_of!($mirror, $($field).+),
            size: $crate::pystate::check::size_of_field(|mirror: &$mirror| &raw const mirror.$($field).+),
        }
    };
    ($mirror:ty, $structure:literal, $field:ident) => {
        $crate::pystate::check::Field {
            structure: $structure,
            name: stringify!($field),
            offset: std::mem::offset_of!($mirror, $field),
            size: $crate::pystate::check::size_of_field(|mirror: &$mirror| &raw const mirror.$field),
        }
    };
}
pub(super) use field;

/// The size of the field that `_pick` names (never called).
pub(super) const fn size_of_field<S, F>(_pick: fn(&S) -> *const F) -> usize {
    size_of::<F>()
}

/// What the mirror shows of a thread at one moment.
pub(super) struct Probe {
    pub(super) interp: *mut ffi::PyInterpreterState,
    pub(super) dict: *mut ffi::PyObject,
    pub(super) thread_id: c_ulong,
    pub(super) id: u64,
    pub(super) context: *mut ffi::PyObject,
    pub(super) context_ver: u64,
    #[cfg(Py_3_11)]
    pub(super) tracing: c_int,
    pub(super) recursion_limit: Option<c_int>,
    /// The counter that `Py_EnterRecursiveCall` takes from, if there is one.
    pub(super) c_recursion_left: Option<c_int>,
    pub(super) handled: *mut ffi::PyObject,
    #[cfg(Py_3_11)]
    pub(super) datastack: DataStack,
    /// Top, soft limit and hard limit of the C stack.
    pub(super) c_stack: Option<[usize; 3]>,
}

fn probe(ts: *mut ffi::PyThreadState) -> Probe {
    // SAFETY: self_check passes the calling thread's state; the reference ends with the call.
    version::probe(unsafe { version::mirror(ts) })
}

/// Raises ImportError unless the interpreter's thread state is laid out as the mirror says.
pub fn self_check(py: Python<'_>) -> PyResult<()> {
    let built = built_for();
    let running = py.version_info();
    if (running.major, running.minor) != built {
        return Err(PyImportError::new_err(format!(
            "greenlet._core was built for CPython {}.{}, but this is {}.{}",
            built.0, built.1, running.major, running.minor
        )));
    }
    // SAFETY: the GIL is held.
    let ts = unsafe { ffi::PyThreadState_Get() };
    version::locate(ts).map_err(refused)?;
    for (field, check) in CHECKS {
        if !check(py, ts)? {
            return Err(refused(field));
        }
    }
    Ok(())
}

fn refused(field: &str) -> PyErr {
    let built = built_for();
    PyImportError::new_err(format!(
        "greenlet._core was built for the CPython {}.{} thread state, but '{field}' is not where it \
         should be in this interpreter ({})",
        built.0,
        built.1,
        Python::version_str()
    ))
}

const fn built_for() -> (u8, u8) {
    (3, version::MINOR)
}

type Check = fn(Python<'_>, *mut ffi::PyThreadState) -> PyResult<bool>;

/// Name of the field and the test for it.
const CHECKS: &[(&str, Check)] = &[
    ("interp", interp),
    ("dict", dict),
    ("thread_id", thread_id),
    ("id", id),
    ("gilstate_counter", gilstate_counter),
    ("context", context),
    ("exc_info", exc_info),
    ("recursion_limit", recursion_limit),
    ("c_recursion_remaining", c_recursion),
    #[cfg(Py_3_11)]
    ("tracing", tracing),
    #[cfg(Py_3_11)]
    ("datastack_chunk", datastack),
    ("current_frame", current_frame),
    ("c_stack_top", c_stack),
];

fn interp(_py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    // SAFETY: `ts` is the calling thread's state.
    let expected = unsafe { ffi::PyThreadState_GetInterpreter(ts) };
    Ok(probe(ts).interp == expected)
}

fn dict(_py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    // SAFETY: the GIL is held; the result is borrowed.
    let expected = unsafe { ffi::PyThreadState_GetDict() };
    Ok(probe(ts).dict == expected)
}

fn thread_id(_py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    // SAFETY: no precondition.
    let expected = unsafe { ffi::PyThread_get_thread_ident() };
    Ok(probe(ts).thread_id == expected)
}

fn id(_py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    // SAFETY: `ts` is the calling thread's state.
    let expected = unsafe { ffi::PyThreadState_GetID(ts) };
    Ok(Some(probe(ts).id) == u64::try_from(expected).ok())
}

fn gilstate_counter(_py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    // SAFETY: no precondition.
    if unsafe { ffi::PyGILState_GetThisThreadState() } != ts {
        return Ok(true); // another interpreter's state counts the calls
    }
    // SAFETY: `ts` is the calling thread's state.
    let before = unsafe { calls(ts) };
    // SAFETY: the interpreter runs.
    let state = unsafe { ffi::PyGILState_Ensure() };
    // SAFETY: as above.
    let inside = unsafe { calls(ts) };
    // SAFETY: belongs to the call above, and is not the last one: `ts` was there before.
    unsafe { ffi::PyGILState_Release(state) };
    // SAFETY: as above.
    let after = unsafe { calls(ts) };
    Ok(inside == before + 1 && after == before)
}

fn context(py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    // SAFETY: the GIL is held.
    let context = unsafe { ffi::PyContext_New() };
    // SAFETY: an owned reference, or null with an exception set.
    let context = unsafe { Bound::from_owned_ptr_or_err(py, context)? };
    let before = probe(ts);
    // SAFETY: `context` is a context that nobody has entered.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    let inside = probe(ts);
    // SAFETY: entered above.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(inside.context == context.as_ptr()
        && inside.context_ver == before.context_ver.wrapping_add(1)
        && probe(ts).context == before.context)
}

fn exc_info(py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    let error = PyImportError::new_err("self check").into_value(py);
    let mut saved = [std::ptr::null_mut(); 3];
    let [kind, value, traceback] = &mut saved;
    // SAFETY: three places for owned references.
    unsafe { ffi::PyErr_GetExcInfo(kind, value, traceback) };
    let ours = error.bind(py);
    let kind = ours.get_type().into_any().unbind().into_ptr();
    let value = ours.clone().into_any().unbind().into_ptr();
    // SAFETY: steals the two references made above; no traceback.
    unsafe { ffi::PyErr_SetExcInfo(kind, value, std::ptr::null_mut()) };
    let handled = probe(ts).handled;
    let [kind, value, traceback] = saved;
    // SAFETY: steals the references that PyErr_GetExcInfo returned.
    unsafe { ffi::PyErr_SetExcInfo(kind, value, traceback) };
    Ok(handled == ours.as_ptr())
}

fn recursion_limit(_py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    let Some(limit) = probe(ts).recursion_limit else {
        return Ok(true);
    };
    // SAFETY: the GIL is held.
    Ok(limit == unsafe { ffi::Py_GetRecursionLimit() })
}

fn c_recursion(py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    let Some(before) = probe(ts).c_recursion_left else {
        return Ok(true);
    };
    // SAFETY: the text is a C string.
    if unsafe { ffi::Py_EnterRecursiveCall(c" in the self check".as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    let inside = probe(ts).c_recursion_left;
    // SAFETY: entered above.
    unsafe { ffi::Py_LeaveRecursiveCall() };
    Ok(inside == Some(before - 1) && probe(ts).c_recursion_left == Some(before))
}

#[cfg(Py_3_11)]
fn tracing(_py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    let before = probe(ts).tracing;
    // SAFETY: `ts` is the calling thread's state.
    unsafe { ffi::PyThreadState_EnterTracing(ts) };
    let inside = probe(ts).tracing;
    // SAFETY: entered above.
    unsafe { ffi::PyThreadState_LeaveTracing(ts) };
    Ok(inside == before + 1 && probe(ts).tracing == before)
}

#[cfg(Py_3_11)]
fn datastack(_py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    let DataStack { chunk, top, limit } = probe(ts).datastack;
    if chunk.is_null() || !chunk.is_aligned() {
        // No Python frame has run in this thread: nothing to compare.
        return Ok(chunk.is_null() && top.is_null() && limit.is_null());
    }
    if !(chunk.addr() < top.addr() && top <= limit) {
        return Ok(false);
    }
    // SAFETY: an aligned pointer in front of the two others, as only the chunk is.
    let size = unsafe { (*chunk).size };
    Ok(chunk.addr().wrapping_add(size) == limit.addr())
}

fn current_frame(_py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    // SAFETY: `ts` is the calling thread's state.
    let frame = unsafe { version::frame_of_nothing(ts) };
    let none = frame.is_null();
    // SAFETY: an owned reference or null.
    unsafe { ffi::Py_XDECREF(frame.cast()) };
    Ok(none)
}

fn c_stack(_py: Python<'_>, ts: *mut ffi::PyThreadState) -> PyResult<bool> {
    let Some([top, soft, hard]) = probe(ts).c_stack else {
        return Ok(true);
    };
    let here = (&raw const ts).addr();
    Ok(hard < soft && soft < here && here < top)
}

/// Every field used: `(structure, name, offset, size)` in bytes, with C's names.
pub fn layout() -> Vec<(&'static str, &'static str, usize, usize)> {
    let located = version::located();
    let fields = version::LAYOUT.iter().chain(&located);
    fields
        .map(|field| (field.structure, field.name, field.offset, field.size))
        .collect()
}
