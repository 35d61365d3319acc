//! `Event`: one result or exception, sent once, for any number of waiting greenlets.
//!
//! A waiter receives what was sent at the moment of `send`, even if the event is reset before it runs: `send`
//! leaves it in the waiter's queue entry. Sending wakes and never switches.

use pyo3::exceptions::{PyAssertionError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PySet, PyTraceback, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::error;
use crate::gil_cell::GilCell;
use crate::hub::{self, Reason, Waiter, Woken};
use crate::wait_queue::{Key, WaitQueue};

/// The type of `NOT_USED`.
#[pyclass(frozen, module = "eventlet.event", name = "NOT_USED")]
pub struct NotUsed;

#[pymethods]
impl NotUsed {
    fn __repr__(&self) -> &'static str {
        "NOT_USED"
    }

    fn __reduce__(&self) -> &'static str {
        "NOT_USED"
    }
}

/// The object that stands for "nothing was sent".
pub fn not_used(py: Python<'_>) -> &Py<NotUsed> {
    static NOT_USED: PyOnceLock<Py<NotUsed>> = PyOnceLock::new();
    NOT_USED.get_or_init(py, || {
        Py::new(py, NotUsed).expect("a small object at import")
    })
}

/// What was sent.
enum Outcome {
    Value(Py<PyAny>),
    /// The arguments as for `greenlet.throw`, and the result that was sent along.
    Error(Py<PyTuple>, Py<PyAny>),
}

impl Outcome {
    fn clone_ref(&self, py: Python<'_>) -> Outcome {
        match self {
            Outcome::Value(value) => Outcome::Value(value.clone_ref(py)),
            Outcome::Error(args, value) => Outcome::Error(args.clone_ref(py), value.clone_ref(py)),
        }
    }

    fn deliver(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Outcome::Value(value) => Ok(value.into_bound(py)),
            Outcome::Error(args, value) => {
                drop(value.into_bound(py));
                Err(error_of(&args.into_bound(py)))
            }
        }
    }

    fn release(self, py: Python<'_>) {
        match self {
            Outcome::Value(value) => drop(value.into_bound(py)),
            Outcome::Error(args, value) => drop((args.into_bound(py), value.into_bound(py))),
        }
    }
}

/// How a wait begins.
enum Joined<'py> {
    /// It was sent before.
    Sent(Bound<'py, PyAny>),
    /// The place among the waiters.
    Waits(Key),
}

#[derive(Default)]
struct State {
    sent: Option<Outcome>,
    waiters: WaitQueue<Option<Outcome>>,
}

/// One result or exception that any number of green threads can wait for.
///
/// `send` and `send_exception` wake the waiters and return at once; the waiters run in their next turn, in the
/// order in which they came. An event is sent once; make a new one for the next result.
///
/// >>> import eventlet
/// >>> event = eventlet.Event()
/// >>> _ = eventlet.spawn(event.send, "tea")
/// >>> event.wait()
/// 'tea'
#[pyclass(subclass, frozen, weakref, dict, module = "eventlet.event")]
pub struct Event {
    /// False in memory that PyO3 has not filled in yet: CPython 3.11 and 3.12 may collect garbage between the
    /// allocation and that (they make the instance dictionary first), and so traverse zeroed memory.
    live: bool,
    /// Whether it is the value of a Python object, and not a part of another Rust value.
    object: bool,
    state: GilCell<State>,
}

impl hub::Waitable for Event {
    const KIND: hub::Kind = hub::Kind::Event;

    fn forget_lost(&self, py: Python<'_>) {
        if self.state.with(py, |state| state.waiters.may_have_lost()) {
            let lost = self.state.with(py, |state| state.waiters.forget_lost());
            drop(lost);
        }
    }
}

impl Event {
    /// An event that was not sent.
    pub fn fresh() -> Event {
        Event {
            live: true,
            object: false,
            state: GilCell::default(),
        }
    }

    /// The same, for who makes a Python object of it: the census then shows that object to who asks.
    pub fn in_object(self) -> Event {
        Event {
            object: true,
            ..self
        }
    }

