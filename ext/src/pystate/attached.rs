//! PyO3's attach count without its hold on the thread state.

use std::os::raw::c_int;

use pyo3::ffi;
use pyo3::prelude::*;

use super::version;

/// Calls of `PyGILState_Ensure` that hold `ts`: the release of the last one deletes it. A thread that the interpreter
/// has started counts one more.
///
/// # Safety
/// * `ts` is the state of the calling thread and the GIL is held.
pub(super) unsafe fn calls(ts: *mut ffi::PyThreadState) -> c_int {
    // SAFETY: the caller passes its own thread state and holds the GIL.
    unsafe { version::mirror(ts) }.gilstate_counter
}

/// Adds to [`calls`]; never deletes `ts`.
///
/// # Safety
/// * `ts` is the state of the calling thread and the GIL is held.
/// * Whoever takes calls away gives them back before the release that belongs to them.
unsafe fn add_calls(ts: *mut ffi::PyThreadState, calls: c_int) {
    // SAFETY: the caller passes its own thread state and holds the GIL.
    unsafe { version::mirror(ts) }.gilstate_counter += calls;
}

/// Counts PyGILState_Ensure calls of a thread state when it is dropped.
struct Count(*mut ffi::PyThreadState, c_int);

impl Drop for Count {
    fn drop(&mut self) {
        // SAFETY: `attached` has made it, in whose thread it is dropped, with the GIL held and before the state goes;
        // it returns what `attached` takes.
        unsafe { add_calls(self.0, self.1) };
    }
}

/// Runs `f` with PyO3's attach count above 0, as `Python::attach`; `f` may switch, and may never come back.
///
/// The thread state can go meanwhile. PyO3 would hold it by a PyGILState_Ensure, so that the state of a thread that
/// the interpreter has not started outlived the thread, with all that ends with it.
pub fn attached<R>(_py: Python<'_>, f: impl FnOnce(Python<'_>) -> R) -> R {
    // SAFETY: the GIL is held (token).
    let state = unsafe { ffi::PyThreadState_Get() };
    // SAFETY: the calling thread's.
    let before = unsafe { calls(state) };
    // PyO3's release at the end is not to be the last one, which deletes the state: it may be about to be deleted.
    let _end = Count(state, -1);
    Python::attach(|py| {
        // SAFETY: the calling thread's.
        let own = unsafe { calls(state) } - before;
        // SAFETY: as above; `_begin` gives them back before PyO3's release.
        unsafe { add_calls(state, -own) };
        let _begin = Count(state, own + 1);
        f(py)
    })
}
