//! CPython 3.14: `PyThreadState`, field by field, and what of it belongs to a greenlet.
//!
//! | field | at a switch | why |
//! |---|---|---|
//! | prev, next, interp, eval_breaker, _status, holds_gil, _whence, state, dict, gilstate_counter, thread_id, native_thread_id, id, threading_local_* | stays | identity of the thread |
//! | py_recursion_remaining | swapped, as `limit - remaining` | depth of Python calls of this greenlet; the limit may change meanwhile |
//! | py_recursion_limit | stays | one limit for all |
//! | recursion_headroom | swapped | nesting of error handling on this C stack |
//! | tracing, what_event | stays | while a trace function runs nothing else is traced in the thread, as in upstream |
//! | current_frame | swapped | the frame chain of this greenlet |
//! | c_profile*, c_trace* | stays | sys.settrace and sys.setprofile are per thread |
//! | current_exception | stays | empty at a switch by contract |
//! | exc_info | swapped | stack of exceptions being handled; our own bottom entry per greenlet |
//! | exc_state | stays | bottom entry of the main greenlet |
//! | async_exc | stays | aimed at the thread |
//! | delete_later | stays | dead objects; any stack with room may free them, and a greenlet that never runs again cannot keep them |
//! | critical_section | stays | always zero with a GIL |
//! | coroutine_origin_tracking_depth, async_gen_* | stays | settings of the thread |
//! | context | swapped | each greenlet has its context variables |
//! | context_ver | counted up | invalidates the caches of context variables |
//! | datastack_chunk, _top, _limit | swapped | Python frames of this greenlet |
//! | current_executor | swapped | the optimized trace that runs on this C stack |
//! | dict_global_version | stays | reserve of version numbers |
//! | remote_debugger_support | stays | aimed at the thread |
//! | datastack_cached_chunk | stays | one spare chunk for the thread (not in every 3.14.x) |
//! | _PyThreadStateImpl: c_stack_top, _soft_limit, _hard_limit | swapped | bounds of this C stack |
//! | _PyThreadStateImpl: c_stack_init_* | stays | bounds that the thread was given by its embedder |
//! | _PyThreadStateImpl: asyncio_running_loop, _task, _tasks_head | stays | code under `greenlet_spawn` bridges asks for the loop and the task of its thread |
//! | _PyThreadStateImpl: refcount, qsbr, mem_free_queue | stays | not used with a GIL |

use super::StackBounds;
use super::check::{Field, Probe, field};
use super::datastack::{DataStack, FrameWords, StackChunk};
use super::exc_stack::ErrStackItem;
use super::object;
use pyo3::{Bound, PyAny, Python, ffi};
use std::os::raw::{c_int, c_ulong, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The minor version this file is about.
pub(super) const MINOR: u8 = 14;

/// Where `_PyInterpreterFrame` (pycore_frame.h) keeps what `are_private` looks at.
const FRAME: FrameWords = FrameWords {
    previous: 1,
    object: 6,
};

/// Bytes of C stack for a greenlet unless asked otherwise.
pub const DEFAULT_STACK_SIZE: usize = 768 << 10;

/// `_PyRemoteDebuggerSupport`, the last field that every 3.14.x has.
#[repr(C)]
pub(super) struct RemoteDebuggerSupport {
    debugger_pending_call: i32,
    debugger_script_path: [u8; 512],
}

/// `c_stack_top`, `c_stack_soft_limit` and `c_stack_hard_limit` of `_PyThreadStateImpl`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CStack {
    top: usize,
    soft_limit: usize,
    hard_limit: usize,
}

impl CStack {
    /// The bounds of a greenlet's stack.
    ///
    /// Below the soft limit CPython raises RecursionError, below the hard limit it gives up with a
    /// fatal error; the distance is what raising and handling that error may use.
    #[inline(always)]
    fn within(stack: &StackBounds) -> CStack {
        let lowest = stack.limit.addr();
        CStack {
            top: stack.top.addr(),
            soft_limit: lowest + 2 * MARGIN,
            hard_limit: lowest + MARGIN,
        }
    }
}

/// Bytes of C stack between the guard and the hard limit, and between the two limits.
const MARGIN: usize = 16 << 10;

