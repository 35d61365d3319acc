//! Calls into Python from which the calling thread may never come back.
//!
//! CPython before 3.14 ends a daemon thread that wants the GIL of a finalizing interpreter with `pthread_exit`,
//! which unwinds the stack by force. It may not reach a frame that Rust believes cannot unwind, nor a
//! `catch_unwind` (both abort the process), and it must not run destructors, since the thread holds no GIL.
//! So the outermost call of a greenlet, calls of builtins in whose place we act, and those that take the GIL are
//! declared as ones that may unwind, with a guard around them that stops the thread for good, which is what
//! CPython 3.14 does to such threads itself.
//!
//! An exception of C++ that nobody catches meets the end of the stack there, as it does in a thread's first
//! function: the runtime of C++ looks for a handler before it unwinds anything (phase 1 of the Itanium C++ ABI:
//! Exception Handling, section 1.3), finds none, and reports the exception as it ends the process.
#![allow(unsafe_code)] // calls into C

use std::ffi::c_void;
use std::mem::ManuallyDrop;

use pyo3::ffi::{self, PyObject};

use crate::error::{Raised, Result};
use crate::object::Object;

unsafe extern "C-unwind" {
    fn PyObject_Call(
        function: *mut PyObject,
        args: *mut PyObject,
        kwargs: *mut PyObject,
    ) -> *mut PyObject;
    fn PyObject_CallNoArgs(function: *mut PyObject) -> *mut PyObject;
    // The one form of a call by array that every supported version exports (3.10 has the others inline).
    fn PyObject_VectorcallDict(
        function: *mut PyObject,
        args: *const *mut PyObject,
        count: usize,
        kwargs: *mut PyObject,
    ) -> *mut PyObject;
    #[cfg(Py_3_11)]
    fn PyObject_Vectorcall(
        function: *mut PyObject,
        args: *const *mut PyObject,
        count: usize,
        names: *mut PyObject,
    ) -> *mut PyObject;
    #[cfg(not(Py_3_11))]
    fn _PyObject_MakeTpCall(
        state: *mut ffi::PyThreadState,
        function: *mut PyObject,
        args: *const *mut PyObject,
        count: ffi::Py_ssize_t,
        names: *mut PyObject,
    ) -> *mut PyObject;
    fn PyEval_RestoreThread(state: *mut ffi::PyThreadState);
}

/// The function as one that may unwind. PyO3 declares the same functions as ones that may not, and when the whole
/// program is optimised at once either declaration may be taken for both: so the compiler must not see which it is.
#[inline(always)]
fn unwinding<F>(function: F) -> F {
    std::hint::black_box(function)
}

/// Stops the thread when it is unwound through. No panic of ours passes here: C code lies in between.
///
/// Unless the interpreter ends it is an exception of C++ that nobody has caught, which ends the process.
pub struct StopThread;

impl Drop for StopThread {
    fn drop(&mut self) {
        if !crate::process::finalizing() {
            std::process::abort();
        }
        loop {
            std::thread::park();
        }
    }
}

impl StopThread {
    /// For calls by name: where the linker leads those to `ending.rs` there is a guard already, and none is needed.
    #[inline(always)]
    fn unless_wrapped() -> Option<Self> {
        (!cfg!(wraps_calls)).then(|| Self)
    }
}

/// Runs `call`, which may end the thread (see above) and else gives a new reference, or null with an exception set.
#[inline(always)]
pub fn guarded(call: impl FnOnce() -> *mut PyObject) -> Result<Object> {
    let guard = StopThread;
    let result = call();
    std::mem::forget(guard);
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Object::from_owned(result) }.ok_or(Raised)
}

