//! `sleep`, `spawn` and its relatives, `kill` and `cancel`.

use std::ptr;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::{Call, context, is_green_thread, life_of, named, prepare};
use crate::error::{self, Pending, Raised};
use crate::greenlet::{self, Gr, Phase, Transfer};
use crate::hub;
use crate::object::{Object, tuple_len};
use crate::thread::Thread;
use crate::{timeout, timer};

type Ptr = *mut ffi::PyObject;

fn give(result: error::Result<Object>) -> Ptr {
    result.map_or(ptr::null_mut(), Object::into_ptr)
}

/// Seconds as Python passes them.
fn seconds(object: Ptr) -> error::Result<f64> {
    // SAFETY: a live argument.
    let seconds = unsafe { ffi::PyFloat_AsDouble(object) };
    // SAFETY: the GIL is held.
    if seconds == -1.0 && !unsafe { ffi::PyErr_Occurred() }.is_null() {
        return Err(Raised);
    }
    if seconds.is_nan() {
        return Err(error::value_error(c"Invalid value NaN (not a number)"));
    }
    Ok(seconds)
}

/// Waits `seconds`; lets the others run once for what is not positive. In the hub that is nothing. May switch: yes.
pub fn sleep_for(seconds: f64) -> error::Result<()> {
    let thread = Thread::get().ok_or(Raised)?;
    if seconds <= 0.0 {
        if hub::in_hub_greenlet(thread) {
            return Ok(());
        }
        return hub::yield_now().map(drop);
    }
    // SAFETY: the GIL is held by every caller.
    let py = unsafe { Python::assume_attached() };
    let deadline = hub::deadline_in(py, seconds).map_err(|error| Raised::from_err(py, error))?;
    hub::sleep_until(deadline).map(drop)
}

unsafe extern "C" fn sleep(_: Ptr, args: *const Ptr, count: ffi::Py_ssize_t, kwnames: Ptr) -> Ptr {
    let named = tuple_len(kwnames) as ffi::Py_ssize_t;
    let wanted = if named == 0 {
        0.0
    } else {
        // SAFETY: a tuple of at least one string.
        let name = unsafe { ffi::PyTuple_GET_ITEM(kwnames, 0) };
        // SAFETY: a live string.
        let right =
            unsafe { ffi::PyUnicode_CompareWithASCIIString(name, c"seconds".as_ptr()) } == 0;
        if !right {
            error::type_error(c"sleep() got an unexpected keyword argument");
            return ptr::null_mut();
        }
        0.0
    };
    if count + named > 1 {
        error::type_error(c"sleep() takes from 0 to 1 positional arguments");
        return ptr::null_mut();
    }
    let wanted = if count + named == 0 {
        Ok(wanted)
    } else {
        // SAFETY: one argument, positional or by name.
        seconds(unsafe { *args })
    };
    give(wanted.and_then(sleep_for).map(|()| Object::none()))
}

unsafe extern "C" fn spawn(_: Ptr, args: *const Ptr, count: ffi::Py_ssize_t, kwnames: Ptr) -> Ptr {
    if count < 1 {
        // SAFETY: the arguments of this vectorcall.
        return unsafe { named::call(spawn, "spawn", &["func"], args, count, kwnames) };
    }
    let spawn = || {
        // SAFETY: at least one argument.
        let function = unsafe { *args };
        // SAFETY: the arguments of this vectorcall; the first is the function.
        let call = unsafe { Call::from_vector(function, args, count as usize, 1, kwnames) };
        let thread = Thread::get().ok_or(Raised)?;
        let object = prepare(thread, call)?;
        hub::start_soon(thread, object.clone())?;
        Ok(object)
    };
    give(spawn())
}

/// Body of what `spawn_n` makes: calls `run` with what was given to `spawn_n`.
fn plain_body(_py: Python<'_>, me: Gr, transfer: Transfer) -> error::Result<Object> {
    let run = me.get().run.take().expect("set by `spawn_n`");
    transfer.call(&run)
}

