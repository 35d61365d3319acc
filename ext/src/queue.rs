//! `LightQueue`, `Queue`, `PriorityQueue`, `LifoQueue`: items between green threads and between OS threads.
//!
//! The items are in a Python container, the attribute `queue`, changed through `_init`, `_put`, `_get` and `qsize`,
//! which a subclass may override; the container of our own classes is worked on directly. A putter that must wait
//! leaves its item in its queue entry. Invariant (`balance`): at least as many getters are woken as there are items
//! for them, and as many putters as there is room, or all of them. A woken greenlet looks again when it runs, so
//! that nothing is lost if it is killed or somebody was faster.
//!
//! A queue of size 0 is a channel: an item goes from the entry of a waiting putter straight to a getter.

use pyo3::exceptions::{PyAttributeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PySet, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::event::Event;
use crate::gil_cell::GilCell;
use crate::hub::{self, Instant, Reason, Waiter, Woken};
use crate::semaphore::Truth;
use crate::wait_queue::{Key, WaitQueue};

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
    items: Option<Py<PyAny>>,
    order: Order,
    /// Getters; an item that was handed over without room for it in a channel.
    getters: WaitQueue<Option<Py<PyAny>>>,
    /// Putters; the item until it is taken.
    putters: WaitQueue<Option<Py<PyAny>>>,
    /// Of a `Queue`: tasks put and not done, and the event that ends `join`.
    tasks: Option<(i64, Py<Event>)>,
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
}

/// Names looked up once.
struct Names {
    full: Py<PyType>,
    empty: Py<PyType>,
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
            deque: py.import("collections")?.getattr("deque")?.unbind(),
            heappush: heapq.getattr("heappush")?.unbind(),
            heappop: heapq.getattr("heappop")?.unbind(),
        })
    })
}

fn full(py: Python<'_>) -> PyErr {
    names(py).map_or_else(
        |error| error,
        |names| PyErr::from_type(names.full.bind(py).clone(), ()),
    )
}

fn empty(py: Python<'_>) -> PyErr {
    names(py).map_or_else(
        |error| error,
        |names| PyErr::from_type(names.empty.bind(py).clone(), ()),
    )
}

type Slf<'a, 'py> = &'a Bound<'py, LightQueue>;

