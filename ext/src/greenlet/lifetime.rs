//! Birth and death of greenlet objects: `tp_new`, `tp_init`, `tp_dealloc` and the collector's slots.
//!
//! A suspended greenlet that loses its last reference is brought back to life for as long as it takes to throw
//! GreenletExit into it; in another thread than its own it is queued there. It may survive (somebody caught the
//! exception or took a reference): then it simply lives on. The collector does not look into suspended
//! greenlets: their stacks may hold references that it cannot see.
#![allow(unsafe_code)] // type slots

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use eventlet::stack::Stack;
use pyo3::ffi;

use super::{Gr, Phase, PyGreenlet, Role, allocate, exit_class, switch};
use crate::error::{Pending, Raised, Result};
use crate::object::{Object, gc_track, type_of};
use crate::pystate::StackBounds;
use crate::thread::Thread;

/// `tp_new`: an unstarted greenlet whose parent is the current one.
pub unsafe extern "C" fn new(
    kind: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    create(kind).map_or(ptr::null_mut(), Object::into_ptr)
}

fn create(kind: *mut ffi::PyTypeObject) -> Option<Object> {
    // SAFETY: a ready type.
    if unsafe { ffi::PyType_HasFeature(kind, ffi::Py_TPFLAGS_IS_ABSTRACT) } != 0 {
        refuse_abstract(kind)?;
    }
    let parent = super::current().ok()?;
    let object = allocate(kind, false)?;
    Gr::from_object(&object)
        .get()
        .parent
        .replace(Some(parent.object()));
    Some(object)
}

/// Sets the TypeError that names the missing methods, as `object` does it.
#[cold]
fn refuse_abstract(kind: *mut ffi::PyTypeObject) -> Option<()> {
    let none = switch::empty_tuple();
    // SAFETY: a static type of the interpreter.
    let new = unsafe { ffi::PyBaseObject_Type.tp_new }.expect("object has tp_new");
    // SAFETY: an abstract type, for which `object` makes no instance; no arguments.
    let made = unsafe { new(kind, none.as_ptr(), ptr::null_mut()) };
    // SAFETY: a new reference or null.
    drop(unsafe { Object::from_owned(made) });
    None
}

