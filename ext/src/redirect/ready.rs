//! Waiting until a descriptor is ready: parked where a hub runs, in the kernel without the GIL where none does.

use std::ffi::c_int;
use std::time::{Duration, Instant as Clock};

use eventlet::reactor::Interest;
use pyo3::exceptions::PyTimeoutError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::{self, Raised, Result};
use crate::hub::{self, Woken};

/// Until when one call waits, fixed when it begins.
pub struct Patience {
    deadline: Option<Clock>,
}

/// Pause before something is tried again of which nothing tells when it is possible, in seconds.
const PAUSE: f64 = 0.005;

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

    /// Whether no time is left.
    pub fn is_over(&self, _py: Python<'_>) -> Result<bool> {
        Ok(self.left().is_some_and(|left| left.is_zero()))
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
        if !hub::runs_here() {
            return natively(py, fd, interest, left);
        }
        let raise = |error| Raised::from_err(py, error);
        let deadline = left
            .map(|left| hub::deadline_in(py, left.as_secs_f64()))
            .transpose()
            .map_err(raise)?;
        let woken = hub::park_any(py, &[(fd, interest)], deadline).map_err(raise)?;
        Ok(!matches!(woken, Woken::TimedOut))
    }

    /// Waits a little. TimeoutError when the time is over. May switch.
    pub fn pause(&mut self, py: Python<'_>) -> Result<()> {
        if self.is_over(py)? {
            return Err(timed_out(py));
        }
        if hub::runs_here() {
            let deadline = hub::deadline_in(py, PAUSE);
            return hub::sleep_until(deadline.map_err(|error| Raised::from_err(py, error))?)
                .map(drop);
        }
        released(|| {
            std::thread::sleep(Duration::from_secs_f64(PAUSE));
            0
        });
        Ok(())
    }
}

/// The socket module's exception for a timeout that is over.
pub fn timed_out(py: Python<'_>) -> Raised {
    Raised::from_err(py, PyTimeoutError::new_err("timed out"))
}

/// Runs `f` without the GIL.
fn released(f: impl FnOnce() -> c_int) -> c_int {
    // SAFETY: the GIL is held and no borrow is alive.
    let saved = unsafe { ffi::PyEval_SaveThread() };
    let result = f();
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    // SAFETY: what PyEval_SaveThread gave, in the same thread.
    unsafe { ffi::PyEval_RestoreThread(saved) };
    if result < 0 { -errno } else { result }
}

fn natively(
    py: Python<'_>,
    fd: c_int,
    interest: Interest,
    left: Option<Duration>,
) -> Result<bool> {
    let events = match interest {
        Interest::Read => libc::POLLIN,
        Interest::Write => libc::POLLOUT,
    };
    let deadline = left.map(|left| Clock::now() + left);
    loop {
        let milliseconds = deadline.map_or(-1, |deadline| {
            let left = deadline.saturating_duration_since(Clock::now());
            c_int::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
        });
        let mut wanted = libc::pollfd {
            fd,
            events,
            revents: 0,
        };
        let count = released(|| {
            // SAFETY: one description, which outlives the call.
            unsafe { libc::poll(&mut wanted, 1, milliseconds) }
        });
        if count > 0 {
            return Ok(true);
        }
        if count < 0 && count != -libc::EINTR {
            let failure = std::io::Error::from_raw_os_error(-count);
            return Err(Raised::from_err(py, error::system_error(&failure)));
        }
        // SAFETY: GIL held.
        if unsafe { ffi::PyErr_CheckSignals() } < 0 {
            return Err(Raised);
        }
        if deadline.is_some_and(|deadline| deadline <= Clock::now()) {
            return Ok(false);
        }
    }
}

/// Whether `fd` is in non-blocking mode.
pub fn is_non_blocking(fd: c_int) -> bool {
    // SAFETY: a system call on a number.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_NONBLOCK != 0
}

/// Puts `fd` into non-blocking mode; the call that follows finds out if it is no descriptor.
pub fn set_non_blocking(fd: c_int) {
    // SAFETY: a system call on a number.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags >= 0 && flags & libc::O_NONBLOCK == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) };
    }
}

/// The error that waits in a socket, or that of asking for it.
pub fn pending_error(fd: c_int) -> c_int {
    let mut code: c_int = 0;
    let mut size = size_of::<c_int>() as libc::socklen_t;
    let place = (&raw mut code).cast();
    // SAFETY: room for an int, as SO_ERROR wants it.
    let failed =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, place, &mut size) };
    if failed < 0 {
        std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
    } else {
        code
    }
}
