//! CPython 3.12: `PyThreadState`, field by field, and what of it belongs to a greenlet.
//!
//! | field | at a switch | why |
//! |---|---|---|
//! | prev, next, interp, _status, dict, gilstate_counter, thread_id, native_thread_id, id, on_delete* | stays | identity of the thread |
//! | py_recursion_remaining | swapped, as `limit - remaining` | depth of Python calls of this greenlet; the limit may change meanwhile |
//! | py_recursion_limit | stays | one limit for all |
//! | c_recursion_remaining | swapped | depth of this C stack; its size decides the budget |
//! | recursion_headroom | swapped | nesting of error handling on this C stack |
//! | tracing, what_event | stays | while a trace function runs nothing else is traced in the thread, as in upstream |
//! | cframe | swapped | chain of interpreter activations on this C stack; holds the frame chain |
//! | c_profile*, c_trace* | stays | sys.settrace and sys.setprofile are per thread |
//! | current_exception | stays | empty at a switch by contract |
//! | exc_info | swapped | stack of exceptions being handled; our own bottom entry per greenlet |
//! | exc_state, root_cframe | stays | bottom entries of the main greenlet |
//! | async_exc | stays | aimed at the thread |
//! | trash.delete_nesting | swapped | nesting of deallocators on this C stack |
//! | trash.delete_later | stays | dead objects; any stack with room may free them |
//! | coroutine_origin_tracking_depth, async_gen_* | stays | settings of the thread |
//! | context | swapped | each greenlet has its context variables |
//! | context_ver | counted up | invalidates the caches of context variables |
//! | datastack_chunk, _top, _limit | swapped | Python frames of this greenlet |

use super::StackBounds;
use super::check::{Field, Probe, field};
use super::datastack::{DataStack, FrameWords, StackChunk};
use super::exc_stack::ErrStackItem;
use super::object;
use pyo3::{Bound, PyAny, Python, ffi};
use std::os::raw::{c_int, c_ulong, c_void};
use std::ptr;

/// The minor version this file is about.
pub(super) const MINOR: u8 = 12;

/// Where `_PyInterpreterFrame` (pycore_frame.h) keeps what `are_private` looks at.
const FRAME: FrameWords = FrameWords {
    previous: 1,
    object: 6,
};

/// Bytes of C stack for a greenlet unless asked otherwise.
pub const DEFAULT_STACK_SIZE: usize = 1 << 20;

/// `C_RECURSION_LIMIT`: what CPython grants the C stack of a thread.
const C_RECURSION_LIMIT: c_int = 1500;

/// `_PyCFrame`: one activation of the interpreter loop.
#[repr(C)]
pub(super) struct CFrame {
    pub(super) current_frame: *mut c_void,
    pub(super) previous: *mut CFrame,
}

/// `struct _py_trashcan`: deallocators that wait for the C stack to unwind.
#[repr(C)]
pub(super) struct Trashcan {
    delete_nesting: c_int,
    delete_later: *mut ffi::PyObject,
}

/// `PyThreadState`.
#[repr(C)]
pub(super) struct ThreadState {
    prev: *mut ThreadState,
    next: *mut ThreadState,
    pub(super) interp: *mut ffi::PyInterpreterState,
    status: u32,
    py_recursion_remaining: c_int,
    py_recursion_limit: c_int,
    c_recursion_remaining: c_int,
    recursion_headroom: c_int,
    pub(super) tracing: c_int,
    what_event: c_int,
    cframe: *mut CFrame,
    c_profilefunc: *mut c_void,
    c_tracefunc: *mut c_void,
    c_profileobj: *mut ffi::PyObject,
    c_traceobj: *mut ffi::PyObject,
    current_exception: *mut ffi::PyObject,
    pub(super) exc_info: *mut ErrStackItem,
    pub(super) dict: *mut ffi::PyObject,
    pub(super) gilstate_counter: c_int,
    async_exc: *mut ffi::PyObject,
    pub(super) thread_id: c_ulong,
    native_thread_id: c_ulong,
    trash: Trashcan,
    on_delete: *mut c_void,
    on_delete_data: *mut c_void,
    coroutine_origin_tracking_depth: c_int,
    async_gen_firstiter: *mut ffi::PyObject,
    async_gen_finalizer: *mut ffi::PyObject,
    pub(super) context: *mut ffi::PyObject,
    pub(super) context_ver: u64,
    pub(super) id: u64,
    pub(super) datastack: DataStack,
    exc_state: ErrStackItem,
    root_cframe: CFrame,
}

