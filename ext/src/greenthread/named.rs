//! Leading parameters of `spawn` and its relatives that the caller gives by name: `spawn(func=serve, sock=s)`.

use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::Raised;

type Ptr = *mut ffi::PyObject;

/// Calls `function` once more with the parameters `wanted` in their places, taken from the keywords; raises TypeError,
/// as a Python function does, if they are not among those. May switch: no, as `function` must not.
///
/// # Safety
/// - `args` points to `count` positional arguments followed by one value per name in `kwnames`.
#[cold]
#[inline(never)]
pub unsafe fn call(
    function: ffi::PyCFunctionFastWithKeywords,
    name: &str,
    wanted: &[&str],
    args: *const Ptr,
    count: ffi::Py_ssize_t,
    kwnames: Ptr,
) -> Ptr {
    // SAFETY: functions are called with the GIL held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: null or a live tuple of names.
    let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, kwnames) };
    let names = names.and_then(|names| names.cast_into::<PyTuple>().ok());
    let mut named: Vec<(Bound<'_, PyAny>, Ptr)> = Vec::new();
    for (index, name) in names.iter().flatten().enumerate() {
        // SAFETY: a value for each name lies behind the positional arguments.
        let value = unsafe { args.add(count as usize + index) };
        // SAFETY: as above.
        named.push((name, unsafe { *value }));
    }
    let mut values = Vec::with_capacity(wanted.len() + named.len());
    for index in 0..count as usize {
        // SAFETY: within the caller's array.
        let value = unsafe { args.add(index) };
        // SAFETY: as above.
        values.push(unsafe { *value });
    }
    let mut missing = Vec::new();
    for &parameter in wanted.iter().skip(count as usize) {
        let place = named
            .iter()
            .position(|(name, _)| name.eq(parameter).unwrap_or(false));
        match place {
            Some(place) => values.push(named.remove(place).1),
            None => missing.push(format!("'{parameter}'")),
        }
    }
    if !missing.is_empty() {
        let (number, plural) = (missing.len(), if missing.len() == 1 { "" } else { "s" });
        let missing = missing.join(" and ");
        let text =
            format!("{name}() missing {number} required positional argument{plural}: {missing}");
        let Raised = Raised::from_err(py, PyTypeError::new_err(text));
        return ptr::null_mut();
    }
    values.extend(named.iter().map(|(_, value)| *value));
    let rest = if named.is_empty() {
        None
    } else {
        match PyTuple::new(py, named.iter().map(|(name, _)| name)) {
            Ok(rest) => Some(rest),
            Err(error) => {
                let Raised = Raised::from_err(py, error);
                return ptr::null_mut();
            }
        }
    };
    let rest = rest.as_ref().map_or(ptr::null_mut(), Bound::as_ptr);
    let count = wanted.len() as ffi::Py_ssize_t;
    // SAFETY: `count` positional arguments and a value for each name in `rest`, alive until the caller returns.
    unsafe { function(ptr::null_mut(), values.as_ptr(), count, rest) }
}
