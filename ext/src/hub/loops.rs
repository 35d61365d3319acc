//! asyncio's event loops in green threads: each has a running loop of its own, as each OS thread has.
//!
//! asyncio keeps for an OS thread which loop runs there, and the hooks of its asynchronous generators (CPython 3.14:
//! the task that it is at, too). A green thread that parks while a loop runs in it, be it that the loop waits or that a
//! coroutine calls something green, takes all that along, so that others find no loop and may run one.
//!
//! asyncio is known once a green thread has polled descriptors with asyncio imported: a loop does so before it runs
//! anything. Until then a park costs one look at `KNOWN`. The loop of a hub that runs on one is everybody's, and stays.
#![allow(unsafe_code)] // the GIL's token

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{ffi, intern};

use super::Hub;
use super::outer::RUNS;
use crate::error::{Pending, Raised};

/// Whether `FUNCTIONS` has something.
static KNOWN: AtomicBool = AtomicBool::new(false);

/// What asyncio and `sys` have for it.
struct Functions {
    /// `asyncio._get_running_loop`.
    get_loop: Py<PyAny>,
    /// `asyncio._set_running_loop`.
    set_loop: Py<PyAny>,
    /// `asyncio.tasks._swap_current_task` where the current task is not kept in the loop's name.
    swap_task: Option<Py<PyAny>>,
    /// `sys.get_asyncgen_hooks`.
    get_hooks: Py<PyAny>,
    /// `sys.set_asyncgen_hooks`.
    set_hooks: Py<PyAny>,
}

static FUNCTIONS: PyOnceLock<Functions> = PyOnceLock::new();

/// To be called before a green thread polls descriptors: finds asyncio, if it is imported. May switch: no.
#[inline]
pub fn learn_loops(py: Python<'_>) {
    if !KNOWN.load(Ordering::Relaxed) {
        learn(py);
    }
}

#[cold]
fn learn(py: Python<'_>) {
    // SAFETY: GIL held (token).
    let modules = unsafe { ffi::PyImport_GetModuleDict() };
    // SAFETY: a borrowed reference that lives as long as the interpreter, or null.
    let modules = unsafe { Bound::from_borrowed_ptr_or_opt(py, modules) };
    let Some(Ok(modules)) = modules.map(|modules| modules.cast_into::<PyDict>()) else {
        return;
    };
    // An import that is under way has not got there: the next poll looks again.
    if let Ok(Some(functions)) = find(py, &modules)
        && FUNCTIONS.set(py, functions).is_ok()
    {
        KNOWN.store(true, Ordering::Relaxed);
    }
}

fn find(py: Python<'_>, modules: &Bound<'_, PyDict>) -> PyResult<Option<Functions>> {
    let Some(events) = modules.get_item(intern!(py, "asyncio.events"))? else {
        return Ok(None);
    };
    let swap_task = if py.version_info() < (3, 14) {
        None
    } else if let Some(tasks) = modules.get_item(intern!(py, "asyncio.tasks"))? {
        Some(tasks.getattr("_swap_current_task")?.unbind())
    } else {
        return Ok(None);
    };
    let sys = py.import("sys")?;
    Ok(Some(Functions {
        get_loop: events.getattr("_get_running_loop")?.unbind(),
        set_loop: events.getattr("_set_running_loop")?.unbind(),
        swap_task,
        get_hooks: sys.getattr("get_asyncgen_hooks")?.unbind(),
        set_hooks: sys.getattr("set_asyncgen_hooks")?.unbind(),
    }))
}

/// What a green thread takes along.
pub(super) struct Running {
    event_loop: Py<PyAny>,
    task: Option<Py<PyAny>>,
    hooks: Py<PyTuple>,
}

/// The current greenlet parks: nothing of asyncio runs in the OS thread after that. `None` if nothing did.
#[inline(always)]
pub(super) fn leave(hub: &Hub) -> Option<Running> {
    if KNOWN.load(Ordering::Relaxed) && !hub.overrides.has(RUNS) {
        // SAFETY: whoever parks holds the GIL.
        quietly(unsafe { Python::assume_attached() }, put_away).flatten()
    } else {
        None
    }
}

/// The current greenlet goes on: what it took along runs again.
#[inline(always)]
pub(super) fn come_back(running: Option<Running>) {
    if let Some(running) = running {
        // SAFETY: whoever parked holds the GIL when it goes on.
        quietly(unsafe { Python::assume_attached() }, |py, functions| {
            bring_back(py, functions, running)
        });
    }
}

/// Calls `f` beside the exception that is set, if any. What `f` raises is reported, and goes no further.
#[cold]
fn quietly<R>(py: Python<'_>, f: impl FnOnce(Python<'_>, &Functions) -> PyResult<R>) -> Option<R> {
    let pending = Pending::take();
    let done = FUNCTIONS.get(py).map(|functions| f(py, functions));
    let done = done.and_then(|done| done.map_err(|error| error.write_unraisable(py, None)).ok());
    let Raised = pending.restore();
    done
}

fn put_away(py: Python<'_>, functions: &Functions) -> PyResult<Option<Running>> {
    let event_loop = functions.get_loop.call0(py)?;
    if event_loop.is_none(py) {
        return Ok(None);
    }
    let hooks = functions.get_hooks.call0(py)?.into_bound(py);
    let hooks = hooks.cast_into::<PyTuple>()?.unbind();
    let task = match &functions.swap_task {
        Some(swap) => Some(swap.call1(py, (&event_loop, py.None()))?),
        None => None,
    };
    functions.set_loop.call1(py, (py.None(),))?;
    functions.set_hooks.call1(py, (py.None(), py.None()))?;
    Ok(Some(Running {
        event_loop,
        task,
        hooks,
    }))
}

fn bring_back(py: Python<'_>, functions: &Functions, running: Running) -> PyResult<()> {
    functions.set_hooks.call1(py, running.hooks.bind(py))?;
    functions.set_loop.call1(py, (&running.event_loop,))?;
    if let (Some(swap), Some(task)) = (&functions.swap_task, running.task) {
        swap.call1(py, (running.event_loop, task))?;
    }
    Ok(())
}
