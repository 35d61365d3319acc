//! `file_lock`: flock(2) and fcntl(2) locks that others hold, and `file_sync`.

use std::ffi::{c_int, c_short};
use std::io;
use std::os::fd::OwnedFd;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::patient::patient;
use super::raise;
use super::{Descriptor, alone, duplicate, interrupted, is, raw, result};
use crate::tpool::offload;

/// How a file is locked.
#[derive(Clone, Copy)]
enum Way {
    /// The whole file, for the open file description.
    Flock,
    /// A range, for the process: length, start, whence.
    Range(i64, i64, c_short),
}

/// Locks, changes or unlocks (`operation`: LOCK_SH, LOCK_EX, LOCK_UN, with LOCK_NB).
fn apply(fd: c_int, way: Way, operation: c_int) -> io::Result<()> {
    let done = match way {
        // SAFETY: takes no pointer.
        Way::Flock => unsafe { libc::flock(fd, operation) },
        Way::Range(len, start, whence) => {
            let kind = match operation & !libc::LOCK_NB {
                libc::LOCK_SH => libc::F_RDLCK,
                libc::LOCK_EX => libc::F_WRLCK,
                _ => libc::F_UNLCK,
            };
            // SAFETY: plain data, of which zero is a value.
            let mut range: libc::flock = unsafe { std::mem::zeroed() };
            range.l_type = kind as c_short;
            range.l_whence = whence;
            range.l_start = start;
            range.l_len = len;
            let command = if operation & libc::LOCK_NB != 0 {
                libc::F_SETLK
            } else {
                libc::F_SETLKW
            };
            // SAFETY: a live `flock`.
            unsafe { libc::fcntl(fd, command, &raw mut range) }
        }
    };
    result(done as isize).map(drop)
}

/// A lock that nobody may want any more when it is had: then it is given back.
struct Had {
    file: File,
    way: Way,
    wanted: bool,
}

/// The file that is locked, for the thread that waits for the lock.
enum File {
    /// A duplicate: a lock of flock(2) is the open file description's.
    Own(OwnedFd),
    /// The number itself: a process loses its locks of a range when it closes any descriptor of the file.
    Number(c_int),
}

impl File {
    fn raw(&self) -> c_int {
        match self {
            File::Own(fd) => raw(fd),
            File::Number(fd) => *fd,
        }
    }
}

impl Drop for Had {
    fn drop(&mut self) {
        if !self.wanted {
            let _ = apply(self.file.raw(), self.way, libc::LOCK_UN); // nobody is left to be told
        }
    }
}

/// file_lock(fd, operation, range=None)
///
/// Lock the file of descriptor *fd* as *operation* of fcntl.LOCK_SH, LOCK_EX, LOCK_UN, perhaps with LOCK_NB, says:
/// as fcntl.flock does, or as fcntl.lockf for *range*, (length, start, whence). May switch: yes, while others hold it.
/// Raises OSError, ValueError for another operation.
///
/// >>> import fcntl, tempfile
/// >>> from greenlet import _core
/// >>> with tempfile.TemporaryFile() as file:
/// ...     _core.file_lock(file.fileno(), fcntl.LOCK_EX)
#[pyfunction]
#[pyo3(signature = (fd, operation, range=None))]
fn file_lock(
    py: Python<'_>,
    fd: Descriptor,
    operation: c_int,
    range: Option<(i64, i64, c_short)>,
) -> PyResult<()> {
    let Descriptor(fd) = fd;
    let known = [libc::LOCK_SH, libc::LOCK_EX, libc::LOCK_UN];
    if range.is_some() && !known.contains(&(operation & !libc::LOCK_NB)) {
        return Err(PyValueError::new_err("unrecognized lockf argument"));
    }
    let way = range.map_or(Way::Flock, |(len, start, whence)| {
        Way::Range(len, start, whence)
    });
    loop {
        let waits = match apply(fd, way, operation | libc::LOCK_NB) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                interrupted(py)?;
                continue;
            }
            Err(error) => {
                let busy = is(&error, &[libc::EWOULDBLOCK, libc::EACCES]);
                if !busy || operation & libc::LOCK_NB != 0 {
                    return Err(raise(py, &error));
                }
                match way {
                    Way::Flock => File::Own(duplicate(fd).map_err(|error| raise(py, &error))?),
                    Way::Range(..) => File::Number(fd),
                }
            }
        };
        let wait = move || {
            apply(waits.raw(), way, operation).map(|()| Had {
                file: waits,
                way,
                wanted: false,
            })
        };
        let had = if alone() {
            offload(py, "lock of a file", wait)?
        } else {
            let had = patient(py, "lock of a file", None, wait)?;
            had.expect("there was no deadline")
        };
        match had {
            Ok(mut had) => {
                had.wanted = true;
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => interrupted(py)?,
            Err(error) => return Err(raise(py, &error)),
        }
    }
}

/// file_sync(fd, data_only=False)
///
/// fsync(2), or fdatasync(2), of descriptor *fd*. May switch: yes. Raises OSError.
///
/// >>> import tempfile
/// >>> from greenlet import _core
/// >>> with tempfile.TemporaryFile() as file:
/// ...     _core.file_sync(file.fileno())
#[pyfunction]
#[pyo3(signature = (fd, data_only=false))]
fn file_sync(py: Python<'_>, fd: Descriptor, data_only: bool) -> PyResult<()> {
    loop {
        let theirs = duplicate(fd.0).map_err(|error| raise(py, &error))?;
        let sync = move || {
            let fd = raw(&theirs);
            let done = if data_only {
                // SAFETY: takes no pointer.
                unsafe { libc::fdatasync(fd) }
            } else {
                // SAFETY: takes no pointer.
                unsafe { libc::fsync(fd) }
            };
            result(done as isize)
        };
        match offload(py, "disk", sync)? {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => interrupted(py)?,
            Err(error) => return Err(raise(py, &error)),
        }
    }
}

/// Adds the functions.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(file_lock, module)?)?;
    module.add_function(wrap_pyfunction!(file_sync, module)?)
}
