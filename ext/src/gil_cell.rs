//! `GilCell`: a cell for state that the GIL protects.
//!
//! Access needs a `Python` token, so two threads are never inside at once. Access is by value or by a short
//! closure; the closure must not run Python code nor switch greenlets (drop nothing whose destructor does).
#![allow(unsafe_code)] // Sync under the GIL

use std::cell::UnsafeCell;

use pyo3::prelude::*;

/// Interior mutability for whoever holds the GIL.
#[derive(Default)]
pub struct GilCell<T>(UnsafeCell<T>);

// SAFETY: every access goes through a `Python` token, which only one thread has at a time (GIL builds;
// the module declares that it uses the GIL).
unsafe impl<T> Sync for GilCell<T> {}
// SAFETY: as above: whichever thread drops or moves it holds the GIL.
unsafe impl<T> Send for GilCell<T> {}

impl<T> GilCell<T> {
    /// A cell with this value.
    pub const fn new(value: T) -> GilCell<T> {
        GilCell(UnsafeCell::new(value))
    }

    /// Runs `f` on the value. `f` must not run Python code, switch, or enter this cell again.
    #[inline(always)]
    pub fn with<R>(&self, _py: Python<'_>, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the GIL is held (token) and `f` neither re-enters nor lets go of it (contract above).
        f(unsafe { &mut *self.0.get() })
    }

    /// Runs `f` on the value where no token can be had: in `__traverse__` only.
    pub fn peek<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        // SAFETY: the collector traverses with the GIL held, outside of any `with` (those run no Python code).
        f(unsafe { &*self.0.get() })
    }

    /// Puts `value` in and returns the old one.
    #[inline(always)]
    pub fn replace(&self, py: Python<'_>, value: T) -> T {
        self.with(py, |slot| std::mem::replace(slot, value))
    }

    /// The value, copied.
    #[inline(always)]
    pub fn get(&self, py: Python<'_>) -> T
    where
        T: Copy,
    {
        self.with(py, |slot| *slot)
    }

    /// Puts `value` in; the old one is dropped after the cell is left.
    #[inline(always)]
    pub fn set(&self, py: Python<'_>, value: T) {
        drop(self.replace(py, value));
    }
}
