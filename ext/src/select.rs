//! `wait_any`: waiting for any of several descriptors, under `eventlet.green.select`.
//!
//! What is ready is always what poll(2) says; the hub is only asked when to look again. Invariant: nothing stays
//! registered with the hub when the call returns.
#![allow(unsafe_code)] // poll(2)

use std::ffi::c_int;

use eventlet::reactor::Interest;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::hub::{self, Woken};

const READ: i16 = libc::POLLIN | libc::POLLPRI;
const WRITE: i16 = libc::POLLOUT;

/// Adds what Python sees of this module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(wait_any, module)?)
}

/// `wait_any(wanted, seconds, invalid_is_event=False) -> events`: waits until poll(2) reports something for one
/// of *wanted*, pairs (descriptor, events); returns the reported events in the same order. *seconds* None waits
/// for ever, 0 or less lets the other green threads run once. A closed descriptor raises OSError, or is an event.
/// May switch: yes.
#[pyfunction]
#[pyo3(signature = (wanted, seconds, invalid_is_event=false))]
fn wait_any(
    py: Python<'_>,
    wanted: Vec<(c_int, i16)>,
    seconds: Option<f64>,
    invalid_is_event: bool,
) -> PyResult<Vec<i16>> {
    let mut fds: Vec<libc::pollfd> = wanted
        .iter()
        .map(|&(fd, events)| libc::pollfd {
            fd,
            events,
            revents: 0,
        })
        .collect();
    let mut interests = Vec::with_capacity(wanted.len());
    for &(fd, events) in &wanted {
        if events & READ != 0 {
            interests.push((fd, Interest::Read));
        }
        if events & WRITE != 0 {
            interests.push((fd, Interest::Write));
        }
    }
    let deadline = match seconds {
        Some(seconds) if seconds > 0.0 => Some(hub::deadline_in(py, seconds)?),
        _ => None,
    };
    let at_once = seconds.is_some() && deadline.is_none();
    let mut last = false;
    loop {
        if ask(&mut fds)? || last {
            return results(&fds, invalid_is_event);
        }
        if at_once {
            hub::yield_now().map_err(|raised| raised.into_err(py))?;
            last = true;
        } else {
            last = matches!(hub::park_any(py, &interests, deadline)?, Woken::TimedOut);
        }
    }
}

/// One poll(2) that does not wait: whether it reports anything.
fn ask(fds: &mut [libc::pollfd]) -> PyResult<bool> {
    // SAFETY: pointer and length of a live slice.
    let count = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 0) };
    if count >= 0 {
        return Ok(count > 0);
    }
    let error = std::io::Error::last_os_error();
    if error.kind() == std::io::ErrorKind::Interrupted {
        Ok(false)
    } else {
        Err(error.into())
    }
}

fn results(fds: &[libc::pollfd], invalid_is_event: bool) -> PyResult<Vec<i16>> {
    if !invalid_is_event && fds.iter().any(|fd| fd.revents & libc::POLLNVAL != 0) {
        return Err(PyOSError::new_err((libc::EBADF, "Bad file descriptor")));
    }
    Ok(fds.iter().map(|fd| fd.revents).collect())
}
