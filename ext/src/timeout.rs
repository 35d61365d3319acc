//! `Timeout`: an exception that raises itself in a green thread when its time is up.
//!
//! A pending timeout is one timer of the hub whose argument is the `Timeout`; the Python `Timer` that upstream
//! shows as `.timer` is made only when somebody reads that attribute. The hub keeps a pending timeout alive.

use pyo3::exceptions::{PyAssertionError, PyBaseException};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::gil_cell::GilCell;
use crate::greenlet::Gr;
use crate::hub::{self, Instant};
use crate::object::Object;
use crate::timer::{Schedule, Timer};

enum Alarm {
    /// Not started, or cancelled.
    Off,
    /// The hub raises it at the instant, in the greenlet.
    Set(Instant, Object),
    /// The same, shown to Python.
    Shown(Py<Timer>),
    /// It has raised.
    Fired,
}

struct State {
    /// What it was made with, as every exception keeps it.
    args: Py<PyTuple>,
    seconds: Option<Py<PyAny>>,
    exception: Option<Py<PyAny>>,
    alarm: Alarm,
    schedule: Schedule,
}

/// Raise *exception* in the current green thread after *seconds*, unless cancelled before.
///
/// It starts when it is made. *seconds* is a number; None never fires. *exception* is an instance or a class; None
/// raises the Timeout itself; False does too, and as a context manager the Timeout then swallows it. Derived from
/// BaseException, so that `except Exception` does not hide it. A `with` block cancels it at its end.
/// *May switch: no.*
///
/// >>> import eventlet
/// >>> with eventlet.Timeout(0.001, False):
/// ...     eventlet.sleep(1)
/// >>> with eventlet.Timeout(0.001):
/// ...     eventlet.sleep(1)
/// Traceback (most recent call last):
///     ...
/// eventlet.timeout.Timeout: 0.001 seconds
#[pyclass(extends = PyBaseException, subclass, frozen, module = "eventlet.timeout")]
pub struct Timeout {
    /// False in memory that is not filled in yet (see `Event`).
    live: bool,
    state: GilCell<State>,
}

/// Runs in the hub when the time is up.
fn fire(py: Python<'_>, timeout: Py<PyAny>) -> PyResult<()> {
    let timeout = timeout.into_bound(py).cast_into::<Timeout>()?;
    let alarm = timeout.get().state.with(py, |state| {
        state
            .schedule
            .arrive()
            .then(|| std::mem::replace(&mut state.alarm, Alarm::Fired))
    });
    match alarm {
        Some(Alarm::Set(_, greenlet)) => {
            let what = timeout.get().throws(&timeout);
            greenlet
                .bind(py)
                .call_method1(pyo3::intern!(py, "throw"), (what,))
                .map(drop)
        }
        _ => Ok(()),
    }
}

impl Timeout {
    fn seconds_of<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state.with(py, |state| {
            state
                .seconds
                .as_ref()
                .map(|seconds| seconds.bind(py).clone())
        })
    }

    fn exception_of<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state.with(py, |state| {
            state
                .exception
                .as_ref()
                .map(|exception| exception.bind(py).clone())
        })
    }

    /// What is raised: the user's exception or the timeout itself.
    fn throws<'py>(&self, slf: &Bound<'py, Timeout>) -> Bound<'py, PyAny> {
        match self.exception_of(slf.py()) {
            Some(exception) if !exception.is_instance_of::<PyBool>() => exception,
            _ => slf.as_any().clone(),
        }
    }

    fn is_pending(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| match &state.alarm {
            Alarm::Set(..) => true,
            Alarm::Shown(timer) => timer.bind(py).get().is_pending(py),
            Alarm::Off | Alarm::Fired => false,
        })
    }

    fn begin(slf: &Bound<'_, Timeout>) -> PyResult<()> {
        let (py, timeout) = (slf.py(), slf.get());
        if timeout.is_pending(py) {
            let text = format!(
                "{} is already started; to restart it, cancel it first",
                slf.repr()?
            );
            return Err(PyAssertionError::new_err(text));
        }
        let alarm = match timeout.seconds_of(py) {
            None => Alarm::Off,
            Some(seconds) => {
                let seconds = seconds.extract()?;
                let greenlet = hub::current_greenlet(py)?;
                let (deadline, scheduled) =
                    hub::call_in(py, None, seconds, fire, slf.as_any())?.expect("any hub will do");
                timeout
                    .state
                    .with(py, |state| state.schedule.set(scheduled));
                Alarm::Set(deadline, greenlet)
            }
        };
        timeout.set_alarm(py, alarm);
        Ok(())
    }

    fn set_alarm(&self, py: Python<'_>, alarm: Alarm) {
        let old = self
            .state
            .with(py, |state| std::mem::replace(&mut state.alarm, alarm));
        if let Alarm::Shown(timer) = old {
            drop(timer.into_bound(py));
        }
    }

    fn stop(&self, py: Python<'_>) {
        let (old, handle) = self.state.with(py, |state| {
            let old = std::mem::replace(&mut state.alarm, Alarm::Off);
            let handle = if matches!(old, Alarm::Set(..)) {
                state.schedule.withdraw()
            } else {
                None
            };
            (old, handle)
        });
        if let Some(handle) = handle {
            drop(hub::cancel(py, handle).map(|own| own.into_bound(py)));
        }
        if let Alarm::Shown(timer) = old {
            timer.into_bound(py).get().stop(py);
        }
    }
}

