//! `file_open`: open(2), which waits for the other side of a FIFO and for slow disks.

use std::ffi::{CString, c_int};
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use super::patient::patient;
use super::{alone, interrupted};
use crate::hub;

fn open(path: &CString, flags: c_int, mode: c_int, folder: c_int) -> io::Result<OwnedFd> {
    // SAFETY: a C string; the flags say whether the mode is read.
    let fd = unsafe { libc::openat(folder, path.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn is_fifo(path: &CString, folder: c_int) -> bool {
    let mut found = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a C string; the kernel writes one `stat`.
    if unsafe { libc::fstatat(folder, path.as_ptr(), found.as_mut_ptr(), 0) } < 0 {
        return false;
    }
    // SAFETY: filled in, as the call has succeeded.
    let mode = unsafe { found.assume_init() }.st_mode;
    mode & libc::S_IFMT == libc::S_IFIFO
}

/// open_fifo(path, flags, mode=0o777, folder=AT_FDCWD) -> int or None
///
/// A new descriptor of *path*, relative to the descriptor *folder*, if it names a FIFO, whose other side is waited for;
/// None if it names anything else. The descriptor is not inherited. May switch: yes. Raises OSError, ValueError for a
/// path with NUL.
///
/// >>> import os
/// >>> from greenlet import _core
/// >>> _core.open_fifo('/', os.O_RDONLY) is None
/// True
#[pyfunction]
#[pyo3(signature = (path, flags, mode=0o777, folder=libc::AT_FDCWD))]
fn open_fifo(
    py: Python<'_>,
    path: PathBuf,
    flags: c_int,
    mode: c_int,
    folder: c_int,
) -> PyResult<Option<c_int>> {
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else {
        return Err(PyValueError::new_err("embedded null byte"));
    };
    if alone() || flags & libc::O_NONBLOCK != 0 || !is_fifo(&name, folder) {
        return Ok(None);
    }
    loop {
        let theirs = name.clone();
        let opened = patient(py, "other side of a FIFO", None, move || {
            open(&theirs, flags, mode, folder)
        })?;
        match opened.expect("there was no deadline") {
            Ok(fd) => {
                let fd = fd.into_raw_fd();
                hub::notify_opened(py, fd);
                return Ok(Some(fd));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => interrupted(py)?,
            Err(error) => {
                let code = error.raw_os_error().unwrap_or(0);
                let text = py.import("os")?.call_method1("strerror", (code,))?;
                return Err(PyOSError::new_err((code, text.unbind(), path)));
            }
        }
    }
}

/// Adds the function.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(open_fifo, module)?)
}
