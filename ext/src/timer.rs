//! `Timer` and `LocalTimer`: a call that the hub makes later, as Python holds it.
//!
//! A scheduled timer is one timer of the engine whose argument is the `Timer`. A timer is called at most once;
//! `called` becomes true at its call or at `cancel`, and what it would call is let go of then.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::gil_cell::GilCell;
use crate::hub::{self, Instant, TimerHandle};
use crate::object::Object;

/// Whether new timers record where they were made (`debug.hub_timer_stacks`).
static STACKS: AtomicBool = AtomicBool::new(false);

/// How something that the hub is to call is scheduled, and whether a call that arrives is still wanted.
///
/// What is due at once goes into the hub's queue of wake-ups, in order with them, and cannot be taken out of it:
/// when it is withdrawn, the next call to arrive is the withdrawn one and is not wanted.
#[derive(Default)]
pub struct Schedule {
    handle: Option<TimerHandle>,
    soon: bool,
    withdrawn: u32,
}

impl Schedule {
    /// Has the hub call `f(argument)` in `seconds`: when that is, and how it is scheduled, for `set`.
    pub fn make(
        py: Python<'_>,
        seconds: f64,
        f: hub::Callback,
        argument: &Bound<'_, PyAny>,
    ) -> PyResult<(Instant, Option<TimerHandle>)> {
        let deadline = hub::deadline_in(py, seconds)?;
        let argument = argument.clone().unbind();
        if seconds > 0.0 {
            return Ok((deadline, Some(hub::call_at(py, deadline, f, argument)?)));
        }
        hub::call_soon(py, f, argument)?;
        Ok((deadline, None))
    }

    /// Takes note of what `make` did.
    pub fn set(&mut self, handle: Option<TimerHandle>) {
        self.soon = handle.is_none();
        self.handle = handle;
    }

    /// A call arrives: whether it is wanted.
    pub fn arrive(&mut self) -> bool {
        if self.withdrawn > 0 {
            self.withdrawn -= 1;
            return false;
        }
        self.soon = false;
        self.handle = None;
        true
    }

    /// It is not wanted any more; the timer to be cancelled.
    pub fn withdraw(&mut self) -> Option<TimerHandle> {
        if std::mem::take(&mut self.soon) {
            self.withdrawn += 1;
        }
        self.handle.take()
    }
}

struct Call {
    callback: Py<PyAny>,
    args: Py<PyTuple>,
    kwargs: Option<Py<PyDict>>,
}

struct State {
    seconds: Option<Py<PyAny>>,
    call: Option<Call>,
    called: bool,
    schedule: Schedule,
    deadline: Option<Instant>,
    /// Of a local timer: whose life it depends on. `Some(None)` once cancelled.
    owner: Option<Option<Object>>,
}

/// A call to be made *seconds* after it is scheduled: `callback(*args, **kwargs)`.
///
/// `hub.schedule_call_global` makes and schedules one; `schedule` does it for one made by hand.
///
/// >>> from eventlet.hubs import timer
/// >>> timer.Timer(5, print, "tea is ready").pending
/// True
#[pyclass(subclass, frozen, weakref, dict, module = "eventlet.hubs.timer")]
pub struct Timer {
    state: GilCell<State>,
}

/// Runs in the hub when a timer is due.
fn fire(py: Python<'_>, timer: Py<PyAny>) -> PyResult<()> {
    let timer = timer.into_bound(py);
    let native = timer.cast::<Timer>()?;
    if native
        .get()
        .state
        .with(py, |state| !state.schedule.arrive() || state.called)
    {
        return Ok(());
    }
    let class = timer.get_type();
    if class.is(py.get_type::<Timer>()) || class.is(py.get_type::<LocalTimer>()) {
        return native.get().run(py);
    }
    timer.call0().map(drop)
}

impl Timer {
    fn unset() -> Timer {
        let state = State {
            seconds: None,
            call: None,
            called: false,
            schedule: Schedule::default(),
            deadline: None,
            owner: None,
        };
        Timer {
            state: GilCell::new(state),
        }
    }

