//! What Python sees of a `GreenThread`.

use std::ffi::CStr;
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::life::{self, Link};
use super::{functions, life_of};
use crate::error::{self, Raised};
use crate::event::Event;
use crate::greenlet::{Gr, Phase};
use crate::object::Object;

type Ptr = *mut ffi::PyObject;

fn give(result: error::Result<Object>) -> Ptr {
    result.map_or(ptr::null_mut(), Object::into_ptr)
}

/// Runs `f` with the token that every method call has.
fn with_python(f: impl FnOnce(Python<'_>) -> PyResult<Object>) -> Ptr {
    // SAFETY: methods are called with the GIL held.
    let py = unsafe { Python::assume_attached() };
    give(f(py).map_err(|error| Raised::from_err(py, error)))
}

fn bound<'py>(py: Python<'py>, object: Ptr) -> Bound<'py, PyAny> {
    // SAFETY: an argument of a call: live.
    unsafe { Bound::from_borrowed_ptr(py, object) }
}

unsafe extern "C" fn wait(slf: Ptr, _: Ptr) -> Ptr {
    // SAFETY: methods are called with the GIL held.
    let py = unsafe { Python::assume_attached() };
    give(life::wait(py, Gr::from_ptr(slf)))
}

/// `(func, *args, **kwargs)` of a call of the method `name`.
fn link_of(py: Python<'_>, name: &str, args: Ptr, kwargs: Ptr) -> PyResult<Link> {
    let args = bound(py, args).cast_into::<PyTuple>()?;
    let kwargs = if kwargs.is_null() {
        PyDict::new(py)
    } else {
        bound(py, kwargs).cast_into::<PyDict>()?.copy()?
    };
    let function = match args.iter().next() {
        Some(function) => function,
        None => {
            let named = kwargs.get_item("func")?.ok_or_else(|| {
                PyTypeError::new_err(format!(
                    "{name}() missing 1 required positional argument: 'func'"
                ))
            })?;
            kwargs.del_item("func")?;
            named
        }
    };
    Ok(Link {
        function: function.into(),
        args: args.get_slice(1, args.len()).into_any().into(),
        kwargs: kwargs.into_any().into(),
    })
}

unsafe extern "C" fn link(slf: Ptr, args: Ptr, kwargs: Ptr) -> Ptr {
    with_python(|py| {
        let me = Gr::from_ptr(slf);
        let link = link_of(py, "link", args, kwargs)?;
        let finished = life_of(me).outcome.borrow().is_some();
        if finished && life_of(me).links.borrow().is_empty() && me.get().phase.get() == Phase::Dead
        {
            life::call_link(py, me, &link).map_err(|raised| raised.into_err(py))?;
        } else {
            life_of(me).links.borrow_mut().push(link);
            if finished && me.get().phase.get() == Phase::Dead {
                life::run_links(py, me).map_err(|raised| raised.into_err(py))?;
            }
        }
        Ok(Object::none())
    })
}

unsafe extern "C" fn unlink(slf: Ptr, args: Ptr, kwargs: Ptr) -> Ptr {
    with_python(|py| {
        let wanted = link_of(py, "unlink", args, kwargs)?;
        let links = &life_of(Gr::from_ptr(slf)).links;
        let count = links.borrow().len();
        for index in 0..count {
            let Some(parts) = links.borrow().get(index).map(|link| {
                [
                    link.function.clone(),
                    link.args.clone(),
                    link.kwargs.clone(),
                ]
            }) else {
                break;
            };
            let same = parts[0].bind(py).eq(wanted.function.bind(py))?
                && parts[1].bind(py).eq(wanted.args.bind(py))?
                && parts[2].bind(py).eq(wanted.kwargs.bind(py))?;
            if same {
                let removed = links.borrow_mut().remove(index);
                drop(removed);
                return Ok(pyo3::types::PyBool::new(py, true)
                    .to_owned()
                    .into_any()
                    .into());
            }
        }
        Ok(pyo3::types::PyBool::new(py, false)
            .to_owned()
            .into_any()
            .into())
    })
}

unsafe extern "C" fn kill(slf: Ptr, args: Ptr) -> Ptr {
    with_python(|py| {
        let args = bound(py, args).cast_into::<PyTuple>()?;
        functions::kill_greenlet(py, Gr::from_ptr(slf), &args)?;
        Ok(Object::none())
    })
}

