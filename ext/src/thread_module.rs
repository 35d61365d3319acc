//! What CPython's `_thread` does for OS threads, for green threads: starting, joining, counting, and the locks that
//! tell of an end. `eventlet.green.thread` gives these functions their names.
//!
//! A thread is a greenlet whose parent is the hub, like what `spawn_n` makes, and has an identity from the start.
//! What belongs to it stands in `RECORDS` under that identity until it ends (`ended`). Records keep their greenlets
//! alive, as a running OS thread needs nobody who refers to it. In the child of a fork only the thread that forked
//! goes on: handles of the others count as done there. GIL held throughout; no record is borrowed at a switch.
#![allow(unsafe_code)] // pthread_atfork

mod handle;
mod rlock;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

pub use handle::ThreadHandle;
pub use rlock::RLock;

use crate::error::{self, Pending, Raised};
use crate::gil_cell::GilCell;
use crate::greenlet::{self, Gr, Role, Transfer};
use crate::hub;
use crate::object::Object;
use crate::semaphore::Truth;
use crate::thread::Thread;
use crate::thread_ident;

/// What is to be done when the greenlet with an identity ends.
#[derive(Default)]
struct Record {
    /// The greenlet, if it was started here.
    greenlet: Option<Object>,
    /// Becomes done.
    handle: Option<Py<ThreadHandle>>,
    /// Whether the process does not wait for it at its end.
    daemon: bool,
    /// A lock that is released.
    sentinel: Option<Py<PyAny>>,
    /// A dictionary that loses the identity's entry.
    listed: Option<Py<PyDict>>,
}

static RECORDS: GilCell<Option<HashMap<u64, Record>>> = GilCell::new(None);

fn records<R>(py: Python<'_>, f: impl FnOnce(&mut HashMap<u64, Record>) -> R) -> R {
    RECORDS.with(py, |records| f(records.get_or_insert_with(HashMap::new)))
}

/// How often this process is the child of a fork: what was started in an earlier generation is gone.
static GENERATION: AtomicU64 = AtomicU64::new(0);

extern "C" fn forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// `thread_ident`'s hook: may run in a dealloc, with an exception set.
fn ended(py: Python<'_>, ident: u64) {
    let Some(record) = records(py, |records| records.remove(&ident)) else {
        return;
    };
    let saved = Pending::take();
    if let Some(handle) = &record.handle {
        handle.get().set_done(py);
    }
    if let Some(sentinel) = &record.sentinel
        && let Err(broken) = release(sentinel.bind(py))
    {
        broken.write_unraisable(py, None);
    }
    if let Some(listed) = &record.listed
        && listed.bind(py).contains(ident).unwrap_or(false)
        && let Err(broken) = listed.bind(py).del_item(ident)
    {
        broken.write_unraisable(py, None);
    }
    drop(record);
    saved.restore();
}

fn release(sentinel: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = sentinel.py();
    if sentinel
        .call_method0(pyo3::intern!(py, "locked"))?
        .is_truthy()?
    {
        sentinel.call_method0(pyo3::intern!(py, "release"))?;
    }
    Ok(())
}

/// get_ident(greenlet=None) -> int
///
/// The identity of a greenlet; None means the running one. No other greenlet of the process ever has the same.
/// That of a main greenlet is its OS thread's. May switch: no. Raises TypeError for what is no greenlet.
///
/// >>> import threading
/// >>> from greenlet import _core
/// >>> _core.get_ident() == threading.main_thread().ident
/// True
#[pyfunction]
#[pyo3(signature = (greenlet=None, /))]
fn get_ident(py: Python<'_>, greenlet: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
    match greenlet {
        None => thread_ident::current().map_err(|raised| raised.into_err(py)),
        Some(object) => match Gr::check(object.as_ptr()) {
            Some(g) => Ok(thread_ident::of(g)),
            None => Err(PyTypeError::new_err(format!(
                "a greenlet is required, not {}",
                object.get_type().name()?
            ))),
        },
    }
}

