//! `local`: an object whose attributes are different in each greenlet.
//!
//! A local owns one dictionary per greenlet that has used it, found by the greenlet's address. A weak reference
//! with a callback takes the dictionary out when the greenlet is freed, before its address can be used again.
//! Attributes are looked up as in any object, with that dictionary in the place of the object's own.
//! Invariant: no borrow of the map is alive while Python code runs.
#![allow(unsafe_code)] // attribute access with a chosen dictionary

use std::sync::{Arc, Weak};

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::gil_cell::GilCell;
use crate::greenlet::{self, Gr};
use crate::object::ByAddress;

unsafe extern "C" {
    // What object.__getattribute__ and object.__setattr__ are made of; exported by all versions since 3.2.
    fn _PyObject_GenericGetAttrWithDict(
        object: *mut ffi::PyObject,
        name: *mut ffi::PyObject,
        dict: *mut ffi::PyObject,
        suppress: std::ffi::c_int,
    ) -> *mut ffi::PyObject;
    fn _PyObject_GenericSetAttrWithDict(
        object: *mut ffi::PyObject,
        name: *mut ffi::PyObject,
        value: *mut ffi::PyObject,
        dict: *mut ffi::PyObject,
    ) -> std::ffi::c_int;
}

/// What one greenlet has put into a local.
struct Entry {
    attributes: Py<PyDict>,
    /// Takes the entry out with the greenlet; `None` for the one that serves while the interpreter ends.
    watch: Option<Py<PyWeakrefReference>>,
}

/// What all greenlets have put into a local.
#[derive(Default)]
struct Book {
    by_greenlet: ByAddress<Entry>,
    /// The one that was used last, with its greenlet's address, or 0 once that is gone. As in upstream's, what the
    /// last greenlet has put in stays until another one uses the local, even if that greenlet ends before.
    recent: Option<(usize, Py<PyDict>)>,
}

type Entries = GilCell<Book>;

/// Called when a greenlet is freed: takes its dictionary out of one local.
#[pyclass(frozen, module = "greenlet._core")]
struct Forget {
    greenlet: usize,
    entries: Weak<Entries>,
}

#[pymethods]
impl Forget {
    fn __call__(&self, py: Python<'_>, _reference: &Bound<'_, PyAny>) {
        if let Some(entries) = self.entries.upgrade() {
            let entry = entries.with(py, |book| {
                if let Some((greenlet, _)) = &mut book.recent
                    && *greenlet == self.greenlet
                {
                    *greenlet = 0; // its address may be another's soon
                }
                book.by_greenlet.remove(&self.greenlet)
            });
            drop(entry);
        }
    }
}

/// What `eventlet.corolocal.local` derives from.
#[pyclass(
    name = "_localbase",
    subclass,
    frozen,
    weakref,
    module = "eventlet.corolocal"
)]
pub struct Local {
    /// False in memory that is not filled in yet (see `Event`).
    live: bool,
    args: Py<PyTuple>,
    kwargs: Option<Py<PyDict>>,
    /// Whether the class has an `__init__` of its own, to be called in each greenlet.
    replays: bool,
    entries: Arc<Entries>,
    /// Why an attribute was not found, on its way from `__getattribute__` to `__getattr__`.
    missing: GilCell<Option<PyErr>>,
}

/// The current greenlet's place among the entries; 0 while the interpreter ends, when all share one dictionary.
fn place(py: Python<'_>) -> (usize, Option<Gr>) {
    match greenlet::current() {
        Ok(current) => (current.as_object_ptr() as usize, Some(current)),
        Err(raised) => {
            drop(raised.into_err(py));
            (0, None)
        }
    }
}

/// Adds an empty dictionary for a greenlet. May switch: no.
fn add<'py>(
    py: Python<'py>,
    entries: &Arc<Entries>,
    (key, current): (usize, Option<Gr>),
) -> PyResult<Bound<'py, PyDict>> {
    let attributes = PyDict::new(py);
    let watch = match current {
        None => None,
        Some(current) => {
            let forget = Forget {
                greenlet: key,
                entries: Arc::downgrade(entries),
            };
            let greenlet = current.object().into_bound(py);
            let reference = PyWeakrefReference::new_with(&greenlet, Bound::new(py, forget)?)?;
            Some(reference.unbind())
        }
    };
    let entry = Entry {
        attributes: attributes.clone().unbind(),
        watch,
    };
    let recent = Some((key, attributes.clone().unbind()));
    let old = entries.with(py, |book| {
        let recent = std::mem::replace(&mut book.recent, recent);
        (recent, book.by_greenlet.insert(key, entry))
    });
    drop(old);
    Ok(attributes)
}

