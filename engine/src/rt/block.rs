//! The control block of a green thread, and the counted pointer to it.
//!
//! A block is one small allocation that is used again and again: the closure waits in it until the
//! thread starts, the result waits in it until somebody joins. Both lie inside the block if they are
//! at most [`INLINE`] bytes, so that starting and joining a thread allocates nothing.
//!
//! Invariants: a block is freed or reused only when `refs` is zero. The scheduler holds one
//! reference from the start until the thread has ended *and* no queue of the hub names it any more
//! (`stale`), every handle holds one. All fields belong to the OS thread of the runtime; a block
//! made by another OS thread is handed over whole, through the inbox, before its runtime sees it.

use super::runtime::Runtime;
use crate::fiber::Fiber;
use crate::hub::{TimerKey, WatchKey};
use crate::stack::Stack;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem::{self, MaybeUninit};
use std::ops::Deref;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::{self, NonNull};

/// Bytes of closure or result that a block can hold itself.
const INLINE: usize = 64;

/// `index` of a block that no runtime has registered.
pub(super) const UNREGISTERED: usize = usize::MAX;

/// The payload with which a kill unwinds; nobody else can name its type.
pub(super) struct Killed;

/// What ended a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wake {
    /// Nothing yet: the thread is parked and nobody has woken it by name.
    Pending,
    /// Another green thread woke it.
    Woken,
    /// What it waited for was closed.
    Closed,
    /// Its deadline came.
    TimedOut,
    /// Its descriptor became ready.
    Ready,
    /// It is being killed.
    Killed,
    /// Nothing can wake it any more (only the main green thread learns of it).
    Deadlock,
}

/// How a green thread ended, and so what its payload holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Not ended: the payload is the closure if the thread is fresh, else nothing.
    None,
    /// The payload is the result.
    Returned,
    /// The payload is what the thread panicked with.
    Panicked,
    /// There was no stack for it: the payload is still the closure.
    NoStack,
    /// Killed: no payload.
    Killed,
    /// Somebody took the payload.
    Taken,
}

/// Bits of a thread's `flags`, one byte so that the hot paths ask for several at once.
pub(super) mod flag {
    /// A kill waits for the thread to come by.
    pub(in crate::rt) const KILL: u8 = 1;
    /// Parked while unwinding, where a kill would abort the process.
    pub(in crate::rt) const MASKED: u8 = 2;
    /// Linked into a wait queue.
    pub(in crate::rt) const QUEUED: u8 = 4;
    /// A timer of the hub names the thread.
    pub(in crate::rt) const TIMER: u8 = 8;
    /// A watch of the hub names the thread.
    pub(in crate::rt) const WATCH: u8 = 16;
    /// Entries of the hub's batches must be skipped when they come: `stale` tells how many.
    pub(in crate::rt) const STALE: u8 = 32;
    /// Not started: its closure waits in the block, and it has no stack.
    pub(in crate::rt) const FRESH: u8 = 64;
    /// Ended: its closure has returned, panicked, been killed or been dropped.
    pub(in crate::rt) const DONE: u8 = 128;
}

/// Values of a thread's `swept`.
pub(super) mod swept {
    /// No sweep has come by in this park.
    pub(in crate::rt) const NOT: u8 = 0;
    /// One has.
    pub(in crate::rt) const ONCE: u8 = 1;
    /// Two have: the stack has given back what it did not need.
    pub(in crate::rt) const TRIMMED: u8 = 2;
}

/// The operations that depend on the types of closure and result.
pub(super) struct Kind {
    run: unsafe fn(Task),
    drop_closure: unsafe fn(Task),
    drop_result: unsafe fn(Task),
}

