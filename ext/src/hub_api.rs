//! The hub as Python sees it: `get_hub()`, its methods, and `trampoline`.
//!
//! The object is a view of one thread's hub: `serial` names which. Timers may be scheduled through it from any OS
//! thread; they are then armed by the hub's own thread. The classes of `eventlet.hubs` derive from `Hub` and keep
//! listeners with Python callbacks; which of them a thread uses is asked of the chooser that `eventlet.hubs` sets.

mod outer;
mod trampoline;

use eventlet::hub::WatchKey;
use eventlet::reactor::{Backend, Interest};
use pyo3::exceptions::{PyAssertionError, PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};

use crate::hub::{self, Step, Wake};
use crate::timer::{LocalTimer, Timer};

pyo3::create_exception!(
    eventlet.hubs,
    HubError,
    PyException,
    "A hub that is not to be had."
);

/// What answers the class of the calling thread's hub, and the class that hubs which run are derived from.
static CHOOSER: PyOnceLock<(Py<PyAny>, Py<PyType>)> = PyOnceLock::new();

/// The class of the calling thread's hub, as `eventlet.hubs` chooses it.
fn chosen(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    CHOOSER
        .get(py)
        .map(|(chooser, _)| chooser.bind(py).call0())
        .transpose()
}

/// The calling thread's hub was made. A class that overrides a part of it needs its object from the start.
fn begun(py: Python<'_>) -> PyResult<()> {
    let (Some(class), Some((_, base))) = (chosen(py)?, CHOOSER.get(py)) else {
        return Ok(());
    };
    let overrides = outer::overrides(&class, base.bind(py))?;
    if overrides != 0 {
        hub::set_overrides(py, overrides)?;
        get_hub(py)?;
    }
    Ok(())
}

/// How a new hub of the calling thread asks the kernel.
fn backend(py: Python<'_>) -> PyResult<Backend> {
    let Some(class) = chosen(py)? else {
        return Ok(Backend::default());
    };
    let Some(name) = class.getattr_opt("BACKEND")? else {
        return Ok(Backend::default());
    };
    match name.extract::<&str>()? {
        "epoll" => Ok(Backend::Epoll),
        "poll" => Ok(Backend::Poll),
        other => Err(HubError::new_err(format!("no hub waits by {other:?}"))),
    }
}

/// Set the function that answers the class of the calling thread's hub, and the class that hubs are compared with
/// to tell what they override. For `eventlet.hubs`.
#[pyfunction]
pub fn set_hub_chooser(py: Python<'_>, chooser: Py<PyAny>, base: Py<PyType>) {
    // The first one stays: a second import of `eventlet.hubs` chooses the same way.
    drop(
        CHOOSER
            .set(py, (chooser, base))
            .map_err(|(chooser, base)| (chooser.into_bound(py), base.into_bound(py))),
    );
}

/// The hub of the calling OS thread, made when it is first asked for. *May switch: no.*
///
/// >>> import eventlet.hubs
/// >>> eventlet.hubs.get_hub() is eventlet.hubs.get_hub()
/// True
#[pyfunction]
pub fn get_hub(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    if let Some(object) = hub::object(py)? {
        return Ok(object.into_bound(py));
    }
    let class = match chosen(py)? {
        Some(class) => class,
        None => py.get_type::<Hub>().into_any(),
    };
    let object = class.call0()?;
    if let Some(other) = hub::object(py)? {
        return Ok(other.into_bound(py)); // making it has asked for it
    }
    hub::set_object(py, object.clone().into())?;
    if let Some(initialize) = object.getattr_opt(pyo3::intern!(py, "_post_initialize"))? {
        initialize.call0()?;
    }
    Ok(object)
}

/// The hub of the calling OS thread; None if it has none yet. *May switch: no.*
#[pyfunction]
pub fn existing_hub(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    Ok(hub::existing_object().map(|object| object.into_bound(py)))
}

/// Drop the hub of the calling OS thread, with every timer and waiter. For `use_hub`. *May switch: no.*
#[pyfunction]
pub fn drop_hub(py: Python<'_>) -> PyResult<()> {
    hub::discard(py)
}

