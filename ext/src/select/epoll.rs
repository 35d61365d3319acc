//! `epoll`: objects over an epoll descriptor of their own, which is itself something to wait for.
//!
//! A wait asks the kernel without waiting, then parks until the descriptor is readable: that is when the kernel has
//! an event in it. Invariant: the object owns its descriptor until it is closed, and the hub hears of that before.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use eventlet::reactor::Interest;
use pyo3::exceptions::{PyMemoryError, PyOSError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::{descriptor, native, seconds};
use crate::error::system_error;
use crate::gil_cell::GilCell;
use crate::hub::{self, Woken};

/// Events asked for at most when the caller names no number, as in the standard module.
const MOST: usize = libc::FD_SETSIZE - 1;

/// `epoll(sizehint=-1, flags=0)`: an epoll object, with the interface of `select.epoll`.
///
/// >>> from eventlet.green import select
/// >>> import os
/// >>> r, w = os.pipe()
/// >>> with select.epoll() as e:
/// ...     e.register(w, select.EPOLLOUT)
/// ...     e.poll() == [(w, select.EPOLLOUT)]
/// True
#[pyclass(frozen, module = "select", name = "epoll")]
pub struct Epoll {
    fd: GilCell<Option<OwnedFd>>,
}

impl Epoll {
    fn get(&self, py: Python<'_>) -> PyResult<RawFd> {
        let fd = self.fd.with(py, |fd| fd.as_ref().map(OwnedFd::as_raw_fd));
        fd.ok_or_else(|| PyValueError::new_err("I/O operation on closed epoll object"))
    }

    fn control(
        &self,
        operation: c_int,
        fd: &Bound<'_, PyAny>,
        events: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let own = self.get(fd.py())?;
        let events = match events {
            Some(events) => mask(events)?,
            None => (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLOUT) as u32,
        };
        let fd = descriptor(fd)?;
        control(own, operation, fd, events).map_err(|error| system_error(&error))
    }
}

#[pymethods]
impl Epoll {
    #[new]
    #[pyo3(signature = (sizehint=-1, flags=0))]
    fn new(py: Python<'_>, sizehint: c_int, flags: c_int) -> PyResult<Epoll> {
        if sizehint != -1 && sizehint <= 0 {
            return Err(PyValueError::new_err("sizehint must be positive or -1"));
        }
        if flags != 0 && flags != libc::EPOLL_CLOEXEC {
            return Err(PyOSError::new_err("invalid flags"));
        }
        let fd = create().map_err(|error| system_error(&error))?;
        hub::notify_opened(py, fd.as_raw_fd());
        let fd = GilCell::new(Some(fd));
        Ok(Epoll { fd })
    }

    /// An epoll object that takes the epoll descriptor *fd* over.
    #[classmethod]
    fn fromfd(_class: &Bound<'_, PyType>, fd: RawFd) -> PyResult<Epoll> {
        if fd < 0 {
            return Err(system_error(&io::Error::from_raw_os_error(libc::EBADF)));
        }
        // SAFETY: the caller gives the descriptor away, which is what this method is for.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let fd = GilCell::new(Some(fd));
        Ok(Epoll { fd })
    }

    /// Close the descriptor; whoever waits for it gets OSError. More than once does nothing. *May switch: no.*
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Some(fd) = self.fd.replace(py, None) else {
            return Ok(());
        };
        let fd = fd.into_raw_fd();
        hub::notify_close(py, fd);
        // SAFETY: ours, and given up.
        if unsafe { libc::close(fd) } < 0 {
            return Err(system_error(&io::Error::last_os_error()));
        }
        Ok(())
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.fd.with(py, |fd| fd.is_none())
    }

    /// The descriptor. Raises ValueError when it is closed.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.get(py)
    }

    /// Watch *fd*, an int or an object with `fileno()`. *May switch: no.* Raises OSError, FileExistsError.
    #[pyo3(signature = (fd, eventmask=None))]
    fn register(
        &self,
        fd: &Bound<'_, PyAny>,
        eventmask: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, eventmask)
    }

    /// Change the events of a watched descriptor. *May switch: no.* Raises OSError, FileNotFoundError.
    fn modify(&self, fd: &Bound<'_, PyAny>, eventmask: &Bound<'_, PyAny>) -> PyResult<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, Some(eventmask))
    }

    /// Stop watching. *May switch: no.* Raises OSError, FileNotFoundError.
    fn unregister(&self, fd: &Bound<'_, PyAny>) -> PyResult<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, None)
    }

    /// `[(descriptor, events)]` as soon as there are any, at most *maxevents* (-1: as many as `FD_SETSIZE` - 1).
    /// *timeout*: seconds; None or negative waits for ever, 0 only asks. *May switch: yes.*
    #[pyo3(signature = (timeout=None, maxevents=-1))]
    fn poll(
        &self,
        py: Python<'_>,
        timeout: Option<&Bound<'_, PyAny>>,
        maxevents: c_int,
    ) -> PyResult<Vec<(RawFd, u32)>> {
        let fd = self.get(py)?;
        let seconds = seconds(timeout, 1.0, "timeout must be an integer or None")?
            .filter(|seconds| *seconds >= 0.0);
        let room = match maxevents {
            -1 => MOST,
            1.. => maxevents as usize,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "maxevents must be greater than 0, got {maxevents}"
                )));
            }
        };
        let mut events = Events(Vec::new());
        let space = events.0.try_reserve_exact(room);
        space.map_err(|_| PyMemoryError::new_err("maxevents is too large"))?;
        if hub::runs_here() {
            self.wait(py, seconds, &mut events)?;
        } else {
            // As with the standard object, closing it meanwhile ends no wait in the kernel.
            let events = &mut events;
            native::wait(py, seconds, |milliseconds| events.collect(fd, milliseconds))?;
        }
        let events = events.0.iter();
        Ok(events
            .map(|event| (event.u64 as RawFd, event.events))
            .collect())
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.get(slf.py())?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exc_info))]
    fn __exit__(&self, py: Python<'_>, _exc_info: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }
}

