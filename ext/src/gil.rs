//! The GIL, let go of for a while: by who waits in the kernel, and by threads of the pool.
//!
//! Raw entries instead of `Python::detach`, whose counter does not know that a call may switch greenlets, and which
//! takes a thread that the ending interpreter unwinds through frames that cannot be unwound (see `call`).
//! Invariant: between `release` and its end the thread holds the GIL inside of `hold` only.
#![allow(unsafe_code)] // the thread state

use std::cell::Cell;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::call;

/// The thread state of a thread that has let go of the GIL.
pub struct Gil(Cell<*mut ffi::PyThreadState>);

impl Gil {
    /// Runs `f` without the GIL. `f` must not switch, and touches Python in `hold` only. If the interpreter ends
    /// meanwhile the thread stops for good.
    pub fn release<R>(_py: Python<'_>, f: impl FnOnce(&Gil) -> R) -> R {
        // SAFETY: the GIL is held (token).
        let gil = Gil(Cell::new(unsafe { ffi::PyEval_SaveThread() }));
        let result = f(&gil);
        // SAFETY: the state that PyEval_SaveThread gave last, in the same thread.
        unsafe { call::restore_thread(gil.0.get()) };
        result
    }

    /// Runs `f` with the GIL.
    pub fn hold<R>(&self, f: impl FnOnce(Python<'_>) -> R) -> R {
        // SAFETY: as in `release`.
        unsafe { call::restore_thread(self.0.get()) };
        // SAFETY: the GIL is held since the line above.
        let result = f(unsafe { Python::assume_attached() });
        // SAFETY: the GIL is held.
        self.0.set(unsafe { ffi::PyEval_SaveThread() });
        result
    }
}