/// Whether a second green thread that waits for the same descriptor and direction is refused.
#[pyfunction]
#[pyo3(signature = (state=None))]
pub fn prevent_multiple_readers(py: Python<'_>, state: Option<bool>) -> bool {
    if let Some(state) = state {
        hub::prevent_multiple_readers(py, state);
    }
    hub::prevents_multiple_readers(py)
}

/// Listeners with Python callbacks: the engine's registration of one.
#[pyclass(frozen, module = "greenlet._core")]
pub struct Watch {
    key: WatchKey,
}

/// Runs in the hub when a watched descriptor is ready. The argument is a pair of function and argument.
fn ready(py: Python<'_>, call: Py<PyAny>) -> PyResult<()> {
    let (callback, argument): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
        call.into_bound(py).extract()?;
    callback.call1((argument,)).map(drop)
}

/// Runs in the hub of the thread that a timer was scheduled for from another one.
fn arm(py: Python<'_>, timer: Py<PyAny>) -> PyResult<()> {
    let timer = timer.into_bound(py).cast_into::<Timer>()?;
    if timer.get().is_pending(py) {
        Timer::set_in(&timer, None)?;
    }
    Ok(())
}

/// One OS thread's hub. Its subclasses in `eventlet.hubs` are what programs use.
#[pyclass(subclass, frozen, weakref, dict, module = "greenlet._core")]
pub struct Hub {
    serial: u64,
    /// Whether the class overrides `add_timer`.
    adds: bool,
}

impl Hub {
    fn schedule<'py>(
        slf: &Bound<'py, Self>,
        timer: Bound<'py, Timer>,
    ) -> PyResult<Bound<'py, Timer>> {
        let serial = slf.get().serial;
        if slf.get().adds {
            slf.call_method1(pyo3::intern!(slf.py(), "add_timer"), (&timer,))?;
            return Ok(timer);
        }
        if Timer::set_in(&timer, Some(serial))?.is_none() {
            let argument = timer.clone().into_any().unbind();
            hub::forward(serial, Wake::Call(arm, argument));
        }
        Ok(timer)
    }

    /// Whether this is the calling thread's hub.
    fn is_own(&self, py: Python<'_>) -> bool {
        hub::with_hub_of(py, self.serial, |_| ()).is_some()
    }

    fn own(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_own(py) {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "this hub belongs to another thread, or was replaced by use_hub()",
        ))
    }
}

#[pymethods]
impl Hub {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        class: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Hub> {
        let py = class.py();
        Ok(Hub {
            serial: hub::serial(py)?,
            adds: outer::differs(class, &py.get_type::<Hub>(), "add_timer")?,
        })
    }

    fn __init__(&self) {}

