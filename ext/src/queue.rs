//! `LightQueue`, `Queue`, `PriorityQueue`, `LifoQueue`: items between green threads and between OS threads.
//!
//! The items are in a container, the attribute `queue`, changed through `_init`, `_put`, `_get` and `qsize`, which a
//! subclass may override; the container of our own classes is native until somebody looks (`items`). A putter that must wait
//! leaves its item in its queue entry. Invariant (`balance`): at least as many getters are woken as there are items
//! for them, and as many putters as there is room, or all of them. A woken greenlet looks again when it runs, so
//! that nothing is lost if it is killed or somebody was faster. Where changing the container runs Python code, one
//! greenlet at a time does so (`turn`), since other OS threads may run meanwhile.
//!
//! A queue of size 0 is a channel: an item goes from the entry of a waiting putter straight to a getter.

mod items;
mod orders;
mod tasks;
mod transfer;
mod turn;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PySet, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

pub use orders::{LifoQueue, PriorityQueue};
pub use tasks::Queue;

use crate::event::Event;
use crate::gil_cell::GilCell;
use crate::hub;
use crate::semaphore::Truth;
use crate::wait_queue::WaitQueue;
use items::Items;
use turn::Turn;

/// How the items are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// A deque: first in, first out.
    Fifo,
    /// A list: last in, first out.
    Lifo,
    /// A list as a heap: lowest first.
    Priority,
    /// By the methods that a subclass overrides.
    Overridden,
}

struct State {
    maxsize: Option<i64>,
    items: Items,
    order: Order,
    /// Getters; an item that was handed over without room for it in a channel.
    getters: WaitQueue<Option<Py<PyAny>>>,
    /// Putters; the item until it is taken.
    putters: WaitQueue<Option<Py<PyAny>>>,
    /// Of a `Queue`: tasks put and not done, and the event that ends `join`.
    tasks: Option<(i64, Py<Event>)>,
    /// Whether `shutdown` was called.
    shut: bool,
}

/// Items that green threads put and get, without the accounting of tasks that `Queue` has.
///
/// *maxsize* None or negative: no limit. 0: a channel, where `put` waits until `get` takes the item.
///
/// >>> import eventlet
/// >>> from eventlet.queue import LightQueue
/// >>> queue = LightQueue(1)
/// >>> _ = eventlet.spawn(queue.put, "tea")
/// >>> queue.get()
/// 'tea'
#[pyclass(subclass, frozen, weakref, dict, module = "eventlet.queue")]
pub struct LightQueue {
    /// False in memory that is not filled in yet (see `Event`).
    live: bool,
    state: GilCell<State>,
    turn: Turn,
}

impl hub::Waitable for LightQueue {
    const KIND: hub::Kind = hub::Kind::LightQueue;

    fn forget_lost(&self, py: Python<'_>) {
        let lost = self.state.with(py, |state| {
            if !state.getters.may_have_lost() && !state.putters.may_have_lost() {
                return None;
            }
            let handed = state.getters.has_lost(|item| item.is_some());
            let woken = state.getters.woken() + state.putters.woken();
            let mut lost = Vec::new();
            if !handed {
                lost = state.getters.forget_lost();
                lost.append(&mut state.putters.forget_lost());
            }
            if handed || woken != state.getters.woken() + state.putters.woken() {
                // They look again when they run, and put back what others were handed.
                state.getters.wake_all(py, |_| ());
                state.putters.wake_all(py, |_| ());
            }
            Some(lost)
        });
        drop(lost);
    }
}

/// Names looked up once.
struct Names {
    full: Py<PyType>,
    empty: Py<PyType>,
    shut: Py<PyType>,
    deque: Py<PyAny>,
    heappush: Py<PyAny>,
    heappop: Py<PyAny>,
}

fn names(py: Python<'_>) -> PyResult<&Names> {
    static NAMES: PyOnceLock<Names> = PyOnceLock::new();
    NAMES.get_or_try_init(py, || {
        let queue = py.import("queue")?;
        let heapq = py.import("heapq")?;
        Ok(Names {
            full: queue.getattr("Full")?.cast_into::<PyType>()?.unbind(),
            empty: queue.getattr("Empty")?.cast_into::<PyType>()?.unbind(),
            shut: match queue.getattr("ShutDown") {
                Ok(class) => class.cast_into::<PyType>()?.unbind(),
                Err(_) => own_shut_down(py)?, // CPython before 3.13
            },
            deque: py.import("collections")?.getattr("deque")?.unbind(),
            heappush: heapq.getattr("heappush")?.unbind(),
            heappop: heapq.getattr("heappop")?.unbind(),
        })
    })
}

fn own_shut_down(py: Python<'_>) -> PyResult<Py<PyType>> {
    let base = py.get_type::<PyException>();
    let text = c"Raised by `put` and `get` of a queue that was shut down.";
    PyErr::new_type(
        py,
        c"eventlet.queue.ShutDown",
        Some(text),
        Some(&base),
        None,
    )
}

