//! Functions of CPython that may end the calling thread, as our calls and PyO3's reach them.
//!
//! CPython before 3.14 ends a daemon thread that wants the GIL of a finalizing interpreter with `pthread_exit`, which
//! unwinds its stack by force: through Python code that we have called, into frames of Rust that catch panics or
//! cannot unwind, where the process aborts. The linker (`--wrap`, named in `build.rs`) leads every call that this
//! library makes of these functions to the ones here, which stop the thread instead, as CPython 3.14 does. Not on
//! CPython 3.10 where it makes a call by an object's own function pointer (PEP 590).
//!
//! GNU ld, gold, lld and mold know the option; a linker that does not fails the build.
#![allow(unsafe_code)] // stands in for functions of C

use std::ffi::c_int;

use pyo3::ffi::{PyGILState_STATE, PyObject, PyThreadState};

use crate::call::StopThread;

macro_rules! stopping {
    ($($wrap:ident = $real:ident, $name:ident($($arg:ident: $kind:ty),*) -> $result:ty;)*) => {
        unsafe extern "C-unwind" {
            $(
                fn $name($($arg: $kind),*) -> $result;
                fn $real($($arg: $kind),*) -> $result;
            )*
        }
        // Refers to each by its own name: lld makes no `__real_…` of what nothing refers to.
        const _: () = {
            #[used]
            static CALLED: ($(unsafe extern "C-unwind" fn($($kind),*) -> $result,)*) = ($($name,)*);
        };
        $(
            /// The function of CPython, with its guarantees and its preconditions.
            #[unsafe(no_mangle)]
            unsafe extern "C-unwind" fn $wrap($($arg: $kind),*) -> $result {
                let guard = StopThread;
                // SAFETY: the arguments that the caller gave for this function.
                let result = unsafe { $real($($arg),*) };
                std::mem::forget(guard);
                result
            }
        )*
    };
}

type Object = *mut PyObject;

stopping! {
    __wrap_PyErr_CheckSignals = __real_PyErr_CheckSignals, PyErr_CheckSignals() -> c_int;
    __wrap_PyErr_PrintEx = __real_PyErr_PrintEx, PyErr_PrintEx(set_variables: c_int) -> ();
    __wrap_PyErr_WriteUnraisable = __real_PyErr_WriteUnraisable, PyErr_WriteUnraisable(object: Object) -> ();
    __wrap_PyEval_RestoreThread = __real_PyEval_RestoreThread, PyEval_RestoreThread(state: *mut PyThreadState) -> ();
    __wrap_PyGILState_Ensure = __real_PyGILState_Ensure, PyGILState_Ensure() -> PyGILState_STATE;
    __wrap_PyImport_Import = __real_PyImport_Import, PyImport_Import(name: Object) -> Object;
    __wrap_PyIter_Next = __real_PyIter_Next, PyIter_Next(iterator: Object) -> Object;
    __wrap_PyObject_Call = __real_PyObject_Call, PyObject_Call(function: Object, args: Object, kwargs: Object) -> Object;
    __wrap_PyObject_CallNoArgs = __real_PyObject_CallNoArgs, PyObject_CallNoArgs(function: Object) -> Object;
    __wrap_PyObject_CallObject = __real_PyObject_CallObject, PyObject_CallObject(function: Object, args: Object) -> Object;
    __wrap_PyObject_GetAttr = __real_PyObject_GetAttr, PyObject_GetAttr(object: Object, name: Object) -> Object;
    __wrap_PyObject_VectorcallDict = __real_PyObject_VectorcallDict, PyObject_VectorcallDict(
        function: Object, args: *const Object, count: usize, kwargs: Object
    ) -> Object;
    __wrap_PyObject_VectorcallMethod = __real_PyObject_VectorcallMethod, PyObject_VectorcallMethod(
        name: Object, args: *const Object, count: usize, names: Object
    ) -> Object;
    __wrap__PyObject_MakeTpCall = __real__PyObject_MakeTpCall, _PyObject_MakeTpCall(
        state: *mut PyThreadState, function: Object, args: *const Object, count: isize, keywords: Object
    ) -> Object;
    __wrap__Py_Dealloc = __real__Py_Dealloc, _Py_Dealloc(object: Object) -> ();
}

#[cfg(Py_3_11)]
stopping! {
    __wrap_PyObject_Vectorcall = __real_PyObject_Vectorcall, PyObject_Vectorcall(
        function: Object, args: *const Object, count: usize, names: Object
    ) -> Object;
}
