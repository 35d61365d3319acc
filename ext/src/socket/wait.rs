//! Waiting for one socket: the only place where a socket method leaves for the hub.
//!
//! A descriptor that we own is registered with the hub of the thread that waits first, once, edge-triggered,
//! until it is closed. A thread with another hub, and wrapped sockets, register for each wait. Invariant: the
//! registration is dropped before the descriptor is closed, so a recycled number never meets an old one.
#![allow(unsafe_code)] // statics of the interpreter

use std::ffi::c_int;
use std::io;

use eventlet::clock::Instant;
use eventlet::reactor::{Interest, Token};
use pyo3::ffi;
use pyo3::prelude::*;

use super::call::raise_text;
use super::state::{Mode, Registration, Sock, attribute};
use crate::error::{Raised, Result};
use crate::hub::{self, Wake, Woken};

type Engine = eventlet::hub::Hub<Wake>;

/// Longest wait that is given to the hub as a deadline, in seconds (a century): beyond, none.
const LONGEST: f64 = 3_153_600_000.0;

/// The deadline of one call, fixed when it first has to wait.
#[derive(Default)]
pub struct Limit(Option<Option<Instant>>);

impl Limit {
    /// No deadline yet.
    pub fn new() -> Limit {
        Limit(None)
    }

    #[inline(never)]
    fn deadline(&mut self, py: Python<'_>, sock: Sock<'_>) -> Result<Option<Instant>> {
        if let Some(deadline) = self.0 {
            return Ok(deadline);
        }
        let seconds = sock.state.timeout.get();
        let deadline = match sock.state.mode.get() {
            Mode::Limited if seconds < LONGEST => {
                Some(hub::deadline_in(py, seconds).map_err(|error| Raised::from_err(py, error))?)
            }
            _ => None,
        };
        self.0 = Some(deadline);
        Ok(deadline)
    }

    /// Whether no time is left.
    pub fn is_over(&mut self, py: Python<'_>, sock: Sock<'_>) -> Result<bool> {
        let Some(deadline) = self.deadline(py, sock)? else {
            return Ok(false);
        };
        let now = hub::deadline_in(py, 0.0).map_err(|error| Raised::from_err(py, error))?;
        Ok(deadline <= now)
    }
}

/// Parks until the socket is ready. TimeoutError("timed out") when the limit is over; OSError when the
/// descriptor was closed meanwhile. May switch.
pub fn wait(py: Python<'_>, sock: Sock<'_>, interest: Interest, limit: &mut Limit) -> Result<()> {
    let deadline = limit.deadline(py, sock)?;
    let woken = if sock.state.wraps.get() {
        park_wrapped(py, sock, interest, deadline)
    } else {
        park(py, sock, interest, deadline)
    };
    match woken? {
        Woken::TimedOut => Err(timed_out()),
        Woken::Waker | Woken::Switched(_) => Ok(()),
    }
}

/// Parks on the descriptor of the socket that this one wraps.
#[inline(never)]
fn park_wrapped(
    py: Python<'_>,
    sock: Sock<'_>,
    interest: Interest,
    deadline: Option<Instant>,
) -> Result<Woken> {
    let wrapped = sock.wrapped(py)?;
    match Sock::of(wrapped.as_ptr()) {
        Some(inner) if !inner.state.wraps.get() => park(py, inner, interest, deadline),
        _ => park_number(py, wrapped.as_ptr(), interest, deadline),
    }
}

/// Parks on a descriptor of our own. What it may have to do before and need not is in functions of their own: with a
/// thousand that wait, each cache line of a suspended stack counts.
#[inline(never)]
fn park(
    py: Python<'_>,
    sock: Sock<'_>,
    interest: Interest,
    deadline: Option<Instant>,
) -> Result<Woken> {
    let fd = sock.fd()?;
    let registration = if sock.state.borrowed.get() {
        None
    } else {
        register(py, sock, fd, interest)?
    };
    match registration {
        Some(registration) => {
            let near = sock.object.cast_const().cast();
            hub::park_token(py, registration.token, fd, interest, deadline, near)
        }
        None => park_unregistered(py, fd, interest, deadline),
    }
}

#[inline(never)]
fn park_unregistered(
    py: Python<'_>,
    fd: c_int,
    interest: Interest,
    deadline: Option<Instant>,
) -> Result<Woken> {
    hub::park_fd(py, fd, interest, deadline).map_err(|error| Raised::from_err(py, error))
}