impl LightQueue {
    fn unset() -> LightQueue {
        let state = State {
            maxsize: None,
            items: None,
            order: Order::Overridden,
            getters: WaitQueue::new(),
            putters: WaitQueue::new(),
            tasks: None,
        };
        LightQueue {
            live: true,
            state: GilCell::new(state),
        }
    }

    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.state
            .with(py, |state| {
                state.items.as_ref().map(|items| items.bind(py).clone())
            })
            .ok_or_else(|| {
                PyAttributeError::new_err(
                    "the queue has no attribute 'queue': __init__() was not called",
                )
            })
    }

    fn order(&self, py: Python<'_>) -> Order {
        self.state.with(py, |state| state.order)
    }

    fn size(slf: Slf<'_, '_>) -> PyResult<i64> {
        let py = slf.py();
        if slf.get().order(py) == Order::Overridden {
            return slf.call_method0(pyo3::intern!(py, "qsize"))?.extract();
        }
        Ok(slf.get().items(py)?.len()? as i64)
    }

    /// Puts an item into the container.
    fn store<'py>(slf: Slf<'_, 'py>, item: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = slf.py();
        match slf.get().order(py) {
            Order::Overridden => slf
                .call_method1(pyo3::intern!(py, "_put"), (item,))
                .map(drop),
            order => slf.get().store_in_order(py, order, item),
        }
    }

    fn store_in_order<'py>(
        &self,
        py: Python<'py>,
        order: Order,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let items = self.items(py)?;
        match order {
            Order::Priority => names(py)?.heappush.bind(py).call1((items, item))?,
            _ => items.call_method1(pyo3::intern!(py, "append"), (item,))?,
        };
        self.count_task(py)
    }

    /// Takes an item out of the container, which has one.
    fn fetch<'py>(slf: Slf<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        match slf.get().order(py) {
            Order::Overridden => slf.call_method0(pyo3::intern!(py, "_get")),
            order => slf.get().fetch_in_order(py, order),
        }
    }

    fn fetch_in_order<'py>(&self, py: Python<'py>, order: Order) -> PyResult<Bound<'py, PyAny>> {
        let items = self.items(py)?;
        match order {
            Order::Priority => names(py)?.heappop.bind(py).call1((items,)),
            Order::Lifo => items.call_method0(pyo3::intern!(py, "pop")),
            Order::Fifo | Order::Overridden => items.call_method0(pyo3::intern!(py, "popleft")),
        }
    }

    fn count_task(&self, py: Python<'_>) -> PyResult<()> {
        let done = self.state.with(py, |state| {
            state.tasks.as_mut().map(|(tasks, done)| {
                *tasks += 1;
                done.bind(py).clone()
            })
        });
        match done {
            Some(done) if done.get().is_ready(py) => {
                done.call_method0(pyo3::intern!(py, "reset")).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn has_room(slf: Slf<'_, '_>) -> PyResult<bool> {
        match slf.get().state.with(slf.py(), |state| state.maxsize) {
            None => Ok(true),
            Some(maxsize) => Ok(LightQueue::size(slf)? < maxsize),
        }
    }

    fn is_channel(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.maxsize == Some(0))
    }

    /// Restores the invariant of the module.
    fn balance(slf: Slf<'_, '_>) -> PyResult<()> {
        let py = slf.py();
        let queue = slf.get();
        let idle = queue.state.with(py, |state| {
            state.getters.waiting() == 0 && state.putters.waiting() == 0
        });
        if idle {
            return Ok(());
        }
        let size = LightQueue::size(slf)?;
        queue.state.with(py, |state| {
            let offered = if state.maxsize == Some(0) {
                state.putters.waiting() as i64
            } else {
                0
            };
            while state.getters.waiting() > 0 && size + offered > state.getters.woken() as i64 {
                if !state.getters.wake_one(py, |_| ()) {
                    break;
                }
            }
            let room = state.maxsize.map_or(i64::MAX, |maxsize| maxsize - size);
            while state.putters.waiting() > 0 && room > state.putters.woken() as i64 {
                if !state.putters.wake_one(py, |_| ()) {
                    break;
                }
            }
        });
        Ok(())
    }

    /// An item if there is one without waiting: from the container, or of the first putter of a channel.
    fn try_fetch<'py>(slf: Slf<'_, 'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        if LightQueue::size(slf)? > 0 {
            let item = LightQueue::fetch(slf)?;
            LightQueue::balance(slf)?;
            return Ok(Some(item));
        }
        if !slf.get().is_channel(py) {
            return Ok(None);
        }
        let offered = slf.get().state.with(py, |state| {
            let (_, entry) = state.putters.first_waiting(py)?;
            entry.data.as_ref().map(|item| item.clone_ref(py))
        });
        let Some(offered) = offered else {
            return Ok(None);
        };
        // Through the container, so that `_put` and `_get` see every item. They run before the putter is told.
        LightQueue::store(slf, &offered.into_bound(py))?;
        if hub::is_in_hub(py) {
            // The hub cannot wait for the putter's turn: it switches to it at once.
            let putter = slf.get().state.with(py, |state| {
                let (_, entry) = state.putters.first_waiting(py)?;
                Some((entry.data.take(), entry.waiter.greenlet().clone()))
            });
            let item = LightQueue::fetch(slf)?;
            if let Some((taken, greenlet)) = putter {
                drop(taken.map(|taken| taken.into_bound(py)));
                greenlet
                    .bind(py)
                    .call_method0(pyo3::intern!(py, "switch"))?;
            }
            return Ok(Some(item));
        }
        let mut taken = None;
        slf.get().state.with(py, |state| {
            state.putters.wake_one(py, |item| taken = item.take())
        });
        drop(taken.map(|item| item.into_bound(py)));
        LightQueue::fetch(slf).map(Some)
    }

    /// Gives an item to the first waiting getter of a channel.
    fn hand_over<'py>(slf: Slf<'_, 'py>, item: &Bound<'py, PyAny>) -> PyResult<bool> {
        let py = slf.py();
        if slf
            .get()
            .state
            .with(py, |state| state.getters.first_waiting(py).is_none())
        {
            return Ok(false);
        }
        LightQueue::store(slf, item)?;
        let item = LightQueue::fetch(slf)?;
        let mut handed = Some(item.unbind());
        slf.get().state.with(py, |state| {
            while state.getters.first_waiting(py).is_some() {
                if state.getters.wake_one(py, |told| *told = handed.take()) {
                    break;
                }
            }
        });
        Ok(true)
    }

    fn get_until<'py>(slf: Slf<'_, 'py>, deadline: Option<Instant>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let waiter = Waiter::current(py)?;
        let key = slf
            .get()
            .state
            .with(py, |state| state.getters.push(waiter, None));
        let result = LightQueue::get_loop(slf, key, deadline);
        let entry = slf.get().state.with(py, |state| state.getters.remove(key));
        let told = entry
            .and_then(|entry| entry.data)
            .map(|item| item.into_bound(py));
        match (result, told) {
            // Broken off with an item in hand that was taken from its putter already: it must not be lost.
            (Err(error), Some(item)) => {
                LightQueue::store(slf, &item)?;
                LightQueue::balance(slf)?;
                Err(error)
            }
            (result, _) => {
                LightQueue::balance(slf)?;
                result
            }
        }
    }

    fn get_loop<'py>(
        slf: Slf<'_, 'py>,
        key: Key,
        deadline: Option<Instant>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        LightQueue::balance(slf)?;
        loop {
            let woken = hub::park(py, Reason::Queue, deadline)?;
            let told = slf.get().state.with(py, |state| {
                state.getters.get_mut(key).and_then(Option::take)
            });
            if let Some(item) = told {
                return Ok(item.into_bound(py));
            }
            match woken {
                Woken::TimedOut => return Err(empty(py)),
                Woken::Switched(value) => return Ok(value.into_bound(py)),
                Woken::Waker => {}
            }
            if let Some(item) = LightQueue::try_fetch(slf)? {
                return Ok(item);
            }
            let waiter = Waiter::current(py)?;
            let old = slf
                .get()
                .state
                .with(py, |state| state.getters.wait_again(key, waiter));
            drop(old);
            LightQueue::balance(slf)?;
        }
    }

    fn put_until<'py>(
        slf: Slf<'_, 'py>,
        item: &Bound<'py, PyAny>,
        deadline: Option<Instant>,
    ) -> PyResult<()> {
        let py = slf.py();
        let waiter = Waiter::current(py)?;
        let key = slf.get().state.with(py, |state| {
            state.putters.push(waiter, Some(item.clone().unbind()))
        });
        let result = LightQueue::put_loop(slf, item, key, deadline);
        let entry = slf.get().state.with(py, |state| state.putters.remove(key));
        drop(
            entry
                .and_then(|entry| entry.data)
                .map(|item| item.into_bound(py)),
        );
        LightQueue::balance(slf)?;
        result
    }

    fn put_loop<'py>(
        slf: Slf<'_, 'py>,
        item: &Bound<'py, PyAny>,
        key: Key,
        deadline: Option<Instant>,
    ) -> PyResult<()> {
        let py = slf.py();
        LightQueue::balance(slf)?;
        loop {
            let woken = hub::park(py, Reason::Queue, deadline)?;
            let taken = slf.get().state.with(py, |state| {
                state.putters.get_mut(key).is_none_or(|item| item.is_none())
            });
            if taken {
                return Ok(());
            }
            match woken {
                Woken::TimedOut => return Err(full(py)),
                Woken::Switched(value) => drop(value.into_bound(py)),
                Woken::Waker => {}
            }
            if LightQueue::has_room(slf)? {
                return LightQueue::store(slf, item);
            }
            let waiter = Waiter::current(py)?;
            let old = slf
                .get()
                .state
                .with(py, |state| state.putters.wait_again(key, waiter));
            drop(old);
            LightQueue::balance(slf)?;
        }
    }

    fn waiting_greenlets<'py>(
        &self,
        py: Python<'py>,
        side: fn(&State) -> &WaitQueue<Option<Py<PyAny>>>,
    ) -> PyResult<Bound<'py, PySet>> {
        let greenlets: Vec<Py<PyAny>> = self.state.with(py, |state| {
            side(state)
                .entries()
                .map(|entry| entry.waiter.greenlet().as_py().clone_ref(py))
                .collect()
        });
        PySet::new(py, greenlets)
    }

    /// How the items of this class are kept, with what `base` would do.
    fn order_of(slf: Slf<'_, '_>) -> PyResult<Order> {
        let (py, class) = (slf.py(), slf.get_type());
        let natural = if class.is_subclass_of::<PriorityQueue>()? {
            (py.get_type::<PriorityQueue>(), Order::Priority)
        } else if class.is_subclass_of::<LifoQueue>()? {
            (py.get_type::<LifoQueue>(), Order::Lifo)
        } else if class.is_subclass_of::<Queue>()? {
            (py.get_type::<Queue>(), Order::Fifo)
        } else {
            (py.get_type::<LightQueue>(), Order::Fifo)
        };
        let (base, order) = natural;
        if class.is(&base) {
            return Ok(order);
        }
        for name in ["_put", "_get", "qsize", "_init", "_put_bookkeeping"] {
            if class.hasattr(name)? && !class.getattr(name)?.is(&base.getattr(name)?) {
                return Ok(Order::Overridden);
            }
        }
        Ok(order)
    }
}

