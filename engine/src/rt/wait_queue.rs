//! The one wait queue: green threads that wait for the same thing, in order of arrival.
//!
//! The links lie in the control blocks, since a green thread waits in one place at a time: joining a
//! queue and leaving it from anywhere allocate nothing and take constant time.
//!
//! Invariant: a linked thread is parked inside [`WaitQueue::wait`], whose frame borrows the queue;
//! it unlinks itself before that frame ends, however it ends. So no link outlives the queue.

use super::block::{Task, Wake, flag};
use super::runtime::{Parked, Runtime};
use crate::clock::Instant;
use std::cell::Cell;

/// What ended a wait in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waited {
    /// `wake_one` chose this thread: it owns what was granted.
    Granted,
    /// As `Granted`, but the thread is being killed: give the grant on, then [`super::die`].
    GrantedToDying,
    /// `close` let everybody go.
    Closed,
    /// The deadline came first.
    TimedOut,
}

/// Parked green threads, first come first served.
pub(crate) struct WaitQueue {
    head: Cell<Option<Task>>,
    tail: Cell<Option<Task>>,
}

impl WaitQueue {
    /// A queue in which nobody waits.
    pub(crate) const fn new() -> WaitQueue {
        WaitQueue {
            head: Cell::new(None),
            tail: Cell::new(None),
        }
    }

    /// Parks the running green thread at the end of the queue, until it is woken or `deadline`.
    ///
    /// A kill unwinds from here, unless a grant came first. *May switch: yes.*
    #[inline(always)]
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Waited {
        let runtime = Runtime::current();
        let me = runtime.before_park();
        self.link(me);
        let parked = runtime.park(me, deadline);
        if parked.wake == Wake::Woken {
            return if parked.dying {
                Waited::GrantedToDying
            } else {
                Waited::Granted
            };
        }
        self.leave(runtime, me, parked)
    }

    /// The rest of `wait` for a thread that was not chosen.
    #[inline(never)]
    fn leave(&self, runtime: &Runtime, me: Task, parked: Parked) -> Waited {
        if me.has(flag::QUEUED) {
            self.unlink(me);
        }
        runtime.after_park(me, parked);
        if parked.wake == Wake::Closed {
            Waited::Closed
        } else {
            Waited::TimedOut
        }
    }

    /// As [`WaitQueue::wait`], under a number that [`WaitQueue::wake_ticket`] tells.
    pub(crate) fn wait_with(&self, ticket: u64, deadline: Option<Instant>) -> Waited {
        Runtime::current().running().ticket.set(ticket);
        self.wait(deadline)
    }

    /// Wakes the longest waiting thread; `false` if nobody waits.
    #[inline]
    pub(crate) fn wake_one(&self) -> bool {
        self.wake_first(Wake::Woken).is_some()
    }

    /// As [`WaitQueue::wake_one`]; answers under which number the thread waited.
    #[inline]
    pub(crate) fn wake_ticket(&self) -> Option<u64> {
        self.wake_first(Wake::Woken).map(|task| task.ticket.get())
    }

    /// Lets every waiting thread go with [`Waited::Granted`]; answers how many.
    pub(crate) fn wake_all(&self) -> usize {
        let mut count = 0;
        while self.wake_one() {
            count += 1;
        }
        count
    }

    /// Lets every waiting thread go with [`Waited::Closed`].
    pub(crate) fn close(&self) {
        while self.wake_first(Wake::Closed).is_some() {}
    }

    #[inline]
    fn wake_first(&self, wake: Wake) -> Option<Task> {
        let first = self.head.get()?;
        self.shift(first);
        if Runtime::current().unpark(first, wake) {
            Some(first)
        } else {
            self.wake_next(wake)
        }
    }

    /// The rest of `wake_first`: who was woken already, by a kill or its deadline, gets nothing.
    #[cold]
    fn wake_next(&self, wake: Wake) -> Option<Task> {
        loop {
            let first = self.head.get()?;
            self.shift(first);
            if Runtime::current().unpark(first, wake) {
                return Some(first);
            }
        }
    }

    /// Unlinks the first thread.
    #[inline]
    fn shift(&self, first: Task) {
        let next = first.next.get();
        self.head.set(next);
        match next {
            Some(next) => next.previous.set(None),
            None => self.tail.set(None),
        }
        first.lower(flag::QUEUED);
    }

    #[inline]
    fn link(&self, task: Task) {
        let last = self.tail.replace(Some(task));
        task.previous.set(last);
        task.next.set(None);
        task.raise(flag::QUEUED);
        match last {
            Some(last) => last.next.set(Some(task)),
            None => self.head.set(Some(task)),
        }
    }

    #[inline]
    fn unlink(&self, task: Task) {
        let (previous, next) = (task.previous.get(), task.next.get());
        match previous {
            Some(previous) => previous.next.set(next),
            None => self.head.set(next),
        }
        match next {
            Some(next) => next.previous.set(previous),
            None => self.tail.set(previous),
        }
        task.lower(flag::QUEUED);
    }
}
