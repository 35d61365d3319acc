//! `_thread.RLock`: owned by a green thread, not by its OS thread.
//!
//! CPython writes the number of the OS thread that holds an RLock into it. Between the methods that run in an OS
//! thread with a hub, the identity of the green thread stands there instead; for the original's eyes it is exchanged
//! for the number of the OS thread during the call, which is short and never waits. The main greenlet has the OS
//! thread's number as its identity, so that it owns what the thread held before the methods were redirected, and
//! what is not redirected (other OS threads) sees owners that it is not. Count and lock remain CPython's.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::ffi::PyObject;
use pyo3::prelude::*;

use super::arguments::Call;
use super::line::{self, Told};
use super::lock::{Wanted, attempt, refused, reinit};
use super::{Native, Slot, slot_for};
use crate::error::{Raised, Result};
use crate::hub::{self, Reason};
use crate::object::Object;
use crate::thread_ident;

/// Where the owner stands in an RLock; 0 until it was found.
static OWNER: AtomicUsize = AtomicUsize::new(0);

/// Finds where CPython notes the owner, by looking what an RLock says while it is held and while it is not. The
/// error says that it was not found.
pub fn find_owner(class: &Bound<'_, PyAny>) -> PyResult<std::result::Result<(), String>> {
    if OWNER.load(Ordering::Relaxed) != 0 {
        return Ok(Ok(()));
    }
    let size: usize = class.getattr("__basicsize__")?.extract()?;
    let lock = class.call0()?;
    let words = || -> Vec<u64> {
        let places = (size_of::<PyObject>()..size).step_by(size_of::<u64>());
        places
            // SAFETY: within the object, which is made of words.
            .map(|offset| unsafe { lock.as_ptr().byte_add(offset) })
            // SAFETY: as above.
            .map(|place| unsafe { *place.cast::<u64>() })
            .collect()
    };
    let free = words();
    lock.call_method0("acquire")?;
    let held = words();
    lock.call_method0("release")?;
    let me = native();
    let found: Vec<usize> = (0..held.len())
        .filter(|&index| held[index] == me && free[index] != me)
        .collect();
    let &[index] = found.as_slice() else {
        return Ok(Err("where it notes its owner was not found".to_owned()));
    };
    OWNER.store(
        size_of::<PyObject>() + index * size_of::<u64>(),
        Ordering::Relaxed,
    );
    Ok(Ok(()))
}

/// The number of the calling OS thread, as CPython has it.
fn native() -> u64 {
    // SAFETY: always succeeds.
    unsafe { libc::pthread_self() as u64 }
}

/// The owner that an RLock notes.
struct Owner(*mut u64);

impl Owner {
    fn of(lock: *mut PyObject) -> Owner {
        // SAFETY: within the object, as `find_owner` found.
        Owner(unsafe { lock.byte_add(OWNER.load(Ordering::Relaxed)) }.cast())
    }

    fn get(&self) -> u64 {
        // SAFETY: the lock is alive during the call of its method; GIL held.
        unsafe { *self.0 }
    }

    fn set(&self, ident: u64) {
        // SAFETY: as above.
        unsafe { *self.0 = ident };
    }
}

/// An owner that is nobody who could ask.
const SOMEBODY: u64 = 2;

/// Runs `f`, which calls an original that does not wait, with the OS thread's number as the owner of what the
/// running green thread owns (and only of that).
fn as_owner<T>(lock: *mut PyObject, f: impl FnOnce() -> Result<T>) -> Result<T> {
    let me = thread_ident::current()?;
    let thread = native();
    if me == thread {
        return f();
    }
    let owner = Owner::of(lock);
    let before = owner.get();
    if before == me {
        owner.set(thread);
    } else if before == thread {
        owner.set(SOMEBODY); // the main greenlet holds it
    }
    let result = f();
    match owner.get() {
        now if now == thread => owner.set(me),
        SOMEBODY if before == thread => owner.set(thread),
        _ => (),
    }
    result
}

/// `acquire(blocking=True, timeout=-1)`, also `__enter__`.
fn acquire(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    match Wanted::parse(py, call)? {
        Wanted::AsAsked => as_owner(call.this, || call.forward()),
        Wanted::Until(deadline) => {
            hub::interrupt_spinner(py).map_err(|error| Raised::from_err(py, error))?;
            let attempt = || as_owner(call.this, || attempt(call));
            if let Some(taken) = attempt()? {
                return Ok(taken);
            }
            let told = Told::Always;
            let taken = line::wait(py, call.this, Reason::Lock, deadline, told, attempt)?;
            Ok(taken.unwrap_or_else(refused))
        }
    }
}

/// `release()`, also `__exit__`, and `_release_save()`: everywhere, because who waits may be in another thread.
fn release(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let done = if hub::runs_here() {
        as_owner(call.this, || call.forward())
    } else {
        call.forward()
    }?;
    line::advance(py, call.this, false);
    Ok(done)
}

/// `_is_owned()`, `_recursion_count()`.
fn ask(_py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    as_owner(call.this, || call.forward())
}

/// `_acquire_restore((count, owner))`: takes the lock as often as `_release_save` found it taken.
fn acquire_restore(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let [state] = call.parse([""]).unwrap_or([std::ptr::null_mut()]);
    // SAFETY: live or null.
    let state = unsafe { Bound::from_borrowed_ptr_or_opt(py, state) };
    let Some(Ok((count, _))) = state.map(|state| state.extract::<(u64, u64)>()) else {
        return call.forward(); // which complains
    };
    let slot = acquire_slot(py, call.this).map_err(|error| Raised::from_err(py, error))?;
    let acquire = Call::blank(slot, call.this);
    let attempt = || as_owner(call.this, || attempt(&acquire));
    if attempt()?.is_none() {
        line::wait(py, call.this, Reason::Lock, None, Told::Always, attempt)?;
    }
    for _ in 1..count {
        attempt()?;
    }
    Ok(Object::none())
}

/// The slot of `acquire`.
fn acquire_slot(py: Python<'_>, lock: *mut PyObject) -> PyResult<&'static Slot> {
    // SAFETY: a live object.
    let class = unsafe { Bound::from_borrowed_ptr(py, crate::object::type_of(lock).cast()) };
    slot_for(&class.getattr("acquire")?).map_err(pyo3::exceptions::PyRuntimeError::new_err)
}

/// What acts in the place of each method of `_thread.RLock`, and whether in every OS thread.
pub const METHODS: [(&str, Native, bool); 9] = [
    ("acquire", acquire, false),
    ("__enter__", acquire, false),
    ("release", release, true),
    ("__exit__", release, true),
    ("_release_save", release, true),
    ("_acquire_restore", acquire_restore, false),
    ("_is_owned", ask, false),
    ("_recursion_count", ask, false),
    ("_at_fork_reinit", reinit, true),
];
