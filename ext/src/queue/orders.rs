//! `PriorityQueue` and `LifoQueue`: queues with an order of their own.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::{LightQueue, Order, Queue};

/// A `Queue` that gives the lowest item first: usually tuples of a number and the item.
///
/// >>> from eventlet.queue import PriorityQueue
/// >>> queue = PriorityQueue()
/// >>> queue.put((2, "cup")), queue.put((1, "tea"))
/// (None, None)
/// >>> queue.get()
/// (1, 'tea')
#[pyclass(extends = Queue, subclass, frozen, module = "eventlet.queue")]
pub struct PriorityQueue;

#[pymethods]
impl PriorityQueue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=None)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<PriorityQueue> {
        PyClassInitializer::from(LightQueue::unset())
            .add_subclass(Queue)
            .add_subclass(PriorityQueue)
    }

    fn _init(slf: &Bound<'_, Self>, _maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = slf.as_super().as_super().get();
        queue.clear_items(slf.py(), Order::Priority)
    }

    fn _put(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let queue = slf.as_super().as_super().get();
        queue.add_item(py, Order::Priority, item)?;
        slf.call_method0(pyo3::intern!(py, "_put_bookkeeping"))
            .map(drop)
    }

    fn _get<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.as_super()
            .as_super()
            .get()
            .take_item(slf.py(), Order::Priority)
    }
}

/// A `Queue` that gives the item put last first.
///
/// >>> from eventlet.queue import LifoQueue
/// >>> queue = LifoQueue()
/// >>> queue.put("cup"), queue.put("tea")
/// (None, None)
/// >>> queue.get()
/// 'tea'
#[pyclass(extends = Queue, subclass, frozen, module = "eventlet.queue")]
pub struct LifoQueue;

#[pymethods]
impl LifoQueue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=None)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<LifoQueue> {
        PyClassInitializer::from(LightQueue::unset())
            .add_subclass(Queue)
            .add_subclass(LifoQueue)
    }

    fn _init(slf: &Bound<'_, Self>, _maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let queue = slf.as_super().as_super().get();
        queue.clear_items(slf.py(), Order::Lifo)
    }

    fn _get<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.as_super()
            .as_super()
            .get()
            .take_item(slf.py(), Order::Lifo)
    }
}
