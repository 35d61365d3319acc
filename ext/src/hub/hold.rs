//! Waits that hold the OS thread: those of a debugger. While it waits for its user, or for a lock of its own, no other
//! green thread runs.
//!
//! Whose wait it is, the stack tells: the module of the innermost Python frame that is none of the standard library's
//! threading modules nor of ours. So an expression of the user's that the debugger evaluates waits as ever. Nothing of
//! this costs anything until a debugger is told of (`hold_for`), but one test in `park`.
//!
//! Who waits alone parks in the usual sense, so that whoever wakes it need not know; it takes its own wake-up out of
//! the engine and leaves the others there, in their order.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::{Hub, Instant, Mark, Wake, Why};
use crate::error::{self, Raised};
use crate::gil::Gil;
use crate::gil_cell::GilCell;
use crate::greenlet::Gr;
use crate::object::Object;

/// Beginnings of the names of the modules whose waits hold the OS thread.
static HOLDERS: GilCell<Vec<String>> = GilCell::new(Vec::new());

/// Whether there are any.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Modules that wait on behalf of who calls them, and the package that has all of ours.
const MEDIATORS: [&str; 9] = [
    "threading",
    "queue",
    "contextlib",
    "functools",
    "socket",
    "ssl",
    "select",
    "selectors",
    "subprocess",
];
const OURS: [&str; 2] = ["eventlet", "eventlet."];

/// Has waits hold the OS thread that are called for by modules whose names begin so, too.
pub fn hold_for(py: Python<'_>, names: Vec<String>) {
    HOLDERS.with(py, |holders| {
        for name in names {
            if !holders.contains(&name) {
                holders.push(name);
            }
        }
        TOLD.store(!holders.is_empty(), Ordering::Relaxed);
    });
}

/// Whether this wait, of the calling Python code, holds the OS thread.
#[inline(always)]
pub(super) fn applies() -> bool {
    TOLD.load(Ordering::Relaxed) && asked_by_holder()
}

fn is_holder(py: Python<'_>, name: &str) -> bool {
    HOLDERS.with(py, |holders| {
        holders.iter().any(|begin| name.starts_with(begin))
    })
}

fn is_mediator(name: &str) -> bool {
    MEDIATORS.contains(&name) || name == OURS[0] || name.starts_with(OURS[1])
}

#[cold]
fn asked_by_holder() -> bool {
    // SAFETY: who parks holds the GIL.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the GIL is held; null or a borrowed reference, to the frame that runs.
    let frame = unsafe { ffi::PyEval_GetFrame() };
    // SAFETY: as above.
    let mut frame = unsafe { Bound::from_borrowed_ptr_or_opt(py, frame.cast()) };
    while let Some(current) = frame {
        match module_of(&current) {
            Ok(name) if is_mediator(&name) => {}
            Ok(name) => return is_holder(py, &name),
            Err(_) => return false, // a namespace without a name: not a module's code
        }
        frame = current
            .getattr(pyo3::intern!(py, "f_back"))
            .ok()
            .filter(|back| !back.is_none());
    }
    false
}

fn module_of(frame: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = frame.py();
    let names = frame.getattr(pyo3::intern!(py, "f_globals"))?;
    names.get_item(pyo3::intern!(py, "__name__"))?.extract()
}

impl Hub {
    /// `park_here` for who holds the OS thread meanwhile. May switch: no, unless a signal's handler does.
    #[cold]
    #[inline(never)]
    pub(super) fn park_alone<S, R>(
        &self,
        me: Gr,
        why: Why,
        deadline: Option<Instant>,
        before: impl FnOnce(&Hub, Wake) -> error::Result<S>,
        after: impl FnOnce(&Hub, S) -> R,
    ) -> error::Result<(Mark, Object, R)> {
        let greenlet = me.get();
        let number = greenlet.parks.get() + 1;
        greenlet.parks.set(number);
        greenlet.reason.set(Some(why.reason));
        greenlet.what.set(why.what);
        greenlet.since.set(self.tick());
        let arranged = match before(self, Wake::Resume(me.object(), number)) {
            Ok(arranged) => arranged,
            Err(raised) => {
                greenlet.reason.set(None);
                return Err(raised);
            }
        };
        let result = self.wait_alone(me, number, deadline);
        greenlet.reason.set(None);
        let undone = after(self, arranged);
        Ok((result?, Object::none(), undone))
    }

    /// Waits for the wake-up of park `number` of `me`, with the GIL released. What else happens meanwhile is kept.
    fn wait_alone(&self, me: Gr, number: u64, deadline: Option<Instant>) -> error::Result<Mark> {
        let mine = |wake: &Wake| match wake {
            Wake::Resume(object, park) => Gr::from_object(object) == me && *park == number,
            _ => false,
        };
        loop {
            let picked = self.engine.borrow_mut().pick(mine);
            if picked.is_some() {
                return Ok(Mark::Woken);
            }
            let left = deadline.map(|deadline| {
                let now = self.engine.borrow().now();
                deadline.saturating_since(now)
            });
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Mark::TimedOut);
            }
            let mut wait = self.engine.borrow_mut().begin_wait_alone(left);
            // SAFETY: the GIL is held, and no borrow is alive.
            let py = unsafe { Python::assume_attached() };
            let result = Gil::release(py, |_| wait.block());
            let ended = self.engine.borrow_mut().end_wait(wait, result);
            ended.map_err(|failure| error::io_error(py, failure))?;
            // SAFETY: the GIL is held; runs handlers in the main thread only.
            if unsafe { ffi::PyErr_CheckSignals() } != 0 {
                return Err(Raised);
            }
            if me.get().parks.get() != number {
                return Ok(Mark::None); // a handler has parked: who wakes this park is not heard any more
            }
        }
    }
}