#[pymethods]
impl LightQueue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
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
        let items = names(py)?.deque.bind(py).call0()?.unbind();
        let old = self.state.with(py, |state| state.items.replace(items));
        drop(old);
        Ok(())
    }

    fn _put(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        self.items(py)?
            .call_method1(pyo3::intern!(py, "append"), (item,))
            .map(drop)
    }

    fn _get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.fetch_in_order(py, Order::Fifo)
    }

    /// Put *item* in; wait while the queue is full.
    ///
    /// *timeout* is in seconds, None for ever. Raises `Full` when it is over, or at once if *block* is false (the
    /// timeout then does not count). *May switch: yes.*
    #[pyo3(signature = (item, block=Truth(true), timeout=None), text_signature = "(self, item, block=True, timeout=None)")]
    fn put<'py>(
        slf: &Bound<'py, Self>,
        item: &Bound<'py, PyAny>,
        block: Truth,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let py = slf.py();
        if LightQueue::has_room(slf)? {
            LightQueue::store(slf, item)?;
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
    /// timeout then does not count). *May switch: yes.*
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
        self.items(py)?.len()
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

    /// Number of green threads that wait in `put`.
    fn putting(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.putters.len())
    }

    /// Number of green threads that wait in `get`.
    fn getting(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.getters.len())
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
        self.items(py)
    }

    #[setter(queue)]
    fn set_container(&self, py: Python<'_>, items: Py<PyAny>) {
        let old = self.state.with(py, |state| state.items.replace(items));
        drop(old);
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
        if let Ok(items) = queue.items(py)
            && items.is_truthy()?
        {
            text += &format!(" queue={}", items.repr()?);
        }
        for (name, count) in [
            ("getters", queue.getting(py)),
            ("putters", queue.putting(py)),
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
            visit.call(&state.items)?;
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
        let old = self
            .state
            .with(py, |state| (state.items.take(), state.tasks.take()));
        drop(old);
    }
}

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
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Queue> {
        PyClassInitializer::from(LightQueue::unset()).add_subclass(Queue)
    }

    #[pyo3(signature = (maxsize=None))]
    fn __init__(slf: &Bound<'_, Self>, maxsize: Option<i64>) -> PyResult<()> {
        let py = slf.py();
        let done = Py::new(py, Event::fresh())?;
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
        let py = slf.py();
        let left = slf
            .as_super()
            .get()
            .state
            .with(py, |state| match &mut state.tasks {
                Some((tasks, done)) if *tasks > 0 => {
                    *tasks -= 1;
                    Some((*tasks, done.bind(py).clone()))
                }
                _ => None,
            });
        match left {
            None => Err(PyValueError::new_err("task_done() called too many times")),
            Some((0, done)) => done.get().send_value(py, py.None()),
            Some(_) => Ok(()),
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
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<PriorityQueue> {
        PyClassInitializer::from(LightQueue::unset())
            .add_subclass(Queue)
            .add_subclass(PriorityQueue)
    }

    fn _init(slf: &Bound<'_, Self>, _maxsize: &Bound<'_, PyAny>) {
        let py = slf.py();
        slf.as_super()
            .as_super()
            .get()
            .set_container(py, PyList::empty(py).into_any().unbind());
    }

    fn _put(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let items = slf.as_super().as_super().get().items(py)?;
        names(py)?.heappush.bind(py).call1((items, item))?;
        slf.call_method0(pyo3::intern!(py, "_put_bookkeeping"))
            .map(drop)
    }

    fn _get<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.as_super()
            .as_super()
            .get()
            .fetch_in_order(slf.py(), Order::Priority)
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
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<LifoQueue> {
        PyClassInitializer::from(LightQueue::unset())
            .add_subclass(Queue)
            .add_subclass(LifoQueue)
    }

    fn _init(slf: &Bound<'_, Self>, _maxsize: &Bound<'_, PyAny>) {
        let py = slf.py();
        slf.as_super()
            .as_super()
            .get()
            .set_container(py, PyList::empty(py).into_any().unbind());
    }

    fn _get<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.as_super()
            .as_super()
            .get()
            .fetch_in_order(slf.py(), Order::Lifo)
    }
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LightQueue>()?;
    module.add_class::<Queue>()?;
    module.add_class::<PriorityQueue>()?;
    module.add_class::<LifoQueue>()
}
