//! Identities: the number that `threading.get_ident` gives for a greenlet, unique for the life of the process.
//!
//! The main greenlet of an OS thread has that thread's own number, so that the main thread stays the main thread.
//! Every other greenlet gets an odd number when it is first asked for: those of the system are addresses or small
//! even counters, and none of ours is given twice. A greenlet that was never asked costs nothing.
//! What belongs to an identity (`thread_module`) is told of its end through `on_end`. GIL held throughout.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

use crate::error::Result;
use crate::greenlet::{self, Gr};

static NEXT: AtomicU64 = AtomicU64::new(1);

static ON_END: OnceLock<fn(Python<'_>, u64)> = OnceLock::new();

/// The identity of `g`.
#[inline]
pub fn of(g: Gr) -> u64 {
    let ident = g.get().ident.get();
    if ident != 0 { ident } else { assign(g) }
}

#[cold]
fn assign(g: Gr) -> u64 {
    let ident = NEXT.fetch_add(2, Ordering::Relaxed);
    g.get().ident.set(ident);
    ident
}

/// The identity of the running greenlet; RuntimeError once the interpreter finalizes.
#[inline]
pub fn current() -> Result<u64> {
    greenlet::current().map(of)
}

/// Sets what is called with the identity of each greenlet that ends and had one.
pub fn on_end(f: fn(Python<'_>, u64)) {
    let _ = ON_END.set(f); // the import of the module sets it, once
}

/// A greenlet that was asked for its identity has ended.
#[cold]
pub fn ended(py: Python<'_>, ident: u64) {
    if let Some(f) = ON_END.get() {
        f(py, ident);
    }
}
