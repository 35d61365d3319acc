//! `Wake`: what the engine hands out, and where it leads.
//!
//! A `Wake` owns what it wakes. Each park has a number, by which a wake-up that was meant for an earlier one is
//! recognised.

use std::ffi::c_int;

use eventlet::hub::TimerKey;
use eventlet::reactor::Token;
use pyo3::prelude::*;

use crate::greenlet::{Gr, Phase};
use crate::object::Object;

/// Runs in the hub greenlet; an error is reported there. May park: another greenlet becomes the hub then.
pub type Callback = fn(Python<'_>, Py<PyAny>) -> PyResult<()>;

/// What the engine hands out: something to run.
pub enum Wake {
    /// Continue a parked greenlet if it is still in that park.
    Resume(Object, u64),
    /// As `Resume`, when its deadline has come.
    TimedOut(Object, u64),
    /// Start a green thread.
    Start(Object),
    /// Call natively, in the hub greenlet.
    Call(Callback, Py<PyAny>),
    /// Another thread closed a descriptor that this hub watches.
    Release(Token, c_int),
    /// Another thread cancelled a timer.
    Cancel(TimerKey),
}

// SAFETY: objects in it are touched with the GIL held only; the inbox merely carries them to their hub's thread.
unsafe impl Send for Wake {}

/// How a park was ended, left in the greenlet for it to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Not by the hub: by a plain switch.
    None,
    /// `Wake::Resume`.
    Woken,
    /// `Wake::TimedOut`.
    TimedOut,
}

/// Where a wake-up leads.
pub(super) enum Next {
    /// To this greenlet: it only has to be switched to.
    Go(Object),
    /// To a green thread that starts.
    Begin(Object),
    /// Nowhere: it was stale.
    Stale,
}

impl Wake {
    /// Whether it can be acted on by whoever parks, without the hub greenlet.
    #[inline(always)]
    pub(super) fn is_direct(&self) -> bool {
        matches!(self, Wake::Resume(..) | Wake::TimedOut(..) | Wake::Start(_))
    }

    #[inline(always)]
    pub(super) fn resolve(self) -> Next {
        let (object, number, mark) = match self {
            Wake::Resume(object, number) => (object, number, Mark::Woken),
            Wake::TimedOut(object, number) => (object, number, Mark::TimedOut),
            Wake::Start(object) => {
                let fresh = Gr::from_object(&object).get().phase.get() == Phase::New;
                return if fresh {
                    Next::Begin(object)
                } else {
                    Next::Stale
                };
            }
            Wake::Call(..) | Wake::Release(..) | Wake::Cancel(_) => return Next::Stale,
        };
        let greenlet = Gr::from_object(&object).get();
        if greenlet.parks.get() != number || greenlet.reason.get().is_none() {
            return Next::Stale;
        }
        greenlet.reason.set(None); // a second wake-up of this park is stale from here on
        greenlet.mark.set(mark);
        Next::Go(object)
    }
}
