//! Identities: the number that `threading.get_ident` gives for a greenlet, unique for the life of the process.
//!
//! The main greenlet of an OS thread has that thread's own number, so that the main thread stays the main thread.
//! Every other greenlet gets a new number when it is first asked for, and none is given twice. A greenlet that was
//! never asked costs nothing. What belongs to an identity (`thread_module`) is told of its end through `on_end`.
//!
//! The number of a system's thread is its `pthread_t`, an address, and libraries pass it to pthread_setname_np(3)
//! and pthread_kill(3), which look behind it. So the numbers of ours are addresses, too: of memory that is mapped,
//! never written by us, and so all zero. What is looked for there is a thread with the number 0: an error, and no
//! crash. Where no memory can be mapped the numbers are odd and small. GIL held throughout.
#![allow(unsafe_code)] // maps memory

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

use crate::error::Result;
use crate::gil_cell::GilCell;
use crate::greenlet::{self, Gr};

/// Bytes that are mapped at once, for 64 million numbers.
const SEGMENT: u64 = 1 << 30;

/// From one number to the next, so that what lies behind is aligned.
const STRIDE: u64 = 16;

/// Bytes behind the last number of a segment: more than the system keeps of a thread.
const BEHIND: u64 = 1 << 16;

/// The next number of the present segment, and where its numbers end.
static SEGMENT_LEFT: GilCell<(u64, u64)> = GilCell::new((0, 0));

/// The next number where nothing can be mapped.
static NEXT_ODD: AtomicU64 = AtomicU64::new(1);

/// A new segment: its first number and the end of its numbers.
#[cold]
fn map() -> Option<(u64, u64)> {
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let length = usize::try_from(SEGMENT).ok()?;
    // SAFETY: a new mapping, of nobody else's addresses; it is never unmapped.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0) };
    if start == libc::MAP_FAILED {
        return None;
    }
    let start = start as u64;
    Some((start, start + SEGMENT - BEHIND))
}

/// A number that no thread and no greenlet has or had.
fn fresh(py: Python<'_>) -> u64 {
    let (mut next, mut end) = SEGMENT_LEFT.get(py);
    if next == end {
        match map() {
            Some(segment) => (next, end) = segment,
            None => return NEXT_ODD.fetch_add(2, Ordering::Relaxed),
        }
    }
    SEGMENT_LEFT.set(py, (next + STRIDE, end));
    next
}

static ON_END: OnceLock<fn(Python<'_>, u64)> = OnceLock::new();

/// The identity of `g`.
#[inline]
pub fn of(g: Gr) -> u64 {
    let ident = g.get().ident.get();
    if ident != 0 { ident } else { assign(g) }
}

#[cold]
fn assign(g: Gr) -> u64 {
    // SAFETY: greenlets are asked with the GIL held.
    let ident = fresh(unsafe { Python::assume_attached() });
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
