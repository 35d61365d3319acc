//! `Semaphore`, `BoundedSemaphore`, `CappedSemaphore` and `Lock`: one counter and one wait queue.
//!
//! `release` raises the counter and wakes the first waiter, which takes the unit when it runs. Until then a
//! non-blocking or timed acquire may take it, and the waiter goes back to the front of the queue. Invariant:
//! after every operation as many waiters are woken as there are units, or all of them (`grant`); so a unit
//! whose taker was killed or timed out before its turn goes to the next one.

mod bounded;
mod capped;
mod lock;

pub use lock::TIMEOUT_MAX;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::error;
use crate::gil_cell::GilCell;
use crate::greenlet;
use crate::hub::{self, Reason, Waiter, Woken};
use crate::wait_queue::{Key, WaitQueue};

/// An argument of which only the truth value counts.
pub struct Truth(pub bool);

impl<'a, 'py> FromPyObject<'a, 'py> for Truth {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Truth> {
        object.is_truthy().map(Truth)
    }
}

struct State {
    counter: i64,
    /// Serial of the greenlet that took a unit last, for who asks why others wait.
    taker: u32,
    waiters: WaitQueue<()>,
}

impl State {
    /// Restores the invariant of the module.
    fn grant(&mut self, py: Python<'_>) {
        while self.waiters.waiting() > 0 && self.counter > self.waiters.woken() as i64 {
            if !self.waiters.wake_one(py, |()| ()) {
                break;
            }
        }
    }

    fn take(&mut self) -> bool {
        let free = self.counter > 0;
        if free {
            self.counter -= 1;
            self.taker = greenlet::current_serial();
        }
        free
    }
}

/// A counter of units that green threads (and OS threads) take and give back.
///
/// *value* is the number of units at the start. `acquire` waits while there are none. Usable in a `with` block.
/// Raises TypeError for text that is no number and ValueError for a negative value.
///
/// >>> import eventlet
/// >>> seats = eventlet.Semaphore(2)
/// >>> with seats:
/// ...     seats.counter
/// 1
#[pyclass(subclass, frozen, weakref, dict, module = "eventlet.semaphore")]
pub struct Semaphore {
    /// False in memory that is not filled in yet (see `Event`).
    live: bool,
    /// Whether it is the value of a Python object, and not a part of another Rust value.
    object: bool,
    state: GilCell<State>,
    reason: Reason,
}

impl hub::Waitable for Semaphore {
    const KIND: hub::Kind = hub::Kind::Semaphore;

    fn forget_lost(&self, py: Python<'_>) {
        self.add(py, 0);
    }
}

impl Semaphore {
    /// A semaphore with this many units, which may be negative after `GreenPool.resize`.
    pub fn with_counter(counter: i64, reason: Reason) -> Semaphore {
        Semaphore {
            live: true,
            object: false,
            state: GilCell::new(State {
                counter,
                taker: 0,
                waiters: WaitQueue::new(),
            }),
            reason,
        }
    }

    /// The same, for who makes a Python object of it: the census then shows that object to who asks.
    pub fn in_object(self) -> Semaphore {
        Semaphore {
            object: true,
            ..self
        }
    }

    /// Whether it was made for a Python object.
    pub fn is_object(&self) -> bool {
        self.object
    }

    /// Serial of the greenlet that took a unit last; 0 if nobody did.
    pub fn taker(&self, py: Python<'_>) -> u32 {
        self.state.with(py, |state| state.taker)
    }

    /// Units that are free.
    pub fn units(&self, py: Python<'_>) -> i64 {
        self.state.with(py, |state| state.counter)
    }

    /// Units less the greenlets that wait for one.
    pub fn surplus(&self, py: Python<'_>) -> i64 {
        let (counter, waiters) = self.numbers(py);
        counter - waiters as i64
    }

    /// Passes over those who never run again.
    #[inline]
    fn pass_over_lost(&self, py: Python<'_>) {
        if self.state.with(py, |state| state.waiters.may_have_lost()) {
            let lost = self.state.with(py, |state| state.waiters.forget_lost());
            drop(lost);
        }
    }

    /// Adds `difference` to the counter; wakes waiters if there are units for them.
    pub fn add(&self, py: Python<'_>, difference: i64) {
        self.pass_over_lost(py);
        self.state.with(py, |state| {
            state.counter = state.counter.saturating_add(difference);
            state.grant(py);
        });
    }

    /// Gives one unit back.
    pub fn give(&self, py: Python<'_>) {
        self.add(py, 1);
    }

