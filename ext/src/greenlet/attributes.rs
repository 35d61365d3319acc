//! What Python sees of a greenlet: attributes, methods, repr, and the static type that holds them.
#![allow(unsafe_code)] // type slots

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::switch::{self, Transfer};
use super::{Gr, Phase, PyGreenlet, Role, exit_class, lifetime, type_ptr};
use crate::error::{self, Pending, Raised, Result};
use crate::object::{Object, tuple_len, type_name};
use crate::pystate;
use crate::thread::Thread;

type Ptr = *mut ffi::PyObject;

/// A new reference for C, or null.
#[inline(always)]
fn give(result: Result<Object>) -> Ptr {
    result.map_or(ptr::null_mut(), Object::into_ptr)
}

/// What the arguments of a vectorcall hand over.
#[inline(always)]
pub fn transfer(args: *const Ptr, count: usize, kwnames: Ptr) -> Result<Transfer> {
    if kwnames.is_null() {
        if count == 1 {
            // SAFETY: the caller passed one argument.
            let value = unsafe { *args };
            // SAFETY: arguments are live.
            let value = unsafe { Object::from_borrowed(value) };
            return Ok(Transfer::Value(value.expect("arguments are never null")));
        }
        if count == 0 {
            return Ok(Transfer::empty());
        }
    }
    let (args, kwargs) = pack(args, count, kwnames)?;
    Ok(Transfer::Call(args, kwargs))
}

/// A tuple and (if there are any) a dictionary of vectorcall arguments.
pub fn pack(args: *const Ptr, count: usize, kwnames: Ptr) -> Result<(Object, Option<Object>)> {
    // SAFETY: no preconditions.
    let tuple = unsafe { ffi::PyTuple_New(count as ffi::Py_ssize_t) };
    // SAFETY: a new reference or null.
    let tuple = unsafe { Object::from_owned(tuple) }.ok_or(Raised)?;
    for index in 0..count {
        // SAFETY: the caller passed `count` arguments.
        let item = unsafe { args.add(index) };
        // SAFETY: as above.
        let item = unsafe { *item };
        // SAFETY: arguments are live.
        let item = unsafe { Object::from_borrowed(item) }.expect("arguments are never null");
        // SAFETY: a fresh tuple with this index; takes the reference.
        unsafe { ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index as ffi::Py_ssize_t, item.into_ptr()) };
    }
    let names = tuple_len(kwnames);
    if names == 0 {
        return Ok((tuple, None));
    }
    // SAFETY: no preconditions.
    let dict = unsafe { ffi::PyDict_New() };
    // SAFETY: a new reference or null.
    let dict = unsafe { Object::from_owned(dict) }.ok_or(Raised)?;
    for index in 0..names as ffi::Py_ssize_t {
        // SAFETY: a tuple with this index; borrowed.
        let name = unsafe { ffi::PyTuple_GET_ITEM(kwnames, index) };
        // SAFETY: keyword values follow the positional ones.
        let value = unsafe { args.add(count + index as usize) };
        // SAFETY: as above.
        let value = unsafe { *value };
        // SAFETY: live objects.
        if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), name, value) } < 0 {
            return Err(Raised);
        }
    }
    Ok((tuple, Some(dict)))
}

/// `g.switch(...)`.
///
/// # Safety
/// - the arguments are those of a vectorcall on a greenlet
pub unsafe extern "C" fn switch_method(
    slf: Ptr,
    args: *const Ptr,
    count: ffi::Py_ssize_t,
    kwnames: Ptr,
) -> Ptr {
    if kwnames.is_null() && count <= 1 {
        let (value, spread) = if count == 0 {
            (switch::empty_tuple(), true)
        } else {
            // SAFETY: the callee may read that many pointers.
            let argument = unsafe { *args };
            // SAFETY: a borrowed, live argument.
            (
                unsafe { Object::from_borrowed(argument) }.expect("arguments are never null"),
                false,
            )
        };
        return give(switch::send(Gr::from_ptr(slf), value, spread));
    }
    match pack(args, count as usize, kwnames) {
        Ok((args, kwargs)) => give(switch::switch_to(
            Gr::from_ptr(slf),
            Transfer::Call(args, kwargs),
        )),
        Err(Raised) => ptr::null_mut(),
    }
}

