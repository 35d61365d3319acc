//! `_thread.lock`: a lock that a green thread waits for without stopping its OS thread.
//!
//! The lock itself says whether it is held; it is only ever asked without waiting. In OS threads without a hub the
//! original method waits, and a release by a green thread wakes it as ever; a release there wakes green threads.

use std::collections::HashMap;
use std::sync::OnceLock;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use super::arguments::{Call, tuple};
use super::line::{self, Told};
use super::{Native, install};
use crate::error::{Raised, Result};
use crate::gil_cell::GilCell;
use crate::hub::{self, Instant, Reason};
use crate::object::Object;

/// What `acquire(blocking=True, timeout=-1)` was asked.
pub enum Wanted {
    /// To wait until then.
    Until(Option<Instant>),
    /// Not to wait, or nonsense: the original is to see the arguments.
    AsAsked,
}

/// Longest timeout that the interpreter takes, in seconds.
const LONGEST: f64 = 9_223_372_036.0;

impl Wanted {
    /// Reads the arguments.
    pub fn parse(py: Python<'_>, call: &Call<'_>) -> Result<Wanted> {
        if call.is_empty() {
            return Ok(Wanted::Until(None));
        }
        let Some([blocking, timeout]) = call.parse(["blocking", "timeout"]) else {
            return Ok(Wanted::AsAsked);
        };
        if !blocking.is_null() {
            // SAFETY: a live object.
            match unsafe { ffi::PyObject_IsTrue(blocking) } {
                0 => return Ok(Wanted::AsAsked),
                1 => (),
                _ => return Err(Raised),
            }
        }
        if timeout.is_null() {
            return Ok(Wanted::Until(None));
        }
        // SAFETY: a live object.
        let timeout = unsafe { Bound::from_borrowed_ptr(py, timeout) };
        match timeout.extract::<f64>() {
            Ok(-1.0) => Ok(Wanted::Until(None)),
            Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => hub::deadline_in(py, seconds)
                .map(|deadline| Wanted::Until(Some(deadline)))
                .map_err(|error| Raised::from_err(py, error)),
            _ => Ok(Wanted::AsAsked),
        }
    }
}

/// The tuple `(False,)`.
fn not_blocking() -> &'static Object {
    struct Kept(Object);
    // SAFETY: used under the GIL, and never dropped.
    unsafe impl Sync for Kept {}
    // SAFETY: as above.
    unsafe impl Send for Kept {}
    static ARGS: OnceLock<Kept> = OnceLock::new();
    &ARGS
        .get_or_init(|| {
            // SAFETY: the singleton's address.
            Kept(tuple(&[unsafe { ffi::Py_False() }]).expect("memory for a tuple of one"))
        })
        .0
}

/// Calls the original `acquire` without waiting: true if the lock was taken.
pub fn attempt(call: &Call<'_>) -> Result<Option<Object>> {
    // SAFETY: the singleton's address.
    let answer = call.call_with_tuple(not_blocking(), unsafe { ffi::Py_False() })?;
    // SAFETY: the singleton's address.
    Ok(answer.is(unsafe { ffi::Py_True() }).then_some(answer))
}

/// `acquire(blocking=True, timeout=-1)`, also `__enter__`.
fn acquire(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let Wanted::Until(deadline) = Wanted::parse(py, call)? else {
        return call.forward();
    };
    hub::interrupt_spinner(py).map_err(|error| Raised::from_err(py, error))?;
    if let Some(taken) = attempt(call)? {
        return Ok(taken);
    }
    let told = told(py, call.this);
    let taken = line::wait(py, call.this, Reason::Lock, deadline, told, || {
        attempt(call)
    })?;
    Ok(taken.unwrap_or_else(refused))
}

/// `False`.
pub fn refused() -> Object {
    // SAFETY: the singleton's address.
    let refused = unsafe { ffi::Py_False() };
    // SAFETY: a live object.
    unsafe { Object::from_borrowed(refused) }.expect("a singleton")
}

/// `release()`, also `__exit__`.
fn release(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let done = call.forward()?;
    line::advance(py, call.this, false);
    Ok(done)
}

/// `_at_fork_reinit()`.
pub fn reinit(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    line::forget(py, call.this);
    call.forward()
}

/// Locks that the interpreter itself releases, when an OS thread ends, and tells nobody: address -> weak reference.
static SENTINELS: GilCell<Option<HashMap<usize, Py<PyWeakrefReference>>>> = GilCell::new(None);

/// How who waits for this lock finds out.
fn told(py: Python<'_>, lock: *mut PyObject) -> Told {
    let known = SENTINELS.with(py, |known| {
        let known = known.as_ref()?.get(&(lock as usize))?;
        Some(known.clone_ref(py))
    });
    match known.and_then(|known| known.bind(py).upgrade()) {
        Some(found) if found.as_ptr() == lock => Told::Perhaps,
        _ => Told::Always,
    }
}

/// Notes that the interpreter releases `lock` when a thread ends.
fn note_sentinel(lock: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = lock.py();
    let reference = PyWeakrefReference::new(lock)?.unbind();
    let dead = SENTINELS.with(py, |known| {
        let known = known.get_or_insert_with(HashMap::new);
        let mut dead = Vec::new();
        if known.len() >= 64 && known.len().is_power_of_two() {
            let gone = |reference: &Py<PyWeakrefReference>| reference.bind(py).upgrade().is_none();
            dead = known.extract_if(|_, reference| gone(reference)).collect();
        }
        dead.extend(
            known
                .insert(lock.as_ptr() as usize, reference)
                .map(|old| (0, old)),
        );
        dead
    });
    drop(dead);
    Ok(())
}

/// `_set_sentinel()` (until 3.12): the lock of the calling OS thread, which is released at its end.
fn set_sentinel(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let lock = call.forward()?;
    note_sentinel(&lock.bind(py)).map_err(|error| Raised::from_err(py, error))?;
    Ok(lock)
}

/// What acts in the place of each method of `_thread.lock`, and whether in every OS thread.
pub const METHODS: [(&str, Native, bool); 7] = [
    ("acquire", acquire, false),
    ("acquire_lock", acquire, false),
    ("__enter__", acquire, false),
    ("release", release, true),
    ("release_lock", release, true),
    ("__exit__", release, true),
    ("_at_fork_reinit", reinit, true),
];

/// Redirects `_set_sentinel`; `locks` are those that it gave before.
pub fn watch_sentinels(
    function: &Bound<'_, PyAny>,
    locks: Vec<Bound<'_, PyAny>>,
) -> PyResult<std::result::Result<(), String>> {
    for lock in locks {
        note_sentinel(&lock)?;
    }
    Ok(install(function, set_sentinel, true))
}
