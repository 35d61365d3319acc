//! The end of a hub: with its OS thread, or because another one takes its place.
//!
//! The hub greenlet is unwound, what waits is dropped, and the hub is freed though greenlets that are suspended for
//! good have counts of it on their stacks. Nobody can send to it any more, and wait queues learn of it by a counter.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::outer::RUNS;
use super::{Hub, LEAVES, STOPS, Wake, doors, get, in_hub_greenlet, outer, why};
use crate::error::{Pending, Raised};
use crate::greenlet::{self, Gr, Phase, switch};
use crate::object::Object;
use crate::thread::Thread;

/// Hubs that have ended: tells wait queues when to look for greenlets that never run again.
static ENDED_HUBS: AtomicU64 = AtomicU64::new(0);

/// Number of hubs of this process that have ended.
#[inline(always)]
pub fn ended_hubs() -> u64 {
    ENDED_HUBS.load(Ordering::Relaxed)
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.close_door());
    }
}

impl Hub {
    /// Nobody can send to this hub any more.
    fn close_door(&self) -> Vec<Wake> {
        doors(|doors| doors.remove(&self.serial));
        ENDED_HUBS.fetch_add(1, Ordering::Relaxed);
        let mut mail = Vec::new();
        self.inbox.close(&mut mail);
        mail
    }
}

/// Ends the hub of a thread that has ended, in which these greenlets are suspended: what waits in it is dropped, and
/// nobody can send to it any more. Unless it is the thread itself that ends, this is the child of a fork, where what
/// is referred to is the parent's.
pub fn end(hub: &Hub, suspended: &[Object], itself: bool) {
    if itself {
        outer::abandon(hub);
    }
    let wakes = hub.engine.borrow_mut().drain();
    forsake(&wakes);
    let mail = hub.close_door();
    if itself {
        for g in suspended {
            // SAFETY: hubs end with the GIL held.
            let py = unsafe { Python::assume_attached() };
            why::forget(py, Gr::from_object(g));
        }
        drop(mail);
        drop(wakes);
    } else {
        std::mem::forget(mail);
        std::mem::forget(wakes);
    }
}

/// What was to start in a hub that has ended never will: it is dead.
pub(super) fn forsake(wakes: &[Wake]) {
    for wake in wakes {
        if let Wake::Start(g) = wake {
            crate::greenlet::lifetime::forsake(Gr::from_object(g));
        }
    }
}

/// Frees the hub of a thread that has ended, after `end`. `whole`: no code runs any more that uses it, but for greenlets
/// that are suspended for good. If not, its descriptors are closed and the rest is left alone.
pub fn free(hub: Rc<Hub>, whole: bool) {
    let hub = match Rc::try_unwrap(hub) {
        Ok(hub) => return drop(hub),
        Err(shared) => shared,
    };
    // The other counts are on the stacks of greenlets that were suspended when the thread ended. Those never
    // run again and are never unwound, so nobody comes back to what is dropped here.
    if whole {
        while Rc::strong_count(&hub) > 1 {
            // SAFETY: a count that lies on such a stack, or lay there until the stack was unmapped; `hub` is one more.
            unsafe { Rc::decrement_strong_count(Rc::as_ptr(&hub)) };
        }
        return;
    }
    // SAFETY: read once, and never used or dropped in its place again: the count of `hub` is given away.
    let engine = unsafe { std::ptr::read(hub.engine.as_ptr()) };
    // SAFETY: as above.
    let inbox = unsafe { std::ptr::read(&hub.inbox) };
    std::mem::forget(hub);
    drop(engine);
    drop(inbox);
}

/// Drops the calling thread's hub with all that waits in it; the next use makes a new one. May switch: yes.
///
/// RuntimeError in the hub greenlet if an outer loop runs in it.
pub fn discard(py: Python<'_>) -> PyResult<()> {
    let thread = Thread::get().ok_or_else(|| Raised.into_err(py))?;
    if in_hub_greenlet(thread) {
        // What it runs now ends as any greenlet does.
        get(thread)
            .and_then(|hub| hub.resign(thread))
            .map_err(|raised| raised.into_err(py))?;
    }
    let Some(hub) = thread.hub.take() else {
        return Ok(());
    };
    hub.close_door(); // it is nobody's any more, also for a loop that is slow to end
    hub.dismiss(py, thread)?;
    drop(hub);
    Ok(())
}

/// Unwinds the hub greenlet of a thread that is about to end: the last callback may have left it in the middle, with
/// references to whom it switched to. An outer loop is told of the end by `end` instead. May switch: yes.
pub fn wind_up(thread: &Thread) {
    let hub = thread.hub.borrow().clone();
    if let Some(hub) = hub.filter(|hub| !hub.overrides.has(RUNS)) {
        // SAFETY: a thread's end is told with the GIL held.
        let py = unsafe { Python::assume_attached() };
        if let Err(error) = hub.dismiss(py, thread) {
            error.write_unraisable(py, None);
        }
    }
}

impl Hub {
    /// Ends the loop here and now if it has begun: what the hub greenlet holds would otherwise live as long as the
    /// thread. The caller is not the hub greenlet. May switch: yes.
    fn dismiss(&self, py: Python<'_>, thread: &Thread) -> PyResult<()> {
        let running = self
            .greenlet
            .get()
            .filter(|greenlet| Gr::from_object(greenlet).get().phase.get() == Phase::Active);
        let Some(running) = running else {
            return Ok(());
        };
        let running = Gr::from_object(&running);
        let me = thread.current.get().object();
        drop(running.get().parent.replace(Some(me)));
        self.stopping.set(true); // also if a callback catches what is thrown
        self.hold.set(self.hold.get() | STOPS | LEAVES);
        let exit = greenlet::exit_object().bind(py).call0()?;
        let exit = Pending::from_err(py, PyErr::from_value(exit));
        let ended = switch::throw(running, exit);
        self.hold.set(self.hold.get() & !LEAVES);
        ended.map(drop).map_err(|raised| raised.into_err(py))
    }

    /// Whether the exception that is set is what `dismiss` has thrown.
    #[cold]
    pub(super) fn is_dismissal(&self) -> bool {
        // SAFETY: an exception is set and the class is live.
        self.hold.get() & LEAVES != 0
            && unsafe { ffi::PyErr_ExceptionMatches(greenlet::exit_class()) } != 0
    }
}