impl Epoll {
    /// The green wait.
    fn wait(&self, py: Python<'_>, seconds: Option<f64>, events: &mut Events) -> PyResult<()> {
        hub::learn_loops(py);
        let at_once = seconds == Some(0.0);
        let deadline = match seconds {
            Some(seconds) if !at_once => Some(hub::deadline_in(py, seconds)?),
            _ => None,
        };
        let mut last = false;
        let mut yielded = hub::is_in_hub(py);
        loop {
            // Others run first if there is something already, as in `wait`: but then it must stay in the kernel,
            // which forgets what it has reported of an edge.
            let fd = self.get(py)?;
            if !yielded && (at_once || is_readable(fd)) {
                hub::yield_now().map_err(|raised| raised.into_err(py))?;
            }
            yielded = true;
            let fd = self.get(py)?;
            if events.collect(fd, 0) < 0 {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(system_error(&error));
                }
            }
            if last || at_once || !events.0.is_empty() {
                return Ok(());
            }
            let woken = hub::park_any(py, &[(fd, Interest::Read)], deadline)?;
            last = matches!(woken, Woken::TimedOut);
        }
    }
}

/// Whether an epoll descriptor has events in it.
fn is_readable(fd: RawFd) -> bool {
    let mut asked = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one live entry.
    unsafe { libc::poll(&mut asked, 1, 0) > 0 }
}

/// Room for what epoll_wait reports.
struct Events(Vec<libc::epoll_event>);

impl Events {
    /// Fills it once, waiting so long at most; what epoll_wait returned.
    fn collect(&mut self, fd: RawFd, milliseconds: c_int) -> c_int {
        let room = c_int::try_from(self.0.capacity()).unwrap_or(c_int::MAX);
        // SAFETY: room for so many events.
        let count = unsafe { libc::epoll_wait(fd, self.0.as_mut_ptr(), room, milliseconds) };
        if count > 0 {
            // SAFETY: the kernel has written so many.
            unsafe { self.0.set_len(count as usize) };
        }
        count
    }
}

fn create() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn control(own: RawFd, operation: c_int, fd: RawFd, events: u32) -> io::Result<()> {
    let mut event = libc::epoll_event {
        events,
        u64: fd as u64,
    };
    // SAFETY: a complete event.
    if unsafe { libc::epoll_ctl(own, operation, fd, &mut event) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A mask of events, with the errors of the standard module.
fn mask(value: &Bound<'_, PyAny>) -> PyResult<u32> {
    let number = value.extract::<i64>().map_err(|error| {
        if error.is_instance_of::<PyOverflowError>(value.py()) {
            PyOverflowError::new_err("Python int too large for C unsigned int")
        } else {
            PyTypeError::new_err("an integer is required")
        }
    })?;
    // As the standard object does it: the low bits.
    Ok(number as u32)
}

/// A set of descriptors watched for exact events, until it is dropped.
pub struct Set(OwnedFd);

impl Set {
    /// Of what poll(2) is asked for.
    pub fn of(fds: &[libc::pollfd]) -> io::Result<Set> {
        let set = Set(create()?);
        for (index, fd) in fds.iter().enumerate() {
            if fds[..index].iter().any(|other| other.fd == fd.fd) {
                continue;
            }
            let same = fds[index..].iter().filter(|other| other.fd == fd.fd);
            let events = same.fold(0, |events, other| events | other.events);
            // The bits of poll(2) and of epoll are the same.
            match control(set.fd(), libc::EPOLL_CTL_ADD, fd.fd, events as u16 as u32) {
                // A regular file: of what it could report, poll(2) has said everything.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => (),
                other => other?,
            }
        }
        Ok(set)
    }

    /// What is readable when one of them has an event.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
