//! What the hub does with exceptions that nobody caught.
//!
//! KeyboardInterrupt and SystemExit (the hub's SYSTEM_EXCEPTIONS) end the hub and so reach the main greenlet; any
//! other is printed, unless reports are switched off, and the hub goes on.

use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::{self, Pending, Raised};
use crate::gil_cell::GilCell;
use crate::object::Object;

static REPORTS: GilCell<bool> = GilCell::new(true);

/// Sets whether exceptions of timers and green threads are printed.
pub fn set_exception_reports(py: Python<'_>, state: bool) {
    REPORTS.set(py, state);
}

/// Whether exceptions of timers and green threads are printed.
pub fn exception_reports(py: Python<'_>) -> bool {
    REPORTS.get(py)
}

/// Whether an exception (class or instance) belongs to the main greenlet.
pub fn is_system(exception: *mut ffi::PyObject) -> bool {
    // SAFETY: a static of the interpreter.
    let interrupt = unsafe { ffi::PyExc_KeyboardInterrupt };
    // SAFETY: a static of the interpreter.
    let exit = unsafe { ffi::PyExc_SystemExit };
    [interrupt, exit].into_iter().any(|class| {
        // SAFETY: live objects.
        unsafe { ffi::PyErr_GivenExceptionMatches(exception, class) != 0 }
    })
}

/// Deals with the exception that is set; an error if it must end the hub.
#[cold]
pub fn uncaught() -> error::Result<()> {
    // SAFETY: the GIL is held; borrowed, null when nothing is set.
    let class = unsafe { ffi::PyErr_Occurred() };
    if is_system(class) {
        return Err(Raised);
    }
    // SAFETY: the hub runs with the GIL held.
    let py = unsafe { Python::assume_attached() };
    squelch(py, Pending::take());
    Ok(())
}

/// Prints an exception as an uncaught one, if reports are on.
pub fn squelch(py: Python<'_>, exception: Pending) {
    if REPORTS.get(py) {
        exception.restore();
        let error = PyErr::fetch(py);
        // `print` writes to sys.stderr and neither exits nor raises; unlike sys.excepthook's caller it does not
        // keep the exception in sys.last_exc.
        if let Err(broken) = print(py, &error) {
            broken.write_unraisable(py, None);
        }
    }
}

/// Writes the traceback to `sys.stderr` and flushes it.
fn print(py: Python<'_>, error: &PyErr) -> PyResult<()> {
    error.display(py);
    let stderr = py.import("sys")?.getattr("stderr")?;
    if !stderr.is_none() {
        stderr.call_method0("flush")?;
    }
    Ok(())
}

/// A green thread could not be started (no memory for its stack): it ends with that exception.
#[cold]
pub fn failed_start(green_thread: Object) {
    // SAFETY: the hub runs with the GIL held.
    let py = unsafe { Python::assume_attached() };
    crate::greenthread::fail(py, green_thread, Pending::take());
}
