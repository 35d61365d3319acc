//! A hub whose Python class overrides a part of it: how it runs, how greenlets leave for it, who watches descriptors.
//!
//! Such a class has the loop, the *outer loop*, which runs in the hub greenlet. The engine is a guest in it: it is
//! given turns, and between two of them it wants to be told when its descriptor is readable or its deadline has come.
//!
//! Invariant: outside of a turn `OUTSIDE` is set, so that whoever parks or ends goes back to the hub greenlet, where
//! the outer loop was called from, and to nobody else.

use std::cell::Cell;
use std::ffi::c_int;
use std::rc::Rc;
use std::time::Duration;

use eventlet::reactor::Interest;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::{Hub, Instant, Reason, Waiter, Woken, in_hub_greenlet, park, this};
use crate::error::{self, Raised};
use crate::object::Object;
use crate::thread::Thread;

/// The class runs the hub: `run`, `wait`, `fire_timers`, `prepare_timers` or `sleep_until`.
pub const RUNS: u8 = 1;
/// The class decides how a greenlet leaves for the hub: `switch`.
pub const SWITCHES: u8 = 2;
/// The class keeps the listeners: `add` or `remove`.
pub const LISTENS: u8 = 4;

/// What the class overrides.
#[derive(Default)]
pub(super) struct Overrides {
    what: Cell<u8>,
    /// The next to leave for the hub was sent by the class's `switch()`, and does not go through it again.
    sent: Cell<bool>,
}

impl Overrides {
    #[inline]
    pub(super) fn has(&self, what: u8) -> bool {
        self.what.get() & what != 0
    }

    /// The native `switch()` was called, by the class's if it has one.
    pub(super) fn send(&self) {
        self.sent.set(self.has(SWITCHES));
    }

    /// Whether who leaves for the hub now has been sent.
    pub(super) fn is_sent(&self) -> bool {
        self.sent.take()
    }
}

/// `Hub::hold`: the outer loop runs, and has not given the engine a turn.
pub(super) const OUTSIDE: u8 = 16;
/// `Hub::hold`: `SWITCHES` is overridden.
pub(super) const SWITCHED: u8 = 32;

/// How long a turn may take before the outer loop gets its own, unless a single green thread takes longer.
const TURN: Duration = Duration::from_micros(200);

/// Takes note of what the class of this thread's hub overrides.
pub fn set_overrides(py: Python<'_>, what: u8) -> PyResult<()> {
    let hub = this(py)?;
    hub.overrides.what.set(what);
    let mut hold = hub.hold.get() & !(SWITCHED | OUTSIDE);
    if what & SWITCHES != 0 {
        hold |= SWITCHED;
    }
    if what & RUNS != 0 {
        hold |= OUTSIDE; // who parks first enters the loop
    }
    hub.hold.set(hold);
    Ok(())
}

/// Whether the class of this thread's hub overrides any of `what`.
pub fn overrides(py: Python<'_>, what: u8) -> PyResult<bool> {
    Ok(this(py)?.overrides.has(what))
}

/// The thread of a hub whose loop is outside has ended: the object gives back what it can. May not switch.
pub(super) fn abandon(hub: &Hub) {
    let object = hub.object.replace(None);
    let Some(object) = object.filter(|_| hub.overrides.has(RUNS)) else {
        return;
    };
    // SAFETY: a thread's end is told with the GIL held.
    let py = unsafe { Python::assume_attached() };
    if crate::process::finalizing() {
        return;
    }
    let object = object.into_bound(py);
    if let Err(error) = object.call_method0(pyo3::intern!(py, "_abandoned")) {
        error.write_unraisable(py, Some(&object));
    }
}

/// This thread's hub, if the outer loop runs in the calling greenlet.
fn outside(py: Python<'_>) -> PyResult<Rc<Hub>> {
    let hub = this(py)?;
    let here = Thread::existing().is_some_and(in_hub_greenlet);
    if here && hub.hold.get() & OUTSIDE != 0 {
        return Ok(hub);
    }
    Err(PyRuntimeError::new_err(
        "only the loop of a hub may do this, in the hub's greenlet: call switch() or eventlet.sleep()",
    ))
}

/// What an outer loop has the engine do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask the kernel without waiting, and fire what is ready.
    Turn,
    /// Fire what is ready, and the timers that are due by then.
    Fire(Instant),
    /// Wait for so long at most (`None`: until something happens), and fire what has happened.
    Wait(Option<Duration>),
}

/// One step of the outer loop; how long until the engine wants the next one, unless its descriptor becomes readable
/// before; `None` if only then. May switch: yes. RuntimeError outside of the outer loop; the error that ends the hub.
pub fn step(py: Python<'_>, step: Step) -> PyResult<Option<Duration>> {
    let hub = outside(py)?;
    let thread = Thread::existing().expect("the hub greenlet runs in it");
    hub.hold.set(hub.hold.get() & !OUTSIDE);
    hub.engine.borrow_mut().enter(TURN);
    let result = hub.act_on(py, thread, step);
    hub.hold.set(hub.hold.get() | OUTSIDE);
    let wanted = hub.engine.borrow_mut().leave();
    result.map_err(|raised| raised.into_err(py))?;
    Ok(wanted)
}

/// The outer loop of this thread's hub has got something to do: the turn that is under way ends with its batch.
pub fn end_turn(_py: Python<'_>) {
    let Some(thread) = Thread::existing() else {
        return;
    };
    if let Some(hub) = &*thread.hub.borrow()
        && hub.overrides.has(RUNS)
        && hub.hold.get() & OUTSIDE == 0
    {
        hub.engine.borrow_mut().end_turn();
    }
}