    /// In a forked child: this many units, and nobody waits.
    pub fn renew(&self, py: Python<'_>, units: i64) {
        let old = self.state.with(py, |state| {
            state.counter = units;
            state.waiters.clear()
        });
        std::mem::forget(old); // what they refer to is the parent's
    }

    /// Takes a unit if that needs no waiting, even before greenlets that wait.
    pub fn try_take(&self, py: Python<'_>) -> bool {
        self.state.with(py, State::take)
    }

    /// Takes a unit after those who wait already; false after the deadline. May switch: yes.
    #[inline]
    pub fn take(&self, py: Python<'_>, deadline: Option<hub::Instant>) -> PyResult<bool> {
        let at_once = self.state.with(py, |state| {
            (deadline.is_some() || state.waiters.is_empty()) && state.take()
        });
        if at_once {
            Ok(true)
        } else {
            self.take_later(py, deadline)
        }
    }

    fn take_later(&self, py: Python<'_>, deadline: Option<hub::Instant>) -> PyResult<bool> {
        let key = match self.join(py) {
            Ok(key) => key,
            // No greenlet can wait any more: the counter decides.
            Err(_) if crate::process::finalizing() => return Ok(self.try_take(py)),
            Err(error) => return Err(error),
        };
        loop {
            let woken = hub::park(py, self.reason.within(self), deadline);
            if let Some(result) = self.settle(py, key, woken) {
                return result;
            }
        }
    }

    /// Takes a place among the waiters. A function of its own, as `settle` is, so that a green thread that waits has
    /// little on its stack.
    #[inline(never)]
    fn join(&self, py: Python<'_>) -> PyResult<Key> {
        let waiter = Waiter::current(py)?;
        self.pass_over_lost(py);
        Ok(self.state.with(py, |state| {
            let key = state.waiters.push(waiter, ());
            state.grant(py);
            key
        }))
    }

    /// What a wait has brought; `None` if it goes on, in the same place.
    #[inline(never)]
    fn settle(
        &self,
        py: Python<'_>,
        key: Key,
        woken: error::Result<Woken>,
    ) -> Option<PyResult<bool>> {
        let done = match woken {
            Ok(Woken::TimedOut) => Some(Ok(false)),
            Err(raised) => Some(Err(raised.into_err(py))),
            Ok(Woken::Waker) => None,
            Ok(Woken::Switched(value)) => {
                drop(value.into_bound(py));
                None
            }
        };
        let done = match done {
            None => self.state.with(py, State::take).then_some(Ok(true)),
            done => done,
        };
        if let Some(result) = done {
            let entry = self.state.with(py, |state| {
                let entry = state.waiters.remove(key);
                state.grant(py);
                entry
            });
            drop(entry);
            return Some(result);
        }
        let waiter = match Waiter::current(py) {
            Ok(waiter) => waiter,
            Err(error) => return Some(Err(error)),
        };
        self.pass_over_lost(py);
        let old = self.state.with(py, |state| {
            let old = state.waiters.wait_again(key, waiter);
            state.grant(py);
            old
        });
        drop(old);
        None
    }

    fn acquire_with(&self, py: Python<'_>, blocking: bool, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = timeout.filter(|seconds| *seconds != -1.0);
        if timeout.is_some_and(|seconds| seconds < 0.0) {
            return Err(PyValueError::new_err(
                "timeout value must be strictly positive",
            ));
        }
        if !blocking {
            if timeout.is_some() {
                return Err(PyValueError::new_err(
                    "can't specify timeout for non-blocking acquire",
                ));
            }
            return Ok(self.try_take(py));
        }
        let deadline = timeout
            .map(|seconds| hub::deadline_in(py, seconds))
            .transpose()?;
        self.take(py, deadline)
    }

    fn numbers(&self, py: Python<'_>) -> (i64, usize) {
        self.pass_over_lost(py);
        self.state
            .with(py, |state| (state.counter, state.waiters.len()))
    }
}

