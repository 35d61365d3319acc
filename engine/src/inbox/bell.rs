//! The descriptor behind an inbox: an eventfd, or a pipe where the system has none.
//!
//! Invariant: both ends are non-blocking, so that neither ringing nor hushing ever waits.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// Something that one thread can ring and another can wait for.
#[derive(Debug)]
pub(super) struct Bell {
    /// What the owner waits for.
    read: End,
    /// Where a ring goes; none if to the same descriptor.
    write: End,
}

/// A descriptor that is ours until it is closed; -1 for none.
#[derive(Debug)]
struct End(AtomicI32);

impl End {
    fn new(fd: Option<OwnedFd>) -> End {
        End(AtomicI32::new(fd.map_or(-1, OwnedFd::into_raw_fd)))
    }

    #[inline]
    fn fd(&self) -> RawFd {
        self.0.load(Ordering::Relaxed)
    }

    fn close(&self) {
        let fd = self.0.swap(-1, Ordering::Relaxed);
        if fd >= 0 {
            // SAFETY: it was ours alone, and nobody finds it here again.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }

    /// Makes the number mean what `fresh` means.
    fn replace(&self, fresh: &End) -> io::Result<()> {
        if self.fd() < 0 || fresh.fd() < 0 {
            return Ok(());
        }
        // SAFETY: both are open and ours; dup2 closes what the old one stood for and reuses the number.
        let status = unsafe { libc::dup2(fresh.fd(), self.fd()) };
        if status < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: sets a flag of a descriptor of ours, which dup2 has cleared.
        let status = unsafe { libc::fcntl(self.fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        if status < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        open()
    }

    /// Makes the descriptor readable. Callable from any thread.
    pub(super) fn ring(&self) {
        let one = 1_u64;
        let fd = match self.write.fd() {
            -1 => self.read.fd(),
            fd => fd,
        };
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
                    self.read.fd(),
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
        self.read.replace(&fresh.read)?;
        self.write.replace(&fresh.write)
    }

    /// Closes the descriptors. Nobody rings any more.
    pub(super) fn close(&self) {
        self.read.close();
        self.write.close();
    }
}

impl AsRawFd for Bell {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.read.fd()
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
    Ok(Bell {
        read: End::new(Some(read)),
        write: End::new(None),
    })
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
        read: End::new(Some(read)),
        write: End::new(Some(write)),
    })
}