    /// Whether it was made for a Python object.
    pub fn is_object(&self) -> bool {
        self.object
    }

    /// Whether it was sent.
    pub fn is_ready(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.sent.is_some())
    }

    /// Sends `value` natively. AssertionError if the event was sent before.
    pub fn send_value(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.settle(py, Outcome::Value(value))
    }

    fn settle(&self, py: Python<'_>, outcome: Outcome) -> PyResult<()> {
        if self.is_ready(py) {
            outcome.release(py);
            return Err(PyAssertionError::new_err(
                "Trying to re-send() an already-triggered event.",
            ));
        }
        hub::Waitable::forget_lost(self, py);
        self.state.with(py, |state| {
            let State { sent, waiters } = state;
            let sent = sent.insert(outcome);
            waiters.wake_all(py, |told| *told = Some(sent.clone_ref(py)));
        });
        Ok(())
    }

    fn sent(&self, py: Python<'_>) -> Option<Outcome> {
        self.state.with(py, |state| {
            state.sent.as_ref().map(|sent| sent.clone_ref(py))
        })
    }

    /// Waits natively: what was sent, or None after the deadline. May switch: yes.
    pub fn wait_until<'py>(
        &self,
        py: Python<'py>,
        deadline: Option<hub::Instant>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.join(py)? {
            Joined::Sent(value) => Ok(value),
            Joined::Waits(key) => {
                let woken = hub::park(py, Reason::Event.within(self), deadline);
                self.leave(py, key, woken)
            }
        }
    }

    /// Takes what was sent, or a place among the waiters. A function of its own, as `leave` is, so that a green thread
    /// that waits has little on its stack.
    #[inline(never)]
    fn join<'py>(&self, py: Python<'py>) -> PyResult<Joined<'py>> {
        // Before the look, as the first one in an OS thread makes its hub: others may run meanwhile.
        let waiter = Waiter::current(py)?;
        if let Some(sent) = self.sent(py) {
            return sent.deliver(py).map(Joined::Sent);
        }
        let key = self
            .state
            .with(py, |state| state.waiters.push(waiter, None));
        Ok(Joined::Waits(key))
    }

    /// What a wait has brought.
    #[inline(never)]
    fn leave<'py>(
        &self,
        py: Python<'py>,
        key: Key,
        woken: error::Result<Woken>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let woken = woken.map_err(|raised| raised.into_err(py));
        let entry = self.state.with(py, |state| state.waiters.remove(key));
        let told = entry.and_then(|entry| entry.data);
        match (woken, told) {
            (Err(error), told) => {
                if let Some(told) = told {
                    told.release(py);
                }
                Err(error)
            }
            (Ok(Woken::Switched(value)), told) => {
                if let Some(told) = told {
                    told.release(py);
                }
                Ok(value.into_bound(py))
            }
            (Ok(_), Some(told)) => told.deliver(py),
            (Ok(_), None) => Ok(py.None().into_bound(py)),
        }
    }
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Event {
        Event::fresh().in_object()
    }

    fn __init__(&self) {}

    /// Wait until the event is sent; at once if it was.
    ///
    /// *timeout* is in seconds; None waits for ever. Returns what was sent, or None when the time is up first.
    /// Raises the exception that was sent. *May switch: yes.*
    ///
    /// >>> import eventlet
    /// >>> eventlet.Event().wait(timeout=0.001) is None
    /// True
    #[pyo3(signature = (timeout=None))]
    fn wait<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let deadline = match timeout {
            Some(seconds) if !self.is_ready(py) => Some(hub::deadline_in(py, seconds)?),
            _ => None,
        };
        self.wait_until(py, deadline)
    }

    /// Send *result* to all waiters, present and future; or raise *exc* in them.
    ///
    /// *exc* is an exception instance, a class, or a tuple as `sys.exc_info()` returns. Raises AssertionError if
    /// the event was sent before. *May switch: no.*
    ///
    /// >>> import eventlet
    /// >>> event = eventlet.Event()
    /// >>> event.send(4)
    /// >>> event.wait()
    /// 4
    #[pyo3(signature = (result=None, exc=None))]
    fn send(
        &self,
        py: Python<'_>,
        result: Option<Py<PyAny>>,
        exc: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let result = result.unwrap_or_else(|| py.None());
        let outcome = match exc {
            None => Outcome::Value(result),
            Some(exc) => match exc.cast::<PyTuple>() {
                Ok(args) => Outcome::Error(args.clone().unbind(), result),
                Err(_) => Outcome::Error(PyTuple::new(py, [exc])?.unbind(), result),
            },
        };
        self.settle(py, outcome)
    }

    /// Raise an exception in all waiters, present and future.
    ///
    /// The arguments are those of `raise` in its long form: an instance; a class; or a class, a value and a
    /// traceback, as `sys.exc_info()` gives them, to keep the original traceback. Raises AssertionError if the
    /// event was sent before. *May switch: no.*
    ///
    /// >>> import eventlet
    /// >>> event = eventlet.Event()
    /// >>> event.send_exception(KeyError("cup"))
    /// >>> event.wait()
    /// Traceback (most recent call last):
    ///     ...
    /// KeyError: 'cup'
    #[pyo3(signature = (*args))]
    fn send_exception(slf: &Bound<'_, Self>, args: Bound<'_, PyTuple>) -> PyResult<()> {
        let py = slf.py();
        if slf.get_type().is(py.get_type::<Event>()) {
            let outcome = Outcome::Error(args.unbind(), py.None());
            return slf.get().settle(py, outcome);
        }
        slf.call_method1(pyo3::intern!(py, "send"), (py.None(), args))
            .map(drop)
    }

    /// Make a sent event usable once more. Prefer a new event. Raises AssertionError if it was not sent.
    pub fn reset(&self, py: Python<'_>) -> PyResult<()> {
        match self.state.with(py, |state| state.sent.take()) {
            Some(old) => {
                old.release(py);
                Ok(())
            }
            None => Err(PyAssertionError::new_err(
                "Trying to re-reset() a fresh event.",
            )),
        }
    }

    /// Whether the event was sent, so that `wait` returns at once.
    fn ready(&self, py: Python<'_>) -> bool {
        self.is_ready(py)
    }

    /// Whether an exception was sent.
    fn has_exception(&self, py: Python<'_>) -> bool {
        self.state
            .with(py, |state| matches!(state.sent, Some(Outcome::Error(..))))
    }

    /// Whether a result (not an exception) was sent.
    fn has_result(&self, py: Python<'_>) -> bool {
        self.state
            .with(py, |state| matches!(state.sent, Some(Outcome::Value(_))))
    }

    /// The result, or *notready* if nothing was sent. Raises the exception that was sent. *May switch: no.*
    #[pyo3(signature = (notready=None))]
    fn poll<'py>(
        slf: &Bound<'py, Self>,
        notready: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::poll_if(slf, true, true, notready)
    }

    /// Raise the exception that was sent; *notready* if none was. *May switch: no.*
    #[pyo3(signature = (notready=None))]
    fn poll_exception<'py>(
        slf: &Bound<'py, Self>,
        notready: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::poll_if(slf, false, true, notready)
    }

    /// The result; *notready* if none was sent. *May switch: no.*
    #[pyo3(signature = (notready=None))]
    fn poll_result<'py>(
        slf: &Bound<'py, Self>,
        notready: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::poll_if(slf, true, false, notready)
    }

    #[getter(_result)]
    fn result(&self, py: Python<'_>) -> Py<PyAny> {
        self.state.with(py, |state| match &state.sent {
            None => not_used(py).clone_ref(py).into_any(),
            Some(Outcome::Value(value) | Outcome::Error(_, value)) => value.clone_ref(py),
        })
    }

    #[getter(_exc)]
    fn exc(&self, py: Python<'_>) -> Option<Py<PyTuple>> {
        self.state.with(py, |state| match &state.sent {
            Some(Outcome::Error(args, _)) => Some(args.clone_ref(py)),
            _ => None,
        })
    }

    #[getter(_waiters)]
    fn waiters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PySet>> {
        let greenlets: Vec<Py<PyAny>> = self.state.with(py, |state| {
            state
                .waiters
                .entries()
                .map(|entry| entry.waiter.greenlet().as_py().clone_ref(py))
                .collect()
        });
        PySet::new(py, greenlets)
    }

    fn __str__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, event) = (slf.py(), slf.get());
        let exc = event
            .exc(py)
            .map_or_else(|| Ok("None".to_owned()), |exc| repr(exc.bind(py)))?;
        let waiters = event.state.with(py, |state| state.waiters.len());
        let (class, result) = (slf.get_type().name()?, repr(event.result(py).bind(py))?);
        Ok(format!(
            "<{class} at {:#x} result={result} _exc={exc} _waiters[{waiters}]>",
            slf.as_ptr() as usize
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.live {
            return Ok(());
        }
        self.state.peek(|state| {
            let visit_outcome = |outcome: &Outcome| match outcome {
                Outcome::Value(value) => visit.call(value),
                Outcome::Error(args, value) => visit.call(args).and_then(|()| visit.call(value)),
            };
            state.sent.iter().try_for_each(&visit_outcome)?;
            state.waiters.entries().try_for_each(|entry| {
                visit.call(entry.waiter.greenlet().as_py())?;
                entry.data.iter().try_for_each(&visit_outcome)
            })
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        if let Some(sent) = self.state.with(py, |state| state.sent.take()) {
            sent.release(py);
        }
    }
}

impl Event {
    fn poll_if<'py>(
        slf: &Bound<'py, Self>,
        value: bool,
        error: bool,
        notready: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, event) = (slf.py(), slf.get());
        match event.sent(py) {
            Some(sent @ Outcome::Value(_)) if value => sent.deliver(py),
            Some(sent @ Outcome::Error(..)) if error => sent.deliver(py),
            _ => Ok(notready.unwrap_or_else(|| py.None().into_bound(py))),
        }
    }
}

