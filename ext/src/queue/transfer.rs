//! How items go from putters to getters: through the container, or straight in a channel.

use pyo3::prelude::*;
use pyo3::types::PySet;

use super::items::Items;
use super::turn::Turn;
use super::{LifoQueue, LightQueue, Order, PriorityQueue, Queue, State, empty, full, shut_down};
use crate::error;
use crate::gil_cell::GilCell;
use crate::hub::{self, Instant, Reason, Waiter, Woken};
use crate::wait_queue::{Key, WaitQueue};

type Slf<'a, 'py> = &'a Bound<'py, LightQueue>;

impl LightQueue {
    pub(super) fn unset() -> LightQueue {
        let state = State {
            maxsize: None,
            items: Items::Unset,
            order: Order::Overridden,
            getters: WaitQueue::new(),
            putters: WaitQueue::new(),
            tasks: None,
            shut: false,
        };
        LightQueue {
            live: true,
            state: GilCell::new(state),
            turn: Turn::new(),
        }
    }

    pub(super) fn is_shut(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.shut)
    }

    /// Runs `change` on the container while nobody else changes it.
    fn alone<R>(slf: Slf<'_, '_>, change: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
        let py = slf.py();
        match slf.get().order(py) {
            Order::Fifo | Order::Lifo => change(), // runs no Python code
            Order::Priority | Order::Overridden => slf.get().turn.take(py, change),
        }
    }

    /// Puts an item into the container if there is room.
    pub(super) fn try_store<'py>(slf: Slf<'_, 'py>, item: &Bound<'py, PyAny>) -> PyResult<bool> {
        LightQueue::alone(slf, || {
            let room = LightQueue::has_room(slf)?;
            if room {
                LightQueue::store(slf, item)?;
            }
            Ok(room)
        })
    }

    /// Puts an item back that was in the container before.
    fn restore<'py>(slf: Slf<'_, 'py>, item: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if slf.get().order(py) == Order::Fifo {
            return slf.get().return_item(py, item);
        }
        LightQueue::alone(slf, || LightQueue::store(slf, item))?;
        slf.get().state.with(py, |state| {
            if let Some((tasks, _)) = &mut state.tasks {
                *tasks -= 1; // it was counted when it was put
            }
        });
        Ok(())
    }

    /// Drops all items; they count as done.
    pub(super) fn drain(slf: Slf<'_, '_>) -> PyResult<()> {
        let py = slf.py();
        loop {
            let item = LightQueue::alone(slf, || {
                (LightQueue::size(slf)? > 0)
                    .then(|| LightQueue::fetch(slf))
                    .transpose()
            })?;
            let Some(item) = item else { return Ok(()) };
            drop(item);
            slf.get().finish_task(py)?;
        }
    }

    pub(super) fn order(&self, py: Python<'_>) -> Order {
        self.state.with(py, |state| state.order)
    }

    pub(super) fn size(slf: Slf<'_, '_>) -> PyResult<i64> {
        let py = slf.py();
        if slf.get().order(py) == Order::Overridden {
            return slf.call_method0(pyo3::intern!(py, "qsize"))?.extract();
        }
        Ok(slf.get().count_items(py)? as i64)
    }

    /// Puts an item into the container.
    pub(super) fn store<'py>(slf: Slf<'_, 'py>, item: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = slf.py();
        match slf.get().order(py) {
            Order::Overridden => slf
                .call_method1(pyo3::intern!(py, "_put"), (item,))
                .map(drop),
            order => {
                slf.get().add_item(py, order, item)?;
                slf.get().count_task(py)
            }
        }
    }

    /// Takes an item out of the container, which has one.
    pub(super) fn fetch<'py>(slf: Slf<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        match slf.get().order(py) {
            Order::Overridden => slf.call_method0(pyo3::intern!(py, "_get")),
            order => slf.get().take_item(py, order),
        }
    }

    pub(super) fn count_task(&self, py: Python<'_>) -> PyResult<()> {
        let first = self.state.with(py, |state| {
            let (tasks, done) = state.tasks.as_mut()?;
            *tasks += 1;
            (*tasks == 1).then(|| done.bind(py).clone())
        });
        // Natively, because the GIL must be kept from the count to here: `intern!` lets go of it the first time.
        match first {
            Some(done) if done.get().is_ready(py) => done.get().reset(py),
            _ => Ok(()),
        }
    }

    pub(super) fn has_room(slf: Slf<'_, '_>) -> PyResult<bool> {
        match slf.get().state.with(slf.py(), |state| state.maxsize) {
            None => Ok(true),
            Some(maxsize) => Ok(LightQueue::size(slf)? < maxsize),
        }
    }

    pub(super) fn is_channel(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.maxsize == Some(0))
    }

    /// Restores the invariant of the module.
    pub(super) fn balance(slf: Slf<'_, '_>) -> PyResult<()> {
        let py = slf.py();
        let queue = slf.get();
        LightQueue::forget_lost(slf)?;
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

    /// Passes over greenlets whose OS thread has ended; what getters had been handed is put back.
    #[inline]
    pub(super) fn forget_lost(slf: Slf<'_, '_>) -> PyResult<()> {
        let py = slf.py();
        let may_have = slf.get().state.with(py, |state| {
            state.getters.may_have_lost() || state.putters.may_have_lost()
        });
        if may_have {
            LightQueue::find_lost(slf)
        } else {
            Ok(())
        }
    }

    #[cold]
    fn find_lost(slf: Slf<'_, '_>) -> PyResult<()> {
        let py = slf.py();
        let (getters, putters) = slf.get().state.with(py, |state| {
            (state.getters.forget_lost(), state.putters.forget_lost())
        });
        drop(putters); // their items were never taken, or are in the queue
        for entry in getters {
            if let Some(item) = entry.data {
                LightQueue::restore(slf, &item.into_bound(py))?;
            }
        }
        Ok(())
    }

    /// An item if there is one without waiting: from the container, or of the first putter of a channel.
    pub(super) fn try_fetch<'py>(slf: Slf<'_, 'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let (item, from_container) = LightQueue::alone(slf, || {
            if LightQueue::size(slf)? > 0 {
                return Ok((Some(LightQueue::fetch(slf)?), true));
            }
            if !slf.get().is_channel(py) {
                return Ok((None, false));
            }
            Ok((LightQueue::fetch_from_putter(slf)?, false))
        })?;
        if from_container {
            LightQueue::balance(slf)?;
        }
        Ok(item)
    }

    /// The item of the first waiting putter; it goes through the container, so that `_put` and `_get` see it.
    fn fetch_from_putter<'py>(slf: Slf<'_, 'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let reserved = slf.get().state.with(py, |state| {
            let (key, entry) = state.putters.first_waiting(py, Option::is_some)?;
            Some((key, entry.data.take()?))
        });
        let Some((key, item)) = reserved else {
            return Ok(None);
        };
        let item = item.into_bound(py);
        if let Err(error) = LightQueue::store(slf, &item) {
            slf.get().state.with(py, |state| {
                if let Some(data) = state.putters.get_mut(key) {
                    *data = Some(item.unbind()); // it is still the putter's
                }
            });
            return Err(error);
        }
        let at_once = if hub::is_in_hub(py) {
            // The hub cannot wait for the putter's turn: it switches to it, if it is one of its own.
            slf.get().state.with(py, |state| {
                let entry = state.putters.entry(key)?;
                let here = entry.waiter.is_local(py) && entry.waiter.is_waiting(py);
                here.then(|| entry.waiter.greenlet().clone())
            })
        } else {
            None
        };
        match at_once {
            Some(greenlet) => {
                let item = LightQueue::fetch(slf)?;
                greenlet
                    .bind(py)
                    .call_method0(pyo3::intern!(py, "switch"))?;
                Ok(Some(item))
            }
            None => {
                let told = slf
                    .get()
                    .state
                    .with(py, |state| state.putters.wake(py, key, |_| ()));
                let _ = told; // a putter that is leaving sees that its item is gone
                LightQueue::fetch(slf).map(Some)
            }
        }
    }

    /// Gives an item to the first waiting getter of a channel.
    pub(super) fn hand_over<'py>(slf: Slf<'_, 'py>, item: &Bound<'py, PyAny>) -> PyResult<bool> {
        let py = slf.py();
        let waits = |state: &mut State| state.getters.first_waiting(py, Option::is_none).is_some();
        if !slf.get().state.with(py, waits) {
            return Ok(false);
        }
        let item = LightQueue::alone(slf, || {
            LightQueue::store(slf, item)?;
            LightQueue::fetch(slf)
        })?;
        let mut handed = Some(item.unbind());
        slf.get().state.with(py, |state| {
            state.getters.wake_one(py, |told| *told = handed.take())
        });
        if let Some(item) = handed {
            // The getter left while `_put` ran: the next one finds the item in the container.
            LightQueue::restore(slf, &item.into_bound(py))?;
            LightQueue::balance(slf)?;
        }
        Ok(true)
    }

    #[inline(never)]
    pub(super) fn get_until<'py>(
        slf: Slf<'_, 'py>,
        deadline: Option<Instant>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let waiter = Waiter::current(slf.py())?;
        let key = slf
            .get()
            .state
            .with(slf.py(), |state| state.getters.push(waiter, None));
        let result = LightQueue::get_loop(slf, key, deadline);
        LightQueue::leave_getters(slf, key, result)
    }

    /// Gives the place of a getter up; returns its item.
    #[inline(never)]
    fn leave_getters<'py>(
        slf: Slf<'_, 'py>,
        key: Key,
        result: PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let entry = slf.get().state.with(py, |state| state.getters.remove(key));
        let told = entry
            .and_then(|entry| entry.data)
            .map(|item| item.into_bound(py));
        match (result, told) {
            // Broken off with an item in hand that was taken from its putter already: it must not be lost.
            (Err(error), Some(item)) => {
                LightQueue::restore(slf, &item)?;
                LightQueue::balance(slf)?;
                Err(error)
            }
            (result, _) => {
                LightQueue::balance(slf)?;
                result
            }
        }
    }

    pub(super) fn get_loop<'py>(
        slf: Slf<'_, 'py>,
        key: Key,
        deadline: Option<Instant>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        LightQueue::balance(slf)?;
        loop {
            let woken = hub::park(py, Reason::Queue.within(slf.get()), deadline);
            if let Some(item) = LightQueue::got(slf, key, woken)? {
                return Ok(item);
            }
        }
    }

    /// What the wait of a getter has brought; `None` if it goes on, in the same place. A function of its own, as
    /// `gave` is, so that a green thread that waits has little on its stack.
    #[inline(never)]
    fn got<'py>(
        slf: Slf<'_, 'py>,
        key: Key,
        woken: error::Result<Woken>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let woken = woken.map_err(|raised| raised.into_err(py))?;
        let told = slf.get().state.with(py, |state| {
            state.getters.get_mut(key).and_then(Option::take)
        });
        if let Some(item) = told {
            return Ok(Some(item.into_bound(py)));
        }
        match woken {
            Woken::TimedOut => return Err(empty(py)),
            Woken::Switched(value) => return Ok(Some(value.into_bound(py))),
            Woken::Waker => {}
        }
        if let Some(item) = LightQueue::try_fetch(slf)? {
            return Ok(Some(item));
        }
        if slf.get().is_shut(py) {
            return Err(shut_down(py));
        }
        let waiter = Waiter::current(py)?;
        let old = slf
            .get()
            .state
            .with(py, |state| state.getters.wait_again(key, waiter));
        drop(old);
        LightQueue::balance(slf)?;
        Ok(None)
    }

    #[inline(never)]
    pub(super) fn put_until<'py>(
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

    pub(super) fn put_loop<'py>(
        slf: Slf<'_, 'py>,
        item: &Bound<'py, PyAny>,
        key: Key,
        deadline: Option<Instant>,
    ) -> PyResult<()> {
        let py = slf.py();
        LightQueue::balance(slf)?;
        loop {
            let woken = hub::park(py, Reason::Queue.within(slf.get()), deadline);
            if LightQueue::gave(slf, item, key, woken)? {
                return Ok(());
            }
        }
    }

    /// Whether the wait of a putter has ended; if not, it goes on in the same place.
    #[inline(never)]
    fn gave(
        slf: Slf<'_, '_>,
        item: &Bound<'_, PyAny>,
        key: Key,
        woken: error::Result<Woken>,
    ) -> PyResult<bool> {
        let py = slf.py();
        let woken = woken.map_err(|raised| raised.into_err(py))?;
        let taken = slf.get().state.with(py, |state| {
            state.putters.get_mut(key).is_none_or(|item| item.is_none())
        });
        if taken {
            return Ok(true);
        }
        if slf.get().is_shut(py) {
            return Err(shut_down(py));
        }
        match woken {
            Woken::TimedOut => return Err(full(py)),
            Woken::Switched(value) => drop(value.into_bound(py)),
            Woken::Waker => {}
        }
        if LightQueue::try_store(slf, item)? {
            return Ok(true);
        }
        let waiter = Waiter::current(py)?;
        let old = slf
            .get()
            .state
            .with(py, |state| state.putters.wait_again(key, waiter));
        drop(old);
        LightQueue::balance(slf)?;
        Ok(false)
    }

    pub(super) fn waiting_greenlets<'py>(
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
    pub(super) fn order_of(slf: Slf<'_, '_>) -> PyResult<Order> {
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
