//! Which builtins have a redirection in Rust, by name.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::{
    Native, handle, install, lock, poller, queue, raise_signal, rlock, sleep, socket, tls,
};

/// `redirect_natively(kind, builtin)`: redirects what makes *builtin* block to what serves green threads.
///
/// *kind* and *builtin*: "lock", "rlock", "simple_queue", "thread_handle", "socket", "tls", "epoll" and "poll" with
/// the class; "sleep" and "raise_signal" with the function; "sentinel" with `_thread._set_sentinel` and *locks* that it
/// gave before. Returns the reasons, by method, for what stays as it is. May switch: no. ValueError for another *kind*.
#[pyfunction]
#[pyo3(signature = (kind, builtin, locks=Vec::new()))]
pub fn redirect_natively(
    kind: &str,
    builtin: &Bound<'_, PyAny>,
    locks: Vec<Bound<'_, PyAny>>,
) -> PyResult<Vec<(String, String)>> {
    let outcome = match kind {
        "lock" => return methods(builtin, lock::METHODS),
        "rlock" => match rlock::find_owner(builtin)? {
            Ok(()) => return methods(builtin, rlock::METHODS),
            failed => failed,
        },
        "simple_queue" => return methods(builtin, queue::METHODS),
        "thread_handle" => return methods(builtin, handle::METHODS),
        "socket" => match socket::check(builtin)? {
            Ok(()) => return socket::redirect(builtin),
            failed => failed,
        },
        "tls" => {
            tls::learn(builtin.py().import("_ssl")?.as_any())?;
            return methods(builtin, tls::METHODS);
        }
        "epoll" => return methods(builtin, poller::EPOLL),
        "poll" => match poller::check(&builtin.py().import("select")?.getattr("poll")?.call0()?)? {
            Ok(()) => return methods(builtin, poller::POLL),
            failed => failed,
        },
        "sleep" => install(builtin, sleep::sleep, false),
        "raise_signal" => install(builtin, raise_signal::raise_signal, false),
        "sentinel" => lock::watch_sentinels(builtin, locks)?,
        _ => return Err(PyValueError::new_err(format!("unknown kind {kind:?}"))),
    };
    let failed = outcome.err().map(|reason| (kind.to_owned(), reason));
    Ok(failed.into_iter().collect())
}

/// Redirects the methods of a class that it has.
fn methods<const N: usize>(
    class: &Bound<'_, PyAny>,
    table: [(&str, Native, bool); N],
) -> PyResult<Vec<(String, String)>> {
    let mut failed = Vec::new();
    for (name, native, everywhere) in table {
        let Some(method) = class.getattr_opt(name)? else {
            continue;
        };
        if let Err(reason) = install(&method, native, everywhere) {
            failed.push((name.to_owned(), reason));
        }
    }
    Ok(failed)
}