/// What the runtime knows about one green thread. The first cache line is all that a switch needs.
#[repr(C, align(64))]
pub(crate) struct Block {
    pub(super) fiber: Fiber,
    /// See [`flag`].
    flags: Cell<u8>,
    pub(super) wake: Cell<Wake>,
    pub(super) outcome: Cell<Outcome>,
    /// `unpark` came before `park`.
    pub(super) token: Cell<bool>,
    /// A join handle exists: somebody may ask for the outcome.
    pub(super) observed: Cell<bool>,
    /// What a sweep of the trimmer has seen of the present park: `swept`.
    pub(super) swept: Cell<u8>,
    /// The scheduler waits only for `stale` to become zero before it drops its reference.
    pub(super) retired: Cell<bool>,
    stale: Cell<u32>,
    refs: Cell<u32>,
    pub(super) next: Cell<Option<Task>>,
    pub(super) previous: Cell<Option<Task>>,
    /// The thread that waits in `join`.
    pub(super) joiner: Cell<Option<Task>>,
    pub(super) kind: Cell<&'static Kind>,
    // Second line.
    /// The runtime that reuses this block; null once that has ended.
    pub(super) owner: Cell<*const Runtime>,
    pub(super) stack: UnsafeCell<Option<Stack>>,
    pub(super) timer: Cell<Option<TimerKey>>,
    pub(super) watch: Cell<Option<WatchKey>>,
    pub(super) id: Cell<u64>,
    pub(super) index: Cell<usize>,
    /// What the thread waits for in its wait queue, in the words of the queue's owner.
    pub(super) ticket: Cell<u64>,
    /// Why there was no stack.
    pub(super) errno: Cell<i32>,
    /// The thread waits in `rt::park`, not in a primitive.
    pub(super) plain_park: Cell<bool>,
    payload: Payload,
}

/// Room for a closure or a result.
#[repr(C, align(16))]
struct Payload(UnsafeCell<MaybeUninit<[u8; INLINE]>>);

/// A pointer to a live block. Copying it does not count; see the module's invariants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task(NonNull<Block>);

// SAFETY: a task crosses OS threads only inside the inbox, on its way to the runtime that will own
// it; `Task::remote` demands that what it carries is `Send`, and the sender keeps no copy.
unsafe impl Send for Task {}

impl Deref for Task {
    type Target = Block;

    #[inline(always)]
    fn deref(&self) -> &Block {
        // SAFETY: whoever holds a task holds a reference to its block or is covered by the
        // scheduler's (module invariants), so that the block is allocated; it is only ever shared.
        unsafe { self.0.as_ref() }
    }
}

impl Task {
    /// Allocates a block, unregistered, with one reference and no closure.
    pub(super) fn allocate() -> Task {
        let block = Box::new(Block {
            fiber: Fiber::running(),
            flags: Cell::new(flag::DONE),
            wake: Cell::new(Wake::Woken),
            outcome: Cell::new(Outcome::Taken),
            token: Cell::new(false),
            observed: Cell::new(false),
            retired: Cell::new(false),
            swept: Cell::new(swept::NOT),
            stale: Cell::new(0),
            refs: Cell::new(0),
            next: Cell::new(None),
            previous: Cell::new(None),
            joiner: Cell::new(None),
            kind: Cell::new(kind::<fn(), ()>()),
            owner: Cell::new(ptr::null()),
            stack: UnsafeCell::new(None),
            timer: Cell::new(None),
            watch: Cell::new(None),
            id: Cell::new(0),
            index: Cell::new(UNREGISTERED),
            ticket: Cell::new(0),
            errno: Cell::new(0),
            plain_park: Cell::new(false),
            payload: Payload(UnsafeCell::new(MaybeUninit::uninit())),
        });
        Task(NonNull::from(Box::leak(block)))
    }

    /// Makes the unused block a fresh thread that will run `body`, known to the scheduler and, if
    /// `observed`, to a join handle.
    #[inline]
    pub(super) fn fill<F, R>(self, id: u64, observed: bool, body: F)
    where
        F: FnOnce() -> R + 'static,
        R: 'static,
    {
        self.flags.set(flag::FRESH);
        self.wake.set(Wake::Woken);
        self.outcome.set(Outcome::None);
        self.token.set(false);
        self.observed.set(observed);
        self.retired.set(false);
        self.refs.set(1 + u32::from(observed));
        self.id.set(id);
        self.kind.set(kind::<F, R>());
        // SAFETY: the block is unused, so its payload is empty; `kind` remembers the type.
        unsafe { self.store(body) };
    }

    /// A block for a thread that another OS thread spawns: unregistered, with one reference.
    pub(super) fn remote<F>(body: F) -> Task
    where
        F: FnOnce() + Send + 'static,
    {
        let task = Task::allocate();
        task.fill(0, false, body);
        task
    }

    /// Where the block lies.
    #[inline(always)]
    pub(super) fn address(self) -> *const Block {
        self.0.as_ptr()
    }

    /// Whether any of the flags in `bits` is up.
    #[inline(always)]
    pub(super) fn has(self, bits: u8) -> bool {
        self.flags.get() & bits != 0
    }