/// Body of a thread: calls `run`; what `_thread` does with an exception, this does.
fn body(py: Python<'_>, me: Gr, transfer: Transfer) -> error::Result<Object> {
    let run = me.get().run.take().expect("set by `start`");
    if let Err(Raised) = transfer.call(&run) {
        let error = PyErr::fetch(py);
        let class = error.get_type(py);
        let quiet = [
            greenlet::exit_object().bind(py).clone(),
            py.get_type::<pyo3::exceptions::PySystemExit>().into_any(),
        ];
        if quiet
            .iter()
            .any(|kind| class.is_subclass(kind).unwrap_or(false))
        {
            return Ok(Object::none());
        }
        if class
            .is_subclass_of::<pyo3::exceptions::PyKeyboardInterrupt>()
            .unwrap_or(false)
        {
            return Err(Raised::from_err(py, error)); // it is the main greenlet's
        }
        error.restore(py);
        crate::process::unraisable_in_thread(&run);
    }
    Ok(Object::none())
}

/// Starts a thread in the calling thread's hub; returns its identity.
fn start(
    py: Python<'_>,
    function: &Bound<'_, PyAny>,
    transfer: Transfer,
    handle: Option<Py<ThreadHandle>>,
    daemon: bool,
) -> PyResult<u64> {
    if crate::process::finalizing() {
        return Err(PyRuntimeError::new_err(
            "can't create new thread at interpreter shutdown",
        ));
    }
    let make = || {
        let thread = Thread::get().ok_or(Raised)?;
        let parent = hub::hub_greenlet(thread)?;
        let object = greenlet::with_body(greenlet::type_ptr(), body, parent)?;
        Ok((thread, object))
    };
    let (thread, object) = make().map_err(|raised: Raised| raised.into_err(py))?;
    let g = Gr::from_object(&object);
    g.get().role.set(Role::Child);
    drop(g.get().run.replace(Some(Object::from_bound(function))));
    g.get().transfer.set(transfer);
    let ident = thread_ident::of(g);
    if let Some(handle) = &handle {
        handle.get().set_running(py, ident);
    }
    let record = Record {
        greenlet: Some(object.clone()),
        handle,
        daemon,
        ..Record::default()
    };
    records(py, |records| records.insert(ident, record));
    hub::start_soon(thread, object).map_err(|raised| raised.into_err(py))?;
    Ok(ident)
}

/// start_new_thread(function, args, kwargs={}) -> int
///
/// Call function(*args, **kwargs) in a new green thread and return its identity. It starts in the hub's next turn.
/// SystemExit and GreenletExit end it silently; another exception goes to sys.unraisablehook. May switch: no.
/// Raises TypeError for arguments of the wrong type, RuntimeError when the interpreter ends.
///
/// >>> import eventlet
/// >>> from greenlet import _core
/// >>> cups = []
/// >>> ident = _core.start_new_thread(cups.append, ('tea',))
/// >>> eventlet.sleep()
/// >>> cups
/// ['tea']
#[pyfunction]
#[pyo3(signature = (function, args, kwargs=None))]
fn start_new_thread(
    function: &Bound<'_, PyAny>,
    args: &Bound<'_, PyAny>,
    kwargs: Option<&Bound<'_, PyAny>>,
) -> PyResult<u64> {
    let py = function.py();
    if !function.is_callable() {
        return Err(PyTypeError::new_err("first arg must be callable"));
    }
    let Ok(args) = args.cast::<PyTuple>() else {
        return Err(PyTypeError::new_err("2nd arg must be a tuple"));
    };
    let kwargs = match kwargs.map(|kwargs| kwargs.cast::<PyDict>()) {
        None => None,
        Some(Ok(kwargs)) => Some(kwargs),
        Some(Err(_)) => {
            return Err(PyTypeError::new_err(
                "optional 3rd arg must be a dictionary",
            ));
        }
    };
    let kwargs = kwargs
        .filter(|kwargs| !kwargs.is_empty())
        .map(Object::from_bound);
    let transfer = Transfer::Call(Object::from_bound(args), kwargs);
    start(py, function, transfer, None, true)
}