    /// Suspend the current greenlet until somebody switches to it; what is switched in is returned.
    ///
    /// Raises AssertionError in the hub itself. *May switch: yes.*
    fn switch<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        slf.get().own(py)?;
        if hub::is_in_hub(py) {
            return Err(PyAssertionError::new_err(
                "Cannot switch to MAINLOOP from MAINLOOP",
            ));
        }
        let current = hub::current_greenlet(py)?.into_bound(py);
        if let Some(switch_out) = current.getattr_opt(pyo3::intern!(py, "switch_out"))?
            && let Err(error) = switch_out.call0()
        {
            hub::squelch(py, crate::error::Pending::from_err(py, error));
        }
        drop(current);
        hub::switch_away()
            .map(|value| value.into_bound(py))
            .map_err(|raised| raised.into_err(py))
    }

    /// Call `cb(*args, **kw)` in the hub after *seconds*; returns the `Timer`. *May switch: no.*
    ///
    /// >>> import eventlet
    /// >>> timer = eventlet.hubs.get_hub().schedule_call_global(60, print, "tea")
    /// >>> timer.cancel()
    #[pyo3(signature = (seconds, cb, *args, **kw))]
    fn schedule_call_global<'py>(
        slf: &Bound<'py, Self>,
        seconds: &Bound<'py, PyAny>,
        cb: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kw: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Timer>> {
        Hub::schedule(slf, Timer::for_call(slf.py(), seconds, cb, args, kw)?)
    }

    /// Like `schedule_call_global`, but nothing is called if the current greenlet has ended by then.
    #[pyo3(signature = (seconds, cb, *args, **kw))]
    fn schedule_call_local<'py>(
        slf: &Bound<'py, Self>,
        seconds: &Bound<'py, PyAny>,
        cb: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kw: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Timer>> {
        Hub::schedule(slf, LocalTimer::for_call(slf.py(), seconds, cb, args, kw)?)
    }

    /// Schedule a timer made by hand; returns the hub's clock at which it is due. *May switch: no.*
    fn add_timer(&self, timer: &Bound<'_, Timer>) -> PyResult<f64> {
        let py = timer.py();
        self.own(py)?;
        let deadline = Timer::set_in(timer, None)?.expect("any hub will do");
        Ok(hub::seconds_of(deadline))
    }

    /// Number of timers that are pending.
    fn get_timers_count(&self, py: Python<'_>) -> PyResult<usize> {
        self.own(py)?;
        hub::with_hub(py, |engine| engine.timers_len())
    }

    /// The pending timers made from Python, as pairs of due time and `Timer`.
    #[getter]
    fn timers<'py>(&self, py: Python<'py>) -> PyResult<Vec<(f64, Bound<'py, PyAny>)>> {
        self.own(py)?;
        hub::timer_arguments(py).map(|all| {
            let timers = all
                .into_iter()
                .filter(|(_, argument)| argument.is_instance_of::<Timer>());
            timers
                .map(|(due, argument)| (hub::seconds_of(due), argument))
                .collect()
        })
    }

    /// Empty: a new timer is among `timers` at once.
    #[getter]
    fn next_timers<'py>(&self, py: Python<'py>) -> Bound<'py, PyList> {
        PyList::empty(py)
    }

    /// 0: a cancelled timer is out of the hub at once.
    #[getter]
    fn timers_canceled(&self) -> usize {
        0
    }

    /// The clock that timers go by: `time.monotonic` itself, which programs compare it with.
    #[classattr]
    fn clock(py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.import("time")?.getattr("monotonic")?.unbind())
    }

    /// The hub's greenlet: the parent of green threads.
    #[getter]
    fn greenlet<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.own(py)?;
        hub::greenlet_of_thread(py).map(|greenlet| greenlet.into_bound(py))
    }

    /// Make a new greenlet for the hub if its own has ended.
    fn ensure_greenlet(&self, py: Python<'_>) -> PyResult<()> {
        self.greenlet(py).map(drop)
    }

    /// Whether the hub's loop runs.
    #[getter]
    fn running(&self, py: Python<'_>) -> PyResult<bool> {
        self.check_thread(py)?;
        Ok(self.is_own(py) && hub::is_running(py)?)
    }

    /// Whether the hub's loop was told to end; as is that of a hub which was replaced.
    #[getter]
    fn stopping(&self, py: Python<'_>) -> PyResult<bool> {
        self.check_thread(py)?;
        Ok(!self.is_own(py) || hub::is_stopping(py)?)
    }

    /// Run the hub until `abort`; what the hub's greenlet calls if the class overrides any of `run`, `wait`,
    /// `fire_timers`, `prepare_timers` and `sleep_until`.
    ///
    /// Those that are not overridden are steps of the native loop. Raises RuntimeError elsewhere. *May switch: yes.*
    #[pyo3(signature = (*_args, **_kwargs))]
    fn run(
        slf: &Bound<'_, Self>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        slf.get().own(slf.py())?;
        outer::run(slf)
    }

    /// A step of `run`: let everything run that is ready, or due at *when* of the hub's `clock`.
    ///
    /// Raises RuntimeError outside of `run`. *May switch: yes.*
    fn fire_timers(&self, py: Python<'_>, when: f64) -> PyResult<()> {
        self.own(py)?;
        outer::step(py, Step::Fire(outer::instant(when)?)).map(drop)
    }

    /// A step of `run`: take over new timers. There is nothing to do: they are among the others at once.
    fn prepare_timers(&self) {}

    /// When the next timer is due, by the hub's `clock`; now if something is ready; None if nothing is to come.
    fn sleep_until(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        self.own(py)?;
        Ok(hub::next_due(py)?.map(hub::seconds_of))
    }

    /// A step of `run`: wait for *seconds* at most (None: until something happens), and let run what has become
    /// ready.
    ///
    /// Raises RuntimeError outside of `run`. *May switch: yes.*
    #[pyo3(signature = (seconds=None))]
    fn wait(slf: &Bound<'_, Self>, seconds: Option<f64>) -> PyResult<()> {
        let py = slf.py();
        slf.get().own(py)?;
        if let Some(prepare) = slf.getattr_opt(pyo3::intern!(py, "_before_native_wait"))? {
            prepare.call0()?;
        }
        outer::step(py, Step::Wait(outer::limit(seconds)?)).map(drop)
    }

    /// A turn for green threads, for a `run` of another kind: let those that are ready run.
    ///
    /// Returns after how many seconds the next turn is wanted, unless `fileno()` becomes readable before; 0.0 if at
    /// once, when it is; None if only then. A turn ends when nothing is ready, or after a fraction of a millisecond.
    /// Raises RuntimeError outside of `run`. *May switch: yes.*
    fn turn(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        self.own(py)?;
        outer::step(py, Step::Turn)
    }

    /// The descriptor that is readable when the hub has something to do and is not in a turn.
    ///
    /// Raises `HubError` for a hub that waits by poll, which has none.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        self.own(py)?;
        hub::descriptor(py)?
            .ok_or_else(|| HubError::new_err("a hub that waits by poll has no descriptor"))
    }

    /// End the hub's loop after what it does now, and forget its timers.
    ///
    /// *wait* true runs the hub until then; only from the main greenlet, since the others are forgotten. Raises
    /// AssertionError for it in the hub itself. *May switch: if wait is true.*
    #[pyo3(signature = (wait=false))]
    fn abort(slf: &Bound<'_, Self>, wait: bool) -> PyResult<()> {
        let py = slf.py();
        slf.get().own(py)?;
        if hub::is_running(py)? {
            hub::stop(py)?;
        }
        if !wait {
            return Ok(());
        }
        if hub::is_in_hub(py) {
            return Err(PyAssertionError::new_err(
                "Can't abort with wait from inside the hub's greenlet.",
            ));
        }
        hub::call_soon(py, |_, _| Ok(()), py.None())?;
        Hub::switch(slf).map(drop)
    }

    /// Whether exceptions of timers and green threads are printed.
    #[getter]
    fn debug_exceptions(&self, py: Python<'_>) -> bool {
        hub::exception_reports(py)
    }

    #[setter(debug_exceptions)]
    fn set_debug_exceptions(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        hub::set_exception_reports(py, value.is_truthy()?);
        Ok(())
    }

    /// Whether the blocking detector watches what runs.
    #[getter]
    fn debug_blocking(&self, py: Python<'_>) -> PyResult<bool> {
        self.own(py)?;
        hub::detects_blocking(py)
    }

    #[setter(debug_blocking)]
    fn set_debug_blocking(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.own(py)?;
        hub::set_blocking_detection(py, value.is_truthy()?)
    }

    /// Raise RuntimeError if this is the hub of another OS thread. One that was replaced is nobody's.
    fn check_thread(&self, py: Python<'_>) -> PyResult<()> {
        match self.own(py) {
            Err(error) if hub::exists(self.serial) => Err(error),
            _ => Ok(()),
        }
    }

    /// Call `callback(argument)` in the hub once *fileno* is ready to be read, or written if *write*. For
    /// `BaseHub.add`.
    fn watch<'py>(
        &self,
        py: Python<'py>,
        fileno: i32,
        write: bool,
        callback: Bound<'py, PyAny>,
        argument: Bound<'py, PyAny>,
    ) -> PyResult<Watch> {
        self.own(py)?;
        let interest = if write {
            Interest::Write
        } else {
            Interest::Read
        };
        let call = (callback, argument).into_pyobject(py)?.into_any().unbind();
        let key = hub::with_hub(py, |engine| {
            engine.watch(fileno, interest, Wake::Call(ready, call))
        })?;
        let key = key.map_err(|failure| crate::error::system_error(&failure))?;
        Ok(Watch { key })
    }

    /// Take back what `watch` returned. Nothing happens if the hub was replaced.
    fn unwatch(&self, py: Python<'_>, watch: &Bound<'_, Watch>) -> PyResult<()> {
        self.check_thread(py)?;
        if self.own(py).is_ok() {
            let call = hub::with_hub(py, |engine| engine.unwatch(watch.get().key))?;
            drop(call);
        }
        Ok(())
    }

    /// The green threads that wait for descriptors: triples of greenlet, descriptor, and whether to write.
    fn parked_on_descriptors<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Vec<(Bound<'py, PyAny>, i32, bool)>> {
        self.own(py)?;
        hub::parked_on_descriptors(py)
    }
}

