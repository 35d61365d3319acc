//! `offload`: a native, GIL-free call in a thread of the pool, while the other green threads run.
//!
//! For system calls that cannot be waited for with a descriptor: files, name look-ups, locks of files. What the
//! call needs and what it returns are owned by it, so that nothing dangles when the green thread is killed or has
//! no more patience: the call then runs to its end and its result is dropped in the thread of the pool.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::pool::{self, Job};
use super::{Kind, ready_pool};
use crate::gil::Gil;
use crate::hub::{self, Instant, Letter, Reason, Waiter, Woken};

/// What the call leaves for the green thread, and how to wake that.
struct Shared<T> {
    result: Option<std::thread::Result<T>>,
    letter: Option<Letter>,
}

struct Errand<T, F> {
    work: F,
    shared: Arc<Mutex<Shared<T>>>,
}

fn lock<T>(shared: &Mutex<Shared<T>>) -> std::sync::MutexGuard<'_, Shared<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Send, F: FnOnce() -> T + Send> Job for Errand<T, F> {
    fn run(self: Box<Self>, _gil: &Gil) -> Option<Letter> {
        let Errand { work, shared } = *self;
        let result = catch_unwind(AssertUnwindSafe(work));
        let mut shared = lock(&shared);
        shared.result = Some(result);
        shared.letter.take()
    }
}

/// Runs `work` without the GIL in a thread of the system's pool and waits for it; the other green threads go on.
/// May switch: yes.
///
/// `noun` says what is waited for. In an OS thread without a hub, in one of a pool, and in the hub itself, `work`
/// runs in place, still without the GIL. When the green thread is killed meanwhile, the error comes at once and
/// the result is dropped later. RuntimeError if `work` panics.
pub fn offload<T, F>(py: Python<'_>, noun: &'static str, work: F) -> PyResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    offload_until(py, noun, None, work).map(|result| result.expect("there was no deadline"))
}

/// As `offload`; `None` if the deadline comes first (work in place is not interrupted).
pub fn offload_until<T, F>(
    py: Python<'_>,
    noun: &'static str,
    deadline: Option<Instant>,
    work: F,
) -> PyResult<Option<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if pool::is_member() || !hub::runs_here() || hub::is_in_hub(py) {
        return in_place(py, work).map(Some);
    }
    let pool = ready_pool(py, Kind::System)?;
    let letter = Waiter::current(py)?.letter();
    let Some(pool) = pool.filter(|pool| pool.get().0.accepts()) else {
        return in_place(py, work).map(Some);
    };
    let shared = Arc::new(Mutex::new(Shared {
        result: None,
        letter: Some(letter),
    }));
    let errand = Errand {
        work,
        shared: Arc::clone(&shared),
    };
    pool.get().0.push(Box::new(errand));
    loop {
        let woken =
            hub::park(py, Reason::Other(noun), deadline).map_err(|raised| raised.into_err(py));
        let (result, letter) = {
            let mut shared = lock(&shared);
            (shared.result.take(), shared.letter.take())
        };
        drop(letter);
        let woken = woken?;
        if let Some(result) = result {
            return result.map(Some).map_err(|_| panicked(noun));
        }
        if matches!(woken, Woken::TimedOut) {
            return Ok(None);
        }
        // Somebody switched to the green thread: not yet.
        let letter = Waiter::current(py)?.letter();
        let mut shared = lock(&shared);
        if let Some(result) = shared.result.take() {
            return result.map(Some).map_err(|_| panicked(noun));
        }
        shared.letter = Some(letter);
    }
}

fn in_place<T>(py: Python<'_>, work: impl FnOnce() -> T) -> PyResult<T> {
    Gil::release(py, |_| catch_unwind(AssertUnwindSafe(work))).map_err(|_| panicked("native call"))
}

fn panicked(noun: &str) -> PyErr {
    PyRuntimeError::new_err(format!("{noun}: the native call has panicked"))
}
