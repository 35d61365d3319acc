//! Module-level functions of greenlets: the current one, the tracer, counters.
#![allow(unsafe_code)] // asks the interpreter whether it is ending

use std::ffi::c_int;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString};

use crate::error::Raised;
use crate::gil_cell::GilCell;
use crate::greenlet::{self, Gr};
use crate::thread::Thread;
use crate::trace;

unsafe extern "C" {
    // Public from 3.13 on; exported with the underscore before (Include/pylifecycle.h).
    #[cfg_attr(Py_3_13, link_name = "Py_IsFinalizing")]
    #[cfg_attr(not(Py_3_13), link_name = "_Py_IsFinalizing")]
    safe fn is_finalizing() -> c_int;
}

/// Whether the interpreter is past the point where greenlets may run.
pub fn finalizing() -> bool {
    is_finalizing() != 0
}

#[cfg(not(Py_3_13))]
unsafe extern "C" {
    fn _PyErr_WriteUnraisableMsg(text: *const std::ffi::c_char, object: *mut pyo3::ffi::PyObject);
}
#[cfg(Py_3_13)]
unsafe extern "C" {
    fn PyErr_FormatUnraisable(format: *const std::ffi::c_char, ...);
}

/// Gives the exception that is set, of a thread started with `function`, to `sys.unraisablehook`, in the words of the
/// running Python.
pub fn unraisable_in_thread(function: &crate::object::Object) {
    #[cfg(not(Py_3_13))]
    // SAFETY: an exception is set; a C string and a live object.
    unsafe {
        _PyErr_WriteUnraisableMsg(c"in thread started by".as_ptr(), function.as_ptr());
    }
    #[cfg(Py_3_13)]
    // SAFETY: an exception is set; the format takes one live object.
    unsafe {
        PyErr_FormatUnraisable(
            c"Exception ignored in thread started by %R".as_ptr(),
            function.as_ptr(),
        );
    }
}

/// getcurrent() -> greenlet
///
/// The greenlet that runs. May switch: no. Raises RuntimeError when the interpreter is being finalized.
///
/// >>> import greenlet
/// >>> greenlet.getcurrent().dead
/// False
#[pyfunction]
fn getcurrent(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let current = current().map_err(|raised| raised.into_err(py))?;
    Ok(current.object().into_bound(py).unbind())
}

/// get_pending_cleanup_count() -> int
///
/// Threads that have ended and whose greenlet state is still to be cleaned up: always 0, since it is cleaned up
/// when the thread ends. May switch: no.
#[pyfunction]
fn get_pending_cleanup_count() -> usize {
    0
}

/// get_total_main_greenlets() -> int
///
/// Threads that have used greenlets and still live. May switch: no.
#[pyfunction]
fn get_total_main_greenlets() -> usize {
    Thread::main_greenlets()
}

/// get_tstate_trash_delete_nesting() -> int
///
/// CPython's nesting count of deferred deallocations in this thread (before 3.13 only). May switch: no.
#[cfg(not(Py_3_13))]
#[pyfunction]
fn get_tstate_trash_delete_nesting(_py: Python<'_>) -> c_int {
    // SAFETY: the GIL is held (token): there is a current thread state.
    let tstate = unsafe { pyo3::ffi::PyThreadState_Get() };
    // SAFETY: the calling thread's own state.
    unsafe { crate::pystate::trash_delete_nesting(tstate) }
}

/// set_thread_local(key, value)
///
/// Put `value` into the calling thread's state dictionary: a test support function, which shows what CPython
/// clears at a thread's end. May switch: no. Raises RuntimeError where the thread has no dictionary.
#[pyfunction]
fn set_thread_local(key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: the GIL is held (Bound); borrowed, null when there is none.
    let dict = unsafe { pyo3::ffi::PyThreadState_GetDict() };
    // SAFETY: null or live.
    let dict = unsafe { Bound::from_borrowed_ptr_or_opt(key.py(), dict) };
    let dict = dict.ok_or_else(|| PyRuntimeError::new_err("the thread has no state dictionary"))?;
    dict.cast_into::<PyDict>()?.set_item(key, value)
}

static OPTIONAL_CLEANUP: GilCell<bool> = GilCell::new(true);

/// enable_optional_cleanup(enabled)
///
/// Upstream's switch for its search for leaked references at a thread's end. Here that clean-up needs no search,
/// so the switch only decides what get_clocks_used_doing_optional_cleanup() returns. May switch: no.
#[pyfunction]
fn enable_optional_cleanup(enabled: &Bound<'_, PyAny>) -> PyResult<()> {
    OPTIONAL_CLEANUP.set(enabled.py(), enabled.is_truthy()?);
    Ok(())
}

/// get_clocks_used_doing_optional_cleanup() -> int or None
///
/// Clock ticks spent on optional clean-up: 0, or None when it is disabled. May switch: no.
#[pyfunction]
fn get_clocks_used_doing_optional_cleanup(py: Python<'_>) -> Option<u64> {
    OPTIONAL_CLEANUP.get(py).then_some(0)
}

