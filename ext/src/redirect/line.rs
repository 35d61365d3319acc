//! Lines of green threads that wait for one object of the interpreter's own: a lock, an RLock, a queue.
//!
//! The object stays the source of truth: who waits asks it (`attempt`), parks, and asks again when woken. Whoever
//! gives something back to it, in any OS thread, calls `advance`. A line is keyed by the object's address and keeps
//! the object alive; it exists only while somebody is in it, so an address is never stale. Who leaves without what
//! it was woken for wakes the next one; so does the end of an OS thread, for those whom it leaves in line. GIL held
//! throughout, from an attempt to the park that follows it.

use std::collections::HashMap;
use std::time::Duration;

use pyo3::ffi::PyObject;
use pyo3::prelude::*;

use crate::error::{Raised, Result};
use crate::gil_cell::GilCell;
use crate::hub::{self, Instant, Reason, Waiter, Woken};
use crate::object::Object;
use crate::wait_queue::{Key, WaitQueue};

struct Line {
    /// Dropped by whoever leaves last, outside of the cell.
    _object: Object,
    queue: WaitQueue<()>,
}

/// Address of an object -> who waits for it.
static LINES: GilCell<Option<HashMap<usize, Line>>> = GilCell::new(None);

/// How who waits finds out that there is something for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// By `advance`.
    Always,
    /// Perhaps not at all: the interpreter may release the object by itself. So it is asked again now and then.
    Perhaps,
}

/// First and longest pause between two questions to an object that does not tell.
const PAUSE: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(20));

/// Parks until `attempt` gives something; `None` after the deadline. May switch.
pub fn wait(
    py: Python<'_>,
    object: *mut PyObject,
    reason: Reason,
    deadline: Option<Instant>,
    told: Told,
    mut attempt: impl FnMut() -> Result<Option<Object>>,
) -> Result<Option<Object>> {
    let raise = |error| Raised::from_err(py, error);
    let waiter = Waiter::current(py).map_err(raise)?;
    let key = join(py, object, waiter);
    let mut pause = PAUSE.0;
    loop {
        let until = match told {
            Told::Always => deadline,
            Told::Perhaps => {
                let next = hub::deadline_in(py, pause.as_secs_f64()).map_err(raise)?;
                pause = (pause * 2).min(PAUSE.1);
                Some(deadline.map_or(next, |deadline| deadline.min(next)))
            }
        };
        let outcome = match hub::park(py, reason.at(object), until) {
            Ok(Woken::TimedOut) if until == deadline => {
                leave(py, object, key, false);
                // One last question: what came while others ran is taken rather than left.
                return attempt();
            }
            Ok(Woken::Switched(value)) => {
                drop(value.into_bound(py));
                attempt()
            }
            Ok(_) => attempt(),
            Err(raised) => Err(raised),
        };
        match outcome {
            Ok(None) => {
                let waiter = Waiter::current(py).map_err(raise)?;
                again(py, object, key, waiter);
            }
            done => {
                leave(py, object, key, matches!(done, Ok(Some(_))));
                return done;
            }
        }
    }
}

fn with<R>(py: Python<'_>, f: impl FnOnce(&mut HashMap<usize, Line>) -> R) -> R {
    LINES.with(py, |lines| f(lines.get_or_insert_with(HashMap::new)))
}

fn join(py: Python<'_>, object: *mut PyObject, waiter: Waiter) -> Key {
    // SAFETY: the caller of the method keeps it alive.
    let owned = unsafe { Object::from_borrowed(object) }.expect("an object");
    let (key, spare) = with(py, |lines| {
        let mut spare = Some(owned);
        let line = lines.entry(object as usize).or_insert_with(|| Line {
            _object: spare.take().expect("just made"),
            queue: WaitQueue::new(),
        });
        (line.queue.push(waiter, ()), spare)
    });
    drop(spare);
    key
}

fn again(py: Python<'_>, object: *mut PyObject, key: Key, waiter: Waiter) {
    let old = with(py, |lines| {
        let line = lines.get_mut(&(object as usize));
        line.map(|line| line.queue.wait_again(key, waiter))
    });
    drop(old);
}

/// Takes an entry out, the line too if it was the last one. `served`: the caller has what it waited for.
fn leave(py: Python<'_>, object: *mut PyObject, key: Key, served: bool) {
    let left = with(py, |lines| {
        let line = lines.get_mut(&(object as usize))?;
        let entry = line.queue.remove(key);
        if line.queue.is_empty() {
            return Some((entry, lines.remove(&(object as usize))));
        }
        if !served && line.queue.woken() == 0 {
            line.queue.wake_one(py, |()| ());
        }
        Some((entry, None))
    });
    drop(left);
}

/// There may be something for who waits for `object`: wakes the first one (`each`: also if one is on its way
/// already). Any OS thread. May switch: no.
#[inline]
pub fn advance(py: Python<'_>, object: *mut PyObject, each: bool) {
    LINES.with(py, |lines| {
        let Some(lines) = lines.as_mut().filter(|lines| !lines.is_empty()) else {
            return;
        };
        if let Some(line) = lines.get_mut(&(object as usize))
            && (each || line.queue.woken() == 0)
        {
            line.queue.wake_one(py, |()| ());
        }
    });
}

/// Takes those out who wait for `object` and never run again, because their OS thread has ended.
pub fn forget_lost(py: Python<'_>, object: *mut PyObject) {
    let lost = with(py, |lines| {
        let line = lines.get_mut(&(object as usize))?;
        let lost = line.queue.forget_lost();
        if line.queue.is_empty() {
            return Some((lost, lines.remove(&(object as usize))));
        }
        if line.queue.woken() == 0 {
            line.queue.wake_one(py, |()| ());
        }
        Some((lost, None))
    });
    drop(lost);
}

/// In the child of a fork: nobody waits for `object` any more.
pub fn forget(py: Python<'_>, object: *mut PyObject) {
    let line = with(py, |lines| {
        let line = lines.get_mut(&(object as usize))?;
        Some(line.queue.clear())
    });
    drop(line);
}
