//! `GreenPool`: green threads of which at most `size` run at a time.
//!
//! The pool is a semaphore of free places, the set of its members and an event for `waitall`. A member gives its
//! place back natively when it ends (`left`), whatever ended it. Invariant: free places + members = size, but for
//! members that are just being spawned.

use pyo3::exceptions::{
    PyAssertionError, PyKeyboardInterrupt, PySystemExit, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PySet, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::event::{Event, greenlet_exit};
use crate::gil_cell::GilCell;
use crate::greenthread::{self, Kind};
use crate::hub::{self, Reason};
use crate::object::ByAddress;
use crate::semaphore::Semaphore;

type Members = ByAddress<Py<PyAny>>;

struct State {
    size: i64,
    places: Option<Py<Semaphore>>,
    idle: Option<Py<Event>>,
    members: Members,
}

/// Runs functions in green threads, at most *size* of them at a time.
///
/// `spawn` waits for a free place. A member that spawns into its own full pool runs the function itself, so a pool
/// cannot lock itself up. Raises TypeError for a size that is no number, ValueError for a negative one.
///
/// >>> import eventlet
/// >>> pool = eventlet.GreenPool(200)
/// >>> thread = pool.spawn(pow, 2, 10)
/// >>> thread.wait()
/// 1024
#[pyclass(subclass, frozen, weakref, dict, module = "eventlet.greenpool")]
pub struct GreenPool {
    /// False in memory that is not filled in yet (see `Event`).
    live: bool,
    state: GilCell<State>,
}

/// The `size` argument as upstream reads it.
fn parse_size(size: &Bound<'_, PyAny>) -> PyResult<i64> {
    let py = size.py();
    let number: i64 = if size.is_exact_instance_of::<PyInt>() {
        size.extract()?
    } else {
        let number = py.get_type::<PyInt>().call1((size,)).map_err(|error| {
            if !error.is_instance_of::<PyValueError>(py) {
                return error;
            }
            let reason = error.value(py).to_string();
            PyTypeError::new_err(format!(
                "GreenPool() expect size :: int, actual: {} {reason}",
                size.get_type()
            ))
        })?;
        number.extract()?
    };
    if number < 0 {
        return Err(PyValueError::new_err(format!(
            "GreenPool() expect size >= 0, actual: {number}"
        )));
    }
    Ok(number)
}

impl GreenPool {
    fn places<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Semaphore>> {
        self.state
            .with(py, |state| {
                state.places.as_ref().map(|places| places.bind(py).clone())
            })
            .ok_or_else(|| PyAssertionError::new_err("GreenPool.__init__() was not called"))
    }

    fn is_member(&self, py: Python<'_>) -> PyResult<bool> {
        let current = hub::current_greenlet(py)?;
        Ok(self.state.with(py, |state| {
            state.members.contains_key(&(current.as_ptr() as usize))
        }))
    }

    /// Takes a place, waiting for it. `false`: the pool is full and the caller, being a member, must run the
    /// function itself. May switch: yes.
    fn admit(&self, py: Python<'_>, places: &Bound<'_, Semaphore>) -> PyResult<bool> {
        if places.get().units(py) <= 0 && self.is_member(py)? {
            return Ok(false);
        }
        match places.get().take(py, None) {
            Ok(_) => Ok(true),
            Err(error) => {
                // Whoever waits for the pool may have waited for this place alone.
                self.announce_idle(py, places)?;
                Err(error)
            }
        }
    }

    /// Starts a member. May switch: no.
    fn start<'py>(
        slf: &Bound<'py, Self>,
        kind: Kind,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let data = slf.clone().into_any().unbind();
        let member = greenthread::spawn_with_exit(py, function, args, kwargs, left, data, kind)?
            .into_bound(py);
        let sent = slf.get().state.with(py, |state| {
            state
                .idle
                .as_ref()
                .is_none_or(|idle| idle.get().is_ready(py))
        });
        let idle = if sent {
            Some(Py::new(py, Event::fresh().in_object())?)
        } else {
            None
        };
        let old = slf.get().state.with(py, |state| {
            state
                .members
                .insert(member.as_ptr() as usize, member.clone().unbind());
            idle.and_then(|idle| state.idle.replace(idle))
        });
        drop(old.map(|old| old.into_bound(py)));
        Ok(member)
    }

    /// Ends the wait of `waitall` if nobody runs and nobody waits for a place.
    fn announce_idle(&self, py: Python<'_>, places: &Bound<'_, Semaphore>) -> PyResult<()> {
        let (size, idle) = self.state.with(py, |state| {
            (
                state.size,
                state.idle.as_ref().map(|idle| idle.bind(py).clone()),
            )
        });
        match idle {
            Some(idle) if places.get().surplus(py) == size && !idle.get().is_ready(py) => {
                idle.get().send_value(py, py.None())
            }
            _ => Ok(()),
        }
    }
}

