//! Redirection of builtin functions and methods in place: the door through which monkey patching enters.
//!
//! Every reference to a builtin, wherever a program keeps it, leads to one `PyMethodDef`. Its function pointer is
//! exchanged here for an entry of a numbered slot, so all references go green at once and none has to be found.
//! An entry asks whether the calling OS thread runs a hub. If so the slot's Rust function (or Python callable) acts,
//! and may call the original; if not the original is called, and blocks as it always did.
//!
//! Invariants. The flags of a `PyMethodDef` never change, because CPython derives other things from them when it
//! makes function objects; so each calling convention has entries of its own. A slot belongs to one `PyMethodDef`
//! for ever: a function pointer that CPython has read before a change stays callable. GIL held throughout.
#![allow(unsafe_code)] // CPython's calling conventions

mod arguments;
mod definition;
mod entry;
mod handle;
mod line;
mod lock;
mod objects;
mod poller;
mod python;
mod queue;
mod raise_signal;
mod ready;
mod rlock;
mod sleep;
mod socket;
mod tls;

use std::cell::Cell;
use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::Result;
use crate::hub;
use crate::object::Object;
pub use arguments::{Call, Raw};
use definition::Definition;

/// What acts in the place of a builtin. May switch.
pub type Native = fn(Python<'_>, &Call<'_>) -> Result<Object>;

/// Whom a slot calls.
#[derive(Clone, Copy)]
enum Target {
    /// The original.
    Original,
    /// This function, in OS threads that run a hub.
    OnHub(Native),
    /// This function, in every OS thread.
    Everywhere(Native),
    /// The C function of another builtin of the same convention, with its `self`, in OS threads that run a hub.
    Builtin(*mut std::ffi::c_void, *mut ffi::PyObject),
}

/// One redirected builtin.
pub struct Slot {
    definition: Cell<Option<Definition>>,
    target: Cell<Target>,
    /// For `python`: what it calls, an owned reference that is never given back.
    replacement: Cell<*mut ffi::PyObject>,
}

// SAFETY: used by whoever holds the GIL.
unsafe impl Sync for Slot {}

impl Slot {
    const fn new() -> Slot {
        Slot {
            definition: Cell::new(None),
            target: Cell::new(Target::Original),
            replacement: Cell::new(std::ptr::null_mut()),
        }
    }
}

static SLOTS: [Slot; entry::COUNT] = [const { Slot::new() }; entry::COUNT];

/// Has `native` act in the place of the builtin `function` in OS threads that run a hub (`everywhere`: in all).
/// The error says why it cannot. May switch: no.
pub fn install(
    function: &Bound<'_, PyAny>,
    native: Native,
    everywhere: bool,
) -> std::result::Result<(), String> {
    let slot = slot_for(function)?;
    slot.target.set(if everywhere {
        Target::Everywhere(native)
    } else {
        Target::OnHub(native)
    });
    Ok(())
}

/// Has every call of `function` reach the original again. May switch: no.
pub fn remove(function: &Bound<'_, PyAny>) {
    if let Ok(found) = Definition::of(function)
        && let Some(slot) = slot_of(found)
    {
        slot.target.set(Target::Original);
    }
}

/// Whether `function` is redirected now.
pub fn is_installed(function: &Bound<'_, PyAny>) -> bool {
    Definition::of(function)
        .ok()
        .and_then(slot_of)
        .is_some_and(|slot| !matches!(slot.target.get(), Target::Original))
}

fn slot_of(definition: Definition) -> Option<&'static Slot> {
    SLOTS.iter().find(|slot| {
        slot.definition
            .get()
            .is_some_and(|known| known.same(definition))
    })
}

fn slot_for(function: &Bound<'_, PyAny>) -> std::result::Result<&'static Slot, String> {
    let definition = Definition::of(function)?;
    if let Some(slot) = slot_of(definition) {
        return Ok(slot);
    }
    let free = SLOTS
        .iter()
        .position(|slot| slot.definition.get().is_none())
        .ok_or("all places for redirected builtins are taken")?;
    let entry = entry::entry(free, definition.flags())
        .ok_or_else(|| format!("calling convention {:#x} is unknown", definition.flags()))?;
    definition.is_writable()?;
    let slot = &SLOTS[free];
    slot.definition.set(Some(definition));
    definition.lead_to(entry);
    Ok(slot)
}

/// What an entry does: calls whom the slot names.
fn dispatch(py: Python<'_>, index: usize, this: *mut ffi::PyObject, raw: Raw) -> Result<Object> {
    let slot = &SLOTS[index];
    let call = Call { slot, this, raw };
    match slot.target.get() {
        Target::OnHub(native) if hub::runs_here() => native(py, &call),
        Target::Everywhere(native) => native(py, &call),
        Target::Builtin(function, this) if hub::runs_here() => Call { this, ..call }.call(function),
        _ => call.forward(),
    }
}

/// The kind of a builtin's calling convention, without what does not matter to a call.
fn convention(flags: c_int) -> c_int {
    flags & !(ffi::METH_CLASS | ffi::METH_STATIC | ffi::METH_COEXIST)
}

/// `redirect(builtin, replacement)`: in OS threads that run a hub, calls of *builtin* call *replacement* instead, by
/// whatever reference they are made. *replacement* None ends that. May switch: no. RuntimeError, with the reason,
/// for what cannot be redirected.
///
/// What *replacement* itself calls of *builtin*, in the same green thread, reaches the builtin, as does
/// `call_original(builtin, ...)` from anywhere.
#[pyfunction]
fn redirect(builtin: &Bound<'_, PyAny>, replacement: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    python::redirect(builtin, replacement)
}

/// `is_redirected(builtin)`: whether calls of *builtin* are redirected now.
#[pyfunction]
fn is_redirected(builtin: &Bound<'_, PyAny>) -> bool {
    is_installed(builtin)
}

/// Adds what Python sees of this module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::hub::forgets_by(line::forget_lost);
    module.add_function(wrap_pyfunction!(redirect, module)?)?;
    module.add_function(wrap_pyfunction!(is_redirected, module)?)?;
    module.add_function(wrap_pyfunction!(python::call_original, module)?)?;
    module.add_function(wrap_pyfunction!(python::private_copy, module)?)?;
    module.add_function(wrap_pyfunction!(python::set_type_attribute, module)?)?;
    module.add_function(wrap_pyfunction!(objects::redirect_natively, module)?)
}
