//! Waiting until a descriptor is ready, and the mode that makes a try end at once.

use std::ffi::c_int;
use std::time::{Duration, Instant as Clock};

use eventlet::reactor::Interest;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;

use crate::error::{Raised, Result};
use crate::hub::{self, Woken};

/// Until when one call waits, fixed when it begins.
pub struct Patience {
    deadline: Option<Clock>,
}

impl Patience {
    /// For a timeout in nanoseconds; negative: for ever.
    pub fn new(timeout: i64) -> Patience {
        let timeout = u64::try_from(timeout).ok().map(Duration::from_nanos);
        Patience {
            deadline: timeout.and_then(|timeout| Clock::now().checked_add(timeout)),
        }
    }

    fn left(&self) -> Option<Duration> {
        let left = |deadline: Clock| deadline.saturating_duration_since(Clock::now());
        self.deadline.map(left)
    }

    /// Waits until `fd` is ready. TimeoutError when the time is over. May switch.
    pub fn wait(&mut self, py: Python<'_>, fd: c_int, interest: Interest) -> Result<()> {
        if self.wait_or_over(py, fd, interest)? {
            Ok(())
        } else {
            Err(timed_out(py))
        }
    }

    /// Waits until `fd` is ready; false when the time is over. May switch.
    pub fn wait_or_over(&mut self, py: Python<'_>, fd: c_int, interest: Interest) -> Result<bool> {
        let left = self.left();
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        let raise = |error| Raised::from_err(py, error);
        let deadline = left
            .map(|left| hub::deadline_in(py, left.as_secs_f64()))
            .transpose()
            .map_err(raise)?;
        let woken = hub::park_any(py, &[(fd, interest)], deadline).map_err(raise)?;
        Ok(!matches!(woken, Woken::TimedOut))
    }
}

/// The socket module's exception for a timeout that is over.
pub fn timed_out(py: Python<'_>) -> Raised {
    Raised::from_err(py, PyTimeoutError::new_err("timed out"))
}

/// Puts `fd` into non-blocking mode and gives the mode that it had; `None` if nothing was changed. The call that
/// follows finds out if it is no descriptor.
pub fn set_non_blocking(fd: c_int) -> Option<c_int> {
    // SAFETY: a system call on a number.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 || flags & libc::O_NONBLOCK != 0 {
        return None;
    }
    // SAFETY: as above.
    unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) };
    Some(flags)
}

/// Puts `fd` back into the mode that it had.
pub fn restore(fd: c_int, mode: c_int) {
    // SAFETY: a system call on numbers.
    unsafe { libc::fcntl(fd, libc::F_SETFL, mode) };
}
