//! The door: the only code that changes stacks under Python.
//!
//! `switch_to` and `throw` find the greenlet that really receives (dead ones stand for their parents), start it
//! if it is new, and `leap`. A leap carries nothing: what is handed over waits in the target's `transfer`.
//!
//! Rules. Nothing exclusive is alive across `leap`: no borrow of a RefCell, no lock, no `Python::detach`.
//! The running greenlet is owned by `Thread::current`; at a leap that reference becomes `Thread::origin` and is
//! given back by the side that arrives, which may be the last one: then the origin is killed there.
//! A fiber never changes OS thread. Every fiber's root (`root`) catches panics. A finished greenlet cannot free
//! the stack it stands on: it leaves it in `Thread::reap`.
#![allow(unsafe_code)] // switches stacks

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;

use eventlet::fiber::{self, Fiber};
use pyo3::ffi;
use pyo3::prelude::*;

use super::{Gr, Phase, error_class, exit_class, greenlet_error};
use crate::call;
use crate::error::{self, Pending, Raised, Result};
use crate::object::{Object, gc_track};
use crate::pystate::StackBounds;
use crate::thread::{CONDEMNED, REAP, TRACED, Thread};
use crate::trace;

/// What is handed over at a switch.
#[derive(Default)]
pub enum Transfer {
    /// Nothing is under way.
    #[default]
    Nothing,
    /// One value.
    Value(Object),
    /// Any other arguments: a tuple, and a dictionary that is not empty.
    Call(Object, Option<Object>),
    /// An exception to raise.
    Error(Pending),
}

impl Transfer {
    /// No arguments.
    pub fn empty() -> Transfer {
        Transfer::Call(empty_tuple(), None)
    }

    /// What `switch()` returns (or raises) for it.
    #[inline(always)]
    pub fn receive(self) -> Result<Object> {
        match self {
            Transfer::Value(value) => Ok(value),
            Transfer::Call(args, None) => Ok(args),
            Transfer::Call(args, Some(kwargs)) => both(args, kwargs),
            Transfer::Error(pending) => Err(pending.restore()),
            Transfer::Nothing => Ok(Object::none()),
        }
    }

    /// The result of a call made with it as arguments.
    #[inline(always)]
    pub fn call(self, function: &Object) -> Result<Object> {
        match self {
            Transfer::Value(value) => call::call_one(function, &value),
            Transfer::Call(args, kwargs) => call::call(function, &args, kwargs.as_ref()),
            Transfer::Nothing => call::call_none(function),
            Transfer::Error(pending) => Err(pending.restore()),
        }
    }
}

static NOTHING: OnceLock<Py<PyAny>> = OnceLock::new();

/// `()`, of which every interpreter of CPython 3.10 to 3.14 has one, for good.
#[inline(always)]
pub fn empty_tuple() -> Object {
    let tuple = NOTHING.get_or_init(make_empty_tuple).as_ptr();
    // SAFETY: live: NOTHING owns a reference.
    unsafe { Object::from_borrowed(tuple) }.expect("a Py is never null")
}

#[cold]
fn make_empty_tuple() -> Py<PyAny> {
    // SAFETY: every caller holds the GIL.
    let py = unsafe { Python::assume_attached() };
    pyo3::types::PyTuple::empty(py).into_any().unbind()
}

/// What arrives for positional and keyword arguments together.
#[cold]
fn both(args: Object, kwargs: Object) -> Result<Object> {
    // SAFETY: a tuple.
    if unsafe { ffi::PyTuple_GET_SIZE(args.as_ptr()) } == 0 {
        return Ok(kwargs);
    }
    // SAFETY: two live objects; the new tuple takes its own references.
    let pair = unsafe { ffi::PyTuple_Pack(2, args.as_ptr(), kwargs.as_ptr()) };
    // SAFETY: a new reference or null.
    unsafe { Object::from_owned(pair) }.ok_or(Raised)
}

