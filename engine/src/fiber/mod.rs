//! Flows of control on stacks of their own, and the jump between two of them.
//!
//! A [`Fiber`] is one machine word: the stack pointer of a flow that does not run now. Everything
//! else that a flow needs to go on lies on its own stack, below that address. [`switch`] is
//! symmetric (any flow may switch to any other of its thread) and carries nothing: a value for the
//! other side waits in memory that both know.
//!
//! Who keeps what: this module keeps the registers that the platform's C ABI calls callee-saved,
//! including the floating-point control words. The caller keeps the stack alive for as long as
//! someone may switch to the fiber, never lets a fiber leave its OS thread, never switches to a flow
//! that runs or has ended, and lets no panic reach a fiber's root.
//!
//! One file per processor: `x86_64`, `aarch64`, and `portable` (corosensei) for the others; the
//! latter also stands in anywhere under `--cfg eventlet_portable_fiber`.

#[cfg(all(eventlet_asan, not(eventlet_portable_fiber)))]
pub(crate) mod asan;

#[cfg(all(target_arch = "x86_64", not(eventlet_portable_fiber)))]
#[path = "x86_64.rs"]
mod arch;

#[cfg(all(target_arch = "aarch64", not(eventlet_portable_fiber)))]
#[path = "aarch64.rs"]
mod arch;

#[cfg(any(
    eventlet_portable_fiber,
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
#[path = "portable.rs"]
mod arch;

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

/// What a new fiber runs: it gets the pointer given to [`Fiber::new`] and must never return.
///
/// ```
/// use std::ffi::c_void;
/// extern "C" fn forever(_argument: *mut c_void) -> ! {
///     std::process::exit(0)
/// }
/// let entry: eventlet::fiber::Entry = forever;
/// # let _ = entry;
/// ```
pub type Entry = unsafe extern "C" fn(*mut c_void) -> !;

/// A suspended flow of control: its saved stack pointer.
///
/// The value is filled by the [`switch`] that leaves the flow, and is meaningless while the flow
/// runs. It owns nothing: dropping it frees nothing and unwinds nothing.
///
/// ```
/// use eventlet::fiber::{Fiber, switch};
/// use eventlet::stack::{Config, Pool};
/// use std::ffi::c_void;
///
/// struct Pair {
///     main: Fiber,
///     child: Fiber,
///     count: u32,
/// }
///
/// unsafe extern "C" fn counter(pair: *mut c_void) -> ! {
///     let pair = pair.cast::<Pair>();
///     loop {
///         unsafe { (*pair).count += 1 };
///         unsafe { switch(&raw const (*pair).child, &raw const (*pair).main) };
///     }
/// }
///
/// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
/// let stack = pool.take()?;
/// let mut pair = Pair { main: Fiber::running(), child: Fiber::running(), count: 0 };
/// let shared = &raw mut pair;
/// unsafe {
///     (*shared).child = Fiber::new(stack.top(), counter, shared.cast());
///     switch(&raw const (*shared).main, &raw const (*shared).child);
///     switch(&raw const (*shared).main, &raw const (*shared).child);
///     assert_eq!((*shared).count, 2);
/// }
/// pool.put(stack); // the counter is abandoned: nobody switches to it any more
/// # Ok::<(), std::io::Error>(())
/// ```
#[repr(transparent)]
#[derive(Debug)]
pub struct Fiber(Cell<*mut u8>);

impl Fiber {
    /// The flow that runs on a stack which this module did not make, such as a thread's own.
    ///
    /// It becomes a place to switch to when the flow first switches away from it.
    ///
    /// ```
    /// assert!(eventlet::fiber::Fiber::running().stack_pointer().is_null());
    /// ```
    #[inline]
    pub const fn running() -> Fiber {
        Fiber(Cell::new(ptr::null_mut()))
    }

    /// A flow that calls `entry(argument)` on the stack that ends at `top` when first switched to.
    ///
    /// It starts with the floating-point control words of the flow that calls `new`, as a called
    /// function would, and with a zero return address, so that backtraces end there.
    ///
    /// # Safety
    /// - `top` is 16-byte aligned, and the memory below it is a writable stack, used by nobody else,
    ///   that stays mapped until the flow is switched to for the last time.
    /// - `entry` never unwinds.
    /// - The flow is only ever switched to from the thread that first does so.
    ///
    /// The type shows a whole example.
    #[inline]
    pub unsafe fn new(top: *mut u8, entry: Entry, argument: *mut c_void) -> Fiber {
        debug_assert!(
            top.addr() % 16 == 0,
            "the ABI wants stacks aligned to 16 bytes"
        );
        // SAFETY: the caller of `new` vouches for the stack below `top`.
        let pointer = unsafe { arch::prepare(top, entry, argument) };
        Fiber(Cell::new(pointer))
    }