#[pymethods]
impl Timeout {
    #[new]
    #[pyo3(signature = (*args, **_kwargs), text_signature = "(seconds=None, exception=None)")]
    fn new(args: Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Timeout {
        let args = args.unbind();
        let state = State {
            args,
            seconds: None,
            exception: None,
            alarm: Alarm::Off,
            schedule: Schedule::default(),
        };
        Timeout {
            live: true,
            state: GilCell::new(state),
        }
    }

    #[pyo3(signature = (seconds=None, exception=None))]
    fn __init__(
        slf: &Bound<'_, Self>,
        seconds: Option<Py<PyAny>>,
        exception: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let old = slf.get().state.with(py, |state| {
            (
                std::mem::replace(&mut state.seconds, seconds),
                std::mem::replace(&mut state.exception, exception),
            )
        });
        drop(old);
        Timeout::begin(slf)
    }

    /// Start it again after `cancel`; returns itself. Raises AssertionError while it is pending.
    ///
    /// >>> import eventlet
    /// >>> timeout = eventlet.Timeout(5)
    /// >>> timeout.cancel()
    /// >>> timeout.start().pending
    /// True
    /// >>> timeout.cancel()
    fn start<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        Timeout::begin(slf)?;
        Ok(slf.clone())
    }

    /// Keep it from being raised; nothing happens if it was raised or cancelled before.
    fn cancel(&self, py: Python<'_>) {
        self.stop(py);
    }

    /// Whether it is going to be raised.
    #[getter]
    fn pending(&self, py: Python<'_>) -> bool {
        self.is_pending(py)
    }

