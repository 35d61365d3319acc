//! `Socket`: the native half of `eventlet.greenio.GreenSocket`.
//!
//! The class extends the interpreter's own `socket.socket`: everything that cannot wait (bind, listen, options,
//! names, representation) is inherited, and whoever asks `isinstance(s, socket.socket)` is answered truthfully.
//! What can wait is replaced by one shape: try the call on the non-blocking descriptor, without letting go of
//! the GIL; on EAGAIN park until the descriptor is ready or the timeout is over; try again.
//!
//! A socket *owns* its descriptor, or it *wraps* another socket object (`GreenSocket(sock)`, attribute
//! `_wrapped`) whose methods it then calls. Invariant: `State::fd` is the descriptor that the base class holds,
//! or none; it is cleared, and the hub is told, before the descriptor is closed.

mod accept;
mod address;
mod ancillary;
mod call;
pub mod class;
mod connect;
mod datagram;
mod file;
mod lifetime;
mod message;
mod peer;
#[allow(dead_code, reason = "for the redirection of captured sockets")]
pub mod plain;
mod receive;
mod send;
mod state;
mod timeout;
mod tls;
mod wait;
mod wrapped;

use class::{Methods, class};

use pyo3::prelude::*;

/// Adds what Python sees of this module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(tls::tls_class, module)?)?;
    module.add_function(wrap_pyfunction!(plain::_call_plain, module)?)?;
    module.add_function(wrap_pyfunction!(class::socket_class, module)?)
}
