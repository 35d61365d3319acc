//! Waiting in the kernel, for OS threads without a hub: signals are handled, and a wait that they interrupt goes on
//! (PEP 475).

use std::ffi::c_int;
use std::time::{Duration, Instant};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::system_error;
use crate::gil::Gil;

/// Calls `attempt` with milliseconds (-1: for ever) until it reports something, fails, or the time is over. The GIL
/// is released meanwhile. May switch: no.
pub fn wait(
    py: Python<'_>,
    seconds: Option<f64>,
    mut attempt: impl FnMut(c_int) -> c_int + Send,
) -> PyResult<c_int> {
    let deadline = seconds.and_then(|seconds| {
        let wait = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        Instant::now().checked_add(wait)
    });
    let forever = seconds.is_none_or(|seconds| seconds > 0.0) && deadline.is_none();
    loop {
        let milliseconds = match deadline {
            None if forever => -1,
            None => 0,
            Some(deadline) => round_up(deadline.saturating_duration_since(Instant::now())),
        };
        let (count, errno) = Gil::release(py, |_| {
            let count = attempt(milliseconds);
            (count, std::io::Error::last_os_error())
        });
        if count > 0 {
            return Ok(count);
        }
        if count < 0 && errno.kind() != std::io::ErrorKind::Interrupted {
            return Err(system_error(&errno));
        }
        // SAFETY: GIL held.
        if unsafe { ffi::PyErr_CheckSignals() } < 0 {
            return Err(PyErr::fetch(py));
        }
        let over = deadline.is_some_and(|deadline| deadline <= Instant::now());
        if count == 0 && !forever && (over || deadline.is_none()) {
            return Ok(0);
        }
    }
}

/// Milliseconds, so that no wait is shorter than asked; what does not fit is waited for in parts.
fn round_up(wait: Duration) -> c_int {
    let milliseconds = wait.as_nanos().div_ceil(1_000_000);
    c_int::try_from(milliseconds).unwrap_or(c_int::MAX)
}
