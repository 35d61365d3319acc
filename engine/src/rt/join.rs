//! Join handles: the way to a green thread's result.
//!
//! Invariant: one handle per thread, so that at most one thread waits in `join` and the result is
//! taken at most once. The handle's reference keeps the control block, and with it the result.

use super::block::{Outcome, Task, Wake, flag};
use super::green_thread::{GreenThread, Reference};
use super::runtime::Runtime;
use crate::clock::Instant;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Why a green thread has no result.
///
/// ```
/// use eventlet::rt::{self, JoinError};
///
/// rt::run(|| {
///     let thread = rt::spawn(|| rt::park());
///     rt::yield_now();
///     thread.kill();
///     assert!(matches!(thread.join(), Err(JoinError::Killed)));
/// });
/// ```
#[non_exhaustive]
pub enum JoinError {
    /// It panicked; this is what it panicked with.
    Panicked(Panic),
    /// It was killed or cancelled.
    Killed,
    /// It never started, because there was no memory or address space for its stack.
    NoStack(io::Error),
}

impl JoinError {
    /// The text that the thread panicked with, if it panicked with text.
    ///
    /// ```
    /// use eventlet::rt;
    ///
    /// rt::run(|| {
    ///     let error = rt::spawn(|| panic!("no {}", "luck")).join().unwrap_err();
    ///     assert_eq!(error.panic_message(), Some("no luck"));
    /// });
    /// ```
    pub fn panic_message(&self) -> Option<&str> {
        match self {
            JoinError::Panicked(panic) => panic.message(),
            JoinError::Killed | JoinError::NoStack(_) => None,
        }
    }
}