/// Switches to `target` with one value, or with a tuple of positional arguments if `spread`; returns what is
/// handed over at the next switch back. May switch: yes.
#[inline(always)]
pub fn send(target: Gr, value: Object, spread: bool) -> Result<Object> {
    if let Some(thread) = Thread::existing() {
        let me = thread.current.get();
        let greenlet = target.get();
        let plain = thread.attention.get() == 0 && greenlet.phase.get() == Phase::Active;
        if plain && ptr::eq(greenlet.thread.peek(), thread) && target != me {
            // A greenlet that has started receives `()` and the tuple `()` alike.
            drop(greenlet.value.replace(Some(value)));
            leap(thread, me, target.object(), false);
            return receive(thread, me);
        }
    }
    switch_to(
        target,
        if spread {
            Transfer::Call(value, None)
        } else {
            Transfer::Value(value)
        },
    )
}

/// Switches to `target` with `transfer`; returns what is handed over at the next switch back. May switch: yes.
#[inline]
pub fn switch_to(target: Gr, transfer: Transfer) -> Result<Object> {
    let thread = Thread::get().ok_or(Raised)?;
    if thread.attention.get() & CONDEMNED != 0 {
        thread.execute_condemned();
    }
    check_thread(thread, target)?;
    deliver(thread, target, transfer)
}

/// Raises `exception` in `target`. A GreenletExit for a dead greenlet is a value for its parent. May switch: yes.
pub fn throw(target: Gr, exception: Pending) -> Result<Object> {
    let thread = Thread::get().ok_or(Raised)?;
    if thread.attention.get() & CONDEMNED != 0 {
        thread.execute_condemned();
    }
    check_thread(thread, target)?;
    let transfer = if target.get().phase.get() == Phase::Dead {
        exception.restore();
        outcome(Err(Raised))
    } else {
        Transfer::Error(exception)
    };
    deliver(thread, target, transfer)
}

/// Hands `transfer` to `target`, known to belong to `thread`. May switch: yes.
#[inline(always)]
pub fn deliver(thread: &Thread, target: Gr, transfer: Transfer) -> Result<Object> {
    let me = thread.current.get();
    if target.get().phase.get() == Phase::Active && target != me {
        target.get().transfer.set(transfer);
        leap(thread, me, target.object(), false);
        return receive(thread, me);
    }
    let (target, first) = receiver(thread, target, transfer)?;
    if target == me {
        thread.origin.set(me.object().into_ptr());
    } else {
        leap(thread, me, target.object(), first);
    }
    arrive(thread, me).receive()
}

/// Refuses targets of other threads.
#[inline(always)]
fn check_thread(thread: &Thread, target: Gr) -> Result<()> {
    if ptr::eq(target.get().thread.peek(), thread) {
        return Ok(());
    }
    check_lineage(thread, target)
}

/// The part of `check_thread` for greenlets that have not started or belong elsewhere.
#[cold]
fn check_lineage(thread: &Thread, target: Gr) -> Result<()> {
    let owner = target.get().lineage();
    if ptr::eq(owner, thread) {
        return Ok(());
    }
    // SAFETY: counted by the greenlet that `lineage` found it in.
    let Some(owner) = (unsafe { owner.as_ref() }) else {
        return Err(greenlet_error(
            c"cannot switch to a garbage collected greenlet",
        ));
    };
    if !owner.alive.get() {
        return Err(greenlet_error(
            c"cannot switch to a different thread (which happens to have exited)",
        ));
    }
    // SAFETY: the format takes two live objects.
    unsafe {
        ffi::PyErr_Format(
            error_class(),
            c"Cannot switch to a different thread\n\tCurrent:  %R\n\tExpected: %R".as_ptr(),
            thread.current.get().as_object_ptr(),
            owner.main.get(),
        )
    };
    Err(Raised)
}