unsafe extern "C" fn throw_method(slf: Ptr, args: *mut Ptr, count: ffi::Py_ssize_t) -> Ptr {
    if count > 3 {
        let text = format!("throw() takes at most 3 arguments ({count} given)");
        error::raise_err(PyTypeError::new_err(text));
        return ptr::null_mut();
    }
    // SAFETY: the callee may read that many borrowed pointers.
    let args = unsafe { std::slice::from_raw_parts(args, count as usize) };
    let argument = |index: usize| {
        let ptr = args.get(index).copied().unwrap_or(ptr::null_mut());
        // SAFETY: null or a live argument.
        unsafe { Object::from_borrowed(ptr) }
    };
    give(throw(
        Gr::from_ptr(slf),
        argument(0),
        argument(1),
        argument(2),
    ))
}

/// `g.throw(kind, value, traceback)` with Python's rules for the three. May switch: yes.
pub fn throw(
    target: Gr,
    kind: Option<Object>,
    value: Option<Object>,
    traceback: Option<Object>,
) -> Result<Object> {
    let pending = exception(kind, value, traceback)?;
    switch::throw(target, pending)
}

/// The exception that `raise` would make of these three.
pub fn exception(
    kind: Option<Object>,
    value: Option<Object>,
    traceback: Option<Object>,
) -> Result<Pending> {
    // SAFETY: `None` is immortal.
    let none = unsafe { ffi::Py_None() };
    let kind = match kind {
        Some(kind) => kind,
        // SAFETY: the class is live.
        None => unsafe { Object::from_borrowed(exit_class()) }.expect("never null"),
    };
    let value = value.filter(|value| !value.is(none));
    let traceback = traceback.filter(|traceback| !traceback.is(none));
    if let Some(traceback) = &traceback {
        // SAFETY: a live object.
        if unsafe { ffi::PyTraceBack_Check(traceback.as_ptr()) } == 0 {
            return Err(error::type_error(
                c"throw() third argument must be a traceback object",
            ));
        }
    }
    // SAFETY: a live object.
    if unsafe { ffi::PyExceptionClass_Check(kind.as_ptr()) } != 0 {
        // As `raise` does it: the instance exists before anybody sees the exception.
        return Ok(Pending::new(kind, value, traceback).normalized());
    }
    // SAFETY: a live object.
    if unsafe { ffi::PyExceptionInstance_Check(kind.as_ptr()) } != 0 {
        if value.is_some() {
            return Err(error::type_error(
                c"instance exception may not have a separate value",
            ));
        }
        // SAFETY: an exception instance; borrowed.
        let class = unsafe { ffi::PyExceptionInstance_Class(kind.as_ptr()) };
        // SAFETY: live while its instance is.
        let class = unsafe { Object::from_borrowed(class) }.expect("never null");
        let traceback = traceback.or_else(|| {
            // SAFETY: an exception instance.
            let traceback = unsafe { ffi::PyException_GetTraceback(kind.as_ptr()) };
            // SAFETY: a new reference or null.
            unsafe { Object::from_owned(traceback) }
        });
        return Ok(Pending::new(class, Some(kind), traceback));
    }
    let name = type_name(kind.as_ptr()).to_string_lossy();
    let text = format!("exceptions must be classes, or instances, not {name}");
    Err(error::raise_err(PyTypeError::new_err(text)))
}

unsafe extern "C" fn getstate(slf: Ptr, _: Ptr) -> Ptr {
    let text = format!(
        "cannot serialize '{}' object",
        type_name(slf).to_string_lossy()
    );
    error::raise_err(PyTypeError::new_err(text));
    ptr::null_mut()
}

unsafe extern "C" fn truth(slf: Ptr) -> c_int {
    c_int::from(Gr::from_ptr(slf).get().is_active())
}

fn bool_object(value: bool) -> Ptr {
    // SAFETY: True and False are immortal; a new reference.
    unsafe { ffi::PyBool_FromLong(value.into()) }
}

unsafe extern "C" fn get_dead(slf: Ptr, _: *mut c_void) -> Ptr {
    bool_object(Gr::from_ptr(slf).get().is_dead())
}

