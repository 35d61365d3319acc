//! Fetches into the cache what the next wake-ups will touch, while the present one still runs.
//!
//! With a thousand green threads everything that belongs to one has left the cache by its next turn, and a
//! resume follows a chain of pointers: object, its state, its stack. Each link is fetched one turn before it is
//! followed, so that the misses overlap with work. Invariant: only addresses of objects that a wake-up owns are
//! read; fetching ahead itself cannot fault.
#![allow(unsafe_code)] // fetches ahead

use super::{Engine, Reason, Wake};
use crate::greenlet::{Gr, Greenlet};
use crate::object::Object;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Lines of a suspended stack that resuming touches first.
const FRAMES: usize = 8;

/// The same for a call that waits for a descriptor: from the switch to the interpreter's loop.
const CALL: usize = 24;

/// Lines at the other end of the stack, where the interpreter keeps the frame of the outermost Python function.
const OUTERMOST: usize = 3;

/// Asks for a cache line; does nothing on processors that are not known here.
#[inline(always)]
pub fn fetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint: no access happens, and any address will do.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

fn fetch_all<T>(start: *const T, bytes: usize) {
    for offset in (0..bytes).step_by(LINE) {
        fetch(start.wrapping_byte_add(offset));
    }
}

fn object(wake: &Wake) -> Option<&Object> {
    match wake {
        Wake::Resume(object, _) | Wake::TimedOut(object, _) | Wake::Start(object) => Some(object),
        Wake::Call(..) | Wake::Release(..) | Wake::Cancel(_) => None,
    }
}

/// To be called whenever a wake-up was taken.
#[inline(always)]
pub fn ahead(engine: &Engine<Wake>) {
    if let Some(wake) = engine.upcoming(1) {
        several(engine, wake);
    }
}

#[inline(never)]
fn several(engine: &Engine<Wake>, second: &Wake) {
    if let Some(greenlet) = object(second).map(Gr::from_object) {
        let greenlet = greenlet.get();
        // SAFETY: suspended, so nobody changes it; a stale or fresh one yields an address that is only fetched.
        let stack = unsafe { (*greenlet.fiber.get()).stack_pointer() };
        if !matches!(greenlet.reason.get(), Some(Reason::Fd { .. })) {
            fetch_all(stack, FRAMES * LINE);
        } else {
            fetch_all(stack, CALL * LINE);
            // SAFETY: as above; the cell is only read, by the one thread that changes it.
            if let Some(stack) = unsafe { &*greenlet.stack.as_ptr() } {
                fetch_all(stack.top(), OUTERMOST * LINE);
            }
        }
    }
    if let Some(greenlet) = engine.upcoming(2).and_then(object).map(Gr::from_object) {
        fetch_all(std::ptr::from_ref(greenlet.get()), size_of::<Greenlet>());
    }
    match engine.upcoming(3) {
        Some(Wake::Call(_, argument)) => fetch_all(argument.as_ptr(), 3 * LINE),
        Some(wake) => {
            if let Some(object) = object(wake) {
                fetch(object.as_ptr());
            }
        }
        None => {}
    }
}
