//! The loop of a hub whose class overrides a part of it, and what such a class is known by.
//!
//! What is not overridden is native, and `BaseHub`'s methods are steps of the loop for those who write their own.

use std::time::Duration;

use eventlet::clock::Instant;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::Hub;
use crate::hub::{self, LISTENS, RUNS, SWITCHES, Step};

/// Methods of `BaseHub` and what a class that overrides one of them does itself.
const PARTS: [(&str, u8); 8] = [
    ("run", RUNS),
    ("wait", RUNS),
    ("fire_timers", RUNS),
    ("prepare_timers", RUNS),
    ("sleep_until", RUNS),
    ("switch", SWITCHES),
    ("add", LISTENS),
    ("remove", LISTENS),
];

/// Whether `class` has another `name` than `base`.
pub(super) fn differs(
    class: &Bound<'_, PyAny>,
    base: &Bound<'_, PyType>,
    name: &str,
) -> PyResult<bool> {
    Ok(!class.getattr(name)?.is(&base.getattr(name)?))
}

/// What a class derived from `base` overrides; nothing for a class of another kind.
pub(super) fn overrides(class: &Bound<'_, PyAny>, base: &Bound<'_, PyType>) -> PyResult<u8> {
    let derived = class
        .cast::<PyType>()
        .is_ok_and(|class| class.is_subclass(base).unwrap_or(false));
    if !derived {
        return Ok(0);
    }
    let mut found = 0;
    for (name, what) in PARTS {
        if differs(class, base, name)? {
            found |= what;
        }
    }
    Ok(found)
}

/// A time of the hub's clock, from seconds.
pub(super) fn instant(seconds: f64) -> PyResult<Instant> {
    if seconds.is_nan() {
        return Err(PyValueError::new_err("Invalid value NaN (not a number)"));
    }
    let nanos = hub::duration(seconds).as_nanos();
    Ok(Instant::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ))
}

/// Seconds, or `None` for ever.
pub(super) fn limit(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    if seconds.is_some_and(f64::is_nan) {
        return Err(PyValueError::new_err("Invalid value NaN (not a number)"));
    }
    Ok(seconds.map(hub::duration))
}

/// One step of the loop: how many seconds until the next is wanted.
pub(super) fn step(py: Python<'_>, step: Step) -> PyResult<Option<f64>> {
    Ok(hub::step(py, step)?.map(|wanted| wanted.as_secs_f64()))
}

/// The loop, as `BaseHub.run` does it for a class that overrides a part of it.
pub(super) fn run(slf: &Bound<'_, Hub>) -> PyResult<()> {
    let py = slf.py();
    if !hub::is_in_hub(py) {
        let text = if hub::is_running(py)? {
            "Already running!"
        } else {
            "run() is called by the hub itself: call switch() or eventlet.sleep()"
        };
        return Err(PyRuntimeError::new_err(text));
    }
    while !slf.get().stopping(py)? {
        while slf.getattr("closed")?.is_truthy()? {
            slf.call_method0("close_one")?;
        }
        slf.call_method0("prepare_timers")?;
        let detects = hub::detects_blocking(py)?;
        if detects {
            slf.call_method0("block_detect_pre")?;
        }
        slf.call_method1("fire_timers", (slf.call_method0("clock")?,))?;
        if detects {
            slf.call_method0("block_detect_post")?;
        }
        if slf.get().stopping(py)? {
            break;
        }
        slf.call_method0("prepare_timers")?;
        let seconds = pause(slf)?;
        slf.call_method1("wait", (seconds,))?;
    }
    Ok(())
}

/// How long the loop may wait: until the class's next timer, and until the engine wants a step.
fn pause(slf: &Bound<'_, Hub>) -> PyResult<f64> {
    let until: Option<f64> = slf.call_method0("sleep_until")?.extract()?;
    let seconds = match until {
        Some(until) => until - slf.call_method0("clock")?.extract::<f64>()?,
        None => slf.call_method0("default_sleep")?.extract()?,
    };
    let wanted = hub::wanted(slf.py())?;
    let least = wanted.map_or(seconds, |wanted| seconds.min(wanted.as_secs_f64()));
    Ok(least.max(0.0))
}
