//! `file_read`.

use std::ffi::c_int;
use std::io;

use eventlet::reactor::Interest;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::raise;
use super::{Kind, alone, cannot_say, duplicate, interrupted, is_non_blocking, is_ready, kind_of};
use super::{raw, result, would_wait};
use crate::hub;
use crate::tpool::offload;

/// Longest piece that is read at once, in bytes: what Linux gives at most.
const LONGEST: usize = 0x7fff_f000;

fn plain(fd: c_int, room: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length of a live slice.
    result(unsafe { libc::read(fd, room.as_mut_ptr().cast(), room.len()) })
}

/// read(2) that does not wait, at the present position.
#[cfg(target_os = "linux")]
fn without_waiting(fd: c_int, room: &mut [u8]) -> io::Result<usize> {
    let vector = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    // SAFETY: one live vector over a live slice.
    result(unsafe { libc::preadv2(fd, &raw const vector, 1, -1, libc::RWF_NOWAIT) })
}

#[cfg(not(target_os = "linux"))]
fn without_waiting(_fd: c_int, _room: &mut [u8]) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

/// One attempt that does not wait.
fn attempt(fd: c_int, kind: Kind, non_blocking: bool, room: &mut [u8]) -> io::Result<usize> {
    if non_blocking {
        return plain(fd, room);
    }
    match kind {
        Kind::Socket => {
            let (place, len) = (room.as_mut_ptr().cast(), room.len());
            // SAFETY: pointer and length of a live slice.
            result(unsafe { libc::recv(fd, place, len, libc::MSG_DONTWAIT) })
        }
        Kind::Pipe => match without_waiting(fd, room) {
            Err(error) if cannot_say(&error) => when_ready(fd, room),
            other => other,
        },
        Kind::Device | Kind::Regular => when_ready(fd, room),
    }
}

fn when_ready(fd: c_int, room: &mut [u8]) -> io::Result<usize> {
    if is_ready(fd, Interest::Read)? {
        plain(fd, room)
    } else {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Reads once; waits as long as there is nothing. May switch: yes.
fn read(py: Python<'_>, fd: c_int, room: &mut [u8], patient: bool) -> PyResult<usize> {
    let kind = kind_of(fd).map_err(|error| raise(py, &error))?;
    if alone() {
        return elsewhere(py, fd, room);
    }
    if kind == Kind::Regular {
        return match without_waiting(fd, room) {
            Ok(count) => Ok(count),
            Err(error) if would_wait(&error) || cannot_say(&error) => elsewhere(py, fd, room),
            Err(error) => Err(raise(py, &error)),
        };
    }
    let non_blocking = is_non_blocking(fd).map_err(|error| raise(py, &error))?;
    // Green sockets are non-blocking underneath, whatever the program thinks of them.
    let waits = patient || !non_blocking || kind == Kind::Socket;
    loop {
        match attempt(fd, kind, non_blocking, room) {
            Ok(count) => return Ok(count),
            Err(error) if would_wait(&error) && waits => {
                hub::park_fd(py, fd, Interest::Read, None)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => interrupted(py)?,
            Err(error) => return Err(raise(py, &error)),
        }
    }
}

/// Reads in the pool, or in place without the GIL where nobody else could run.
fn elsewhere(py: Python<'_>, fd: c_int, room: &mut [u8]) -> PyResult<usize> {
    loop {
        let theirs = duplicate(fd).map_err(|error| raise(py, &error))?;
        let len = room.len();
        let read = offload(py, "file", move || {
            let mut data = vec![0; len];
            let count = plain(raw(&theirs), &mut data)?;
            data.truncate(count);
            Ok::<_, io::Error>(data)
        })?;
        match read {
            Ok(data) => {
                room[..data.len()].copy_from_slice(&data);
                return Ok(data.len());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => interrupted(py)?,
            Err(error) => return Err(raise(py, &error)),
        }
    }
}

/// file_read(fd, length, patient=True) -> bytes
///
/// Up to *length* bytes of the descriptor *fd*, as soon as there are any; none at the end. A non-blocking descriptor is
/// waited for if *patient*, else BlockingIOError says that there is nothing. May switch: yes. Raises OSError (IOClosed
/// if the descriptor is closed meanwhile), ValueError for a negative length.
///
/// >>> import os
/// >>> from greenlet import _core
/// >>> here, there = os.pipe()
/// >>> os.write(there, b'tea')
/// 3
/// >>> _core.file_read(here, 10)
/// b'tea'
/// >>> os.close(here), os.close(there)
/// (None, None)
#[pyfunction]
#[pyo3(signature = (fd, length, patient=true))]
fn file_read(py: Python<'_>, fd: c_int, length: isize, patient: bool) -> PyResult<Py<PyBytes>> {
    let Ok(length) = usize::try_from(length) else {
        return Err(PyValueError::new_err("negative length"));
    };
    let mut room = vec![0; length.min(LONGEST)];
    let count = read(py, fd, &mut room, patient)?;
    Ok(PyBytes::new(py, &room[..count]).unbind())
}

/// Adds the function.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(file_read, module)?)
}
