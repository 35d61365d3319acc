//! The switch on any other processor, by the corosensei crate.
//!
//! corosensei's coroutines are asymmetric: one yields to whoever resumed it. So a switch between two
//! fibers goes through the thread's own stack, where a small loop resumes the one that was asked for
//! (two jumps instead of one). What a [`super::Fiber`] saves is the address of a [`Flow`], which lies
//! at the top of the fiber's stack, so that nothing has to be freed when a fiber is abandoned; for
//! the thread itself it lies in the frame of `switch`.
//!
//! Invariant: `CURRENT` is the flow that runs, or null on the thread's own stack.

use super::Entry;
use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::c_void;
use std::ptr;

/// A coroutine that is resumed with nothing and yields whom to resume instead of it.
type Routine = Coroutine<(), *mut Flow, Infallible, Region>;

/// What is known about a flow.
struct Flow {
    /// None for the thread's own.
    routine: Option<Routine>,
    yielder: Cell<*const Yielder<(), *mut Flow>>,
    /// About where its stack pointer was when it was suspended: a little above.
    pointer: Cell<*mut u8>,
}

thread_local! {
    static CURRENT: Cell<*mut Flow> = const { Cell::new(ptr::null_mut()) };
}

/// The stack below a flow's `Flow`.
struct Region(*mut u8);

impl Region {
    fn address(&self, below: usize) -> StackPointer {
        StackPointer::new(self.0.addr() - below).expect("no stack lies at address zero")
    }
}

// SAFETY: the base is aligned, and the caller of `Fiber::new` vouches for a stack with a guard. Where
// it really ends is not known here; corosensei uses the limit on Windows only.
unsafe impl Stack for Region {
    fn base(&self) -> StackPointer {
        self.address(0)
    }

    fn limit(&self) -> StackPointer {
        self.address(corosensei::stack::MIN_STACK_SIZE)
    }
}

/// Makes a new flow at the top of its stack; answers its address.
///
/// # Safety
/// - At least a page of writable memory, used by nobody else, lies below `top`.
pub(super) unsafe fn prepare(top: *mut u8, entry: Entry, argument: *mut c_void) -> *mut u8 {
    let room = size_of::<Flow>().next_multiple_of(64);
    let flow = top.wrapping_sub(room).cast::<Flow>();
    let run = move |yielder: &Yielder<(), *mut Flow>, ()| -> Infallible {
        // SAFETY: this flow runs, so it was made, and its stack is still there.
        unsafe { (*flow).yielder.set(yielder) };
        // SAFETY: this is the call that the creator of the fiber asked for.
        unsafe { entry(argument) }
    };
    let routine = Routine::with_stack(Region(flow.cast()), run);
    let fresh = Flow {
        routine: Some(routine),
        yielder: Cell::new(ptr::null()),
        pointer: Cell::new(flow.cast()),
    };
    // SAFETY: the caller vouches for the memory; corosensei's first frame lies below it.
    unsafe { flow.write(fresh) };
    flow.cast()
}

/// About where the flow's stack pointer is.
pub(super) fn stack_pointer(saved: *mut u8) -> *mut u8 {
    if saved.is_null() {
        return saved;
    }
    // SAFETY: a saved word is the address of a flow, which lives as long as its stack.
    unsafe { (*saved.cast::<Flow>()).pointer.get() }
}

/// Saves the running flow into `*from` and goes on with `*to`.
///
/// # Safety
/// - As for [`super::switch`].
#[inline(never)]
pub(super) unsafe fn switch(from: *mut *mut u8, to: *const *mut u8) {
    let here = 0_u8;
    let pointer = (&raw const here).cast_mut();
    // SAFETY: the caller promises that `to` is live.
    let target = unsafe { to.read() }.cast::<Flow>();
    let current = CURRENT.get();
    if current.is_null() {
        let mut own = Flow {
            routine: None,
            yielder: Cell::new(ptr::null()),
            pointer: Cell::new(pointer),
        };
        let own = &raw mut own;
        // SAFETY: the caller promises that `from` is live; `own` lives until somebody switches to it.
        unsafe { from.write(own.cast()) };
        resume_until(target, own);
        CURRENT.set(ptr::null_mut());
    } else {
        // SAFETY: the running flow's stack is there.
        unsafe { (*current).pointer.set(pointer) };
        // SAFETY: the caller promises that `from` is live.
        unsafe { from.write(current.cast()) };
        yield_to(current, target);
    }
}

/// As [`switch`]: corosensei knows one kind only.
///
/// # Safety
/// - As for [`super::switch`].
pub(super) unsafe fn switch_plain(from: *mut *mut u8, to: *const *mut u8) {
    // SAFETY: the caller keeps the same contract.
    unsafe { switch(from, to) }
}

/// Goes on with `*to` and never comes back.
///
/// # Safety
/// - As for [`super::depart`].
pub(super) unsafe fn depart(to: *const *mut u8) -> ! {
    // SAFETY: the caller promises that `to` is live.
    let target = unsafe { to.read() }.cast::<Flow>();
    let current = CURRENT.get();
    if !current.is_null() {
        yield_to(current, target);
    }
    // A thread's own stack cannot be left for good, and a departed flow is never resumed.
    std::process::abort()
}

/// Suspends `current`, which runs, in favour of `target`.
fn yield_to(current: *mut Flow, target: *mut Flow) {
    // SAFETY: the running flow has noted its yielder first of all.
    let yielder = unsafe { (*current).yielder.get() };
    // SAFETY: the yielder lives on the flow's stack as long as the flow.
    unsafe { (*yielder).suspend(target) }
}

/// Runs `next`, and whomever each one names when it yields, until one names `own`.
fn resume_until(mut next: *mut Flow, own: *mut Flow) {
    while next != own {
        CURRENT.set(next);
        // SAFETY: the caller of `switch` names suspended flows only, and nobody else runs now.
        let routine = unsafe { &mut (*next).routine };
        let routine = routine.as_mut().expect("only a thread's own flow has none");
        next = match routine.resume(()) {
            CoroutineResult::Yield(target) => target,
            CoroutineResult::Return(never) => match never {},
        };
    }
}