/// `PyThreadState` up to the last field that every 3.14.x has.
#[repr(C)]
pub(super) struct ThreadState {
    prev: *mut ThreadState,
    next: *mut ThreadState,
    pub(super) interp: *mut ffi::PyInterpreterState,
    eval_breaker: usize,
    status: u32,
    holds_gil: c_int,
    whence: c_int,
    state: c_int,
    py_recursion_remaining: c_int,
    py_recursion_limit: c_int,
    recursion_headroom: c_int,
    pub(super) tracing: c_int,
    what_event: c_int,
    current_frame: *mut c_void,
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
    delete_later: *mut ffi::PyObject,
    critical_section: usize,
    coroutine_origin_tracking_depth: c_int,
    async_gen_firstiter: *mut ffi::PyObject,
    async_gen_finalizer: *mut ffi::PyObject,
    pub(super) context: *mut ffi::PyObject,
    pub(super) context_ver: u64,
    pub(super) id: u64,
    pub(super) datastack: DataStack,
    exc_state: ErrStackItem,
    current_executor: *mut ffi::PyObject,
    dict_global_version: u64,
    threading_local_key: *mut ffi::PyObject,
    threading_local_sentinel: *mut ffi::PyObject,
    remote_debugger_support: RemoteDebuggerSupport,
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
unsafe fn frame_of(ts: *mut ffi::PyThreadState, chain: *mut c_void) -> *mut ffi::PyFrameObject {
    // SAFETY: the caller passes its own thread state; the reference ends with the statement.
    let own = std::mem::replace(&mut unsafe { mirror(ts) }.current_frame, chain);
    // SAFETY: the caller vouches for `chain`.
    let frame = unsafe { ffi::PyThreadState_GetFrame(ts) };
    // SAFETY: as above.
    unsafe { mirror(ts) }.current_frame = own;
    frame
}

/// What [`frame_of`] finds in an empty chain, for the check at import.
///
/// # Safety
/// * `ts` is the calling thread's state.
pub(super) unsafe fn frame_of_nothing(ts: *mut ffi::PyThreadState) -> *mut ffi::PyFrameObject {
    let chain = ptr::null_mut();
    // SAFETY: the caller passes its own thread state; the chain ends before it begins.
    unsafe { frame_of(ts, chain) }
}

/// Where `c_stack_top` is in a thread state, in bytes; found once by [`locate`] at import.
///
/// Releases of 3.14 add fields at the end of `PyThreadState`, in front of these.
static C_STACK_OFFSET: AtomicUsize = AtomicUsize::new(0);

/// The bounds of the running C stack.
///
/// # Safety
/// * As for [`mirror`], and [`locate`] has succeeded.
#[inline(always)]
unsafe fn c_stack<'a>(ts: *mut ffi::PyThreadState) -> &'a mut CStack {
    let bounds = ts
        .wrapping_byte_add(C_STACK_OFFSET.load(Ordering::Relaxed))
        .cast::<CStack>();
    // SAFETY: inside the thread state by `locate`, behind the mirror.
    unsafe { &mut *bounds }
}

/// Finds `c_stack_top` and its two neighbours: the only three words behind the mirrored prefix that
/// enclose the running stack in this order.
pub(super) fn locate(ts: *mut ffi::PyThreadState) -> Result<(), &'static str> {
    const WORDS_SEARCHED: usize = 8;
    let here = (&raw const ts).addr();
    let mut offset = size_of::<ThreadState>();
    for _ in 0..WORDS_SEARCHED {
        // SAFETY: _PyThreadStateImpl goes on for more words than are searched.
        let bounds = unsafe { ts.wrapping_byte_add(offset).cast::<CStack>().read() };
        let ordered = bounds.hard_limit < bounds.soft_limit && bounds.soft_limit < bounds.top;
        let encloses = bounds.soft_limit < here && here < bounds.top;
        if ordered && encloses && bounds.hard_limit > 0 {
            C_STACK_OFFSET.store(offset, Ordering::Relaxed);
            return Ok(());
        }
        offset += size_of::<usize>();
    }
    Err("c_stack_top")
}

/// What the interpreter keeps per C stack; what a switch moves comes first, in one cache line.
#[repr(C)]
pub struct PyState {
    pub(super) context: *mut ffi::PyObject,
    current_frame: *mut c_void,
    exc_info: *mut ErrStackItem,
    pub(super) datastack: DataStack,
    recursion_used: c_int,
    recursion_headroom: c_int,
    c_stack: CStack,
    current_executor: *mut ffi::PyObject,
    pub(super) base_exc: ErrStackItem,
}

