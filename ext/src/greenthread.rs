//! `GreenThread` and the functions that spawn, sleep and kill.
//!
//! A green thread is a greenlet whose parent is the hub and whose body is native: it calls a function, keeps the
//! outcome, wakes who waits for it, and runs its links, all in the finishing green thread. One object per green
//! thread: what it is to call and what became of it are in `Life`, behind one more pointer than `PyGreenlet`.
#![allow(unsafe_code)] // a static type

mod context;
mod functions;
mod life;
mod methods;
mod named;

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

pub use functions::register;
pub use life::{Call, Life};

use crate::error::{self, Pending, Raised};
use crate::greenlet::{self, Gr, PyGreenlet, Role, StaticType, Transfer, lifetime};
use crate::hub;
use crate::object::{Object, gc_track};
use crate::thread::Thread;

/// The layout of a `GreenThread`.
#[repr(C)]
pub struct PyGreenThread {
    base: PyGreenlet,
    life: *mut Life,
}

static TYPE: StaticType = StaticType::new();

/// `GreenThread`'s type object.
#[inline(always)]
pub fn type_ptr() -> *mut ffi::PyTypeObject {
    TYPE.get()
}

/// `GreenThread`, for calls from Rust.
pub fn class(py: Python<'_>) -> Bound<'_, PyType> {
    // SAFETY: ready since the import and never freed.
    let class = unsafe { Bound::from_borrowed_ptr(py, type_ptr().cast()) };
    // SAFETY: a type object.
    unsafe { class.cast_into_unchecked() }
}

/// The life of a greenlet that is a GreenThread.
#[inline(always)]
pub fn life_of<'a>(g: Gr) -> &'a Life {
    let raw: *mut PyGreenThread = g.as_object_ptr().cast();
    // SAFETY: callers have checked the type (or made the object): it has this layout.
    let life = unsafe { (*raw).life };
    // SAFETY: set by `tp_new`, freed by the dealloc alone.
    unsafe { &*life }
}

/// Whether `object` is a GreenThread.
pub fn is_green_thread(object: *mut ffi::PyObject) -> bool {
    // SAFETY: a live object and a ready type.
    unsafe { ffi::PyObject_TypeCheck(object, type_ptr()) != 0 }
}

/// What is called natively when a green thread has finished, after its links: `on_exit(data, green thread)`.
pub type OnExit = fn(Python<'_>, &Py<PyAny>, &Bound<'_, PyAny>) -> PyResult<()>;

/// What gets an exception instead of the hub.
pub type Report = fn(Python<'_>, PyErr) -> PyResult<()>;

/// What `spawn_with_exit` makes.
pub enum Kind {
    /// A GreenThread, as `spawn` returns.
    GreenThread,
    /// One without a result to ask for; an exception goes to this function instead of the hub.
    Reported(Report),
}

/// A new, unstarted GreenThread (or derived) whose parent is `parent`.
fn make(kind: *mut ffi::PyTypeObject, parent: Object) -> error::Result<Object> {
    let object = greenlet::with_body(kind, body, parent)?;
    let raw: *mut PyGreenThread = object.as_ptr().cast();
    // SAFETY: just allocated with at least the size of PyGreenThread; nobody else has it.
    unsafe { (*raw).life = Box::into_raw(Box::new(Life::default())) };
    Ok(object)
}

/// A new GreenThread of the calling thread's hub that will make this call.
#[inline]
pub fn prepare(thread: &Thread, call: Call) -> error::Result<Object> {
    let parent = hub::hub_greenlet(thread)?;
    let object = make(type_ptr(), parent)?;
    Gr::from_object(&object).get().role.set(Role::Child);
    life_of(Gr::from_object(&object)).call.set(Some(call));
    context::inherit(thread, &object)?;
    Ok(object)
}

/// `spawn` with a native function that is called at the end. May switch: no.
pub fn spawn_with_exit(
    py: Python<'_>,
    function: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
    on_exit: OnExit,
    data: Py<PyAny>,
    kind: Kind,
) -> PyResult<Py<PyAny>> {
    let thread = Thread::get().ok_or_else(|| Raised.into_err(py))?;
    let object = prepare(thread, Call::new(function, args, kwargs)?)
        .map_err(|raised| raised.into_err(py))?;
    let life = life_of(Gr::from_object(&object));
    life.exit.set(Some((on_exit, data.into())));
    if let Kind::Reported(report) = kind {
        life.report.set(Some(report));
    }
    hub::start_soon(thread, object.clone()).map_err(|raised| raised.into_err(py))?;
    Ok(object.into_bound(py).unbind())
}

/// Ends a green thread that could not be started, with this exception.
pub fn fail(py: Python<'_>, object: Object, exception: Pending) {
    let me = Gr::from_object(&object);
    me.get().phase.set(greenlet::Phase::Dead);
    gc_track(object.as_ptr());
    if is_green_thread(object.as_ptr()) {
        exception.restore();
        // The outcome is kept for who waits; the report follows from the error that `conclude` returns.
        if life::conclude(py, me, Err(Raised)).is_err() {
            hub::squelch(py, Pending::take());
        }
    } else {
        hub::squelch(py, exception);
    }
}

/// Body of every GreenThread.
fn body(py: Python<'_>, me: Gr, transfer: Transfer) -> error::Result<Object> {
    let life = life_of(me);
    if let Transfer::Error(pending) = transfer {
        return end_before_start(py, me, pending);
    }
    life.timer.take();
    match life.call.take() {
        Some(_)
            if life
                .local_to
                .get()
                .is_some_and(|owner| Gr::from_object(&owner).get().is_dead()) =>
        {
            Ok(Object::none())
        }
        Some(call) => {
            let result = call.run();
            drop(call);
            life::conclude(py, me, result)
        }
        None => call_main(me, transfer),
    }
}

#[cold]
#[inline(never)]
fn end_before_start(py: Python<'_>, me: Gr, pending: Pending) -> error::Result<Object> {
    life_of(me).call.take();
    life::conclude(py, me, Err(pending.restore()))
}

/// A GreenThread that was switched to by hand: `main(function, args, kwargs)` with what was sent.
#[cold]
#[inline(never)]
fn call_main(me: Gr, transfer: Transfer) -> error::Result<Object> {
    // SAFETY: a live object and a C string.
    let main = unsafe { ffi::PyObject_GetAttrString(me.as_object_ptr(), c"main".as_ptr()) };
    // SAFETY: a new reference, or null with an exception set.
    let main = unsafe { Object::from_owned(main) }.ok_or(Raised)?;
    transfer.call(&main)
}

/// `tp_new`: the arguments belong to `__init__`.
unsafe extern "C" fn new(
    kind: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let made = greenlet::current().and_then(|parent| make(kind, parent.object()));
    if let Ok(object) = &made {
        gc_track(object.as_ptr()); // no hub holds it: it can be part of a cycle before it starts
    }
    made.map_or(ptr::null_mut(), Object::into_ptr)
}

/// `tp_init`: `GreenThread(parent)`.
unsafe extern "C" fn init(
    slf: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> c_int {
    let mut names = [c"parent".as_ptr().cast_mut(), ptr::null_mut()];
    let mut parent = ptr::null_mut::<ffi::PyObject>();
    // SAFETY: the format asks for exactly one object, into the place given.
    let parsed = unsafe {
        ffi::PyArg_ParseTupleAndKeywords(
            args,
            kwargs,
            c"O:GreenThread".as_ptr(),
            names.as_mut_ptr().cast(),
            &raw mut parent,
        )
    };
    if parsed == 0 {
        return -1;
    }
    // SAFETY: `None` is immortal.
    if ptr::eq(parent, unsafe { ffi::Py_None() }) {
        return 0;
    }
    lifetime::status(greenlet::attributes::set_parent(Gr::from_ptr(slf), parent))
}

unsafe extern "C" fn traverse(
    slf: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: a GreenThread is a greenlet; the collector's arguments, passed on.
    let stop = unsafe { lifetime::traverse(slf, visit, arg) };
    if stop != 0 {
        return stop;
    }
    // SAFETY: the collector's arguments, passed on.
    unsafe { life_of(Gr::from_ptr(slf)).traverse(visit, arg) }
}

unsafe extern "C" fn clear(slf: *mut ffi::PyObject) -> c_int {
    life_of(Gr::from_ptr(slf)).clear();
    // SAFETY: a GreenThread is a greenlet.
    unsafe { lifetime::clear(slf) }
}

/// Frees what a GreenThread has beyond a greenlet; called by the greenlet's dealloc once it is certain to die.
unsafe extern "C" fn release(slf: *mut ffi::PyObject) {
    let raw: *mut PyGreenThread = slf.cast();
    // SAFETY: the object is being destroyed by us.
    let slot = unsafe { &mut (*raw).life };
    let life = std::mem::replace(slot, ptr::null_mut());
    // SAFETY: made by `make`, not freed before.
    drop(unsafe { Box::from_raw(life) });
}

/// Readies the type.
pub(super) fn ready(py: Python<'_>) -> PyResult<()> {
    let tables = methods::tables();
    // SAFETY: the storage is written only here, at import, before anybody uses the type.
    let kind = unsafe { &mut *type_ptr() };
    kind.ob_base.ob_base = ffi::PyObject_HEAD_INIT;
    kind.tp_name = c"eventlet.greenthread.GreenThread".as_ptr();
    kind.tp_basicsize = size_of::<PyGreenThread>() as ffi::Py_ssize_t;
    kind.tp_flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
    kind.tp_doc = methods::DOC.as_ptr();
    kind.tp_base = greenlet::type_ptr();
    kind.tp_new = Some(new);
    kind.tp_init = Some(init);
    kind.tp_dealloc = Some(dealloc);
    kind.tp_traverse = Some(traverse);
    kind.tp_clear = Some(clear);
    kind.tp_is_gc = Some(lifetime::is_gc);
    kind.tp_methods = tables.methods.as_mut_ptr();
    kind.tp_getset = tables.getset.as_mut_ptr();
    kind.tp_as_async = &raw mut tables.awaits;
    // SAFETY: filled in above.
    if unsafe { ffi::PyType_Ready(type_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(())
}

unsafe extern "C" fn dealloc(slf: *mut ffi::PyObject) {
    // SAFETY: a GreenThread is a greenlet; `release` frees the rest of it at the right moment.
    unsafe { lifetime::dealloc_with(slf, Some(release)) }
}
