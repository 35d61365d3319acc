//! What a hub knows of its green threads, for who asks why the program hangs.
//!
//! Nothing is kept for this but four small numbers in each greenlet: its serial, its spawner's, and when it was
//! spawned and parked, as of the hub's last look at a clock. The rest is read from what is there anyway.
//! Invariant: `glance` runs no Python code, so that what it finds belongs together.
#![allow(unsafe_code)] // asks the interpreter for its frames

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventlet::clock::Instant;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::{Hub, Wake};
use crate::error::{self, Raised};
use crate::greenlet::Gr;
use crate::object::Object;
use crate::thread::Thread;

type Ptr = *mut ffi::PyObject;

/// Nanoseconds of a tick: 2 to this power, some 17 ms; so that two years fit into 32 bits.
const TICK_BITS: u32 = 24;

/// An instant in ticks; never 0.
#[inline(always)]
fn ticks(instant: Instant) -> u32 {
    ((instant.as_nanos() >> TICK_BITS) as u32).max(1)
}

/// How long ago `tick` was at `now`; `None` for a tick that was never set.
pub fn age(now: Instant, tick: u32) -> Option<Duration> {
    let passed = ticks(now).wrapping_sub(tick);
    // A look at the coarse clock may lag behind a precise one by a tick.
    let passed = if passed == u32::MAX { 0 } else { passed };
    (tick != 0).then(|| Duration::from_nanos(u64::from(passed) << TICK_BITS))
}

/// Whether the stack of the spawner is kept for each green thread.
static SPAWN_STACKS: AtomicBool = AtomicBool::new(false);

/// The attribute of a green thread in which it is kept.
pub const SPAWN_STACK: &str = "_spawn_stack";

/// Sets whether each green thread that is spawned from now on keeps the stack of its spawner.
pub fn record_spawn_stacks(state: bool) {
    SPAWN_STACKS.store(state, Ordering::Relaxed);
}

/// Whether it does.
pub fn records_spawn_stacks() -> bool {
    SPAWN_STACKS.load(Ordering::Relaxed)
}

/// So many green threads may be spawned or parked with one look at the clock, while others are ready to run.
const LOOK_EVERY: u32 = 16;

/// A hub's last look at the clock. It serves a few times, since even that clock would be a measurable part of what
/// it costs to park.
#[derive(Debug, Default)]
pub(super) struct Ticker {
    tick: Cell<u32>,
    left: Cell<u32>,
}

impl Ticker {
    /// Has the clock looked at for whoever is next.
    #[inline(always)]
    pub(super) fn expire(&self) {
        self.left.set(0);
    }
}

impl Hub {
    /// When the clock was last looked at, in ticks: in this turn, or the last ones if they were short.
    #[inline(always)]
    pub(super) fn tick(&self) -> u32 {
        match self.ticker.left.get() {
            0 => self.look(),
            left => {
                self.ticker.left.set(left - 1);
                self.ticker.tick.get()
            }
        }
    }

    /// Now, in ticks.
    #[inline(never)]
    pub(super) fn look(&self) -> u32 {
        let tick = ticks(self.engine.borrow().clock().recent());
        self.ticker.tick.set(tick);
        self.ticker.left.set(LOOK_EVERY - 1);
        tick
    }

    /// Notes when `new` was spawned, and by whom.
    #[inline(always)]
    pub(super) fn register_birth(&self, thread: &Thread, new: &Object) -> error::Result<()> {
        let greenlet = Gr::from_object(new).get();
        greenlet.born.set(self.tick());
        greenlet.spawner.set(thread.current.get().get().serial);
        if SPAWN_STACKS.load(Ordering::Relaxed) {
            keep_stack(new)?;
        }
        Ok(())
    }
}

/// Keeps the running stack with the green thread: a list of (code, line), the innermost first.
#[cold]
fn keep_stack(new: &Object) -> error::Result<()> {
    // SAFETY: green threads are spawned with the GIL held.
    let py = unsafe { Python::assume_attached() };
    let keep = || -> PyResult<()> {
        let stack = PyList::empty(py);
        // SAFETY: the GIL is held; borrowed, null when no Python code runs.
        let frame = unsafe { ffi::PyEval_GetFrame() };
        // SAFETY: null or live.
        let mut frame = unsafe { Bound::from_borrowed_ptr_or_opt(py, frame.cast()) };
        while let Some(current) = frame {
            let place = (current.getattr("f_code")?, current.getattr("f_lineno")?);
            stack.append(PyTuple::new(py, [place.0, place.1])?)?;
            frame = Some(current.getattr("f_back")?).filter(|back| !back.is_none());
        }
        new.bind(py).setattr(SPAWN_STACK, stack)
    };
    keep().map_err(|failure| Raised::from_err(py, failure))
}

/// What a hub holds at one moment.
pub struct Glance {
    /// The moment.
    pub now: Instant,
    /// The hub greenlet.
    pub greenlet: Option<Object>,
    /// Those that are woken and have not run since.
    pub ready: HashSet<Ptr>,
    /// When those that wait with a deadline will give up.
    pub due: HashMap<Ptr, Instant>,
    /// Those that have not started, and when they will; `None` for in the next turn.
    pub unstarted: Vec<(Object, Option<Instant>)>,
}

/// Looks at the hub of a thread; `None` if it has none.
pub fn glance(thread: &Thread) -> Option<Glance> {
    let hub = thread.hub.borrow().clone()?;
    let engine = hub.engine.try_borrow().ok()?;
    let present = |object: &Object, number: u64| {
        let greenlet = Gr::from_object(object).get();
        greenlet.parks.get() == number && greenlet.reason.get().is_some()
    };
    let mut glance = Glance {
        now: engine.now(),
        greenlet: hub.greenlet.get(),
        ready: HashSet::new(),
        due: HashMap::new(),
        unstarted: Vec::new(),
    };
    for wake in engine.ready() {
        match wake {
            Wake::Resume(object, number) | Wake::TimedOut(object, number)
                if present(object, *number) =>
            {
                glance.ready.insert(object.as_ptr());
            }
            Wake::Start(object) => glance.unstarted.push((object.clone(), None)),
            _ => {}
        }
    }
    for (due, wake) in engine.timers() {
        match wake {
            Wake::TimedOut(object, number) if present(object, *number) => {
                glance.due.insert(object.as_ptr(), due);
            }
            Wake::Start(object) => glance.unstarted.push((object.clone(), Some(due))),
            _ => {}
        }
    }
    Some(glance)
}
