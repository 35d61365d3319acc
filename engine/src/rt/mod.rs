//! Green threads for Rust programs: thousands of them on one OS thread, in ordinary blocking style.
//!
//! [`run`] turns the calling OS thread into a runtime and its closure into the main green thread.
//! Green threads are started with [`spawn`] and take turns: one runs until it waits (in [`sleep`],
//! [`JoinHandle::join`], a primitive of [`crate::sync`] or a socket of [`crate::net`]) or calls
//! [`yield_now`]. Between those points nobody else runs, so that data shared by the green threads of
//! one OS thread needs no lock: an `Rc<Cell<…>>` will do.
//!
//! Order: threads that become ready run in that order; those whose timers are due come after, by
//! deadline; then those whose descriptors became ready. Nobody starves.
//!
//! Panics stay in the green thread: its join handle gets them. A *kill* unwinds a green thread where
//! it waits, so its destructors run; this needs `panic = "unwind"`. Kills are panics with a payload
//! that no program can name: a `catch_unwind` that sees one should pass it on ([`is_kill`]).
//! [`std::thread::panicking`] counts for the OS thread: while one green thread waits in a destructor
//! during unwinding, the others see it too.
//!
//! ```
//! use eventlet::rt;
//! use std::time::Duration;
//!
//! let sum = rt::run(|| {
//!     let slow = rt::spawn(|| {
//!         rt::sleep(Duration::from_millis(2));
//!         1
//!     });
//!     let quick = rt::spawn(|| 2);
//!     slow.join().unwrap() + quick.join().unwrap()
//! });
//! assert_eq!(sum, 3);
//! ```

mod block;
mod builder;
mod green_thread;
mod join;
mod remote;
mod runtime;
mod wait_queue;

pub use builder::Builder;
pub use green_thread::{GreenThread, current, park, park_timeout};
pub use join::{JoinError, JoinHandle, Panic};
pub use remote::{Ended, Remote, remote};

pub(crate) use block::Wake;
pub(crate) use runtime::Runtime;
pub(crate) use wait_queue::{WaitQueue, Waited};

use crate::clock::Instant;
use std::any::Any;
use std::time::Duration;

/// Runs `main` as the main green thread of a new runtime on this OS thread; answers its result.
///
/// When `main` has returned or panicked, all other green threads are killed, and their destructors
/// run before this returns. Join those whose work matters.
///
/// *May switch: yes.*
///
/// # Panics
/// With the panic of `main`, if it panics; if this OS thread already has a runtime; if the kernel
/// refuses the descriptors that a runtime needs. A main green thread that waits while no other green
/// thread, timer, descriptor or [`Remote`] is left that could wake it panics with "deadlock".
///
/// ```
/// assert_eq!(eventlet::rt::run(|| 6 * 7), 42);
/// ```
pub fn run<F, R>(main: F) -> R
where
    F: FnOnce() -> R,
{
    match Builder::new().run(main) {
        Ok(result) => result,
        Err(error) => panic!("no green-thread runtime: {error}"),
    }
}

/// Starts a green thread that runs `body` when its turn comes; answers the handle to join it.
///
/// A closure and a result of at most 64 bytes each cost no allocation. *May switch: no.*
///
/// # Panics
/// Outside [`run`].
///
/// ```
/// use eventlet::rt;
///
/// rt::run(|| {
///     let name = String::from("green");
///     assert_eq!(rt::spawn(move || name.len()).join().unwrap(), 5);
/// });
/// ```
#[inline]
pub fn spawn<F, R>(body: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + 'static,
    R: 'static,
{
    JoinHandle::new(Runtime::current().spawn(None, body))
}

/// As [`spawn`], but the thread starts only after `delay`.
///
/// Until then it costs a timer, not a stack, and [`JoinHandle::cancel`] takes it back.
/// *May switch: no.*
///
/// # Panics
/// Outside [`run`].
///
/// ```
/// use eventlet::rt;
/// use std::time::{Duration, Instant};
///
/// rt::run(|| {
///     let before = Instant::now();
///     let thread = rt::spawn_after(Duration::from_millis(2), Instant::now);
///     assert!(thread.join().unwrap() - before >= Duration::from_millis(2));
/// });
/// ```
pub fn spawn_after<F, R>(delay: Duration, body: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + 'static,
    R: 'static,
{
    let runtime = Runtime::current();
    let deadline = runtime.now().saturating_add(delay);
    JoinHandle::new(runtime.spawn(Some(deadline), body))
}

/// Lets the other green threads run for at least `duration`; zero is [`yield_now`].
///
/// *May switch: yes.*
///
/// # Panics
/// Outside [`run`].
///
/// ```
/// use eventlet::rt;
/// use std::time::{Duration, Instant};
///
/// rt::run(|| {
///     let before = Instant::now();
///     rt::sleep(Duration::from_millis(2));
///     assert!(before.elapsed() >= Duration::from_millis(2));
/// });
/// ```
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        return yield_now();
    }
    let runtime = Runtime::current();
    let deadline = runtime.now().saturating_add(duration);
    let me = runtime.before_park();
    let parked = runtime.park(me, Some(deadline));
    runtime.after_park(me, parked);
}

/// Lets every other ready green thread run once before this one goes on.
///
/// *May switch: yes.*
///
/// # Panics
/// Outside [`run`].
///
/// ```
/// use eventlet::rt;
/// use std::{cell::RefCell, rc::Rc};
///
/// rt::run(|| {
///     let log = Rc::new(RefCell::new(Vec::new()));
///     let other = Rc::clone(&log);
///     rt::spawn(move || other.borrow_mut().push("other"));
///     rt::yield_now();
///     log.borrow_mut().push("main");
///     assert_eq!(*log.borrow(), ["other", "main"]);
/// });
/// ```
#[inline]
pub fn yield_now() {
    Runtime::current().yield_now();
}

/// Whether `payload`, which a `catch_unwind` caught, is that of a kill: pass it on with
/// [`std::panic::resume_unwind`].
///
/// ```
/// use eventlet::rt;
/// use std::panic;
///
/// rt::run(|| {
///     let stubborn = rt::spawn(|| {
///         if let Err(payload) = panic::catch_unwind(rt::park) {
///             assert!(rt::is_kill(&*payload));
///             panic::resume_unwind(payload);
///         }
///     });
///     rt::yield_now();
///     stubborn.kill();
///     assert!(stubborn.join().is_err());
/// });
/// ```
pub fn is_kill(payload: &(dyn Any + Send)) -> bool {
    payload.is::<block::Killed>()
}

/// Ends the running green thread because of a kill that a primitive held up to clean up first.
pub(crate) fn die() -> ! {
    let runtime = Runtime::current();
    runtime.die(runtime.running())
}

/// The instant `timeout` from now.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    Runtime::current().now().saturating_add(timeout)
}
