//! What CPython keeps per C stack, moved aside and back at a switch.
//!
//! The only files of the project that name a field of `PyThreadState` are the `v3XX.rs` next to
//! this one. Each holds a `#[repr(C)]` mirror of (a prefix of) the structure and a [`PyState`] with
//! the same methods; adding a Python version is one such file and one line below.
//!
//! The contract, for every version:
//! * The thread state owns the fields of the running greenlet, the [`PyState`] those of a suspended
//!   one. [`PyState::save`] and [`PyState::restore`] *move*: they copy words, never touch a
//!   reference count, never call anything, and every save is followed by the restore (or start) of
//!   another greenlet before any Python code runs.
//! * A [`PyState`] has a stable address from [`PyState::start`] to [`PyState::finish`] (or
//!   [`PyState::abandon`]), because the thread state points into it.
//! * No exception is set on the thread state at a switch; whoever switches carries it elsewhere.

mod attached;
mod check;
#[cfg(Py_3_11)]
mod datastack;
mod exc_stack;
mod object;

use pyo3::ffi;
use std::os::raw::{c_int, c_void};

#[cfg(Py_GIL_DISABLED)]
compile_error!("free-threaded CPython: the layout of PyThreadState has not been audited yet");
#[cfg(not(Py_3_10))]
compile_error!("CPython 3.10 or newer is needed");

#[cfg(all(Py_3_10, not(Py_3_11)))]
#[path = "v310.rs"]
mod version;
#[cfg(all(Py_3_11, not(Py_3_12)))]
#[path = "v311.rs"]
mod version;
#[cfg(all(Py_3_12, not(Py_3_13)))]
#[path = "v312.rs"]
mod version;
#[cfg(all(Py_3_13, not(Py_3_14)))]
#[path = "v313.rs"]
mod version;
#[cfg(all(Py_3_14, not(Py_3_15)))]
#[path = "v314.rs"]
mod version;
#[cfg(Py_3_15)]
compile_error!("the layout of PyThreadState in CPython 3.15 has not been audited yet");

pub use attached::attached;
#[cfg(not(Py_3_13))]
pub use version::trash_delete_nesting;
pub use version::{DEFAULT_STACK_SIZE, PyState};

/// The mapping a greenlet runs on: guard, C stack growing down to it, frame chunk growing up.
///
/// `limit` is the lowest address the C stack may use, `top` where it starts; `chunk` and
/// `chunk_len` (bytes) name the memory for the root chunk of Python frames, aligned to 16 bytes.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(Py_3_11),
    allow(
        dead_code,
        reason = "3.10 has no frame chunks and looks at no addresses"
    )
)]
pub struct StackBounds {
    /// Lowest usable address of the C stack, just above the guard.
    pub limit: *mut u8,
    /// First address above the C stack.
    pub top: *mut u8,
    /// Start of the root frame chunk.
    pub chunk: *mut u8,
    /// Length of the root frame chunk in bytes.
    pub chunk_len: usize,
}

impl StackBounds {
    /// Bytes of C stack.
    #[allow(
        dead_code,
        reason = "3.10 and 3.11 have no separate budget for C recursion"
    )]
    fn size(&self) -> usize {
        self.top as usize - self.limit as usize
    }
}

impl PyState {
    /// The context of a greenlet that is not running (borrowed; null when it has none).
    pub fn context(&self) -> *mut ffi::PyObject {
        self.context
    }

    /// Replaces the context of a greenlet that is not running; steals `context` (null: none) and
    /// returns the old one (owned, may be null).
    pub fn set_context(&mut self, context: *mut ffi::PyObject) -> *mut ffi::PyObject {
        std::mem::replace(&mut self.context, context)
    }

    /// Where the innermost frame of a suspended greenlet ends; null where the frames lie in no stack of their own
    /// (3.10). To be fetched ahead, not to be read.
    #[inline(always)]
    pub fn frames_end(&self) -> *const u8 {
        #[cfg(Py_3_11)]
        let end = self.datastack.top.cast_const().cast();
        #[cfg(not(Py_3_11))]
        let end = std::ptr::null();
        end
    }