unsafe extern "C" fn cancel(slf: Ptr, args: Ptr) -> Ptr {
    with_python(|py| {
        let args = bound(py, args).cast_into::<PyTuple>()?;
        functions::cancel_greenlet(py, Gr::from_ptr(slf), &args)?;
        Ok(Object::none())
    })
}

unsafe extern "C" fn main(slf: Ptr, args: Ptr) -> Ptr {
    // SAFETY: methods are called with the GIL held.
    let py = unsafe { Python::assume_attached() };
    let parsed = || -> PyResult<super::Call> {
        let args = bound(py, args).cast_into::<PyTuple>()?;
        if args.len() != 3 {
            return Err(PyTypeError::new_err(format!(
                "main() takes 3 positional arguments: function, args, kwargs ({} given)",
                args.len()
            )));
        }
        let (function, args, kwargs): (Bound<'_, PyAny>, Bound<'_, PyTuple>, Bound<'_, PyDict>) =
            args.extract()?;
        super::Call::new(&function, &args, Some(&kwargs))
    };
    let me = Gr::from_ptr(slf);
    match parsed() {
        Ok(call) => give(life::conclude(py, me, call.run())),
        Err(error) => {
            Raised::from_err(py, error);
            ptr::null_mut()
        }
    }
}

unsafe extern "C" fn get_run(slf: Ptr, _: *mut std::ffi::c_void) -> Ptr {
    if Gr::from_ptr(slf).get().phase.get() != Phase::New {
        error::attribute_error(c"run");
        return ptr::null_mut();
    }
    // SAFETY: a live object and a C string; a new reference or null.
    unsafe { ffi::PyObject_GetAttrString(slf, c"main".as_ptr()) }
}

unsafe extern "C" fn resolve_links(slf: Ptr, _: Ptr) -> Ptr {
    // SAFETY: methods are called with the GIL held.
    let py = unsafe { Python::assume_attached() };
    give(life::run_links(py, Gr::from_ptr(slf)).map(|()| Object::none()))
}

/// The event that tells of the end, made when it is asked for.
unsafe extern "C" fn get_exit_event(slf: Ptr, _: *mut std::ffi::c_void) -> Ptr {
    with_python(|py| {
        let life = life_of(Gr::from_ptr(slf));
        if let Some(event) = life.event.get() {
            return Ok(event);
        }
        let event = Object::from_bound(&Bound::new(py, Event::fresh().in_object())?);
        let outcome = life.outcome.borrow().clone();
        if let Some(outcome) = outcome {
            life::tell(py, &event, &outcome)?;
        }
        life.event.replace(Some(event.clone()));
        Ok(event)
    })
}

/// The links as upstream keeps them: a deque of (function, arguments, keyword arguments), here a copy.
unsafe extern "C" fn get_exit_funcs(slf: Ptr, _: *mut std::ffi::c_void) -> Ptr {
    with_python(|py| {
        let links: Vec<[Object; 3]> = life_of(Gr::from_ptr(slf))
            .links
            .borrow()
            .iter()
            .map(|link| [&link.function, &link.args, &link.kwargs].map(Clone::clone))
            .collect();
        let links = links
            .into_iter()
            .map(|link| PyTuple::new(py, link.map(|part| part.into_bound(py))))
            .collect::<PyResult<Vec<_>>>()?;
        let deque = py.import("collections")?.getattr("deque")?;
        Ok(deque.call1((links,))?.into())
    })
}

/// The type's documentation.
pub const DOC: &CStr = c"GreenThread(parent)
--

A greenlet whose result can be waited for; spawn() makes them.

 - parent: the greenlet that runs when it ends (the hub's, for those that spawn() makes).

May switch: no.

>>> import eventlet
>>> eventlet.spawn(pow, 2, 10).wait()
1024";

/// Tables of the type, alive as long as the process.
pub struct Tables {
    /// Methods.
    pub methods: [ffi::PyMethodDef; 8],
    /// Attributes.
    pub getset: [ffi::PyGetSetDef; 4],
    /// `__await__`.
    pub awaits: ffi::PyAsyncMethods,
}

/// `__await__`: for a coroutine of the asyncio hub's loop. What it does is in `eventlet.asyncio`.
unsafe extern "C" fn awaited(slf: Ptr) -> Ptr {
    with_python(|py| {
        let iterator = py
            .import("eventlet.asyncio")?
            .getattr("_await")?
            .call1((bound(py, slf),))?;
        Ok(iterator.into())
    })
}

/// The tables of the type.
pub fn tables() -> &'static mut Tables {
    let method = |name: &'static CStr, meth, flags, doc: &'static CStr| ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: meth,
        ml_flags: flags,
        ml_doc: doc.as_ptr(),
    };
    let keywords = ffi::METH_VARARGS | ffi::METH_KEYWORDS;
    Box::leak(Box::new(Tables {
        methods: [
            method(
                c"wait",
                ffi::PyMethodDefPointer { PyCFunction: wait },
                ffi::METH_NOARGS,
                c"wait($self, /)
--

Return what the green thread's function returned, or raise what it raised; any number of times.

May switch: yes, until it has ended.

>>> import eventlet
>>> eventlet.spawn(len, 'tea').wait()
3",
            ),
            method(
                c"link",
                ffi::PyMethodDefPointer { PyCFunctionWithKeywords: link },
                keywords,
                c"link($self, func, *args, **kwargs)
--


Call func(green_thread, *args, **kwargs) when the green thread ends, in it; at once if it has ended.

May switch: if it has ended and func does. Links run in the order in which they were made.

>>> import eventlet
>>> cups = []
>>> tea = eventlet.spawn(len, 'tea')
>>> tea.link(lambda g, cup: cups.append((g.wait(), cup)), 'mug')
>>> tea.wait(), cups
(3, [(3, 'mug')])",
            ),
            method(
                c"unlink",
                ffi::PyMethodDefPointer { PyCFunctionWithKeywords: unlink },
                keywords,
                c"unlink($self, func, *args, **kwargs)
--

Undo the link that was made with equal arguments and return True; False if there is none. May switch: no.

>>> import eventlet
>>> eventlet.spawn(len, 'tea').unlink(print)
False",
            ),
            method(
                c"kill",
                ffi::PyMethodDefPointer { PyCFunction: kill },
                ffi::METH_VARARGS,
                c"kill($self, *throw_args)
--

Raise GreenletExit (or throw_args, as raise takes them) in the green thread, at once. One that has not started
never will. wait() raises the exception afterwards.

May switch: yes.

>>> import eventlet, greenlet
>>> tea = eventlet.spawn(eventlet.sleep, 60)
>>> tea.kill(ValueError('cold'))
>>> tea.dead
True",
            ),
            method(
                c"cancel",
                ffi::PyMethodDefPointer { PyCFunction: cancel },
                ffi::METH_VARARGS,
                c"cancel($self, *throw_args)
--

Kill the green thread if it has not started yet. May switch: yes.

>>> import eventlet
>>> tea = eventlet.spawn_after(60, print, 'too late')
>>> tea.cancel()
>>> tea.dead
True",
            ),
            method(
                c"main",
                ffi::PyMethodDefPointer { PyCFunction: main },
                ffi::METH_VARARGS,
                c"main($self, function, args, kwargs, /)
--

Call function(*args, **kwargs) here, keep its result for wait(), and run the links. May switch: if it does.",
            ),
            method(
                c"_resolve_links",
                ffi::PyMethodDefPointer { PyCFunction: resolve_links },
                ffi::METH_NOARGS,
                c"_resolve_links($self, /)
--

Run the links that have not run yet. May switch: if they do.",
            ),
            ffi::PyMethodDef::zeroed(),
        ],
        getset: [
            ffi::PyGetSetDef {
                name: c"run".as_ptr(),
                get: Some(get_run),
                set: None,
                doc: c"`main`; gone once started.".as_ptr(),
                closure: ptr::null_mut(),
            },
            ffi::PyGetSetDef {
                name: c"_exit_event".as_ptr(),
                get: Some(get_exit_event),
                set: None,
                doc: c"An `Event` that is sent at the end, before the links run.".as_ptr(),
                closure: ptr::null_mut(),
            },
            ffi::PyGetSetDef {
                name: c"_exit_funcs".as_ptr(),
                get: Some(get_exit_funcs),
                set: None,
                doc: c"The links that have not run, as a new deque of (func, args, kwargs)."
                    .as_ptr(),
                closure: ptr::null_mut(),
            },
            ffi::PyGetSetDef::default(),
        ],
        awaits: ffi::PyAsyncMethods {
            am_await: Some(awaited),
            am_aiter: None,
            am_anext: None,
            am_send: None,
        },
    }))
}
