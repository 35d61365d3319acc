//! `Items`: what is in a queue, and how it is changed in the order of its class.
//!
//! Our own classes keep their items natively until somebody asks for the attribute `queue`; from then on, and in
//! classes with methods of their own, they are in a Python container.

use std::collections::VecDeque;
use std::ptr;

use pyo3::exceptions::{PyAttributeError, PyIndexError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{PyTraverseError, PyVisit};

use super::{LightQueue, Order, names};
use crate::object::Object;

/// What is in a queue.
#[derive(Default)]
pub enum Items {
    /// Nothing: `__init__` was not called.
    #[default]
    Unset,
    /// Items that only we have.
    Native(VecDeque<Object>),
    /// A Python container.
    Container(Py<PyAny>),
}

impl Items {
    /// For the cyclic collector.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Items::Unset => Ok(()),
            Items::Native(items) => items.iter().try_for_each(|item| visit.call(item.as_py())),
            Items::Container(container) => visit.call(container),
        }
    }
}

impl LightQueue {
    /// Begins without items.
    pub(super) fn clear_items(&self, py: Python<'_>, order: Order) -> PyResult<()> {
        let items = match (self.order(py), order) {
            (Order::Fifo | Order::Lifo, _) => Items::Native(VecDeque::new()),
            (_, Order::Fifo) => Items::Container(names(py)?.deque.bind(py).call0()?.unbind()),
            _ => Items::Container(PyList::empty(py).into_any().unbind()),
        };
        drop(self.replace_items(py, items));
        Ok(())
    }

    /// Puts other items in; gives the old ones to be dropped.
    pub(super) fn replace_items(&self, py: Python<'_>, items: Items) -> Items {
        self.state
            .with(py, |state| std::mem::replace(&mut state.items, items))
    }

    /// The container, made now if there was none.
    pub(super) fn container_of_items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        loop {
            let copy: Vec<Object> = match self.state.with(py, |state| match &state.items {
                Items::Unset => None,
                Items::Container(container) => Some(Err(container.bind(py).clone())),
                Items::Native(items) => Some(Ok(items.iter().cloned().collect())),
            }) {
                None => {
                    return Err(PyAttributeError::new_err(
                        "the queue has no attribute 'queue': __init__() was not called",
                    ));
                }
                Some(Err(container)) => return Ok(container),
                Some(Ok(copy)) => copy,
            };
            let list = PyList::new(py, copy.iter().map(|item| item.bind(py)))?.into_any();
            let container = match self.order(py) {
                Order::Fifo => names(py)?.deque.bind(py).call1((list,))?,
                _ => list,
            };
            // The collector may have run in between, and a finalizer used the queue: then once more.
            let made = Items::Container(container.unbind());
            let old = self.state.with(py, |state| match &state.items {
                Items::Native(items) if same(items, &copy) => {
                    Some(std::mem::replace(&mut state.items, made))
                }
                _ => None,
            });
            drop(old);
        }
    }

    /// Number of items.
    pub(super) fn count_items(&self, py: Python<'_>) -> PyResult<usize> {
        let native = self.state.with(py, |state| match &state.items {
            Items::Native(items) => Some(items.len()),
            _ => None,
        });
        native.map_or_else(|| self.container_of_items(py)?.len(), Ok)
    }

    /// Adds an item in this order.
    pub(super) fn add_item<'py>(
        &self,
        py: Python<'py>,
        order: Order,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let native = self.state.with(py, |state| match &mut state.items {
            Items::Native(items) => {
                items.push_back(Object::from_bound(item));
                true
            }
            _ => false,
        });
        if native {
            return Ok(());
        }
        let items = self.container_of_items(py)?;
        match order {
            Order::Priority => names(py)?.heappush.bind(py).call1((items, item))?,
            _ => items.call_method1(pyo3::intern!(py, "append"), (item,))?,
        };
        Ok(())
    }

    /// Puts an item back to the front of a first-in-first-out queue.
    pub(super) fn return_item<'py>(
        &self,
        py: Python<'py>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let native = self.state.with(py, |state| match &mut state.items {
            Items::Native(items) => {
                items.push_front(Object::from_bound(item));
                true
            }
            _ => false,
        });
        if !native {
            let items = self.container_of_items(py)?;
            items.call_method1(pyo3::intern!(py, "appendleft"), (item,))?;
        }
        Ok(())
    }

    /// Takes the next item in this order. IndexError if there is none.
    pub(super) fn take_item<'py>(
        &self,
        py: Python<'py>,
        order: Order,
    ) -> PyResult<Bound<'py, PyAny>> {
        let native = self.state.with(py, |state| match &mut state.items {
            Items::Native(items) => Some(match order {
                Order::Lifo => items.pop_back(),
                _ => items.pop_front(),
            }),
            _ => None,
        });
        if let Some(item) = native {
            return item
                .map(|item| item.into_bound(py))
                .ok_or_else(|| PyIndexError::new_err("pop from an empty queue"));
        }
        let items = self.container_of_items(py)?;
        match order {
            Order::Priority => names(py)?.heappop.bind(py).call1((items,)),
            Order::Lifo => items.call_method0(pyo3::intern!(py, "pop")),
            Order::Fifo | Order::Overridden => items.call_method0(pyo3::intern!(py, "popleft")),
        }
    }
}

fn same(items: &VecDeque<Object>, copy: &[Object]) -> bool {
    let pairs = items.iter().zip(copy);
    items.len() == copy.len()
        && pairs
            .into_iter()
            .all(|(a, b)| ptr::eq(a.as_ptr(), b.as_ptr()))
}
