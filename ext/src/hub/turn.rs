//! The loop of the hub greenlet, and the only way out of the scheduler: it fires what is ready, waits, and begins again.

use std::time::Duration;

use eventlet::hub::Wait;
use eventlet::stack::Rest;
use pyo3::ffi;
use pyo3::prelude::*;

use super::ending::forsake;
use super::outer::RUNS;
use super::wake::Next;
use super::{DETECTS, ENDED, Hub, IN_CALL, LEAVES, STOPS, Wake, deadlock, get, report, warm};
use crate::error::{self, Pending, Raised};
use crate::gil::Gil;
use crate::greenlet::{Gr, Phase, Transfer, switch};
use crate::object::Object;
use crate::pystate;
use crate::thread::Thread;

impl Hub {
    /// One wait for readiness, mail, the next deadline or the limit, with the GIL released if it blocks.
    pub(super) fn wait(
        &self,
        thread: &Thread,
        me: Gr,
        limit: Option<Duration>,
    ) -> error::Result<()> {
        let suspicion = match limit {
            None => self.suspicion(thread),
            Some(_) => None, // an outer loop has other things to wait for
        };
        let limit = limit.or(suspicion.as_ref().map(deadlock::Suspicion::limit));
        let mut wait: Wait = self.engine.borrow_mut().begin_wait_within(limit);
        let result = if wait.would_block() {
            if wait.timeout().is_none() && self.main_is_left(thread) && self.is_done(thread, me) {
                // SAFETY: the GIL is held.
                self.end_of_child(unsafe { Python::assume_attached() }, Ok(()));
            }
            match self.rest(thread, me) {
                Rest::None => wait.limit(Duration::ZERO),
                Rest::Short(at_most) => wait.limit(at_most),
                Rest::Long => {}
            }
            // SAFETY: the GIL is held, and no borrow is alive.
            let py = unsafe { Python::assume_attached() };
            Gil::release(py, |_| wait.block())
        } else {
            wait.block()
        };
        let ended = {
            let mut engine = self.engine.borrow_mut();
            let ended = engine.end_wait(wait, result);
            self.crowded.set(engine.ready_len() >= warm::CROWD);
            ended
        };
        self.ticker.expire();
        ended.map_err(|failure| {
            // SAFETY: the GIL is held.
            error::io_error(unsafe { Python::assume_attached() }, failure)
        })?;
        self.hold.set(self.hold.get() | IN_CALL);
        // SAFETY: the GIL is held; runs handlers in the main thread only.
        let handled = unsafe { ffi::PyErr_CheckSignals() };
        let examined = match handled {
            0 => self.examine(suspicion),
            _ => Err(Raised),
        };
        if !self.has_resigned(me) {
            self.hold.set(self.hold.get() & !IN_CALL);
        }
        examined
    }

    /// Acts on one wake-up in the hub greenlet. May switch: yes. An error ends the hub.
    pub(super) fn fire(
        &self,
        py: Python<'_>,
        thread: &Thread,
        me: Gr,
        wake: Wake,
    ) -> error::Result<()> {
        if self.hold.get() & DETECTS == 0 {
            return self.act(py, thread, me, wake);
        }
        self.tell_detector(py, c"block_detect_pre")?;
        let result = self.act(py, thread, me, wake);
        if !self.has_resigned(me) {
            self.tell_detector(py, c"block_detect_post")?;
        }
        result
    }

    pub(super) fn act(
        &self,
        py: Python<'_>,
        thread: &Thread,
        me: Gr,
        wake: Wake,
    ) -> error::Result<()> {
        match wake {
            Wake::Call(callback, arg) => {
                self.hold.set(self.hold.get() | IN_CALL);
                let called = callback(py, arg);
                if self.has_resigned(me) {
                    // The end of this greenlet reports it, as that of any green thread.
                    return called.map_err(|failure| Raised::from_err(py, failure));
                }
                self.hold.set(self.hold.get() & !IN_CALL);
                if let Err(failure) = called {
                    let raised = Raised::from_err(py, failure);
                    if self.is_dismissal() {
                        return Err(raised);
                    }
                    report::uncaught()?;
                }
            }
            Wake::Release(token, fd) => self.released(token, fd),
            Wake::Cancel(key) => {
                let cancelled = self.engine.borrow_mut().cancel(key);
                drop(cancelled);
            }
            wake => match wake.resolve() {
                // What arrives as an error was thrown at the hub, or belongs to the main greenlet: it ends the hub.
                Next::Go(target) => drop(switch::pass(thread, target)?),
                Next::Begin(target) => match switch::begin(thread, &target) {
                    Ok(()) => drop(switch::pass_first(thread, target)?),
                    Err(Raised) => report::failed_start(target),
                },
                Next::Stale => {}
            },
        }
        Ok(())
    }
}

