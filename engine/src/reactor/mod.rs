//! Who waits for which descriptor, and asking the kernel which of them are ready.
//!
//! A *waiter* is a value that wants to be told once that a descriptor can be read or written. A
//! *source* is what is known about one descriptor: its waiters, in order, and for an adopted
//! descriptor what the kernel last said about it. The kernel is asked through one of two back ends,
//! `epoll` and `poll`, which keep no values.
//!
//! Two ways to wait:
//! - [`Reactor::watch`], for any descriptor, which may be closed and reused behind our back: armed
//!   anew for each wait (one `epoll_ctl`).
//! - [`Reactor::adopt`] and [`Reactor::watch_token`], for a descriptor whose owner promises to
//!   [`Reactor::release`] it before closing it: registered once, edge-triggered; no system call per
//!   wait.
//!
//! Invariant: what the kernel holds for us is a source's index and generation, never a pointer, so
//! that an event for something long gone is recognised and dropped. Every waiter is in exactly one
//! list and comes out exactly once.

#[cfg(target_os = "linux")]
mod epoll;
mod poll;
mod source;
mod wait;
mod waiters;

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

pub use source::Token;
use source::{Source, Sources};
use wait::Occurred;
pub use wait::Wait;
pub use waiters::Key;
use waiters::{List, Waiters};

/// What a waiter wants to do with the descriptor.
///
/// ```
/// use eventlet::reactor::Interest;
/// assert_ne!(Interest::Read, Interest::Write);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interest {
    /// Read, accept, or be told that the other side has closed.
    Read,
    /// Write, or have a connection established.
    Write,
}

impl Interest {
    /// This interest's bit in a set of them.
    #[inline]
    const fn bit(self) -> u8 {
        match self {
            Interest::Read => READ,
            Interest::Write => WRITE,
        }
    }
}

const READ: u8 = 1;
const WRITE: u8 = 2;
const BOTH: u8 = READ | WRITE;
/// The other side has ended its stream: what is read from now on never has to be waited for.
const ENDED: u8 = 4;

/// How the kernel is asked.
///
/// ```
/// use eventlet::reactor::{Backend, Reactor};
/// let reactor = Reactor::<()>::with_backend(Backend::Poll)?;
/// assert_eq!(reactor.backend(), Backend::Poll);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `epoll(7)`: Linux only; its cost does not depend on how many descriptors are watched.
    Epoll,
    /// `poll(2)`: every Unix; tells the kernel about all of them each time.
    Poll,
}

impl Default for Backend {
    /// The best one of the platform.
    fn default() -> Backend {
        if cfg!(target_os = "linux") {
            Backend::Epoll
        } else {
            Backend::Poll
        }
    }
}

/// The kernel's side.
#[derive(Debug)]
enum Kernel {
    #[cfg(target_os = "linux")]
    Epoll(epoll::Epoll),
    Poll(poll::Poll),
}

/// Values waiting for descriptors.
///
/// ```
/// use eventlet::reactor::{Interest, Reactor};
/// use std::io::Write;
/// use std::os::fd::AsRawFd;
/// use std::os::unix::net::UnixStream;
///
/// let (mut here, there) = UnixStream::pair()?;
/// let mut reactor = Reactor::new()?;
/// reactor.watch(there.as_raw_fd(), Interest::Read, "the reader")?;
/// here.write_all(b"!")?;
/// let mut ready = Vec::new();
/// reactor.block(&mut ready, None)?;
/// assert_eq!(ready, ["the reader"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Reactor<T> {
    kernel: Kernel,
    sources: Sources,
    waiters: Waiters<T>,
    /// Waiters that need not wait: the next block delivers them, in this order.
    instant: List,
    spare: Option<Wait>,
}

impl<T> Reactor<T> {
    /// A reactor on the platform's best back end.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when there is no descriptor left.
    ///
    /// The type shows an example.
    pub fn new() -> io::Result<Reactor<T>> {
        Reactor::with_backend(Backend::default())
    }