impl PyState {
    /// The state of a greenlet that has not started.
    pub const fn new() -> PyState {
        PyState {
            context: ptr::null_mut(),
            current_frame: ptr::null_mut(),
            exc_info: ptr::null_mut(),
            datastack: DataStack::EMPTY,
            recursion_used: 0,
            recursion_headroom: 0,
            c_stack: CStack {
                top: 0,
                soft_limit: 0,
                hard_limit: 0,
            },
            current_executor: ptr::null_mut(),
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
        self.current_frame = thread.current_frame;
        self.exc_info = thread.exc_info;
        self.datastack = thread.datastack;
        self.recursion_used = thread.py_recursion_limit - thread.py_recursion_remaining;
        self.recursion_headroom = thread.recursion_headroom;
        self.current_executor = thread.current_executor;
        // SAFETY: as above; the bounds do not overlap the mirror.
        self.c_stack = *unsafe { c_stack(ts) };
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
        thread.current_frame = self.current_frame;
        thread.context = self.context;
        thread.context_ver = thread.context_ver.wrapping_add(1);
        thread.exc_info = self.exc_info;
        thread.datastack = self.datastack;
        thread.py_recursion_remaining = thread.py_recursion_limit - self.recursion_used;
        thread.recursion_headroom = self.recursion_headroom;
        thread.current_executor = self.current_executor;
        // SAFETY: as above; the bounds do not overlap the mirror.
        *unsafe { c_stack(ts) } = self.c_stack;
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
        self.base_exc = ErrStackItem::EMPTY;
        thread.current_frame = ptr::null_mut();
        thread.context = self.context;
        thread.context_ver = thread.context_ver.wrapping_add(1);
        thread.exc_info = &raw mut self.base_exc;
        thread.datastack = DataStack::preset(stack);
        thread.py_recursion_remaining = thread.py_recursion_limit;
        thread.recursion_headroom = 0;
        thread.current_executor = ptr::null_mut();
        // SAFETY: as above; the bounds do not overlap the mirror.
        *unsafe { c_stack(ts) } = CStack::within(stack);
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
        thread.current_frame = ptr::null_mut();
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
        if self.current_frame.is_null() {
            return None;
        }
        // SAFETY: the chain of a suspended greenlet stays mapped and in place.
        let frame = unsafe { frame_of(ts, self.current_frame) };
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
        let first = self.current_frame;
        // SAFETY: the caller vouches for the stack and the chain on it.
        unsafe { super::datastack::are_private(first, stack, self.datastack, FRAME) }
    }

    /// Forgets the pointers into the thread and its stacks.
    pub(super) fn forget(&mut self) {
        self.current_frame = ptr::null_mut();
        self.exc_info = ptr::null_mut();
        self.datastack = DataStack::EMPTY;
    }
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

/// The fields that [`locate`] has found.
pub(super) fn located() -> [Field; 3] {
    let base = C_STACK_OFFSET.load(Ordering::Relaxed);
    [
        field!(CStack, "_PyThreadStateImpl", top, "c_stack_top"),
        field!(
            CStack,
            "_PyThreadStateImpl",
            soft_limit,
            "c_stack_soft_limit"
        ),
        field!(
            CStack,
            "_PyThreadStateImpl",
            hard_limit,
            "c_stack_hard_limit"
        ),
    ]
    .map(|field| Field {
        offset: base + field.offset,
        ..field
    })
}

/// The fields that [`check`](super::check) compares with the interpreter's public functions.
pub(super) fn probe(thread: &ThreadState) -> Probe {
    // SAFETY: the mirror lies at the address of its thread state, and `locate` has succeeded.
    let c_stack = unsafe { c_stack((&raw const *thread).cast_mut().cast()) };
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
        c_recursion_left: None,
        handled,
        datastack: thread.datastack,
        c_stack: Some([c_stack.top, c_stack.soft_limit, c_stack.hard_limit]),
    }
}

/// Name in C, offset and size of every field used.
pub(super) const LAYOUT: &[Field] = &[
    field!(ThreadState, "PyThreadState", current_executor),
    field!(ThreadState, "PyThreadState", remote_debugger_support),
    field!(ThreadState, "PyThreadState", interp),
    field!(ThreadState, "PyThreadState", py_recursion_remaining),
    field!(ThreadState, "PyThreadState", py_recursion_limit),
    field!(ThreadState, "PyThreadState", recursion_headroom),
    field!(ThreadState, "PyThreadState", tracing),
    field!(ThreadState, "PyThreadState", current_frame),
    field!(ThreadState, "PyThreadState", exc_info),
    field!(ThreadState, "PyThreadState", dict),
    field!(ThreadState, "PyThreadState", gilstate_counter),
    field!(ThreadState, "PyThreadState", thread_id),
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
    field!(ErrStackItem, "_PyErr_StackItem", exc_value),
    field!(ErrStackItem, "_PyErr_StackItem", previous_item),
    field!(StackChunk, "_PyStackChunk", previous),
    field!(StackChunk, "_PyStackChunk", size),
    field!(StackChunk, "_PyStackChunk", top),
    field!(StackChunk, "_PyStackChunk", data),
];
