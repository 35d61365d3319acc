//! Redirection to a Python callable, and the way from it to the builtin itself.

use std::collections::HashSet;
use std::ffi::c_void;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::arguments::{Call, Raw};
use super::definition::Definition;
use super::{Slot, Target, install, remove, slot_of};
use crate::call;
use crate::error::{Raised, Result};
use crate::gil_cell::GilCell;
use crate::greenlet;
use crate::object::Object;

/// Who is inside of which replacement: (slot, greenlet), by address.
static INSIDE: GilCell<Option<HashSet<(usize, usize)>>> = GilCell::new(None);

fn inside<R>(py: Python<'_>, f: impl FnOnce(&mut HashSet<(usize, usize)>) -> R) -> R {
    INSIDE.with(py, |inside| f(inside.get_or_insert_with(HashSet::new)))
}

/// Calls the slot's replacement with the arguments of the call. What the replacement calls of the builtin in the same
/// greenlet reaches the original.
fn replace(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let slot = std::ptr::from_ref(call.slot) as usize;
    let me = (slot, greenlet::current()?.as_object_ptr() as usize);
    if !inside(py, |inside| inside.insert(me)) {
        return call.forward();
    }
    let result = call_replacement(call);
    inside(py, |inside| inside.remove(&me));
    result
}

fn call_replacement(call: &Call<'_>) -> Result<Object> {
    // SAFETY: an owned reference, or null.
    let Some(replacement) = (unsafe { Object::from_borrowed(call.slot.replacement.get()) }) else {
        return call.forward();
    };
    let flags = call.slot.definition.get().map_or(0, Definition::flags);
    let (args, kwargs) = call.collect(flags)?;
    call::call(&replacement, &args, kwargs.as_ref())
}

/// What `redirect` does.
pub fn redirect(
    builtin: &Bound<'_, PyAny>,
    replacement: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let Some(replacement) = replacement else {
        remove(builtin);
        return Ok(());
    };
    if !replacement.is_callable() {
        return Err(PyTypeError::new_err("the replacement must be callable"));
    }
    install(builtin, replace, false).map_err(|reason| unable(builtin, &reason))?;
    let slot = Definition::of(builtin).ok().and_then(slot_of);
    let slot = slot.expect("just installed");
    if let Some((function, this)) = same_convention(slot, replacement) {
        slot.target.set(Target::Builtin(function, this.into_ptr())); // kept for ever, as below
        return Ok(());
    }
    // The reference that stood there is not given back: its function may be running.
    slot.replacement.set(replacement.clone().into_ptr());
    Ok(())
}

/// The C function of `replacement` and its `self`, if it is called as the builtin of `slot` is.
fn same_convention(slot: &Slot, replacement: &Bound<'_, PyAny>) -> Option<(*mut c_void, Object)> {
    // SAFETY: a live object.
    if unsafe { ffi::PyCFunction_Check(replacement.as_ptr()) } == 0 {
        return None;
    }
    let definition = Definition::of(replacement).ok()?;
    let flags = slot.definition.get()?.flags();
    let same = definition.flags() == flags && flags & ffi::METH_METHOD == 0;
    let this = replacement.getattr("__self__").ok().filter(|_| same)?;
    Some((definition.original(), Object::from_bound(&this)))
}

fn unable(builtin: &Bound<'_, PyAny>, reason: &str) -> PyErr {
    PyRuntimeError::new_err(format!("{builtin} cannot be redirected: {reason}"))
}

