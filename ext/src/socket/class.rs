//! Making of the class: its table of methods, and what is looked up once.
#![allow(unsafe_code)] // a type made at run time

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::mem;
use std::ptr;
use std::sync::OnceLock;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::call::method;
use super::state::State;
use super::{accept, connect, datagram, file, lifetime, message, receive, send, timeout, tls};

/// What is known once the class exists. The objects live until the process ends.
pub struct Class {
    /// `greenlet._core.Socket`.
    pub class: *mut ffi::PyTypeObject,
    /// `_socket.socket`, the C class under `socket.socket`.
    pub raw: *mut ffi::PyTypeObject,
    /// Where `State` begins in an instance.
    pub offset: usize,
    /// Members of `_socket.socket`.
    pub family: *mut ffi::PyObject,
    pub kind: *mut ffi::PyObject,
    pub proto: *mut ffi::PyObject,
    /// `_socket.getdefaulttimeout`.
    pub default_timeout: *mut ffi::PyObject,
    /// Names of the attributes that `socket.socket.__init__` sets.
    pub io_refs: *mut ffi::PyObject,
    pub closed: *mut ffi::PyObject,
    /// The method that `close` calls.
    pub real_close: *mut ffi::PyObject,
    /// Methods of `_socket.socket` that the native code calls.
    pub methods: Methods,
}

// SAFETY: objects that live until the process ends, used by whoever holds the GIL.
unsafe impl Sync for Class {}
// SAFETY: as above.
unsafe impl Send for Class {}

/// Methods of `_socket.socket`, kept so that a call needs no look-up.
pub struct Methods {
    pub accept: *mut ffi::PyObject,
    pub close: *mut ffi::PyObject,
    pub connect: *mut ffi::PyObject,
    pub connect_ex: *mut ffi::PyObject,
    pub detach: *mut ffi::PyObject,
    pub fileno: *mut ffi::PyObject,
    pub gettimeout: *mut ffi::PyObject,
    pub recvfrom: *mut ffi::PyObject,
    pub recvfrom_into: *mut ffi::PyObject,
    pub recvmsg: *mut ffi::PyObject,
    pub recvmsg_into: *mut ffi::PyObject,
    pub sendmsg: *mut ffi::PyObject,
    pub sendto: *mut ffi::PyObject,
    pub setblocking: *mut ffi::PyObject,
}

static CLASS: OnceLock<Class> = OnceLock::new();

/// The class; every caller has an instance in its hands, so it exists.
#[inline(always)]
pub fn class() -> &'static Class {
    CLASS.get().expect("instances come after their class")
}

/// `socket_class()`: `greenlet._core.Socket`, made at the first call (the `socket` module is imported then).
#[pyfunction]
pub fn socket_class(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    if CLASS.get().is_none() {
        let made = make(py)?;
        // Somebody else may have been faster while Python code ran in `make`; then theirs stays.
        let _ = CLASS.set(made);
    }
    let class = class().class;
    // SAFETY: a type that lives until the process ends.
    Ok(unsafe { Bound::from_borrowed_ptr(py, class.cast()) })
}

const METHOD: c_int = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;

fn entry(
    name: &'static CStr,
    function: ffi::PyCFunctionFastWithKeywords,
    doc: &'static CStr,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: function,
        },
        ml_flags: METHOD,
        ml_doc: doc.as_ptr(),
    }
}