/// The mirror of `ts`.
///
/// # Safety
/// * `ts` is the state of a living thread, the GIL is held, and nothing else looks at the fields
///   while the reference is in use.
#[inline(always)]
pub(super) unsafe fn mirror<'a>(ts: *mut ffi::PyThreadState) -> &'a mut ThreadState {
    // SAFETY: self_check refuses to import where the mirror is not the layout of the interpreter.
    unsafe { &mut *ts.cast::<ThreadState>() }
}

/// The topmost frame object of `chain` (owned; null when it has no frame).
///
/// Making a frame object runs no Python code: collections wait for the evaluation loop.
///
/// # Safety
/// * `ts` is the calling thread's state and `chain` the frames of a greenlet that does not move.
unsafe fn frame_of(ts: *mut ffi::PyThreadState, chain: *mut CFrame) -> *mut ffi::PyFrameObject {
    // SAFETY: the caller passes its own thread state; the reference ends with the statement.
    let own = std::mem::replace(&mut unsafe { mirror(ts) }.cframe, chain);
    // SAFETY: the caller vouches for `chain`.
    let frame = unsafe { ffi::PyThreadState_GetFrame(ts) };
    // SAFETY: as above.
    unsafe { mirror(ts) }.cframe = own;
    frame
}

/// What [`frame_of`] finds in an empty chain, for the check at import.
///
/// # Safety
/// * `ts` is the calling thread's state.
pub(super) unsafe fn frame_of_nothing(ts: *mut ffi::PyThreadState) -> *mut ffi::PyFrameObject {
    let mut empty = CFrame {
        current_frame: ptr::null_mut(),
        previous: ptr::null_mut(),
    };
    let chain = &raw mut empty;
    // SAFETY: the caller passes its own thread state; the chain ends before it begins.
    unsafe { frame_of(ts, chain) }
}

/// What the interpreter keeps per C stack; what a switch moves comes first, in one cache line.
#[repr(C)]
pub struct PyState {
    pub(super) context: *mut ffi::PyObject,
    cframe: *mut CFrame,
    exc_info: *mut ErrStackItem,
    pub(super) datastack: DataStack,
    recursion_used: c_int,
    recursion_headroom: c_int,
    c_recursion_remaining: c_int,
    trash_delete_nesting: c_int,
    base_cframe: CFrame,
    pub(super) base_exc: ErrStackItem,
}

impl PyState {
    /// The state of a greenlet that has not started.
    pub const fn new() -> PyState {
        PyState {
            context: ptr::null_mut(),
            cframe: ptr::null_mut(),
            exc_info: ptr::null_mut(),
            datastack: DataStack::EMPTY,
            recursion_used: 0,
            recursion_headroom: 0,
            c_recursion_remaining: 0,
            trash_delete_nesting: 0,
            base_cframe: CFrame {
                current_frame: ptr::null_mut(),
                previous: ptr::null_mut(),
            },
            base_exc: ErrStackItem::EMPTY,
        }
    }

    /// Moves the running greenlet's state from the thread into `self`.
    ///
    /// # Safety
    /// * `ts` is the calling thread's state, `self` belongs to its running greenlet, and a
    ///   [`restore`](Self::restore) or [`start`](Self::start) of another one follows at once.
    #[inline(always)]
    pub unsafe fn save(&mut self, ts: *mut ffi::PyThreadState) {
        // SAFETY: the caller passes its own thread state.
        let thread = unsafe { mirror(ts) };
        self.context = thread.context;
        self.cframe = thread.cframe;
        self.exc_info = thread.exc_info;
        self.datastack = thread.datastack;
        self.recursion_used = thread.py_recursion_limit - thread.py_recursion_remaining;
        self.recursion_headroom = thread.recursion_headroom;
        self.c_recursion_remaining = thread.c_recursion_remaining;
        self.trash_delete_nesting = thread.trash.delete_nesting;
    }

    /// Moves the state of a suspended greenlet from `self` into the thread.
    ///
    /// # Safety
    /// * `ts` is the calling thread's state, what it held was saved or finished just before, and
    ///   `self` was saved in this thread; its C stack is entered next.
    #[inline(always)]
    pub unsafe fn restore(&mut self, ts: *mut ffi::PyThreadState) {
        // SAFETY: the caller passes its own thread state.
        let thread = unsafe { mirror(ts) };
        thread.cframe = self.cframe;
        thread.context = self.context;
        thread.context_ver = thread.context_ver.wrapping_add(1);
        thread.exc_info = self.exc_info;
        thread.datastack = self.datastack;
        thread.py_recursion_remaining = thread.py_recursion_limit - self.recursion_used;
        thread.recursion_headroom = self.recursion_headroom;
        thread.c_recursion_remaining = self.c_recursion_remaining;
        thread.trash.delete_nesting = self.trash_delete_nesting;
        self.context = ptr::null_mut();
    }

