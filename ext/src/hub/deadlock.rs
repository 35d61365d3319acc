//! Tells a hub that waits for nothing from one that is only idle.
//!
//! A hub with nothing ready, no timer, nobody at a descriptor and no mail can be woken by another OS thread or a
//! signal alone. It waits a moment for that first; then `eventlet._deadlock` looks at all threads, once, and writes
//! a report if it finds a deadlock. After that, or if it finds none, the hub waits without a limit until something
//! happens. Costs a few reads when the hub is about to ask the kernel anyway.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventlet::clock::Instant;
use pyo3::prelude::*;

use super::{Hub, report};
use crate::error::{self, Raised};
use crate::thread::Thread;

/// Nanoseconds before a hub that waits for nothing is looked at; 0 for never.
static PATIENCE: AtomicU64 = AtomicU64::new(1_000_000_000);

/// Sets how long a hub may wait for nothing before it is looked at; `None` for as long as it likes.
pub fn set_patience(patience: Option<Duration>) {
    let nanos = patience.map_or(0, |patience| patience.as_nanos().max(1));
    PATIENCE.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// How long it may.
pub fn patience() -> Option<Duration> {
    let nanos = PATIENCE.load(Ordering::Relaxed);
    (nanos != 0).then(|| Duration::from_nanos(nanos))
}

/// A wait of a hub that has nothing to wait for.
pub struct Suspicion {
    since: Instant,
    patience: Duration,
}

impl Suspicion {
    /// How long the wait may last.
    pub fn limit(&self) -> Duration {
        self.patience
    }
}

impl Hub {
    /// What is to be looked into if the wait that begins now brings nothing.
    pub(super) fn suspicion(&self, thread: &Thread) -> Option<Suspicion> {
        let engine = self.engine.borrow();
        // In the child of a fork that a green thread made, nobody waiting means that all is done.
        let idle = engine.is_exhausted() && !self.cleared.get() && !self.main_is_left(thread);
        let patience = patience().filter(|_| idle)?;
        let since = engine.now();
        Some(Suspicion { since, patience })
    }

    /// After that wait: has the threads looked at if it was long enough and brought nothing.
    #[inline]
    pub(super) fn examine(&self, suspicion: Option<Suspicion>) -> error::Result<()> {
        if !self.engine.borrow().is_exhausted() {
            self.cleared.set(false); // life goes on
            return Ok(());
        }
        suspicion.map_or(Ok(()), |suspicion| self.look_around(&suspicion))
    }

    #[cold]
    fn look_around(&self, suspicion: &Suspicion) -> error::Result<()> {
        let waited = self.engine.borrow().now().saturating_since(suspicion.since);
        if waited < suspicion.patience || crate::process::finalizing() {
            return Ok(());
        }
        self.cleared.set(true);
        let Some(thread) = Thread::existing() else {
            return Ok(());
        };
        // No borrow is alive: the report runs Python code in the hub greenlet.
        Python::attach(|py| {
            let written = py
                .import("eventlet._deadlock")
                .and_then(|deadlock| deadlock.call_method1("report", (thread.ident,)));
            written.map(drop).or_else(|failure| {
                Raised::from_err(py, failure);
                report::uncaught()
            })
        })
    }
}