unsafe extern "C" fn get_dict(slf: Ptr, _: *mut c_void) -> Ptr {
    let raw: *mut PyGreenlet = slf.cast();
    // SAFETY: a live greenlet.
    let mut dict = unsafe { (*raw).dict };
    if dict.is_null() {
        // SAFETY: no preconditions.
        dict = unsafe { ffi::PyDict_New() };
        // SAFETY: the object owns the new dictionary (or stays without one).
        unsafe { (*raw).dict = dict };
    }
    // SAFETY: null or live.
    unsafe { Object::from_borrowed(dict) }.map_or(ptr::null_mut(), Object::into_ptr)
}

unsafe extern "C" fn set_dict(slf: Ptr, value: Ptr, _: *mut c_void) -> c_int {
    if value.is_null() {
        return lifetime::status(Err(error::type_error(c"__dict__ may not be deleted")));
    }
    // SAFETY: a live object.
    if unsafe { ffi::PyDict_Check(value) } == 0 {
        return lifetime::status(Err(error::type_error(c"__dict__ must be a dictionary")));
    }
    // SAFETY: live, checked above.
    let value = unsafe { Object::from_borrowed(value) }.expect("not null");
    let raw: *mut PyGreenlet = slf.cast();
    // SAFETY: a live greenlet.
    let slot = unsafe { &mut (*raw).dict };
    let old = std::mem::replace(slot, value.into_ptr());
    // SAFETY: owned or null.
    drop(unsafe { Object::from_owned(old) });
    0
}

const NO_RUN: &CStr = c"Main greenlets do not have a run attribute.";

unsafe extern "C" fn get_run(slf: Ptr, _: *mut c_void) -> Ptr {
    let greenlet = Gr::from_ptr(slf).get();
    if greenlet.main {
        error::attribute_error(NO_RUN);
        return ptr::null_mut();
    }
    match greenlet.run.get() {
        Some(run) if greenlet.phase.get() == Phase::New => run.into_ptr(),
        _ => {
            error::attribute_error(c"run");
            ptr::null_mut()
        }
    }
}

/// `g.run = run` (borrowed; null deletes).
pub fn set_run(me: Gr, run: Ptr) -> Result<()> {
    let greenlet = me.get();
    if greenlet.main {
        return Err(error::attribute_error(NO_RUN));
    }
    if greenlet.phase.get() != Phase::New {
        return Err(error::attribute_error(
            c"run cannot be set after the start of the greenlet",
        ));
    }
    // SAFETY: null or live.
    let run = unsafe { Object::from_borrowed(run) };
    drop(greenlet.run.replace(run));
    Ok(())
}

unsafe extern "C" fn set_run_slot(slf: Ptr, value: Ptr, _: *mut c_void) -> c_int {
    lifetime::status(set_run(Gr::from_ptr(slf), value))
}

unsafe extern "C" fn get_parent(slf: Ptr, _: *mut c_void) -> Ptr {
    Gr::from_ptr(slf)
        .heir()
        .map_or_else(Object::none, Gr::object)
        .into_ptr()
}

/// `g.parent = parent` (borrowed; null is refused).
pub fn set_parent(me: Gr, parent: Ptr) -> Result<()> {
    if parent.is_null() {
        return Err(error::attribute_error(c"can't delete attribute"));
    }
    let greenlet = me.get();
    if greenlet.main {
        return Err(error::attribute_error(
            c"cannot set the parent of a main greenlet",
        ));
    }
    let Some(parent) = Gr::check(parent) else {
        let name = type_name(parent).to_string_lossy();
        let text = format!("GreenletChecker: Expected any type of greenlet, not {name}");
        return Err(error::raise_err(PyTypeError::new_err(text)));
    };
    let mut ancestor = Some(parent);
    while let Some(current) = ancestor {
        if current == me {
            return Err(error::value_error(c"cyclic parent chain"));
        }
        ancestor = current.parent();
    }
    let lineage = parent.get().lineage();
    if lineage.is_null() {
        return Err(error::value_error(c"parent must not be garbage collected"));
    }
    if !greenlet.thread.peek().is_null() && !ptr::eq(lineage, greenlet.thread.peek()) {
        return Err(error::value_error(
            c"parent cannot be on a different thread",
        ));
    }
    if greenlet.role.get() != Role::FormerHub {
        let of_hub = parent.get().role.get() == Role::Hub;
        greenlet
            .role
            .set(if of_hub { Role::Child } else { Role::Plain });
    }
    drop(greenlet.parent.replace(Some(parent.object())));
    Ok(())
}

unsafe extern "C" fn set_parent_slot(slf: Ptr, value: Ptr, _: *mut c_void) -> c_int {
    lifetime::status(set_parent(Gr::from_ptr(slf), value))
}

