//! `Turn`: one greenlet at a time changes a container whose changes run Python code.
//!
//! While a subclass's `_put` or the comparisons of a heap run, other OS threads may get the GIL, and the greenlet
//! may even switch. Who comes meanwhile waits, first come first served; who has the turn may come again.

use pyo3::prelude::*;

use crate::gil_cell::GilCell;
use crate::hub::{self, Reason};
use crate::object::Object;
use crate::semaphore::Semaphore;

/// Who may change the container.
pub struct Turn {
    free: Semaphore,
    holder: GilCell<Option<Object>>,
}

impl Turn {
    /// Nobody's turn.
    pub fn new() -> Turn {
        Turn {
            free: Semaphore::with_counter(1, Reason::Queue),
            holder: GilCell::new(None),
        }
    }

    /// Runs `change` when it is the current greenlet's turn. May switch: yes.
    pub fn take<R>(&self, py: Python<'_>, change: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
        let me = hub::current_greenlet(py)?;
        let mine = self.holder.with(py, |holder| {
            holder.as_ref().is_some_and(|holder| holder.is(me.as_ptr()))
        });
        if mine {
            return change();
        }
        self.free.take(py, None)?;
        drop(self.holder.replace(py, Some(me)));
        let result = change();
        drop(self.holder.replace(py, None));
        self.free.give(py);
        result
    }
}
