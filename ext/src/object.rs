//! `Object`: an owned reference to a Python object that may be dropped in any code that holds the GIL.
//!
//! PyO3's `Py<T>` consults an attach counter before it gives a reference back, and that counter does not know
//! of entries through raw slots: dropped there, the reference would wait in a pool and `greenlet` would kill
//! its greenlets late. `Object` gives its reference back at once. Invariant: every value of this type is made,
//! cloned and dropped by a thread that holds the GIL; the whole extension runs under it.
#![allow(unsafe_code)] // reference counting

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, c_int};
use std::hash::{BuildHasherDefault, Hasher};
use std::ptr::{self, NonNull};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::Raised;

/// An owned, non-null reference.
#[repr(transparent)]
pub struct Object(NonNull<ffi::PyObject>);

impl Object {
    /// Takes over the reference behind `ptr`; `None` for null (an exception is then usually set).
    ///
    /// # Safety
    /// - `ptr` is null or a reference that the caller owns and gives away.
    #[inline(always)]
    pub unsafe fn from_owned(ptr: *mut ffi::PyObject) -> Option<Object> {
        NonNull::new(ptr).map(Object)
    }

    /// A new reference to what `ptr` borrows; `None` for null.
    ///
    /// # Safety
    /// - `ptr` is null or a live object.
    #[inline(always)]
    pub unsafe fn from_borrowed(ptr: *mut ffi::PyObject) -> Option<Object> {
        let object = NonNull::new(ptr)?;
        // SAFETY: a live object by the caller's word, GIL held (type invariant).
        unsafe { ffi::Py_INCREF(ptr) };
        Some(Object(object))
    }

    /// A new reference to a bound object.
    #[inline]
    pub fn from_bound<T>(object: &Bound<'_, T>) -> Object {
        // SAFETY: a Bound is a live object.
        unsafe { Object::from_borrowed(object.as_ptr()) }.expect("a Bound is never null")
    }

    /// `None`.
    #[inline]
    pub fn none() -> Object {
        // SAFETY: returns the address of the immortal singleton.
        let none = unsafe { ffi::Py_None() };
        // SAFETY: as above: live.
        unsafe { Object::from_borrowed(none) }.expect("None is never null")
    }

    /// The borrowed pointer.
    #[inline(always)]
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Gives the reference away.
    #[inline(always)]
    pub fn into_ptr(self) -> *mut ffi::PyObject {
        let ptr = self.0.as_ptr();
        std::mem::forget(self);
        ptr
    }

    /// The same reference as PyO3's owner: for visiting, not for keeping.
    #[inline]
    pub fn as_py(&self) -> &Py<PyAny> {
        // SAFETY: both are one non-null pointer to a live object (`repr(transparent)`), and the borrow cannot be
        // dropped.
        unsafe { &*ptr::from_ref(self).cast::<Py<PyAny>>() }
    }

    /// A PyO3 view of it.
    #[inline]
    pub fn bind<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: live (we own a reference); PyO3 takes one of its own.
        unsafe { Bound::from_borrowed_ptr(py, self.as_ptr()) }
    }

    /// A PyO3 owner of it, with our reference moved.
    #[inline]
    pub fn into_bound(self, py: Python<'_>) -> Bound<'_, PyAny> {
        let ptr = self.into_ptr();
        // SAFETY: the reference was ours and is given away here.
        unsafe { Bound::from_owned_ptr(py, ptr) }
    }

    /// Whether both are the same object.
    #[inline(always)]
    pub fn is(&self, other: *mut ffi::PyObject) -> bool {
        ptr::eq(self.as_ptr(), other)
    }

    /// Visits the object for the cyclic collector.
    ///
    /// # Safety
    /// - `visit` and `arg` are those that `tp_traverse` was called with.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut std::ffi::c_void) -> c_int {
        // SAFETY: the collector's own function and argument, by the caller's word.
        unsafe { visit(self.as_ptr(), arg) }
    }
}

impl Clone for Object {
    #[inline(always)]
    fn clone(&self) -> Object {
        // SAFETY: live, GIL held (type invariant).
        unsafe { ffi::Py_INCREF(self.as_ptr()) };
        Object(self.0)
    }
}

impl Drop for Object {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: we own this reference and never use it again; GIL held (type invariant).
        unsafe { ffi::Py_DECREF(self.as_ptr()) };
    }
}

/// The type of a live object, borrowed.
#[inline(always)]
pub fn type_of(object: *mut ffi::PyObject) -> *mut ffi::PyTypeObject {
    // SAFETY: callers pass live objects.
    unsafe { ffi::Py_TYPE(object) }
}

