//! Calls in OS threads, while the green threads of the caller's hub go on: what `eventlet.tpool` is made of.
//!
//! There are two pools, so that look-ups of names and files never wait behind a program's own long calls: one for
//! `tpool.execute`, of the size that the program chose, and one of the system's. Both start their threads when
//! there is work for them, through `eventlet.tpool`, so that they are `threading.Thread`s. A thread that has
//! finished a call wakes the green thread through the inbox of its hub, without the GIL.
//!
//! Doors for Rust: `offload` for native calls, `execute_call` for Python's.
#![allow(unsafe_code)] // lets go of the GIL, enters contexts

mod offload;
mod pool;
mod task;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

pub use offload::{offload, offload_until};

use crate::gil::Gil;
use crate::gil_cell::GilCell;
use crate::greenthread::Call;
use crate::hub::{self, Reason, Waiter};
use crate::object::Object;
use pool::Pool;

/// Most threads of the system's pool.
const SYSTEM_LIMIT: usize = 20;

/// Which pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of `eventlet.tpool`.
    Program,
    /// Of native look-ups and files.
    System,
}

static POOLS: GilCell<[Option<Py<ThreadPool>>; 2]> = GilCell::new([None, None]);

fn present_pool(py: Python<'_>, kind: Kind) -> Option<Bound<'_, ThreadPool>> {
    POOLS.with(py, |pools| {
        pools[kind as usize]
            .as_ref()
            .map(|pool| pool.bind(py).clone())
    })
}

fn set_pool(py: Python<'_>, kind: Kind, pool: Option<Py<ThreadPool>>) -> Option<Py<ThreadPool>> {
    POOLS.with(py, |pools| {
        std::mem::replace(&mut pools[kind as usize], pool)
    })
}

fn python_side(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import("eventlet.tpool")
}

/// A pool with a thread for one more job; `None` if it may have none, or none can be started.
fn ready_pool(py: Python<'_>, kind: Kind) -> PyResult<Option<Bound<'_, ThreadPool>>> {
    let pool = match present_pool(py, kind) {
        Some(pool) => pool,
        None if kind == Kind::System => {
            let pool = Py::new(py, ThreadPool(Pool::new(SYSTEM_LIMIT)))?;
            set_pool(py, kind, Some(pool.clone_ref(py)));
            pool.into_bound(py)
        }
        None => {
            python_side(py)?.call_method0("setup")?;
            match present_pool(py, kind) {
                Some(pool) => pool,
                None => return Ok(None),
            }
        }
    };
    if pool.get().0.wants_thread() {
        let started = python_side(py)
            .and_then(|module| module.call_method1("_start_thread", (&pool, kind == Kind::System)));
        if let Err(failure) = started {
            pool.get().0.not_started();
            if !pool.get().0.accepts() {
                // The interpreter ends, or the system has no thread left: the caller does the work itself.
                log_failure(py, failure);
                return Ok(None);
            }
        }
    }
    Ok(Some(pool))
}

fn log_failure(py: Python<'_>, failure: PyErr) {
    if !crate::process::finalizing()
        && !failure.is_instance_of::<pyo3::exceptions::PyRuntimeError>(py)
    {
        failure.write_unraisable(py, None);
    }
}

/// Prints an exception that a call has raised, if the program wants that.
fn report(py: Python<'_>, error: &PyErr) {
    let printed = python_side(py).and_then(|module| {
        if module.getattr("QUIET")?.is_truthy()? {
            return Ok(());
        }
        module.call_method1("_report", (error.value(py),)).map(drop)
    });
    if let Err(failure) = printed {
        failure.write_unraisable(py, None);
    }
}

/// Whether the calling thread holds the import lock: whoever waited for another thread then might wait for ever.
fn import_lock_held(py: Python<'_>) -> PyResult<bool> {
    static LOCK_HELD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let lock_held = LOCK_HELD.get_or_try_init(py, || {
        Ok::<_, PyErr>(py.import("_imp")?.getattr("lock_held")?.unbind())
    })?;
    lock_held.bind(py).call0()?.is_truthy()
}

/// Makes a call in a thread of this pool and waits for its result; in place where there is no thread for it or
/// nobody may wait. May switch: yes.
pub fn execute_call(py: Python<'_>, kind: Kind, call: Call) -> PyResult<Object> {
    let mut call = call;
    if !pool::is_member()
        && !import_lock_held(py)?
        && let Some(pool) = ready_pool(py, kind)?
    {
        match task::execute(py, &pool.get().0, call)? {
            Ok(value) => return Ok(value),
            Err(refused) => call = refused,
        }
    }
    call.run().map_err(|raised| raised.into_err(py))
}

/// OS threads that take calls first in, first out: one of the pools behind `eventlet.tpool`.
#[pyclass(frozen, module = "eventlet.tpool")]
pub struct ThreadPool(Pool);

#[pymethods]
impl ThreadPool {
    /// Make the calling OS thread one of the pool's until the pool is stopped.
    ///
    /// *asked*: the pool has asked for the thread, and counts it already. *May switch: no.*
    #[pyo3(signature = (asked=false))]
    fn serve(&self, py: Python<'_>, asked: bool) {
        Gil::release(py, |gil| self.0.serve(asked, gil));
    }

    /// Number of calls that wait for a thread.
    fn qsize(&self) -> usize {
        self.0.queued()
    }

    /// Whether no call waits for a thread.
    fn empty(&self) -> bool {
        self.0.queued() == 0
    }

    /// Number of threads.
    #[getter]
    fn threads(&self) -> usize {
        self.0.threads()
    }

    /// Most threads that there may be.
    #[getter]
    fn limit(&self) -> usize {
        self.0.limit()
    }

    /// Have the threads end when all calls are done, and wait for that; whether they have ended.
    ///
    /// *patience* is in seconds, None for ever; with it the whole OS thread waits. A thread of the pool does not
    /// wait at all. *May switch: yes.*
    #[pyo3(signature = (patience=None))]
    fn stop(&self, py: Python<'_>, patience: Option<f64>) -> PyResult<bool> {
        self.0.stop();
        if pool::is_member() {
            return Ok(self.0.threads() == 0);
        }
        if patience.is_some() || !hub::runs_here() || hub::is_in_hub(py) {
            let patience = patience.map(hub::duration);
            return Ok(Gil::release(py, |_| self.0.wait_ended(patience)));
        }
        loop {
            let letter = Waiter::current(py)?.letter();
            if let Some(letter) = self.0.mourn(letter) {
                drop(letter);
                return Ok(true);
            }
            hub::park(py, Reason::Other("end of the thread pool"), None)
                .map_err(|raised| raised.into_err(py))?;
        }
    }
}

/// Return `meth(*args, **kwargs)`, called in a thread of the pool; its exception is raised here.
///
/// Only the calling green thread waits. The call is made in place in a thread of the pool, while the import lock
/// is held, and if the pool may have no threads. It sees a copy of the caller's `contextvars` context. When the
/// green thread is killed or timed out meanwhile, a call that has not begun is not made, and the result of one that
/// has is dropped. *May switch: yes.*
///
/// >>> from eventlet import tpool
/// >>> tpool.execute(pow, 2, 10)
/// 1024
#[pyfunction(name = "tpool_execute")]
#[pyo3(signature = (meth, *args, **kwargs))]
fn tpool_execute(
    meth: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let py = meth.py();
    let call = Call::new(meth, args, kwargs)?;
    execute_call(py, Kind::Program, call).map(|value| value.into_bound(py).unbind())
}

/// Return `function(*args)`, called in a thread of the system's pool, as name look-ups are; its exception is raised
/// here. *May switch: yes.*
#[pyfunction]
#[pyo3(signature = (function, *args))]
fn call_in_thread(function: &Bound<'_, PyAny>, args: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = function.py();
    let call = Call::new(function, args, None)?;
    let value = if hub::runs_here() && !hub::is_in_hub(py) {
        execute_call(py, Kind::System, call)?
    } else {
        call.run().map_err(|raised| raised.into_err(py))? // nobody else could run meanwhile
    };
    Ok(value.into_bound(py).unbind())
}

/// Open the pool of `tpool.execute` for at most *limit* threads, unless it is open, and return it.
/// *May switch: no.*
#[pyfunction]
fn open_thread_pool(py: Python<'_>, limit: usize) -> PyResult<Bound<'_, ThreadPool>> {
    let fresh = Py::new(py, ThreadPool(Pool::new(limit)))?;
    let used = POOLS.with(py, |pools| {
        let slot = &mut pools[Kind::Program as usize];
        slot.get_or_insert_with(|| fresh.clone_ref(py))
            .clone_ref(py)
    });
    Ok(used.into_bound(py))
}

/// Take the pool of `tpool.execute` out of use and return it; None if it is not open. Its threads go on until it is
/// stopped. *May switch: no.*
#[pyfunction]
fn close_thread_pool(py: Python<'_>) -> Option<Py<ThreadPool>> {
    set_pool(py, Kind::Program, None)
}

/// The pool of `tpool.execute`; None before its first use. *May switch: no.*
#[pyfunction]
fn thread_pool(py: Python<'_>) -> Option<Bound<'_, ThreadPool>> {
    present_pool(py, Kind::Program)
}

/// Number of calls in OS threads that have been asked for and not ended. *May switch: no.*
#[pyfunction]
fn _pending_thread_calls() -> usize {
    pool::pending()
}

/// Block an OS thread of the system's pool for *seconds*; whether that was over before *patience*. For tests of
/// `offload`. *May switch: yes.*
#[pyfunction]
#[pyo3(signature = (seconds, patience=None))]
fn _block_thread(py: Python<'_>, seconds: f64, patience: Option<f64>) -> PyResult<bool> {
    let deadline = patience
        .map(|seconds| hub::deadline_in(py, seconds))
        .transpose()?;
    let work = move || std::thread::sleep(hub::duration(seconds));
    match deadline {
        None => offload(py, "pause", work).map(|()| true),
        deadline => offload_until(py, "pause", deadline, work).map(|done| done.is_some()),
    }
}

/// In the child of a fork: the threads of the pools are not in it.
#[pyfunction]
fn _forget_thread_pools(py: Python<'_>) {
    for kind in [Kind::Program, Kind::System] {
        // Never dropped: the fork may have copied its mutex while a thread of the parent held it.
        std::mem::forget(set_pool(py, kind, None));
    }
    pool::forget_pending();
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<ThreadPool>()?;
    module.add_function(wrap_pyfunction!(tpool_execute, module)?)?;
    module.add_function(wrap_pyfunction!(call_in_thread, module)?)?;
    module.add_function(wrap_pyfunction!(open_thread_pool, module)?)?;
    module.add_function(wrap_pyfunction!(close_thread_pool, module)?)?;
    module.add_function(wrap_pyfunction!(thread_pool, module)?)?;
    module.add_function(wrap_pyfunction!(_pending_thread_calls, module)?)?;
    module.add_function(wrap_pyfunction!(_block_thread, module)?)?;
    let hooks = PyDict::new(py);
    hooks.set_item(
        "after_in_child",
        wrap_pyfunction!(_forget_thread_pools, module)?,
    )?;
    py.import("os")?
        .call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}