    /// A reactor on a chosen back end.
    ///
    /// # Errors
    /// As [`Reactor::new`]; `Unsupported` if the platform has no such thing.
    ///
    /// [`Backend`] shows an example.
    pub fn with_backend(backend: Backend) -> io::Result<Reactor<T>> {
        let kernel = match backend {
            #[cfg(target_os = "linux")]
            Backend::Epoll => Kernel::Epoll(epoll::Epoll::new()?),
            #[cfg(not(target_os = "linux"))]
            Backend::Epoll => return Err(io::ErrorKind::Unsupported.into()),
            Backend::Poll => Kernel::Poll(poll::Poll::default()),
        };
        Ok(Reactor {
            kernel,
            sources: Sources::default(),
            waiters: Waiters::new(),
            instant: List::EMPTY,
            spare: None,
        })
    }

    /// The back end in use.
    ///
    /// ```
    /// # use eventlet::reactor::{Backend, Reactor};
    /// assert_eq!(Reactor::<()>::new()?.backend(), Backend::default());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn backend(&self) -> Backend {
        match self.kernel {
            #[cfg(target_os = "linux")]
            Kernel::Epoll(_) => Backend::Epoll,
            Kernel::Poll(_) => Backend::Poll,
        }
    }

    /// The descriptor that is readable when [`Reactor::block`] would not block; for an outer loop.
    ///
    /// `None` for the `poll` back end, which has none.
    ///
    /// ```
    /// # use eventlet::reactor::{Backend, Reactor};
    /// assert!(Reactor::<()>::with_backend(Backend::Poll)?.fd().is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fd(&self) -> Option<RawFd> {
        match &self.kernel {
            #[cfg(target_os = "linux")]
            Kernel::Epoll(epoll) => Some(epoll.fd()),
            Kernel::Poll(_) => None,
        }
    }

    /// How many values wait.
    ///
    /// ```
    /// # use eventlet::reactor::{Interest, Reactor};
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// # use std::os::fd::AsRawFd;
    /// let mut reactor = Reactor::new()?;
    /// reactor.watch(here.as_raw_fd(), Interest::Read, ())?;
    /// assert_eq!(reactor.waiting(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// The values that wait, in no particular order.
    ///
    /// ```
    /// # use eventlet::reactor::{Interest, Reactor};
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// # use std::os::fd::AsRawFd;
    /// let mut reactor = Reactor::new()?;
    /// reactor.watch(here.as_raw_fd(), Interest::Read, 'r')?;
    /// assert_eq!(reactor.values().collect::<Vec<_>>(), [&'r']);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.waiters.values()
    }

    /// Whether the next [`Reactor::block`] returns at once, whatever the kernel says.
    #[inline]
    pub(crate) fn has_instant(&self) -> bool {
        !self.instant.is_empty()
    }

    /// Has `value` delivered once, when `fd` is ready for `interest`, fails, or is hung up.
    ///
    /// Any number may wait for the same descriptor; readiness delivers all that want it, in order. A
    /// file that the kernel cannot watch, such as a regular one, counts as ready.
    ///
    /// # Errors
    /// `EBADF` if `fd` is not open; otherwise what `epoll_ctl(2)` says. The value is dropped then.
    ///
    /// The type shows an example.
    pub fn watch(&mut self, fd: RawFd, interest: Interest, value: T) -> io::Result<Key> {
        let wanted = match self.sources.find(fd) {
            Some(index) => {
                let source = self.sources.get(index);
                source.wanted() | interest.bit()
            }
            None => interest.bit(),
        };
        let (index, known) = match self.sources.find(fd) {
            Some(index) => (index, true),
            None if fd < 0 => return Err(io::Error::from_raw_os_error(libc::EBADF)),
            None => (self.sources.reserve(), false),
        };
        let data = self.sources.data(index);
        let armed = match &mut self.kernel {
            #[cfg(target_os = "linux")]
            Kernel::Epoll(epoll) => {
                let source = self.sources.get(index);
                let adopted = known && source.owners > 0;
                epoll.arm(fd, data, wanted, adopted, known)
            }
            Kernel::Poll(_) => poll::check(fd),
        };
        match armed {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                return Ok(self.waiters.push(&mut self.instant, None, value));
            }
            Err(error) => return Err(error),
        }
        if !known {
            self.sources.occupy(index, fd);
        }
        Ok(self.push(index, interest, value))
    }

    /// Takes a waiter out again; `None` if it was delivered or taken out before.
    ///
    /// ```
    /// # use eventlet::reactor::{Interest, Reactor};
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// # use std::os::fd::AsRawFd;
    /// let mut reactor = Reactor::new()?;
    /// let key = reactor.watch(here.as_raw_fd(), Interest::Read, 'x')?;
    /// assert_eq!(reactor.unwatch(key), Some('x'));
    /// assert_eq!(reactor.unwatch(key), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unwatch(&mut self, key: Key) -> Option<T> {
        let list = match key.place {
            Some((index, interest)) => self.sources.list(index, interest)?,
            None => &mut self.instant,
        };
        self.waiters.remove(list, key)
    }

    /// Where the records lie that a wait for `fd` reads and writes: that of the descriptor, and of the next waiter.
    #[inline]
    pub(crate) fn records(&self, fd: RawFd) -> [Option<*const u8>; 2] {
        let source = self.sources.find(fd).map(|index| self.sources.get(index));
        let source = source.map(|source| std::ptr::from_ref(source).cast());
        [source, self.waiters.upcoming()]
    }

    /// Takes out all that wait for `fd`, which is about to be closed, or has been.
    ///
    /// The kernel's registration is dropped. Adopted descriptors are released by all their owners.
    ///
    /// ```
    /// # use eventlet::reactor::{Interest, Reactor};
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// # use std::os::fd::AsRawFd;
    /// let mut reactor = Reactor::new()?;
    /// reactor.watch(here.as_raw_fd(), Interest::Read, 'r')?;
    /// reactor.watch(here.as_raw_fd(), Interest::Write, 'w')?;
    /// assert_eq!(reactor.forget(here.as_raw_fd()), ['r', 'w']);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn forget(&mut self, fd: RawFd) -> Vec<T> {
        match self.sources.find(fd) {
            Some(index) => self.retire(index),
            None => Vec::new(),
        }
    }

    /// Registers a descriptor whose owner will [`Reactor::release`] it before closing it.
    ///
    /// It counts as ready for both interests until [`Reactor::clear_ready`] says otherwise. A
    /// descriptor may be adopted several times; each adoption is released by itself.
    ///
    /// # Errors
    /// `EBADF` if `fd` is not open, `EPERM` for a file that cannot be watched and is always ready;
    /// otherwise what `epoll_ctl(2)` says.
    ///
    /// ```
    /// use eventlet::reactor::{Interest, Reactor};
    /// use std::io::{ErrorKind, Read, Write};
    /// use std::os::fd::AsRawFd;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (mut here, mut there) = UnixStream::pair()?;
    /// there.set_nonblocking(true)?;
    /// let mut reactor = Reactor::new()?;
    /// let token = reactor.adopt(there.as_raw_fd())?;
    /// let mut byte = [0];
    /// assert_eq!(there.read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// reactor.clear_ready(token, Interest::Read);
    /// reactor.watch_token(token, Interest::Read, "the reader");
    /// here.write_all(b"!")?;
    /// let mut ready = Vec::new();
    /// reactor.block(&mut ready, None)?;
    /// assert_eq!(ready, ["the reader"]);
    /// assert!(reactor.is_ready(token, Interest::Read));
    /// reactor.release(token); // before `there` is closed
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn adopt(&mut self, fd: RawFd) -> io::Result<Token> {
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let (index, known) = match self.sources.find(fd) {
            Some(index) => (index, true),
            None => (self.sources.reserve(), false),
        };
        let data = self.sources.data(index);
        let fresh = match &mut self.kernel {
            #[cfg(target_os = "linux")]
            Kernel::Epoll(epoll) => epoll.adopt(fd, data)?,
            Kernel::Poll(_) => {
                poll::check(fd)?;
                false
            }
        };
        if !known {
            self.sources.occupy(index, fd);
        } else if fresh && self.sources.get(index).owners > 0 {
            // The kernel did not know the file: an adopted descriptor was closed without release,
            // and its number used again. Whoever waits for the old file has to look again.
            let stranded = self.retire_lists(index);
            for value in stranded {
                self.waiters.push(&mut self.instant, None, value);
            }
            self.sources.renew(index);
            let data = self.sources.data(index);
            match &mut self.kernel {
                #[cfg(target_os = "linux")]
                Kernel::Epoll(epoll) => drop(epoll.adopt(fd, data)?),
                Kernel::Poll(_) => {}
            }
        }
        let source = self.sources.get_mut(index);
        source.owners += 1;
        source.ready = BOTH;
        Ok(self.sources.token(index))
    }

    /// Whether an adopted descriptor may be ready, as far as the kernel has told.
    ///
    /// False means that nothing has happened since [`Reactor::clear_ready`]: the operation need not
    /// even be tried. True may be out of date: try. A token that was released counts as ready, so
    /// that its holder tries, and sees the error.
    ///
    /// [`Reactor::adopt`] shows an example.
    #[inline]
    pub fn is_ready(&self, token: Token, interest: Interest) -> bool {
        self.sources
            .by_token(token)
            .is_none_or(|source| source.ready & interest.bit() != 0)
    }

    /// As [`Reactor::is_ready`], and clears the mark.
    ///
    /// The caller must then go on until it sees `EAGAIN` (or a short count), or mark it again: what
    /// is left over makes no new edge.
    ///
    /// ```
    /// # use eventlet::reactor::{Interest, Reactor};
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// # use std::os::fd::AsRawFd;
    /// let mut reactor = Reactor::<()>::new()?;
    /// let token = reactor.adopt(here.as_raw_fd())?;
    /// assert!(reactor.take_ready(token, Interest::Write));
    /// assert!(!reactor.take_ready(token, Interest::Write));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn take_ready(&mut self, token: Token, interest: Interest) -> bool {
        match self.sources.by_token_mut(token) {
            Some(source) => {
                let ready = source.ready & interest.bit() != 0;
                source.ready &= !interest.bit();
                ready
            }
            None => true,
        }
    }

    /// Notes that an operation on an adopted descriptor saw `EAGAIN`.
    ///
    /// [`Reactor::adopt`] shows an example.
    #[inline]
    pub fn clear_ready(&mut self, token: Token, interest: Interest) {
        if let Some(source) = self.sources.by_token_mut(token) {
            // Writing says nothing about the end of what is read.
            let ended = if interest == Interest::Read { ENDED } else { 0 };
            source.ready &= !(interest.bit() | ended);
        }
    }

    /// Notes that a read from an adopted stream took less than it asked for.
    ///
    /// As [`Reactor::clear_ready`], except where the end of the stream is known to follow: it may have been
    /// reported together with the data, and makes no edge of its own then.
    ///
    /// ```
    /// use eventlet::reactor::{Interest, Reactor};
    /// use std::io::{Read, Write};
    /// use std::os::fd::AsRawFd;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (mut here, mut there) = UnixStream::pair()?;
    /// let mut reactor = Reactor::new()?;
    /// let token = reactor.adopt(there.as_raw_fd())?;
    /// reactor.clear_ready(token, Interest::Read);
    /// reactor.watch_token(token, Interest::Read, ());
    /// here.write_all(b"the last")?;
    /// drop(here);
    /// reactor.block(&mut Vec::new(), None)?; // reports both at once
    /// assert_eq!(there.read(&mut [0; 100])?, 8);
    /// reactor.drained(token);
    /// # #[cfg(target_os = "linux")]
    /// assert!(reactor.is_ready(token, Interest::Read), "the end is still to be read");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn drained(&mut self, token: Token) {
        match self.sources.by_token_mut(token) {
            Some(source) if source.ready & ENDED == 0 => source.ready &= !READ,
            _ => {}
        }
    }

    /// Has `value` delivered once an adopted descriptor becomes ready. Makes no system call.
    ///
    /// If it is marked ready already, the mark is cleared and the next block delivers the value: the
    /// caller tries once more. So it is for a token that was released.
    ///
    /// [`Reactor::adopt`] shows an example.
    #[inline]
    pub fn watch_token(&mut self, token: Token, interest: Interest, value: T) -> Key {
        match self.sources.by_token_mut(token) {
            Some(source) if source.ready & interest.bit() == 0 => {
                self.push(token.index, interest, value)
            }
            other => {
                if let Some(source) = other {
                    source.ready &= !interest.bit();
                }
                self.waiters.push(&mut self.instant, None, value)
            }
        }
    }

    /// Ends an adoption; all that wait for the descriptor come out.
    ///
    /// To be called before the descriptor is closed. Nothing happens for a token released before.
    ///
    /// [`Reactor::adopt`] shows an example.
    pub fn release(&mut self, token: Token) -> Vec<T> {
        match self.sources.by_token_mut(token) {
            None => Vec::new(),
            Some(source) if source.owners > 1 => {
                source.owners -= 1;
                self.retire_lists(token.index)
            }
            Some(_) => self.retire(token.index),
        }
    }

    /// Waits until something is ready, or `timeout` has passed (`None`: for ever).
    ///
    /// Appends what is due to `ready` and answers how much. A signal ends the wait early.
    ///
    /// # Errors
    /// What `epoll_wait(2)` or `poll(2)` says, but not `EINTR`.
    ///
    /// The type shows an example.
    pub fn block(&mut self, ready: &mut Vec<T>, timeout: Option<Duration>) -> io::Result<usize> {
        let before = ready.len();
        let mut wait = self.begin_wait(timeout);
        let result = wait.block();
        self.end_wait(wait, result, |value| ready.push(value))?;
        Ok(ready.len() - before)
    }

    /// Prepares a wait that can go on without the reactor.
    pub(crate) fn begin_wait(&mut self, timeout: Option<Duration>) -> Wait {
        let mut wait = self.spare.take().unwrap_or_else(|| match &self.kernel {
            #[cfg(target_os = "linux")]
            Kernel::Epoll(epoll) => Wait::epoll(epoll.wait()),
            Kernel::Poll(_) => Wait::poll(),
        });
        let timeout = if self.has_instant() {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        wait.prepare(timeout);
        if let Kernel::Poll(poll) = &mut self.kernel {
            wait.poll_list(|fds| poll.fill(fds, &self.sources));
        }
        wait
    }

    /// Delivers what a wait has found; answers whether the bell rang.
    pub(crate) fn end_wait(
        &mut self,
        wait: Wait,
        result: io::Result<()>,
        mut deliver: impl FnMut(T),
    ) -> io::Result<bool> {
        let mut rang = false;
        while let Some(value) = self.waiters.pop(&mut self.instant) {
            deliver(value);
        }
        if result.is_ok() {
            for Occurred { data, bits } in wait.occurred() {
                if data == BELL {
                    rang = true;
                    continue;
                }
                let Some(index) = self.sources.by_data(data) else {
                    continue;
                };
                self.dispatch(index, bits, &mut deliver);
            }
        }
        self.spare = Some(wait);
        match result {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(rang),
        }
    }

    /// Delivers the waiters of one source.
    fn dispatch(&mut self, index: u32, bits: u8, deliver: &mut impl FnMut(T)) {
        let source = self.sources.get_mut(index);
        source.ready |= bits;
        for interest in [Interest::Read, Interest::Write] {
            if bits & interest.bit() != 0 {
                while let Some(value) = self.waiters.pop(source.list(interest)) {
                    deliver(value);
                }
            }
        }
        let left = source.wanted();
        let fd = source.fd;
        if left == 0 || source.owners > 0 {
            return;
        }
        // One shot: the event has disarmed the other interest too.
        #[cfg(target_os = "linux")]
        if let Kernel::Epoll(epoll) = &mut self.kernel {
            let data = self.sources.data(index);
            if epoll.arm(fd, data, left, false, true).is_err() {
                // It has been closed meanwhile: its waiters find out by trying.
                for value in self.retire_lists(index) {
                    deliver(value);
                }
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = fd; // only epoll needs it
    }

    /// Registers the descriptor of an inbox, for which `end_wait` has an answer of its own.
    pub(crate) fn set_bell(&mut self, fd: RawFd) -> io::Result<()> {
        match &mut self.kernel {
            #[cfg(target_os = "linux")]
            Kernel::Epoll(epoll) => epoll.set_bell(fd),
            Kernel::Poll(poll) => {
                poll.set_bell(fd);
                Ok(())
            }
        }
    }

    /// Whether the bell has to be hushed after it rang: with edges it need not.
    pub(crate) fn bell_is_level(&self) -> bool {
        matches!(self.kernel, Kernel::Poll(_))
    }

    /// Makes the reactor of a forked child its own: parent and child share what epoll holds.
    ///
    /// To be called in the child before anything else. All registrations are made again, under the
    /// same [`Reactor::fd`]; waiters whose descriptor cannot be registered any more are delivered
    /// by the next block, and see the error by trying.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when there is no descriptor left; nothing has changed then.
    ///
    /// ```
    /// # use eventlet::reactor::{Interest, Reactor};
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// # use std::os::fd::AsRawFd;
    /// let mut reactor = Reactor::new()?;
    /// reactor.watch(here.as_raw_fd(), Interest::Write, 'w')?;
    /// reactor.reinit()?;
    /// let mut ready = Vec::new();
    /// reactor.block(&mut ready, None)?;
    /// assert_eq!(ready, ['w']);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reinit(&mut self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Kernel::Epoll(epoll) = &mut self.kernel {
            epoll.reinit()?;
            for index in self.sources.indexes() {
                let data = self.sources.data(index);
                let source = self.sources.get_mut(index);
                let wanted = source.wanted();
                let again = if source.owners > 0 {
                    source.ready = BOTH;
                    epoll.adopt(source.fd, data).map(drop)
                } else if wanted != 0 {
                    epoll.arm(source.fd, data, wanted, false, false)
                } else {
                    Ok(())
                };
                if again.is_err() {
                    for value in Self::take_lists(&mut self.waiters, source) {
                        self.waiters.push(&mut self.instant, None, value);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes out everything that waits, in no particular order.
    ///
    /// ```
    /// # use eventlet::reactor::{Interest, Reactor};
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// # use std::os::fd::AsRawFd;
    /// let mut reactor = Reactor::new()?;
    /// reactor.watch(here.as_raw_fd(), Interest::Read, 'x')?;
    /// assert_eq!(reactor.drain(), ['x']);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drain(&mut self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.waiting());
        while let Some(value) = self.waiters.pop(&mut self.instant) {
            all.push(value);
        }
        for index in self.sources.indexes() {
            all.extend(self.retire_lists(index));
        }
        all
    }

    /// Appends a waiter to a source's list.
    #[inline]
    fn push(&mut self, index: u32, interest: Interest, value: T) -> Key {
        let list = self.sources.get_mut(index).list(interest);
        self.waiters.push(list, Some((index, interest)), value)
    }

    /// Gives up a source: its waiters come out, the kernel forgets it, its tokens die.
    fn retire(&mut self, index: u32) -> Vec<T> {
        let all = self.retire_lists(index);
        #[cfg(target_os = "linux")]
        if let Kernel::Epoll(epoll) = &mut self.kernel {
            epoll.remove(self.sources.get(index).fd);
        }
        self.sources.vacate(index);
        all
    }

    /// Takes out all waiters of a source.
    fn retire_lists(&mut self, index: u32) -> Vec<T> {
        Self::take_lists(&mut self.waiters, self.sources.get_mut(index))
    }

    fn take_lists(waiters: &mut Waiters<T>, source: &mut Source) -> Vec<T> {
        let mut all = Vec::new();
        for interest in [Interest::Read, Interest::Write] {
            while let Some(value) = waiters.pop(source.list(interest)) {
                all.push(value);
            }
        }
        all
    }
}

/// What the kernel holds for the bell instead of a source.
const BELL: u64 = u64::MAX;