fn methods() -> Vec<ffi::PyMethodDef> {
    vec![
        entry(
            c"_accept",
            method!(accept::accept_descriptor),
            c"_accept() -> (descriptor, address)\n\nMay switch: yes.",
        ),
        entry(c"accept", method!(accept::accept), c"accept() -> (socket, address)\n\nMay switch: yes."),
        entry(c"connect", method!(connect::connect), c"connect(address)\n\nMay switch: yes."),
        entry(c"connect_ex", method!(connect::connect_ex), c"connect_ex(address) -> errno\n\nMay switch: yes."),
        entry(c"recv", method!(receive::recv), c"recv(bufsize, flags=0) -> bytes\n\nMay switch: yes."),
        entry(
            c"recv_into",
            method!(receive::recv_into),
            c"recv_into(buffer, nbytes=0, flags=0) -> bytes received\n\nMay switch: yes.",
        ),
        entry(
            c"recvfrom",
            method!(receive::recvfrom),
            c"recvfrom(bufsize, flags=0) -> (bytes, address)\n\nMay switch: yes.",
        ),
        entry(
            c"recvfrom_into",
            method!(datagram::recvfrom_into),
            c"recvfrom_into(buffer, nbytes=0, flags=0) -> (bytes received, address)\n\nMay switch: yes.",
        ),
        entry(c"recvmsg", method!(message::recvmsg), c"As socket.socket.recvmsg.\n\nMay switch: yes."),
        entry(c"recvmsg_into", method!(message::recvmsg_into), c"As socket.socket.recvmsg_into.\n\nMay switch: yes."),
        entry(c"send", method!(send::send), c"send(data, flags=0) -> bytes sent\n\nMay switch: yes."),
        entry(c"sendall", method!(send::sendall), c"sendall(data, flags=0)\n\nMay switch: yes."),
        entry(c"sendmsg", method!(message::sendmsg), c"As socket.socket.sendmsg.\n\nMay switch: yes."),
        entry(c"sendto", method!(datagram::sendto), c"sendto(data, [flags,] address) -> bytes sent\n\nMay switch: yes."),
        entry(
            c"sendfile",
            method!(file::sendfile),
            c"sendfile(file, offset=0, count=None) -> bytes sent\n\nMay switch: yes.",
        ),
        // For TLS sockets, which take them under their usual names.
        entry(c"_until_done", method!(tls::call_until_done), c"_until_done(function, *args)\n\nMay switch: yes."),
        entry(c"_tls_read", method!(tls::read), c"read(len=1024, buffer=None) -> bytes, or bytes read into the buffer\n\nMay switch: yes."),
        entry(c"_tls_recv", method!(tls::recv), c"recv(buflen=1024, flags=0) -> bytes\n\nMay switch: yes."),
        entry(c"_tls_recv_into", method!(tls::recv_into), c"recv_into(buffer, nbytes=None, flags=0) -> bytes received\n\nMay switch: yes."),
        entry(c"_tls_write", method!(tls::write), c"write(data) -> bytes taken\n\nMay switch: yes."),
        entry(c"_tls_send", method!(tls::send), c"send(data, flags=0) -> bytes taken\n\nMay switch: yes."),
        entry(c"_tls_sendall", method!(tls::sendall), c"sendall(data, flags=0)\n\nMay switch: yes."),
        entry(c"close", method!(lifetime::close), c"close()\n\nMay switch: no. Whoever waits for the socket gets OSError."),
        entry(c"_real_close", method!(lifetime::real_close), c"Closes the descriptor, makefile() or not."),
        entry(c"detach", method!(lifetime::detach), c"detach() -> descriptor\n\nMay switch: no."),
        entry(c"_wait", method!(lifetime::wait_for), c"_wait(write): parks until the socket is ready.\n\nMay switch: yes."),
        entry(c"settimeout", method!(timeout::settimeout), c"settimeout(seconds or None)\n\nMay switch: no."),
        entry(c"gettimeout", method!(timeout::gettimeout), c"gettimeout() -> seconds or None\n\nMay switch: no."),
        entry(c"setblocking", method!(timeout::setblocking), c"setblocking(flag)\n\nMay switch: no."),
        entry(c"getblocking", method!(timeout::getblocking), c"getblocking() -> bool\n\nMay switch: no."),
        ffi::PyMethodDef::zeroed(),
    ]
}

fn property(
    name: &'static CStr,
    get: ffi::getter,
    set: Option<ffi::setter>,
    doc: &'static CStr,
) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set,
        doc: doc.as_ptr(),
        closure: ptr::null_mut(),
    }
}

