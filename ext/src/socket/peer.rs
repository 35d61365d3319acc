//! The Internet address that a socket last received from, with the Python object made of it.
//!
//! A server answers most datagrams to where they came from: the object is made once for as long as they come from
//! the same place, and recognised without being read when it is given back. Invariant: the object is a tuple, which
//! cannot change, and is kept alive here, so that no other object has its address.

use std::cell::Cell;

use pyo3::ffi;
use pyo3::prelude::*;

use super::address::Address;
use crate::error::Result;
use crate::object::Object;

/// What `LastPeer` remembers.
struct Known {
    address: Address,
    object: Object,
}

/// The last peer of one socket; nobody at first.
pub struct LastPeer(Cell<Option<Box<Known>>>);

impl LastPeer {
    /// Nobody.
    pub const fn none() -> LastPeer {
        LastPeer(Cell::new(None))
    }

    /// The object for an address that the kernel has filled in.
    pub fn object_for(&self, py: Python<'_>, address: &Address) -> Result<Object> {
        if !address.is_internet() {
            return address.to_python(py);
        }
        let known = self.0.take();
        if let Some(known) = known.filter(|known| known.address.same(address)) {
            let object = known.object.clone();
            self.0.set(Some(known));
            return Ok(object);
        }
        let object = address.to_python(py)?;
        let known = Known {
            address: address.clone(),
            object: object.clone(),
        };
        self.0.set(Some(Box::new(known)));
        Ok(object)
    }

    /// The address that `object` was made of; `None` if it is not the last one made.
    pub fn address_of(&self, object: *mut ffi::PyObject) -> Option<Address> {
        let known = self.0.take()?;
        let address = (known.object.as_ptr() == object).then(|| known.address.clone());
        self.0.set(Some(known));
        address
    }

    /// Nobody again.
    pub fn forget(&self) {
        drop(self.0.take());
    }
}