unsafe extern "C" fn get_frame(slf: Ptr, _: *mut c_void) -> Ptr {
    let me = Gr::from_ptr(slf);
    let greenlet = me.get();
    // A suspended greenlet keeps its frames even when its thread has ended.
    if greenlet.phase.get() != Phase::Active || me.is_running() {
        return Object::none().into_ptr();
    }
    // SAFETY: a getter is called with the GIL held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: no preconditions: the caller's own thread state.
    let tstate = unsafe { ffi::PyThreadState_Get() };
    // SAFETY: suspended: its state is at rest.
    let state = unsafe { me.state() };
    // SAFETY: as above; the caller's own thread state.
    let frame = unsafe { state.frame(py, tstate) };
    frame.map_or_else(Object::none, Object::from).into_ptr()
}

/// Where the context of a greenlet is now.
enum ContextPlace {
    Thread(*mut ffi::PyThreadState),
    Saved,
}

fn context_place(me: Gr, verb: &str) -> Result<ContextPlace> {
    if !me.is_running() {
        return Ok(ContextPlace::Saved);
    }
    let owner = me.get().thread.get().expect("running");
    if Thread::existing().is_some_and(|thread| ptr::eq(thread, owner)) {
        return Ok(ContextPlace::Thread(owner.tstate));
    }
    let text = format!("cannot {verb} context of a greenlet that is running in a different thread");
    Err(error::raise_err(PyValueError::new_err(text)))
}

unsafe extern "C" fn get_context(slf: Ptr, _: *mut c_void) -> Ptr {
    let me = Gr::from_ptr(slf);
    let context = match context_place(me, "get") {
        // SAFETY: the calling thread's own state.
        Ok(ContextPlace::Thread(tstate)) => unsafe { pystate::thread_context(tstate) },
        // SAFETY: suspended or not active: its state is at rest.
        Ok(ContextPlace::Saved) => unsafe { me.state() }.context(),
        Err(Raised) => return ptr::null_mut(),
    };
    // SAFETY: null or live.
    unsafe { Object::from_borrowed(context) }
        .unwrap_or_else(Object::none)
        .into_ptr()
}

unsafe extern "C" fn set_context(slf: Ptr, value: Ptr, _: *mut c_void) -> c_int {
    if value.is_null() {
        return lifetime::status(Err(error::attribute_error(
            c"can't delete context attribute",
        )));
    }
    // SAFETY: live, checked above.
    let value = unsafe { Object::from_borrowed(value) }.expect("not null");
    // SAFETY: `None` is immortal.
    let none = unsafe { ffi::Py_None() };
    let new = if value.is(none) {
        ptr::null_mut()
    // SAFETY: a live object.
    } else if unsafe { ffi::PyContext_CheckExact(value.as_ptr()) } != 0 {
        value.into_ptr()
    } else {
        return lifetime::status(Err(error::type_error(
            c"greenlet context must be a contextvars.Context or None",
        )));
    };
    let me = Gr::from_ptr(slf);
    let old = match context_place(me, "set") {
        // SAFETY: the calling thread's own state; takes the reference.
        Ok(ContextPlace::Thread(tstate)) => unsafe { pystate::set_thread_context(tstate, new) },
        // SAFETY: suspended or not active: its state is at rest; takes the reference.
        Ok(ContextPlace::Saved) => unsafe { me.state() }.set_context(new),
        Err(Raised) => {
            // SAFETY: the reference that nobody took.
            drop(unsafe { Object::from_owned(new) });
            return -1;
        }
    };
    // SAFETY: owned or null.
    drop(unsafe { Object::from_owned(old) });
    0
}

unsafe extern "C" fn get_stack_saved(_slf: Ptr, _: *mut c_void) -> Ptr {
    // Nothing is ever copied: each greenlet has its own stack.
    // SAFETY: no preconditions.
    unsafe { ffi::PyLong_FromLong(0) }
}

