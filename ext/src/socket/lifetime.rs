//! From descriptor to socket object and back: construction, close, detach, finalisation.
#![allow(unsafe_code)] // slots of a type

use std::ffi::{c_int, c_void};
use std::ptr;

use eventlet::reactor::Interest;
use pyo3::ffi;
use pyo3::prelude::*;

use super::call::{Args, call_one, int, raised, type_error};
use super::class;
use super::state::{Sock, State, attribute};
use super::timeout;
use super::wait::{Limit, release, wait};
use crate::error::{Pending, Raised, Result};
use crate::hub;
use crate::object::Object;

/// Added to the type when the base class opens a descriptor.
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd"
))]
const NON_BLOCKING: c_int = libc::SOCK_NONBLOCK;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd"
)))]
const NON_BLOCKING: c_int = 0;

/// `tp_new`.
pub unsafe extern "C" fn new(
    class_object: *mut ffi::PyTypeObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a live type.
    let base_new = unsafe { (*class().raw).tp_new }.expect("_socket.socket can be instantiated");
    // SAFETY: the base's constructor with the derived class, as CPython does it.
    let object = unsafe { base_new(class_object, args, kwargs) };
    if !object.is_null() {
        // SAFETY: the instance has room for a State at the offset (its class derives from ours).
        let place = unsafe { object.cast::<u8>().add(class().offset) };
        // SAFETY: as above; not initialised yet.
        unsafe { place.cast::<State>().write(State::new()) };
    }
    object
}

/// `__init__(family=AF_INET, type=SOCK_STREAM, proto=0, fileno=None, *, set_nonblocking=True)`, or with a
/// socket object as first argument.
pub unsafe extern "C" fn initialise(
    this: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: constructors run with the GIL held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: an instance of our class.
    let sock = unsafe { Sock::from_ptr(this) };
    // SAFETY: a tuple, borrowed.
    let args = unsafe { Bound::from_borrowed_ptr(py, args) };
    // SAFETY: a dictionary or null, borrowed.
    let kwargs = unsafe { Bound::from_borrowed_ptr_or_opt(py, kwargs) };
    match construct(py, sock, &args, kwargs.as_ref()) {
        Ok(()) => 0,
        Err(Raised) => -1,
    }
}

const PARAMETERS: [&str; 4] = ["family", "type", "proto", "fileno"];

