//! `Call`: one call of a redirected builtin, in whichever of CPython's conventions it was made.
//!
//! Everything in it is borrowed from the caller for the duration of the call, also across switches: the caller's
//! frame keeps it alive. The original may never come back (`call::guarded` tells why).

use std::ffi::c_void;
use std::mem::transmute;
use std::ptr;

use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;

use super::Slot;
use super::definition::Definition;
use crate::call::guarded;
use crate::error::{Raised, Result};
use crate::object::Object;

/// Arguments as they came.
#[derive(Clone, Copy)]
pub enum Raw {
    /// METH_NOARGS (null), METH_O (a value), METH_VARARGS (a tuple).
    One(*mut PyObject),
    /// METH_VARARGS | METH_KEYWORDS: a tuple and a dictionary or null.
    Pair(*mut PyObject, *mut PyObject),
    /// METH_FASTCALL.
    Array(*const *mut PyObject, isize),
    /// METH_FASTCALL | METH_KEYWORDS: the names are a tuple or null.
    Named(*const *mut PyObject, isize, *mut PyObject),
    /// METH_METHOD | METH_FASTCALL | METH_KEYWORDS.
    Class(
        *mut PyTypeObject,
        *const *mut PyObject,
        usize,
        *mut PyObject,
    ),
}

type One = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject) -> *mut PyObject;
type Pair =
    unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
type Array =
    unsafe extern "C-unwind" fn(*mut PyObject, *const *mut PyObject, isize) -> *mut PyObject;
type Named = unsafe extern "C-unwind" fn(
    *mut PyObject,
    *const *mut PyObject,
    isize,
    *mut PyObject,
) -> *mut PyObject;
type Class = unsafe extern "C-unwind" fn(
    *mut PyObject,
    *mut PyTypeObject,
    *const *mut PyObject,
    usize,
    *mut PyObject,
) -> *mut PyObject;

/// One call.
pub struct Call<'a> {
    /// The builtin that was called.
    pub slot: &'a Slot,
    /// Its `self`: the object of a method, the module of a function.
    pub this: *mut PyObject,
    /// The arguments.
    pub raw: Raw,
}

