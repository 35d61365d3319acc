//! `ThreadHandle`: what a `threading.Thread` of CPython 3.13 holds of its thread; it can be joined.
//!
//! Invariant: `done` is set once, by the end of the thread (or by `_set_done`), and wakes all who wait.

use std::sync::atomic::Ordering;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::GENERATION;
use crate::gil_cell::GilCell;
use crate::hub::{self, Reason, Waiter, Woken};
use crate::thread_ident;
use crate::wait_queue::WaitQueue;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    NotStarted,
    Starting,
    Running,
    Done,
}

struct State {
    phase: Phase,
    ident: u64,
    generation: u64,
    waiters: WaitQueue<()>,
}

/// A thread that can be waited for; made by `start_joinable_thread`.
///
/// >>> from greenlet import _core
/// >>> _core._ThreadHandle().is_done()
/// False
#[pyclass(frozen, name = "_ThreadHandle", module = "_thread")]
pub struct ThreadHandle(GilCell<State>);

impl hub::Waitable for ThreadHandle {
    const KIND: hub::Kind = hub::Kind::ThreadHandle;

    fn forget_lost(&self, py: Python<'_>) {
        let lost = self.0.with(py, |state| state.waiters.forget_lost());
        drop(lost);
    }
}

impl ThreadHandle {
    /// One that no thread has yet.
    pub fn fresh() -> ThreadHandle {
        ThreadHandle(GilCell::new(State {
            phase: Phase::NotStarted,
            ident: 0,
            generation: 0,
            waiters: WaitQueue::new(),
        }))
    }

    /// A thread is about to be started for it. RuntimeError if that has happened before.
    pub fn begin(&self, py: Python<'_>) -> PyResult<()> {
        self.0.with(py, |state| {
            if state.phase != Phase::NotStarted {
                return Err(PyRuntimeError::new_err("thread already started"));
            }
            state.phase = Phase::Starting;
            Ok(())
        })
    }

    /// The thread could not be started.
    pub fn withdraw(&self, py: Python<'_>) {
        self.0.with(py, |state| state.phase = Phase::NotStarted);
    }

    /// The thread has this identity and runs, in this process.
    pub fn set_running(&self, py: Python<'_>, ident: u64) {
        self.0.with(py, |state| {
            state.phase = Phase::Running;
            state.ident = ident;
            state.generation = GENERATION.load(Ordering::Relaxed);
        });
    }

    /// The thread has ended.
    pub fn set_done(&self, py: Python<'_>) {
        self.0.with(py, |state| {
            state.phase = Phase::Done;
            state.waiters.wake_all(py, |()| ());
        });
    }

    /// In the child of a fork: the thread stayed in the parent, and so did who waited for it.
    pub fn set_lost(&self, py: Python<'_>) {
        let waiters = self.0.with(py, |state| {
            state.phase = Phase::Done;
            state.waiters.clear()
        });
        std::mem::forget(waiters);
    }

    fn done(&self, py: Python<'_>) -> bool {
        let (phase, ident, generation) = self
            .0
            .with(py, |state| (state.phase, state.ident, state.generation));
        match phase {
            Phase::Done => true,
            Phase::Running => {
                generation != GENERATION.load(Ordering::Relaxed)
                    && !hub::survive_fork(py)
                    && thread_ident::current() != Ok(ident)
            }
            Phase::NotStarted | Phase::Starting => false,
        }
    }

    /// Waits for the end of the thread, or for the deadline. May switch: yes. RuntimeError for one's own thread and
    /// before the start.
    pub fn join_until(&self, py: Python<'_>, deadline: Option<hub::Instant>) -> PyResult<()> {
        if self.done(py) {
            return Ok(());
        }
        let (phase, ident) = self.0.with(py, |state| (state.phase, state.ident));
        if phase != Phase::Running {
            return Err(PyRuntimeError::new_err("thread not started"));
        }
        if thread_ident::current().map_err(|raised| raised.into_err(py))? == ident {
            return Err(PyRuntimeError::new_err("Cannot join current thread"));
        }
        while !self.done(py) {
            let waiter = Waiter::current(py)?;
            let key = self.0.with(py, |state| state.waiters.push(waiter, ()));
            let woken = hub::park(py, Reason::Join.within(self), deadline)
                .map_err(|raised| raised.into_err(py));
            let entry = self.0.with(py, |state| state.waiters.remove(key));
            drop(entry);
            match woken? {
                Woken::TimedOut => break,
                Woken::Waker => {}
                Woken::Switched(value) => drop(value.into_bound(py)),
            }
        }
        Ok(())
    }
}

#[pymethods]
impl ThreadHandle {
    #[new]
    fn new() -> ThreadHandle {
        ThreadHandle::fresh()
    }

    /// The identity of the thread, 0 before its start.
    #[getter]
    fn ident(&self, py: Python<'_>) -> u64 {
        self.0.with(py, |state| state.ident)
    }

    /// Wait until the thread has ended. *timeout* is in seconds; None or a negative number waits for ever. Raises
    /// RuntimeError for the own thread and for one that was not started. *May switch: yes.*
    #[pyo3(signature = (timeout=None, /))]
    fn join(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let deadline = timeout
            .filter(|seconds| *seconds >= 0.0 || seconds.is_nan())
            .map(|seconds| hub::deadline_in(py, seconds))
            .transpose()?;
        self.join_until(py, deadline)
    }

    /// Whether the thread has ended.
    fn is_done(&self, py: Python<'_>) -> bool {
        self.done(py)
    }

    /// Say that the thread has ended: for handles of threads that were not started through one.
    fn _set_done(&self, py: Python<'_>) -> PyResult<()> {
        if self.0.with(py, |state| state.phase) == Phase::NotStarted {
            return Err(PyRuntimeError::new_err("thread not started"));
        }
        self.set_done(py);
        Ok(())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let ident = slf.get().ident(slf.py());
        format!("<_ThreadHandle object: ident={ident}>")
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.peek(|state| {
            state
                .waiters
                .entries()
                .try_for_each(|entry| visit.call(entry.waiter.greenlet().as_py()))
        })
    }
}
