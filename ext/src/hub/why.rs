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
    ThreadHandle = 4,
}

/// A Rust class of Python objects that a greenlet can wait for.
pub trait Waitable {
    /// Which one it is: no other has the same.
    const KIND: Kind;

    /// Greenlets that wait for this object, or that it has woken, never run again, because their hub has ended: they
    /// are taken out, and what they were woken for is another's now. May not switch.
    fn forget_lost(&self, py: Python<'_>);
}

type ForgetValue = fn(Python<'_>, *const ());

/// Has the object at this address, if it is one to wait for, forget who never runs again. May not switch.
pub type ForgetObject = fn(Python<'_>, *mut ffi::PyObject);

/// `Waitable::forget_lost`, by kind.
static VALUES: [OnceLock<ForgetValue>; 5] = [const { OnceLock::new() }; 5];

/// The same for what is noted as an object.
static OBJECTS: [OnceLock<ForgetObject>; 2] = [const { OnceLock::new() }; 2];

/// Has `forget_lost` of this class called.
pub fn forgets<T: Waitable>() {
    let forget: ForgetValue = |py, address| {
        // SAFETY: the address was made by `within` of a value of this class (its kind says so), which lives for as
        // long as the greenlet is parked (invariant of this file).
        let value = unsafe { &*address.cast::<T>() };
        value.forget_lost(py);
    };
    VALUES[T::KIND as usize].get_or_init(|| forget);
}

/// Has this called for objects that are noted by `of` and `at`. For at most two modules.
pub fn forgets_by(forget: ForgetObject) {
    let taken = OBJECTS.iter().all(|place| place.set(forget).is_err());
    debug_assert!(!taken, "a third module needs a place");
}

/// `g` never runs again, because its hub has ended: what it is parked for forgets it. May not switch. The caller keeps
/// all greenlets of the hub alive meanwhile.
pub(super) fn forget(py: Python<'_>, g: Gr) {
    if g.get().reason.get().is_none() {
        return;
    }
    match g.get().what.get().target() {
        Target::Nothing => {}
        Target::Value(kind, address) => {
            if let Some(forget) = VALUES[kind as usize].get() {
                forget(py, address);
            }
        }
        Target::Object(object) => {
            for forget in OBJECTS.iter().filter_map(OnceLock::get) {
                forget(py, object);
            }
        }
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
            4 => value(Kind::ThreadHandle),
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
