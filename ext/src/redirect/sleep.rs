//! `time.sleep`: only the green thread sleeps.

use pyo3::prelude::*;

use super::arguments::{Call, Raw};
use crate::error::{Raised, Result};
use crate::hub;
use crate::object::Object;

/// `sleep(seconds)`.
pub fn sleep(py: Python<'_>, call: &Call<'_>) -> Result<Object> {
    let Raw::One(seconds) = call.raw else {
        return call.forward();
    };
    // SAFETY: a live object.
    let seconds = unsafe { Bound::from_borrowed_ptr(py, seconds) };
    match seconds.extract::<f64>() {
        Ok(0.0) => hub::yield_now().map(drop)?,
        Ok(seconds) if seconds > 0.0 && seconds.is_finite() => {
            let deadline = hub::deadline_in(py, seconds);
            hub::sleep_until(deadline.map_err(|error| Raised::from_err(py, error))?).map(drop)?;
        }
        _ => return call.forward(), // which complains
    }
    Ok(Object::none())
}