fn repr(object: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(object.repr()?.to_string_lossy().into_owned())
}

/// `GreenletExit`.
pub fn greenlet_exit(py: Python<'_>) -> Bound<'_, PyAny> {
    crate::greenlet::exit_object().bind(py).clone()
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    hub::forgets::<Event>();
    module.add_class::<Event>()?;
    module.add("NOT_USED", not_used(module.py()))
}

/// The error that `greenlet.throw(*args)` would raise: an instance, a class, or class, value and traceback.
pub fn error_of(args: &Bound<'_, PyTuple>) -> PyErr {
    build_error(args).unwrap_or_else(|wrong| wrong)
}

fn build_error(args: &Bound<'_, PyTuple>) -> PyResult<PyErr> {
    let py = args.py();
    let part = |index| args.iter().nth(index).filter(|part| !part.is_none());
    let Ok(first) = args.get_item(0) else {
        return Ok(PyErr::from_value(greenlet_exit(py).call0()?));
    };
    if args.len() > 3 {
        return Err(PyTypeError::new_err(format!(
            "throw expected at most 3 arguments, got {}",
            args.len()
        )));
    }
    let (value, traceback) = (part(1), part(2));
    let traceback = traceback
        .map(|traceback| traceback.cast_into::<PyTraceback>())
        .transpose()
        .map_err(|_| PyTypeError::new_err("throw() third argument must be a traceback object"))?;
    let error = match first.cast::<PyType>() {
        Ok(class) if class.is_subclass_of::<pyo3::exceptions::PyBaseException>()? => match value {
            Some(value) if value.is_instance(class)? => PyErr::from_value(value),
            Some(value) => match value.cast::<PyTuple>() {
                Ok(arguments) => PyErr::from_value(class.call1(arguments)?),
                Err(_) => PyErr::from_value(class.call1((value,))?),
            },
            None => PyErr::from_value(class.call0()?),
        },
        _ if first.is_instance_of::<pyo3::exceptions::PyBaseException>() => {
            if value.is_some() {
                return Err(PyTypeError::new_err(
                    "instance exception may not have a separate value",
                ));
            }
            PyErr::from_value(first)
        }
        _ => {
            let kind = first.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "exceptions must be classes, or instances, not {kind}"
            )));
        }
    };
    error.set_traceback(py, traceback);
    Ok(error)
}
