//! `patient`: a native call that may wait without end, in a thread of its own.
//!
//! Invariant: the result is either taken by the green thread that waits, or dropped in the native thread or by the
//! green thread that no longer wants it; so a result that must be undone undoes itself when dropped.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::raise;
use crate::hub::{self, Instant, Letter, Reason, Waiter, Woken};

enum Stage<T> {
    Waiting(Option<Letter>),
    Done(std::thread::Result<T>),
    Abandoned,
}

/// The calls' stack: they are one system call deep.
const STACK: usize = 128 * 1024;

/// Runs `work` in a new native thread and waits for it; `None` if the deadline comes first, after which `work` goes on
/// and its result is dropped. Error if no thread can be had. May switch: yes.
pub fn patient<T, F>(
    py: Python<'_>,
    noun: &'static str,
    deadline: Option<Instant>,
    work: F,
) -> PyResult<Option<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let letter = Waiter::current(py)?.letter();
    let shared = Arc::new(Mutex::new(Stage::Waiting(Some(letter))));
    spawn(noun, work, &shared).map_err(|error| raise(py, &error))?;
    loop {
        let woken =
            hub::park(py, Reason::Other(noun), deadline).map_err(|raised| raised.into_err(py));
        let again = matches!(&woken, Ok(Woken::Switched(_)));
        let stage = {
            let mut stage = lock(&shared);
            if again && matches!(*stage, Stage::Waiting(_)) {
                let letter = Waiter::current(py)?.letter();
                let old = std::mem::replace(&mut *stage, Stage::Waiting(Some(letter)));
                drop(stage);
                drop(old);
                continue;
            }
            std::mem::replace(&mut *stage, Stage::Abandoned)
        };
        let woken = woken?;
        return match stage {
            Stage::Done(Ok(value)) => Ok(Some(value)),
            Stage::Done(Err(_)) => Err(PyRuntimeError::new_err("the native call has panicked")),
            Stage::Waiting(_) | Stage::Abandoned if matches!(woken, Woken::TimedOut) => Ok(None),
            Stage::Waiting(_) | Stage::Abandoned => {
                Err(PyRuntimeError::new_err("woken for no reason"))
            }
        };
    }
}

fn spawn<T, F>(noun: &'static str, work: F, shared: &Arc<Mutex<Stage<T>>>) -> io::Result<()>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let theirs = Arc::clone(shared);
    let run = move || {
        block_signals();
        let result = catch_unwind(AssertUnwindSafe(work));
        let old = {
            let mut stage = lock(&theirs);
            if matches!(*stage, Stage::Abandoned) {
                drop(stage);
                drop(result);
                return;
            }
            std::mem::replace(&mut *stage, Stage::Done(result))
        };
        if let Stage::Waiting(Some(letter)) = old
            && let Err(letter) = letter.send()
        {
            std::mem::forget(letter); // the hub has ended; this thread has no GIL to drop it with
        }
    };
    std::thread::Builder::new()
        .name(noun.to_owned())
        .stack_size(STACK)
        .spawn(run)
        .map(drop)
}

fn lock<T>(shared: &Mutex<Stage<T>>) -> std::sync::MutexGuard<'_, Stage<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Signals are for threads that run Python.
fn block_signals() {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills the set in.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: a set that was filled in; the calling thread alone is concerned.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut()) };
}