/// Runs natively at the end of a member.
fn left(py: Python<'_>, pool: &Py<PyAny>, member: &Bound<'_, PyAny>) -> PyResult<()> {
    let pool = pool.bind(py).cast::<GreenPool>()?;
    let places = pool.get().places(py)?;
    let gone = pool.get().state.with(py, |state| {
        state.members.remove(&(member.as_ptr() as usize))
    });
    drop(gone.map(|gone| gone.into_bound(py)));
    places.get().give(py);
    pool.get().announce_idle(py, &places)
}

/// Reports the error of a `spawn_n` function as upstream's pool does; gives back what must not be swallowed.
fn report(py: Python<'_>, error: PyErr) -> PyResult<()> {
    let exit = &greenlet_exit(py);
    if error.is_instance_of::<PyKeyboardInterrupt>(py)
        || error.is_instance_of::<PySystemExit>(py)
        || error.is_instance(py, exit)
    {
        return Err(error);
    }
    if py
        .import("eventlet.greenpool")?
        .getattr("DEBUG")?
        .is_truthy()?
    {
        error.print(py);
    }
    Ok(())
}

#[pymethods]
impl GreenPool {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(size=1000)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> GreenPool {
        let state = State {
            size: 0,
            places: None,
            idle: None,
            members: Members::default(),
        };
        GreenPool {
            live: true,
            state: GilCell::new(state),
        }
    }

    #[pyo3(signature = (size=None))]
    fn __init__(&self, py: Python<'_>, size: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let size = size.map_or(Ok(1000), parse_size)?;
        let places = Py::new(py, Semaphore::with_counter(size, Reason::Pool).in_object())?;
        let old = self.state.with(py, |state| {
            state.size = size;
            state.places.replace(places)
        });
        drop(old);
        Ok(())
    }