    /// A timer for this call, not scheduled yet.
    pub fn for_call<'py>(
        py: Python<'py>,
        seconds: &Bound<'py, PyAny>,
        callback: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Timer>> {
        let timer = Bound::new(py, Timer::unset())?;
        Timer::fill(&timer, seconds, callback, args, kwargs)?;
        Ok(timer)
    }

    /// A timer that calls `callback(*args)` at `deadline`.
    pub fn scheduled<'py>(
        py: Python<'py>,
        seconds: Bound<'py, PyAny>,
        callback: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        deadline: Instant,
    ) -> PyResult<Bound<'py, Timer>> {
        let timer = Timer::for_call(py, &seconds, callback, args, None)?;
        let handle = hub::call_at(py, deadline, fire, timer.clone().into_any().unbind())?;
        timer.get().state.with(py, |state| {
            state.schedule.set(Some(handle));
            state.deadline = Some(deadline);
        });
        Ok(timer)
    }

    /// A timer that has been called.
    pub fn spent<'py>(py: Python<'py>, seconds: Bound<'py, PyAny>) -> PyResult<Bound<'py, Timer>> {
        let timer = Bound::new(py, Timer::unset())?;
        timer.get().state.with(py, |state| {
            state.called = true;
            state.seconds = Some(seconds.unbind());
        });
        Ok(timer)
    }

    fn fill<'py>(
        slf: &Bound<'py, Timer>,
        seconds: &Bound<'py, PyAny>,
        callback: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let call = Call {
            callback: callback.unbind(),
            args: args.unbind(),
            kwargs: kwargs.map(Bound::unbind),
        };
        let old = slf.get().state.with(py, |state| {
            state.called = false;
            (
                state.seconds.replace(seconds.clone().unbind()),
                state.call.replace(call),
            )
        });
        drop(old);
        if STACKS.load(Ordering::Relaxed) {
            let buffer = py.import("io")?.getattr("StringIO")?.call0()?;
            let options = PyDict::new(py);
            options.set_item("file", &buffer)?;
            py.import("traceback")?
                .getattr("print_stack")?
                .call((), Some(&options))?;
            slf.setattr("traceback", buffer)?;
        }
        Ok(())
    }

    /// Schedules it for its own number of seconds from now; the deadline.
    pub fn set_from_now(slf: &Bound<'_, Timer>) -> PyResult<Instant> {
        let py = slf.py();
        let seconds = slf.get().seconds(py);
        let (deadline, handle) =
            Schedule::make(py, seconds.bind(py).extract()?, fire, slf.as_any())?;
        slf.get().state.with(py, |state| {
            state.schedule.set(handle);
            state.deadline = Some(deadline);
        });
        Ok(deadline)
    }

    /// Whether it is going to be called.
    pub fn is_pending(&self, py: Python<'_>) -> bool {
        let (called, owner) = self.state.with(py, |state| {
            (
                state.called,
                state
                    .owner
                    .as_ref()
                    .map(|owner| owner.as_ref().map(|owner| owner.bind(py))),
            )
        });
        !called && !is_gone(&owner)
    }

    /// Calls it, once.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        let (call, owner, called) = self.state.with(py, |state| {
            let called = std::mem::replace(&mut state.called, true);
            let owner = state
                .owner
                .as_ref()
                .map(|owner| owner.as_ref().map(|owner| owner.bind(py)));
            (if called { None } else { state.call.take() }, owner, called)
        });
        if called {
            return Ok(());
        }
        let Some(Call {
            callback,
            args,
            kwargs,
        }) = call
        else {
            return Err(PyAttributeError::new_err(
                "'Timer' object has no attribute 'tpl'",
            ));
        };
        let (callback, args) = (callback.into_bound(py), args.into_bound(py));
        let kwargs = kwargs.map(|kwargs| kwargs.into_bound(py));
        if matches!(owner, Some(Some(_))) && is_gone(&owner) {
            return Ok(());
        }
        callback.call(args, kwargs.as_ref()).map(drop)
    }

    /// Keeps it from being called.
    pub fn stop(&self, py: Python<'_>) {
        let old = self.state.with(py, |state| {
            state.called = true;
            let owner = state.owner.as_mut().and_then(Option::take);
            (state.schedule.withdraw(), state.call.take(), owner)
        });
        let (handle, call, owner) = old;
        let own = handle.and_then(|handle| hub::cancel(py, handle));
        drop(owner);
        if let Some(Call {
            callback,
            args,
            kwargs,
        }) = call
        {
            drop((
                callback.into_bound(py),
                args.into_bound(py),
                kwargs.map(|kwargs| kwargs.into_bound(py)),
            ));
        }
        drop(own.map(|own| own.into_bound(py)));
    }
}

