//! `Timer` and `LocalTimer`: a call that the hub makes later, as Python holds it.
//!
//! A scheduled timer is one timer of the engine whose argument is the `Timer`. A timer is called at most once;
//! `called` becomes true at its call or at `cancel`, and what it would call is let go of then.

mod call;
mod local;
mod schedule;

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use call::{Arguments, Call, Seconds};
pub use local::LocalTimer;
pub use schedule::Schedule;

use crate::gil_cell::GilCell;
use crate::greenlet::Gr;
use crate::hub::{self, Instant, TimerHandle};

/// Whether new timers record where they were made (`debug.hub_timer_stacks`).
static STACKS: AtomicBool = AtomicBool::new(false);

struct State {
    seconds: Seconds,
    call: Option<Call>,
    schedule: Schedule,
    /// When it is due; 0 when it is not scheduled.
    deadline: Instant,
    called: bool,
    /// False in memory that is not filled in yet (see `Event`).
    live: bool,
    /// Where it was made, if that is recorded: a `StringIO`.
    stack: Option<Box<Py<PyAny>>>,
}

// A hundred thousand of them should stay in the cache: two lines each with the object's head.
const _: () = assert!(size_of::<State>() <= 96);

/// A call to be made *seconds* after it is scheduled: `callback(*args, **kwargs)`.
///
/// `hub.schedule_call_global` makes and schedules one; `schedule` does it for one made by hand.
///
/// >>> from eventlet.hubs import timer
/// >>> timer.Timer(5, print, "tea is ready").pending
/// True
#[pyclass(subclass, frozen, weakref, module = "eventlet.hubs.timer")]
pub struct Timer {
    state: GilCell<State>,
}

/// Runs in the hub when a timer is due.
fn fire(py: Python<'_>, timer: Py<PyAny>) -> PyResult<()> {
    let timer = timer.into_bound(py).cast_into::<Timer>()?;
    let wanted = timer
        .get()
        .state
        .with(py, |state| state.schedule.arrive() && !state.called);
    if !wanted {
        return Ok(());
    }
    if timer.get_type().is(py.get_type::<Timer>()) {
        return timer.get().run(py);
    }
    timer.call0().map(drop)
}

impl Timer {
    fn unset() -> Timer {
        let state = State {
            seconds: Seconds::None,
            call: None,
            schedule: Schedule::default(),
            deadline: Instant::from_nanos(0),
            called: false,
            live: true,
            stack: None,
        };
        Timer {
            state: GilCell::new(state),
        }
    }

    /// A timer for this call, not scheduled yet.
    ///
    /// The collector does not look at it. While it is pending the hub holds it and what it calls; afterwards it
    /// holds nothing.
    pub fn for_call<'py>(
        py: Python<'py>,
        seconds: &Bound<'py, PyAny>,
        callback: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Timer>> {
        let timer = Timer::unset();
        timer.state.with(py, |state| {
            state.seconds = Seconds::new(seconds);
            state.call = Some(Call::new(callback, args, kwargs));
        });
        let timer = Bound::new(py, timer)?;
        crate::object::untrack(&timer);
        Timer::remember(&timer)?;
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
        timer.get().note(py, deadline, Some(handle));
        Ok(timer)
    }

    /// A timer that has been called.
    pub fn spent<'py>(py: Python<'py>, seconds: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Timer>> {
        let timer = Timer::unset();
        timer.state.with(py, |state| {
            state.called = true;
            state.seconds = Seconds::new(seconds);
        });
        Bound::new(py, timer)
    }

    fn fill<'py>(
        slf: &Bound<'py, Timer>,
        seconds: &Bound<'py, PyAny>,
        callback: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<()> {
        let call = Call::new(callback, args, kwargs);
        let old = slf.get().state.with(slf.py(), |state| {
            state.called = false;
            let seconds = std::mem::replace(&mut state.seconds, Seconds::new(seconds));
            (seconds, state.call.replace(call))
        });
        drop(old);
        Timer::remember(slf)
    }

    /// Records where it is made, if that was asked for.
    fn remember(slf: &Bound<'_, Timer>) -> PyResult<()> {
        if !STACKS.load(Ordering::Relaxed) {
            return Ok(());
        }
        let py = slf.py();
        let buffer = py.import("io")?.getattr("StringIO")?.call0()?;
        let options = PyDict::new(py);
        options.set_item("file", &buffer)?;
        py.import("traceback")?
            .getattr("print_stack")?
            .call((), Some(&options))?;
        let stack = Some(Box::new(buffer.unbind()));
        slf.get().state.with(py, |state| state.stack = stack);
        Ok(())
    }

    fn note(&self, py: Python<'_>, deadline: Instant, handle: Option<TimerHandle>) {
        self.state.with(py, |state| {
            state.schedule.set(handle);
            state.deadline = deadline;
        });
    }

    /// The number of seconds that it waits.
    pub fn delay(&self, py: Python<'_>) -> PyResult<f64> {
        let seconds = self.state.with(py, |state| match &state.seconds {
            Seconds::Float(value) => Ok(*value),
            other => Err(other.object(py)),
        });
        seconds.or_else(|object| object.extract())
    }

