//! `wait_child`: until a child process has something to tell, without reaping it.
//!
//! One process is waited for by its pidfd, like any descriptor. Where there are none, and for whatever a pidfd does not
//! tell (any child, a group, stops), a native thread waits in waitid(2), with WNOWAIT: the news stays for the caller's
//! own call of waitpid and its like. Nothing is polled, and SIGCHLD is left to the program.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use eventlet::reactor::Interest;
use pyo3::prelude::*;

use super::patient::patient;
use super::raise;
use super::{alone, interrupted, is, result};
use crate::hub::{self, Woken};
use crate::tpool::offload;

/// A descriptor that can be read once the process has ended. `None` where the kernel has no such.
#[cfg(target_os = "linux")]
fn pidfd(pid: libc::id_t) -> io::Result<Option<OwnedFd>> {
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    if fd >= 0 {
        // SAFETY: just made, and nobody else's.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as c_int) }));
    }
    let error = io::Error::last_os_error();
    // A filter of system calls may answer with EPERM.
    if is(&error, &[libc::ENOSYS, libc::EPERM, libc::EINVAL]) {
        return Ok(None);
    }
    Err(error)
}

#[cfg(not(target_os = "linux"))]
fn pidfd(_pid: libc::id_t) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

fn waitid(kind: libc::idtype_t, id: libc::id_t, options: c_int) -> io::Result<()> {
    let mut news = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    // SAFETY: the kernel writes one `siginfo_t`.
    let done = unsafe { libc::waitid(kind, id, news.as_mut_ptr(), options | libc::WNOWAIT) };
    result(done as isize).map(drop)
}

/// wait_child(kind, id, options, seconds=None) -> bool
///
/// Wait until waitid(kind, id, options) would answer; False if *seconds* pass first (None: never). *kind* is os.P_PID,
/// P_PGID or P_ALL, *options* of os.WEXITED, WSTOPPED, WCONTINUED. A child that is not there has an answer, too. May
/// switch: yes. Raises OSError.
///
/// >>> import os
/// >>> from greenlet import _core
/// >>> pid = os.posix_spawn('/bin/true', ['true'], {})
/// >>> _core.wait_child(os.P_PID, pid, os.WEXITED)
/// True
/// >>> os.waitpid(pid, 0)[1]
/// 0
#[pyfunction]
#[pyo3(signature = (kind, id, options, seconds=None))]
fn wait_child(
    py: Python<'_>,
    kind: libc::idtype_t,
    id: libc::id_t,
    options: c_int,
    seconds: Option<f64>,
) -> PyResult<bool> {
    let deadline = seconds
        .map(|seconds| hub::deadline_in(py, seconds))
        .transpose()?;
    if alone() && deadline.is_none() {
        // Nobody else could run meanwhile.
        return match offload(py, "child process", move || waitid(kind, id, options))? {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                interrupted(py).map(|()| true)
            }
            _ => Ok(true),
        };
    }
    if kind == libc::P_PID && options == libc::WEXITED {
        match pidfd(id) {
            Ok(Some(fd)) => {
                let woken = hub::park_fd(py, fd.as_raw_fd(), Interest::Read, deadline);
                hub::notify_close(py, fd.as_raw_fd());
                drop(fd);
                return woken.map(|woken| !matches!(woken, Woken::TimedOut));
            }
            Ok(None) => {}
            Err(error) if is(&error, &[libc::ESRCH]) => return Ok(true),
            // No descriptors left: a thread needs none.
            Err(error) if is(&error, &[libc::EMFILE, libc::ENFILE]) => {}
            Err(error) => return Err(raise(py, &error)),
        }
    }
    let told = patient(py, "child process", deadline, move || {
        waitid(kind, id, options)
    })?;
    Ok(told.is_some())
}

/// Adds the function.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(wait_child, module)?)
}
