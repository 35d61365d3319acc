//! `select(read_list, write_list, error_list, timeout)`, over poll(2): no limit on the numbers of descriptors.

use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::{descriptor, seconds, wait::wait};

/// What poll(2) reports where select(2) would say: readable, writable, exceptional.
const READABLE: i16 = libc::POLLIN | libc::POLLHUP | libc::POLLERR;
const WRITABLE: i16 = libc::POLLOUT | libc::POLLERR;
const EXCEPTIONAL: i16 = libc::POLLPRI;

/// `select(read_list, write_list, error_list, timeout=None)`: wait until a descriptor is ready; returns the ready
/// objects of the three lists, all of them. *timeout*: seconds, None waits for ever, 0 only asks. *May switch: yes.*
///
/// Raises TypeError, ValueError for a negative timeout or descriptor, OSError for one that is closed, also meanwhile.
#[pyfunction]
#[pyo3(signature = (read_list, write_list, error_list, timeout=None))]
pub fn select<'py>(
    py: Python<'py>,
    read_list: &Bound<'py, PyAny>,
    write_list: &Bound<'py, PyAny>,
    error_list: &Bound<'py, PyAny>,
    timeout: Option<&Bound<'py, PyAny>>,
) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>)> {
    let seconds = seconds(timeout, 1.0, "timeout must be a float or None")?;
    if seconds.is_some_and(|seconds| seconds < 0.0) {
        return Err(PyValueError::new_err("timeout must be non-negative"));
    }
    let mut fds = Vec::new();
    let mut objects = Vec::new();
    let kinds = [
        (read_list, libc::POLLIN, READABLE),
        (write_list, libc::POLLOUT, WRITABLE),
        (error_list, libc::POLLPRI, EXCEPTIONAL),
    ];
    for (index, (list, events, _)) in kinds.iter().enumerate() {
        // A list that `fileno()` changes is read as it then is.
        for object in list.try_iter().map_err(|error| sequences(py, error))? {
            let object = object?;
            fds.push(libc::pollfd {
                fd: descriptor(&object)?,
                events: *events,
                revents: 0,
            });
            objects.push((index, object));
        }
    }
    let ready = |fd: &libc::pollfd| {
        let kind = kinds.iter().find(|(_, events, _)| *events == fd.events);
        fd.revents & (kind.map_or(0, |kind| kind.2) | libc::POLLNVAL) != 0
    };
    wait(py, &mut fds, seconds, false, ready)?;
    if fds.iter().any(|fd| fd.revents & libc::POLLNVAL != 0) {
        return Err(PyOSError::new_err((libc::EBADF, "Bad file descriptor")));
    }
    let found = [PyList::empty(py), PyList::empty(py), PyList::empty(py)];
    for (fd, (index, object)) in fds.iter().zip(objects) {
        if ready(fd) {
            found[index].append(object)?;
        }
    }
    let [readable, writable, exceptional] = found;
    Ok((readable, writable, exceptional))
}

fn sequences(py: Python<'_>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyTypeError>(py) {
        PyTypeError::new_err("arguments 1-3 must be sequences")
    } else {
        error
    }
}
