//! A non-blocking descriptor and its registration: the loop "try, park, try" has its home here.
//!
//! Invariants: the registration is released before the descriptor is closed, so the kernel's number
//! is never reused under a live registration. No borrow of the socket is alive while a thread is
//! parked, so that another may close it meanwhile. A registration counts only in the runtime that
//! made it.

use crate::clock::Instant;
use crate::reactor::{Interest, Token};
use crate::rt::{self, Runtime, Wake};
use std::cell::{Cell, RefCell};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Whether a successful call has used up what was ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// There may be more.
    Perhaps,
    /// The next call would find nothing: the kernel took or gave less than asked.
    Nothing,
}

/// A socket `S` in non-blocking mode.
pub(super) struct Source<S: AsFd> {
    socket: RefCell<Option<S>>,
    /// The runtime's serial number and the socket's token there.
    registration: Cell<Option<(u64, Token)>>,
    local: PhantomData<*const ()>,
}

impl<S: AsFd> Source<S> {
    /// Takes over a socket that is in non-blocking mode.
    pub(super) fn new(socket: S) -> Source<S> {
        Source {
            socket: RefCell::new(Some(socket)),
            registration: Cell::new(None),
            local: PhantomData,
        }
    }

    /// Calls `act` with the socket, which must not park.
    pub(super) fn with<R>(&self, act: impl FnOnce(&S) -> io::Result<R>) -> io::Result<R> {
        match self.socket.borrow().as_ref() {
            Some(socket) => act(socket),
            None => Err(closed()),
        }
    }

    /// Calls `act` until it does not say `WouldBlock`, parking in between for at most `timeout`.
    #[inline]
    pub(super) fn attempt<R>(
        &self,
        interest: Interest,
        timeout: Option<Duration>,
        mut act: impl FnMut(&S) -> io::Result<(R, Left)>,
    ) -> io::Result<R> {
        let mut deadline = None;
        loop {
            if self.may_be_ready(interest) {
                match self.with(&mut act) {
                    Ok((result, left)) => {
                        if left == Left::Nothing {
                            self.drained(interest);
                        }
                        return Ok(result);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.not_ready(interest);
                    }
                    Err(error) => return Err(error),
                }
            }
            self.park(interest, timeout, &mut deadline)?;
        }
    }

    /// Parks until the socket may be ready; `deadline` is computed from `timeout` the first time.
    pub(super) fn park(
        &self,
        interest: Interest,
        timeout: Option<Duration>,
        deadline: &mut Option<Instant>,
    ) -> io::Result<()> {
        if deadline.is_none() {
            *deadline = timeout.map(rt::deadline);
        }
        let runtime = Runtime::current();
        let token = self.token(runtime)?;
        match runtime.park_io(token, interest, *deadline) {
            Wake::TimedOut => Err(io::Error::new(io::ErrorKind::TimedOut, "timed out")),
            _ => Ok(()),
        }
    }

    /// Closes the socket; whoever waits for it gets an error. Does nothing the second time.
    pub(super) fn close(&self) {
        if let Some((serial, token)) = self.registration.take() {
            match Runtime::try_current() {
                Some(runtime) if runtime.is(serial) => runtime.release_io(token),
                _ => {} // that runtime has ended, and its registrations with it
            }
        }
        drop(self.socket.take());
    }

    /// The socket's token in `runtime`, where it is registered if it is not yet.
    fn token(&self, runtime: &Runtime) -> io::Result<Token> {
        if let Some((serial, token)) = self.registration.get() {
            if runtime.is(serial) {
                return Ok(token);
            }
        }
        let fd = self.with(|socket| Ok(socket.as_fd().as_raw_fd()))?;
        let token = runtime.hub(|hub| hub.adopt(fd))?;
        self.registration.set(Some((runtime.serial(), token)));
        Ok(token)
    }

    /// The token and runtime, if the socket is registered in the present one.
    #[inline]
    fn registered(&self) -> Option<(&Runtime, Token)> {
        let (serial, token) = self.registration.get()?;
        let runtime = Runtime::try_current()?;
        runtime.is(serial).then_some((runtime, token))
    }

    /// `false` only if a call would find nothing.
    #[inline]
    fn may_be_ready(&self, interest: Interest) -> bool {
        match self.registered() {
            Some((runtime, token)) => runtime.hub(|hub| hub.is_ready(token, interest)),
            None => true,
        }
    }

    /// Says that a call did less than it was asked.
    #[inline]
    fn drained(&self, interest: Interest) {
        if let Some((runtime, token)) = self.registered() {
            runtime.hub(|hub| match interest {
                Interest::Read => hub.drained(token),
                Interest::Write => hub.clear_ready(token, interest),
            });
        }
    }

    /// Says that the socket is not ready: a call has just found nothing.
    #[inline]
    pub(super) fn not_ready(&self, interest: Interest) {
        if let Some((runtime, token)) = self.registered() {
            runtime.hub(|hub| hub.clear_ready(token, interest));
        }
    }
}

impl<S: AsFd> Drop for Source<S> {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a call on a closed socket, or one that is closed meanwhile, answers.
fn closed() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}
