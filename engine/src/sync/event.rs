//! A flag that green threads wait for.
//!
//! Invariant: nobody waits while the flag is set.

use crate::clock::Instant;
use crate::rt::{self, WaitQueue, Waited};
use std::cell::Cell;
use std::fmt;
use std::time::Duration;

/// Something that happens once, or again after a reset; any number of green threads wait for it.
///
/// ```
/// use eventlet::{rt, sync::Event};
/// use std::rc::Rc;
///
/// rt::run(|| {
///     let ready = Rc::new(Event::new());
///     let setter = Rc::clone(&ready);
///     rt::spawn(move || setter.set());
///     ready.wait();
///     assert!(ready.is_set());
/// });
/// ```
pub struct Event {
    set: Cell<bool>,
    waiters: WaitQueue,
}

impl Event {
    /// An event that has not happened.
    ///
    /// ```
    /// assert!(!eventlet::sync::Event::new().is_set());
    /// ```
    pub const fn new() -> Event {
        Event {
            set: Cell::new(false),
            waiters: WaitQueue::new(),
        }
    }

    /// Whether the event has happened.
    ///
    /// ```
    /// let event = eventlet::sync::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// Says that the event has happened: everybody who waits becomes ready, in order of arrival.
    ///
    /// *May switch: no.*
    ///
    /// ```
    /// let event = eventlet::sync::Event::new();
    /// event.set();
    /// event.set(); // once more changes nothing
    /// ```
    pub fn set(&self) {
        self.set.set(true);
        self.waiters.wake_all();
    }

    /// Makes later calls of [`Event::wait`] wait again. *May switch: no.*
    ///
    /// ```
    /// let event = eventlet::sync::Event::new();
    /// event.set();
    /// event.reset();
    /// assert!(!event.is_set());
    /// ```
    pub fn reset(&self) {
        self.set.set(false);
    }

    /// Waits until the event has happened; returns at once if it already has.
    ///
    /// *May switch: yes.*
    ///
    /// ```
    /// use eventlet::{rt, sync::Event};
    ///
    /// rt::run(|| {
    ///     let event = Event::new();
    ///     event.set();
    ///     event.wait();
    /// });
    /// ```
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// As [`Event::wait`], for at most `timeout`; answers whether the event has happened.
    ///
    /// *May switch: yes.*
    ///
    /// ```
    /// use eventlet::{rt, sync::Event};
    /// use std::time::Duration;
    ///
    /// rt::run(|| assert!(!Event::new().wait_timeout(Duration::from_millis(1))));
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.is_set() || self.wait_until(Some(rt::deadline(timeout)))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        if self.set.get() {
            return true;
        }
        match self.waiters.wait(deadline) {
            Waited::Granted => true,
            Waited::GrantedToDying => rt::die(),
            Waited::Closed | Waited::TimedOut => false,
        }
    }
}

impl Default for Event {
    fn default() -> Event {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .finish_non_exhaustive()
    }
}
