//! `greenlet._core`: greenlets, hub and green I/O on CPython. This file only registers.

use pyo3::prelude::*;

#[allow(
    unsafe_code,
    dead_code,
    unused_imports,
    reason = "mirrors PyThreadState; used by the greenlet module"
)]
mod pystate;

/// The extension module.
#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    pystate::self_check(m.py())?;
    m.add_function(wrap_pyfunction!(pystate::layout, m)?)
}