fn properties() -> Vec<ffi::PyGetSetDef> {
    vec![
        property(
            c"timeout",
            timeout::get_timeout,
            None,
            c"Seconds a call may wait, or None.",
        ),
        property(
            c"_timeout",
            timeout::get_timeout,
            Some(timeout::set_timeout),
            c"Seconds a call may wait, or None.",
        ),
        property(
            c"act_non_blocking",
            timeout::get_act_non_blocking,
            Some(timeout::set_act_non_blocking),
            c"Whether calls return at once.",
        ),
        property(
            c"_wraps",
            lifetime::get_wraps,
            None,
            c"Whether another socket object has the descriptor.",
        ),
        ffi::PyGetSetDef::default(),
    ]
}

const DOC: &CStr = c"A socket whose calls let other green threads run while they wait.";

fn make(py: Python<'_>) -> PyResult<Class> {
    let base = py
        .import("socket")?
        .getattr("socket")?
        .cast_into::<PyType>()?;
    let raw_module = py.import("_socket")?;
    let raw = raw_module.getattr("socket")?.cast_into::<PyType>()?;
    if !base.is_subclass(&raw)? {
        return Err(PyRuntimeError::new_err(
            "socket.socket does not derive from _socket.socket",
        ));
    }
    let base_type = base.as_type_ptr();
    // SAFETY: a live type.
    let offset = unsafe { (*base_type).tp_basicsize } as usize;
    let slots: Vec<ffi::PyType_Slot> = vec![
        ffi::PyType_Slot {
            slot: ffi::Py_tp_doc,
            pfunc: DOC.as_ptr() as *mut c_void,
        },
        ffi::PyType_Slot {
            slot: ffi::Py_tp_new,
            pfunc: lifetime::new as ffi::newfunc as *mut c_void,
        },
        ffi::PyType_Slot {
            slot: ffi::Py_tp_init,
            pfunc: lifetime::initialise as ffi::initproc as *mut c_void,
        },
        ffi::PyType_Slot {
            slot: ffi::Py_tp_finalize,
            pfunc: lifetime::finalize as ffi::destructor as *mut c_void,
        },
        ffi::PyType_Slot {
            slot: ffi::Py_tp_methods,
            pfunc: methods().leak().as_mut_ptr().cast(),
        },
        ffi::PyType_Slot {
            slot: ffi::Py_tp_getset,
            pfunc: properties().leak().as_mut_ptr().cast(),
        },
        ffi::PyType_Slot {
            slot: 0,
            pfunc: ptr::null_mut(),
        },
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"greenlet._core.Socket".as_ptr(),
        basicsize: (offset + mem::size_of::<State>()) as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE) as c_uint,
        slots: slots.leak().as_mut_ptr(),
    };
    // SAFETY: a complete description whose tables are never freed, and a base class that allows subclasses.
    let class = unsafe { ffi::PyType_FromSpecWithBases(&mut spec, base.as_ptr()) };
    if class.is_null() {
        return Err(PyErr::fetch(py));
    }
    let own = |name: &str| raw.getattr(name).map(Bound::into_ptr);
    let optional = |name: &str| raw.getattr(name).map_or(ptr::null_mut(), Bound::into_ptr);
    let interned = |name: &str| pyo3::types::PyString::intern(py, name).into_ptr();
    Ok(Class {
        class: class.cast(),
        raw: raw.clone().into_ptr().cast(),
        offset,
        family: own("family")?,
        kind: own("type")?,
        proto: own("proto")?,
        default_timeout: raw_module.getattr("getdefaulttimeout")?.into_ptr(),
        io_refs: interned("_io_refs"),
        closed: interned("_closed"),
        real_close: interned("_real_close"),
        methods: Methods {
            accept: own("_accept")?,
            close: own("close")?,
            connect: own("connect")?,
            connect_ex: own("connect_ex")?,
            detach: own("detach")?,
            fileno: own("fileno")?,
            gettimeout: own("gettimeout")?,
            recvfrom: own("recvfrom")?,
            recvfrom_into: own("recvfrom_into")?,
            recvmsg: optional("recvmsg"),
            recvmsg_into: optional("recvmsg_into"),
            sendmsg: optional("sendmsg"),
            sendto: own("sendto")?,
            setblocking: own("setblocking")?,
        },
    })
}
