//! Addresses of the kernel as Python objects, for the three families whose calls are native.
//!
//! The shapes and texts are those of the socket module. Any other family takes the base class's methods.
#![allow(unsafe_code)] // reading sockaddr unions

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::{self, MaybeUninit, offset_of};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::slice;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString, PyTuple};

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
#[derive(Clone)]
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

    /// What a program gives as an address of this family, if it is one of the plain forms: a numeric host and a port,
    /// a path. `None` for all else, which the base class's methods judge: names, and what is wrong.
    pub fn parse(family: c_int, value: *mut ffi::PyObject) -> Option<Address> {
        match family {
            libc::AF_INET | libc::AF_INET6 => Address::internet(family, value),
            libc::AF_UNIX => Address::unix(value),
            _ => None,
        }
    }

    fn internet(family: c_int, value: *mut ffi::PyObject) -> Option<Address> {
        let len = tuple_len(value)?;
        let host = ascii(item(value, 0)?)?;
        let port = u16::try_from(number(item(value, 1)?)?).ok()?;
        let mut address = Address::new();
        let place = address.storage.as_mut_ptr();
        if family == libc::AF_INET {
            let host = match host {
                "" => Ipv4Addr::UNSPECIFIED,
                "<broadcast>" => Ipv4Addr::BROADCAST,
                text => text.parse().ok()?,
            };
            if len != 2 {
                return None;
            }
            // SAFETY: zeroed storage, large and aligned enough for every family.
            let name = unsafe { &mut *place.cast::<libc::sockaddr_in>() };
            name.sin_family = family as libc::sa_family_t;
            name.sin_port = port.to_be();
            name.sin_addr.s_addr = u32::from(host).to_be();
            address.len = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
        } else {
            let host: Ipv6Addr = if host.is_empty() {
                Ipv6Addr::UNSPECIFIED
            } else {
                host.parse().ok()?
            };
            let part = |index| match index < len {
                true => number(item(value, index)?),
                false => Some(0),
            };
            let flow = u32::try_from(part(2)?)
                .ok()
                .filter(|flow| *flow <= 0xf_ffff)?;
            let scope = u32::try_from(part(3)?).ok()?;
            if !(2..=4).contains(&len) {
                return None;
            }
            // SAFETY: as above.
            let name = unsafe { &mut *place.cast::<libc::sockaddr_in6>() };
            name.sin6_family = family as libc::sa_family_t;
            name.sin6_port = port.to_be();
            name.sin6_flowinfo = flow.to_be();
            name.sin6_addr.s6_addr = host.octets();
            name.sin6_scope_id = scope;
            address.len = mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        }
        Some(address)
    }

    /// A path of ASCII text. Abstract and undecodable names are left to the base class.
    fn unix(value: *mut ffi::PyObject) -> Option<Address> {
        let path = ascii(value)?.as_bytes();
        let mut address = Address::new();
        // SAFETY: as in `internet`.
        let name = unsafe { &mut *address.storage.as_mut_ptr().cast::<libc::sockaddr_un>() };
        if path.is_empty() || path.contains(&0) || path.len() >= name.sun_path.len() {
            return None;
        }
        name.sun_family = libc::AF_UNIX as libc::sa_family_t;
        for (to, from) in name.sun_path.iter_mut().zip(path) {
            *to = *from as c_char;
        }
        // With the final zero, as the socket module counts.
        let len = offset_of!(libc::sockaddr_un, sun_path) + path.len() + 1;
        address.len = len as libc::socklen_t;
        Some(address)
    }

    /// For a call that reads it.
    pub fn name(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        (self.storage.as_ptr().cast(), self.len)
    }

    /// Sets the length that the kernel reported apart from the address (recvmsg).
    pub fn set_len(&mut self, len: libc::socklen_t) {
        self.len = len;
    }

    /// Whether it is one of IPv4 or IPv6.
    pub fn is_internet(&self) -> bool {
        // SAFETY: zeroed at first, so every field is initialised.
        let family = c_int::from(unsafe { (*self.storage.as_ptr()).ss_family });
        matches!(family, libc::AF_INET | libc::AF_INET6) && self.len > 0
    }

    /// Whether the two are the same, byte by byte.
    pub fn same(&self, other: &Address) -> bool {
        self.bytes() == other.bytes()
    }

    fn bytes(&self) -> &[u8] {
        let len = (self.len as usize).min(mem::size_of::<libc::sockaddr_storage>());
        // SAFETY: zeroed at first, so every byte is initialised.
        unsafe { slice::from_raw_parts(self.storage.as_ptr().cast(), len) }
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
                let host = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
                let port = u16::from_be(address.sin_port);
                pair(py, dotted(host)?, port)
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

/// The length of an exact tuple.
fn tuple_len(value: *mut ffi::PyObject) -> Option<usize> {
    // SAFETY: a live object.
    let tuple = unsafe { ffi::PyTuple_CheckExact(value) } != 0;
    tuple.then(|| crate::object::tuple_len(value))
}

/// An element of an exact tuple.
fn item(tuple: *mut ffi::PyObject, index: usize) -> Option<*mut ffi::PyObject> {
    if index >= crate::object::tuple_len(tuple) {
        return None;
    }
    // SAFETY: a tuple (callers have asked for its length), and within it.
    Some(unsafe { ffi::PyTuple_GET_ITEM(tuple, index as ffi::Py_ssize_t) })
}

/// The text of an exact str of ASCII; it lives as long as the object, which the caller of the method holds.
fn ascii<'a>(value: *mut ffi::PyObject) -> Option<&'a str> {
    // SAFETY: a live object.
    if unsafe { ffi::PyUnicode_CheckExact(value) } == 0 {
        return None;
    }
    let mut len = 0;
    // SAFETY: a str.
    let text = unsafe { ffi::PyUnicode_AsUTF8AndSize(value, &mut len) };
    if text.is_null() {
        // SAFETY: GIL held; a lone surrogate: for the base class to say.
        unsafe { ffi::PyErr_Clear() };
        return None;
    }
    // SAFETY: CPython keeps so many bytes of UTF-8 there.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len as usize) };
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.is_ascii())
}