/// The greenlet that receives what is sent to `target`, with `transfer` in its cell; and whether it is to start.
#[cold]
fn receiver(thread: &Thread, target: Gr, transfer: Transfer) -> Result<(Gr, bool)> {
    let mut receiver = target;
    loop {
        match receiver.get().phase.get() {
            Phase::Active => {
                receiver.get().transfer.set(transfer);
                return Ok((receiver, false));
            }
            Phase::New => {
                if prepare(thread, receiver)? {
                    receiver.get().transfer.set(transfer);
                    return Ok((receiver, true));
                }
            }
            Phase::Dead => {
                let Some(parent) = receiver.heir() else {
                    return Err(greenlet_error(
                        c"cannot switch to a garbage collected greenlet",
                    ));
                };
                receiver = parent;
            }
        }
    }
}

/// Gives a new greenlet what it needs to start. False if looking up `run` has started it (or ended it) already.
fn prepare(thread: &Thread, new: Gr) -> Result<bool> {
    let greenlet = new.get();
    // A class of its own may have a `run` method, which wins over the argument.
    // SAFETY: a live object.
    let derived = !ptr::eq(
        unsafe { ffi::Py_TYPE(new.as_object_ptr()) },
        super::type_ptr(),
    );
    if greenlet.body.get().is_none() && (derived || !greenlet.run.is_some()) {
        let _kept = new.object();
        // SAFETY: a live object and a C string.
        let run = unsafe { ffi::PyObject_GetAttrString(new.as_object_ptr(), c"run".as_ptr()) };
        // SAFETY: a new reference, or null with AttributeError set.
        let run = unsafe { Object::from_owned(run) }.ok_or(Raised)?;
        // The lookup may have run any code.
        if greenlet.phase.get() != Phase::New {
            return Ok(false);
        }
        check_lineage(thread, new)?;
        // Dropping the argument that the class did not want may run code: the greenlet does it, first of all.
        drop(thread.unwanted.replace(greenlet.run.replace(Some(run))));
    }
    // SAFETY: the calling thread's own state.
    let wanted = unsafe { crate::pystate::stack_for_limit(thread.tstate) };
    let taken = thread.pool.borrow_mut().take(wanted, new.as_object_ptr());
    let stack = taken.map_err(|failure| {
        // SAFETY: every caller holds the GIL.
        error::io_error(unsafe { Python::assume_attached() }, failure)
    })?;
    crate::overflow::watch(thread);
    // SAFETY: `top` is the 16-aligned end of a stack that this greenlet now owns; `root` never returns.
    let fiber = unsafe { Fiber::new(stack.top(), root, new.as_object_ptr().cast()) };
    // SAFETY: it is not running, so nobody uses its fiber.
    unsafe { *greenlet.fiber.get() = fiber };
    greenlet.stack.set(Some(stack));
    greenlet.thread.replace(Some(thread.counted()));
    greenlet.phase.set(Phase::Active);
    Ok(true)
}

/// Switches to a suspended greenlet of this thread other than the running one, giving the reference away; `None`
/// arrives there. For the hub. May switch: yes.
#[inline(always)]
pub fn pass(thread: &Thread, target: Object) -> Result<Object> {
    let me = thread.current.get();
    drop(
        Gr::from_object(&target)
            .get()
            .value
            .replace(Some(Object::none())),
    );
    leap(thread, me, target, false);
    receive(thread, me)
}

/// `pass` to a greenlet that `begin` has made ready: what its maker left for it arrives. May switch: yes.
#[inline(always)]
pub fn pass_first(thread: &Thread, target: Object) -> Result<Object> {
    let me = thread.current.get();
    leap(thread, me, target, true);
    receive(thread, me)
}

/// Gives a new greenlet with a native body its stack. May switch: no.
#[inline(always)]
pub fn begin(thread: &Thread, new: &Object) -> Result<()> {
    prepare(thread, Gr::from_object(new)).map(drop)
}

