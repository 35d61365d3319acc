//! Addresses of the kernel as Python objects, for the three families whose calls are native.
//!
//! The shapes and texts are those of the socket module. Any other family takes the base class's methods.
#![allow(unsafe_code)] // reading sockaddr unions

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::{self, MaybeUninit, offset_of};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::error::{Raised, Result};
use crate::object::Object;

unsafe extern "C" {
    /// POSIX; the libc crate does not declare it.
    fn inet_ntop(
        af: c_int,
        src: *const c_void,
        dst: *mut c_char,
        size: libc::socklen_t,
    ) -> *const c_char;
}

/// Room for an address that the kernel fills in.
pub struct Address {
    storage: MaybeUninit<libc::sockaddr_storage>,
    len: libc::socklen_t,
}

impl Address {
    /// All zero.
    pub fn new() -> Address {
        let len = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        Address {
            storage: MaybeUninit::zeroed(),
            len,
        }
    }

    /// Where the kernel writes it.
    pub fn place(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        (self.storage.as_mut_ptr().cast(), &mut self.len)
    }

    /// Whether `to_python` knows this family.
    pub fn knows(family: c_int) -> bool {
        matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX)
    }

    /// As the socket module presents it; `None` where the kernel gave none.
    pub fn to_python(&self, py: Python<'_>) -> Result<Object> {
        if self.len == 0 {
            return Ok(Object::none());
        }
        let place = self.storage.as_ptr();
        // SAFETY: zeroed at first, so every field is initialised.
        let family = c_int::from(unsafe { (*place).ss_family });
        match family {
            libc::AF_INET => {
                // SAFETY: zeroed storage, large and aligned enough for every family.
                let address = unsafe { &*place.cast::<libc::sockaddr_in>() };
                let host = host_text(family, (&raw const address.sin_addr).cast())?;
                let port = u16::from_be(address.sin_port);
                pair(py, host, port)
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let address = unsafe { &*place.cast::<libc::sockaddr_in6>() };
                let host = host_text(family, (&raw const address.sin6_addr).cast())?;
                let port = u16::from_be(address.sin6_port);
                let flow = u32::from_be(address.sin6_flowinfo);
                let tuple =
                    (host.into_bound(py), port, flow, address.sin6_scope_id).into_pyobject(py);
                tuple
                    .map(|tuple| tuple.into_any().into())
                    .map_err(|error| Raised::from_err(py, error))
            }
            libc::AF_UNIX => {
                // SAFETY: as above.
                let address = unsafe { &*place.cast::<libc::sockaddr_un>() };
                self.unix_path(py, address)
            }
            _ => Ok(Object::none()),
        }
    }

    /// A path as str, an abstract name as bytes, '' for an unnamed socket.
    fn unix_path(&self, py: Python<'_>, address: &libc::sockaddr_un) -> Result<Object> {
        let used = (self.len as usize).saturating_sub(offset_of!(libc::sockaddr_un, sun_path));
        let path = &address.sun_path[..used.min(address.sun_path.len())];
        let bytes: Vec<u8> = path.iter().map(|byte| *byte as u8).collect();
        if bytes.first() == Some(&0) {
            return Ok(PyBytes::new(py, &bytes).into_any().into());
        }
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        // SAFETY: pointer and length of a live slice; GIL held.
        let text = unsafe {
            ffi::PyUnicode_DecodeFSDefaultAndSize(
                text.as_ptr().cast(),
                text.len() as ffi::Py_ssize_t,
            )
        };
        // SAFETY: a new reference or null.
        unsafe { Object::from_owned(text) }.ok_or(Raised)
    }
}

/// `(host, port)`.
fn pair(py: Python<'_>, host: Object, port: u16) -> Result<Object> {
    let tuple = (host.into_bound(py), port).into_pyobject(py);
    tuple
        .map(|tuple| tuple.into_any().into())
        .map_err(|error| Raised::from_err(py, error))
}

/// The numeric text of an Internet address.
fn host_text(family: c_int, address: *const c_void) -> Result<Object> {
    let mut text = [0 as c_char; 64];
    // SAFETY: an address of that family, and room for more than INET6_ADDRSTRLEN.
    let written = unsafe {
        inet_ntop(
            family,
            address,
            text.as_mut_ptr(),
            text.len() as libc::socklen_t,
        )
    };
    if written.is_null() {
        return Err(super::call::os_error(super::call::errno()));
    }
    // SAFETY: inet_ntop has written a terminated string of ASCII.
    let text = unsafe { CStr::from_ptr(written) };
    // SAFETY: a C string; GIL held.
    let text = unsafe { ffi::PyUnicode_FromString(text.as_ptr()) };
    // SAFETY: a new reference or null.
    unsafe { Object::from_owned(text) }.ok_or(Raised)
}

/// Whether `address` is an Internet address whose host is a name that has to be looked up.
pub fn needs_lookup(py: Python<'_>, family: c_int, address: *mut ffi::PyObject) -> bool {
    if !matches!(family, libc::AF_INET | libc::AF_INET6) {
        return false;
    }
    // SAFETY: a live object, borrowed from the caller of the method.
    let address = unsafe { Bound::from_borrowed_ptr(py, address) };
    let Ok(host) = address.get_item(0) else {
        return false;
    };
    let Ok(host) = host.cast::<PyString>() else {
        return false;
    };
    let Ok(text) = host.to_str() else {
        return false;
    };
    if text.is_empty() || text == "<broadcast>" {
        return false;
    }
    let bare = text.split('%').next().unwrap_or(text);
    bare.parse::<std::net::IpAddr>().is_err()
}
