//! `greenlet._core`: greenlets, hub and green I/O on CPython. This file only registers.

mod call;
mod capi;
mod census;
#[cfg(not(Py_3_12))]
mod deep_sort;
#[cfg(wraps_calls)]
mod ending;
mod error;
mod event;
mod file;
mod gil;
mod gil_cell;
mod greenlet;
mod greenpool;
mod greenthread;
mod hosts;
mod hub;
mod hub_api;
mod local;
mod object;
mod overflow;
mod process;
#[allow(unsafe_code)] // mirrors PyThreadState
mod pystate;
mod queue;
mod redirect;
mod select;
mod semaphore;
mod socket;
mod stacks;
mod thread;
mod thread_ident;
mod thread_module;
mod timeout;
mod timer;
mod tpool;
mod trace;
mod wait_queue;

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
    event::register(module)?;
    semaphore::register(module)?;
    timer::register(module)?;
    timeout::register(module)?;
    queue::register(module)?;
    thread_module::register(module)?;
    greenpool::register(module)?;
    hub_api::register(module)?;
    local::register(module)?;
    tpool::register(module)?;
    census::register(module)?;
    socket::register(module)?;
    hosts::register(module)?;
    file::register(module)?;
    select::register(module)?;
    redirect::register(module)
}