/// The `value` argument as upstream reads it.
fn parse_value(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    let py = value.py();
    let number: i64 = if value.is_exact_instance_of::<PyInt>() {
        value.extract()?
    } else {
        let number = py.get_type::<PyInt>().call1((value,)).map_err(|error| {
            if !error.is_instance_of::<PyValueError>(py) {
                return error;
            }
            let reason = error.value(py).to_string();
            let kind = value.get_type().to_string();
            PyTypeError::new_err(format!(
                "Semaphore() expect value :: int, actual: {kind} {reason}"
            ))
        })?;
        number.extract()?
    };
    if number < 0 {
        return Err(PyValueError::new_err(format!(
            "Semaphore() expect value >= 0, actual: {number}"
        )));
    }
    Ok(number)
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(value=1)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, pyo3::types::PyDict>>,
    ) -> Semaphore {
        Semaphore::with_counter(1, Reason::Semaphore).in_object()
    }

    #[pyo3(signature = (value=None))]
    fn __init__(&self, py: Python<'_>, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let counter = value.map_or(Ok(1), parse_value)?;
        self.state.with(py, |state| state.counter = counter);
        Ok(())
    }

    /// Take a unit; True if it was taken.
    ///
    /// With *blocking* false the answer comes at once. *timeout* is in seconds; None or -1 waits for ever. Raises
    /// ValueError for another negative timeout and for a timeout without blocking. *May switch: yes.*
    ///
    /// >>> import eventlet
    /// >>> eventlet.Semaphore(0).acquire(timeout=0.001)
    /// False
    #[pyo3(signature = (blocking=Truth(true), timeout=None), text_signature = "(self, blocking=True, timeout=None)")]
    fn acquire(&self, py: Python<'_>, blocking: Truth, timeout: Option<f64>) -> PyResult<bool> {
        self.acquire_with(py, blocking.0, timeout)
    }

    /// Give a unit back and wake the first waiter; always True. *blocking* is for symmetry with
    /// `CappedSemaphore` and changes nothing. *May switch: no.*
    #[pyo3(signature = (blocking=None))]
    fn release(&self, py: Python<'_>, blocking: Option<&Bound<'_, PyAny>>) -> bool {
        let _ = blocking; // documented: accepted for symmetry
        self.give(py);
        true
    }

    /// Whether `acquire` would wait.
    fn locked(&self, py: Python<'_>) -> bool {
        self.units(py) <= 0
    }

    /// False: a release never waits.
    fn bounded(&self) -> bool {
        false
    }

    /// Units that are free, less the green threads that wait for one.
    #[getter]
    fn balance(&self, py: Python<'_>) -> i64 {
        self.surplus(py)
    }

    /// Units that are free.
    #[getter]
    fn counter(&self, py: Python<'_>) -> i64 {
        self.units(py)
    }

    #[setter(counter)]
    fn set_counter(&self, py: Python<'_>, value: i64) {
        self.state.with(py, |state| {
            state.counter = value;
            state.grant(py);
        });
    }

    #[getter(_waiters)]
    fn waiters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let greenlets: Vec<Py<PyAny>> = self.state.with(py, |state| {
            state
                .waiters
                .entries()
                .map(|entry| entry.waiter.greenlet().as_py().clone_ref(py))
                .collect()
        });
        py.import("collections")?
            .getattr("deque")?
            .call1((greenlets,))
    }

    fn __enter__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        if slf.get_type().is(py.get_type::<Semaphore>()) {
            return slf.get().take(py, None).map(drop);
        }
        slf.call_method0(pyo3::intern!(py, "acquire")).map(drop)
    }

    #[pyo3(signature = (*_exc_info))]
    fn __exit__(slf: &Bound<'_, Self>, _exc_info: &Bound<'_, PyTuple>) -> PyResult<()> {
        let py = slf.py();
        if slf.get_type().is(py.get_type::<Semaphore>()) {
            slf.get().give(py);
            return Ok(());
        }
        slf.call_method0(pyo3::intern!(py, "release")).map(drop)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (counter, waiters) = slf.get().numbers(slf.py());
        let class = slf.get_type().name()?;
        Ok(format!(
            "<{class} at {:#x} c={counter} _w[{waiters}]>",
            slf.as_ptr() as usize
        ))
    }

    fn __str__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (counter, waiters) = slf.get().numbers(slf.py());
        Ok(format!(
            "<{} c={counter} _w[{waiters}]>",
            slf.get_type().name()?
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.live {
            return Ok(());
        }
        self.state.peek(|state| {
            state
                .waiters
                .entries()
                .try_for_each(|entry| visit.call(entry.waiter.greenlet().as_py()))
        })
    }
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    hub::forgets::<Semaphore>();
    module.add_class::<Semaphore>()?;
    module.add_class::<bounded::BoundedSemaphore>()?;
    module.add_class::<capped::CappedSemaphore>()?;
    module.add_class::<lock::Lock>()
}