/// Whether the greenlet that a local timer depends on has ended, or the timer was cancelled.
fn is_gone(owner: &Option<Option<Bound<'_, PyAny>>>) -> bool {
    match owner {
        None => false,
        Some(None) => true,
        Some(Some(greenlet)) => greenlet
            .getattr("dead")
            .and_then(|dead| dead.is_truthy())
            .unwrap_or(false),
    }
}

#[pymethods]
impl Timer {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Timer {
        Timer::unset()
    }

    #[pyo3(signature = (seconds, cb, *args, **kw))]
    fn __init__<'py>(
        slf: &Bound<'py, Self>,
        seconds: &Bound<'py, PyAny>,
        cb: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kw: Option<Bound<'py, PyDict>>,
    ) -> PyResult<()> {
        Timer::fill(slf, seconds, cb, args, kw)
    }

    /// Whether it is going to be called.
    #[getter]
    fn pending(&self, py: Python<'_>) -> bool {
        self.is_pending(py)
    }

    /// Whether it was called or cancelled.
    #[getter]
    fn called(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.called)
    }

    #[setter(called)]
    fn set_called(&self, py: Python<'_>, called: bool) {
        self.state.with(py, |state| state.called = called);
    }

    /// After how many seconds it is called.
    #[getter]
    pub fn seconds(&self, py: Python<'_>) -> Py<PyAny> {
        self.state.with(py, |state| {
            state
                .seconds
                .as_ref()
                .map_or_else(|| py.None(), |seconds| seconds.clone_ref(py))
        })
    }

    #[setter(seconds)]
    fn set_seconds(&self, py: Python<'_>, seconds: Py<PyAny>) {
        let old = self.state.with(py, |state| state.seconds.replace(seconds));
        drop(old);
    }

    /// The hub's clock at which it is due. AttributeError if it was not scheduled.
    #[getter]
    fn scheduled_time(&self, py: Python<'_>) -> PyResult<f64> {
        self.state
            .with(py, |state| state.deadline)
            .map(hub::seconds_of)
            .ok_or_else(|| {
                PyAttributeError::new_err("'Timer' object has no attribute 'scheduled_time'")
            })
    }

    /// What is called: function, positional and keyword arguments. AttributeError once it was called.
    #[getter]
    fn tpl<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let parts = self.state.with(py, |state| {
            state.call.as_ref().map(
                |Call {
                     callback,
                     args,
                     kwargs,
                 }| {
                    let kwargs = kwargs.as_ref().map(|kwargs| kwargs.bind(py).clone());
                    (callback.bind(py).clone(), args.bind(py).clone(), kwargs)
                },
            )
        });
        let (callback, args, kwargs) = parts
            .ok_or_else(|| PyAttributeError::new_err("'Timer' object has no attribute 'tpl'"))?;
        let kwargs = kwargs.unwrap_or_else(|| PyDict::new(py));
        (callback, args, kwargs).into_pyobject(py)
    }

    /// A new timer for the same call, not scheduled.
    fn copy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (callback, args, kwargs): (Bound<'py, PyAny>, Bound<'py, PyTuple>, Bound<'py, PyDict>) =
            slf.get().tpl(py)?.extract()?;
        let seconds = slf.get().seconds(py);
        let mut all = vec![seconds.into_bound(py), callback];
        all.extend(args.iter());
        slf.get_type().call(PyTuple::new(py, all)?, Some(&kwargs))
    }

    /// Schedule it in the hub of the calling thread; returns itself.
    fn schedule<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        slf.get().state.with(slf.py(), |state| state.called = false);
        Timer::set_from_now(slf)?;
        Ok(slf.clone())
    }

    /// Keep it from being called; nothing happens if it was called or cancelled before. *May switch: no.*
    fn cancel(&self, py: Python<'_>) {
        if !self.called(py) {
            self.stop(py);
        }
    }

    #[pyo3(signature = (*_args))]
    fn __call__(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.run(py)
    }

    fn __lt__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> bool {
        (slf.as_ptr() as usize) < other.as_ptr() as usize
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, timer) = (slf.py(), slf.get());
        let none = || py.None().into_bound(py);
        let (callback, args, kwargs) = match timer.tpl(py) {
            Ok(tpl) => tpl.extract()?,
            Err(_) => (none(), none(), none()),
        };
        let seconds = timer.seconds(py);
        let mut text = format!(
            "Timer({}, {}, *{}, **{})",
            seconds.bind(py).str()?,
            callback.str()?,
            args.str()?,
            kwargs.str()?
        );
        if let Ok(stack) = slf.getattr("traceback") {
            text = format!("{text}\n{}", stack.call_method0("getvalue")?);
        }
        Ok(text)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.state.peek(|state| {
            visit.call(&state.seconds)?;
            if let Some(Some(owner)) = &state.owner {
                visit.call(owner.as_py())?;
            }
            state.call.iter().try_for_each(
                |Call {
                     callback,
                     args,
                     kwargs,
                 }| {
                    visit.call(callback)?;
                    visit.call(args)?;
                    visit.call(kwargs)
                },
            )
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let old = self.state.with(py, |state| {
            (state.seconds.take(), state.call.take(), state.owner.take())
        });
        drop(old);
    }
}