unsafe extern "C" fn spawn_n(
    _: Ptr,
    args: *const Ptr,
    count: ffi::Py_ssize_t,
    kwnames: Ptr,
) -> Ptr {
    if count < 1 {
        // SAFETY: the arguments of this vectorcall.
        return unsafe { named::call(spawn_n, "spawn_n", &["func"], args, count, kwnames) };
    }
    let spawn = || {
        // SAFETY: at least one argument.
        let function = unsafe { *args };
        // SAFETY: as above.
        let rest = unsafe { args.add(1) };
        let transfer = greenlet::attributes::transfer(rest, count as usize - 1, kwnames)?;
        let thread = Thread::get().ok_or(Raised)?;
        let parent = hub::hub_greenlet(thread)?;
        let object = greenlet::with_body(greenlet::type_ptr(), plain_body, parent)?;
        context::inherit(thread, &object)?;
        let greenlet = Gr::from_object(&object).get();
        // SAFETY: a live argument.
        greenlet
            .run
            .replace(unsafe { Object::from_borrowed(function) });
        greenlet.transfer.set(transfer);
        hub::start_soon(thread, object.clone())?;
        Ok(object)
    };
    give(spawn())
}

/// What `spawn_after` and `spawn_after_local` take before the function's arguments.
const AFTER: &[&str] = &["seconds", "func"];

fn after(
    args: *const Ptr,
    count: ffi::Py_ssize_t,
    kwnames: Ptr,
    local: bool,
) -> error::Result<Object> {
    // SAFETY: at least two arguments.
    let delay = seconds(unsafe { *args })?;
    // SAFETY: as above.
    let function = unsafe { args.add(1) };
    // SAFETY: as above.
    let function = unsafe { *function };
    // SAFETY: the arguments of this vectorcall; the first two are not for the function.
    let call = unsafe { Call::from_vector(function, args, count as usize, 2, kwnames) };
    let thread = Thread::get().ok_or(Raised)?;
    let object = prepare(thread, call)?;
    let life = life_of(Gr::from_object(&object));
    if local {
        life.local_to.replace(Some(thread.current.get().object()));
    }
    if delay <= 0.0 {
        hub::start_soon(thread, object.clone())?;
        return Ok(object);
    }
    // SAFETY: the GIL is held.
    let py = unsafe { Python::assume_attached() };
    let timer = hub::deadline_in(py, delay)
        .and_then(|deadline| hub::start_at(py, deadline, object.clone()));
    life.timer
        .set(Some(timer.map_err(|error| Raised::from_err(py, error))?));
    Ok(object)
}

unsafe extern "C" fn spawn_after(
    _: Ptr,
    args: *const Ptr,
    count: ffi::Py_ssize_t,
    kwnames: Ptr,
) -> Ptr {
    if count < 2 {
        // SAFETY: the arguments of this vectorcall.
        return unsafe { named::call(spawn_after, "spawn_after", AFTER, args, count, kwnames) };
    }
    give(after(args, count, kwnames, false))
}

unsafe extern "C" fn spawn_after_local(
    _: Ptr,
    args: *const Ptr,
    count: ffi::Py_ssize_t,
    kwnames: Ptr,
) -> Ptr {
    if count < 2 {
        // SAFETY: the arguments of this vectorcall.
        return unsafe {
            named::call(
                spawn_after_local,
                "spawn_after_local",
                AFTER,
                args,
                count,
                kwnames,
            )
        };
    }
    give(after(args, count, kwnames, true))
}

/// The exception of `kill(g, *throw_args)`.
fn exception(py: Python<'_>, args: &Bound<'_, PyTuple>) -> PyResult<Pending> {
    if args.len() > 3 {
        return Err(PyTypeError::new_err(format!(
            "throw() takes at most 3 arguments ({} given)",
            args.len()
        )));
    }
    // Not by an error for what is missing: PyO3 would keep it until one of its own functions is called.
    let argument = |index: usize| args.iter().nth(index).map(Object::from);
    greenlet::attributes::exception(argument(0), argument(1), argument(2))
        .map_err(|raised| raised.into_err(py))
}

/// Raises in `g` at once what `args` say; nothing if it is dead. May switch: yes.
pub fn kill_greenlet(py: Python<'_>, g: Gr, args: &Bound<'_, PyTuple>) -> PyResult<()> {
    if g.get().is_dead() {
        return Ok(());
    }
    let exception = exception(py, args)?;
    if hub::call_in_owner(g, deliver_kill, || post(py, g, args))? {
        return Ok(());
    }
    if is_green_thread(g.as_object_ptr())
        && let Some(timer) = life_of(g).timer.take()
    {
        drop(hub::cancel(py, timer).map(|own| own.into_bound(py)));
    }
    let _kept = g.object();
    hub::kill(g, exception).map_err(|raised| raised.into_err(py))
}

/// `kill_greenlet` if it has not started.
pub fn cancel_greenlet(py: Python<'_>, g: Gr, args: &Bound<'_, PyTuple>) -> PyResult<()> {
    let letter = || exception(py, args).and_then(|_| post(py, g, args));
    if hub::call_in_owner(g, deliver_cancel, letter)? {
        return Ok(());
    }
    if g.get().phase.get() == Phase::New {
        kill_greenlet(py, g, args)
    } else {
        Ok(())
    }
}