/// stack_size([size]) -> int
///
/// Bytes of C stack of a greenlet, before the call. `size`, if given, is the new one: bytes as an int (16 KiB at
/// least), or a string such as '512K' or '2M'. It holds for threads that use greenlets for the first time
/// afterwards, and for the calling thread if none of its greenlets is suspended. Memory is only used as it is
/// touched. The environment variable GREENLET_STACK_SIZE sets the first value. May switch: no. Raises ValueError
/// for a size that is too small, too large or not a size, TypeError for another type.
///
/// >>> from greenlet import _core
/// >>> previous = _core.stack_size('2M')
/// >>> _core.stack_size(previous)
/// 2097152
#[pyfunction]
#[pyo3(signature = (size = None, /))]
fn stack_size(size: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
    let before = greenlet::stack_size();
    let Some(size) = size else {
        return Ok(before);
    };
    if !size.is_instance_of::<PyString>() && !size.is_instance_of::<PyInt>() {
        return Err(PyTypeError::new_err("size must be an int or a str"));
    }
    greenlet::set_stack_size(&size.str()?.to_cow()?)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    if let Some(thread) = Thread::existing() {
        thread.renew_pool();
    }
    Ok(before)
}

/// _statistics() -> dict
///
/// Counters of the calling thread: `stacks_in_use` (the hub's own is not counted), `stacks_idle` and how many
/// of those hold memory, `stacks_warm`, `main_greenlets`, `stacks_leaked`; and of its hub
/// if it has one: `timers`, `waiting`, `ready`. For leak checks. May switch: no.
#[pyfunction]
fn _statistics(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let thread = Thread::get().ok_or_else(|| Raised.into_err(py))?;
    let statistics = PyDict::new(py);
    {
        let pool = thread.pool.borrow();
        statistics.set_item(
            "stacks_in_use",
            pool.in_use() - crate::hub::own_stacks(thread),
        )?;
        statistics.set_item("stacks_idle", pool.idle())?;
        statistics.set_item("stacks_warm", pool.warm())?;
    }
    statistics.set_item("stacks_leaked", eventlet::stack::leaked())?;
    statistics.set_item("main_greenlets", Thread::main_greenlets())?;
    crate::hub::statistics(py, &statistics)?;
    Ok(statistics)
}

/// _trim_after(seconds) -> float
///
/// Set after how many seconds hubs that are made from now on give back the memory of stacks that were not needed
/// meanwhile; returns what held before. For tests. May switch: no.
#[pyfunction]
fn _trim_after(py: Python<'_>, seconds: f64) -> f64 {
    crate::hub::trim_after(py, crate::hub::duration(seconds)).as_secs_f64()
}

/// _pystate_layout() -> dict
///
/// Name to (offset, size) in bytes of every interpreter field that is mirrored here, for tools/pystate_check.
/// May switch: no.
#[pyfunction]
fn _pystate_layout(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let layout = PyDict::new(py);
    for (structure, field, offset, size) in crate::pystate::layout() {
        layout.set_item(format!("{structure}.{field}"), (offset, size))?;
    }
    Ok(layout)
}

/// Adds the functions, also as attributes of the type where upstream has them.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(getcurrent, module)?)?;
    module.add_function(wrap_pyfunction!(stack_size, module)?)?;
    module.add_function(wrap_pyfunction!(trace::settrace, module)?)?;
    module.add_function(wrap_pyfunction!(trace::gettrace, module)?)?;
    module.add_function(wrap_pyfunction!(trace::add_trace, module)?)?;
    module.add_function(wrap_pyfunction!(trace::remove_trace, module)?)?;
    module.add_function(wrap_pyfunction!(get_pending_cleanup_count, module)?)?;
    module.add_function(wrap_pyfunction!(get_total_main_greenlets, module)?)?;
    #[cfg(not(Py_3_13))]
    module.add_function(wrap_pyfunction!(get_tstate_trash_delete_nesting, module)?)?;
    module.add_function(wrap_pyfunction!(set_thread_local, module)?)?;
    module.add_function(wrap_pyfunction!(enable_optional_cleanup, module)?)?;
    module.add_function(wrap_pyfunction!(
        get_clocks_used_doing_optional_cleanup,
        module
    )?)?;
    module.add_function(wrap_pyfunction!(_statistics, module)?)?;
    module.add_function(wrap_pyfunction!(_trim_after, module)?)?;
    module.add_function(wrap_pyfunction!(_pystate_layout, module)?)?;
    module.add("GREENLET_USE_GC", 1)?;
    module.add("GREENLET_USE_TRACING", 1)?;
    module.add("GREENLET_USE_CONTEXT_VARS", 1)?;
    module.add("GREENLET_USE_STANDARD_THREADING", 1)?;
    // <time.h>: POSIX fixes it.
    module.add("CLOCKS_PER_SEC", 1_000_000)?;
    for name in [
        c"getcurrent",
        c"error",
        c"GreenletExit",
        c"settrace",
        c"gettrace",
    ] {
        let text = name.to_str().expect("ASCII");
        greenlet::attributes::publish(name, &module.getattr(text)?)?;
    }
    Ok(())
}

/// `greenlet::current` for the C API and the hub: refused at finalization.
pub fn current() -> crate::error::Result<Gr> {
    if finalizing() {
        return Err(crate::error::runtime_error(c"greenlet is being finalized"));
    }
    greenlet::current()
}
