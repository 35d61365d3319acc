//! Ancillary data of messages: the buffer that the kernel reads or fills, and its items as Python sees them.
//!
//! Descriptors that arrive belong to who gets the items; if making those fails, they are closed here.
#![allow(unsafe_code)] // control messages

use std::ffi::{c_int, c_void};
use std::mem::{self, MaybeUninit};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::call::{self, raise_text, type_error};
use super::receive::View;
use crate::error::{Pending, Raised, Result};
use crate::object::Object;

/// Ancillary data, aligned as the kernel wants it.
pub struct Control {
    words: Vec<usize>,
    /// Bytes of it that count: its size, or what the kernel has filled.
    len: usize,
}

impl Control {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Control {
        Control {
            words: vec![0; bytes.div_ceil(mem::size_of::<usize>())],
            len: bytes,
        }
    }

    /// The kernel has filled so many bytes.
    pub fn filled(&mut self, bytes: usize) {
        self.len = bytes;
    }

    fn place(&mut self) -> *mut c_void {
        if self.words.is_empty() {
            ptr::null_mut()
        } else {
            self.words.as_mut_ptr().cast()
        }
    }
}

/// A message header over these buffers.
pub fn header(parts: &mut [libc::iovec], control: &mut Control) -> libc::msghdr {
    // SAFETY: all zero is an empty header.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = parts.as_mut_ptr();
    header.msg_iovlen = parts.len() as _;
    header.msg_control = control.place();
    header.msg_controllen = control.len as _;
    header
}

impl Control {
    /// The list of (level, type, data).
    pub fn items<'py>(&mut self, py: Python<'py>) -> Result<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        let made = self.each(|level, kind, data| {
            let item = (level, kind, PyBytes::new(py, data));
            list.append(item)
                .map_err(|error| Raised::from_err(py, error))
        });
        match made {
            Ok(()) => Ok(list),
            Err(raised) => {
                let pending = Pending::take();
                self.close_descriptors();
                let Raised = raised;
                Err(pending.restore())
            }
        }
    }

    fn each(&mut self, mut f: impl FnMut(c_int, c_int, &[u8]) -> Result<()>) -> Result<()> {
        let start = self.place();
        if start.is_null() || self.len == 0 {
            return Ok(());
        }
        let header = header(&mut [], self);
        let end = start as usize + self.len;
        // SAFETY: the control buffer that the kernel has filled.
        let mut item = unsafe { libc::CMSG_FIRSTHDR(&header) };
        while !item.is_null() {
            // SAFETY: within the buffer, as CMSG_FIRSTHDR and CMSG_NXTHDR see to.
            let data = unsafe { libc::CMSG_DATA(item) };
            // SAFETY: as above.
            let message = unsafe { &*item };
            let before = data as usize - item as usize;
            // A truncated item says how long it would have been.
            let len: usize = message.cmsg_len as _;
            let len = len
                .saturating_sub(before)
                .min(end.saturating_sub(data as usize));
            // SAFETY: so many bytes lie within the buffer.
            let data = unsafe { std::slice::from_raw_parts(data, len) };
            f(message.cmsg_level, message.cmsg_type, data)?;
            // SAFETY: an item of this buffer.
            item = unsafe { libc::CMSG_NXTHDR(&header, item) };
        }
        Ok(())
    }

    /// Closes the descriptors that came as items.
    pub fn close_descriptors(&mut self) {
        let closed = self.each(|level, kind, data| {
            if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                for fd in data.chunks_exact(mem::size_of::<c_int>()) {
                    let fd = c_int::from_ne_bytes(fd.try_into().expect("chunks of that size"));
                    // SAFETY: came with the message and is known to nobody else.
                    unsafe { libc::close(fd) };
                }
            }
            Ok(())
        });
        debug_assert!(closed.is_ok(), "nothing in it fails");
    }
    /// The items (level, type, data) as the kernel reads them.
    pub fn packed(py: Python<'_>, items: *mut ffi::PyObject) -> Result<Control> {
        let items = sequence(items, "sendmsg() argument 2 must be an iterable")?;
        let mut packed = Vec::new();
        for item in items.bind(py).cast::<PyList>().expect("a list").iter() {
            const WHAT: &str = "[sendmsg() ancillary data items]() argument must be";
            // SAFETY: a live object.
            if unsafe { ffi::PySequence_Check(item.as_ptr()) } == 0 {
                let kind = crate::object::type_name(item.as_ptr()).to_string_lossy();
                return Err(type_error(&format!("{WHAT} 3-item sequence, not {kind}")));
            }
            let raise = |error| Raised::from_err(py, error);
            let len = item.len().map_err(raise)?;
            if len != 3 {
                return Err(type_error(&format!(
                    "{WHAT} sequence of length 3, not {len}"
                )));
            }
            let get = |index: usize| item.get_item(index).map_err(raise);
            let level = call::int(get(0)?.as_ptr())?;
            let kind = call::int(get(1)?.as_ptr())?;
            let data = View::new(get(2)?.as_ptr(), false)?;
            packed.push((level, kind, data));
        }
        let mut bytes = 0_usize;
        for (_, _, data) in &packed {
            let len = u32::try_from(data.len()).map_err(|_| too_large())?;
            // SAFETY: arithmetic only.
            bytes += unsafe { libc::CMSG_SPACE(len) } as usize;
        }
        let mut control = Control::new(bytes);
        let header = header(&mut [], &mut control);
        // SAFETY: a zeroed buffer with room for all items.
        let mut item = unsafe { libc::CMSG_FIRSTHDR(&header) };
        for (level, kind, data) in &packed {
            if item.is_null() {
                return Err(too_large());
            }
            // SAFETY: arithmetic only; the length was checked above.
            let len = unsafe { libc::CMSG_LEN(data.len() as u32) };
            // SAFETY: an item of the buffer, which has room for it.
            let message = unsafe { &mut *item };
            message.cmsg_level = *level;
            message.cmsg_type = *kind;
            message.cmsg_len = len as _;
            // SAFETY: as above.
            let place = unsafe { libc::CMSG_DATA(item) };
            // SAFETY: room for the data behind the header; an exported buffer of that size.
            unsafe { ptr::copy_nonoverlapping(data.place().cast::<u8>(), place, data.len()) };
            // SAFETY: an item of this buffer.
            item = unsafe { libc::CMSG_NXTHDR(&header, item) };
        }
        Ok(control)
    }
}

fn too_large() -> Raised {
    // SAFETY: a static of the interpreter.
    let error = unsafe { ffi::PyExc_OSError };
    raise_text(error, "ancillary data item too large")
}

/// A list of what an iterable has.
pub fn sequence(items: *mut ffi::PyObject, complaint: &str) -> Result<Object> {
    // SAFETY: a live object.
    let list = unsafe { ffi::PySequence_List(items) };
    // SAFETY: a new reference or null.
    if let Some(list) = unsafe { Object::from_owned(list) } {
        return Ok(list);
    }
    // SAFETY: a live object.
    let has_iter = unsafe { (*crate::object::type_of(items)).tp_iter }.is_some();
    // SAFETY: as above.
    if has_iter || unsafe { ffi::PySequence_Check(items) } != 0 {
        return Err(Raised); // what its iterator has raised
    }
    drop(crate::error::Pending::take());
    Err(type_error(complaint))
}
