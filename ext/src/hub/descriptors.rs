//! Waiting for descriptors: the guard against two readers of one descriptor, and what happens at close.
//!
//! The table is indexed by descriptor number. `epoch` counts how often a number was closed or handed out again
//! while somebody waited for it: a waiter that wakes up in another epoch than it began in gets `IOClosed`, and
//! never touches the descriptor that has the number now.

use std::ffi::c_int;
use std::rc::Rc;

use eventlet::reactor::{Interest, Token};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::{Hub, Instant, LISTENS, Reason, Wake, Woken, forward, outer, park_here, this, woken};
use crate::error::{self, Raised};
use crate::gil_cell::GilCell;
use crate::greenlet::Gr;
use crate::thread::Thread;

/// What is known about one descriptor number.
#[derive(Clone, Copy, Default)]
struct Row {
    epoch: u32,
    /// Why the epoch changed last: handed out again (true) or closed.
    reopened: bool,
    /// How many wait to read and to write.
    waiting: [u32; 2],
    /// How many wait for it together with others (`park_any`), which the guard does not mind.
    among: u32,
    /// Address of who waited first, for the guard's message; not dereferenced when nobody waits.
    first: [usize; 2],
}

/// All descriptor numbers that were ever waited for.
#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    #[inline(always)]
    fn row(&mut self, fd: c_int) -> &mut Row {
        let index = fd as usize;
        if index >= self.0.len() {
            self.0.resize(index + 1, Row::default());
        }
        &mut self.0[index]
    }

    /// Where the row of a descriptor lies, if it has one: to be fetched ahead.
    #[inline(always)]
    pub(super) fn place(&self, fd: c_int) -> Option<*const u8> {
        let row = self.0.get(fd as usize)?;
        Some(std::ptr::from_ref(row).cast())
    }
}

/// Bytes of a row.
pub(super) const ROW: usize = size_of::<Row>();

/// Whether a second reader (or writer) of a descriptor is refused.
static PREVENT: GilCell<bool> = GilCell::new(true);

/// Sets whether a second green thread that waits for the same descriptor and direction is refused.
pub fn prevent_multiple_readers(py: Python<'_>, state: bool) {
    PREVENT.set(py, state);
}

/// Whether it is refused.
pub fn prevents_multiple_readers(py: Python<'_>) -> bool {
    PREVENT.get(py)
}

fn side(interest: Interest) -> usize {
    match interest {
        Interest::Read => 0,
        Interest::Write => 1,
    }
}

#[cold]
#[inline(never)]
fn second(py: Python<'_>, fd: c_int, interest: Interest, me: Gr, first: usize) -> Raised {
    let verb = ["read", "write"][side(interest)];
    let show = |address: usize| {
        let object = Gr::from_ptr(address as *mut pyo3::ffi::PyObject)
            .object()
            .into_bound(py);
        object
            .repr()
            .map_or_else(|_| "?".to_owned(), |text| text.to_string())
    };
    let text = format!(
        "Second simultaneous {verb} on fileno {fd} detected.  Two green threads must not {verb} the same \
         descriptor: give each its own connection, for example from a pools.Pool. Where it is really wanted, \
         eventlet.debug.hub_prevent_multiple_readers(False) allows it. MY THREAD={}; THAT THREAD={}",
        show(me.as_object_ptr() as usize),
        show(first),
    );
    Raised::from_err(py, PyRuntimeError::new_err(text))
}

/// Waits until `fd` is ready. May switch: yes. RuntimeError for a second waiter; IOClosed if the descriptor is
/// closed meanwhile; OSError for one that cannot be watched.
pub fn park_fd(
    py: Python<'_>,
    fd: c_int,
    interest: Interest,
    deadline: Option<Instant>,
) -> PyResult<Woken> {
    if let Some(hub) = listening() {
        return outer::park_listening(py, &hub, fd, interest, deadline);
    }
    let woken = wait(py, fd, interest, deadline, std::ptr::null(), |hub, wake| {
        let watched = hub.engine.borrow_mut().watch(fd, interest, wake);
        watched.map_err(|failure| Raised::from_err(py, error::system_error(&failure)))
    });
    woken.map_err(|raised| raised.into_err(py))
}