fn construct(
    py: Python<'_>,
    sock: Sock<'_>,
    args: &Bound<'_, PyAny>,
    kwargs: Option<&Bound<'_, PyAny>>,
) -> Result<()> {
    let error = |error| Raised::from_err(py, error);
    let given = args.len().map_err(error)?;
    if given > PARAMETERS.len() {
        return Err(type_error(&format!(
            "GreenSocket() takes at most 4 positional arguments ({given} given)"
        )));
    }
    let mut values: [Option<Bound<'_, PyAny>>; 4] = [const { None }; 4];
    for (index, value) in values.iter_mut().enumerate().take(given) {
        *value = Some(args.get_item(index).map_err(error)?);
    }
    let mut set_nonblocking = true;
    if let Some(kwargs) = kwargs {
        let kwargs = kwargs
            .cast::<pyo3::types::PyDict>()
            .map_err(|e| error(e.into()))?;
        for (name, value) in kwargs {
            let name = name.extract::<String>().map_err(error)?;
            if name == "set_nonblocking" {
                set_nonblocking = value.is_truthy().map_err(error)?;
                continue;
            }
            match PARAMETERS.iter().position(|parameter| *parameter == name) {
                Some(place) if values[place].is_none() => values[place] = Some(value),
                Some(_) => {
                    return Err(type_error(&format!(
                        "GreenSocket() got multiple values for argument '{name}'"
                    )));
                }
                None => {
                    return Err(type_error(&format!(
                        "GreenSocket() got an unexpected keyword argument '{name}'"
                    )));
                }
            }
        }
    }
    let [family, kind, proto, fileno] = values;
    if let Some(family) = &family
        && !family.is_instance_of::<pyo3::types::PyInt>()
    {
        return wrap(py, sock, family, set_nonblocking);
    }
    let number =
        |value: Option<Bound<'_, PyAny>>| value.map_or(Ok(-1), |value| int(value.as_ptr()));
    let (family, kind, proto) = (number(family)?, number(kind)?, number(proto)?);
    let fileno = fileno.filter(|fileno| !fileno.is_none());
    let Some(fileno) = fileno else {
        let or = |value, default| if value == -1 { default } else { value };
        let (family, kind) = (or(family, libc::AF_INET), or(kind, libc::SOCK_STREAM));
        open(py, sock, family, kind, or(proto, 0), None)?;
        if NON_BLOCKING != 0 && kind & NON_BLOCKING != 0 {
            timeout::set_state(sock.state, Some(0.0)); // who asks for it so means `setblocking(False)`
        }
        return Ok(());
    };
    // The base class finds out what the descriptor is.
    base_init(py, sock, (family, kind, proto), Some(&fileno))?;
    if set_nonblocking {
        let values = [sock.object, timeout::boolean(false).into_ptr()]; // an immortal object
        // SAFETY: a method of the base class and its two arguments.
        let done = unsafe {
            ffi::PyObject_Vectorcall(
                class().methods.setblocking,
                values.as_ptr(),
                2,
                ptr::null_mut(),
            )
        };
        // SAFETY: a new reference or null.
        drop(unsafe { Object::from_owned(done) }.ok_or(Raised)?);
    }
    opened(py, sock, (family, kind, proto))
}

/// Makes `sock` own a descriptor: a new one, or the given non-blocking one of which everything is known.
pub fn open(
    py: Python<'_>,
    sock: Sock<'_>,
    family: c_int,
    kind: c_int,
    proto: c_int,
    fd: Option<c_int>,
) -> Result<()> {
    let number = match fd {
        Some(fd) => Some(super::call::new_int(fd as usize)?.into_bound(py)),
        None => None,
    };
    base_init(
        py,
        sock,
        (family, kind | NON_BLOCKING, proto),
        number.as_ref(),
    )?;
    if NON_BLOCKING == 0 {
        let plain = attribute(py, sock.object, "fd")?;
        plain
            .bind(py)
            .call_method1("setblocking", (false,))
            .map_err(|error| Raised::from_err(py, error))?;
    }
    opened(py, sock, (family, kind & !flags(), proto))
}

/// Flags that Linux lets one add to a type.
pub const fn flags() -> c_int {
    if NON_BLOCKING == 0 {
        0
    } else {
        NON_BLOCKING | libc::SOCK_CLOEXEC
    }
}

/// `_socket.socket.__init__`.
fn base_init(
    py: Python<'_>,
    sock: Sock<'_>,
    (family, kind, proto): (c_int, c_int, c_int),
    fileno: Option<&Bound<'_, PyAny>>,
) -> Result<()> {
    let args = (family, kind, proto, fileno)
        .into_pyobject(py)
        .map_err(|error| Raised::from_err(py, error))?;
    // SAFETY: a live type.
    let init = unsafe { (*class().raw).tp_init }.expect("_socket.socket has a constructor");
    // SAFETY: an instance of a derived class and a tuple of arguments.
    if unsafe { init(sock.object, args.as_ptr(), ptr::null_mut()) } < 0 {
        Err(Raised)
    } else {
        Ok(())
    }
}

/// The base class has a descriptor now: fills our fields in.
fn opened(
    py: Python<'_>,
    sock: Sock<'_>,
    (family, kind, proto): (c_int, c_int, c_int),
) -> Result<()> {
    set_slots(sock)?;
    let fd = int(call_one(class().methods.fileno, sock.object)?.as_ptr())?;
    let found = |value: c_int, name: &str| -> Result<c_int> {
        if value != -1 {
            Ok(value)
        } else {
            int(attribute(py, sock.object, name)?.as_ptr())
        }
    };
    sock.state.family.set(found(family, "family")?);
    sock.state.kind.set(found(kind, "type")? & !flags());
    sock.state.proto.set(found(proto, "proto")?);
    sock.state.wraps.set(false);
    sock.state.drained.set(false);
    sock.state.peer.forget();
    timeout::set_default(py, sock)?;
    if let Some(registration) = sock.state.registration.take() {
        // A second __init__: the base class has closed nothing, but the number is another one now.
        hub::release(
            py,
            registration.hub,
            registration.token,
            sock.state.fd.get(),
        );
    }
    sock.state.fd.set(fd);
    hub::notify_opened(py, fd);
    Ok(())
}

/// `_io_refs = 0; _closed = False`, as `socket.socket.__init__` has it.
fn set_slots(sock: Sock<'_>) -> Result<()> {
    let zero = super::call::new_int(0)?;
    // SAFETY: live objects.
    let refs = unsafe { ffi::PyObject_SetAttr(sock.object, class().io_refs, zero.as_ptr()) };
    if refs < 0 {
        Err(Raised)
    } else {
        set_closed(sock, false)
    }
}

fn set_closed(sock: Sock<'_>, closed: bool) -> Result<()> {
    let value = timeout::boolean(closed);
    // SAFETY: live objects.
    let done = unsafe { ffi::PyObject_SetAttr(sock.object, class().closed, value.as_ptr()) };
    if done < 0 { Err(Raised) } else { Ok(()) }
}

/// `GreenSocket(sock)`: the other object keeps the descriptor; `_wrap` of the Python class does its part.
fn wrap(
    py: Python<'_>,
    sock: Sock<'_>,
    other: &Bound<'_, PyAny>,
    set_nonblocking: bool,
) -> Result<()> {
    let error = |error| Raised::from_err(py, error);
    set_slots(sock)?;
    sock.state.wraps.set(true);
    timeout::set_default(py, sock)?;
    let method = sock.attribute(py, "_wrap")?;
    method
        .bind(py)
        .call1((other, set_nonblocking))
        .map_err(error)?;
    if let Ok(family) = other
        .getattr("family")
        .and_then(|family| family.extract::<c_int>())
    {
        sock.state.family.set(family);
    }
    Ok(())
}

/// Getter of `_wraps`.
pub unsafe extern "C" fn get_wraps(this: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: CPython's own call of a getter of this class.
    let sock = unsafe { Sock::from_ptr(this) };
    timeout::boolean(sock.state.wraps.get()).into_ptr()
}

/// `close()`: the descriptor goes when the last file made by `makefile` does.
pub fn close(_py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    args.parse("close", [], 0)?;
    set_closed(sock, true)?;
    // SAFETY: live objects.
    let refs = unsafe { ffi::PyObject_GetAttr(sock.object, class().io_refs) };
    // SAFETY: a new reference or null.
    let refs = unsafe { Object::from_owned(refs) }.ok_or(Raised)?;
    if int(refs.as_ptr())? > 0 {
        return Ok(Object::none());
    }
    // By name: subclasses override it.
    // SAFETY: live objects.
    let method = unsafe { ffi::PyObject_GetAttr(sock.object, class().real_close) };
    // SAFETY: a new reference or null.
    let method = unsafe { Object::from_owned(method) }.ok_or(Raised)?;
    // SAFETY: a live object.
    let done = unsafe { ffi::PyObject_CallNoArgs(method.as_ptr()) };
    // SAFETY: a new reference or null.
    unsafe { Object::from_owned(done) }.ok_or(Raised)
}

/// `_real_close()`.
pub fn real_close(py: Python<'_>, sock: Sock<'_>, _args: Args<'_>) -> Result<Object> {
    if sock.state.wraps.get() {
        let wrapped = sock.wrapped(py)?;
        let closed = wrapped
            .bind(py)
            .call_method0("close")
            .map_err(|error| Raised::from_err(py, error));
        return closed.map(Object::from);
    }
    let fd = sock.state.fd.replace(-1);
    if fd >= 0 {
        release(py, sock, fd);
    }
    call_one(class().methods.close, sock.object)
}

/// `detach()`.
pub fn detach(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    args.parse("detach", [], 0)?;
    set_closed(sock, true)?;
    if sock.state.wraps.get() {
        let wrapped = sock.wrapped(py)?;
        let fd = wrapped
            .bind(py)
            .call_method0("detach")
            .map_err(|error| Raised::from_err(py, error));
        return fd.map(Object::from);
    }
    let fd = sock.state.fd.replace(-1);
    if fd >= 0 {
        release(py, sock, fd);
    }
    call_one(class().methods.detach, sock.object)
}

/// `_wait(write)`: TimeoutError, or OSError when it is closed meanwhile.
pub fn wait_for(py: Python<'_>, sock: Sock<'_>, args: Args<'_>) -> Result<Object> {
    let [write] = args.parse("_wait", ["write"], 1)?;
    // SAFETY: a live object.
    let interest = match unsafe { ffi::PyObject_IsTrue(write) } {
        0 => Interest::Read,
        1 => Interest::Write,
        _ => return Err(Raised),
    };
    super::wait::not_ready(py, sock, interest);
    wait(py, sock, interest, &mut Limit::new())?;
    Ok(Object::none())
}

/// `tp_finalize`: a forgotten socket is closed without a word, as upstream does.
pub unsafe extern "C" fn finalize(this: *mut ffi::PyObject) {
    // SAFETY: CPython's own call for an instance of our class.
    let sock = unsafe { Sock::from_ptr(this) };
    sock.state.peer.forget();
    let fd = sock.state.fd.replace(-1);
    if fd < 0 {
        return;
    }
    // SAFETY: finalisers run with the GIL held.
    let py = unsafe { Python::assume_attached() };
    let pending = raised().then(Pending::take);
    release(py, sock, fd);
    if call_one(class().methods.close, this).is_err() {
        // SAFETY: an exception is set; a live object.
        unsafe { ffi::PyErr_WriteUnraisable(this) };
    }
    if let Some(pending) = pending {
        let Raised = pending.restore();
    }
}
