//! What `fork` leaves of a hub in the child: the green thread that forked, and nobody else.
//!
//! The other green threads of the thread are forsaken: they are dead, not unwound, and nothing that they refer to is
//! released, since it is the parent's. Timers, listeners and mail go with them; only timers that are about the
//! survivor stay. Kernel objects are made anew. `forks` lets wait queues forget who waited in them.
//!
//! If the survivor does not descend from the main greenlet alone, nobody may resume the main greenlet: it waits for
//! something of the parent's. When there is nothing left to do, the process ends (`end_of_child`).

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi;
use pyo3::prelude::*;

use super::{ENDED, Hub, IN_CALL, Wake, descriptors};
use crate::error::{self, Pending, Raised};
use crate::gil_cell::GilCell;
use crate::greenlet::{Gr, Phase, Role, lifetime};
use crate::object::Object;
use crate::thread::Thread;

/// How often this process and its ancestors were forked.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Whether green threads go on in the child, as upstream's do.
static SURVIVE: GilCell<bool> = GilCell::new(false);

/// What a child knows of its origin.
#[derive(Default)]
pub(super) struct Origin {
    /// Number of the park in which the main greenlet was left behind; 0 if it was not.
    left_in: Cell<u64>,
    /// Address of the greenlet that forked, for comparison alone.
    survivor: Cell<usize>,
    /// With which status the process ends when nothing is left to do.
    status: Cell<i32>,
}

/// How often this process and its ancestors were forked and kept nobody but who had called.
#[inline(always)]
pub fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Sets whether green threads go on in the child of a fork.
pub fn set_survive_fork(py: Python<'_>, state: bool) {
    SURVIVE.set(py, state);
}

/// Whether they do.
pub fn survive_fork(py: Python<'_>) -> bool {
    SURVIVE.get(py)
}

