//! hub
use crate::thread::Thread; use crate::greenlet::{Gr,Transfer};
/// why
#[derive(Debug, Clone, Copy)]
pub enum Reason { /// s
 Sleep }
/// st
pub fn statistics(_py: pyo3::Python<'_>, _d: &pyo3::Bound<'_, pyo3::types::PyDict>) -> pyo3::PyResult<()> { Ok(()) }
/// next
pub fn successor(_t:&Thread,_me:Gr,_tr:&Transfer)->Option<Gr>{None}
