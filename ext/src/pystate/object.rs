//! References that a [`PyState`](super::PyState) owns: dropped and shown to the collector here.

use pyo3::ffi;
use std::os::raw::{c_int, c_void};
use std::ptr;

/// Empties `slot`, then drops the reference it held, which may run any Python code.
pub(super) fn clear(slot: &mut *mut ffi::PyObject) {
    let object = std::mem::replace(slot, ptr::null_mut());
    // SAFETY: the slot owned the reference (or was null), it is forgotten above, and the methods
    // of PyState are called with the GIL held.
    unsafe { ffi::Py_XDECREF(object) };
}

/// Calls `visit` for `object` unless it is null; returns what `visit` returns.
pub(super) fn visit(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    if object.is_null() {
        return 0;
    }
    // SAFETY: `object` is a living object owned by the visited PyState; the collector passes a
    // function and its argument that belong together.
    unsafe { visit(object, arg) }
}

/// Empties `slot` like [`clear`] and repeats while the code that ran has filled it again.
pub(super) fn clear_in_thread(mut take: impl FnMut() -> *mut ffi::PyObject) {
    // A finalizer may set a context variable, which makes a new context; its finalizers may again.
    for _ in 0..8 {
        let mut object = take();
        if object.is_null() {
            return;
        }
        clear(&mut object);
    }
    // Whatever is still produced after that is kept alive rather than chased for ever.
    let _leaked = take();
}