/// `tp_init`: `greenlet(run=None, parent=None)`.
pub unsafe extern "C" fn init(
    slf: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> c_int {
    let mut names = [
        c"run".as_ptr() as *mut c_char,
        c"parent".as_ptr() as *mut c_char,
        ptr::null_mut(),
    ];
    let (mut run, mut parent) = (
        ptr::null_mut::<ffi::PyObject>(),
        ptr::null_mut::<ffi::PyObject>(),
    );
    // SAFETY: the format asks for at most two objects, into the two places given.
    let parsed = unsafe {
        ffi::PyArg_ParseTupleAndKeywords(
            args,
            kwargs,
            c"|OO:green".as_ptr(),
            names.as_mut_ptr().cast(),
            &mut run,
            &mut parent,
        )
    };
    if parsed == 0 {
        return -1;
    }
    status(set_up(Gr::from_ptr(slf), run, parent))
}

/// 0 or -1, as C wants it.
pub fn status(result: Result<()>) -> c_int {
    if result.is_ok() { 0 } else { -1 }
}

/// Applies the constructor's arguments: borrowed, null when absent.
pub fn set_up(me: Gr, run: *mut ffi::PyObject, parent: *mut ffi::PyObject) -> Result<()> {
    if !run.is_null() {
        super::attributes::set_run(me, run)?;
    }
    // SAFETY: `None` is immortal.
    if !parent.is_null() && !ptr::eq(parent, unsafe { ffi::Py_None() }) {
        super::attributes::set_parent(me, parent)?;
    }
    Ok(())
}

/// `tp_vectorcall` of the type: `greenlet(...)` without a tuple.
pub unsafe extern "C" fn vectorcall(
    kind: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: plain arithmetic on the flag word.
    let count = unsafe { ffi::PyVectorcall_NARGS(nargsf) } as usize;
    if !kwnames.is_null() || count > 2 {
        return call_slowly(kind, args, count, kwnames);
    }
    // SAFETY: the callee may read that many borrowed pointers.
    let args = unsafe { std::slice::from_raw_parts(args, count) };
    let Some(object) = create(kind.cast()) else {
        return ptr::null_mut();
    };
    let argument = |index: usize| args.get(index).copied().unwrap_or(ptr::null_mut());
    match set_up(Gr::from_object(&object), argument(0), argument(1)) {
        Ok(()) => object.into_ptr(),
        Err(Raised) => ptr::null_mut(),
    }
}

/// `vectorcall` with keywords (or too many arguments, which `init` reports).
#[cold]
fn call_slowly(
    kind: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: usize,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let Ok((args, kwargs)) = super::attributes::pack(args, count, kwnames) else {
        return ptr::null_mut();
    };
    let Some(object) = create(kind.cast()) else {
        return ptr::null_mut();
    };
    let kwargs = kwargs.as_ref().map_or(ptr::null_mut(), Object::as_ptr);
    // SAFETY: the new greenlet, a tuple, a dictionary or null.
    if unsafe { init(object.as_ptr(), args.as_ptr(), kwargs) } < 0 {
        return ptr::null_mut();
    }
    object.into_ptr()
}

/// `tp_is_gc`: suspended greenlets are not the collector's business.
pub unsafe extern "C" fn is_gc(slf: *mut ffi::PyObject) -> c_int {
    let greenlet = Gr::from_ptr(slf).get();
    c_int::from(greenlet.main || greenlet.phase.get() != Phase::Active)
}

/// `tp_traverse`.
pub unsafe extern "C" fn traverse(
    slf: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    let raw: *mut PyGreenlet = slf.cast();
    // SAFETY: a live greenlet.
    let dict = unsafe { (*raw).dict };
    if !dict.is_null() {
        // SAFETY: the collector's own function on a live object.
        let stop = unsafe { visit(dict, arg) };
        if stop != 0 {
            return stop;
        }
    }
    let greenlet = Gr::from_ptr(slf).get();
    for slot in [&greenlet.parent, &greenlet.run] {
        // SAFETY: the collector's arguments, passed on.
        let stop = unsafe { slot.traverse(visit, arg) };
        if stop != 0 {
            return stop;
        }
    }
    if greenlet.phase.get() == Phase::Active && Gr::from_ptr(slf).is_running() {
        return 0; // what it holds is in the thread state, which the collector sees by itself
    }
    // SAFETY: not running, so its state is at rest; the collector's arguments, passed on.
    let state = unsafe { Gr::from_ptr(slf).state() };
    // SAFETY: as above.
    unsafe { state.traverse(visit, arg) }
}

/// `tp_clear`.
pub unsafe extern "C" fn clear(slf: *mut ffi::PyObject) -> c_int {
    let greenlet = Gr::from_ptr(slf).get();
    greenlet.parent.take();
    greenlet.run.take();
    if greenlet.phase.get() != Phase::Active {
        // SAFETY: not active: nobody else uses its state.
        let context = unsafe { Gr::from_ptr(slf).state() }.set_context(ptr::null_mut());
        // SAFETY: owned or null.
        drop(unsafe { Object::from_owned(context) });
    }
    let raw: *mut PyGreenlet = slf.cast();
    // SAFETY: a live greenlet.
    let slot = unsafe { &mut (*raw).dict };
    let dict = std::mem::replace(slot, ptr::null_mut());
    // SAFETY: owned or null.
    drop(unsafe { Object::from_owned(dict) });
    0
}

/// `tp_dealloc`.
pub unsafe extern "C" fn dealloc(slf: *mut ffi::PyObject) {
    // SAFETY: a greenlet that has nothing beyond a greenlet.
    unsafe { dealloc_with(slf, None) }
}

/// `tp_dealloc` of a type that derives from greenlet and has more to free, by `release`.
///
/// # Safety
/// - `slf` is a greenlet whose last reference is gone; `release` fits its type
pub unsafe fn dealloc_with(
    slf: *mut ffi::PyObject,
    release: Option<unsafe extern "C" fn(*mut ffi::PyObject)>,
) {
    // SAFETY: the collector may or may not track it.
    unsafe { ffi::PyObject_GC_UnTrack(slf.cast()) };
    let me = Gr::from_ptr(slf);
    let greenlet = me.get();
    if greenlet.phase.get() == Phase::Active && !greenlet.main && survives(me) {
        return;
    }
    if greenlet.ident.get() != 0 && !greenlet.main {
        // SAFETY: deallocation happens with the GIL held.
        let py = unsafe { pyo3::Python::assume_attached() };
        crate::thread_ident::ended(py, greenlet.ident.get()); // nothing if it has ended before
    }
    let raw: *mut PyGreenlet = slf.cast();
    // SAFETY: the object is being destroyed by us; the field is a plain pointer.
    if !unsafe { (*raw).weakreflist }.is_null() {
        // SAFETY: weak references to an object in its dealloc.
        unsafe { ffi::PyObject_ClearWeakRefs(slf) };
    }
    if let Some(release) = release {
        // SAFETY: fits the type, by the caller's word.
        unsafe { release(slf) };
    }
    // SAFETY: as above.
    unsafe { clear(slf) };
    // SAFETY: the object is still there.
    let greenlet = unsafe { (*raw).greenlet };
    // SAFETY: made by `allocate`, not freed before.
    drop(unsafe { Box::from_raw(greenlet) });
    // SAFETY: a live object of a ready type.
    let free = unsafe { (*type_of(slf)).tp_free }.expect("a ready type has tp_free");
    // SAFETY: the type's own deallocator, last use of the object.
    unsafe { free(slf.cast()) };
}

/// Ends a suspended greenlet that has lost its last reference. True if it lives on.
fn survives(me: Gr) -> bool {
    let greenlet = me.get();
    let slf = me.as_object_ptr();
    let owner = greenlet.thread.get().expect("started");
    if crate::process::finalizing() || !owner.alive.get() {
        abandon(me);
        return false;
    }
    // SAFETY: the count is 0 and nobody else can reach it: it gets one reference, ours.
    unsafe { ffi::Py_INCREF(slf) };
    // SAFETY: that reference.
    let kept = unsafe { Object::from_owned(slf) }.expect("not null");
    let saved = Pending::take();
    let here = Thread::existing().is_some_and(|thread| ptr::eq(thread, owner));
    if here {
        kill(owner, me);
    } else {
        owner.condemn(kept.clone());
    }
    saved.restore();
    if here && greenlet.phase.get() == Phase::Active && me.references() == 1 {
        // Nobody wants it and it does not end: it is leaked, since its stack is in use.
        crate::greenlet::attributes::write_stderr(me, c"GreenletExit did not kill %R");
        std::mem::forget(kept.clone());
    }
    let alive = me.references() > 1;
    if alive {
        // SAFETY: it was untracked above, and is a collectable type.
        unsafe { ffi::PyObject_GC_Track(slf.cast()) };
        // SAFETY: live type object.
        let heap = unsafe { ffi::PyType_HasFeature(type_of(slf), ffi::Py_TPFLAGS_HEAPTYPE) } != 0;
        if heap {
            // CPython's dealloc of derived types drops the object's reference to its type afterwards.
            // SAFETY: a live type object.
            unsafe { ffi::Py_INCREF(type_of(slf).cast()) };
        }
        drop(kept);
    } else {
        // Back to 0 without a second dealloc: the count is the low end of the first word on every version.
        let count: *mut isize = kept.into_ptr().cast();
        // SAFETY: an object header; the one reference left was `kept`.
        unsafe { *count -= 1 };
    }
    alive
}

/// Throws GreenletExit into a suspended greenlet of the calling thread and comes back. May switch: yes.
fn kill(thread: &Thread, me: Gr) {
    let greenlet = me.get();
    let parent = greenlet.parent.replace(Some(thread.current.get().object()));
    let role = greenlet.role.replace(Role::Plain); // it comes back here, not to the hub
    // SAFETY: the class is live, the text static.
    unsafe {
        ffi::PyErr_SetString(
            exit_class(),
            c"Killing the greenlet because all references have vanished.".as_ptr(),
        )
    };
    if switch::deliver(thread, me, switch::Transfer::Error(Pending::take())).is_err() {
        // SAFETY: an exception is set (Raised); there is nobody to raise it in.
        unsafe { ffi::PyErr_WriteUnraisable(me.as_object_ptr()) };
    }
    greenlet.role.set(role); // for one that lives on
    drop(greenlet.parent.replace(parent));
}

/// At the end of its thread: a suspended greenlet gives its stack back, unless somebody can reach one of the frames on
/// it; those stay as they are until the greenlet goes. So do those of a plain greenlet that others than the caller
/// refer to: `gr_frame` shows them. Runs no code of the greenlet.
pub fn retire(me: Gr) {
    let greenlet = me.get();
    if greenlet.role.get() == Role::Plain && me.references() > 1 {
        return;
    }
    let stack = greenlet.stack.take();
    let private = stack.as_ref().is_some_and(|stack| is_private(me, stack));
    greenlet.stack.set(stack);
    if greenlet.phase.get() == Phase::Active && private {
        greenlet.reason.set(None);
        abandon(me);
        gc_track(me.as_object_ptr());
    }
}

/// Forgets a suspended greenlet that can never run again. What its frames hold is leaked; its stack too, if
/// anybody can still reach one of the frames on it.
fn abandon(me: Gr) {
    let greenlet = me.get();
    greenlet.phase.set(Phase::Dead);
    // In the child of a fork: it ran in a thread that is not there any more, so its state is not at rest.
    let was_running = greenlet
        .thread
        .get()
        .is_some_and(|owner| owner.current.get() == me);
    let stack = greenlet.stack.take();
    let free = !was_running
        && !crate::process::finalizing()
        && stack.as_ref().is_some_and(|stack| is_private(me, stack));
    // SAFETY: it is suspended for good: nobody else uses its state.
    let state = unsafe { me.state() };
    if free {
        // SAFETY: deallocation happens with the GIL held.
        let py = unsafe { pyo3::Python::assume_attached() };
        // SAFETY: suspended for good, and the interpreter is not being finalized.
        unsafe { state.release_frames(py) };
    }
    state.abandon();
    drop(greenlet.value.take());
    drop(greenlet.transfer.take());
    if let (Some(stack), Some(owner)) = (stack, greenlet.thread.get()) {
        if free {
            owner.pool.borrow_mut().put(stack);
            owner.release_stacks();
        } else {
            owner.pool.borrow_mut().give_up(stack);
        }
    }
}

/// Whether nobody can reach a frame that lies on the stack of `me`, which is suspended for good.
fn is_private(me: Gr, stack: &Stack) -> bool {
    let (chunk, chunk_len) = stack.tail();
    let bounds = StackBounds {
        limit: stack.limit(),
        top: stack.top(),
        chunk,
        chunk_len,
    };
    // SAFETY: suspended for good.
    let state = unsafe { me.state() };
    // SAFETY: suspended on this very stack.
    unsafe { state.frames_are_private(&bounds) }
}

/// As if `me` had never been, in the child of a fork: it is dead and nothing of it is unwound or released, since
/// the parent process still uses what its frames refer to. Runs no Python code.
pub fn forsake(me: Gr) {
    let greenlet = me.get();
    greenlet.reason.set(None);
    greenlet.parks.set(greenlet.parks.get() + 1);
    if greenlet.phase.replace(Phase::Dead) != Phase::Active {
        return;
    }
    std::mem::forget(greenlet.value.take());
    std::mem::forget(greenlet.transfer.take());
    let stack = greenlet.stack.take();
    let free = stack.as_ref().is_some_and(|stack| is_private(me, stack));
    // SAFETY: suspended for good.
    unsafe { me.state() }.forsake();
    if let (Some(stack), Some(owner)) = (stack, greenlet.thread.get()) {
        let mut pool = owner.pool.borrow_mut();
        if free {
            pool.put(stack);
        } else {
            pool.give_up(stack);
        }
    }
}

impl Gr {
    /// The object's reference count.
    pub fn references(self) -> isize {
        // SAFETY: live (type contract).
        unsafe { ffi::Py_REFCNT(self.as_object_ptr()) as isize }
    }
}