    /// Gives the thread the state of a greenlet that runs for the first time, on `stack`.
    ///
    /// # Safety
    /// * As for [`restore`](Self::restore), and `self` stays at its address until
    ///   [`finish`](Self::finish); `stack` belongs to the greenlet alone and is unused.
    #[inline(always)]
    pub unsafe fn start(&mut self, ts: *mut ffi::PyThreadState, stack: &StackBounds) {
        // SAFETY: the caller passes its own thread state.
        let thread = unsafe { mirror(ts) };
        self.base_cframe.current_frame = ptr::null_mut();
        self.base_exc = ErrStackItem::EMPTY;
        thread.cframe = &raw mut self.base_cframe;
        thread.context = self.context;
        thread.context_ver = thread.context_ver.wrapping_add(1);
        thread.exc_info = &raw mut self.base_exc;
        thread.datastack = DataStack::preset(stack);
        thread.py_recursion_remaining = thread.py_recursion_limit;
        thread.recursion_headroom = 0;
        thread.c_recursion_remaining = c_budget(stack);
        thread.trash.delete_nesting = 0;
        self.context = ptr::null_mut();
    }

    /// Drops what the ended greenlet has left in the thread; the next call is another's restore.
    ///
    /// Dropping its context may run Python code, which still runs in the ending greenlet.
    ///
    /// # Safety
    /// * `ts` is the calling thread's state, `self` belongs to its running greenlet, and no Python
    ///   frame of it is left.
    #[inline(always)]
    pub unsafe fn finish(&mut self, ts: *mut ffi::PyThreadState) {
        object::clear_in_thread(|| {
            // SAFETY: the caller passes its own thread state; the reference ends here.
            let thread = unsafe { mirror(ts) };
            thread.context_ver = thread.context_ver.wrapping_add(1);
            std::mem::replace(&mut thread.context, ptr::null_mut())
        });
        // SAFETY: the caller passes its own thread state; the reference ends with the statement.
        let base = unsafe { mirror(ts) }.exc_info;
        // SAFETY: the bottom entry, in `self`; nothing else refers to it now.
        unsafe { &mut *base }.clear();
        // SAFETY: the caller passes its own thread state.
        let thread = unsafe { mirror(ts) };
        thread.datastack.free_above_root();
        thread.datastack = DataStack::EMPTY;
        thread.exc_info = &raw mut thread.exc_state;
        thread.cframe = &raw mut thread.root_cframe;
    }

    /// The frame in which a suspended greenlet waits, `None` if it has none.
    ///
    /// # Safety
    /// * `self` is suspended (saved and not restored since) or has not started, and `ts` is the
    ///   calling thread's state.
    pub unsafe fn frame<'py>(
        &self,
        py: Python<'py>,
        ts: *mut ffi::PyThreadState,
    ) -> Option<Bound<'py, PyAny>> {
        if self.cframe.is_null() {
            return None;
        }
        // SAFETY: the chain of a suspended greenlet stays mapped and in place.
        let frame = unsafe { frame_of(ts, self.cframe) };
        // SAFETY: null without an exception, or an owned reference.
        unsafe { Bound::from_owned_ptr_or_opt(py, frame.cast()) }
    }

    /// Whether nothing outside its stack refers to the frames of a suspended greenlet: no frame
    /// object has been made of any, and none belongs to a generator. The stack may then be released
    /// with them.
    ///
    /// # Safety
    /// * `self` is suspended (saved and not restored since) on `stack`, which is still mapped.
    pub unsafe fn frames_are_private(&self, stack: &StackBounds) -> bool {
        // SAFETY: the activation of a suspended greenlet lies on its stack or in `self`.
        let first = unsafe { (*self.cframe).current_frame };
        // SAFETY: the caller vouches for the stack and the chain on it.
        unsafe { super::datastack::are_private(first, stack, self.datastack, FRAME) }
    }

    /// Forgets the pointers into the thread and its stacks.
    pub(super) fn forget(&mut self) {
        self.cframe = ptr::null_mut();
        self.exc_info = ptr::null_mut();
        self.datastack = DataStack::EMPTY;
    }
}

