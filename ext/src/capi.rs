//! The C API: the capsule `greenlet._C_API`, twelve slots in the order of `greenlet.h`.
//!
//! Slots: 0 type, 1 error, 2 GreenletExit, 3 New, 4 GetCurrent, 5 Throw, 6 Switch, 7 SetParent, 8 MAIN,
//! 9 STARTED, 10 ACTIVE, 11 GET_PARENT. C code compiled against upstream's header uses it unchanged.
#![allow(unsafe_code)] // entry points for C

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::{self, Raised, Result};
use crate::greenlet::{self, Gr, Phase, Transfer, switch};
use crate::object::Object;

type Ptr = *mut ffi::PyObject;

/// The greenlet that `object` is, or TypeError.
fn checked(object: Ptr) -> Result<Gr> {
    let greenlet = if object.is_null() {
        None
    } else {
        Gr::check(object)
    };
    greenlet.ok_or_else(|| error::type_error(c"bad argument type for built-in operation"))
}

fn give(result: Result<Object>) -> Ptr {
    result.map_or(ptr::null_mut(), Object::into_ptr)
}

/// `PyGreenlet_New(run, parent)`: either may be null.
unsafe extern "C" fn new(run: Ptr, parent: Ptr) -> Ptr {
    let kind = greenlet::type_ptr();
    // SAFETY: the ready type.
    let object = unsafe { greenlet::lifetime::new(kind, ptr::null_mut(), ptr::null_mut()) };
    // SAFETY: a new reference or null.
    let Some(object) = (unsafe { Object::from_owned(object) }) else {
        return ptr::null_mut();
    };
    match greenlet::lifetime::set_up(Gr::from_object(&object), run, parent) {
        Ok(()) => object.into_ptr(),
        Err(Raised) => ptr::null_mut(),
    }
}

/// `PyGreenlet_GetCurrent()`: a new reference; null with RuntimeError once the interpreter finalizes.
unsafe extern "C" fn get_current() -> Ptr {
    give(crate::process::current().map(Gr::object))
}

/// `PyGreenlet_Throw(g, typ, val, tb)`.
unsafe extern "C" fn throw(target: Ptr, kind: Ptr, value: Ptr, traceback: Ptr) -> Ptr {
    let optional = |object: Ptr| {
        // SAFETY: null or live, by the API's contract.
        unsafe { Object::from_borrowed(object) }
    };
    give(checked(target).and_then(|target| {
        greenlet::attributes::throw(target, optional(kind), optional(value), optional(traceback))
    }))
}

/// `PyGreenlet_Switch(g, args, kwargs)`: null args are no arguments; what is no dictionary is no keywords.
unsafe extern "C" fn switch(target: Ptr, args: Ptr, kwargs: Ptr) -> Ptr {
    give(checked(target).and_then(|target| switch::switch_to(target, transfer(args, kwargs)?)))
}

/// Length of a live dictionary.
fn dict_len(dict: Ptr) -> ffi::Py_ssize_t {
    // SAFETY: `transfer` has checked what it is.
    unsafe { ffi::PyDict_Size(dict) }
}

fn transfer(args: Ptr, kwargs: Ptr) -> Result<Transfer> {
    // SAFETY: null or a live dictionary.
    let keywords =
        !kwargs.is_null() && unsafe { ffi::PyDict_Check(kwargs) } != 0 && dict_len(kwargs) > 0;
    let keywords = if keywords { kwargs } else { ptr::null_mut() };
    // SAFETY: null or live.
    let keywords = unsafe { Object::from_borrowed(keywords) };
    // SAFETY: null or live, by the API's contract.
    let Some(args) = (unsafe { Object::from_borrowed(args) }) else {
        return Ok(Transfer::Call(switch::empty_tuple(), keywords));
    };
    // SAFETY: a live object.
    if unsafe { ffi::PyTuple_Check(args.as_ptr()) } == 0 {
        return Err(error::type_error(c"args must be a tuple"));
    }
    // SAFETY: a tuple.
    if keywords.is_none() && unsafe { ffi::PyTuple_GET_SIZE(args.as_ptr()) } == 1 {
        // SAFETY: a tuple of one; borrowed.
        let item = unsafe { ffi::PyTuple_GET_ITEM(args.as_ptr(), 0) };
        // SAFETY: kept by the tuple.
        return Ok(Transfer::Value(
            unsafe { Object::from_borrowed(item) }.expect("items are not null"),
        ));
    }
    Ok(Transfer::Call(args, keywords))
}

/// `PyGreenlet_SetParent(g, parent)`: 0, or -1 with an exception.
unsafe extern "C" fn set_parent(target: Ptr, parent: Ptr) -> c_int {
    greenlet::lifetime::status(
        checked(target).and_then(|target| greenlet::attributes::set_parent(target, parent)),
    )
}

/// `PyGreenlet_MAIN(g)`.
unsafe extern "C" fn is_main(target: Ptr) -> c_int {
    checked(target).map_or(-1, |target| c_int::from(target.get().main))
}

/// `PyGreenlet_STARTED(g)`.
unsafe extern "C" fn is_started(target: Ptr) -> c_int {
    checked(target).map_or(-1, |target| {
        c_int::from(target.get().phase.get() != Phase::New)
    })
}

/// `PyGreenlet_ACTIVE(g)`.
unsafe extern "C" fn is_active(target: Ptr) -> c_int {
    checked(target).map_or(-1, |target| c_int::from(target.get().is_active()))
}

/// `PyGreenlet_GetParent(g)`: a new reference, or null without an exception.
unsafe extern "C" fn get_parent(target: Ptr) -> Ptr {
    checked(target)
        .ok()
        .and_then(|target| target.get().parent.get())
        .map_or(ptr::null_mut(), Object::into_ptr)
}

/// Adds the capsule to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let slots: [*mut c_void; 12] = [
        greenlet::type_ptr().cast(),
        greenlet::error_class().cast(),
        greenlet::exit_class().cast(),
        new as *mut c_void,
        get_current as *mut c_void,
        throw as *mut c_void,
        switch as *mut c_void,
        set_parent as *mut c_void,
        is_main as *mut c_void,
        is_started as *mut c_void,
        is_active as *mut c_void,
        get_parent as *mut c_void,
    ];
    // C code keeps the pointer for as long as the process lives.
    let slots = Box::leak(Box::new(slots));
    // SAFETY: a leaked table and a static name.
    let capsule =
        unsafe { ffi::PyCapsule_New(slots.as_mut_ptr().cast(), c"greenlet._C_API".as_ptr(), None) };
    // SAFETY: a new reference or null with an exception set.
    let capsule = unsafe { Bound::from_owned_ptr_or_err(module.py(), capsule) }?;
    module.add("_C_API", capsule)
}