    /// Shows the collector the references that `self` owns.
    ///
    /// # Safety
    /// * Called from a `tp_traverse` with its own arguments.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        match object::visit(self.context, visit, arg) {
            0 => self.base_exc.traverse(visit, arg),
            stop => stop,
        }
    }

    /// Releases the memory of the frames of a greenlet that will never run again; on 3.11 and later most lie
    /// in the memory of its stack, and go with it.
    ///
    /// # Safety
    /// * `self` is suspended (saved and not restored since) and will never be restored, and its frames are
    ///   private.
    #[cfg(Py_3_11)]
    pub unsafe fn release_frames(&mut self, _py: pyo3::Python<'_>) {
        self.datastack.free_above_root();
    }

    /// Drops the plain references and forgets every pointer without following it.
    ///
    /// For a greenlet that will never run again: it has not started, has finished, or its thread
    /// is gone. Needs the GIL; may run Python code.
    pub fn abandon(&mut self) {
        self.forget();
        object::clear(&mut self.context);
        self.base_exc.clear();
    }

    /// Forgets the pointers into the thread and its stacks, and releases nothing.
    pub fn forsake(&mut self) {
        self.forget();
    }
}

/// The context of the running greenlet of `ts` (borrowed; null when none was made).
///
/// # Safety
/// * `ts` is the state of a living thread and the GIL is held.
pub unsafe fn thread_context(ts: *mut ffi::PyThreadState) -> *mut ffi::PyObject {
    // SAFETY: the caller passes a living thread state and holds the GIL.
    unsafe { version::mirror(ts) }.context
}

/// Replaces the context of the running greenlet of `ts`; returns the old one (owned, may be null).
///
/// # Safety
/// * `ts` is the state of a living thread and the GIL is held.
/// * `context` is null or an owned reference to a `contextvars.Context`; it is stolen.
pub unsafe fn set_thread_context(
    ts: *mut ffi::PyThreadState,
    context: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the caller passes a living thread state and holds the GIL.
    let thread = unsafe { version::mirror(ts) };
    thread.context_ver = thread.context_ver.wrapping_add(1);
    std::mem::replace(&mut thread.context, context)
}

/// Levels of `sys.setrecursionlimit` that the running greenlet of `ts` has used.
///
/// # Safety
/// * `ts` is the state of a living thread and the GIL is held.
pub unsafe fn used_depth(ts: *mut ffi::PyThreadState) -> c_int {
    // SAFETY: the caller passes a living thread state and holds the GIL.
    version::used_depth(unsafe { version::mirror(ts) })
}

/// Counts `levels` against the recursion limit of the running greenlet of `ts`.
///
/// A greenlet that is started from Python code inherits its starter's depth this way, so that
/// greenlets that start greenlets without end meet a RecursionError.
///
/// # Safety
/// * `ts` is the state of a living thread and the GIL is held.
pub unsafe fn charge_depth(ts: *mut ffi::PyThreadState, levels: c_int) {
    // SAFETY: the caller passes a living thread state and holds the GIL.
    version::charge_depth(unsafe { version::mirror(ts) }, levels);
}

/// Bytes of C stack that a greenlet needs to reach `sys.getrecursionlimit()` before its end; 0 where
/// CPython checks C recursion by itself.
///
/// # Safety
/// * `ts` is the calling thread's state and the GIL is held.
#[inline(always)]
pub unsafe fn stack_for_limit(ts: *mut ffi::PyThreadState) -> usize {
    // SAFETY: the caller passes its own thread state.
    version::stack_for_limit(unsafe { version::mirror(ts) })
}

/// Stops `sys.settrace` and `sys.setprofile` functions of the thread until [`leave_tracing`].
///
/// # Safety
/// * `ts` is the state of the calling thread and the GIL is held.
#[cfg(Py_3_11)]
pub unsafe fn enter_tracing(ts: *mut ffi::PyThreadState) {
    // SAFETY: the caller passes its own thread state.
    unsafe { ffi::PyThreadState_EnterTracing(ts) };
}

/// Undoes one [`enter_tracing`].
///
/// # Safety
/// * `ts` is the state of the calling thread and the GIL is held.
#[cfg(Py_3_11)]
pub unsafe fn leave_tracing(ts: *mut ffi::PyThreadState) {
    // SAFETY: the caller passes its own thread state.
    unsafe { ffi::PyThreadState_LeaveTracing(ts) };
}

#[cfg(not(Py_3_11))]
pub use version::{enter_tracing, leave_tracing};

/// Bytes of the root frame chunk above each stack: what CPython itself maps for a thread's first.
pub const CHUNK_SIZE: usize = 16 * 1024;

pub use check::{layout, self_check};