/// The C recursion budget of a stack: 400 levels per MiB, CPython's own from 8 MiB on.
///
/// 400 is what the most stack-hungry recursions of the interpreter (nested sorts, the compiler)
/// survive on 1 MiB.
#[inline(always)]
fn c_budget(stack: &StackBounds) -> c_int {
    const PER_MIB: usize = 400;
    let size = stack.size();
    if size >= 8 << 20 {
        return C_RECURSION_LIMIT;
    }
    let levels = ((size >> 10) * PER_MIB) >> 10;
    (levels as c_int).min(C_RECURSION_LIMIT)
}

/// How many deallocators are nested on the running greenlet's C stack.
///
/// # Safety
/// * `ts` is the state of a living thread and the GIL is held.
pub unsafe fn trash_delete_nesting(ts: *mut ffi::PyThreadState) -> c_int {
    // SAFETY: the caller passes a living thread state and holds the GIL.
    unsafe { mirror(ts) }.trash.delete_nesting
}

pub(super) fn used_depth(thread: &ThreadState) -> c_int {
    thread.py_recursion_limit - thread.py_recursion_remaining
}

#[inline(always)]
pub(super) fn stack_for_limit(_thread: &ThreadState) -> usize {
    0
}

pub(super) fn charge_depth(thread: &mut ThreadState, levels: c_int) {
    thread.py_recursion_remaining -= levels;
}

/// Finds what the headers leave open; nothing in this version.
pub(super) fn locate(_ts: *mut ffi::PyThreadState) -> Result<(), &'static str> {
    Ok(())
}

/// The fields that [`locate`] has found.
pub(super) fn located() -> [Field; 0] {
    []
}

/// The fields that [`check`](super::check) compares with the interpreter's public functions.
pub(super) fn probe(thread: &ThreadState) -> Probe {
    // SAFETY: exc_info is never null and points to a living entry while the GIL is held.
    let handled = unsafe { (*thread.exc_info).exc_value };
    Probe {
        interp: thread.interp,
        dict: thread.dict,
        thread_id: thread.thread_id,
        id: thread.id,
        context: thread.context,
        context_ver: thread.context_ver,
        tracing: thread.tracing,
        recursion_limit: Some(thread.py_recursion_limit),
        c_recursion_left: Some(thread.c_recursion_remaining),
        handled,
        datastack: thread.datastack,
        c_stack: None,
    }
}

/// Name in C, offset and size of every field used.
pub(super) const LAYOUT: &[Field] = &[
    field!(ThreadState, "PyThreadState", interp),
    field!(ThreadState, "PyThreadState", py_recursion_remaining),
    field!(ThreadState, "PyThreadState", py_recursion_limit),
    field!(ThreadState, "PyThreadState", c_recursion_remaining),
    field!(ThreadState, "PyThreadState", recursion_headroom),
    field!(ThreadState, "PyThreadState", tracing),
    field!(ThreadState, "PyThreadState", cframe),
    field!(ThreadState, "PyThreadState", exc_info),
    field!(ThreadState, "PyThreadState", dict),
    field!(ThreadState, "PyThreadState", gilstate_counter),
    field!(ThreadState, "PyThreadState", thread_id),
    field!(
        ThreadState,
        "PyThreadState",
        trash.delete_nesting,
        "trash.delete_nesting"
    ),
    field!(ThreadState, "PyThreadState", context),
    field!(ThreadState, "PyThreadState", context_ver),
    field!(ThreadState, "PyThreadState", id),
    field!(
        ThreadState,
        "PyThreadState",
        datastack.chunk,
        "datastack_chunk"
    ),
    field!(ThreadState, "PyThreadState", datastack.top, "datastack_top"),
    field!(
        ThreadState,
        "PyThreadState",
        datastack.limit,
        "datastack_limit"
    ),
    field!(ThreadState, "PyThreadState", exc_state),
    field!(ThreadState, "PyThreadState", root_cframe),
    field!(CFrame, "_PyCFrame", current_frame),
    field!(CFrame, "_PyCFrame", previous),
    field!(ErrStackItem, "_PyErr_StackItem", exc_value),
    field!(ErrStackItem, "_PyErr_StackItem", previous_item),
    field!(StackChunk, "_PyStackChunk", previous),
    field!(StackChunk, "_PyStackChunk", size),
    field!(StackChunk, "_PyStackChunk", top),
    field!(StackChunk, "_PyStackChunk", data),
];
