//! `greenlet._core`: greenlets, hub and green I/O on CPython. This file only registers.

use pyo3::prelude::*;

/// The extension module.
#[pymodule]
fn _core(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