/// The name of a live object's type, as `tp_name` has it.
pub fn type_name<'a>(object: *mut ffi::PyObject) -> &'a CStr {
    // SAFETY: a live object's type is live.
    let name = unsafe { (*type_of(object)).tp_name };
    // SAFETY: CPython's types have C strings as names, which live as long as they.
    unsafe { CStr::from_ptr(name) }
}

/// Has the collector track an object, if it does not yet.
#[inline]
pub fn gc_track(object: *mut ffi::PyObject) {
    // SAFETY: callers pass live objects of collectable types.
    if unsafe { ffi::PyObject_GC_IsTracked(object) } == 0 {
        // SAFETY: as above; not tracked.
        unsafe { ffi::PyObject_GC_Track(object.cast()) };
    }
}

/// Whether `callable` is a native method bound to this very object. Runs no Python code.
pub fn is_method_of(callable: *mut ffi::PyObject, object: *mut ffi::PyObject) -> bool {
    // SAFETY: callers pass live objects.
    let native = unsafe { ffi::PyCFunction_Check(callable) } != 0;
    // SAFETY: a builtin function or method: what it is bound to, borrowed, or null.
    native && ptr::eq(unsafe { ffi::PyCFunction_GetSelf(callable) }, object)
}

/// Length of a live tuple; 0 for null.
#[inline(always)]
pub fn tuple_len(tuple: *mut ffi::PyObject) -> usize {
    if tuple.is_null() {
        return 0;
    }
    // SAFETY: callers pass tuples.
    unsafe { ffi::PyTuple_GET_SIZE(tuple) as usize }
}

/// A new reference that a C function returned; null means that it has raised.
#[inline(always)]
pub fn owned(ptr: *mut ffi::PyObject) -> Result<Object, Raised> {
    // SAFETY: callers pass what the C API calls a new reference.
    unsafe { Object::from_owned(ptr) }.ok_or(Raised)
}

/// Has the cyclic collector pass over this object. For one that cannot be part of a cycle that only it holds.
#[inline]
pub fn untrack<T>(object: &Bound<'_, T>) {
    // SAFETY: a live object of a type that the collector knows; it need not be tracked.
    unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) };
}

/// A place for an `Object` that can be changed through a shared reference (GIL held).
#[derive(Default)]
pub struct Slot(Cell<Option<Object>>);

impl Slot {
    /// A place with this in it.
    pub const fn new(object: Option<Object>) -> Slot {
        Slot(Cell::new(object))
    }

    /// The borrowed pointer of what is in it, or null. Valid until the slot is changed.
    #[inline(always)]
    pub fn peek(&self) -> *mut ffi::PyObject {
        // SAFETY: a plain read of a pointer-sized value; nothing else accesses the cell meanwhile (GIL).
        match unsafe { &*self.0.as_ptr() } {
            Some(object) => object.as_ptr(),
            None => ptr::null_mut(),
        }
    }

    /// A new reference to what is in it.
    #[inline(always)]
    pub fn get(&self) -> Option<Object> {
        // SAFETY: what `peek` returns is null or kept alive by the slot.
        unsafe { Object::from_borrowed(self.peek()) }
    }

    /// Puts `object` in and gives what was there. The caller drops the old one when the slot is consistent.
    #[inline(always)]
    pub fn replace(&self, object: Option<Object>) -> Option<Object> {
        self.0.replace(object)
    }

    /// Empties it.
    #[inline(always)]
    pub fn take(&self) -> Option<Object> {
        self.0.take()
    }

    /// Whether something is in it.
    #[inline(always)]
    pub fn is_some(&self) -> bool {
        !self.peek().is_null()
    }

    /// Visits the object for the cyclic collector.
    ///
    /// # Safety
    /// - `visit` and `arg` are those that `tp_traverse` was called with.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut std::ffi::c_void) -> c_int {
        let object = self.peek();
        if object.is_null() {
            return 0;
        }
        // SAFETY: the collector's own function and argument, by the caller's word.
        unsafe { visit(object, arg) }
    }
}

impl From<Bound<'_, PyAny>> for Object {
    fn from(object: Bound<'_, PyAny>) -> Object {
        // SAFETY: `into_ptr` gives an owned, non-null reference away.
        unsafe { Object::from_owned(object.into_ptr()) }.expect("a Bound is never null")
    }
}

impl From<Py<PyAny>> for Object {
    fn from(object: Py<PyAny>) -> Object {
        // SAFETY: `into_ptr` gives an owned, non-null reference away.
        unsafe { Object::from_owned(object.into_ptr()) }.expect("a Py is never null")
    }
}

/// A map whose keys are addresses of objects.
pub type ByAddress<T> = HashMap<usize, T, BuildHasherDefault<AddressHasher>>;

/// Hashes an object address: its low bits are always zero.
#[derive(Default)]
pub struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = (self.0 ^ (address as u64 >> 4)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
