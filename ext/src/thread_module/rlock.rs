//! `RLock`: a lock that its owner, a green thread or the main greenlet of an OS thread, may take again.
//!
//! Invariant: `owner` is 0 exactly if the unit of `semaphore` is free or on its way to a waiter; `count` is then 0.

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::gil_cell::GilCell;
use crate::hub::{self, Reason};
use crate::semaphore::{Semaphore, TIMEOUT_MAX, Truth};
use crate::thread_ident;

/// Who has the lock, and how often.
#[derive(Clone, Copy)]
struct Hold {
    owner: u64,
    count: usize,
}

const FREE: Hold = Hold { owner: 0, count: 0 };

/// A lock that its owner may take again, with the interface of `threading.RLock`. The owner is a green thread.
///
/// >>> from greenlet import _core
/// >>> lock = _core.RLock()
/// >>> with lock:
/// ...     lock.acquire(), lock.release()
/// (True, None)
/// >>> lock.release()
/// Traceback (most recent call last):
///     ...
/// RuntimeError: cannot release un-acquired lock
#[pyclass(frozen, subclass, weakref, module = "_thread")]
pub struct RLock {
    semaphore: Semaphore,
    hold: GilCell<Hold>,
}

fn me(py: Python<'_>) -> PyResult<u64> {
    thread_ident::current().map_err(|raised| raised.into_err(py))
}

fn not_owned() -> PyErr {
    PyRuntimeError::new_err("cannot release un-acquired lock")
}

impl RLock {
    fn take(&self, py: Python<'_>, deadline: Option<hub::Instant>) -> PyResult<bool> {
        let me = me(py)?;
        let again = self.hold.with(py, |hold| {
            let again = hold.owner == me;
            if again {
                hold.count += 1;
            }
            again
        });
        let taken = again || self.semaphore.take(py, deadline)?;
        if taken && !again {
            self.hold.set(
                py,
                Hold {
                    owner: me,
                    count: 1,
                },
            );
        }
        Ok(taken)
    }

    fn give(&self, py: Python<'_>) -> PyResult<()> {
        let me = me(py)?;
        let last = self.hold.with(py, |hold| {
            if hold.owner != me {
                return Err(not_owned());
            }
            hold.count -= 1;
            let last = hold.count == 0;
            if last {
                *hold = FREE;
            }
            Ok(last)
        })?;
        if last {
            self.semaphore.give(py);
        }
        Ok(())
    }
}

#[pymethods]
impl RLock {
    /// Arguments are taken and not looked at, as those of the standard lock: they are a subclass's.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> RLock {
        RLock {
            semaphore: Semaphore::with_counter(1, Reason::Lock),
            hold: GilCell::new(FREE),
        }
    }

    /// Take the lock; True if it was taken. Once more if the caller has it already.
    ///
    /// With *blocking* false the answer comes at once. *timeout* is in seconds; -1 waits for ever. Raises ValueError
    /// for another negative timeout and for one without blocking, OverflowError for one that is too long.
    /// *May switch: yes.*
    #[pyo3(signature = (blocking=Truth(true), timeout=-1.0), text_signature = "(self, blocking=True, timeout=-1)")]
    fn acquire(&self, py: Python<'_>, blocking: Truth, timeout: f64) -> PyResult<bool> {
        let forever = timeout == -1.0;
        if !blocking.0 && !forever {
            let text = "can't specify a timeout for a non-blocking call";
            return Err(PyValueError::new_err(text));
        }
        if !forever && (timeout < 0.0 || timeout.is_nan()) {
            let text = "timeout value must be a non-negative number";
            return Err(PyValueError::new_err(text));
        }
        if timeout > TIMEOUT_MAX {
            return Err(PyOverflowError::new_err("timeout value is too large"));
        }
        if !blocking.0 {
            let me = me(py)?;
            if self.hold.get(py).owner != me {
                let taken = self.semaphore.try_take(py);
                if taken {
                    self.hold.set(
                        py,
                        Hold {
                            owner: me,
                            count: 1,
                        },
                    );
                }
                return Ok(taken);
            }
            return self.take(py, None);
        }
        let deadline = (!forever)
            .then(|| hub::deadline_in(py, timeout))
            .transpose()?;
        hub::interrupt_spinner(py)?;
        self.take(py, deadline)
    }

    /// Give the lock back once. Raises RuntimeError if the caller does not have it. *May switch: no.*
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.give(py)
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        hub::interrupt_spinner(py)?;
        self.take(py, None)
    }

    #[pyo3(signature = (*_exc_info))]
    fn __exit__(&self, py: Python<'_>, _exc_info: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.give(py)
    }

    /// Whether anybody has the lock. *May switch: no.*
    fn locked(&self, py: Python<'_>) -> bool {
        self.hold.get(py).count > 0
    }

    /// Whether the caller has the lock.
    fn _is_owned(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.hold.get(py).owner == me(py)?)
    }

    /// How often the caller has the lock.
    fn _recursion_count(&self, py: Python<'_>) -> PyResult<usize> {
        let hold = self.hold.get(py);
        Ok(if hold.owner == me(py)? { hold.count } else { 0 })
    }

    /// Give the lock back altogether; returns what `_acquire_restore` needs. Raises RuntimeError if it is free.
    fn _release_save(&self, py: Python<'_>) -> PyResult<(usize, u64)> {
        let hold = self.hold.replace(py, FREE);
        if hold.count == 0 {
            return Err(not_owned());
        }
        self.semaphore.give(py);
        Ok((hold.count, hold.owner))
    }

    /// Take the lock as it was before `_release_save`. *May switch: yes.*
    fn _acquire_restore(&self, py: Python<'_>, state: (usize, u64)) -> PyResult<()> {
        self.semaphore.take(py, None)?;
        let (count, owner) = state;
        self.hold.set(py, Hold { owner, count });
        Ok(())
    }

    /// In a forked child: free, without waiters.
    fn _at_fork_reinit(&self, py: Python<'_>) {
        self.hold.set(py, FREE);
        self.semaphore.renew(py, 1);
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let hold = slf.get().hold.get(slf.py());
        let class = slf.get_type();
        Ok(format!(
            "<{} {}.{} object owner={} count={} at {:#x}>",
            if hold.count > 0 { "locked" } else { "unlocked" },
            class.module()?,
            class.qualname()?,
            hold.owner,
            hold.count,
            slf.as_ptr() as usize,
        ))
    }
}
