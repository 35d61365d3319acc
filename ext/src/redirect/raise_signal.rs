//! `signal.raise_signal`: who does nothing else lets the others run now and then.

use pyo3::prelude::*;

use super::arguments::Call;
use crate::error::{Raised, Result};
use crate::hub;
use crate::object::Object;

/// `raise_signal(signalnum)`. The interpreter runs a handler in it, which may wait: so it is no news that others run.
pub fn raise_signal(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    hub::interrupt_spinner(py).map_err(|error| Raised::from_err(py, error))?;
    call.forward()
}