/// Take note that the descriptor *fd* was closed: who waits for it gets `IOClosed`. *May switch: no.*
#[pyfunction]
pub fn notify_close(py: Python<'_>, fd: i32) {
    hub::notify_close(py, fd);
}

/// Take note that *fd* is a new descriptor: who waits for an old one of that number gets `IOClosed`.
/// *May switch: no.*
#[pyfunction]
pub fn notify_opened(py: Python<'_>, fd: i32) -> PyResult<()> {
    match existing_hub(py)? {
        Some(hub) if hub.is_instance_of::<Hub>() => hub
            .call_method1(pyo3::intern!(py, "mark_as_reopened"), (fd,))
            .map(drop),
        _ => {
            hub::notify_opened(py, fd);
            Ok(())
        }
    }
}

/// For `BaseHub.mark_as_reopened`: the native part.
#[pyfunction]
pub fn forget_reopened(py: Python<'_>, fd: i32) {
    hub::notify_opened(py, fd);
}

/// Have the turn of green threads that is under way end soon: the loop around them has got something to do.
/// *May switch: no.*
///
/// For a hub whose class runs itself; nothing happens elsewhere.
#[pyfunction]
pub fn end_turn(py: Python<'_>) {
    hub::end_turn(py);
}

/// End the process if it is a forked child with nothing left to do: its main greenlet was left behind, and no green
/// thread, timer or listener is there. *May switch: no.*
///
/// For a hub whose class runs itself, when its own loop has nothing to do.
#[pyfunction]
pub fn end_idle_child(py: Python<'_>) {
    hub::end_idle_child(py);
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    hub::choose_class_by(hub::Chooser { backend, begun });
    module.add_class::<Hub>()?;
    module.add("HubError", py.get_type::<HubError>())?;
    module.add("IOClosed", hub::io_closed_class(py)?)?;
    module.add_function(wrap_pyfunction!(get_hub, module)?)?;
    module.add_function(wrap_pyfunction!(existing_hub, module)?)?;
    module.add_function(wrap_pyfunction!(drop_hub, module)?)?;
    module.add_function(wrap_pyfunction!(set_hub_chooser, module)?)?;
    module.add_function(wrap_pyfunction!(prevent_multiple_readers, module)?)?;
    module.add_function(wrap_pyfunction!(trampoline::trampoline, module)?)?;
    module.add_function(wrap_pyfunction!(notify_close, module)?)?;
    module.add_function(wrap_pyfunction!(notify_opened, module)?)?;
    module.add_function(wrap_pyfunction!(end_turn, module)?)?;
    module.add_function(wrap_pyfunction!(end_idle_child, module)?)?;
    module.add_function(wrap_pyfunction!(forget_reopened, module)?)
}