/// What a green thread panicked with.
///
/// ```
/// use eventlet::rt::{self, JoinError};
///
/// rt::run(|| {
///     let thread = rt::spawn(|| std::panic::resume_unwind(Box::new(42)));
///     let Err::<(), _>(JoinError::Panicked(panic)) = thread.join() else { unreachable!() };
///     assert_eq!(panic.message(), None);
///     assert_eq!(*panic.into_payload().downcast::<i32>().unwrap(), 42);
/// });
/// ```
pub struct Panic {
    message: Option<String>,
    /// Never locked: it makes the payload, which need only be `Send`, fit into an error that is
    /// `Sync`, as most error types ask for.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl Panic {
    fn new(payload: Box<dyn Any + Send>) -> Panic {
        let message = match payload.downcast_ref::<&'static str>() {
            Some(text) => Some((*text).to_owned()),
            None => payload.downcast_ref::<String>().cloned(),
        };
        Panic {
            message,
            payload: Mutex::new(payload),
        }
    }

    /// The text of the panic, if it was raised with text, as `panic!` does.
    ///
    /// ```
    /// use eventlet::rt::{self, JoinError};
    ///
    /// rt::run(|| {
    ///     let Err::<(), _>(JoinError::Panicked(panic)) = rt::spawn(|| panic!("oh")).join() else {
    ///         unreachable!()
    ///     };
    ///     assert_eq!(panic.message(), Some("oh"));
    /// });
    /// ```
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The payload, to be looked at or to be passed on with [`std::panic::resume_unwind`].
    ///
    /// The type shows an example.
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic")
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(_) => match self.panic_message() {
                Some(text) => write!(f, "the green thread panicked: {text}"),
                None => f.write_str("the green thread panicked"),
            },
            JoinError::Killed => f.write_str("the green thread was killed"),
            JoinError::NoStack(error) => write!(f, "the green thread got no stack: {error}"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl Error for JoinError {}

/// The right to wait for a green thread's result.
///
/// Dropping the handle detaches the thread: it goes on, and its result is dropped when it ends.
///
/// ```
/// use eventlet::rt;
///
/// rt::run(|| {
///     let threads: Vec<_> = (0..3).map(|n| rt::spawn(move || n * n)).collect();
///     let squares: Vec<i32> = threads.into_iter().map(|t| t.join().unwrap()).collect();
///     assert_eq!(squares, [0, 1, 4]);
/// });
/// ```
pub struct JoinHandle<R> {
    task: Task,
    /// Bound to the OS thread, as the green thread is.
    result: PhantomData<(R, *const ())>,
}

impl<R: 'static> JoinHandle<R> {
    /// Takes over the reference that `Task::fill` counted for an observed thread.
    pub(super) fn new(task: Task) -> JoinHandle<R> {
        JoinHandle {
            task,
            result: PhantomData,
        }
    }

    /// Waits until the thread has ended; answers its result, or why there is none.
    ///
    /// *May switch: yes.*
    ///
    /// # Errors
    /// [`JoinError::Panicked`] with the payload of its panic, [`JoinError::Killed`], or
    /// [`JoinError::NoStack`].
    ///
    /// # Panics
    /// If a thread joins itself, or nothing is left that could end the thread (see [`super::run`]).
    ///
    /// ```
    /// use eventlet::rt;
    ///
    /// rt::run(|| assert_eq!(rt::spawn(|| 6 * 7).join().unwrap(), 42));
    /// ```
    #[inline]
    pub fn join(self) -> Result<R, JoinError> {
        if !self.task.is_done() {
            self.wait(None);
        }
        self.take()
    }

    /// As [`JoinHandle::join`], for at most `timeout`; gives the handle back when that is over.
    ///
    /// *May switch: yes.*
    ///
    /// # Errors
    /// The handle itself, if the thread has not ended in time.
    ///
    /// ```
    /// use eventlet::rt;
    /// use std::time::Duration;
    ///
    /// rt::run(|| {
    ///     let thread = rt::spawn(|| rt::sleep(Duration::from_secs(60)));
    ///     let thread = thread.join_timeout(Duration::from_millis(1)).unwrap_err();
    ///     thread.kill();
    /// });
    /// ```
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<R, JoinError>, JoinHandle<R>> {
        if !self.task.is_done() {
            let deadline = Runtime::current().now().saturating_add(timeout);
            self.wait(Some(deadline));
            if !self.task.is_done() {
                return Err(self);
            }
        }
        Ok(self.take())
    }

    /// Whether the thread has ended, so that `join` would not wait.
    ///
    /// ```
    /// use eventlet::rt;
    ///
    /// rt::run(|| {
    ///     let thread = rt::spawn(|| ());
    ///     assert!(!thread.is_finished());
    ///     rt::yield_now();
    ///     assert!(thread.is_finished());
    /// });
    /// ```
    pub fn is_finished(&self) -> bool {
        self.task.is_done()
    }

    /// Ends the thread: drops its closure if it has not started, else unwinds it where it waits.
    ///
    /// Unwinding runs the thread's destructors; it happens when the thread's turn comes, so this
    /// does not wait for it ([`JoinHandle::join`] does). A thread that has ended is left alone.
    /// *May switch: no*, unless the closure's destructors do; but a thread that kills itself does
    /// not come back.
    ///
    /// ```
    /// use eventlet::rt;
    ///
    /// rt::run(|| {
    ///     let thread = rt::spawn(|| rt::park());
    ///     rt::yield_now(); // it starts, and waits
    ///     thread.kill();
    ///     assert!(thread.join().is_err());
    /// });
    /// ```
    pub fn kill(&self) {
        self.thread().kill();
    }

    /// Ends the thread if it has not started; answers whether it did so.
    ///
    /// *May switch: no*, unless the closure's destructors do.
    ///
    /// ```
    /// use eventlet::rt;
    /// use std::time::Duration;
    ///
    /// rt::run(|| {
    ///     let late = rt::spawn_after(Duration::from_secs(60), || println!("never"));
    ///     assert!(late.cancel());
    ///     let early = rt::spawn(|| rt::park());
    ///     rt::yield_now();
    ///     assert!(!early.cancel());
    /// });
    /// ```
    pub fn cancel(&self) -> bool {
        let fresh = self.task.has(flag::FRESH);
        if fresh {
            self.kill();
        }
        fresh
    }

    /// The thread itself, to be asked, woken or killed without its handle.
    ///
    /// ```
    /// use eventlet::rt;
    ///
    /// rt::run(|| {
    ///     let handle = rt::spawn(|| rt::current().id());
    ///     let thread = handle.thread();
    ///     assert_eq!(handle.join().unwrap(), thread.id());
    /// });
    /// ```
    pub fn thread(&self) -> GreenThread {
        GreenThread::new(self.task)
    }

    /// Parks until the thread has ended or `deadline`.
    fn wait(&self, deadline: Option<Instant>) {
        if self.task.owner.get().is_null() {
            return; // its runtime has given it up
        }
        let runtime = Runtime::current();
        let me = runtime.before_park();
        assert!(me != self.task, "a green thread cannot join itself");
        self.task.joiner.set(Some(me));
        let parked = runtime.park(me, deadline);
        if parked.wake != Wake::Woken {
            self.task.joiner.set(None);
        }
        runtime.after_park(me, parked);
    }

    /// The outcome of a thread that has ended.
    #[inline]
    fn take(self) -> Result<R, JoinError> {
        match self.task.outcome.get() {
            // SAFETY: the handle's type is the closure's, and the outcome tells that it returned.
            Outcome::Returned => Ok(unsafe { self.task.take::<R>() }),
            Outcome::Panicked => {
                // SAFETY: the outcome tells what the payload is.
                let payload = unsafe { self.task.take::<Box<dyn Any + Send>>() };
                Err(JoinError::Panicked(Panic::new(payload)))
            }
            Outcome::NoStack => Err(JoinError::NoStack(io::Error::from_raw_os_error(
                self.task.errno.get(),
            ))),
            Outcome::Killed | Outcome::None | Outcome::Taken => Err(JoinError::Killed),
        }
    }
}

impl<R> Drop for JoinHandle<R> {
    #[inline]
    fn drop(&mut self) {
        let task = self.task;
        // The block goes back even if the destructor of an untaken result panics.
        let _reference = Reference(task);
        task.observed.set(false);
        if task.is_done() {
            task.drop_outcome();
        }
    }
}

impl<R> fmt::Debug for JoinHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.task.id.get())
            .finish_non_exhaustive()
    }
}