/// `call_original(builtin, *args, **kwargs)`: calls *builtin* itself, redirected or not. For a method the first
/// argument is the object. May switch: no; may block.
#[pyfunction]
#[pyo3(signature = (builtin, *args, **kwargs))]
pub fn call_original(
    builtin: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let py = builtin.py();
    let slot = Definition::of(builtin).ok().and_then(slot_of);
    let Some(slot) = slot else {
        return builtin.call(args, kwargs).map(Bound::unbind);
    };
    let flags = slot.definition.get().map_or(0, Definition::flags);
    let is_method = builtin.getattr("__objclass__").is_ok();
    let (this, args) = if is_method {
        if !args
            .get_item(0)?
            .is_instance(&builtin.getattr("__objclass__")?)?
        {
            return Err(PyTypeError::new_err(
                "the first argument is not of the method's type",
            ));
        }
        (args.get_item(0)?, args.get_slice(1, args.len()))
    } else {
        (builtin.getattr("__self__")?, args.clone())
    };
    let call = |raw| {
        let call = Call {
            slot,
            this: this.as_ptr(),
            raw,
        };
        match call.forward() {
            Ok(object) => Ok(object.into_bound(py).unbind()),
            Err(Raised) => Err(PyErr::fetch(py)),
        }
    };
    let kwargs_or_null = kwargs.map_or(std::ptr::null_mut(), |kwargs| kwargs.as_ptr());
    const TUPLE_AND_DICT: i32 = ffi::METH_VARARGS | ffi::METH_KEYWORDS;
    if flags == TUPLE_AND_DICT {
        return call(Raw::Pair(args.as_ptr(), kwargs_or_null));
    }
    let mut values: Vec<Bound<'_, PyAny>> = args.iter().collect();
    let names = kwargs.filter(|kwargs| !kwargs.is_empty());
    let count = values.len();
    let takes_names = flags & ffi::METH_KEYWORDS != 0;
    if names.is_some() && !takes_names {
        return Err(PyTypeError::new_err("it takes no keyword arguments"));
    }
    let keys = names
        .map(|names| PyTuple::new(py, names.keys()))
        .transpose()?;
    if let Some(names) = names {
        values.extend(names.values());
    }
    let keys = keys
        .as_ref()
        .map_or(std::ptr::null_mut(), |keys| keys.as_ptr());
    let pointers: Vec<_> = values.iter().map(|value| value.as_ptr()).collect();
    match flags {
        ffi::METH_NOARGS if count == 0 => call(Raw::One(std::ptr::null_mut())),
        ffi::METH_O if count == 1 => call(Raw::One(pointers[0])),
        ffi::METH_NOARGS | ffi::METH_O => {
            let wanted = i32::from(flags == ffi::METH_O);
            Err(PyTypeError::new_err(format!(
                "it takes exactly {wanted} arguments ({count} given)"
            )))
        }
        ffi::METH_VARARGS => call(Raw::One(args.as_ptr())),
        ffi::METH_FASTCALL => call(Raw::Array(pointers.as_ptr(), count as isize)),
        _ if flags & ffi::METH_METHOD != 0 => {
            let class = builtin.getattr("__objclass__")?;
            call(Raw::Class(
                class.as_ptr().cast(),
                pointers.as_ptr(),
                count,
                keys,
            ))
        }
        _ => call(Raw::Named(pointers.as_ptr(), count as isize, keys)),
    }
}

/// `private_copy(builtin)`: a builtin function that calls the same C function and that no redirection of *builtin*
/// reaches, for modules that shall stay as they were. Others than builtin functions are given back. May switch: no.
#[pyfunction]
pub fn private_copy(builtin: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let py = builtin.py();
    // SAFETY: a live object.
    if unsafe { ffi::PyCFunction_Check(builtin.as_ptr()) } == 0 {
        return Ok(builtin.clone().unbind());
    }
    let definition = Definition::of(builtin).map_err(PyRuntimeError::new_err)?;
    let definition = slot_of(definition)
        .and_then(|slot| slot.definition.get())
        .unwrap_or(definition);
    if definition.flags() & ffi::METH_METHOD != 0 {
        return Ok(builtin.clone().unbind());
    }
    let module = builtin.getattr_opt("__module__")?;
    let module = module.filter(|module| !module.is_none());
    let module = module.map_or(std::ptr::null_mut(), |module| module.as_ptr());
    let this = builtin.getattr("__self__")?;
    // Function objects point to their definition for ever.
    let copy = Box::leak(Box::new(definition.copy()));
    // SAFETY: a definition that is never freed, and live objects, of which the function takes references.
    let function = unsafe { ffi::PyCFunction_NewEx(copy, this.as_ptr(), module) };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, function) }.map(Bound::unbind)
}

/// `set_type_attribute(type, name, value)`: sets an attribute of a class that its own `__setattr__` protects; *value*
/// None takes it away. May switch: no.
#[pyfunction]
pub fn set_type_attribute(
    r#type: &Bound<'_, PyType>,
    name: &Bound<'_, PyString>,
    value: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = r#type.py();
    let class = r#type.as_type_ptr();
    // SAFETY: a live class.
    let dict = unsafe { (*class).tp_dict };
    // SAFETY: null for some classes of the interpreter, else a live dictionary.
    let dict = unsafe { Bound::from_borrowed_ptr_or_opt(py, dict) };
    let dict =
        dict.ok_or_else(|| PyTypeError::new_err("the class has no dictionary of its own"))?;
    match value {
        Some(value) => dict.set_item(name, value)?,
        None => dict.del_item(name)?,
    }
    // SAFETY: a live class.
    unsafe { ffi::PyType_Modified(class) };
    Ok(())
}