impl Local {
    /// The attributes that the current greenlet sees. The first time, `__init__` fills them in. May switch: if
    /// that does.
    fn attributes<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let (py, local) = (slf.py(), slf.get());
        let place = place(py);
        let recent = local.entries.with(py, |book| match &book.recent {
            Some((greenlet, attributes)) if *greenlet == place.0 && place.0 != 0 => {
                Some(attributes.bind(py).clone())
            }
            _ => None,
        });
        if let Some(recent) = recent {
            return Ok(recent);
        }
        let known = local.entries.with(py, |book| {
            let attributes = &book.by_greenlet.get(&place.0)?.attributes;
            let old = book.recent.replace((place.0, attributes.clone_ref(py)));
            Some((attributes.bind(py).clone(), old))
        });
        if let Some((known, old)) = known {
            drop(old);
            return Ok(known);
        }
        let attributes = add(py, &local.entries, place)?;
        if local.replays
            && let Err(error) = Local::replay(slf)
        {
            // The next access tries again.
            let entry = local.entries.with(py, |book| {
                (book.recent.take(), book.by_greenlet.remove(&place.0))
            });
            drop(entry);
            return Err(error);
        }
        Ok(attributes)
    }

    /// Calls the class's `__init__` with what the object was made with. May switch: if that does.
    fn replay(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, local) = (slf.py(), slf.get());
        let init = slf.get_type().getattr(intern!(py, "__init__"))?;
        let args = std::iter::once(slf.as_any().clone())
            .chain(local.args.bind(py).iter())
            .collect::<Vec<_>>();
        let kwargs = local.kwargs.as_ref().map(|kwargs| kwargs.bind(py));
        init.call(PyTuple::new(py, args)?, kwargs).map(drop)
    }

    fn set(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyAny>,
        value: *mut ffi::PyObject,
    ) -> PyResult<()> {
        let attributes = Local::attributes(slf)?;
        if is_dict_name(name) {
            return Err(PyAttributeError::new_err(format!(
                "'{}' object attribute '__dict__' is read-only",
                slf.get_type().name()?
            )));
        }
        // SAFETY: live objects, and null or a live value.
        let status = unsafe {
            _PyObject_GenericSetAttrWithDict(
                slf.as_ptr(),
                name.as_ptr(),
                value,
                attributes.as_ptr(),
            )
        };
        if status < 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }
}

/// Whether an attribute's name is `__dict__`. The common case is decided by identity or by length.
fn is_dict_name(name: &Bound<'_, PyAny>) -> bool {
    let dict = intern!(name.py(), "__dict__");
    name.is(dict)
        || name
            .cast::<PyString>()
            .is_ok_and(|name| name.len().is_ok_and(|len| len == 8) && name == "__dict__")
}

#[pymethods]
impl Local {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(
        class: &Bound<'_, PyType>,
        args: Bound<'_, PyTuple>,
        kwargs: Option<Bound<'_, PyDict>>,
    ) -> PyResult<Local> {
        let py = class.py();
        let init = class.getattr(intern!(py, "__init__"))?;
        let plain = py.get_type::<PyAny>().getattr(intern!(py, "__init__"))?;
        let replays = !init.is(&plain);
        if !replays && (!args.is_empty() || kwargs.as_ref().is_some_and(|kw| !kw.is_empty())) {
            return Err(PyTypeError::new_err(
                "Initialization arguments are not supported",
            ));
        }
        let entries = Arc::new(Entries::default());
        add(py, &entries, place(py))?; // `__init__` is about to be called for this greenlet
        let local = Local {
            live: true,
            args: args.unbind(),
            kwargs: kwargs.map(Bound::unbind),
            replays,
            entries,
            missing: GilCell::new(None),
        };
        Ok(local)
    }

    fn __getattribute__<'py>(
        slf: &Bound<'py, Self>,
        name: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let attributes = Local::attributes(slf)?;
        if is_dict_name(name) {
            return Ok(attributes.into_any());
        }
        // SAFETY: live objects; a new reference, or null with an exception set.
        let value = unsafe {
            _PyObject_GenericGetAttrWithDict(slf.as_ptr(), name.as_ptr(), attributes.as_ptr(), 0)
        };
        // SAFETY: as above.
        let found = unsafe { Bound::from_owned_ptr_or_err(slf.py(), value) };
        found.inspect_err(|error| {
            if error.is_instance_of::<PyAttributeError>(slf.py()) {
                let missing = Some(error.clone_ref(slf.py()));
                slf.get().missing.set(slf.py(), missing);
            }
        })
    }

    /// Called at once by what PyO3 makes of the two methods, which would replace the error by one of its own.
    fn __getattr__(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let missing = self.missing.replace(py, None);
        Err(missing.unwrap_or_else(|| PyAttributeError::new_err(name.clone().unbind())))
    }

    fn __setattr__(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        Local::set(slf, name, value.as_ptr())
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyAny>) -> PyResult<()> {
        Local::set(slf, name, std::ptr::null_mut())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.live {
            return Ok(());
        }
        visit.call(&self.args)?;
        visit.call(&self.kwargs)?;
        self.entries.peek(|book| {
            if let Some((_, attributes)) = &book.recent {
                visit.call(attributes)?;
            }
            book.by_greenlet.values().try_for_each(|entry| {
                visit.call(&entry.attributes)?;
                visit.call(&entry.watch)
            })
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let entries = self.entries.with(py, std::mem::take);
        drop(entries);
    }
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Local>()
}