    /// Puts the flags in `bits` up.
    #[inline(always)]
    pub(super) fn raise(self, bits: u8) {
        self.flags.set(self.flags.get() | bits);
    }

    /// Takes the flags in `bits` down; answers which of them were up.
    #[inline(always)]
    pub(super) fn lower(self, bits: u8) -> u8 {
        let flags = self.flags.get();
        self.flags.set(flags & !bits);
        flags & bits
    }

    /// Whether the thread has ended.
    #[inline(always)]
    pub(super) fn is_done(self) -> bool {
        self.has(flag::DONE)
    }

    /// `count` more entries of the hub's batches must be skipped when they come.
    pub(super) fn add_stale(self, count: u32) {
        if count > 0 {
            self.stale.set(self.stale.get() + count);
            self.raise(flag::STALE);
        }
    }

    /// One of the entries to be skipped has come; answers whether it was the last.
    pub(super) fn take_stale(self) -> bool {
        let left = self.stale.get() - 1;
        self.stale.set(left);
        if left == 0 {
            self.lower(flag::STALE);
        }
        left == 0
    }

    /// Counts one more reference.
    #[inline(always)]
    pub(super) fn retain(self) {
        self.refs.set(self.refs.get() + 1);
    }

    /// Whether no reference is left.
    pub(super) fn unreferenced(self) -> bool {
        self.refs.get() == 0
    }

    /// Drops one reference; answers whether it was the last.
    #[inline(always)]
    pub(super) fn release(self) -> bool {
        let left = self.refs.get() - 1;
        self.refs.set(left);
        left == 0
    }