/// A timer that is not called if the greenlet that made it has ended by then.
#[pyclass(extends = Timer, subclass, frozen, module = "eventlet.hubs.timer")]
pub struct LocalTimer;

impl LocalTimer {
    /// A local timer of the current greenlet for this call, not scheduled yet.
    pub fn for_call<'py>(
        py: Python<'py>,
        seconds: &Bound<'py, PyAny>,
        callback: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Timer>> {
        let timer = Bound::new(
            py,
            PyClassInitializer::from(Timer::unset()).add_subclass(LocalTimer),
        )?;
        LocalTimer::__init__(&timer, seconds, callback, args, kwargs)?;
        Ok(timer.into_super())
    }
}

#[pymethods]
impl LocalTimer {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<LocalTimer> {
        PyClassInitializer::from(Timer::unset()).add_subclass(LocalTimer)
    }

    #[pyo3(signature = (seconds, cb, *args, **kw))]
    fn __init__<'py>(
        slf: &Bound<'py, Self>,
        seconds: &Bound<'py, PyAny>,
        cb: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kw: Option<Bound<'py, PyDict>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let owner = hub::current_greenlet(py)?;
        let old = slf
            .as_super()
            .get()
            .state
            .with(py, |state| state.owner.replace(Some(owner)));
        drop(old);
        Timer::fill(slf.as_super(), seconds, cb, args, kw)
    }

    /// The greenlet that made it; None once cancelled.
    #[getter]
    fn greenlet<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        let py = slf.py();
        slf.as_super().get().state.with(py, |state| {
            state
                .owner
                .as_ref()
                .and_then(|owner| owner.as_ref().map(|owner| owner.bind(py)))
        })
    }
}

/// Make new timers remember where they were made (`eventlet.debug.hub_timer_stacks`).
#[pyfunction]
pub fn record_timer_stacks(state: bool) {
    STACKS.store(state, Ordering::Relaxed);
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Timer>()?;
    module.add_class::<LocalTimer>()?;
    module.add_function(wrap_pyfunction!(record_timer_stacks, module)?)
}