/// What `deliver_kill` and `deliver_cancel` are sent.
fn post(py: Python<'_>, g: Gr, args: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let parts = PyTuple::new(py, [g.object().bind(py), args.clone().into_any()])?;
    Ok(parts.into_any().unbind())
}

fn unpacked<'py>(
    py: Python<'py>,
    letter: Py<PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
    let parts = letter.into_bound(py).cast_into::<PyTuple>()?;
    Ok((parts.get_item(0)?, parts.get_item(1)?.cast_into()?))
}

/// A kill by another OS thread arrives in the hub of the greenlet's own.
fn deliver_kill(py: Python<'_>, letter: Py<PyAny>) -> PyResult<()> {
    let (g, args) = unpacked(py, letter)?;
    kill_greenlet(py, checked(&g)?, &args)
}

/// As `deliver_kill`.
fn deliver_cancel(py: Python<'_>, letter: Py<PyAny>) -> PyResult<()> {
    let (g, args) = unpacked(py, letter)?;
    cancel_greenlet(py, checked(&g)?, &args)
}

fn checked(g: &Bound<'_, PyAny>) -> PyResult<Gr> {
    Gr::check(g.as_ptr()).ok_or_else(|| {
        let kind = g
            .get_type()
            .name()
            .map_or_else(|_| "?".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!("a greenlet is required, not {kind}"))
    })
}

/// kill(g, *throw_args)
///
/// Raise GreenletExit (or throw_args, as raise takes them) in greenlet g, at once; the caller goes on in the hub's
/// next turn. A green thread that has not started never will; nothing happens to a dead one. Killing oneself raises
/// in place. If g belongs to another OS thread, that thread's hub is told to do it in its next turn, and this returns
/// at once. May switch: yes. Raises TypeError for what is no greenlet or cannot be raised.
///
/// >>> import eventlet
/// >>> g = eventlet.spawn(eventlet.sleep, 60)
/// >>> eventlet.kill(g)
/// >>> g.dead
/// True
#[pyfunction]
#[pyo3(signature = (g, *throw_args))]
fn kill(g: &Bound<'_, PyAny>, throw_args: &Bound<'_, PyTuple>) -> PyResult<()> {
    kill_greenlet(g.py(), checked(g)?, throw_args)
}

/// cancel(g, *throw_args)
///
/// Kill greenlet g if it has not started yet. May switch: yes.
///
/// >>> import eventlet
/// >>> from eventlet import greenthread
/// >>> g = eventlet.spawn_after(60, print)
/// >>> greenthread.cancel(g)
/// >>> g.dead
/// True
#[pyfunction]
#[pyo3(signature = (g, *throw_args))]
fn cancel(g: &Bound<'_, PyAny>, throw_args: &Bound<'_, PyTuple>) -> PyResult<()> {
    cancel_greenlet(g.py(), checked(g)?, throw_args)
}

/// _waits_for(g) -> str or None
///
/// What greenlet g is parked for ("sleep", "read on descriptor 5", ...); None while it is not. May switch: no.
/// Raises TypeError for what is no greenlet.
///
/// >>> import eventlet
/// >>> from greenlet import _core
/// >>> g = eventlet.spawn(eventlet.sleep, 60)
/// >>> eventlet.sleep()
/// >>> _core._waits_for(g)
/// 'sleep'
/// >>> g.kill()
#[pyfunction]
fn _waits_for(g: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    Ok(hub::reason_text(checked(g)?))
}

const SLEEP_DOC: &std::ffi::CStr = c"sleep(seconds=0)
--

Let the other green threads run, and continue after *seconds* (float); 0: when each that is ready has run once.

May switch: yes. Raises RuntimeError in the hub for a positive time, TypeError for what is no number.

>>> import eventlet
>>> eventlet.sleep(0.001)";

const SPAWN_DOC: &std::ffi::CStr = c"spawn(func, *args, **kwargs)
--

Call func(*args, **kwargs) in a new green thread, in the hub's next turn.

Returns the GreenThread, whose wait() gives the result. May switch: no.

>>> import eventlet
>>> eventlet.spawn(pow, 2, 10).wait()
1024";

const SPAWN_N_DOC: &std::ffi::CStr = c"spawn_n(func, *args, **kwargs)
--

As spawn(), for results that nobody asks for. An exception is printed by the hub.

Returns a greenlet. May switch: no.

