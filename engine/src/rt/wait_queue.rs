//! The one wait queue: green threads that wait for the same thing, in order of arrival.
//!
//! The links lie in the control blocks, since a green thread waits in one place at a time: joining a
//! queue and leaving it from anywhere allocate nothing and take constant time.
//!
//! Invariant: a linked thread is parked inside [`WaitQueue::wait`], whose frame borrows the queue;
//! it unlinks itself before that frame ends, however it ends. So no link outlives the queue.

use super::block::{Task, Wake};
use super::runtime::Runtime;
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
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Waited {
        let runtime = Runtime::current();
        let me = runtime.before_park();
        self.link(me);
        let wake = runtime.park(me, deadline);
        if me.queued.get() {
            self.unlink(me);
        }
        match wake {
            Wake::Woken if runtime.must_die(me) => Waited::GrantedToDying,
            Wake::Woken => Waited::Granted,
            _ => {
                runtime.after_park(me, wake);
                if wake == Wake::Closed {
                    Waited::Closed
                } else {
                    Waited::TimedOut
                }
            }
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
        while let Some(first) = self.head.get() {
            self.unlink(first);
            // A thread that a kill or its deadline has already woken gets nothing.
            if Runtime::current().unpark(first, wake) {
                return Some(first);
            }
        }
        None
    }

    #[inline]
    fn link(&self, task: Task) {
        let last = self.tail.replace(Some(task));
        task.previous.set(last);
        task.next.set(None);
        task.queued.set(true);
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
        task.queued.set(false);
    }
}