/// Whether a timer with this argument is about this greenlet. Must not run Python code.
pub type Concerns = fn(Python<'_>, &Py<PyAny>, Gr) -> bool;

/// After `fork` in the child. May switch: no.
pub fn after_fork(py: Python<'_>, concerns: Concerns) -> PyResult<()> {
    if !SURVIVE.get(py) {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    let Some(thread) = Thread::existing() else {
        return Ok(());
    };
    let Some(hub) = thread.hub.borrow().clone() else {
        return Ok(());
    };
    if SURVIVE.get(py) {
        return hub.renew(py, thread);
    }
    let family = family_of(thread.current.get());
    let lives = |g: Gr| family.contains(&g);
    let mut gone: Vec<Object> = Vec::new();
    for owner in thread.pool.borrow().owners() {
        let g = Gr::from_ptr(owner);
        if g.get().role.get() != Role::Plain && !lives(g) {
            gone.push(g.object());
        }
    }
    let wakes = hub.engine.borrow_mut().retain(
        |wake| matches!(wake, Wake::Call(_, argument) if family.iter().any(|&g| concerns(py, argument, g))),
    );
    for wake in &wakes {
        if let Wake::Start(g) = wake {
            gone.push(g.clone());
        }
    }
    std::mem::forget(wakes); // what they refer to is the parent's
    for g in &gone {
        lifetime::forsake(Gr::from_object(g));
    }
    hub.descriptors.replace(descriptors::Table::default());
    hub.renew(py, thread)?;
    hub.succeed(thread, &family)
        .map_err(|raised| raised.into_err(py))?;
    std::mem::forget(gone);
    Ok(())
}

/// The greenlet that runs and those to which its result goes, one after the other: the main greenlet only if the
/// hub does not come before it.
fn family_of(me: Gr) -> Vec<Gr> {
    let mut family = vec![me];
    let mut last = me;
    while matches!(last.get().role.get(), Role::Plain) {
        let Some(heir) = last.heir() else { break };
        family.push(heir);
        last = heir;
    }
    family
}

/// Ends the process if it is a forked child whose main greenlet was left behind, and the hub has nothing to do and
/// waits for nothing. For a hub whose class has the loop, which knows whether that has anything to do. May switch: no.
pub fn end_idle_child(py: Python<'_>) {
    let Some(thread) = Thread::existing() else {
        return;
    };
    let Some(hub) = thread.hub.borrow().clone() else {
        return;
    };
    if hub.main_is_left(thread) && hub.is_done(thread, thread.current.get()) {
        hub.end_of_child(py, Ok(()));
    }
}

impl Hub {
    /// Kernel objects that parent and child share are made anew. If that fails the thread gets another hub.
    fn renew(&self, py: Python<'_>, thread: &Thread) -> PyResult<()> {
        let renewed = self.engine.borrow_mut().reinit_after_fork();
        renewed.map_err(|failure| {
            drop(thread.hub.take());
            error::io_error(py, failure).into_err(py)
        })
    }

    /// Makes the hub greenlet anew, unless it lives on because it forked, and takes note of who does.
    fn succeed(&self, thread: &Thread, family: &[Gr]) -> error::Result<()> {
        let (me, main) = (family[0], Gr::from_ptr(thread.main.get()));
        let old = self.greenlet.get();
        if !old.is_some_and(|old| family.contains(&Gr::from_object(&old))) {
            self.new_greenlet(thread)?;
            self.hold.set(self.hold.get() & !(IN_CALL | ENDED));
            self.running.set(false);
            self.stopping.set(false);
        }
        let greenlet = main.get();
        if family.contains(&main) {
            self.origin.left_in.set(0);
        } else {
            let number = greenlet.parks.get() + 1;
            greenlet.parks.set(number); // no wake-up from before finds it
            greenlet
                .reason
                .set(Some(super::Reason::Other("nothing: it is the parent's")));
            self.origin.left_in.set(number);
        }
        self.origin.survivor.set(me.as_object_ptr() as usize);
        self.origin.status.set(0);
        Ok(())
    }

    /// Whether the main greenlet still waits where the fork left it.
    pub(super) fn main_is_left(&self, thread: &Thread) -> bool {
        let number = self.origin.left_in.get();
        let main = Gr::from_ptr(thread.main.get()).get();
        number != 0 && main.parks.get() == number && main.reason.get().is_some()
    }

    /// `me` ends with an exception that will be printed: so the process will not end well, if that was its purpose.
    pub(super) fn note_failure(&self, me: Gr) {
        if self.origin.survivor.get() == me.as_object_ptr() as usize {
            self.origin.status.set(1);
        }
    }

    /// The hub is about to wait for ever in a child whose main greenlet is left: whether nothing is left to do.
    pub(super) fn is_done(&self, thread: &Thread, me: Gr) -> bool {
        let idle = {
            let engine = self.engine.borrow();
            engine.timers_len() + engine.waiting_len() + engine.ready_len() == 0
        };
        idle && !has_other_threads(thread)
            && thread.pool.borrow().owners().all(|owner| {
                let g = Gr::from_ptr(owner);
                g == me || g.get().phase.get() != Phase::Active
            })
    }

    /// Ends the process: there is nobody left but a main greenlet that must not go on. `result` is how the hub ended.
    #[cold]
    pub(super) fn end_of_child(&self, py: Python<'_>, result: error::Result<()>) -> ! {
        let status = match result {
            Ok(()) => self.origin.status.get(),
            Err(Raised) => status_of(py, Pending::take()),
        };
        for name in ["stdout", "stderr"] {
            let flushed = py
                .import("sys")
                .and_then(|sys| sys.getattr(name))
                .and_then(|stream| stream.call_method0("flush"));
            drop(flushed); // closed, or None: nothing can be written there
        }
        // SAFETY: ends the process at once, as the interpreter's own os._exit does.
        unsafe { libc::_exit(status) }
    }
}

/// Whether the process has Python threads besides this one, which may have something to do for it.
fn has_other_threads(thread: &Thread) -> bool {
    // SAFETY: the GIL is held; the thread's own state.
    let interpreter = unsafe { ffi::PyThreadState_GetInterpreter(thread.tstate) };
    // SAFETY: the interpreter that runs; the GIL is held, so that the list does not change.
    let first = unsafe { ffi::PyInterpreterState_ThreadHead(interpreter) };
    // SAFETY: a state of that list.
    let second = unsafe { ffi::PyThreadState_Next(first) };
    !second.is_null()
}

/// The exit status that an uncaught exception gives; it is printed as the interpreter would.
fn status_of(py: Python<'_>, exception: Pending) -> i32 {
    exception.restore();
    let error = PyErr::fetch(py);
    if error.is_instance_of::<PySystemExit>(py) {
        let code = error.value(py).getattr("code").ok();
        return match code.filter(|code| !code.is_none()) {
            None => 0,
            Some(code) => code.extract().unwrap_or_else(|_| {
                let text = code
                    .str()
                    .map_or_else(|_| String::new(), |text| text.to_string());
                eprintln!("{text}");
                1
            }),
        };
    }
    error.display(py);
    if error.is_instance_of::<PyKeyboardInterrupt>(py) {
        128 + libc::SIGINT
    } else {
        1
    }
}