/// start_joinable_thread(function, handle=None, daemon=True) -> ThreadHandle
///
/// Call function() in a new green thread. *handle* is a ThreadHandle that was not used yet; None makes one. The
/// process waits at its end for a thread that is no *daemon*. May switch: no. Raises TypeError for arguments of the
/// wrong type, RuntimeError for a handle that was used and when the interpreter ends.
///
/// >>> from greenlet import _core
/// >>> handle = _core.start_joinable_thread(list)
/// >>> handle.join()
/// >>> handle.is_done()
/// True
#[pyfunction]
#[pyo3(signature = (function, handle=None, daemon=Truth(true)), text_signature = "(function, handle=None, daemon=True)")]
fn start_joinable_thread<'py>(
    function: &Bound<'py, PyAny>,
    handle: Option<&Bound<'py, PyAny>>,
    daemon: Truth,
) -> PyResult<Bound<'py, ThreadHandle>> {
    let py = function.py();
    if !function.is_callable() {
        return Err(PyTypeError::new_err("thread function must be callable"));
    }
    let handle = match handle {
        None => Bound::new(py, ThreadHandle::fresh())?,
        Some(handle) => match handle.cast::<ThreadHandle>() {
            Ok(handle) => handle.clone(),
            Err(_) => return Err(PyTypeError::new_err("'handle' must be a _ThreadHandle")),
        },
    };
    handle.get().begin(py)?;
    let made = start(
        py,
        function,
        Transfer::empty(),
        Some(handle.clone().unbind()),
        daemon.0,
    );
    match made {
        Ok(_) => Ok(handle),
        Err(error) => {
            handle.get().withdraw(py);
            Err(error)
        }
    }
}

/// make_thread_handle(ident) -> ThreadHandle
///
/// A handle for a thread that runs already. May switch: no.
///
/// >>> from greenlet import _core
/// >>> _core.make_thread_handle(5).ident
/// 5
#[pyfunction]
fn make_thread_handle(py: Python<'_>, ident: u64) -> ThreadHandle {
    let handle = ThreadHandle::fresh();
    handle.set_running(py, ident);
    handle
}

/// release_at_end(lock) -> lock
///
/// Have *lock* released, if it is locked, when the running green thread ends. May switch: no.
///
/// >>> import eventlet
/// >>> from eventlet.lock import Lock
/// >>> from greenlet import _core
/// >>> lock = Lock()
/// >>> def run():
/// ...     return _core.release_at_end(lock).acquire()
/// >>> eventlet.spawn(run).wait(), lock.locked()
/// (True, False)
#[pyfunction]
fn release_at_end<'py>(lock: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = lock.py();
    let me = greenlet::current().map_err(|raised| raised.into_err(py))?;
    if !me.get().main {
        let sentinel = lock.clone().unbind();
        let old = records(py, |records| {
            let record = records.entry(thread_ident::of(me)).or_default();
            record.sentinel.replace(sentinel)
        });
        drop(old);
    }
    Ok(lock)
}

/// track_current(table) -> ThreadHandle
///
/// The handle of the running green thread, which is done when it ends; then its identity is removed from the
/// dictionary *table*. May switch: no. Raises RuntimeError in the main greenlet of an OS thread.
///
/// >>> import eventlet
/// >>> from greenlet import _core
/// >>> table = {}
/// >>> def run():
/// ...     table[_core.get_ident()] = _core.track_current(table)
/// ...     return list(table.values())[0]
/// >>> eventlet.spawn(run).wait().is_done(), table
/// (True, {})
#[pyfunction]
fn track_current(table: Bound<'_, PyDict>) -> PyResult<Py<ThreadHandle>> {
    let py = table.py();
    let me = greenlet::current().map_err(|raised| raised.into_err(py))?;
    if me.get().main {
        return Err(PyRuntimeError::new_err(
            "a main greenlet ends with its OS thread",
        ));
    }
    let ident = thread_ident::of(me);
    let fresh = Py::new(py, ThreadHandle::fresh())?;
    fresh.get().set_running(py, ident);
    let table = table.unbind();
    let (handle, old) = records(py, |records| {
        let record = records.entry(ident).or_default();
        let handle = record.handle.get_or_insert(fresh).clone_ref(py);
        (handle, record.listed.replace(table))
    });
    drop(old);
    Ok(handle)
}