/// How long until the engine wants a step, as `step` says it. For an outer loop that is about to wait.
pub fn wanted(py: Python<'_>) -> PyResult<Option<Duration>> {
    let hub = outside(py)?;
    let mut engine = hub.engine.borrow_mut();
    engine.enter(TURN);
    Ok(engine.leave())
}

/// When the next timer is due; now if anything is ready; `None` if neither.
pub fn next_due(py: Python<'_>) -> PyResult<Option<Instant>> {
    let hub = this(py)?;
    let mut engine = hub.engine.borrow_mut();
    if engine.ready_len() > 0 {
        return Ok(Some(engine.now()));
    }
    Ok(engine.next_deadline())
}

/// The descriptor that is readable when the engine wants a step; `None` for the `poll` back end.
pub fn descriptor(py: Python<'_>) -> PyResult<Option<c_int>> {
    Ok(this(py)?.engine.borrow().fd())
}

/// What runs in the hub greenlet wants to block: the outer loop has called it, so no other greenlet can be the hub.
#[cold]
pub(super) fn in_loop() -> Raised {
    error::runtime_error(c"do not call blocking functions from the mainloop")
}

impl Hub {
    fn act_on(&self, py: Python<'_>, thread: &Thread, step: Step) -> error::Result<()> {
        match step {
            Step::Turn => self.take_turn(py, thread),
            Step::Fire(when) => {
                self.engine.borrow_mut().take_due_by(when);
                self.fire_ready(py, thread).map(drop)
            }
            Step::Wait(limit) => {
                self.wait(thread, thread.current.get(), limit)?;
                self.fire_ready(py, thread).map(drop)
            }
        }
    }

    /// Goes on asking the kernel and firing for as long as there is something to do and the turn lasts.
    fn take_turn(&self, py: Python<'_>, thread: &Thread) -> error::Result<()> {
        loop {
            self.wait(thread, thread.current.get(), Some(Duration::ZERO))?;
            let any = self.fire_ready(py, thread)?;
            if !any || self.stopping.get() || self.engine.borrow().is_turn_over() {
                return Ok(());
            }
        }
    }

    /// Fires what is ready; whether there was anything.
    fn fire_ready(&self, py: Python<'_>, thread: &Thread) -> error::Result<bool> {
        let mut any = false;
        while !self.stopping.get() {
            let Some(wake) = self.engine.borrow_mut().next() else {
                break;
            };
            any = true;
            self.fire(py, thread, thread.current.get(), wake)?;
        }
        if thread.attention.get() & crate::thread::CONDEMNED != 0 {
            thread.execute_condemned();
        }
        Ok(any)
    }

    /// The body of the hub greenlet: the class's `run()`.
    pub(super) fn run_outside(&self, py: Python<'_>) -> error::Result<()> {
        let object = self.object.get();
        self.hold.set(self.hold.get() | OUTSIDE);
        // What is ready already rings the bell. When the next deadline is, the loop asks by `wanted` or `step`.
        self.engine.borrow_mut().leave();
        let result = match object {
            Some(object) => object
                .bind(py)
                .call_method0(pyo3::intern!(py, "_begin_outside"))
                .and_then(|_| object.bind(py).call_method0(pyo3::intern!(py, "run"))),
            None => Err(PyRuntimeError::new_err("the hub has no object to run it")),
        };
        self.hold.set(self.hold.get() | OUTSIDE);
        result
            .map(drop)
            .map_err(|error| Raised::from_err(py, error))
    }

    /// Leaves the current greenlet, which is parked, by the class's `switch()`. May switch: yes.
    #[cold]
    pub(super) fn switch_through(&self) -> error::Result<Object> {
        // SAFETY: every caller holds the GIL.
        let py = unsafe { Python::assume_attached() };
        let object = self.object.get().ok_or_else(|| {
            error::runtime_error(c"the hub that this thread's class overrides is gone")
        })?;
        let value = object.bind(py).call_method0(pyo3::intern!(py, "switch"));
        drop(object);
        value
            .map(Object::from)
            .map_err(|error| Raised::from_err(py, error))
    }
}

/// `park_fd` where the class keeps the listeners: the wait goes through its `add` and `remove`. May switch: yes.
pub(super) fn park_listening(
    py: Python<'_>,
    hub: &Hub,
    fd: c_int,
    interest: Interest,
    deadline: Option<Instant>,
) -> PyResult<Woken> {
    let missing = || PyRuntimeError::new_err("the hub has no object to keep listeners");
    let object = hub.object.get().ok_or_else(missing)?.into_bound(py);
    let waiter = Waiter::current(py)?;
    let throw = waiter.greenlet().bind(py).getattr("throw")?;
    let ready = Bound::new(py, Listener { waiter })?;
    let event = match interest {
        Interest::Read => "READ",
        Interest::Write => "WRITE",
    };
    let event = object.getattr(event)?;
    let listener = object.call_method1("add", (event, fd, ready, throw, py.None()))?;
    let woken =
        park(py, Reason::Fd { fd, interest }, deadline).map_err(|raised| raised.into_err(py));
    let removed = object.call_method1("remove", (listener,));
    let woken = woken?;
    removed.map(|_| woken)
}

/// What a listener calls that stands for a parked greenlet.
#[pyclass(frozen, module = "greenlet._core")]
struct Listener {
    waiter: Waiter,
}

#[pymethods]
impl Listener {
    /// Continue the greenlet in the hub's next turn.
    #[pyo3(signature = (*_args))]
    fn __call__(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) {
        self.waiter.wake(py);
    }
}
