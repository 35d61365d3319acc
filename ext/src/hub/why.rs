//! What a parked greenlet waits for: the reason, and the object if there is one.
//!
//! The object is noted as an address, which costs a store. Invariant: whoever parks keeps the object alive until
//! `park` returns, so that the address may be followed for as long as the greenlet is parked.

use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;

use super::Reason;
use crate::greenlet::Gr;

/// The object that somebody waits for, as an address; the lowest bits tell of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct What(usize);

/// The bits of a `What` that hold a `Kind`: free in the address of anything that is aligned to 8.
const KIND: usize = 7;

/// The Rust classes that a greenlet can wait for, of which only the value is at hand where it parks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the name of the class")]
pub enum Kind {
    Event = 1,
    Semaphore = 2,
    LightQueue = 3,
}

/// A Rust class of Python objects that a greenlet can wait for.
pub trait Waitable {
    /// Which one it is: no other has the same.
    const KIND: Kind;

    /// A greenlet that this object has woken never runs again, because its hub has ended: what it was woken for is
    /// another's now. Not called where everybody is woken at once.
    fn pass_on(&self, _py: Python<'_>) {}
}

type PassOn = fn(Python<'_>, *const ());

/// By kind, for those that pass on.
static PASS_ON: [OnceLock<PassOn>; 4] = [const { OnceLock::new() }; 4];

/// Has `pass_on` of this class called.
pub fn passes_on<T: Waitable>() {
    let pass_on: PassOn = |py, address| {
        // SAFETY: the address was made by `within` of a value of this class (its kind says so), which lives for as
        // long as the greenlet is parked (invariant of this file): for good, since that one never runs again.
        let value = unsafe { &*address.cast::<T>() };
        value.pass_on(py);
    };
    PASS_ON[T::KIND as usize].get_or_init(|| pass_on);
}

/// The object that parked `g` in its present park.
pub(super) struct Debt(PassOn, *const ());

impl Debt {
    /// What is owed to others if `g` never runs again.
    pub(super) fn of(g: Gr) -> Option<Debt> {
        match g.get().what.get().target() {
            Target::Value(kind, address) => {
                let pass_on = PASS_ON[kind as usize].get()?;
                Some(Debt(*pass_on, address))
            }
            Target::Nothing | Target::Object(_) => None,
        }
    }

    /// Passes it on.
    pub(super) fn settle(self, py: Python<'_>) {
        (self.0)(py, self.1);
    }
}

/// What an address stands for.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// Nothing was noted.
    Nothing,
    /// A Python object, borrowed.
    Object(*mut ffi::PyObject),
    /// The Rust value in a Python object of that class.
    Value(Kind, *const ()),
}

impl What {
    /// No object.
    pub const NOTHING: What = What(0);

    /// What was noted.
    pub fn target(self) -> Target {
        let address = self.0 & !KIND;
        let value = |kind| Target::Value(kind, address as *const ());
        match self.0 & KIND {
            1 => value(Kind::Event),
            2 => value(Kind::Semaphore),
            3 => value(Kind::LightQueue),
            _ if address == 0 => Target::Nothing,
            _ => Target::Object(address as *mut ffi::PyObject),
        }
    }
}

/// The reason of a park and its object.
#[derive(Debug, Clone, Copy)]
pub struct Why {
    /// The reason.
    pub reason: Reason,
    /// The object.
    pub what: What,
}

impl Reason {
    /// With the greenlet that is waited for.
    #[inline(always)]
    pub fn of(self, object: Gr) -> Why {
        Why {
            reason: self,
            what: What(object.as_object_ptr() as usize),
        }
    }

    /// With a Python object that is waited for, which lives until `park` returns.
    pub fn at(self, object: *mut ffi::PyObject) -> Why {
        Why {
            reason: self,
            what: What(object as usize),
        }
    }

    /// With the Python object whose value this is.
    #[inline(always)]
    pub fn within<T: Waitable>(self, value: &T) -> Why {
        const { assert!(align_of::<T>() > KIND) };
        Why {
            reason: self,
            what: What(std::ptr::from_ref(value) as usize | T::KIND as usize),
        }
    }
}

impl Why {
    /// Whether it is only another's turn: without a deadline.
    #[inline(always)]
    pub(super) fn is_turn(&self) -> bool {
        matches!(self.reason, Reason::Sleep)
    }
}

impl From<Reason> for Why {
    #[inline(always)]
    fn from(reason: Reason) -> Why {
        Why {
            reason,
            what: What::NOTHING,
        }
    }
}
