//! A hub inside an outer loop, which waits for one descriptor and one deadline of it.
//!
//! The outer loop gives the hub a *turn*: [`Hub::enter`], then whatever [`Hub::next`] hands out, then
//! [`Hub::leave`], which says when the next one is wanted. Between two turns the hub is *outside*: the first
//! thing that becomes ready, or is to be due, then rings the bell, so that [`Hub::fd`] is readable. A turn
//! is bounded, so that what else the outer loop has to do does not starve.

use super::{Hub, POLL_EVERY};
use crate::clock::Instant;
use std::time::Duration;

/// Where a hub with an outer loop stands. One that was never entered has none, and pays one test of a flag.
#[derive(Debug, Default)]
pub(super) struct Outer {
    /// No turn is under way: what is added rings the bell, once.
    pub(super) outside: bool,
    /// When the present turn is to end; `None` without an outer loop.
    until: Option<Instant>,
}

impl<T> Hub<T> {
    /// Begins a turn, which is over once [`POLL_EVERY`] items were handed out and `turn` has passed.
    ///
    /// ```
    /// use eventlet::hub::Hub;
    /// use std::time::Duration;
    ///
    /// let mut hub = Hub::new()?;
    /// assert_eq!(hub.leave(), None, "nothing to wait for");
    /// hub.wake('x'); // makes hub.fd() readable
    /// hub.enter(Duration::from_micros(200));
    /// assert_eq!(hub.next(), Some('x'));
    /// assert_eq!(hub.next(), None);
    /// hub.wake('y');
    /// assert_eq!(hub.leave(), Some(Duration::ZERO), "it wants another turn");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn enter(&mut self, turn: Duration) {
        self.outer.outside = false;
        self.outer.until = Some(self.clock.now().saturating_add(turn));
        self.inbox.awake();
    }

    /// Ends a turn. How long until the next one is wanted, unless [`Hub::fd`] becomes readable before; `None`
    /// if only then.
    ///
    /// If the answer is zero the bell has been rung as well: an outer loop that watches the descriptor need
    /// not do anything more.
    ///
    /// [`Hub::enter`] shows an example.
    pub fn leave(&mut self) -> Option<Duration> {
        let timeout = self.wait_timeout(None);
        if timeout == Some(Duration::ZERO) {
            self.outer.outside = false;
            self.inbox.ring();
        } else {
            self.outer.outside = true;
        }
        timeout
    }

    /// Makes the timers that are due at `when` ready, for an outer loop with a time of its own.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// # use std::time::Duration;
    /// let mut hub = Hub::new()?;
    /// let later = hub.now().saturating_add(Duration::from_secs(60));
    /// hub.at(later, "tea");
    /// hub.take_due_by(later);
    /// assert_eq!(hub.next(), Some("tea"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_due_by(&mut self, when: Instant) {
        self.timers.take_due(when, &mut self.ready);
    }

    /// Whether the outer loop is to get its turn, although there may be more to do here.
    ///
    /// ```
    /// use eventlet::hub::Hub;
    /// use std::time::Duration;
    ///
    /// let mut hub = Hub::new()?;
    /// for n in 0..100 {
    ///     hub.wake(n);
    /// }
    /// hub.enter(Duration::ZERO);
    /// assert!(!hub.is_turn_over());
    /// while hub.next().is_some() {}
    /// assert!(hub.is_turn_over());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_turn_over(&self) -> bool {
        self.since_poll >= POLL_EVERY
            && self
                .outer
                .until
                .is_some_and(|until| self.clock.now() >= until)
    }

    /// Has the present turn end when its batch does: the outer loop has got something to do meanwhile.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// # use std::time::Duration;
    /// let mut hub = Hub::new()?;
    /// hub.enter(Duration::from_secs(1));
    /// hub.wake('x');
    /// assert_eq!(hub.next(), Some('x'));
    /// hub.wake('y');
    /// hub.end_turn();
    /// assert_eq!(hub.next(), None, "in the next turn");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn end_turn(&mut self) {
        if self.outer.until.is_some() {
            self.outer.until = Some(Instant::from_nanos(0));
            self.since_poll = self.since_poll.max(POLL_EVERY);
        }
    }

    /// Something was made ready, or to be due, outside of a turn.
    #[cold]
    pub(super) fn ring(&mut self) {
        self.outer.outside = false;
        self.inbox.ring();
    }
}