    /// Schedules it in the hub of this number for its own number of seconds from now. `None` if the calling
    /// thread has another hub; else when it is due.
    pub fn set_in(slf: &Bound<'_, Timer>, serial: Option<u64>) -> PyResult<Option<Instant>> {
        let py = slf.py();
        let delay = slf.get().delay(py)?;
        let Some((deadline, handle)) = hub::call_in(py, serial, delay, fire, slf.as_any())? else {
            return Ok(None);
        };
        slf.get().note(py, deadline, handle);
        Ok(Some(deadline))
    }

    /// Whether it is going to be called.
    pub fn is_pending(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| !state.called)
    }

    /// What it would call, now marked as called. `None` if it was called before.
    fn begin(&self, py: Python<'_>) -> PyResult<Option<Call>> {
        let (call, called) = self.state.with(py, |state| {
            let called = std::mem::replace(&mut state.called, true);
            (if called { None } else { state.call.take() }, called)
        });
        if call.is_none() && !called {
            return Err(no_attribute("tpl"));
        }
        Ok(call)
    }

    /// Calls it, once.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        self.begin(py)?.map_or(Ok(()), |call| call.make(py))
    }

    /// Keeps it from being called.
    pub fn stop(&self, py: Python<'_>) {
        let (handle, call) = self.state.with(py, |state| {
            state.called = true;
            (state.schedule.withdraw(), state.call.take())
        });
        let own = handle.and_then(|handle| hub::cancel(py, handle));
        drop(own.map(|own| own.into_bound(py)));
        if let Some(call) = call {
            call.release(py);
        }
    }
}

fn no_attribute(name: &str) -> PyErr {
    PyAttributeError::new_err(format!("'Timer' object has no attribute '{name}'"))
}

#[pymethods]
impl Timer {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(seconds, cb, *args, **kw)")]
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
    fn seconds<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        let plain = self.state.with(py, |state| match &state.seconds {
            Seconds::Object(object) => Err(object.bind(py).clone()),
            Seconds::Float(value) => Ok(Some(*value)),
            Seconds::None => Ok(None),
        });
        match plain {
            Ok(Some(value)) => PyFloat::new(py, value).into_any(),
            Ok(None) => py.None().into_bound(py),
            Err(object) => object,
        }
    }

    #[setter(seconds)]
    fn set_seconds(&self, seconds: &Bound<'_, PyAny>) {
        let new = Seconds::new(seconds);
        let old = self.state.with(seconds.py(), |state| {
            std::mem::replace(&mut state.seconds, new)
        });
        drop(old);
    }

    /// The hub's clock at which it is due. AttributeError if it was not scheduled.
    #[getter]
    fn scheduled_time(&self, py: Python<'_>) -> PyResult<f64> {
        let deadline = self.state.with(py, |state| state.deadline);
        if deadline.as_nanos() == 0 {
            return Err(no_attribute("scheduled_time"));
        }
        Ok(hub::seconds_of(deadline))
    }

    /// What is called: function, positional and keyword arguments. AttributeError once it was called.
    #[getter]
    fn tpl<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let call = self
            .state
            .with(py, |state| state.call.as_ref().map(|call| call.clone(py)));
        let parts = call.ok_or_else(|| no_attribute("tpl"))?.parts(py)?;
        parts.into_pyobject(py)
    }

    /// A new timer for the same call, not scheduled.
    fn copy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (callback, args, kwargs): (Bound<'py, PyAny>, Bound<'py, PyTuple>, Bound<'py, PyDict>) =
            slf.get().tpl(py)?.extract()?;
        let seconds = slf.get().seconds(py);
        let mut all = vec![seconds, callback];
        all.extend(args.iter());
        slf.get_type().call(PyTuple::new(py, all)?, Some(&kwargs))
    }

    /// Where it was made: a `StringIO`. AttributeError unless that was recorded (`debug.hub_timer_stacks`).
    #[getter]
    fn traceback<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stack = self.state.with(py, |state| {
            state.stack.as_ref().map(|stack| stack.bind(py).clone())
        });
        stack.ok_or_else(|| no_attribute("traceback"))
    }

    /// Schedule it in the hub of the calling thread; returns itself.
    fn schedule<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        slf.get().state.with(slf.py(), |state| state.called = false);
        Timer::set_in(slf, None)?;
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

    fn __hash__(slf: &Bound<'_, Self>) -> usize {
        slf.as_ptr() as usize >> 4
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
            seconds.str()?,
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
            if !state.live {
                return Ok(());
            }
            if let Seconds::Object(seconds) = &state.seconds {
                visit.call(seconds)?;
            }
            let Some(Call {
                callback,
                arguments,
            }) = &state.call
            else {
                return Ok(());
            };
            visit.call(callback.as_py())?;
            match arguments {
                Arguments::None => Ok(()),
                Arguments::One(only) => visit.call(only.as_py()),
                Arguments::Many(many) => {
                    visit.call(&many.0)?;
                    visit.call(&many.1)
                }
            }
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let old = self.state.with(py, |state| {
            (std::mem::take(&mut state.seconds), state.call.take())
        });
        drop(old);
    }
}

/// Whether `object` is a pending timer that calls a method of this greenlet itself. Runs no Python code.
pub fn calls(object: &Bound<'_, PyAny>, g: Gr) -> bool {
    object.cast::<Timer>().is_ok_and(|timer| {
        timer.get().state.with(object.py(), |state| {
            let call = state.call.as_ref();
            call.is_some_and(|call| {
                crate::object::is_method_of(call.callback.as_ptr(), g.as_object_ptr())
            })
        })
    })
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