impl<'a> Call<'a> {
    /// A call without arguments, on which to call the original `with` some.
    pub fn blank(slot: &'a Slot, this: *mut PyObject) -> Call<'a> {
        let null = ptr::null_mut();
        let flags = slot.definition.get().map_or(0, Definition::flags);
        let raw = match flags {
            _ if flags & ffi::METH_METHOD != 0 => {
                Raw::Class(crate::object::type_of(this), null as _, 0, null)
            }
            ffi::METH_FASTCALL => Raw::Array(null as _, 0),
            _ if flags & ffi::METH_FASTCALL != 0 => Raw::Named(null as _, 0, null),
            _ if flags & ffi::METH_KEYWORDS != 0 => Raw::Pair(null, null),
            _ => Raw::One(null),
        };
        Call { slot, this, raw }
    }

    fn original(&self) -> *mut c_void {
        let definition = self.slot.definition.get();
        definition
            .expect("a slot that is called has one")
            .original()
    }

    /// Calls the original with exactly these arguments.
    #[inline]
    pub fn forward(&self) -> Result<Object> {
        self.invoke(self.raw)
    }

    fn invoke(&self, raw: Raw) -> Result<Object> {
        Call { raw, ..*self }.call(self.original())
    }

    /// Calls a C function of this call's convention.
    pub fn call(&self, original: *mut c_void) -> Result<Object> {
        let this = self.this;
        match self.raw {
            Raw::One(args) => {
                // SAFETY: the variant is made by the entry of this convention only (as in all arms).
                let function = unsafe { transmute::<*mut c_void, One>(original) };
                // SAFETY: the arguments that CPython gave us, or ones made like them (as in all arms).
                guarded(|| unsafe { function(this, args) })
            }
            Raw::Pair(args, kwargs) => {
                // SAFETY: see the first arm.
                let function = unsafe { transmute::<*mut c_void, Pair>(original) };
                // SAFETY: see the first arm.
                guarded(|| unsafe { function(this, args, kwargs) })
            }
            Raw::Array(args, count) => {
                // SAFETY: see the first arm.
                let function = unsafe { transmute::<*mut c_void, Array>(original) };
                // SAFETY: see the first arm.
                guarded(|| unsafe { function(this, args, count) })
            }
            Raw::Named(args, count, names) => {
                // SAFETY: see the first arm.
                let function = unsafe { transmute::<*mut c_void, Named>(original) };
                // SAFETY: see the first arm.
                guarded(|| unsafe { function(this, args, count, names) })
            }
            Raw::Class(class, args, count, names) => {
                // SAFETY: see the first arm.
                let function = unsafe { transmute::<*mut c_void, Class>(original) };
                // SAFETY: see the first arm.
                guarded(|| unsafe { function(this, class, args, count, names) })
            }
        }
    }

    /// Calls the original with other positional arguments, in the convention of this call. Not for METH_NOARGS and
    /// METH_O.
    pub fn call_with(&self, values: &[*mut PyObject]) -> Result<Object> {
        match self.raw {
            Raw::One(_) => self.invoke(Raw::One(tuple(values)?.as_ptr())),
            Raw::Pair(..) => {
                let args = tuple(values)?;
                self.invoke(Raw::Pair(args.as_ptr(), ptr::null_mut()))
            }
            Raw::Array(..) => self.invoke(Raw::Array(values.as_ptr(), values.len() as isize)),
            Raw::Named(..) => self.invoke(Raw::Named(
                values.as_ptr(),
                values.len() as isize,
                ptr::null_mut(),
            )),
            Raw::Class(class, ..) => self.invoke(Raw::Class(
                class,
                values.as_ptr(),
                values.len(),
                ptr::null_mut(),
            )),
        }
    }

    /// As `call_with`, with a tuple made before, of one value.
    #[inline]
    pub fn call_with_tuple(&self, args: &Object, value: *mut PyObject) -> Result<Object> {
        match self.raw {
            Raw::One(_) => self.invoke(Raw::One(args.as_ptr())),
            Raw::Pair(..) => self.invoke(Raw::Pair(args.as_ptr(), ptr::null_mut())),
            _ => self.call_with(&[value]),
        }
    }

    /// Whether there is no argument. (Not for METH_NOARGS and METH_O.)
    #[inline]
    pub fn is_empty(&self) -> bool {
        match self.raw {
            // SAFETY: a tuple.
            Raw::One(args) => unsafe { ffi::PyTuple_Size(args) == 0 },
            Raw::Pair(args, kwargs) => {
                // SAFETY: a tuple.
                let count = unsafe { ffi::PyTuple_Size(args) };
                // SAFETY: a dictionary.
                count == 0 && (kwargs.is_null() || unsafe { ffi::PyDict_Size(kwargs) } == 0)
            }
            Raw::Array(_, count) => count == 0,
            Raw::Named(_, count, names) => count == 0 && names.is_null(),
            Raw::Class(_, _, count, names) => count == 0 && names.is_null(),
        }
    }

    /// The values of `parameters` (null where not given); `None` if these arguments do not fit, which the original
    /// is to complain about. Not for METH_NOARGS and METH_O.
    pub fn parse<const N: usize>(&self, parameters: [&str; N]) -> Option<[*mut PyObject; N]> {
        let mut out = [ptr::null_mut(); N];
        let (args, count, names) = match self.raw {
            Raw::One(args) => return positional(args, out),
            Raw::Pair(args, kwargs) => {
                let mut out = positional(args, out)?;
                return keywords(kwargs, &parameters, &mut out).then_some(out);
            }
            Raw::Array(args, count) => (args, count as usize, ptr::null_mut()),
            Raw::Named(args, count, names) => (args, count as usize, names),
            Raw::Class(_, args, count, names) => (args, count, names),
        };
        for (index, place) in out.iter_mut().enumerate().take(count) {
            // SAFETY: so many values stand there.
            *place = unsafe { value_at(args, index) };
        }
        if count > N {
            return None;
        }
        if names.is_null() {
            return Some(out);
        }
        // SAFETY: a tuple of str.
        for index in 0..unsafe { ffi::PyTuple_Size(names) } {
            // SAFETY: within the tuple.
            let name = unsafe { ffi::PyTuple_GetItem(names, index) };
            let place = place_of(name, &parameters)?;
            if !out[place].is_null() {
                return None;
            }
            // SAFETY: the values of the keywords stand behind the positional ones.
            out[place] = unsafe { value_at(args, count + index as usize) };
        }
        Some(out)
    }

    /// All arguments as a tuple and a dictionary, for a Python callable.
    pub fn collect(&self, flags: std::ffi::c_int) -> Result<(Object, Option<Object>)> {
        let (args, count, names) = match self.raw {
            Raw::One(_) if flags == ffi::METH_NOARGS => return Ok((tuple(&[])?, None)),
            Raw::One(value) if flags == ffi::METH_O => return Ok((tuple(&[value])?, None)),
            Raw::One(args) => return Ok((borrowed(args).ok_or(Raised)?, None)),
            Raw::Pair(args, kwargs) => {
                return Ok((borrowed(args).ok_or(Raised)?, borrowed(kwargs)));
            }
            Raw::Array(args, count) => (args, count as usize, ptr::null_mut()),
            Raw::Named(args, count, names) => (args, count as usize, names),
            Raw::Class(_, args, count, names) => (args, count, names),
        };
        let value = |index: usize| {
            // SAFETY: so many values stand there, and those of the keywords behind them.
            unsafe { value_at(args, index) }
        };
        let values: Vec<_> = (0..count).map(value).collect();
        let args = tuple(&values)?;
        if names.is_null() {
            return Ok((args, None));
        }
        // SAFETY: the GIL is held.
        let dict = unsafe { ffi::PyDict_New() };
        // SAFETY: a new reference or null.
        let dict = unsafe { Object::from_owned(dict) }.ok_or(Raised)?;
        // SAFETY: a tuple of str.
        for index in 0..unsafe { ffi::PyTuple_Size(names) } {
            // SAFETY: within the tuple.
            let name = unsafe { ffi::PyTuple_GetItem(names, index) };
            let value = value(count + index as usize);
            // SAFETY: live objects; the dictionary takes its own references.
            if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), name, value) } < 0 {
                return Err(Raised);
            }
        }
        Ok((args, Some(dict)))
    }
}