/// Takes the GIL. Does not come back if the interpreter ends meanwhile.
///
/// # Safety
/// - `state` is what PyEval_SaveThread gave in the calling thread, and was not used since.
#[inline]
pub unsafe fn restore_thread(state: *mut ffi::PyThreadState) {
    let restore: unsafe extern "C-unwind" fn(_) = PyEval_RestoreThread;
    let restore = unwinding(restore);
    let guard = StopThread::unless_wrapped();
    // SAFETY: the caller's promise.
    unsafe { restore(state) };
    std::mem::forget(guard);
}

/// As PyObject_Vectorcall, of a builtin that may let go of the GIL. May switch: if the builtin does.
///
/// # Safety
/// - Live objects: `count` positional arguments at `args`, and behind them those that the tuple `names` (or null) names.
#[cfg(Py_3_11)]
#[inline]
pub unsafe fn vectorcall(
    function: *mut PyObject,
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> Result<Object> {
    let call: unsafe extern "C-unwind" fn(_, _, _, _) -> _ = PyObject_Vectorcall;
    let call = unwinding(call);
    // SAFETY: the caller's promise.
    guarded(|| unsafe { call(function, args, count, names) })
}

/// As above. CPython 3.10 has the function in its headers only (`Include/cpython/abstract.h`).
///
/// # Safety
/// - Live objects: `count` positional arguments at `args`, and behind them those that the tuple `names` (or null) names.
#[cfg(not(Py_3_11))]
#[inline]
pub unsafe fn vectorcall(
    function: *mut PyObject,
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> Result<Object> {
    type Vectorcall = unsafe extern "C-unwind" fn(
        *mut PyObject,
        *const *mut PyObject,
        usize,
        *mut PyObject,
    ) -> *mut PyObject;
    // SAFETY: a live object.
    let own = unsafe { ffi::PyVectorcall_Function(function) };
    let Some(own) = own else {
        // SAFETY: the GIL is held.
        let state = unsafe { ffi::PyThreadState_Get() };
        let count = count as ffi::Py_ssize_t;
        let call: unsafe extern "C-unwind" fn(_, _, _, _, _) -> _ = _PyObject_MakeTpCall;
        let call = unwinding(call);
        // SAFETY: the caller's promise.
        return guarded(|| unsafe { call(state, function, args, count, names) });
    };
    // SAFETY: the same function, said to be one that may unwind.
    let call = unsafe { std::mem::transmute::<ffi::vectorcallfunc, Vectorcall>(own) };
    // SAFETY: the caller's promise.
    guarded(|| unsafe { call(function, args, count, names) })
}

/// As [`guarded`], as the outermost call of a greenlet.
#[inline(always)]
fn outermost<F: FnOnce() -> *mut PyObject>(call: F) -> Result<Object> {
    let mut call = ManuallyDrop::new(call);
    let call = (&raw mut call).cast();
    // SAFETY: `enter` gets the closure that it is made for, which is alive here and not used again.
    let result = unsafe { last_frame(enter::<F>, call) };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Object::from_owned(result) }.ok_or(Raised)
}

/// Calls the closure at `call`, which is consumed.
unsafe extern "C-unwind" fn enter<F: FnOnce() -> *mut PyObject>(
    call: *mut c_void,
) -> *mut PyObject {
    let guard = StopThread::unless_wrapped();
    // SAFETY: `outermost` gives the place of a closure of this type, which it does not use again.
    let call = unsafe { call.cast::<F>().read() };
    let result = call();
    std::mem::forget(guard);
    result
}

/// `enter(call)`, from a frame of which an unwinder knows nothing: whoever looks for a handler ends the search here.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C-unwind" fn last_frame(
    enter: unsafe extern "C-unwind" fn(*mut c_void) -> *mut PyObject,
    call: *mut c_void,
) -> *mut PyObject {
    // The frame pointer is kept for profilers; the System V ABI wants rsp + 8 divisible by 16 after the call.
    std::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "pop rbp",
        "ret"
    )
}

