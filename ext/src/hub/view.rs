//! What the Python view of a hub (`hub_api`) asks of it beyond parking and waking.

use std::ffi::{CStr, c_int};

use std::sync::OnceLock;

use eventlet::reactor::{Backend, Interest};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::{
    Callback, DETECTS, Hub, Instant, Reason, TimerHandle, Wake, duration, hub_greenlet,
    in_hub_greenlet, this,
};
use crate::error::{self, Raised};
use crate::greenlet::Gr;
use crate::object::Object;
use crate::thread::Thread;

/// How the class of hubs is chosen.
#[derive(Clone, Copy)]
pub struct Chooser {
    /// How a new hub asks the kernel.
    pub backend: fn(Python<'_>) -> PyResult<Backend>,
    /// A hub was made: what its class overrides is to be noted.
    pub begun: fn(Python<'_>) -> PyResult<()>,
}

static CHOOSER: OnceLock<Chooser> = OnceLock::new();

/// Has `chooser` decide what the hubs that are made from now on are. The first one stays.
pub fn choose_class_by(chooser: Chooser) {
    CHOOSER.get_or_init(|| chooser);
}

/// How a new hub of the calling thread asks the kernel.
pub(super) fn backend(py: Python<'_>) -> PyResult<Backend> {
    CHOOSER
        .get()
        .map_or(Ok(Backend::default()), |chooser| (chooser.backend)(py))
}

/// The calling thread's hub was made.
pub(super) fn begun(py: Python<'_>) -> PyResult<()> {
    CHOOSER.get().map_or(Ok(()), |chooser| (chooser.begun)(py))
}

/// The Python object that stands for this thread's hub; `None` without hub or object. Makes neither.
pub fn existing_object() -> Option<Object> {
    let thread = Thread::existing()?;
    let hub = thread.hub.borrow().clone()?;
    hub.object.get()
}

/// Whether the calling OS thread has a hub. In one that has none, a call may block: it stops no green thread.
///
/// Not where an outer loop runs: what it calls, coroutines for instance, must not be left for another greenlet. Nor in
/// another interpreter, which has a thread state of its own in the same OS thread.
pub fn runs_here() -> bool {
    Thread::existing().is_some_and(|thread| {
        // SAFETY: every caller holds the GIL, so there is a thread state.
        if thread.tstate != unsafe { pyo3::ffi::PyThreadState_Get() } {
            return false;
        }
        let hub = thread.hub.borrow();
        let in_loop = |hub: &Hub| {
            hub.overrides.has(super::RUNS)
                && hub.greenlet.peek() == thread.current.get().as_object_ptr()
        };
        hub.as_deref().is_some_and(|hub| !in_loop(hub))
    })
}

/// Whether the calling code runs in its thread's hub greenlet.
pub fn is_in_hub(_py: Python<'_>) -> bool {
    Thread::existing().is_some_and(in_hub_greenlet)
}

/// The hub greenlet of the calling thread, made if need be.
pub fn greenlet_of_thread(py: Python<'_>) -> PyResult<Object> {
    Thread::get()
        .ok_or(Raised)
        .and_then(hub_greenlet)
        .map_err(|raised| raised.into_err(py))
}

/// Calls `f(argument)` in the hub greenlet in `seconds`: when that is, and the timer; none if it is due at once and
/// so was put behind what is ready. `None` if the calling thread's hub is not the one of this number.
/// May switch: no.
#[inline]
#[allow(
    clippy::type_complexity,
    reason = "an instant and perhaps a timer, perhaps"
)]
pub fn call_in(
    py: Python<'_>,
    serial: Option<u64>,
    seconds: f64,
    f: Callback,
    argument: &Bound<'_, PyAny>,
) -> PyResult<Option<(Instant, Option<TimerHandle>)>> {
    if seconds.is_nan() {
        return Err(PyValueError::new_err("Invalid value NaN (not a number)"));
    }
    let hub = this(py)?;
    if serial.is_some_and(|serial| serial != hub.serial) {
        return Ok(None);
    }
    let wake = Wake::Call(f, argument.clone().unbind());
    let mut engine = hub.engine.borrow_mut();
    let now = engine.now();
    if seconds <= 0.0 {
        engine.wake(wake);
        return Ok(Some((now, None)));
    }
    let deadline = now.saturating_add(duration(seconds));
    let key = engine.at(deadline, wake);
    Ok(Some((deadline, Some(hub.handle(key)))))
}

/// The arguments of the pending calls of this thread's hub, with when they are due.
pub fn timer_arguments(py: Python<'_>) -> PyResult<Vec<(Instant, Bound<'_, PyAny>)>> {
    let hub = this(py)?;
    let engine = hub.engine.borrow();
    let calls = engine.timers().filter_map(|(due, wake)| match wake {
        Wake::Call(_, argument) => Some((due, argument.bind(py).clone())),
        _ => None,
    });
    Ok(calls.collect())
}

/// The greenlets of this thread that wait for descriptors: which, and whether to write.
pub fn parked_on_descriptors(py: Python<'_>) -> PyResult<Vec<(Bound<'_, PyAny>, c_int, bool)>> {
    let hub = this(py)?;
    let engine = hub.engine.borrow();
    let parked = engine.waiters().filter_map(|wake| {
        let Wake::Resume(greenlet, _) = wake else {
            return None;
        };
        match Gr::from_object(greenlet).get().reason.get()? {
            Reason::Fd { fd, interest } => {
                Some((greenlet.bind(py), fd, interest == Interest::Write))
            }
            _ => None,
        }
    });
    Ok(parked.collect())
}

/// Has the blocking detector watch each step of this thread's hub, or not.
pub fn set_blocking_detection(py: Python<'_>, state: bool) -> PyResult<()> {
    let hub = this(py)?;
    let others = hub.hold.get() & !DETECTS;
    hub.hold.set(if state { others | DETECTS } else { others });
    Ok(())
}

/// Whether it does.
pub fn detects_blocking(py: Python<'_>) -> PyResult<bool> {
    Ok(this(py)?.hold.get() & DETECTS != 0)
}

impl Hub {
    /// Calls a method of the Python view that arms or disarms the blocking detector.
    #[cold]
    pub(super) fn tell_detector(&self, py: Python<'_>, method: &CStr) -> error::Result<()> {
        let Some(object) = self.object.get() else {
            return Ok(());
        };
        let called = object
            .bind(py)
            .getattr(method.to_str().expect("an identifier"))
            .and_then(|call| call.call0());
        called
            .map(drop)
            .map_err(|error| Raised::from_err(py, error))
    }
}
