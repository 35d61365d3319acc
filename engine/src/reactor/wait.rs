//! One wait for the kernel, as a value of its own.
//!
//! A [`Wait`] holds all that the system call needs, so that a driver can drop every borrow, or
//! release an interpreter lock, while it blocks.

use super::poll;
use std::io;
use std::time::Duration;

#[cfg(target_os = "linux")]
use super::epoll;

/// What the kernel said about one source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occurred {
    pub(super) data: u64,
    pub(super) bits: u8,
}

/// A wait that is prepared, running or done.
///
/// ```
/// use eventlet::hub::{Hub, Wait};
/// use std::time::Duration;
///
/// let mut hub = Hub::new()?;
/// hub.at(hub.now().saturating_add(Duration::from_millis(1)), "tea");
/// assert!(hub.next().is_none());
/// let mut wait: Wait = hub.begin_wait();
/// assert!(wait.would_block());
/// let result = wait.block();
/// hub.end_wait(wait, result)?;
/// assert_eq!(hub.next(), Some("tea"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Wait {
    timeout: Option<Duration>,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    #[cfg(target_os = "linux")]
    Epoll(epoll::Waiting),
    Poll(poll::Waiting),
}

impl Wait {
    #[cfg(target_os = "linux")]
    pub(super) fn epoll(waiting: epoll::Waiting) -> Wait {
        Wait {
            timeout: None,
            asked: Asked::Epoll(waiting),
        }
    }

    pub(super) fn poll() -> Wait {
        Wait {
            timeout: None,
            asked: Asked::Poll(poll::Waiting::default()),
        }
    }

    /// Makes a used wait ready for use.
    pub(super) fn prepare(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
        match &mut self.asked {
            #[cfg(target_os = "linux")]
            Asked::Epoll(waiting) => waiting.clear(),
            Asked::Poll(waiting) => waiting.clear(),
        }
    }

    pub(super) fn poll_list(&mut self, fill: impl FnOnce(&mut poll::Waiting)) {
        match &mut self.asked {
            #[cfg(target_os = "linux")]
            Asked::Epoll(_) => {}
            Asked::Poll(waiting) => fill(waiting),
        }
    }

    /// Whether [`Wait::block`] may wait: false if something is ready without it.
    ///
    /// The type shows an example.
    #[inline]
    pub fn would_block(&self) -> bool {
        self.timeout != Some(Duration::ZERO)
    }

    /// How long [`Wait::block`] waits at most; `None` for ever.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::<()>::new()?;
    /// assert_eq!(hub.begin_wait().timeout(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Lets [`Wait::block`] wait no longer than `at_most`.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// # use std::time::Duration;
    /// let mut hub = Hub::<()>::new()?;
    /// let mut wait = hub.begin_wait();
    /// wait.limit(Duration::from_secs(1));
    /// wait.limit(Duration::from_secs(2));
    /// assert_eq!(wait.timeout(), Some(Duration::from_secs(1)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn limit(&mut self, at_most: Duration) {
        self.timeout = Some(self.timeout.map_or(at_most, |own| own.min(at_most)));
    }

    /// Asks the kernel once, and blocks until something happens or the time is up.
    ///
    /// # Errors
    /// What the system call says; `Interrupted` when a signal was handled, after which the wait goes
    /// to [`Hub::end_wait`](crate::hub::Hub::end_wait) as always.
    ///
    /// The type shows an example.
    pub fn block(&mut self) -> io::Result<()> {
        match &mut self.asked {
            #[cfg(target_os = "linux")]
            Asked::Epoll(waiting) => waiting.block(self.timeout),
            Asked::Poll(waiting) => waiting.block(self.timeout),
        }
    }

    /// As [`Wait::block`], but never blocks: for a driver whose outer loop has done the waiting.
    ///
    /// # Errors
    /// As [`Wait::block`].
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::<()>::new()?;
    /// let mut wait = hub.begin_wait();
    /// let result = wait.poll_now();
    /// hub.end_wait(wait, result)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_now(&mut self) -> io::Result<()> {
        self.timeout = Some(Duration::ZERO);
        self.block()
    }

    /// What happened.
    pub(super) fn occurred(&self) -> impl Iterator<Item = Occurred> + '_ {
        let count = match &self.asked {
            #[cfg(target_os = "linux")]
            Asked::Epoll(waiting) => waiting.len(),
            Asked::Poll(waiting) => waiting.len(),
        };
        (0..count).filter_map(|n| match &self.asked {
            #[cfg(target_os = "linux")]
            Asked::Epoll(waiting) => waiting.occurred(n),
            Asked::Poll(waiting) => waiting.occurred(n),
        })
    }
}