/// `enter(call)`, from a frame of which an unwinder knows nothing: whoever looks for a handler ends the search here.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C-unwind" fn last_frame(
    enter: unsafe extern "C-unwind" fn(*mut c_void) -> *mut PyObject,
    call: *mut c_void,
) -> *mut PyObject {
    std::arch::naked_asm!(
        "stp x29, x30, [sp, #-16]!",
        "mov x29, sp",
        "mov x9, x0",
        "mov x0, x1",
        "blr x9",
        "ldp x29, x30, [sp], #16",
        "ret"
    )
}

/// `enter(call)`. Here an exception that nobody catches ends the process without being reported.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe extern "C-unwind" fn last_frame(
    enter: unsafe extern "C-unwind" fn(*mut c_void) -> *mut PyObject,
    call: *mut c_void,
) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { enter(call) }
}

/// `function(*args, **kwargs)`; `args` is a tuple, `kwargs` a dictionary. May switch: yes.
#[inline(always)]
pub fn call(function: &Object, args: &Object, kwargs: Option<&Object>) -> Result<Object> {
    let kwargs = kwargs.map_or(std::ptr::null_mut(), Object::as_ptr);
    let call: unsafe extern "C-unwind" fn(_, _, _) -> _ = PyObject_Call;
    let call = unwinding(call);
    // SAFETY: live objects of the right types; the callee takes its own references.
    outermost(|| unsafe { call(function.as_ptr(), args.as_ptr(), kwargs) })
}

/// `function(arg)`. May switch: yes.
#[inline(always)]
pub fn call_one(function: &Object, arg: &Object) -> Result<Object> {
    let call: unsafe extern "C-unwind" fn(_, _, _, _) -> _ = PyObject_VectorcallDict;
    let call = unwinding(call);
    // SAFETY: live objects; the callee takes its own references.
    outermost(|| unsafe { call(function.as_ptr(), &arg.as_ptr(), 1, std::ptr::null_mut()) })
}

/// `function()`. May switch: yes.
#[inline(always)]
pub fn call_none(function: &Object) -> Result<Object> {
    let call: unsafe extern "C-unwind" fn(_) -> _ = PyObject_CallNoArgs;
    let call = unwinding(call);
    // SAFETY: a live object.
    outermost(|| unsafe { call(function.as_ptr()) })
}

/// `function(*args)`, of which the last `named` are keywords called `names` (a tuple, or null). May switch: yes.
#[inline(always)]
pub fn call_vector(
    function: &Object,
    args: &[Object],
    named: usize,
    names: *mut PyObject,
) -> Result<Object> {
    let kwargs = keywords(&args[args.len() - named..], names)?;
    let kwargs = kwargs.as_ref().map_or(std::ptr::null_mut(), Object::as_ptr);
    let count = args.len() - named;
    let call: unsafe extern "C-unwind" fn(_, _, _, _) -> _ = PyObject_VectorcallDict;
    let call = unwinding(call);
    // SAFETY: live objects; an Object is one pointer, and the callee takes its own references.
    outermost(|| unsafe { call(function.as_ptr(), args.as_ptr().cast(), count, kwargs) })
}

/// A dictionary of keyword arguments; `None` without any.
#[inline(always)]
fn keywords(values: &[Object], names: *mut PyObject) -> Result<Option<Object>> {
    if values.is_empty() {
        return Ok(None);
    }
    // SAFETY: the GIL is held.
    let dict = unsafe { ffi::PyDict_New() };
    // SAFETY: a new reference or null.
    let dict = unsafe { Object::from_owned(dict) }.ok_or(Raised)?;
    for (index, value) in values.iter().enumerate() {
        // SAFETY: `names` is a tuple of as many names as there are values.
        let name = unsafe { ffi::PyTuple_GetItem(names, index as ffi::Py_ssize_t) };
        // SAFETY: live objects; the dictionary takes its own references.
        if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), name, value.as_ptr()) } < 0 {
            return Err(Raised);
        }
    }
    Ok(Some(dict))
}