    /// Run `function(*args, **kwargs)` in a green thread of the pool; returns its `GreenThread`.
    ///
    /// Waits while the pool is full; a member of the full pool runs the function itself, at once, and gets a
    /// finished `GreenThread` (or the exception). *May switch: yes.*
    ///
    /// >>> import eventlet
    /// >>> eventlet.GreenPool().spawn(len, "tea").wait()
    /// 3
    #[pyo3(signature = (function, *args, **kwargs))]
    fn spawn<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let places = slf.get().places(py)?;
        if !slf.get().admit(py, &places)? {
            let current = hub::current_greenlet(py)?.into_bound(py);
            let thread = greenthread::class(py).call1((current,))?;
            let kwargs = kwargs.cloned().unwrap_or_else(|| PyDict::new(py));
            thread.call_method1("main", (function, args, kwargs))?;
            return Ok(thread);
        }
        GreenPool::start(slf, Kind::GreenThread, function, args, kwargs)
            .inspect_err(|_| places.get().give(py))
    }

    /// Like `spawn` without a result. An exception is printed while `greenpool.DEBUG` is true. *May switch: yes.*
    ///
    /// >>> import eventlet
    /// >>> pool, cups = eventlet.GreenPool(10), []
    /// >>> for cup in range(3):
    /// ...     pool.spawn_n(cups.append, cup)
    /// >>> pool.waitall()
    /// >>> cups
    /// [0, 1, 2]
    #[pyo3(signature = (function, *args, **kwargs))]
    fn spawn_n<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let places = slf.get().places(py)?;
        if !slf.get().admit(py, &places)? {
            return match function.call(args, kwargs) {
                Ok(_) => Ok(()),
                Err(error) => report(py, error),
            };
        }
        GreenPool::start(slf, Kind::Reported(report), function, args, kwargs)
            .map(drop)
            .inspect_err(|_| places.get().give(py))
    }

    /// Wait until no member runs and nobody waits for a place. Raises AssertionError in a member.
    /// *May switch: yes.*
    fn waitall(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_member(py)? {
            return Err(PyAssertionError::new_err(
                "Calling waitall() from within one of the GreenPool's greenthreads will never terminate.",
            ));
        }
        let idle = self.state.with(py, |state| match &state.idle {
            Some(idle) if !state.members.is_empty() => Some(idle.bind(py).clone()),
            _ => None,
        });
        idle.map_or(Ok(()), |idle| idle.get().wait_until(py, None).map(drop))
    }

    /// Change how many members may run. More members than the new size run to their end; `free` is negative
    /// meanwhile.
    fn resize(&self, py: Python<'_>, new_size: i64) -> PyResult<()> {
        let places = self.places(py)?;
        let old = self
            .state
            .with(py, |state| std::mem::replace(&mut state.size, new_size));
        places.get().add(py, new_size - old);
        Ok(())
    }

    /// Number of members.
    fn running(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.members.len())
    }

    /// Number of free places; zero or less when `spawn` would wait.
    fn free(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.places(py)?.get().units(py))
    }

    /// Number of green threads that wait in `spawn`.
    fn waiting(&self, py: Python<'_>) -> PyResult<i64> {
        Ok((-self.places(py)?.get().surplus(py)).max(0))
    }

    /// How many members may run. Setting it changes no place: who does that gives or takes those of `sem`, as Celery's
    /// pool does. `resize` does both.
    #[getter]
    fn size(&self, py: Python<'_>) -> i64 {
        self.state.with(py, |state| state.size)
    }

    #[setter]
    fn set_size(&self, py: Python<'_>, size: i64) {
        self.state.with(py, |state| state.size = size);
    }

    /// The semaphore of free places.
    #[getter]
    fn sem<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Semaphore>> {
        self.places(py)
    }

    /// The members, as a new set.
    #[getter]
    fn coroutines_running<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PySet>> {
        let members: Vec<Py<PyAny>> = self.state.with(py, |state| {
            state
                .members
                .values()
                .map(|member| member.clone_ref(py))
                .collect()
        });
        PySet::new(py, members)
    }

    /// The event that ends `waitall`; a new one when the pool begins to work after its end.
    #[getter]
    fn no_coros_running<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Event>> {
        if let Some(idle) = self.state.with(py, |state| {
            state.idle.as_ref().map(|idle| idle.bind(py).clone())
        }) {
            return Ok(idle);
        }
        let idle = Bound::new(py, Event::fresh().in_object())?;
        self.state
            .with(py, |state| state.idle = Some(idle.clone().unbind()));
        Ok(idle)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.live {
            return Ok(());
        }
        self.state.peek(|state| {
            visit.call(&state.places)?;
            visit.call(&state.idle)?;
            state
                .members
                .values()
                .try_for_each(|member| visit.call(member))
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let old = self.state.with(py, |state| {
            (state.idle.take(), std::mem::take(&mut state.members))
        });
        drop(old);
    }
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<GreenPool>()
}
