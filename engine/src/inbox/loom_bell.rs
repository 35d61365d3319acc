//! The bell as loom sees it: a flag and a condition, since a model has no descriptors.
//!
//! Invariant: the flag is set from a ring to the next hush, as an eventfd is readable.

use loom::sync::{Condvar, Mutex};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

#[derive(Debug)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
    closed: Mutex<bool>,
}

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        Ok(Bell {
            rung: Mutex::new(false),
            changed: Condvar::new(),
            closed: Mutex::new(false),
        })
    }

    pub(super) fn ring(&self) {
        let closed = self.closed.lock().expect("no panic holds it");
        assert!(!*closed, "a ring after the descriptor was closed");
        drop(closed);
        *self.rung.lock().expect("no panic holds it") = true;
        self.changed.notify_one();
    }

    pub(super) fn hush(&self) {
        *self.rung.lock().expect("no panic holds it") = false;
    }

    pub(super) fn wait(&self) {
        let mut rung = self.rung.lock().expect("no panic holds it");
        while !*rung {
            rung = self.changed.wait(rung).expect("no panic holds it");
        }
        *rung = false;
    }

    pub(super) fn close(&self) {
        *self.closed.lock().expect("no panic holds it") = true;
    }

    pub(super) fn reinit(&self) -> io::Result<()> {
        self.hush();
        Ok(())
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        -1
    }
}
