//! `Queue`: a `LightQueue` that counts tasks.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::LightQueue;
use crate::event::Event;

/// A `LightQueue` that counts tasks: `task_done` and `join`.
///
/// >>> import eventlet
/// >>> queue = eventlet.Queue()
/// >>> queue.put("wash up")
/// >>> _ = queue.get()
/// >>> queue.task_done()
/// >>> queue.join()
#[pyclass(extends = LightQueue, subclass, frozen, module = "eventlet.queue")]
pub struct Queue;

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=None)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Queue> {
        PyClassInitializer::from(LightQueue::unset()).add_subclass(Queue)
    }

    #[pyo3(signature = (maxsize=None))]
    fn __init__(slf: &Bound<'_, Self>, maxsize: Option<i64>) -> PyResult<()> {
        let py = slf.py();
        let done = Py::new(py, Event::fresh().in_object())?;
        let old = slf
            .as_super()
            .get()
            .state
            .with(py, |state| state.tasks.replace((0, done)));
        drop(old);
        LightQueue::__init__(slf.as_super(), maxsize)
    }

    fn _put(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        slf.as_super().get()._put(py, item)?;
        slf.call_method0(pyo3::intern!(py, "_put_bookkeeping"))
            .map(drop)
    }

    fn _put_bookkeeping(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.as_super().get().count_task(slf.py())
    }

    /// Say that a task taken by `get` is done. Raises ValueError if called more often than items were put.
    /// *May switch: no.*
    fn task_done(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.as_super().get().finish_task(slf.py())? {
            Ok(())
        } else {
            Err(PyValueError::new_err("task_done() called too many times"))
        }
    }

    /// Wait until every item that was put is done. *May switch: yes.*
    fn join(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let open = slf
            .as_super()
            .get()
            .state
            .with(py, |state| match &state.tasks {
                Some((tasks, done)) if *tasks > 0 => Some(done.bind(py).clone()),
                _ => None,
            });
        open.map_or(Ok(()), |done| done.get().wait_until(py, None).map(drop))
    }

    /// Number of items put and not done.
    #[getter]
    fn unfinished_tasks(slf: &Bound<'_, Self>) -> i64 {
        slf.as_super().get().state.with(slf.py(), |state| {
            state.tasks.as_ref().map_or(0, |(tasks, _)| *tasks)
        })
    }

    #[setter(unfinished_tasks)]
    fn set_unfinished_tasks(slf: &Bound<'_, Self>, value: i64) {
        slf.as_super().get().state.with(slf.py(), |state| {
            if let Some((tasks, _)) = &mut state.tasks {
                *tasks = value;
            }
        });
    }

    /// The event that ends `join`.
    #[getter(_cond)]
    fn done<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, Event>> {
        let py = slf.py();
        slf.as_super().get().state.with(py, |state| {
            state.tasks.as_ref().map(|(_, done)| done.bind(py).clone())
        })
    }
}

impl LightQueue {
    /// One task fewer, and `join` ends with the last; false if there was none. A queue without tasks has none.
    pub(super) fn finish_task(&self, py: Python<'_>) -> PyResult<bool> {
        let left = self.state.with(py, |state| match &mut state.tasks {
            Some((tasks, done)) if *tasks > 0 => {
                *tasks -= 1;
                Some((*tasks, done.bind(py).clone()))
            }
            _ => None,
        });
        match left {
            None => Ok(false),
            Some((0, done)) => done.get().send_value(py, py.None()).map(|()| true),
            Some(_) => Ok(true),
        }
    }
}