/// The value of an exact int that is not negative.
fn number(value: *mut ffi::PyObject) -> Option<u64> {
    // SAFETY: a live object.
    if unsafe { ffi::PyLong_CheckExact(value) } == 0 {
        return None;
    }
    let mut overflow = 0;
    // SAFETY: an int.
    let number = unsafe { ffi::PyLong_AsLongLongAndOverflow(value, &mut overflow) };
    u64::try_from(number).ok().filter(|_| overflow == 0)
}

/// `(host, port)`.
fn pair(py: Python<'_>, host: Object, port: u16) -> Result<Object> {
    let tuple = (host.into_bound(py), port).into_pyobject(py);
    tuple
        .map(|tuple| tuple.into_any().into())
        .map_err(|error| Raised::from_err(py, error))
}

/// The text of an IPv4 address. (That of the standard library, and libc's, go through a formatter.)
fn dotted(host: Ipv4Addr) -> Result<Object> {
    let mut text = [0_u8; 16];
    let mut len = 0;
    for (index, octet) in host.octets().into_iter().enumerate() {
        if index > 0 {
            text[len] = b'.';
            len += 1;
        }
        for (least, unit) in [(100, 100), (10, 10), (0, 1)] {
            if octet >= least {
                text[len] = b'0' + octet / unit % 10;
                len += 1;
            }
        }
    }
    // SAFETY: so many bytes of ASCII; GIL held.
    let text =
        unsafe { ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), len as ffi::Py_ssize_t) };
    // SAFETY: a new reference or null.
    unsafe { Object::from_owned(text) }.ok_or(Raised)
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
    let Ok(address) = address.cast::<PyTuple>() else {
        return false;
    };
    let Ok(host) = address.get_item(0) else {
        return false;
    };
    let host = if let Ok(host) = host.cast::<PyString>() {
        host.to_str().map(str::to_owned).ok()
    } else if let Ok(host) = host.cast::<PyBytes>() {
        String::from_utf8(host.as_bytes().to_vec()).ok()
    } else if let Ok(host) = host.cast::<PyByteArray>() {
        String::from_utf8(host.to_vec()).ok()
    } else {
        None
    };
    let Some(text) = host else {
        return false;
    };
    if text.is_empty() || text == "<broadcast>" {
        return false;
    }
    let bare = text.split('%').next().unwrap_or(&text);
    bare.parse::<std::net::IpAddr>().is_err()
}
