//! Timers of the hub: what it calls or starts at a deadline, and takes back.

use std::num::NonZeroU64;
use std::time::Duration;

use eventlet::hub::TimerKey;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::{Callback, Hub, Instant, Wake, forward, this};
use crate::object::Object;
use crate::thread::Thread;

/// Seconds of the hub's clock, as Python's `time.monotonic()` counts them.
pub fn seconds_of(instant: Instant) -> f64 {
    instant.as_nanos() as f64 / 1e9
}

/// The instant `seconds` from now; now for what is not positive. ValueError for NaN.
pub fn deadline_in(py: Python<'_>, seconds: f64) -> PyResult<Instant> {
    if seconds.is_nan() {
        return Err(PyValueError::new_err("Invalid value NaN (not a number)"));
    }
    let hub = this(py)?;
    let now = hub.engine.borrow().now();
    Ok(now.saturating_add(duration(seconds)))
}

/// Seconds as a duration: nothing for what is not positive, the longest for what does not fit.
pub fn duration(seconds: f64) -> Duration {
    if seconds <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// A timer that can be cancelled.
#[derive(Debug, Clone, Copy)]
pub struct TimerHandle {
    /// Not zero, so that `Option<TimerHandle>` is no larger.
    serial: NonZeroU64,
    key: TimerKey,
}

/// Calls `f(arg)` in the hub greenlet at `deadline`. May switch: no.
pub fn call_at(
    py: Python<'_>,
    deadline: Instant,
    f: Callback,
    arg: Py<PyAny>,
) -> PyResult<TimerHandle> {
    let hub = this(py)?;
    let key = hub.engine.borrow_mut().at(deadline, Wake::Call(f, arg));
    Ok(hub.handle(key))
}

/// Calls `f(arg)` in the hub greenlet in its next turn. May switch: no.
pub fn call_soon(py: Python<'_>, f: Callback, arg: Py<PyAny>) -> PyResult<()> {
    this(py)?.engine.borrow_mut().wake(Wake::Call(f, arg));
    Ok(())
}

/// Starts the green thread `g` at `deadline`. May switch: no.
pub fn start_at(py: Python<'_>, deadline: Instant, g: Object) -> PyResult<TimerHandle> {
    let hub = this(py)?;
    if let Some(thread) = Thread::existing() {
        hub.register_birth(thread, &g)
            .map_err(|raised| raised.into_err(py))?;
    }
    let key = hub.engine.borrow_mut().at(deadline, Wake::Start(g));
    Ok(hub.handle(key))
}

/// Takes a timer back. `None` if it has fired, or belongs to another thread's hub (which is told then).
pub fn cancel(py: Python<'_>, handle: TimerHandle) -> Option<Py<PyAny>> {
    let hub = Thread::existing().and_then(|thread| thread.hub.borrow().clone());
    let wake = match hub {
        Some(hub) if hub.serial == handle.serial.get() => {
            hub.engine.borrow_mut().cancel(handle.key)?
        }
        _ => {
            forward(handle.serial.get(), Wake::Cancel(handle.key));
            return None;
        }
    };
    match wake {
        Wake::Call(_, arg) => Some(arg),
        Wake::Start(g) | Wake::Resume(g, _) | Wake::TimedOut(g, _) => {
            Some(g.into_bound(py).unbind())
        }
        Wake::Release(..) | Wake::Cancel(_) => None,
    }
}

impl Hub {
    pub(super) fn handle(&self, key: TimerKey) -> TimerHandle {
        let serial = NonZeroU64::new(self.serial).expect("serials count from 1");
        TimerHandle { serial, key }
    }
}
