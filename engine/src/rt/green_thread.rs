//! The name of a green thread, and `park`, the wait that everybody may build upon.
//!
//! Invariant: a [`Reference`] is one counted reference to a control block; the block is reused or
//! freed by whoever drops the last.

use super::block::{Task, Wake};
use super::runtime::Runtime;
use crate::clock::Instant;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// One counted reference to a control block.
pub(super) struct Reference(pub(super) Task);

impl Drop for Reference {
    #[inline]
    fn drop(&mut self) {
        let task = self.0;
        if !task.release() {
            return;
        }
        // SAFETY: the owner clears the word before it ends.
        match unsafe { task.owner.get().as_ref() } {
            Some(runtime) => runtime.recycle(task),
            // SAFETY: the last reference is gone, and no runtime registers the block any more.
            None => unsafe { task.free() },
        }
    }
}

/// A green thread: what [`current`] and [`super::JoinHandle::thread`] name.
///
/// Cloning it names the same thread. It does not keep the thread alive or from ending.
///
/// ```
/// use eventlet::rt;
///
/// rt::run(|| {
///     let main = rt::current();
///     let waker = rt::spawn(move || main.unpark());
///     rt::park();
///     waker.join().unwrap();
/// });
/// ```
pub struct GreenThread {
    reference: Reference,
    local: PhantomData<*const ()>,
}

impl GreenThread {
    pub(super) fn new(task: Task) -> GreenThread {
        task.retain();
        GreenThread {
            reference: Reference(task),
            local: PhantomData,
        }
    }

    fn task(&self) -> Task {
        self.reference.0
    }

    /// A number that no other green thread of the same runtime has; the main one's is 0.
    ///
    /// ```
    /// use eventlet::rt;
    ///
    /// rt::run(|| assert_eq!(rt::current().id(), 0));
    /// ```
    pub fn id(&self) -> u64 {
        self.task().id.get()
    }

    /// Whether the thread has ended.
    ///
    /// ```
    /// use eventlet::rt;
    ///
    /// rt::run(|| assert!(!rt::current().is_finished()));
    /// ```
    pub fn is_finished(&self) -> bool {
        self.task().is_done()
    }

    /// Makes the thread return from [`park`], or from its next one if it is not parked there.
    ///
    /// *May switch: no.*
    ///
    /// ```
    /// use eventlet::rt;
    ///
    /// rt::run(|| {
    ///     rt::current().unpark();
    ///     rt::park(); // returns at once
    /// });
    /// ```
    pub fn unpark(&self) {
        let task = self.task();
        if task.is_done() {
            return;
        }
        let parked = task.plain_park.get() && Runtime::current().unpark(task, Wake::Woken);
        if !parked {
            task.token.set(true);
        }
    }

    /// Ends the thread; see [`super::JoinHandle::kill`].
    ///
    /// ```
    /// use eventlet::rt;
    ///
    /// rt::run(|| {
    ///     let suicide = rt::spawn(|| rt::current().kill());
    ///     assert!(suicide.join().is_err());
    /// });
    /// ```
    pub fn kill(&self) {
        if !self.task().is_done() {
            Runtime::current().kill(self.task());
        }
    }
}

impl Clone for GreenThread {
    fn clone(&self) -> GreenThread {
        GreenThread::new(self.task())
    }
}

impl PartialEq for GreenThread {
    fn eq(&self, other: &GreenThread) -> bool {
        self.task() == other.task()
    }
}

impl Eq for GreenThread {}

impl fmt::Debug for GreenThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GreenThread")
            .field("id", &self.id())
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// The running green thread.
///
/// # Panics
/// Outside [`super::run`].
///
/// ```
/// use eventlet::rt;
///
/// rt::run(|| {
///     let main = rt::current();
///     rt::spawn(move || assert_ne!(rt::current(), main)).join().unwrap();
/// });
/// ```
pub fn current() -> GreenThread {
    GreenThread::new(Runtime::current().running())
}

/// Waits until somebody calls [`GreenThread::unpark`]; returns at once if somebody already has.
///
/// *May switch: yes.*
///
/// # Panics
/// Outside [`super::run`], or in the main green thread if nothing is left that could wake it.
///
/// ```
/// use eventlet::rt;
///
/// rt::run(|| {
///     let main = rt::current();
///     rt::spawn(move || main.unpark());
///     rt::park();
/// });
/// ```
pub fn park() {
    park_until(None);
}

/// As [`park`], for at most `timeout`; answers whether somebody unparked the thread.
///
/// *May switch: yes.*
///
/// # Panics
/// Outside [`super::run`].
///
/// ```
/// use eventlet::rt;
/// use std::time::Duration;
///
/// rt::run(|| assert!(!rt::park_timeout(Duration::from_millis(1))));
/// ```
pub fn park_timeout(timeout: Duration) -> bool {
    let deadline = Runtime::current().now().saturating_add(timeout);
    park_until(Some(deadline))
}

fn park_until(deadline: Option<Instant>) -> bool {
    let runtime = Runtime::current();
    let me = runtime.before_park();
    if me.token.replace(false) {
        runtime.not_parked(me);
        return true;
    }
    me.plain_park.set(true);
    let parked = runtime.park(me, deadline);
    me.plain_park.set(false);
    runtime.after_park(me, parked);
    parked.wake == Wake::Woken
}
