//! Spinning: a green thread that takes free locks again and again, and never waits, lets the others run now and then.
//!
//! Programs written for OS threads may poll (`while not queue.empty(): pass`): the interpreter would take the GIL from
//! them, and who is waited for would run. Here that one would never run. So after much CPU time and many locks without
//! a single wait, taking a lock is a wait: a place where such a program may be interrupted in any case. So is raising
//! a signal, whose handler runs there.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eventlet::clock::cpu_time;
use pyo3::prelude::*;

use super::{in_hub_greenlet, runs_here, yield_now};
use crate::gil_cell::GilCell;
use crate::thread::Thread;

/// How many locks are taken, and signals raised, between two looks at the clock; a power of two.
const STRIDE: u32 = 1024;

/// CPU time without a wait that is too much.
const PATIENCE: Duration = Duration::from_millis(100);

/// The same for who was interrupted here, and has not waited of itself since: how long the interpreter lets a thread run.
const SLICE: Duration = Duration::from_millis(5);

/// Locks that were taken, and signals that were raised; nothing is lost if some are not counted.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// Who ran at the last look.
#[derive(Clone, Copy)]
struct Seen {
    greenlet: usize,
    /// In which of its parks.
    park: u64,
    /// CPU time of its OS thread that is too much.
    limit: Duration,
}

static SEEN: GilCell<Seen> = GilCell::new(Seen {
    greenlet: 0,
    park: 0,
    limit: Duration::ZERO,
});

/// To be called before a lock of `threading`'s kind is taken by who is ready to wait for it, and before a signal is
/// raised. May switch: yes.
#[inline]
pub fn interrupt_spinner(py: Python<'_>) -> PyResult<()> {
    let taken = TAKEN.load(Ordering::Relaxed).wrapping_add(1);
    TAKEN.store(taken, Ordering::Relaxed);
    if taken.is_multiple_of(STRIDE) {
        look(py)
    } else {
        Ok(())
    }
}

#[cold]
fn look(py: Python<'_>) -> PyResult<()> {
    let Some(thread) = Thread::existing().filter(|thread| runs_here() && !in_hub_greenlet(thread))
    else {
        return Ok(());
    };
    let me = thread.current.get();
    if me.get().reason.get().is_some() {
        return Ok(()); // a hub's own `switch()`: it is about to wait
    }
    let note = |patience| {
        SEEN.set(
            py,
            Seen {
                greenlet: me.as_object_ptr() as usize,
                park: me.get().parks.get(),
                limit: cpu_time() + patience,
            },
        );
    };
    let seen = SEEN.get(py);
    if seen.greenlet != me.as_object_ptr() as usize || seen.park != me.get().parks.get() {
        note(PATIENCE);
    } else if cpu_time() >= seen.limit {
        yield_now()
            .map(|value| drop(value.into_bound(py)))
            .map_err(|raised| raised.into_err(py))?;
        note(SLICE);
    }
    Ok(())
}