/// Moves from the running greenlet to another one; returns when somebody leaps back.
#[inline(always)]
fn leap(thread: &Thread, from: Gr, to: Object, first: bool) {
    let to = Gr::from_ptr(to.into_ptr());
    thread.current.set(to);
    thread.origin.set(from.as_object_ptr());
    // SAFETY: `from` runs, so only we touch its state; the thread state is this thread's.
    let state = unsafe { from.state() };
    // SAFETY: as above.
    unsafe { state.save(thread.tstate) };
    enter(thread, to, first);
    // SAFETY: `to` is suspended (or fresh) on a stack that it owns; both cells outlive the switch, since `from`
    // is kept by `origin` until it is suspended and by whoever resumes it afterwards.
    unsafe { fiber::switch(from.get().fiber.get(), to.get().fiber.get()) };
}

/// Loads the interpreter state of the greenlet that is about to run.
#[inline(always)]
fn enter(thread: &Thread, to: Gr, first: bool) {
    let greenlet = to.get();
    if first {
        let stack = greenlet.stack.take().expect("`prepare` gave it a stack");
        let (chunk, chunk_len) = stack.tail();
        // SAFETY: the calling thread's own state; it still holds the starter's count, which was saved by copying.
        let depth = unsafe { crate::pystate::used_depth(thread.tstate) };
        let bounds = StackBounds {
            limit: stack.limit(),
            top: stack.top(),
            chunk,
            chunk_len,
        };
        greenlet.stack.set(Some(stack));
        // SAFETY: suspended and never entered: nobody else uses its state; the bounds are of its own stack.
        let state = unsafe { to.state() };
        // SAFETY: as above.
        unsafe { state.start(thread.tstate, &bounds) };
        if greenlet.body.get().is_none() {
            // Greenlets that start greenlets without end meet RecursionError, as upstream's do. Green threads are
            // started by whoever happens to park, whose depth is not theirs.
            // SAFETY: the calling thread's own state.
            unsafe { crate::pystate::charge_depth(thread.tstate, depth) };
        }
    } else {
        // SAFETY: suspended: its state was saved by the leap that left it.
        let state = unsafe { to.state() };
        // SAFETY: as above.
        unsafe { state.restore(thread.tstate) };
    }
}

/// After a leap, on the stack of `me`: what `switch` returns.
#[inline(always)]
fn receive(thread: &Thread, me: Gr) -> Result<Object> {
    if thread.attention.get() & (REAP | TRACED) == 0
        && let Some(value) = me.get().value.take()
    {
        let origin = thread.origin.replace(ptr::null_mut());
        // SAFETY: the reference that `leap` left for us; the last one kills the origin here.
        unsafe { ffi::Py_DECREF(origin) };
        return Ok(value);
    }
    arrive(thread, me).receive()
}

/// After a leap, on the stack of `me`: settles what the departure left and takes what was handed over.
#[inline(always)]
fn arrive(thread: &Thread, me: Gr) -> Transfer {
    let origin = thread.origin.replace(ptr::null_mut());
    let mut transfer = match me.get().value.take() {
        Some(value) => Transfer::Value(value),
        None => me.get().transfer.take(),
    };
    let attention = thread.attention.get();
    if attention & (REAP | TRACED) != 0 {
        if attention & REAP != 0 {
            reap(thread);
        }
        if attention & TRACED != 0 {
            transfer = trace::report(thread, Gr::from_ptr(origin), me, transfer);
        }
    }
    // SAFETY: the reference that `leap` left for us; the last one kills the origin here.
    unsafe { ffi::Py_DECREF(origin) };
    transfer
}

/// Puts the stack of the greenlet that has just finished back.
fn reap(thread: &Thread) {
    thread.settle(REAP);
    if let Some(stack) = thread.reap.take() {
        thread.pool.borrow_mut().put(stack);
    }
}

/// Root of every greenlet's stack.
unsafe extern "C" fn root(arg: *mut c_void) -> ! {
    let me = Gr::from_ptr(arg.cast());
    let result = catch_unwind(AssertUnwindSafe(|| body(me))).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| text.to_string())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic in a greenlet".to_owned());
        // SAFETY: every switch happens with the GIL held.
        let py = unsafe { Python::assume_attached() };
        Err(Raised::from_err(
            py,
            pyo3::panic::PanicException::new_err(text),
        ))
    });
    finish(me, result)
}