    /// Frees the block.
    ///
    /// # Safety
    /// - No reference is left, the payload has been taken, and no runtime registers the block.
    pub(super) unsafe fn free(self) {
        // SAFETY: allocated by `allocate` as a box; the caller promises that this is the last use.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }

    /// Runs the closure to its end, whatever that is, and stores the outcome.
    ///
    /// # Safety
    /// - The thread has just ceased to be fresh and runs on its own stack.
    #[inline]
    pub(super) unsafe fn run(self) {
        // SAFETY: `kind` was set together with the payload; the caller vouches for the stage.
        unsafe { (self.kind.get().run)(self) }
    }

    /// Ends a fresh thread as killed by dropping its closure; a panic of that becomes the outcome.
    ///
    /// *May switch: yes*, if the closure's destructors do.
    pub(super) fn drop_closure(self) {
        debug_assert!(self.has(flag::FRESH));
        self.lower(flag::FRESH);
        self.raise(flag::DONE);
        self.outcome.set(Outcome::Killed);
        let kind = self.kind.get();
        // SAFETY: the thread was fresh, so the payload is the closure that `kind` knows; the stage
        // has just been changed, so that nobody drops it twice.
        let dropped =
            panic::catch_unwind(AssertUnwindSafe(|| unsafe { (kind.drop_closure)(self) }));
        if let Err(payload) = dropped {
            self.set_panicked(payload);
        }
    }

    /// Drops the result or panic payload that nobody took.
    pub(super) fn drop_outcome(self) {
        match self.outcome.replace(Outcome::Taken) {
            // SAFETY: the outcome says that the payload is a result, of the type `kind` knows.
            Outcome::Returned => unsafe { (self.kind.get().drop_result)(self) },
            // SAFETY: the outcome says that the payload is a boxed panic payload.
            Outcome::Panicked => drop(unsafe { self.load::<Box<dyn Any + Send>>() }),
            // SAFETY: a thread that got no stack has kept its closure.
            Outcome::NoStack => unsafe { (self.kind.get().drop_closure)(self) },
            Outcome::None | Outcome::Killed | Outcome::Taken => {}
        }
    }

    /// Stores a panic's payload as the outcome; a kill's becomes [`Outcome::Killed`].
    fn set_panicked(self, payload: Box<dyn Any + Send>) {
        if payload.is::<Killed>() {
            self.outcome.set(Outcome::Killed);
            return;
        }
        if !self.observed.get() {
            self.outcome.set(Outcome::Taken);
            drop_quietly(payload);
            return;
        }
        // SAFETY: the closure has been taken out and no outcome was stored: the payload is empty.
        unsafe { self.store(payload) };
        self.outcome.set(Outcome::Panicked);
    }

    /// Ends a fresh thread that could get no stack; whoever takes the outcome drops the closure.
    pub(super) fn set_no_stack(self, error: &io::Error) {
        self.lower(flag::FRESH);
        self.raise(flag::DONE);
        self.errno.set(error.raw_os_error().unwrap_or(libc::ENOMEM));
        self.outcome.set(Outcome::NoStack);
    }

    /// Takes the result out.
    ///
    /// # Safety
    /// - The outcome is [`Outcome::Returned`] and `R` is the closure's result type, or it is
    ///   [`Outcome::Panicked`] and `R` is `Box<dyn Any + Send>`.
    pub(super) unsafe fn take<R>(self) -> R {
        self.outcome.set(Outcome::Taken);
        // SAFETY: the caller names the type that the outcome tells; it is taken once, as the outcome
        // has just been changed.
        unsafe { self.load::<R>() }
    }

    /// Moves the thread's stack out of the block, or into it.
    #[inline(always)]
    pub(super) fn swap_stack(self, stack: Option<Stack>) -> Option<Stack> {
        // SAFETY: only the runtime's OS thread touches the cell, for the length of this call.
        let place = unsafe { &mut *self.stack.get() };
        mem::replace(place, stack)
    }

    /// # Safety
    /// - The payload is empty, and its next reader uses the same type.
    #[inline]
    unsafe fn store<T>(self, value: T) {
        let place = self.payload.0.get();
        if fits::<T>() {
            // SAFETY: the type fits in size and alignment; the place is empty, ours and writable.
            unsafe { place.cast::<T>().write(value) };
        } else {
            let boxed = Box::into_raw(Box::new(value));
            // SAFETY: a pointer fits; the place is empty, ours and writable.
            unsafe { place.cast::<*mut T>().write(boxed) };
        }
    }

    /// # Safety
    /// - The payload holds a value that was stored as a `T` and is not read again.
    #[inline]
    unsafe fn load<T>(self) -> T {
        let place = self.payload.0.get();
        if fits::<T>() {
            // SAFETY: a `T` was stored in the place itself, and is moved out once.
            unsafe { place.cast::<T>().read() }
        } else {
            // SAFETY: a pointer to a boxed `T` was stored.
            let boxed = unsafe { place.cast::<*mut T>().read() };
            // SAFETY: it came from `Box::into_raw` and is taken back once.
            *unsafe { Box::from_raw(boxed) }
        }
    }
}

/// Whether a `T` lies in the block itself.
const fn fits<T>() -> bool {
    size_of::<T>() <= INLINE && align_of::<T>() <= align_of::<Payload>()
}

/// The operations for a closure `F` with result `R`.
const fn kind<F, R>() -> &'static Kind
where
    F: FnOnce() -> R + 'static,
    R: 'static,
{
    &Kind {
        run: run::<F, R>,
        drop_closure: drop_payload::<F>,
        drop_result: drop_payload::<R>,
    }
}

/// # Safety
/// - As for [`Task::run`]; the payload is an `F`.
unsafe fn run<F, R>(task: Task)
where
    F: FnOnce() -> R + 'static,
    R: 'static,
{
    // SAFETY: the thread was fresh until now: the payload is its closure, and nobody else takes it.
    let body = unsafe { task.load::<F>() };
    if task.lower(flag::KILL) != 0 {
        // It came from another OS thread when the runtime was about to end.
        task.outcome.set(Outcome::Killed);
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(body))) {
            task.set_panicked(payload);
        }
        return;
    }
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) if !mem::needs_drop::<R>() || task.observed.get() => {
            // SAFETY: the closure has left the payload empty.
            unsafe { task.store(result) };
            task.outcome.set(Outcome::Returned);
        }
        // Nobody will ask: the result's destructor runs here, on the thread's own stack.
        Ok(result) => match panic::catch_unwind(AssertUnwindSafe(|| drop(result))) {
            Ok(()) => task.outcome.set(Outcome::Taken),
            Err(payload) => task.set_panicked(payload),
        },
        Err(payload) => task.set_panicked(payload),
    }
}

/// Drops what a panic carried, and what that panics with in turn; but not for ever.
fn drop_quietly(mut payload: Box<dyn Any + Send>) {
    for _ in 0..16 {
        match panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(again) => payload = again,
        }
    }
    mem::forget(payload);
}

/// # Safety
/// - The payload is a `T`, which is not read again.
unsafe fn drop_payload<T>(task: Task) {
    // SAFETY: the caller's promise.
    drop(unsafe { task.load::<T>() });
}