unsafe extern "C" fn repr(slf: Ptr) -> Ptr {
    let me = Gr::from_ptr(slf);
    let greenlet = me.get();
    let name = type_name(slf).as_ptr();
    let owner = greenlet.thread.get();
    if greenlet.is_dead() {
        let exited = if owner.is_some_and(|thread| !thread.alive.get()) {
            c"(thread exited) "
        } else {
            c""
        };
        let id = owner
            .filter(|thread| thread.alive.get())
            .map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the format takes a name, two pointers and a C string.
        return unsafe {
            ffi::PyUnicode_FromFormat(
                c"<%s object at %p (otid=%s) %sdead>".as_ptr(),
                name,
                slf,
                otid(id).as_ptr(),
                exited.as_ptr(),
            )
        };
    }
    let started = greenlet.phase.get() == Phase::Active;
    let here = Thread::existing().is_some_and(|thread| ptr::eq(thread, greenlet.thread.peek()));
    let place = match started {
        false => c"",
        true if here && me.is_running() => c" current",
        true => c" suspended",
    };
    // SAFETY: the format takes a name, two pointers and four C strings.
    unsafe {
        ffi::PyUnicode_FromFormat(
            c"<%s object at %p (otid=%s)%s%s%s%s>".as_ptr(),
            name,
            slf,
            otid(greenlet.thread.peek()).as_ptr(),
            place.as_ptr(),
            if started { c" active" } else { c"" }.as_ptr(),
            if started { c" started" } else { c" pending" }.as_ptr(),
            if greenlet.main { c" main" } else { c"" }.as_ptr(),
        )
    }
}

/// A thread's identity in a repr, written as glibc's `%p` does.
fn otid(thread: *const Thread) -> std::ffi::CString {
    let text = if thread.is_null() {
        "0x(nil)".to_owned()
    } else {
        format!("{thread:p}")
    };
    std::ffi::CString::new(text).expect("no zero in it")
}

/// Writes a line about a greenlet to `sys.stderr`; `format` has one `%R`.
pub fn write_stderr(me: Gr, format: &CStr) {
    let saved = Pending::take();
    // SAFETY: the format takes one live object; stderr is written through Python.
    unsafe { ffi::PySys_FormatStderr(format.as_ptr(), me.as_object_ptr()) };
    // SAFETY: as above, no arguments.
    unsafe { ffi::PySys_FormatStderr(c"\n".as_ptr()) };
    saved.restore();
}

const DOC: &CStr = c"greenlet(run=None, parent=None) -> greenlet

A flow of control with its own C stack, not yet started.

 - run: what to call at the first switch; None: the attribute or method `run` of a subclass.
 - parent: the greenlet that gets the result; None: the current one.

May switch: no.

>>> from greenlet import greenlet
>>> greenlet(lambda a, b: a + b).switch(1, 2)
3";

const SWITCH_DOC: &CStr = c"switch(*args, **kwargs)

Continue this greenlet and suspend the current one until somebody switches back.

At the first switch `self.run(*args, **kwargs)` is called on a new stack. Later the arguments become the
result of the switch() call in which this greenlet waits: () for none, the value for one, a tuple for
several, a dict for keywords alone, (tuple, dict) for both. A dead greenlet stands for its parent.

May switch: yes. Raises greenlet.error for a greenlet of another thread, and whatever is thrown here.

>>> from greenlet import greenlet, getcurrent
>>> g = greenlet(lambda x: getcurrent().parent.switch(x * 2))
>>> g.switch(21)
42";

const THROW_DOC: &CStr = c"throw(typ=GreenletExit, val=None, tb=None)

Continue this greenlet with an exception raised where it waits.

The three arguments are those of a classic raise; an instance may stand alone. A greenlet that never ran dies
at once. GreenletExit that nobody catches ends the greenlet and is its result.

May switch: yes. Raises TypeError for what cannot be raised, and greenlet.error as switch() does.

>>> from greenlet import greenlet
>>> greenlet(lambda: None).throw()
GreenletExit()";

struct Tables {
    methods: [ffi::PyMethodDef; 4],
    getset: [ffi::PyGetSetDef; 8],
    number: ffi::PyNumberMethods,
}

