//! `Gil`: lets a thread of the pool wait and work without the GIL, and take it for a while.
//!
//! Raw entries instead of `Python::detach`, whose counter does not know that a call may switch greenlets.
//! Invariant: between `release` and its end the thread holds the GIL inside of `hold` only.

use std::cell::Cell;

use pyo3::ffi;
use pyo3::prelude::*;

/// The thread state of a thread that has let go of the GIL.
pub struct Gil(Cell<*mut ffi::PyThreadState>);

impl Gil {
    /// Runs `f` without the GIL. `f` must not switch, and touches Python in `hold` only.
    pub fn release<R>(_py: Python<'_>, f: impl FnOnce(&Gil) -> R) -> R {
        // SAFETY: the GIL is held (token).
        let gil = Gil(Cell::new(unsafe { ffi::PyEval_SaveThread() }));
        let result = f(&gil);
        // SAFETY: the state that PyEval_SaveThread gave last, in the same thread.
        unsafe { ffi::PyEval_RestoreThread(gil.0.get()) };
        result
    }

    /// Runs `f` with the GIL.
    pub fn hold<R>(&self, f: impl FnOnce(Python<'_>) -> R) -> R {
        // SAFETY: as in `release`.
        unsafe { ffi::PyEval_RestoreThread(self.0.get()) };
        // SAFETY: the GIL is held since the line above.
        let result = f(unsafe { Python::assume_attached() });
        // SAFETY: the GIL is held.
        self.0.set(unsafe { ffi::PyEval_SaveThread() });
        result
    }
}
