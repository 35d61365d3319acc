//! Reading and writing descriptors of any kind, opening, locking and waiting for child processes, such that only the
//! calling green thread waits. `eventlet.green.os` and green files stand on it.
//!
//! Pipes, FIFOs, sockets and terminals: try without waiting, park until ready, try again; so a descriptor need not be
//! non-blocking, and its flags, which other processes may share, stay as they are. Regular files: at once if the
//! kernel can do it from its cache, else in the pool of native threads. What may wait without end and has no
//! descriptor to wait for gets a native thread of its own (`patient`), so that it never fills the pool.
//! Invariant: what another thread does works on a duplicate of the descriptor, or on nothing that can be closed.
#![allow(unsafe_code)] // system calls

mod child;
mod lock;
mod open;
mod patient;
mod read;
mod write;

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use eventlet::reactor::Interest;
use pyo3::exceptions::PyOSError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::hub;

/// What a descriptor refers to, as far as waiting for it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A pipe or FIFO.
    Pipe,
    /// A socket.
    Socket,
    /// A terminal or another device that can be polled, and whatever else the kernel has.
    Device,
    /// A regular file, directory or disk: never "not ready".
    Regular,
}

fn kind_of(fd: c_int) -> io::Result<Kind> {
    let mut found = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel writes one `stat` there.
    if unsafe { libc::fstat(fd, found.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled in, as fstat has succeeded.
    let found = unsafe { found.assume_init() };
    Ok(match found.st_mode & libc::S_IFMT {
        libc::S_IFIFO => Kind::Pipe,
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Kind::Regular,
        _ => Kind::Device,
    })
}

fn is_non_blocking(fd: c_int) -> io::Result<bool> {
    // SAFETY: takes no pointer.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(flags & libc::O_NONBLOCK != 0)
}

/// The descriptor that an argument is or has. TypeError, ValueError for a negative one.
struct Descriptor(c_int);

impl<'a, 'py> FromPyObject<'a, 'py> for Descriptor {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Descriptor> {
        // SAFETY: a live object; GIL held.
        let fd = unsafe { ffi::PyObject_AsFileDescriptor(object.as_ptr()) };
        if fd < 0 {
            Err(PyErr::fetch(object.py()))
        } else {
            Ok(Descriptor(fd))
        }
    }
}

/// Whether poll(2) says that a call would not wait.
fn is_ready(fd: c_int, interest: Interest) -> io::Result<bool> {
    let events = match interest {
        Interest::Read => libc::POLLIN,
        Interest::Write => libc::POLLOUT,
    };
    let mut asked = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one live pollfd.
    let count = unsafe { libc::poll(&raw mut asked, 1, 0) };
    result(count as isize).map(|count| count > 0)
}

/// The result of a system call.
fn result(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

fn is(error: &io::Error, codes: &[c_int]) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

/// The OSError of the right class for a system call that failed.
#[cold]
fn raise(py: Python<'_>, error: &io::Error) -> PyErr {
    let code = error.raw_os_error().unwrap_or(0);
    let text = py
        .import("os")
        .and_then(|os| os.call_method1("strerror", (code,)))
        .map(Bound::unbind);
    match text {
        Ok(text) => PyOSError::new_err((code, text)),
        Err(error) => error,
    }
}

/// EAGAIN: the call would have waited.
fn would_wait(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// The kernel cannot do it without waiting in this way (RWF_NOWAIT).
fn cannot_say(error: &io::Error) -> bool {
    is(
        error,
        &[libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL, libc::EPERM],
    )
}

/// A duplicate for another thread, so that a close meanwhile does not lead it to somebody else's file.
fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: open, as it was used just now; if it is not, the call says EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    borrowed.try_clone_to_owned()
}

/// Whether only this OS thread's own call can be made: nobody else could run meanwhile.
fn alone() -> bool {
    !hub::runs_here()
}

/// Runs signal handlers after EINTR.
fn interrupted(py: Python<'_>) -> PyResult<()> {
    // SAFETY: the GIL is held.
    if unsafe { ffi::PyErr_CheckSignals() } < 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(())
}

/// A number for `fd`, which is -1 or less only by mistake.
fn raw(fd: &OwnedFd) -> c_int {
    fd.as_raw_fd()
}

/// Adds what Python sees of this module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    read::register(module)?;
    write::register(module)?;
    open::register(module)?;
    lock::register(module)?;
    child::register(module)
}
