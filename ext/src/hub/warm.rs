//! Fetches into the cache what the next wake-ups will touch, while the present one still runs.
//!
//! With a thousand green threads everything that belongs to one has left the cache by its next turn, and a
//! resume follows a chain of pointers: object, its state, its stack. Each link is fetched before it is followed, so
//! that the misses overlap with work. What is at which place in the line, from afar:
//!
//! - `group`: the pages. A stack has its page for itself, and its entry in the page table too, which is gone as well:
//!   0.3 us to find it on a virtual machine, and a fetch waits for that. So they are asked for together, which takes
//!   hardly longer than one (76 ns each alone, 14 ns in groups of 16, with the page table in the cache).
//! - `chain`: what the fetches of the next steps follow.
//! - `lines` of the next one: everything that it touches, on pages that are known by now.
//! - `lines` of the one that goes on now, once more: the kernel has pushed them out of the first level meanwhile, and
//!   going back through the frames waits for one after the other, since the processor does not foresee where each
//!   returns to on another stack.
//!
//! Against fetching a stack for the next one only, that saves 0.4 us of the 1.3 us that a request of the echo server
//! with 1000 connections costs outside the kernel. With 100 it would cost 50 ns and save nothing, since all is in the
//! second level of the cache: so it is for crowds only.
//!
//! Invariant: only addresses of objects that a wake-up owns are read; fetching ahead itself cannot fault.
#![allow(unsafe_code)] // fetches ahead

use super::descriptors::ROW;
use super::{Engine, Hub, Reason, Wake};
use crate::greenlet::{Gr, Greenlet, PyGreenlet};
use crate::object::Object;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Lines of a suspended stack that resuming touches first.
const FRAMES: usize = 8;

/// The same for a call that waits for a descriptor: from the switch to the interpreter's loop.
const CALL: usize = 17;

/// Lines below the suspended stack that such a call uses before it waits again.
const BELOW: usize = 5;

/// Lines of the Python frame that goes on.
const FRAME: usize = 3;

/// Lines of the socket that a call goes on with.
const SOCKET: usize = 3;

/// Bytes of each record of the engine's, at most.
const RECORD: usize = 40;

/// Lines of a greenlet's state, wherever in a line it begins.
const STATE: usize = size_of::<Greenlet>().div_ceil(LINE) + 1;

/// So many are ready when more is to be fetched than the next stack: what as many touch exceeds a MiB.
pub const CROWD: usize = 192;

/// So many pages are asked for together, from that place in the line on.
const GROUP: usize = 16;
const LEAD: usize = 2;

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

/// Asks for so many lines from one on.
#[inline(always)]
fn fetch_lines<const LINES: usize, T>(first: *const T) {
    for line in 0..LINES {
        fetch(first.wrapping_byte_add(line * LINE));
    }
}

/// Asks for the one or two lines in which something small lies.
#[inline(always)]
fn fetch_small<T>(start: *const T, bytes: usize) {
    fetch(start);
    fetch(start.wrapping_byte_add(bytes - 1));
}

fn object(wake: &Wake) -> Option<&Object> {
    match wake {
        Wake::Resume(object, _) | Wake::TimedOut(object, _) | Wake::Start(object) => Some(object),
        Wake::Call(..) | Wake::Release(..) | Wake::Cancel(_) => None,
    }
}

#[inline(always)]
fn greenlet(wake: &Wake) -> Option<&Greenlet> {
    Some(Gr::from_object(object(wake)?).get())
}

/// The greenlet at a place in the line.
#[inline(always)]
fn at(engine: &Engine<Wake>, place: usize) -> Option<&Greenlet> {
    engine.upcoming(place).and_then(greenlet)
}

fn stack(greenlet: &Greenlet) -> *const u8 {
    // SAFETY: suspended, so nobody changes it; a stale or fresh one yields an address that is only fetched.
    unsafe { (*greenlet.fiber.get()).stack_pointer() }
}

