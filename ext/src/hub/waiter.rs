//! `Waiter`: a greenlet in one of its parks, to be woken by anybody; `Letter`: its wake-up on the way to its hub.
//!
//! Invariant: a wake-up has no effect unless the greenlet is still in that park, or about to begin it.

use std::sync::Arc;

use eventlet::inbox::Inbox;
use pyo3::prelude::*;

use super::{Wake, get};
use crate::error::Raised;
use crate::greenlet::Gr;
use crate::object::Object;
use crate::thread::Thread;

/// Who is to be woken: a greenlet in its next park.
#[derive(Clone)]
pub struct Waiter {
    greenlet: Object,
    park: u64,
    serial: u64,
    door: Arc<Inbox<Wake>>,
}

// SAFETY: used with the GIL held only, as every Object.
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

impl Waiter {
    /// The current greenlet in the park that it is about to begin.
    pub fn current(py: Python<'_>) -> PyResult<Waiter> {
        let thread = Thread::get().ok_or_else(|| Raised.into_err(py))?;
        let hub = get(thread).map_err(|raised| raised.into_err(py))?;
        let me = thread.current.get();
        let park = me.get().parks.get() + 1;
        Ok(Waiter {
            greenlet: me.object(),
            park,
            serial: hub.serial,
            door: Arc::clone(&hub.inbox),
        })
    }

    /// Continues the greenlet in its hub's next turn. False if it no longer waits for this. Any OS thread.
    pub fn wake(&self, py: Python<'_>) -> bool {
        if !self.is_waiting(py) {
            return false;
        }
        let wake = Wake::Resume(self.greenlet.clone(), self.park);
        if let Some(thread) = Thread::existing()
            && let Some(hub) = &*thread.hub.borrow()
            && hub.serial == self.serial
        {
            hub.engine.borrow_mut().wake(wake);
            return true;
        }
        self.door.send(wake).is_ok()
    }

    /// Whether the greenlet is in that park, or about to begin it, and will ever run again.
    pub fn is_waiting(&self, _py: Python<'_>) -> bool {
        if !self.door.is_open() {
            return false;
        }
        let greenlet = Gr::from_object(&self.greenlet).get();
        let parks = greenlet.parks.get();
        (parks == self.park && greenlet.reason.get().is_some()) || parks + 1 == self.park
    }

    /// The greenlet.
    pub fn greenlet(&self) -> &Object {
        &self.greenlet
    }

    /// Whether its hub has ended, so that the greenlet never runs again.
    pub fn is_lost(&self) -> bool {
        !self.door.is_open()
    }

    /// Whether it belongs to the calling thread's hub.
    pub fn is_local(&self, _py: Python<'_>) -> bool {
        let hub = Thread::existing().map(|thread| thread.hub.borrow());
        hub.is_some_and(|hub| hub.as_ref().is_some_and(|hub| hub.serial == self.serial))
    }

    /// Its wake-up, made ahead for a thread that will not hold the GIL.
    pub fn letter(&self) -> Letter {
        Letter {
            wake: Wake::Resume(self.greenlet.clone(), self.park),
            door: Arc::clone(&self.door),
        }
    }
}

/// A wake-up on its way to a hub. Any OS thread may send it, with or without the GIL; it is dropped with the GIL.
pub struct Letter {
    wake: Wake,
    door: Arc<Inbox<Wake>>,
}

impl Letter {
    /// Has the greenlet continue in its hub's next turn, if it still waits. Gives the letter back when the hub
    /// has ended.
    pub fn send(self) -> Result<(), Letter> {
        let Letter { wake, door } = self;
        door.send(wake).map_err(|wake| Letter { wake, door })
    }
}