/// Parks on the descriptor of a foreign object.
fn park_number(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    interest: Interest,
    deadline: Option<Instant>,
) -> Result<Woken> {
    park_unregistered(py, fileno(py, object)?, interest, deadline)
}

/// `object.fileno()`, which must be an open descriptor.
pub fn fileno(py: Python<'_>, object: *mut ffi::PyObject) -> Result<c_int> {
    let method = attribute(py, object, "fileno")?;
    let number = method
        .bind(py)
        .call0()
        .and_then(|number| number.extract::<c_int>());
    match number {
        Ok(fd) if fd >= 0 => Ok(fd),
        Ok(_) => Err(super::call::os_error(libc::EBADF)),
        Err(error) => Err(Raised::from_err(py, error)),
    }
}

/// The registration with this thread's hub; made now if the socket has none yet. `None` if it has one with
/// another hub, or if the kernel does not watch such descriptors.
#[inline(always)]
fn register(
    py: Python<'_>,
    sock: Sock<'_>,
    fd: c_int,
    interest: Interest,
) -> Result<Option<Registration>> {
    if let Some(registration) = sock.state.registration.get() {
        let here = hub::with_hub_of(py, registration.hub, |_| ()).is_some();
        return Ok(here.then_some(registration));
    }
    register_first(py, sock, fd, interest)
}

#[inline(never)]
fn register_first(
    py: Python<'_>,
    sock: Sock<'_>,
    fd: c_int,
    interest: Interest,
) -> Result<Option<Registration>> {
    let hub = hub::serial(py).map_err(|error| Raised::from_err(py, error))?;
    if hub::overrides(py, hub::LISTENS).map_err(|error| Raised::from_err(py, error))? {
        return Ok(None); // it hears of each wait
    }
    let adopted = hub::with_hub(py, |engine| {
        let token = engine.adopt(fd)?;
        // Whoever waits has tried; the kernel reports the present state once more.
        engine.clear_ready(token, interest);
        Ok(token)
    });
    match adopted.map_err(|error| Raised::from_err(py, error))? {
        Ok(token) => {
            let registration = Registration { hub, token };
            sock.state.registration.set(Some(registration));
            Ok(Some(registration))
        }
        Err(error) if io::Error::raw_os_error(&error) == Some(libc::EPERM) => Ok(None),
        Err(error) => Err(crate::error::io_error(py, error)),
    }
}

/// Runs `f` on the engine and the token, if this thread's hub is the one that the socket is registered with.
#[inline(always)]
fn with_token<R>(
    py: Python<'_>,
    sock: Sock<'_>,
    f: impl FnOnce(&mut Engine, Token) -> R,
) -> Option<R> {
    let registration = sock.state.registration.get()?;
    hub::with_hub_of(py, registration.hub, |engine| f(engine, registration.token))
}

/// Whether a receive is known to find nothing, so that it may park without asking.
#[inline]
pub fn known_empty(py: Python<'_>, sock: Sock<'_>) -> bool {
    sock.state.drained.replace(false)
        && with_token(py, sock, |engine, token| {
            engine.is_ready(token, Interest::Read)
        }) == Some(false)
}

/// Notes that a stream gave less than was asked for: it has no more for now.
#[inline]
pub fn drained(py: Python<'_>, sock: Sock<'_>) {
    let noted = with_token(py, sock, |engine, token| engine.drained(token));
    sock.state.drained.set(noted.is_some());
}

/// Notes that a call has just found the descriptor not ready (EAGAIN).
#[inline]
pub fn not_ready(py: Python<'_>, sock: Sock<'_>, interest: Interest) {
    with_token(py, sock, |engine, token| {
        engine.clear_ready(token, interest)
    });
}

/// The descriptor is about to be closed or given away: whoever waits for it gets an error, and the hub forgets
/// it.
pub fn release(py: Python<'_>, sock: Sock<'_>, fd: c_int) {
    match sock.state.registration.take() {
        Some(registration) => hub::release(py, registration.hub, registration.token, fd),
        None => hub::notify_close(py, fd),
    }
}

/// Sets TimeoutError("timed out").
#[cold]
pub fn timed_out() -> Raised {
    // SAFETY: a static of the interpreter.
    raise_text(unsafe { ffi::PyExc_TimeoutError }, "timed out")
}
