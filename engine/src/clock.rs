//! Points in time, and where they come from.
//!
//! An [`Instant`] is a number of nanoseconds on the kernel's monotonic clock. A [`Clock`] tells the
//! present one: either the kernel's, or one that a test sets by hand, so that nothing that depends
//! on time has to sleep to be tested.
//!
//! Invariant: a clock never goes backwards, and arithmetic on instants saturates instead of
//! wrapping, so that a deadline "in a million years" is simply never reached.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// A point in time: nanoseconds of `CLOCK_MONOTONIC`.
///
/// ```
/// use eventlet::clock::Instant;
/// use std::time::Duration;
///
/// let start = Instant::from_nanos(5);
/// let later = start.saturating_add(Duration::from_nanos(7));
/// assert!(later > start);
/// assert_eq!(later.saturating_since(start), Duration::from_nanos(7));
/// assert_eq!(start.saturating_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The latest instant there is, which no clock reaches.
    ///
    /// ```
    /// use eventlet::clock::Instant;
    /// use std::time::Duration;
    ///
    /// let never = Instant::from_nanos(1).saturating_add(Duration::MAX);
    /// assert_eq!(never, Instant::FAR_FUTURE);
    /// ```
    pub const FAR_FUTURE: Instant = Instant(u64::MAX);

    /// The instant `nanos` nanoseconds after the clock's origin.
    ///
    /// ```
    /// # use eventlet::clock::Instant;
    /// assert!(Instant::from_nanos(1) < Instant::from_nanos(2));
    /// ```
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the clock's origin.
    ///
    /// ```
    /// # use eventlet::clock::Instant;
    /// assert_eq!(Instant::from_nanos(9).as_nanos(), 9);
    /// ```
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This instant moved `delay` into the future; [`Instant::FAR_FUTURE`] where it would overflow.
    ///
    /// ```
    /// # use eventlet::clock::Instant;
    /// # use std::time::Duration;
    /// let t = Instant::from_nanos(10).saturating_add(Duration::from_micros(1));
    /// assert_eq!(t.as_nanos(), 1_010);
    /// ```
    #[inline]
    pub fn saturating_add(self, delay: Duration) -> Instant {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }

    /// The time from `earlier` to this instant; zero if `earlier` is in fact later.
    ///
    /// ```
    /// # use eventlet::clock::Instant;
    /// # use std::time::Duration;
    /// let (a, b) = (Instant::from_nanos(3), Instant::from_nanos(8));
    /// assert_eq!(b.saturating_since(a), Duration::from_nanos(5));
    /// ```
    #[inline]
    pub const fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Tells the present [`Instant`].
///
/// Cloning a settable clock gives a second handle on the same time: a test keeps one and hands the
/// other to the hub.
///
/// ```
/// use eventlet::clock::{Clock, Instant};
/// use std::time::Duration;
///
/// let clock = Clock::settable(Instant::from_nanos(100));
/// let same = clock.clone();
/// clock.advance(Duration::from_nanos(20));
/// assert_eq!(same.now(), Instant::from_nanos(120));
///
/// let real = Clock::monotonic();
/// assert!(real.now() <= real.now());
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Kernel,
    Manual(Rc<Cell<Instant>>),
}

impl Clock {
    /// The kernel's monotonic clock.
    ///
    /// ```
    /// let clock = eventlet::clock::Clock::monotonic();
    /// assert!(clock.now().as_nanos() > 0);
    /// ```
    pub fn monotonic() -> Clock {
        Clock(Source::Kernel)
    }

    /// A clock that stands still at `start` until [`Clock::set`] or [`Clock::advance`] moves it.
    ///
    /// ```
    /// use eventlet::clock::{Clock, Instant};
    /// let clock = Clock::settable(Instant::from_nanos(7));
    /// assert_eq!(clock.now(), clock.now());
    /// ```
    pub fn settable(start: Instant) -> Clock {
        Clock(Source::Manual(Rc::new(Cell::new(start))))
    }

    /// The present instant.
    ///
    /// ```
    /// use eventlet::clock::{Clock, Instant};
    /// assert_eq!(Clock::settable(Instant::from_nanos(7)).now().as_nanos(), 7);
    /// ```
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::Kernel => monotonic_now(),
            Source::Manual(now) => now.get(),
        }
    }

    /// An instant that the clock showed a few milliseconds ago at most, for less than half the price.
    ///
    /// On the same scale as [`Clock::now`] and never ahead of it. A settable clock is exact here too.
    ///
    /// ```
    /// use eventlet::clock::Clock;
    /// let clock = Clock::monotonic();
    /// assert!(clock.recent() <= clock.now());
    /// ```
    #[inline]
    pub fn recent(&self) -> Instant {
        match &self.0 {
            Source::Kernel => read(COARSE),
            Source::Manual(now) => now.get(),
        }
    }

    /// Moves a settable clock to `to`, or leaves it where it is if that lies in its past.
    ///
    /// The kernel's clock cannot be set: the call does nothing then and answers `false`.
    ///
    /// ```
    /// use eventlet::clock::{Clock, Instant};
    /// let clock = Clock::settable(Instant::from_nanos(7));
    /// assert!(clock.set(Instant::from_nanos(9)));
    /// assert!(clock.set(Instant::from_nanos(8)), "settable, but time does not go backwards");
    /// assert_eq!(clock.now().as_nanos(), 9);
    /// assert!(!Clock::monotonic().set(Instant::FAR_FUTURE));
    /// ```
    pub fn set(&self, to: Instant) -> bool {
        match &self.0 {
            Source::Kernel => false,
            Source::Manual(now) => {
                now.set(now.get().max(to));
                true
            }
        }
    }

    /// Moves a settable clock forward by `by`; answers whether the clock is settable.
    ///
    /// ```
    /// use eventlet::clock::{Clock, Instant};
    /// use std::time::Duration;
    /// let clock = Clock::settable(Instant::from_nanos(7));
    /// assert!(clock.advance(Duration::from_nanos(3)));
    /// assert_eq!(clock.now().as_nanos(), 10);
    /// ```
    pub fn advance(&self, by: Duration) -> bool {
        self.set(self.now().saturating_add(by))
    }
}

/// `CLOCK_MONOTONIC` as of the kernel's last tick; elsewhere the clock itself.
#[cfg(target_os = "linux")]
const COARSE: libc::clockid_t = libc::CLOCK_MONOTONIC_COARSE;
#[cfg(not(target_os = "linux"))]
const COARSE: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// Reads `CLOCK_MONOTONIC`: nanoseconds since an unspecified origin (on Linux, the boot).
#[inline]
fn monotonic_now() -> Instant {
    read(libc::CLOCK_MONOTONIC)
}

/// CPU time that the calling OS thread has used.
///
/// ```
/// let before = eventlet::clock::cpu_time();
/// assert!(eventlet::clock::cpu_time() >= before);
/// ```
#[must_use]
pub fn cpu_time() -> Duration {
    Duration::from_nanos(read(libc::CLOCK_THREAD_CPUTIME_ID).as_nanos())
}

/// Reads one of the kernel's monotonic clocks.
#[inline]
fn read(clock: libc::clockid_t) -> Instant {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec that outlives the call; the kernel writes only there.
    let status = unsafe { libc::clock_gettime(clock, &raw mut now) };
    debug_assert_eq!(status, 0, "every Unix has CLOCK_MONOTONIC");
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Instant(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}