/// What a greenlet does between its first arrival and its end.
fn body(me: Gr) -> Result<Object> {
    let thread = Thread::existing().expect("the greenlet was started in this thread");
    let transfer = arrive(thread, me);
    drop(thread.unwanted.take());
    if let Some(body) = me.get().body.get() {
        // SAFETY: every switch happens with the GIL held.
        return body(unsafe { Python::assume_attached() }, me, transfer);
    }
    let run = me.get().run.take().expect("`prepare` put it there");
    transfer.call(&run)
}

/// What the parent receives: GreenletExit counts as a result.
fn outcome(result: Result<Object>) -> Transfer {
    match result {
        Ok(value) => Transfer::Value(value),
        Err(Raised) => {
            // SAFETY: an exception is set (Raised) and the class is live.
            let exit = unsafe { ffi::PyErr_ExceptionMatches(exit_class()) } != 0;
            let pending = Pending::take();
            if exit {
                Transfer::Value(pending.into_instance().unwrap_or_else(Object::none))
            } else {
                Transfer::Error(pending)
            }
        }
    }
}

/// The end of a greenlet: its result goes to the nearest live ancestor. Its stack is never entered again.
fn finish(me: Gr, result: Result<Object>) -> ! {
    let thread = Thread::existing().expect("its thread outlives every greenlet that runs in it");
    let greenlet = me.get();
    let mut transfer = outcome(result);
    greenlet.run.take();
    if greenlet.ident.get() != 0 {
        // SAFETY: every greenlet runs with the GIL held.
        let py = unsafe { Python::assume_attached() };
        crate::thread_ident::ended(py, greenlet.ident.get());
    }
    // SAFETY: `me` runs: the thread state holds its context, which gr_context still shows after the end.
    let context = unsafe { crate::pystate::set_thread_context(thread.tstate, ptr::null_mut()) };
    // SAFETY: `me` runs, and the thread state does not use this field of its state.
    let state = unsafe { me.state() };
    let old = state.set_context(context);
    // SAFETY: owned or null.
    drop(unsafe { Object::from_owned(old) });
    if let Some((next, first)) = crate::hub::successor(thread, me, &mut transfer) {
        depart(thread, me, next, first);
    }
    greenlet.phase.set(Phase::Dead);
    let mut ancestor = me.heir();
    while let Some(target) = ancestor {
        match receiver(thread, target, transfer) {
            Ok((target, first)) => depart(thread, me, target.object(), first),
            Err(Raised) => transfer = Transfer::Error(Pending::take()),
        }
        ancestor = target.parent();
    }
    // SAFETY: ends the process with a message; nobody is left who could receive the result.
    unsafe { ffi::Py_FatalError(c"greenlet: no parent left to receive the result".as_ptr()) }
}

/// The last leap of a greenlet.
fn depart(thread: &Thread, me: Gr, to: Object, first: bool) -> ! {
    let to = Gr::from_ptr(to.into_ptr());
    let greenlet = me.get();
    greenlet.phase.set(Phase::Dead);
    if greenlet.body.get().is_some() && me.references() > 1 {
        // From here on it can be part of a cycle that only the collector finds.
        gc_track(me.as_object_ptr());
    }
    // SAFETY: `me` runs and will not again: what the thread state holds of it is released.
    let state = unsafe { me.state() };
    // SAFETY: as above.
    unsafe { state.finish(thread.tstate) };
    thread.reap.set(greenlet.stack.take());
    thread.note(REAP);
    thread.current.set(to);
    thread.origin.set(me.as_object_ptr());
    enter(thread, to, first);
    // SAFETY: as in `leap`; `me` is kept by `origin` until the other side has arrived.
    unsafe { fiber::switch(greenlet.fiber.get(), to.get().fiber.get()) };
    unreachable!("a finished greenlet was resumed")
}
