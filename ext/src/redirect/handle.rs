//! `_thread._ThreadHandle` (3.13 and later): waiting for the end of an OS thread.
//!
//! The interpreter marks the handle done without telling anybody, so it is asked now and then.

use pyo3::prelude::*;

use super::Native;
use super::arguments::Call;
use super::line::{self, Told};
use crate::error::{Raised, Result};
use crate::hub::{self, Reason};
use crate::object::Object;

/// `join(timeout=None)`; a negative timeout means none.
fn join(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    // SAFETY: a live object.
    let this = unsafe { Bound::from_borrowed_ptr(py, call.this) };
    let Some([timeout]) = call.parse(["timeout"]) else {
        return call.forward();
    };
    // SAFETY: a live object or null.
    let timeout = unsafe { Bound::from_borrowed_ptr_or_opt(py, timeout) };
    let seconds = match timeout.filter(|timeout| !timeout.is_none()) {
        None => None,
        Some(timeout) => match timeout.extract::<f64>() {
            Ok(seconds) => Some(seconds).filter(|seconds| *seconds >= 0.0),
            Err(_) => return call.forward(), // which complains
        },
    };
    let raise = |error| Raised::from_err(py, error);
    let done = || {
        let done = this.call_method0("is_done");
        done.and_then(|done| done.extract::<bool>()).map_err(raise)
    };
    // What is not running is not waited for: the original says so.
    let ident = this
        .getattr("ident")
        .and_then(|ident| ident.extract::<u64>());
    // SAFETY: always succeeds.
    let own = unsafe { libc::pthread_self() } as u64;
    if done()? || ident.is_err() || ident.is_ok_and(|ident| ident == 0 || ident == own) {
        return call.forward();
    }
    let deadline = seconds.map(|seconds| hub::deadline_in(py, seconds));
    let deadline = deadline.transpose().map_err(raise)?;
    let attempt = || Ok(done()?.then(Object::none));
    let told = Told::Perhaps;
    match line::wait(py, call.this, Reason::Join, deadline, told, attempt)? {
        Some(_) => call.forward(), // at once: it is done
        None => Ok(Object::none()),
    }
}

/// What acts in the place of each method of `_ThreadHandle`.
pub const METHODS: [(&str, Native, bool); 1] = [("join", join, false)];
