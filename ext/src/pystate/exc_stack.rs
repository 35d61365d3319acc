//! The stack of exceptions being handled (what `sys.exc_info()` looks at).
//!
//! Every greenlet but the main one has its own bottom entry, in its [`PyState`](super::PyState);
//! the entries above it belong to generators, which own and traverse them themselves.

use super::object;
use pyo3::ffi;
use std::os::raw::{c_int, c_void};
use std::ptr;

/// `_PyErr_StackItem`.
#[repr(C)]
pub(super) struct ErrStackItem {
    #[cfg(not(Py_3_11))]
    pub(super) exc_type: *mut ffi::PyObject,
    pub(super) exc_value: *mut ffi::PyObject,
    #[cfg(not(Py_3_11))]
    pub(super) exc_traceback: *mut ffi::PyObject,
    pub(super) previous_item: *mut ErrStackItem,
}

impl ErrStackItem {
    /// The bottom entry of a stack on which nothing is being handled.
    pub(super) const EMPTY: ErrStackItem = ErrStackItem {
        #[cfg(not(Py_3_11))]
        exc_type: ptr::null_mut(),
        exc_value: ptr::null_mut(),
        #[cfg(not(Py_3_11))]
        exc_traceback: ptr::null_mut(),
        previous_item: ptr::null_mut(),
    };

    /// Drops what the entry holds; may run Python code.
    pub(super) fn clear(&mut self) {
        #[cfg(not(Py_3_11))]
        object::clear(&mut self.exc_type);
        object::clear(&mut self.exc_value);
        #[cfg(not(Py_3_11))]
        object::clear(&mut self.exc_traceback);
    }

    /// Shows the collector what the entry holds.
    pub(super) fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        #[cfg(not(Py_3_11))]
        for object in [self.exc_type, self.exc_traceback] {
            let stop = object::visit(object, visit, arg);
            if stop != 0 {
                return stop;
            }
        }
        object::visit(self.exc_value, visit, arg)
    }
}
