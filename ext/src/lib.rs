//! `greenlet._core`: greenlets, hub and green I/O on CPython. This file only registers.

mod capi;
#[cfg(not(Py_3_12))]
mod deep_sort;
mod error;
mod gil_cell;
mod greenlet;
mod greenthread;
mod hub;
mod object;
mod overflow;
mod process;
#[allow(unsafe_code)] // mirrors PyThreadState
mod pystate;
mod select;
mod socket;
mod thread;
mod trace;

use pyo3::prelude::*;

/// The extension module.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    pystate::self_check(module.py())?;
    greenlet::register(module)?;
    #[cfg(not(Py_3_12))]
    deep_sort::install(module.py())?;
    process::register(module)?;
    capi::register(module)?;
    greenthread::register(module)?;
    socket::register(module)?;
    select::register(module)
}
