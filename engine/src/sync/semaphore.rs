//! A counter of permits that green threads wait for.
//!
//! Invariant: a permit that is given back while somebody waits goes to the longest waiting thread
//! and never into the counter, so the counter is positive only while nobody waits, and nobody who
//! comes later overtakes. A thread that is killed after it was given a permit passes it on.

use crate::clock::Instant;
use crate::rt::{self, WaitQueue, Waited};
use std::cell::Cell;
use std::fmt;
use std::mem;
use std::time::Duration;

/// Limits how many green threads do something at a time.
///
/// ```
/// use eventlet::{rt, sync::Semaphore};
/// use std::rc::Rc;
///
/// rt::run(|| {
///     let two = Rc::new(Semaphore::new(2));
///     let workers: Vec<_> = (0..4)
///         .map(|n| {
///             let two = Rc::clone(&two);
///             rt::spawn(move || {
///                 let _permit = two.acquire();
///                 rt::yield_now();
///                 n
///             })
///         })
///         .collect();
///     for worker in workers {
///         worker.join().unwrap();
///     }
///     assert_eq!(two.permits(), 2);
/// });
/// ```
pub struct Semaphore {
    permits: Cell<usize>,
    waiters: WaitQueue,
}

impl Semaphore {
    /// A semaphore with `permits` permits; with 1 it is a lock.
    ///
    /// ```
    /// assert_eq!(eventlet::sync::Semaphore::new(3).permits(), 3);
    /// ```
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore {
            permits: Cell::new(permits),
            waiters: WaitQueue::new(),
        }
    }

    /// Permits that can be had without waiting.
    ///
    /// ```
    /// let lock = eventlet::sync::Semaphore::new(1);
    /// let permit = lock.try_acquire();
    /// assert_eq!(lock.permits(), 0);
    /// drop(permit);
    /// assert_eq!(lock.permits(), 1);
    /// ```
    pub fn permits(&self) -> usize {
        self.permits.get()
    }

    /// Takes a permit, once there is one; dropping the [`Permit`] gives it back.
    ///
    /// *May switch: yes.*
    ///
    /// ```
    /// use eventlet::{rt, sync::Semaphore};
    ///
    /// rt::run(|| {
    ///     let lock = Semaphore::new(1);
    ///     let permit = lock.acquire();
    ///     assert!(lock.try_acquire().is_none());
    ///     drop(permit);
    /// });
    /// ```
    pub fn acquire(&self) -> Permit<'_> {
        self.acquire_until(None)
            .expect("without a deadline, a wait ends with a permit")
    }

    /// As [`Semaphore::acquire`], for at most `timeout`.
    ///
    /// *May switch: yes.*
    ///
    /// ```
    /// use eventlet::{rt, sync::Semaphore};
    /// use std::time::Duration;
    ///
    /// rt::run(|| {
    ///     let none = Semaphore::new(0);
    ///     assert!(none.acquire_timeout(Duration::from_millis(1)).is_none());
    /// });
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
        self.try_acquire()
            .or_else(|| self.acquire_until(Some(rt::deadline(timeout))))
    }

    /// Takes a permit if there is one. *May switch: no.*
    ///
    /// ```
    /// let lock = eventlet::sync::Semaphore::new(1);
    /// let permit = lock.try_acquire();
    /// assert!(permit.is_some() && lock.try_acquire().is_none());
    /// ```
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        let left = self.permits.get().checked_sub(1)?;
        self.permits.set(left);
        Some(Permit { semaphore: self })
    }

    /// Adds `permits` permits, to those who wait first.
    ///
    /// *May switch: no.*
    ///
    /// # Panics
    /// If the count would pass `usize::MAX`.
    ///
    /// ```
    /// let semaphore = eventlet::sync::Semaphore::new(0);
    /// semaphore.release(2);
    /// assert_eq!(semaphore.permits(), 2);
    /// ```
    pub fn release(&self, permits: usize) {
        for given in 0..permits {
            if !self.waiters.wake_one() {
                let total = self.permits.get().checked_add(permits - given);
                self.permits
                    .set(total.expect("more permits than can be counted"));
                return;
            }
        }
    }

    fn acquire_until(&self, deadline: Option<Instant>) -> Option<Permit<'_>> {
        if let Some(permit) = self.try_acquire() {
            return Some(permit);
        }
        match self.waiters.wait(deadline) {
            Waited::Granted => Some(Permit { semaphore: self }),
            Waited::GrantedToDying => {
                self.release(1);
                rt::die()
            }
            Waited::Closed | Waited::TimedOut => None,
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("permits", &self.permits())
            .finish_non_exhaustive()
    }
}

/// A permit of a [`Semaphore`], given back when dropped.
///
/// ```
/// let lock = eventlet::sync::Semaphore::new(1);
/// drop(lock.try_acquire());
/// assert_eq!(lock.permits(), 1);
/// ```
#[derive(Debug)]
#[must_use = "dropping a permit gives it back"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
}

impl Permit<'_> {
    /// Keeps the permit for ever, or until somebody calls [`Semaphore::release`].
    ///
    /// ```
    /// let lock = eventlet::sync::Semaphore::new(1);
    /// lock.try_acquire().unwrap().forget();
    /// assert_eq!(lock.permits(), 0);
    /// lock.release(1);
    /// assert_eq!(lock.permits(), 1);
    /// ```
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.release(1);
    }
}
