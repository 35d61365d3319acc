//! Who runs: a number for the running greenlet, that of its OS thread for the main one.

use crate::error::Result;
use crate::greenlet;

/// The identity of the running greenlet.
pub fn current() -> Result<u64> {
    let me = greenlet::current()?;
    if me.get().main {
        // SAFETY: always succeeds.
        return Ok(unsafe { libc::pthread_self() as u64 });
    }
    Ok(me.as_object_ptr() as u64 | 1) // odd: no address, so no OS thread's number
}
