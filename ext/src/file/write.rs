//! `file_write`.

use std::ffi::c_int;
use std::io;

use eventlet::reactor::Interest;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use super::raise;
use super::{Kind, alone, cannot_say, duplicate, interrupted, is_non_blocking, is_ready, kind_of};
use super::{raw, result, would_wait};
use crate::hub;
use crate::tpool::offload;

/// What a pipe that is ready takes without waiting, in bytes.
const ATOMIC: usize = libc::PIPE_BUF;

fn plain(fd: c_int, data: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length of a live slice.
    result(unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) })
}

/// write(2) that does not wait, at the present position.
#[cfg(target_os = "linux")]
fn without_waiting(fd: c_int, data: &[u8]) -> io::Result<usize> {
    let vector = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: one live vector over a live slice, which the kernel only reads.
    result(unsafe { libc::pwritev2(fd, &raw const vector, 1, -1, libc::RWF_NOWAIT) })
}

#[cfg(not(target_os = "linux"))]
fn without_waiting(_fd: c_int, _data: &[u8]) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

/// One attempt that does not wait; it may take less than all.
fn attempt(fd: c_int, kind: Kind, non_blocking: bool, data: &[u8]) -> io::Result<usize> {
    if non_blocking {
        return plain(fd, data);
    }
    match kind {
        Kind::Socket => {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: pointer and length of a live slice.
            result(unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), flags) })
        }
        Kind::Pipe => match without_waiting(fd, data) {
            Err(error) if cannot_say(&error) => when_ready(fd, data),
            other => other,
        },
        Kind::Device | Kind::Regular => when_ready(fd, data),
    }
}

fn when_ready(fd: c_int, data: &[u8]) -> io::Result<usize> {
    if is_ready(fd, Interest::Write)? {
        plain(fd, &data[..data.len().min(ATOMIC)])
    } else {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Writes as write(2) does: all of it to what is blocking, a part to what is not. May switch: yes.
fn write(py: Python<'_>, fd: c_int, data: &[u8], patient: bool) -> PyResult<usize> {
    let kind = kind_of(fd).map_err(|error| raise(py, &error))?;
    if alone() {
        return elsewhere(py, fd, data);
    }
    if kind == Kind::Regular {
        return match without_waiting(fd, data) {
            Ok(count) => Ok(count),
            Err(error) if would_wait(&error) || cannot_say(&error) => elsewhere(py, fd, data),
            Err(error) => Err(raise(py, &error)),
        };
    }
    let non_blocking = is_non_blocking(fd).map_err(|error| raise(py, &error))?;
    // Green sockets are non-blocking underneath, whatever the program thinks of them.
    let waits = patient || !non_blocking || kind == Kind::Socket;
    let mut done = 0;
    loop {
        match attempt(fd, kind, non_blocking, &data[done..]) {
            Ok(count) => {
                done += count;
                if non_blocking || done >= data.len() || count == 0 {
                    return Ok(done);
                }
            }
            Err(error) if would_wait(&error) && waits => {
                hub::park_fd(py, fd, Interest::Write, None)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => interrupted(py)?,
            Err(error) => return Err(raise(py, &error)),
        }
    }
}

/// Writes in the pool, or in place without the GIL where nobody else could run.
fn elsewhere(py: Python<'_>, fd: c_int, data: &[u8]) -> PyResult<usize> {
    loop {
        let theirs = duplicate(fd).map_err(|error| raise(py, &error))?;
        let copy = data.to_vec();
        match offload(py, "file", move || plain(raw(&theirs), &copy))? {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => interrupted(py)?,
            Err(error) => return Err(raise(py, &error)),
        }
    }
}

/// file_write(fd, data, patient=True) -> int
///
/// Write the bytes *data* to the descriptor *fd* and return how many were written: all, for a descriptor that is
/// blocking; at least one, for one that is not, if *patient*, else BlockingIOError may say that there is no room. May
/// switch: yes. Raises OSError (IOClosed if the descriptor is closed meanwhile), TypeError for what is no bytes.
///
/// >>> import os
/// >>> from greenlet import _core
/// >>> here, there = os.pipe()
/// >>> _core.file_write(there, b'tea'), os.read(here, 10)
/// (3, b'tea')
/// >>> os.close(here), os.close(there)
/// (None, None)
#[pyfunction]
#[pyo3(signature = (fd, data, patient=true))]
fn file_write(
    py: Python<'_>,
    fd: c_int,
    data: &Bound<'_, PyAny>,
    patient: bool,
) -> PyResult<usize> {
    let bytes = match data.cast::<PyBytes>() {
        Ok(bytes) => bytes.clone(),
        // A copy: others may use the buffer while this waits.
        Err(_) => PyMemoryView::from(data)?
            .call_method0("tobytes")?
            .cast_into::<PyBytes>()?,
    };
    write(py, fd, bytes.as_bytes(), patient)
}

/// Adds the function.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(file_write, module)?)
}