/// Fills in and readies the type.
pub fn ready(py: Python<'_>) -> PyResult<()> {
    let fast: ffi::PyCFunctionFastWithKeywords = switch_method;
    let throw: ffi::PyCFunctionFast = throw_method;
    let method = |name: &'static CStr, meth, flags, doc: &'static CStr| ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: meth,
        ml_flags: flags,
        ml_doc: doc.as_ptr(),
    };
    let attribute = |name: &'static CStr, get, set, doc: &'static CStr| ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set,
        doc: doc.as_ptr(),
        closure: ptr::null_mut(),
    };
    // SAFETY: a table of nullable function pointers.
    let mut number: ffi::PyNumberMethods = unsafe { std::mem::zeroed() };
    number.nb_bool = Some(truth);
    // The type lives as long as the process, and so do its tables.
    let tables = Box::leak(Box::new(Tables {
        methods: [
            method(
                c"switch",
                ffi::PyMethodDefPointer {
                    PyCFunctionFastWithKeywords: fast,
                },
                ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
                SWITCH_DOC,
            ),
            method(
                c"throw",
                ffi::PyMethodDefPointer {
                    PyCFunctionFast: throw,
                },
                ffi::METH_FASTCALL,
                THROW_DOC,
            ),
            method(
                c"__getstate__",
                ffi::PyMethodDefPointer {
                    PyCFunction: getstate,
                },
                ffi::METH_NOARGS,
                c"Greenlets cannot be serialized: raises TypeError.",
            ),
            ffi::PyMethodDef::zeroed(),
        ],
        getset: [
            attribute(c"__dict__", get_dict, Some(set_dict), c"The attributes."),
            attribute(
                c"run",
                get_run,
                Some(set_run_slot),
                c"What is called at the first switch; gone after it.",
            ),
            attribute(
                c"parent",
                get_parent,
                Some(set_parent_slot),
                c"The greenlet that gets the result.",
            ),
            attribute(
                c"gr_frame",
                get_frame,
                None,
                c"The top frame while suspended, else None.",
            ),
            attribute(
                c"gr_context",
                get_context,
                Some(set_context),
                c"Its contextvars.Context, or None.",
            ),
            attribute(
                c"dead",
                get_dead,
                None,
                c"Whether it has finished, or its thread has.",
            ),
            attribute(
                c"_stack_saved",
                get_stack_saved,
                None,
                c"Bytes of stack copied away: always 0.",
            ),
            ffi::PyGetSetDef::default(),
        ],
        number,
    }));
    // SAFETY: the storage is written only here, at import, before anybody uses the type.
    let kind = unsafe { &mut *type_ptr() };
    kind.ob_base.ob_base = ffi::PyObject_HEAD_INIT;
    kind.tp_name = c"greenlet.greenlet".as_ptr();
    kind.tp_basicsize = size_of::<PyGreenlet>() as ffi::Py_ssize_t;
    kind.tp_flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
    kind.tp_doc = DOC.as_ptr();
    kind.tp_new = Some(lifetime::new);
    kind.tp_init = Some(lifetime::init);
    kind.tp_alloc = Some(ffi::PyType_GenericAlloc);
    kind.tp_free = Some(ffi::PyObject_GC_Del);
    kind.tp_dealloc = Some(lifetime::dealloc);
    kind.tp_traverse = Some(lifetime::traverse);
    kind.tp_clear = Some(lifetime::clear);
    kind.tp_is_gc = Some(lifetime::is_gc);
    kind.tp_vectorcall = Some(lifetime::vectorcall);
    kind.tp_repr = Some(repr);
    kind.tp_getattro = Some(ffi::PyObject_GenericGetAttr);
    kind.tp_setattro = Some(ffi::PyObject_GenericSetAttr);
    kind.tp_as_number = &raw mut tables.number;
    kind.tp_methods = tables.methods.as_mut_ptr();
    kind.tp_getset = tables.getset.as_mut_ptr();
    kind.tp_weaklistoffset = std::mem::offset_of!(PyGreenlet, weakreflist) as ffi::Py_ssize_t;
    kind.tp_dictoffset = std::mem::offset_of!(PyGreenlet, dict) as ffi::Py_ssize_t;
    // SAFETY: filled in above.
    if unsafe { ffi::PyType_Ready(type_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(())
}

/// Puts `value` into the type's own dictionary (a static type refuses `setattr`).
pub fn publish(name: &CStr, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: ready; a static type that is not a builtin keeps its dictionary in place on every version.
    let dict = unsafe { (*type_ptr()).tp_dict };
    // SAFETY: live dictionary and value.
    if unsafe { ffi::PyDict_SetItemString(dict, name.as_ptr() as *const c_char, value.as_ptr()) }
        < 0
    {
        return Err(PyErr::fetch(value.py()));
    }
    // SAFETY: a ready type.
    unsafe { ffi::PyType_Modified(type_ptr()) };
    Ok(())
}