fn error(py: Python<'_>, class: fn(&Names) -> &Py<PyType>) -> PyErr {
    names(py).map_or_else(
        |error| error,
        |names| PyErr::from_type(class(names).bind(py).clone(), ()),
    )
}

fn full(py: Python<'_>) -> PyErr {
    error(py, |names| &names.full)
}

fn empty(py: Python<'_>) -> PyErr {
    error(py, |names| &names.empty)
}

fn shut_down(py: Python<'_>) -> PyErr {
    error(py, |names| &names.shut)
}

#[pymethods]
impl LightQueue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> LightQueue {
        LightQueue::unset()
    }

    #[pyo3(signature = (maxsize=None))]
    fn __init__(slf: &Bound<'_, Self>, maxsize: Option<i64>) -> PyResult<()> {
        let order = LightQueue::order_of(slf)?;
        let limit = maxsize.filter(|maxsize| *maxsize >= 0);
        slf.get().state.with(slf.py(), |state| {
            (state.maxsize, state.order) = (limit, order)
        });
        slf.call_method1(pyo3::intern!(slf.py(), "_init"), (maxsize,))
            .map(drop)
    }

    fn _init(&self, py: Python<'_>, _maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        self.clear_items(py, Order::Fifo)
    }

    fn _put(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_item(py, Order::Fifo, item)
    }

    fn _get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.take_item(py, Order::Fifo)
    }

    /// Put *item* in; wait while the queue is full.
    ///
    /// *timeout* is in seconds, None for ever. Raises `Full` when it is over, or at once if *block* is false (the
    /// timeout then does not count), and `ShutDown` after `shutdown`. *May switch: yes.*
    #[pyo3(signature = (item, block=Truth(true), timeout=None), text_signature = "(self, item, block=True, timeout=None)")]
    fn put<'py>(
        slf: &Bound<'py, Self>,
        item: &Bound<'py, PyAny>,
        block: Truth,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let py = slf.py();
        if slf.get().is_shut(py) {
            return Err(shut_down(py));
        }
        if LightQueue::try_store(slf, item)? {
            return LightQueue::balance(slf);
        }
        if !block.0 {
            let handed = slf.get().is_channel(py) && LightQueue::hand_over(slf, item)?;
            return if handed { Ok(()) } else { Err(full(py)) };
        }
        let deadline = timeout
            .map(|seconds| hub::deadline_in(py, seconds))
            .transpose()?;
        LightQueue::put_until(slf, item, deadline)
    }

    /// Put *item* in without waiting; raises `Full` if there is no room. *May switch: no.*
    fn put_nowait<'py>(slf: &Bound<'py, Self>, item: &Bound<'py, PyAny>) -> PyResult<()> {
        LightQueue::put(slf, item, Truth(false), None)
    }

    /// Take an item out and return it; wait while there is none.
    ///
    /// *timeout* is in seconds, None for ever. Raises `Empty` when it is over, or at once if *block* is false (the
    /// timeout then does not count), and `ShutDown` after `shutdown` when the last item is out. *May switch: yes.*
    #[pyo3(signature = (block=Truth(true), timeout=None), text_signature = "(self, block=True, timeout=None)")]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        block: Truth,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if let Some(item) = LightQueue::try_fetch(slf)? {
            return Ok(item);
        }
        if slf.get().is_shut(py) {
            return Err(shut_down(py));
        }
        if !block.0 {
            return Err(empty(py));
        }
        let deadline = timeout
            .map(|seconds| hub::deadline_in(py, seconds))
            .transpose()?;
        LightQueue::get_until(slf, deadline)
    }

    /// Take an item out without waiting; raises `Empty` if there is none. *May switch: no.*
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        LightQueue::get(slf, Truth(false), None)
    }

    /// Number of items in it.
    fn qsize(&self, py: Python<'_>) -> PyResult<usize> {
        self.count_items(py)
    }

    /// Whether there is no item in it.
    fn empty(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Ok(LightQueue::size(slf)? == 0)
    }

    /// Whether there is no room in it; never without a limit.
    fn full(slf: &Bound<'_, Self>) -> PyResult<bool> {
        LightQueue::has_room(slf).map(|room| !room)
    }

    /// Change the limit; None removes it. Putters that fit now are woken. *May switch: no.*
    #[pyo3(signature = (size))]
    fn resize(slf: &Bound<'_, Self>, size: Option<i64>) -> PyResult<()> {
        slf.get().state.with(slf.py(), |state| state.maxsize = size);
        LightQueue::balance(slf)
    }

    /// Have `put` raise `ShutDown` from now on, and `get` when no item is left; whoever waits in them is woken.
    ///
    /// With *immediate* true what is in the queue is dropped, and counts as done for `join`. As
    /// `queue.Queue.shutdown` of CPython 3.13 and later, on every version. *May switch: no.*
    ///
    /// >>> from eventlet.queue import Queue
    /// >>> queue = Queue()
    /// >>> queue.put("tea")
    /// >>> queue.shutdown()
    /// >>> queue.get(), queue.is_shutdown
    /// ('tea', True)
    #[pyo3(signature = (immediate=Truth(false)), text_signature = "(self, immediate=False)")]
    fn shutdown(slf: &Bound<'_, Self>, immediate: Truth) -> PyResult<()> {
        let py = slf.py();
        slf.get().state.with(py, |state| state.shut = true);
        let dropped = if immediate.0 {
            LightQueue::drain(slf)
        } else {
            Ok(())
        };
        slf.get().state.with(py, |state| {
            state.getters.wake_all(py, |_| ());
            state.putters.wake_all(py, |_| ());
        });
        dropped
    }

    /// Whether `shutdown` was called.
    #[getter]
    fn is_shutdown(&self, py: Python<'_>) -> bool {
        self.is_shut(py)
    }

    /// Number of green threads that wait in `put`.
    fn putting(slf: &Bound<'_, Self>) -> PyResult<usize> {
        LightQueue::forget_lost(slf)?;
        Ok(slf.get().state.with(slf.py(), |state| state.putters.len()))
    }

    /// Number of green threads that wait in `get`.
    fn getting(slf: &Bound<'_, Self>) -> PyResult<usize> {
        LightQueue::forget_lost(slf)?;
        Ok(slf.get().state.with(slf.py(), |state| state.getters.len()))
    }

    /// The limit; None for none.
    #[getter]
    fn maxsize(&self, py: Python<'_>) -> Option<i64> {
        self.state.with(py, |state| state.maxsize)
    }

    #[setter(maxsize)]
    fn set_maxsize(slf: &Bound<'_, Self>, maxsize: Option<i64>) -> PyResult<()> {
        LightQueue::resize(slf, maxsize)
    }

    /// The container of the items.
    #[getter(queue)]
    fn container<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.container_of_items(py)
    }

    #[setter(queue)]
    fn set_container(&self, py: Python<'_>, items: Py<PyAny>) {
        drop(self.replace_items(py, Items::Container(items)));
    }

    /// The green threads that wait in `get`, as a new set.
    #[getter]
    fn getters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PySet>> {
        self.waiting_greenlets(py, |state| &state.getters)
    }

    /// The green threads that wait in `put`, as a new set.
    #[getter]
    fn putters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PySet>> {
        self.waiting_greenlets(py, |state| &state.putters)
    }

    fn _format(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, queue) = (slf.py(), slf.get());
        let maxsize = queue
            .maxsize(py)
            .map_or_else(|| "None".to_owned(), |maxsize| maxsize.to_string());
        let mut text = format!("maxsize={maxsize}");
        if let Ok(items) = queue.container_of_items(py)
            && items.is_truthy()?
        {
            text += &format!(" queue={}", items.repr()?);
        }
        for (name, count) in [
            ("getters", LightQueue::getting(slf)?),
            ("putters", LightQueue::putting(slf)?),
        ] {
            if count > 0 {
                text += &format!(" {name}[{count}]");
            }
        }
        let tasks = queue.state.with(py, |state| {
            state
                .tasks
                .as_ref()
                .map(|(tasks, done)| (*tasks, done.clone_ref(py)))
        });
        if let Some((tasks, done)) = tasks {
            let done = done.into_bound(py);
            if tasks > 0 {
                text += &format!(" tasks={tasks} _cond={}", done.str()?);
            }
        }
        Ok(text)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let text = slf.call_method0("_format")?;
        Ok(format!(
            "<{} at {:#x} {text}>",
            slf.get_type().name()?,
            slf.as_ptr() as usize
        ))
    }

    fn __str__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let text = slf.call_method0("_format")?;
        Ok(format!("<{} {text}>", slf.get_type().name()?))
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        class
            .py()
            .import("types")?
            .getattr("GenericAlias")?
            .call1((class, item))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.live {
            return Ok(());
        }
        self.state.peek(|state| {
            state.items.traverse(&visit)?;
            if let Some((_, done)) = &state.tasks {
                visit.call(done)?;
            }
            state
                .getters
                .entries()
                .chain(state.putters.entries())
                .try_for_each(|entry| {
                    visit.call(entry.waiter.greenlet().as_py())?;
                    visit.call(&entry.data)
                })
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let old = self.state.with(py, |state| {
            (std::mem::take(&mut state.items), state.tasks.take())
        });
        drop(old);
    }
}

/// The class of the exception that queues raise after `shutdown`: the standard one where there is one.
///
/// A function, because the standard module that has it loads `threading`, which `import greenlet` must not.
#[pyfunction]
fn queue_shut_down(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    Ok(names(py)?.shut.bind(py))
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(queue_shut_down, module)?)?;
    hub::forgets::<LightQueue>();
    module.add_class::<LightQueue>()?;
    module.add_class::<Queue>()?;
    module.add_class::<PriorityQueue>()?;
    module.add_class::<LifoQueue>()
}