>>> import eventlet
>>> cups = []
>>> g = eventlet.spawn_n(cups.append, 'tea')
>>> eventlet.sleep()
>>> cups
['tea']";

const SPAWN_AFTER_DOC: &std::ffi::CStr = c"spawn_after(seconds, func, *args, **kwargs)
--

As spawn(), *seconds* (float) from now. cancel() of the green thread takes it back until then.

Returns the GreenThread. May switch: no. Raises TypeError if seconds is no number.

>>> import eventlet
>>> eventlet.spawn_after(0.001, len, 'tea').wait()
3";

const SPAWN_AFTER_LOCAL_DOC: &std::ffi::CStr = c"spawn_after_local(seconds, func, *args, **kwargs)
--

As spawn_after(), unless the greenlet that calls this has ended by then.

Returns the GreenThread. May switch: no.

>>> import eventlet
>>> eventlet.greenthread.spawn_after_local(0.001, len, 'tea').wait()
3";

/// Adds the type and the functions.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    super::ready(py)?;
    hub::forgets_by(super::life::forget_lost);
    context::register(module)?;
    module.add("GreenThread", super::class(py))?;
    let fast = |name: &'static std::ffi::CStr,
                meth: ffi::PyCFunctionFastWithKeywords,
                doc: &'static std::ffi::CStr| {
        ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer {
                PyCFunctionFastWithKeywords: meth,
            },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: doc.as_ptr(),
        }
    };
    // Functions refer to their definitions for as long as they live.
    let table = Box::leak(Box::new([
        fast(c"sleep", sleep, SLEEP_DOC),
        fast(c"spawn", spawn, SPAWN_DOC),
        fast(c"spawn_n", spawn_n, SPAWN_N_DOC),
        fast(c"spawn_after", spawn_after, SPAWN_AFTER_DOC),
        fast(
            c"spawn_after_local",
            spawn_after_local,
            SPAWN_AFTER_LOCAL_DOC,
        ),
        ffi::PyMethodDef::zeroed(),
    ]));
    // SAFETY: a module and a table that ends in zeros and is never freed.
    if unsafe { ffi::PyModule_AddFunctions(module.as_ptr(), table.as_mut_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    module.add_function(wrap_pyfunction!(kill, module)?)?;
    module.add_function(wrap_pyfunction!(cancel, module)?)?;
    module.add_function(wrap_pyfunction!(_waits_for, module)?)?;
    module.add_function(wrap_pyfunction!(after_fork, module)?)?;
    module.add_function(wrap_pyfunction!(green_threads_survive_fork, module)?)?;
    match std::env::var("EVENTLET_FORK").as_deref() {
        Err(_) | Ok("drop") => {}
        Ok("keep") => hub::set_survive_fork(py, true),
        Ok(other) => {
            let text = format!("EVENTLET_FORK is 'keep' or 'drop', not {other:?}");
            return Err(PyValueError::new_err(text));
        }
    }
    let hooks = PyDict::new(py);
    hooks.set_item("after_in_child", module.getattr("_after_fork")?)?;
    py.import("os")?
        .call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}

/// _after_fork()
///
/// Leave the parent's green threads behind and make what is shared with it anew: called by os.fork in the child.
/// May switch: no.
#[pyfunction(name = "_after_fork")]
fn after_fork(py: Python<'_>) -> PyResult<()> {
    fn concerns(py: Python<'_>, argument: &Py<PyAny>, g: Gr) -> bool {
        let argument = argument.bind(py);
        timeout::raises_in(argument, g) || timer::calls(argument, g)
    }
    hub::after_fork(py, concerns)?;
    match hub::existing_object() {
        Some(object) if !hub::survive_fork(py) => {
            let forget = object.into_bound(py).getattr_opt("_after_fork")?;
            forget.map_or(Ok(()), |forget| forget.call0().map(drop))
        }
        _ => Ok(()),
    }
}

/// green_threads_survive_fork(state=None) -> bool
///
/// Whether green threads go on in the child of a fork as well, which upstream's do: False unless set, by *state* or by
/// EVENTLET_FORK=keep in the environment. Returns what held before the call. May switch: no.
///
/// >>> import eventlet.hubs
/// >>> eventlet.hubs.green_threads_survive_fork()
/// False
#[pyfunction]
#[pyo3(signature = (state=None))]
fn green_threads_survive_fork(py: Python<'_>, state: Option<bool>) -> bool {
    let before = hub::survive_fork(py);
    if let Some(state) = state {
        hub::set_survive_fork(py, state);
    }
    before
}