/// This thread's hub, if its class keeps the listeners.
fn listening() -> Option<Rc<Hub>> {
    let hub = Thread::existing()?.hub.borrow();
    hub.as_ref()
        .filter(|hub| hub.overrides.has(LISTENS))
        .cloned()
}

/// As `park_fd` for a descriptor that this hub adopted. `near`: the object that the caller goes on with. May switch:
/// yes.
pub fn park_token(
    py: Python<'_>,
    token: Token,
    fd: c_int,
    interest: Interest,
    deadline: Option<Instant>,
    near: *const u8,
) -> error::Result<Woken> {
    wait(py, fd, interest, deadline, near, |hub, wake| {
        Ok(hub.engine.borrow_mut().watch_token(token, interest, wake))
    })
}

#[inline(always)]
fn wait(
    py: Python<'_>,
    fd: c_int,
    interest: Interest,
    deadline: Option<Instant>,
    near: *const u8,
    watch: impl FnOnce(&Hub, Wake) -> error::Result<eventlet::hub::WatchKey>,
) -> error::Result<Woken> {
    let parked = park_here(
        Reason::Fd { fd, interest },
        deadline,
        |hub, wake| {
            let me = Thread::existing().expect("parking").current.get();
            me.get().near.set(near);
            if fd >= 0 {
                let row = *hub.descriptors.borrow_mut().row(fd);
                if row.waiting[side(interest)] > 0 && PREVENT.get(py) {
                    return Err(second(py, fd, interest, me, row.first[side(interest)]));
                }
            }
            let key = watch(hub, wake)?;
            let mut table = hub.descriptors.borrow_mut();
            let row = table.row(fd);
            let epoch = row.epoch;
            if row.waiting[side(interest)] == 0 {
                row.first[side(interest)] = me.as_object_ptr() as usize;
            }
            row.waiting[side(interest)] += 1;
            Ok((key, epoch))
        },
        |hub, (key, epoch)| {
            let mut table = hub.descriptors.borrow_mut();
            let row = table.row(fd);
            row.waiting[side(interest)] -= 1;
            let closed = (row.epoch != epoch).then_some(row.reopened);
            drop(table);
            let left = hub.engine.borrow_mut().unwatch(key);
            drop(left);
            closed
        },
    );
    let (mark, value, closed) = parked?;
    match closed {
        Some(reopened) => Err(raise_io_closed(py, reopened)),
        None => Ok(woken(py, mark, value)),
    }
}

#[cold]
#[inline(never)]
fn raise_io_closed(py: Python<'_>, reopened: bool) -> Raised {
    Raised::from_err(py, io_closed(py, reopened))
}

/// Waits until any of `wanted` is ready; they are not guarded against other waiters. May switch: yes. IOClosed if
/// one of them is closed meanwhile; OSError for one that cannot be watched.
pub fn park_any(
    py: Python<'_>,
    wanted: &[(c_int, Interest)],
    deadline: Option<Instant>,
) -> PyResult<Woken> {
    let parked = park_here(
        Reason::Other("select"),
        deadline,
        |hub, wake| {
            let Wake::Resume(me, number) = wake else {
                unreachable!("a park begins with its wake-up")
            };
            let mut watched = Vec::with_capacity(wanted.len());
            for &(fd, interest) in wanted {
                let key =
                    hub.engine
                        .borrow_mut()
                        .watch(fd, interest, Wake::Resume(me.clone(), number));
                let key = match key {
                    Ok(key) => key,
                    Err(failure) => {
                        hub.unwatch_all(watched);
                        return Err(Raised::from_err(py, error::system_error(&failure)));
                    }
                };
                let mut table = hub.descriptors.borrow_mut();
                let row = table.row(fd);
                row.among += 1;
                watched.push((key, fd, row.epoch));
            }
            Ok(watched)
        },
        Hub::unwatch_all,
    );
    let (mark, value, closed) = parked.map_err(|raised| raised.into_err(py))?;
    match closed {
        Some(reopened) => Err(io_closed(py, reopened)),
        None => Ok(woken(py, mark, value)),
    }
}

