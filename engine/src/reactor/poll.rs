//! The `poll(2)` back end, for every Unix.
//!
//! The kernel keeps nothing between waits: each wait brings along the list of all descriptors that
//! somebody waits for. It reports states, not changes, so that an adopted descriptor needs no care. A
//! closed descriptor reports `POLLNVAL`, which delivers its waiters: they find out by trying.

use super::source::Sources;
use super::wait::Occurred;
use super::{BELL, READ, WRITE};
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

const FAILED: libc::c_short = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;

/// The little that is kept: the bell's descriptor.
#[derive(Debug)]
pub(super) struct Poll {
    bell: RawFd,
}

impl Default for Poll {
    fn default() -> Poll {
        Poll { bell: -1 }
    }
}

impl Poll {
    pub(super) fn set_bell(&mut self, fd: RawFd) {
        self.bell = fd;
    }

    /// Lists everything that somebody waits for.
    pub(super) fn fill(&self, waiting: &mut Waiting, sources: &Sources) {
        if self.bell >= 0 {
            waiting.add(self.bell, READ, BELL);
        }
        for index in sources.indexes() {
            let source = sources.get(index);
            let wanted = source.wanted();
            if wanted != 0 {
                waiting.add(source.fd, wanted, sources.data(index));
            }
        }
    }
}

/// Whether a descriptor is open.
pub(super) fn check(fd: RawFd) -> io::Result<()> {
    // SAFETY: asks for the flags of whatever `fd` is.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// What one `poll` needs.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    fds: Vec<libc::pollfd>,
    data: Vec<u64>,
    done: bool,
}

impl Waiting {
    pub(super) fn clear(&mut self) {
        self.fds.clear();
        self.data.clear();
        self.done = false;
    }

    fn add(&mut self, fd: RawFd, wanted: u8, data: u64) {
        let read = if wanted & READ == 0 {
            0
        } else {
            libc::POLLIN | libc::POLLPRI
        };
        let write = if wanted & WRITE == 0 {
            0
        } else {
            libc::POLLOUT
        };
        self.fds.push(libc::pollfd {
            fd,
            events: read | write,
            revents: 0,
        });
        self.data.push(data);
    }

    pub(super) fn len(&self) -> usize {
        if self.done { self.fds.len() } else { 0 }
    }

    pub(super) fn occurred(&self, n: usize) -> Option<Occurred> {
        let events = self.fds.get(n)?.revents;
        let mut bits = 0;
        if events & (libc::POLLIN | libc::POLLPRI | FAILED) != 0 {
            bits |= READ;
        }
        if events & (libc::POLLOUT | FAILED) != 0 {
            bits |= WRITE;
        }
        let data = *self.data.get(n)?;
        (bits != 0).then_some(Occurred { data, bits })
    }

    pub(super) fn block(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.done = false;
        let count = self.ask(timeout);
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        self.done = count > 0;
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn ask(&mut self, timeout: Option<Duration>) -> libc::c_int {
        let spec = timeout.map(timespec);
        let spec = spec.as_ref().map_or(ptr::null(), ptr::from_ref);
        let room = self.fds.len() as libc::nfds_t;
        // SAFETY: the list has `room` entries, and the timeout is live during the call.
        unsafe { libc::ppoll(self.fds.as_mut_ptr(), room, spec, ptr::null()) }
    }

    #[cfg(not(target_os = "linux"))]
    fn ask(&mut self, timeout: Option<Duration>) -> libc::c_int {
        let millis = timeout.map_or(-1, |timeout| {
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX)
        });
        let room = self.fds.len() as libc::nfds_t;
        // SAFETY: the list has `room` entries.
        unsafe { libc::poll(self.fds.as_mut_ptr(), room, millis) }
    }
}

/// A duration as the kernel wants it; one that is too long becomes 68 years.
#[cfg(target_os = "linux")]
pub(super) fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i32::MAX.into()),
        tv_nsec: timeout.subsec_nanos().into(),
    }
}