/// Body of the hub greenlet: fires what is ready, waits, and begins again.
pub(super) fn run(py: Python<'_>, me: Gr, transfer: Transfer) -> error::Result<Object> {
    // PyO3's attach count stays above 0 while the hub lives, so that references which callbacks drop are
    // given back at once and not when the next function of PyO3's is entered.
    pystate::attached(py, |py| {
        let thread = Thread::existing().expect("a greenlet runs in it");
        let hub = get(thread)?;
        if let Transfer::Error(pending) = transfer {
            hub.hold.set(hub.hold.get() | ENDED);
            let raised = pending.restore();
            if hub.main_is_left(thread) {
                hub.end_of_child(py, Err(raised));
            }
            return Err(raised);
        }
        hub.hold.set(hub.hold.get() & !IN_CALL);
        hub.running.set(true);
        let result = if hub.overrides.has(RUNS) {
            hub.run_outside(py)
        } else {
            hub.turn(py, thread, me)
        };
        if hub.has_resigned(me) {
            return result.map(|()| Object::none());
        }
        hub.running.set(false);
        if hub.stopping.get() {
            let timers = hub.engine.borrow_mut().take_timers();
            if hub.hold.get() & LEAVES != 0 {
                forsake(&timers);
            }
            drop(timers);
        }
        hub.stopping.set(false);
        hub.hold.set(hub.hold.get() & !STOPS | ENDED);
        if hub.main_is_left(thread) {
            hub.end_of_child(py, result);
        }
        result.map(|()| Object::none())
    })
}

impl Hub {
    /// The loop. Returns when the hub is to end, or when `me` is not the hub any more.
    pub(super) fn turn(&self, py: Python<'_>, thread: &Thread, me: Gr) -> error::Result<()> {
        while !self.stopping.get() {
            loop {
                let wake = {
                    let mut engine = self.engine.borrow_mut();
                    warm::ahead(self, &engine);
                    engine.next()
                };
                let Some(wake) = wake else { break };
                self.fire(py, thread, me, wake)?;
                if self.stopping.get() || self.has_resigned(me) {
                    return Ok(());
                }
            }
            if thread.attention.get() & crate::thread::CONDEMNED != 0 {
                thread.execute_condemned();
                if self.has_resigned(me) {
                    return Ok(());
                }
            }
            self.wait(thread, me, None)?;
            if self.has_resigned(me) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Where a finished green thread goes instead of its parent, the hub: straight to the next ready one.
///
/// Its exception is reported here and goes no further, unless it is one that belongs to the main greenlet.
/// May switch: if reporting does.
#[inline]
pub fn successor(thread: &Thread, me: Gr, transfer: &mut Transfer) -> Option<(Object, bool)> {
    let hub = thread.hub.borrow().clone()?;
    let mut parent = me.heir()?;
    while parent.get().phase.get() == Phase::Dead {
        parent = parent.heir()?; // a hub greenlet that has ended stands for the one after it
    }
    if parent.as_object_ptr() != hub.greenlet.peek() {
        return None;
    }
    match std::mem::take(transfer) {
        Transfer::Error(pending) => {
            hub.note_failure(me);
            pending.restore();
            if report::uncaught().is_err() {
                *transfer = Transfer::Error(Pending::take());
                return None;
            }
        }
        result => drop(result),
    }
    while let Some(wake) = hub.next_direct(|| true) {
        match wake.resolve() {
            Next::Go(target) if Gr::from_object(&target) != me => return Some((target, false)),
            Next::Begin(target) => match switch::begin(thread, &target) {
                Ok(()) => return Some((target, true)),
                Err(Raised) => report::failed_start(target),
            },
            _ => {}
        }
    }
    None
}