static IO_CLOSED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// `eventlet.hubs.IOClosed`.
pub fn io_closed_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let class = IO_CLOSED.get_or_try_init(py, || {
        let base = py.get_type::<pyo3::exceptions::PyOSError>();
        let class = PyErr::new_type(
            py,
            c"eventlet.hubs.IOClosed",
            Some(c"A green thread waited for a descriptor that was closed, or handed out again, meanwhile."),
            Some(&base),
            None,
        )?;
        Ok::<_, PyErr>(class.into_any())
    })?;
    Ok(class.bind(py))
}

fn io_closed(py: Python<'_>, reopened: bool) -> PyErr {
    let class = match io_closed_class(py) {
        Ok(class) => class,
        Err(error) => return error,
    };
    let (errno, text) = if reopened {
        (
            libc::ENOTCONN,
            "Operation on closed file: its descriptor was handed out again",
        )
    } else {
        (libc::EBADF, "Operation on closed file")
    };
    match class.call1((errno, text)) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// Whether `error` says that the descriptor was closed while it was waited for.
pub fn is_closed_error(py: Python<'_>, error: &PyErr) -> bool {
    io_closed_class(py).is_ok_and(|class| error.matches(py, class).unwrap_or(false))
}

impl Hub {
    fn obsolete(&self, fd: c_int, reopened: bool) {
        if fd < 0 {
            return;
        }
        let mut table = self.descriptors.borrow_mut();
        let row = table.row(fd);
        if row.waiting != [0, 0] || row.among > 0 {
            row.epoch = row.epoch.wrapping_add(1);
            row.reopened = reopened;
        }
    }

    /// Ends what `park_any` began; whether one of the descriptors was closed (false) or handed out again (true).
    fn unwatch_all(&self, watched: Vec<(eventlet::hub::WatchKey, c_int, u32)>) -> Option<bool> {
        let mut closed = None;
        for (key, fd, epoch) in watched {
            let left = self.engine.borrow_mut().unwatch(key);
            drop(left);
            let mut table = self.descriptors.borrow_mut();
            let row = table.row(fd);
            row.among -= 1;
            if row.epoch != epoch {
                closed = Some(row.reopened);
            }
        }
        closed
    }

    /// A descriptor that this hub adopted is closed: all who wait for it wake up.
    pub(super) fn released(&self, token: Token, fd: c_int) {
        self.obsolete(fd, false);
        self.engine.borrow_mut().release(token);
    }
}

/// `fd` is about to be closed: whoever waits for it here gets IOClosed in the next turn. May switch: no.
pub fn notify_close(py: Python<'_>, fd: c_int) {
    forget(py, fd, false);
}

/// `fd` was just handed out by the kernel: whoever still waits for its number waited for another file, and gets
/// IOClosed in the next turn. May switch: no.
pub fn notify_opened(py: Python<'_>, fd: c_int) {
    forget(py, fd, true);
}

fn forget(_py: Python<'_>, fd: c_int, reopened: bool) {
    let Some(hub) = Thread::existing().and_then(|thread| thread.hub.borrow().clone()) else {
        return;
    };
    hub.obsolete(fd, reopened);
    hub.engine.borrow_mut().forget(fd);
}

/// The owner of an adopted descriptor closes it: its registration ends and its waiters wake up. Any OS thread.
pub fn release(py: Python<'_>, serial: u64, token: Token, fd: c_int) {
    match this(py) {
        Ok(hub) if hub.serial == serial => hub.released(token, fd),
        _ => forward(serial, Wake::Release(token, fd)),
    }
}