    /// The stack pointer of the suspended flow; null if it has never been suspended.
    ///
    /// Everything below it (less the ABI's red zone) is dead.
    ///
    /// ```
    /// use eventlet::fiber::Fiber;
    /// use eventlet::stack::{Config, Pool};
    /// # unsafe extern "C" fn never(_: *mut std::ffi::c_void) -> ! { std::process::abort() }
    /// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// let stack = pool.take()?;
    /// let fiber = unsafe { Fiber::new(stack.top(), never, std::ptr::null_mut()) };
    /// assert!(fiber.stack_pointer() < stack.top());
    /// assert!(fiber.stack_pointer() > stack.limit());
    /// # pool.put(stack);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn stack_pointer(&self) -> *mut u8 {
        arch::stack_pointer(self.0.get())
    }
}

/// Suspends the running flow into `from` and goes on with the one suspended in `to`.
///
/// Returns when some flow switches to `from`. Keeps all that the C ABI asks for. On x86-64 reading the
/// floating-point control words is the greater part of the cost: [`switch_plain`] does without.
///
/// # Safety
/// - `from` and `to` point to live fibers; they differ, unless `to` was suspended.
/// - `from` stands for the running flow; `to` holds a flow that was suspended on this thread, or a
///   new one, whose stack is still mapped and untouched since.
/// - No borrow, lock or guard that another flow may want is alive across the call.
///
/// [`Fiber`] shows an example.
#[inline(always)]
pub unsafe fn switch(from: *const Fiber, to: *const Fiber) {
    // SAFETY: the caller keeps the contract above; `Fiber` is transparent over the saved pointer.
    unsafe { arch::switch(from.cast_mut().cast(), to.cast()) }
}

/// As [`switch`], but leaves the floating-point control words as they are.
///
/// Right between flows that run under the same ones, as all Rust code does: to it, rounding modes and
/// trap masks other than the default are undefined behaviour. Both kinds of switch may be mixed: a
/// flow suspended by this one keeps whatever words it is resumed with.
///
/// # Safety
/// - As for [`switch`].
///
/// ```
/// use eventlet::fiber::{Fiber, depart, switch_plain};
/// use eventlet::stack::{Config, Pool};
/// use std::ffi::c_void;
///
/// unsafe extern "C" fn once(main: *mut c_void) -> ! {
///     unsafe { depart(main.cast_const().cast::<Fiber>()) }
/// }
///
/// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
/// let stack = pool.take()?;
/// let main = Fiber::running();
/// unsafe {
///     let child = Fiber::new(stack.top(), once, (&raw const main).cast_mut().cast());
///     switch_plain(&main, &child);
/// }
/// pool.put(stack);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline(always)]
pub unsafe fn switch_plain(from: *const Fiber, to: *const Fiber) {
    // SAFETY: the caller keeps the contract above; `Fiber` is transparent over the saved pointer.
    unsafe { arch::switch_plain(from.cast_mut().cast(), to.cast()) }
}

/// Leaves the running flow for good and goes on with the one suspended in `to`.
///
/// As [`switch`], but nothing is saved: the flow's stack may be reused as soon as the other side
/// runs. Telling that this is the end lets the sanitizers free what they keep per flow.
///
/// # Safety
/// - As for [`switch`]; in addition nothing on the running flow's stack is needed any more, because
///   none of its destructors will run.
///
/// ```
/// use eventlet::fiber::{self, Fiber};
/// use eventlet::stack::{Config, Pool};
/// use std::ffi::c_void;
///
/// unsafe extern "C" fn once(main: *mut c_void) -> ! {
///     unsafe { fiber::depart(main.cast_const().cast::<Fiber>()) }
/// }
///
/// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
/// let stack = pool.take()?;
/// let main = Fiber::running();
/// unsafe {
///     let child = Fiber::new(stack.top(), once, (&raw const main).cast_mut().cast());
///     fiber::switch(&main, &child);
/// }
/// pool.put(stack);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline(always)]
pub unsafe fn depart(to: *const Fiber) -> ! {
    // SAFETY: the caller keeps the contract above.
    unsafe { arch::depart(to.cast()) }
}
