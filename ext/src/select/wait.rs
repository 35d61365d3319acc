//! `wait`: until poll(2) reports something for one of several descriptors. The green thread parks meanwhile.
//!
//! Every call lets the other ready green threads run, also when something is ready at once (then it is asked for
//! again): a loop over `select` is no way to stop them. Events that the hub does not tell apart (urgent data alone, a half-closed
//! peer, errors only) are watched by an epoll descriptor of the call's own.

use std::ffi::c_int;

use eventlet::reactor::Interest;
use pyo3::prelude::*;

use super::native;
use crate::error::system_error;
use crate::hub::{self, Instant, Woken};

const READ: i16 = libc::POLLIN | libc::POLLRDNORM;
const WRITE: i16 = libc::POLLOUT | libc::POLLWRNORM;

/// Fills `revents` in. Returns when `fds` has what `enough` asks for, or after `seconds`: 0 or less asks only,
/// `None` waits for ever. `closed_is_event`: a descriptor closed meanwhile is asked for again, not an error.
/// May switch: yes.
pub fn wait(
    py: Python<'_>,
    fds: &mut [libc::pollfd],
    seconds: Option<f64>,
    closed_is_event: bool,
    enough: impl Fn(&libc::pollfd) -> bool,
) -> PyResult<()> {
    if !hub::runs_here() {
        let (place, len) = (fds.as_mut_ptr() as usize, fds.len() as libc::nfds_t);
        native::wait(py, seconds, |milliseconds| {
            // SAFETY: pointer and length of the slice that we borrow during the call.
            unsafe { libc::poll(place as *mut libc::pollfd, len, milliseconds) }
        })?;
        return Ok(());
    }
    hub::learn_loops(py);
    let at_once = seconds.is_some_and(|seconds| seconds <= 0.0);
    let deadline = match seconds {
        Some(seconds) if !at_once => Some(hub::deadline_in(py, seconds)?),
        _ => None,
    };
    let mut last = false;
    let mut yielded = hub::is_in_hub(py);
    loop {
        ask(fds)?;
        let found = at_once || fds.iter().any(&enough);
        if last || (found && yielded) {
            return Ok(());
        }
        if found {
            hub::yield_now().map_err(|raised| raised.into_err(py))?;
            yielded = true;
            continue;
        }
        yielded = true;
        match park(py, fds, deadline) {
            Ok(Woken::TimedOut) => last = true,
            Ok(Woken::Waker | Woken::Switched(_)) => (),
            Err(error) if closed_is_event && hub::is_closed_error(py, &error) => (),
            Err(error) => return Err(error),
        }
    }
}

/// One poll(2) that does not wait.
fn ask(fds: &mut [libc::pollfd]) -> PyResult<()> {
    loop {
        // SAFETY: pointer and length of a live slice.
        let count = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 0) };
        if count >= 0 {
            return Ok(());
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(system_error(&error));
        }
    }
}

/// Parks until it is worth asking again.
fn park(py: Python<'_>, fds: &[libc::pollfd], deadline: Option<Instant>) -> PyResult<Woken> {
    let (mut interests, others) = interests(fds);
    #[cfg(target_os = "linux")]
    if !others.is_empty() {
        let set = super::epoll::Set::of(&others).map_err(|error| system_error(&error))?;
        interests.push((set.fd(), Interest::Read));
        return hub::park_any(py, &interests, deadline);
    }
    // Elsewhere: as near as the hub comes.
    for fd in &others {
        interests.push((fd.fd, Interest::Read));
    }
    hub::park_any(py, &interests, deadline)
}

/// What the hub can wait for, and what it does not tell apart.
fn interests(fds: &[libc::pollfd]) -> (Vec<(c_int, Interest)>, Vec<libc::pollfd>) {
    let mut interests = Vec::with_capacity(fds.len());
    let mut others = Vec::new();
    for fd in fds {
        // What is reported already is not what is waited for (a hang-up, to a writer): it would wake us at once.
        if fd.revents != 0 {
            continue;
        }
        if fd.events & READ != 0 {
            interests.push((fd.fd, Interest::Read)); // wakes for urgent data as well
        }
        if fd.events & WRITE != 0 {
            interests.push((fd.fd, Interest::Write));
        }
        let rest = fd.events & !(READ | WRITE | libc::POLLPRI);
        let urgent = fd.events & libc::POLLPRI != 0;
        let reads = |other: &libc::pollfd| other.fd == fd.fd && other.events & READ != 0;
        if rest != 0 || fd.events == 0 || (urgent && !fds.iter().any(reads)) {
            others.push(*fd);
        }
    }
    (interests, others)
}
