//! Ends the test process when a test hangs: a hang is a failure that says its name.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// Watches over the test that holds it.
pub struct Watchdog {
    _done: Sender<()>,
}

/// Gives the running test two minutes, enough for the largest under a sanitizer on a busy machine.
pub fn watch() -> Watchdog {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(120)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{name} hangs");
            std::process::abort();
        }
    });
    Watchdog { _done: done }
}