    /// After how many seconds it is raised; None for never.
    #[getter]
    fn seconds<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.seconds_of(py)
    }

    #[setter(seconds)]
    fn set_seconds(&self, py: Python<'_>, seconds: Option<Py<PyAny>>) {
        let old = self
            .state
            .with(py, |state| std::mem::replace(&mut state.seconds, seconds));
        drop(old);
    }

    /// What is raised instead of the timeout itself: an instance, a class, None, or False (see the class).
    #[getter]
    fn exception<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.exception_of(py)
    }

    #[setter(exception)]
    fn set_exception(&self, py: Python<'_>, exception: Option<Py<PyAny>>) {
        let old = self.state.with(py, |state| {
            std::mem::replace(&mut state.exception, exception)
        });
        drop(old);
    }

    /// The hub's timer for it; None if it was not started or was cancelled.
    #[getter]
    fn timer<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, Timer>>> {
        let (py, timeout) = (slf.py(), slf.get());
        let shown = timeout.state.with(py, |state| match &state.alarm {
            Alarm::Off => Some(None),
            Alarm::Shown(timer) => Some(Some(timer.bind(py).clone())),
            Alarm::Set(..) | Alarm::Fired => None,
        });
        if let Some(shown) = shown {
            return Ok(shown);
        }
        let seconds = timeout
            .seconds_of(py)
            .unwrap_or_else(|| py.None().into_bound(py));
        let what = timeout.throws(slf);
        let (alarm, handle) = timeout.state.with(py, |state| {
            let alarm = std::mem::replace(&mut state.alarm, Alarm::Off);
            let handle = if matches!(alarm, Alarm::Set(..)) {
                state.schedule.withdraw()
            } else {
                None
            };
            (alarm, handle)
        });
        if let Some(handle) = handle {
            drop(hub::cancel(py, handle).map(|own| own.into_bound(py)));
        }
        let timer = match alarm {
            Alarm::Set(deadline, greenlet) => {
                let throw = greenlet.bind(py).getattr(pyo3::intern!(py, "throw"))?;
                Timer::scheduled(py, seconds, throw, PyTuple::new(py, [what])?, deadline)?
            }
            _ => Timer::spent(py, &seconds)?,
        };
        timeout.set_alarm(py, Alarm::Shown(timer.clone().unbind()));
        Ok(Some(timer))
    }

    /// What it was made with.
    #[getter]
    fn args<'py>(&self, py: Python<'py>) -> Bound<'py, PyTuple> {
        self.state.with(py, |state| state.args.bind(py).clone())
    }

    #[setter(args)]
    fn set_args(&self, args: &Bound<'_, PyAny>) -> PyResult<()> {
        let args = args
            .py()
            .get_type::<PyTuple>()
            .call1((args,))?
            .cast_into::<PyTuple>()?;
        let old = self.state.with(args.py(), |state| {
            std::mem::replace(&mut state.args, args.clone().unbind())
        });
        drop(old);
        Ok(())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (class, args) = (slf.get_type(), slf.get().args(slf.py()));
        let attributes = slf.getattr("__dict__")?;
        Ok((class, args, attributes)
            .into_pyobject(slf.py())?
            .into_any())
    }

    /// True, to tell timeouts of any library apart from other exceptions.
    #[getter]
    fn is_timeout(&self) -> bool {
        true
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let off = slf
            .get()
            .state
            .with(slf.py(), |state| matches!(state.alarm, Alarm::Off));
        if off {
            Timeout::begin(slf)?;
        }
        Ok(slf.clone())
    }

    #[pyo3(signature = (_class, value, _traceback, /))]
    fn __exit__(
        slf: &Bound<'_, Self>,
        _class: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> Option<bool> {
        let py = slf.py();
        slf.get().stop(py);
        let own = value.is(slf)
            && slf
                .get()
                .exception_of(py)
                .is_some_and(|what| what.is(PyBool::new(py, false)));
        own.then_some(true)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, timeout) = (slf.py(), slf.get());
        let seconds = text(timeout.seconds_of(py))?;
        let exception = match timeout.exception_of(py) {
            None => String::new(),
            Some(exception) => format!(" exception={}", exception.repr()?),
        };
        let pending = if timeout.is_pending(py) {
            " pending"
        } else {
            ""
        };
        let (class, address) = (slf.get_type().name()?, slf.as_ptr() as usize);
        Ok(format!(
            "<{class} at {address:#x} seconds={seconds}{exception}{pending}>"
        ))
    }

    fn __str__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, timeout) = (slf.py(), slf.get());
        let Some(seconds) = timeout.seconds_of(py) else {
            return Ok(String::new());
        };
        let plural = if seconds.eq(1)? { "" } else { "s" };
        let note = match timeout.exception_of(py) {
            None => String::new(),
            Some(what) if what.is(PyBool::new(py, true)) => String::new(),
            Some(what) if what.is(PyBool::new(py, false)) => " (silent)".to_owned(),
            Some(what) => format!(" ({})", what.str()?),
        };
        Ok(format!("{} second{plural}{note}", seconds.str()?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.live {
            return Ok(());
        }
        self.state.peek(|state| {
            visit.call(&state.args)?;
            visit.call(&state.seconds)?;
            visit.call(&state.exception)?;
            match &state.alarm {
                Alarm::Set(_, greenlet) => visit.call(greenlet.as_py()),
                Alarm::Shown(timer) => visit.call(timer),
                Alarm::Off | Alarm::Fired => Ok(()),
            }
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let old = self.state.with(py, |state| {
            (
                state.seconds.take(),
                state.exception.take(),
                std::mem::replace(&mut state.alarm, Alarm::Off),
            )
        });
        drop(old);
    }
}

/// Whether `object` is a pending timeout that the hub will raise in this greenlet. Runs no Python code.
pub fn raises_in(object: &Bound<'_, PyAny>, g: Gr) -> bool {
    object.cast::<Timeout>().is_ok_and(|timeout| {
        timeout.get().state.with(object.py(), |state| {
            matches!(&state.alarm, Alarm::Set(_, greenlet) if Gr::from_object(greenlet) == g)
        })
    })
}

fn text(object: Option<Bound<'_, PyAny>>) -> PyResult<String> {
    object.map_or_else(
        || Ok("None".to_owned()),
        |object| Ok(object.str()?.to_string()),
    )
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Timeout>()
}