/// The value at `index`.
///
/// # Safety
/// - More than `index` values stand at `args`.
unsafe fn value_at(args: *const *mut PyObject, index: usize) -> *mut PyObject {
    // SAFETY: within the array, by the caller's word.
    let place = unsafe { args.add(index) };
    // SAFETY: as above.
    unsafe { *place }
}

fn borrowed(object: *mut PyObject) -> Option<Object> {
    // SAFETY: live or null.
    unsafe { Object::from_borrowed(object) }
}

/// A tuple of these values.
pub fn tuple(values: &[*mut PyObject]) -> Result<Object> {
    // SAFETY: the GIL is held.
    let tuple = unsafe { ffi::PyTuple_New(values.len() as isize) };
    // SAFETY: a new reference or null.
    let tuple = unsafe { Object::from_owned(tuple) }.ok_or(Raised)?;
    for (index, value) in values.iter().enumerate() {
        let value = borrowed(*value).expect("values are objects").into_ptr();
        // SAFETY: a place of a new tuple, which takes the reference over.
        unsafe { ffi::PyTuple_SetItem(tuple.as_ptr(), index as isize, value) };
    }
    Ok(tuple)
}

fn positional<const N: usize>(
    args: *mut PyObject,
    mut out: [*mut PyObject; N],
) -> Option<[*mut PyObject; N]> {
    // SAFETY: a tuple.
    let count = unsafe { ffi::PyTuple_Size(args) } as usize;
    for (index, place) in out.iter_mut().enumerate().take(count) {
        // SAFETY: within the tuple.
        *place = unsafe { ffi::PyTuple_GetItem(args, index as isize) };
    }
    (count <= N).then_some(out)
}

fn keywords(kwargs: *mut PyObject, parameters: &[&str], out: &mut [*mut PyObject]) -> bool {
    if kwargs.is_null() {
        return true;
    }
    let (mut at, mut name, mut value) = (0, ptr::null_mut(), ptr::null_mut());
    // SAFETY: a dictionary that nobody changes meanwhile.
    while unsafe { ffi::PyDict_Next(kwargs, &mut at, &mut name, &mut value) } != 0 {
        match place_of(name, parameters) {
            Some(place) if out[place].is_null() => out[place] = value,
            _ => return false,
        }
    }
    true
}

fn place_of(name: *mut PyObject, parameters: &[&str]) -> Option<usize> {
    // SAFETY: every caller holds the GIL.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: a live object.
    let name = unsafe { Bound::from_borrowed_ptr(py, name) };
    let name: &str = name.extract().ok()?;
    parameters.iter().position(|parameter| *parameter == name)
}