/// Where the innermost Python frame ends.
fn frames_end(greenlet: &Greenlet) -> *const u8 {
    // SAFETY: as in `stack`.
    unsafe { (*greenlet.state.get()).frames_end() }
}

/// To be called whenever a wake-up is about to be taken.
#[inline(always)]
pub fn ahead(hub: &Hub, engine: &Engine<Wake>) {
    if let Some(second) = engine.upcoming(1) {
        if hub.crowded.get() {
            crowd(hub, engine);
        } else {
            several(engine, second);
        }
    }
}

#[inline(never)]
fn several(engine: &Engine<Wake>, second: &Wake) {
    if let Some(greenlet) = greenlet(second) {
        let stack = stack(greenlet);
        if !matches!(greenlet.reason.get(), Some(Reason::Fd { .. })) {
            fetch_lines::<FRAMES, _>(stack);
        } else {
            fetch_lines::<CALL, _>(stack);
            fetch_lines::<FRAME, _>(frames_end(greenlet).wrapping_sub(FRAME * LINE));
        }
    }
    chain(engine, 2, 3);
}

#[inline(never)]
fn crowd(hub: &Hub, engine: &Engine<Wake>) {
    if let Some(greenlet) = at(engine, 0)
        && let Some(Reason::Fd { fd, .. }) = greenlet.reason.get()
    {
        lines(hub, engine, greenlet, fd);
    }
    let step = hub.steps.get().wrapping_add(1);
    hub.steps.set(step);
    if step.is_multiple_of(GROUP) {
        group(engine);
    }
    if let Some(greenlet) = at(engine, 1) {
        match greenlet.reason.get() {
            Some(Reason::Fd { fd, .. }) => lines(hub, engine, greenlet, fd),
            _ => fetch_lines::<FRAMES, _>(stack(greenlet)),
        }
    }
    chain(engine, 2, 3);
}

/// Asks for all that a greenlet touches which goes on after a wait for a descriptor.
#[inline(always)]
fn lines(hub: &Hub, engine: &Engine<Wake>, greenlet: &Greenlet, fd: i32) {
    fetch_lines::<{ BELOW + CALL }, _>(stack(greenlet).wrapping_sub(BELOW * LINE));
    fetch_lines::<FRAME, _>(frames_end(greenlet).wrapping_sub(FRAME * LINE));
    fetch_lines::<SOCKET, _>(greenlet.near.get());
    if let Some(row) = hub.descriptors.borrow().place(fd) {
        fetch_small(row, ROW);
    }
    for record in engine.records(fd).into_iter().flatten() {
        fetch_small(record, RECORD);
    }
}

/// Asks for the state of the greenlet at one place, and for the object of that at another one.
#[inline(always)]
fn chain(engine: &Engine<Wake>, state: usize, wake: usize) {
    if let Some(greenlet) = at(engine, state) {
        fetch_lines::<STATE, _>(greenlet);
    }
    match engine.upcoming(wake) {
        Some(Wake::Call(_, argument)) => fetch_lines::<3, _>(argument.as_ptr()),
        Some(wake) => {
            if let Some(object) = object(wake) {
                fetch_small(object.as_ptr(), size_of::<PyGreenlet>());
            }
        }
        None => {}
    }
}

/// Asks for the pages of one group, and for what asking for those of the next ones follows.
#[inline(never)]
fn group(engine: &Engine<Wake>) {
    for place in LEAD..LEAD + GROUP {
        let Some(greenlet) = at(engine, place) else {
            continue;
        };
        fetch(stack(greenlet).wrapping_sub(BELOW * LINE));
        fetch(frames_end(greenlet).wrapping_sub(LINE));
        if let Some(Reason::Fd { .. }) = greenlet.reason.get() {
            fetch(greenlet.near.get());
        }
    }
    for place in LEAD + GROUP..LEAD + 2 * GROUP {
        chain(engine, place, place + GROUP);
    }
}
