//! What a hub does before it sleeps: stacks that were not needed for a while give their memory back.
//!
//! Pooled stacks do, and greenlets that have been parked in the hub for a while. `Greenlet::swept` holds the number
//! of the park in which the last sweep has seen it, and whether it was trimmed in it, so that parking costs nothing.

use std::time::Duration;

use eventlet::clock::Instant;
use eventlet::stack::{Memory, Parked, Pool, Rest, Trimmer, WINDOW};
use pyo3::prelude::*;

use super::Hub;
use crate::gil_cell::GilCell;
use crate::greenlet::{Gr, Phase};
use crate::thread::Thread;

/// After what time a hub that is made from now on gives back what was not needed.
static AFTER: GilCell<Duration> = GilCell::new(WINDOW);

/// Sets it; the one before. For tests: the calling thread's next hub will use it.
pub fn trim_after(py: Python<'_>, window: Duration) -> Duration {
    AFTER.with(py, |after| std::mem::replace(after, window))
}

/// The trimmer of a new hub.
pub(super) fn trimmer(py: Python<'_>) -> Trimmer {
    Trimmer::new(AFTER.get(py))
}

/// The stacks of a thread, as the trimmer sees them.
struct Stacks<'a> {
    thread: &'a Thread,
    me: Gr,
}

impl Memory for Stacks<'_> {
    fn pools(&mut self, act: &mut dyn FnMut(&mut Pool)) {
        self.thread.pool.borrow_mut().pools(act);
    }

    fn places(&self) -> usize {
        self.thread.pool.borrow().places()
    }

    fn look(&mut self, place: usize) -> Parked {
        let owner = self.thread.pool.borrow().owner(place);
        let Some(g) = owner.map(Gr::from_ptr).filter(|&g| g != self.me) else {
            return Parked::Settled;
        };
        let greenlet = g.get();
        if greenlet.phase.get() != Phase::Active || greenlet.reason.get().is_none() {
            return Parked::Settled;
        }
        let seen = (greenlet.parks.get() as u32) << 1; // the low bits tell two parks in a row apart
        let trimmed = seen | 1;
        match greenlet.swept.replace(seen) {
            swept if swept == trimmed => {
                greenlet.swept.set(trimmed);
                Parked::Settled
            }
            swept if swept == seen => {
                greenlet.swept.set(trimmed);
                g.trim();
                Parked::Trimmed
            }
            _ => Parked::Fresh,
        }
    }
}

impl Hub {
    /// The hub is about to block in the greenlet `me`: gives a portion of unneeded memory back. How long it may sleep.
    pub(super) fn rest(&self, thread: &Thread, me: Gr) -> Rest {
        let now: Instant = self.engine.borrow().now();
        let mut trimmer = self.trimmer.borrow_mut();
        trimmer.rest(now, &mut Stacks { thread, me })
    }
}