/// thread_count() -> int
///
/// Number of threads that were started here and run. May switch: no.
///
/// >>> from greenlet import _core
/// >>> _core.thread_count() >= 0
/// True
#[pyfunction]
fn thread_count(py: Python<'_>) -> usize {
    let alive = |record: &&Record| {
        record
            .greenlet
            .as_ref()
            .is_some_and(|object| !Gr::from_object(object).get().is_dead())
    };
    records(py, |records| records.values().filter(alive).count())
}

/// join_threads()
///
/// Wait for all threads that were started as no daemons, apart from the calling one. May switch: yes. What is raised
/// meanwhile goes to sys.unraisablehook and ends the wait.
///
/// >>> from greenlet import _core
/// >>> _core.join_threads()
#[pyfunction]
fn join_threads(py: Python<'_>) -> PyResult<()> {
    let me = thread_ident::current().map_err(|raised| raised.into_err(py))?;
    loop {
        let next = records(py, |records| {
            records
                .iter()
                .filter(|(ident, record)| **ident != me && !record.daemon)
                .filter(|(_, record)| {
                    let greenlet = record.greenlet.as_ref();
                    greenlet.is_some_and(|g| !Gr::from_object(g).get().is_dead())
                })
                .find_map(|(_, record)| record.handle.as_ref().map(|handle| handle.clone_ref(py)))
        });
        let Some(handle) = next else { return Ok(()) };
        if let Err(error) = handle.get().join_until(py, None) {
            error.write_unraisable(py, None);
            return Ok(());
        }
    }
}

/// hold_threads_for(*names)
///
/// From now on, what a module waits for whose name begins with one of *names* holds the calling OS thread: none of its
/// green threads runs meanwhile. For debuggers, which stop a program. What they call from other modules, such as an
/// expression to be evaluated, waits as ever. Names are only ever added. May switch: no.
#[pyfunction]
#[pyo3(signature = (*names))]
fn hold_threads_for(py: Python<'_>, names: Vec<String>) {
    hub::hold_for(py, names);
}

/// _threads_after_fork()
///
/// In the child of a fork: only the calling green thread goes on, unless all do. May switch: no.
#[pyfunction]
fn _threads_after_fork(py: Python<'_>) -> PyResult<()> {
    if hub::survive_fork(py) {
        return Ok(());
    }
    let me = thread_ident::current().map_err(|raised| raised.into_err(py))?;
    let all = records(py, std::mem::take);
    for (ident, record) in all {
        if ident == me {
            if let Some(handle) = &record.handle {
                handle.get().set_running(py, ident);
            }
            records(py, |records| records.insert(ident, record));
        } else {
            if let Some(handle) = &record.handle {
                handle.get().set_lost(py);
            }
            // What the lost threads' frames hold must not be unwound here: it is the parent's.
            std::mem::forget(record);
        }
    }
    Ok(())
}

/// Adds the class and the functions.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    thread_ident::on_end(ended);
    hub::forgets::<ThreadHandle>();
    // SAFETY: the function is safe to call in the child: it counts.
    if unsafe { libc::pthread_atfork(None, None, Some(forked)) } != 0 {
        return Err(PyRuntimeError::new_err("pthread_atfork failed"));
    }
    module.add_class::<ThreadHandle>()?;
    module.add_class::<RLock>()?;
    module.add_function(wrap_pyfunction!(get_ident, module)?)?;
    module.add_function(wrap_pyfunction!(start_new_thread, module)?)?;
    module.add_function(wrap_pyfunction!(start_joinable_thread, module)?)?;
    module.add_function(wrap_pyfunction!(make_thread_handle, module)?)?;
    module.add_function(wrap_pyfunction!(release_at_end, module)?)?;
    module.add_function(wrap_pyfunction!(track_current, module)?)?;
    module.add_function(wrap_pyfunction!(thread_count, module)?)?;
    module.add_function(wrap_pyfunction!(hold_threads_for, module)?)?;
    module.add_function(wrap_pyfunction!(join_threads, module)?)?;
    module.add_function(wrap_pyfunction!(_threads_after_fork, module)?)?;
    let hooks = PyDict::new(py);
    hooks.set_item("after_in_child", module.getattr("_threads_after_fork")?)?;
    py.import("os")?
        .call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}
