//! The descriptor behind an inbox: an eventfd, or a pipe where the system has none.
//!
//! Invariant: both ends are non-blocking, so that neither ringing nor hushing ever waits.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Something that one thread can ring and another can wait for.
#[derive(Debug)]
pub(super) struct Bell {
    /// What the owner waits for.
    read: OwnedFd,
    /// Where a ring goes; `None` if to the same descriptor.
    write: Option<OwnedFd>,
}

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        open()
    }

    /// Makes the descriptor readable. Callable from any thread.
    pub(super) fn ring(&self) {
        let one = 1_u64;
        let fd = self.write.as_ref().unwrap_or(&self.read).as_raw_fd();
        loop {
            // SAFETY: the eight bytes of `one` are read from a live variable.
            let wrote = unsafe { libc::write(fd, (&raw const one).cast(), 8) };
            // A full pipe or counter is readable, which is all that is wanted.
            if wrote >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return;
            }
        }
    }

    /// Makes the descriptor unreadable.
    pub(super) fn hush(&self) {
        let mut buffer = [0_u64; 64];
        loop {
            // SAFETY: the buffer is live and as large as stated.
            let got = unsafe {
                libc::read(
                    self.read.as_raw_fd(),
                    (&raw mut buffer).cast(),
                    size_of_val(&buffer),
                )
            };
            let interrupted = || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
            // An eventfd is empty after one read; a pipe when it gives less than asked for.
            if got < 0 && interrupted() {
                continue;
            }
            if usize::try_from(got) != Ok(size_of_val(&buffer)) {
                return;
            }
        }
    }

    /// Puts fresh descriptors under the same numbers.
    pub(super) fn reinit(&self) -> io::Result<()> {
        let fresh = open()?;
        replace(&fresh.read, &self.read)?;
        match (&fresh.write, &self.write) {
            (Some(fresh), Some(old)) => replace(fresh, old),
            _ => Ok(()),
        }
    }
}

impl AsRawFd for Bell {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }
}

/// Makes `old`'s number mean what `fresh` means.
fn replace(fresh: &OwnedFd, old: &OwnedFd) -> io::Result<()> {
    // SAFETY: both are open and ours; dup2 closes what `old` stood for and reuses the number.
    let status = unsafe { libc::dup2(fresh.as_raw_fd(), old.as_raw_fd()) };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sets a flag of a descriptor of ours, which dup2 has cleared.
    let status = unsafe { libc::fcntl(old.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    if status < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn open() -> io::Result<Bell> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, so nobody else owns it.
    let read = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(Bell { read, write: None })
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn open() -> io::Result<Bell> {
    let mut ends = [-1; 2];
    // SAFETY: the array has room for the two descriptors.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, so nobody else owns it.
    let read = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: likewise.
    let write = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    for end in [&read, &write] {
        let flags = [
            (libc::F_SETFL, libc::O_NONBLOCK),
            (libc::F_SETFD, libc::FD_CLOEXEC),
        ];
        for (command, flag) in flags {
            // SAFETY: sets a flag of a descriptor of ours.
            if unsafe { libc::fcntl(end.as_raw_fd(), command, flag) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(Bell {
        read,
        write: Some(write),
    })
}
