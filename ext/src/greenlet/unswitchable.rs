//! `UnswitchableGreenlet`: a greenlet that refuses to be switched to, for test-suites that need one.
//!
//! Upstream injects faults into its stack copying this way. Here there is nothing of the kind that could fail,
//! so the subclass fails by itself: with SystemError, or (`force_slp_switch_error`) by ending the process.
#![allow(unsafe_code)] // a static type

use std::ffi::{c_char, c_int};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::{Gr, Phase, PyGreenlet, StaticType, attributes, type_ptr};
use crate::error;

#[repr(C)]
struct Unswitchable {
    base: PyGreenlet,
    force_switch_error: c_char,
    force_slp_switch_error: c_char,
}

static TYPE: StaticType = StaticType::new();

unsafe extern "C" fn switch(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let raw: *const Unswitchable = slf.cast();
    // SAFETY: a method of this type: `slf` has its layout.
    let flags = unsafe { &*raw };
    if flags.force_slp_switch_error != 0 {
        // SAFETY: ends the process with a message.
        unsafe { ffi::Py_FatalError(c"greenlet: switching stacks failed".as_ptr()) };
    }
    if flags.force_switch_error != 0 {
        let text = if Gr::from_ptr(slf).get().phase.get() == Phase::New {
            c"Failed to switch stacks into a greenlet for the first time."
        } else {
            c"Failed to switch stacks into a running greenlet."
        };
        // SAFETY: a static of the interpreter.
        error::raise(unsafe { ffi::PyExc_SystemError }, text);
        return ptr::null_mut();
    }
    // SAFETY: the arguments of this very call.
    unsafe { attributes::switch_method(slf, args, count, kwnames) }
}

struct Tables {
    methods: [ffi::PyMethodDef; 2],
    members: [ffi::PyMemberDef; 3],
}

/// Readies the type and adds it.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let member = |name: &'static std::ffi::CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_BOOL,
        offset: offset as ffi::Py_ssize_t,
        flags: 0,
        doc: c"Whether the next switch fails.".as_ptr(),
    };
    // The type lives as long as the process, and so do its tables.
    let tables = Box::leak(Box::new(Tables {
        methods: [
            ffi::PyMethodDef {
                ml_name: c"switch".as_ptr(),
                ml_meth: ffi::PyMethodDefPointer {
                    PyCFunctionFastWithKeywords: switch,
                },
                ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
                ml_doc: c"As greenlet.switch, unless a failure is forced.".as_ptr(),
            },
            ffi::PyMethodDef::zeroed(),
        ],
        members: [
            member(
                c"force_switch_error",
                std::mem::offset_of!(Unswitchable, force_switch_error),
            ),
            member(
                c"force_slp_switch_error",
                std::mem::offset_of!(Unswitchable, force_slp_switch_error),
            ),
            ffi::PyMemberDef::default(),
        ],
    }));
    // SAFETY: the storage is written only here, at import, before anybody uses the type.
    let kind = unsafe { &mut *TYPE.get() };
    kind.ob_base.ob_base = ffi::PyObject_HEAD_INIT;
    kind.tp_name = c"greenlet._greenlet.UnswitchableGreenlet".as_ptr();
    kind.tp_basicsize = size_of::<Unswitchable>() as ffi::Py_ssize_t;
    kind.tp_flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
    kind.tp_doc = c"A greenlet whose switch can be made to fail, for tests.".as_ptr();
    kind.tp_base = type_ptr();
    kind.tp_traverse = Some(super::lifetime::traverse);
    kind.tp_clear = Some(super::lifetime::clear);
    kind.tp_is_gc = Some(super::lifetime::is_gc);
    kind.tp_methods = tables.methods.as_mut_ptr();
    kind.tp_members = tables.members.as_mut_ptr();
    // SAFETY: filled in above.
    let ready: c_int = unsafe { ffi::PyType_Ready(TYPE.get()) };
    if ready < 0 {
        return Err(PyErr::fetch(module.py()));
    }
    // SAFETY: ready and never freed.
    let kind = unsafe { Bound::from_borrowed_ptr(module.py(), TYPE.get().cast()) };
    module.add("UnswitchableGreenlet", kind)
}
