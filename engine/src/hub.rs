//! Who is next: wakes, timers, descriptors and mail, in turns.
//!
//! A [`Hub`] is a passive data structure over any `T` (in practice: who to resume). It never calls
//! out and never blocks; a driver pops one `T` at a time, drops every borrow, and acts on it.
//!
//! The order is the contract. Time goes in *turns* of two batches:
//!
//! 1. everything woken since the last turn, first in, first out; then the timers that are due, by
//!    deadline and, for equal ones, by when they were added;
//! 2. what the kernel reported, and mail from other threads.
//!
//! A batch is fixed when it begins: what is added meanwhile waits for the next turn, so that nobody
//! starves. The kernel is asked when there is nothing else to do and, if anybody waits for a
//! descriptor, before the turn that comes [`POLL_EVERY`] items or [`POLL_AFTER`] later; but not twice
//! without a first batch in between: descriptors may be ready at every poll. The clock is read once per
//! turn if there are timers, and in some turns if somebody waits for a descriptor ([`POLL_AFTER`]).

mod outer;

use crate::clock::{Clock, Instant};
use crate::inbox::Inbox;
use crate::reactor::{Backend, Interest, Reactor, Token};
use crate::timers::Timers;
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

pub use crate::reactor::{Key as WatchKey, Wait};
pub use crate::timers::Key as TimerKey;

/// So many items are handed out at most before the kernel is asked again.
pub const POLL_EVERY: usize = 64;

/// The kernel is asked again when so much time has passed since the first turn after it was asked.
///
/// A poll takes about a hundredth of it; sixty-four items that compute for a while would take longer than those who
/// wait for a descriptor should. The clock is looked at before the second, third and fifth turn, and every eighth:
/// where turns are long it is noticed soon, and where they are short it costs little.
pub const POLL_AFTER: Duration = Duration::from_micros(50);

/// Everything that waits or is ready in one thread.
///
/// ```
/// use eventlet::hub::Hub;
/// use std::time::Duration;
///
/// let mut hub = Hub::new()?;
/// hub.wake("now");
/// hub.at(hub.now().saturating_add(Duration::from_millis(2)), "later");
/// let mut log = Vec::new();
/// while log.len() < 2 {
///     match hub.next() {
///         Some(name) => log.push(name),
///         None => {
///             let mut wait = hub.begin_wait();
///             let result = wait.block();
///             hub.end_wait(wait, result)?;
///         }
///     }
/// }
/// assert_eq!(log, ["now", "later"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Hub<T> {
    /// The first batch, and behind it what waits for the next turn.
    ready: VecDeque<T>,
    /// How many of `ready` belong to the present batch.
    batch: usize,
    /// The second batch.
    io: VecDeque<T>,
    /// Items of the turns that have begun since the kernel was asked.
    since_poll: usize,
    /// The kernel gave so much that it would be asked again at once. The first batch comes before that.
    flooded: bool,
    /// When the first turn since the kernel was asked has begun, if anybody waited for a descriptor then.
    polled: Option<Instant>,
    /// Turns that have begun since the kernel was asked while anybody waited for a descriptor.
    turns: usize,
    timers: Timers<T>,
    reactor: Reactor<T>,
    inbox: Arc<Inbox<T>>,
    mail: Vec<T>,
    clock: Clock,
    outer: outer::Outer,
}

impl<T> Hub<T> {
    /// A hub on the platform's best back end and the kernel's clock.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when there is no descriptor left.
    ///
    /// The type shows an example.
    pub fn new() -> io::Result<Hub<T>> {
        Hub::with_backend(Backend::default(), Clock::monotonic())
    }

    /// A hub on a chosen back end and clock.
    ///
    /// # Errors
    /// As [`Hub::new`]; `Unsupported` if the platform has no such back end.
    ///
    /// ```
    /// use eventlet::clock::{Clock, Instant};
    /// use eventlet::hub::Hub;
    /// use eventlet::reactor::Backend;
    ///
    /// let clock = Clock::settable(Instant::from_nanos(0));
    /// let mut hub = Hub::with_backend(Backend::Poll, clock.clone())?;
    /// hub.at(Instant::from_nanos(5), "five");
    /// assert_eq!(hub.next(), None);
    /// clock.set(Instant::from_nanos(5));
    /// assert_eq!(hub.next(), Some("five"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_backend(backend: Backend, clock: Clock) -> io::Result<Hub<T>> {
        let mut reactor = Reactor::with_backend(backend)?;
        let inbox = Inbox::new()?;
        reactor.set_bell(inbox.fd())?;
        Ok(Hub {
            ready: VecDeque::new(),
            batch: 0,
            io: VecDeque::new(),
            since_poll: 0,
            flooded: false,
            polled: None,
            turns: 0,
            timers: Timers::new(),
            reactor,
            inbox,
            mail: Vec::new(),
            clock,
            outer: outer::Outer::default(),
        })
    }

    /// Makes `value` ready: part of the next turn's first batch.
    ///
    /// The type shows an example.
    #[inline]
    pub fn wake(&mut self, value: T) {
        self.ready.push_back(value);
        self.stir();
    }

    /// Makes `value` ready at `deadline`, or in the next turn if that has passed.
    ///
    /// The type shows an example.
    #[inline]
    pub fn at(&mut self, deadline: Instant, value: T) -> TimerKey {
        self.stir();
        self.timers.add(deadline, value)
    }

    /// Takes a timer back; `None` once it is due and its turn has begun.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// let key = hub.at(hub.now(), 'x');
    /// assert_eq!(hub.cancel(key), Some('x'));
    /// assert_eq!(hub.next(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        self.timers.cancel(key)
    }

    /// As [`Reactor::watch`]: `value` is ready once `fd` is.
    ///
    /// # Errors
    /// As [`Reactor::watch`].
    ///
    /// ```
    /// use eventlet::hub::Hub;
    /// use eventlet::reactor::Interest;
    /// use std::os::fd::AsRawFd;
    ///
    /// let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// let mut hub = Hub::new()?;
    /// hub.watch(here.as_raw_fd(), Interest::Write, 'w')?;
    /// assert_eq!(hub.next(), None, "the kernel has to be asked first");
    /// let mut wait = hub.begin_wait();
    /// let result = wait.block();
    /// hub.end_wait(wait, result)?;
    /// assert_eq!(hub.next(), Some('w'));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn watch(&mut self, fd: RawFd, interest: Interest, value: T) -> io::Result<WatchKey> {
        self.stir(); // it may be ready at once
        self.reactor.watch(fd, interest, value)
    }

    /// As [`Reactor::unwatch`]: takes a waiter back; `None` once it has been reported.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// # use eventlet::reactor::Interest;
    /// # use std::os::fd::AsRawFd;
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// let mut hub = Hub::new()?;
    /// let key = hub.watch(here.as_raw_fd(), Interest::Write, 'w')?;
    /// assert_eq!(hub.unwatch(key), Some('w'));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn unwatch(&mut self, key: WatchKey) -> Option<T> {
        self.reactor.unwatch(key)
    }

    /// Wakes everyone who waits for `fd`, which is about to be closed; answers how many.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// # use eventlet::reactor::Interest;
    /// # use std::os::fd::AsRawFd;
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// let mut hub = Hub::new()?;
    /// hub.watch(here.as_raw_fd(), Interest::Read, 'r')?;
    /// assert_eq!(hub.forget(here.as_raw_fd()), 1);
    /// assert_eq!(hub.next(), Some('r'));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn forget(&mut self, fd: RawFd) -> usize {
        let all = self.reactor.forget(fd);
        let count = all.len();
        self.ready.extend(all);
        self.stir();
        count
    }

    /// As [`Reactor::adopt`]: registers a descriptor that will be released before it is closed.
    ///
    /// # Errors
    /// As [`Reactor::adopt`].
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// # use eventlet::reactor::Interest;
    /// # use std::os::fd::AsRawFd;
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// let mut hub = Hub::new()?;
    /// let token = hub.adopt(here.as_raw_fd())?;
    /// assert!(hub.is_ready(token, Interest::Read), "not tried yet");
    /// hub.clear_ready(token, Interest::Read); // a read saw EAGAIN
    /// hub.watch_token(token, Interest::Read, 'r');
    /// assert_eq!(hub.release(token), 1);
    /// assert_eq!(hub.next(), Some('r'));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn adopt(&mut self, fd: RawFd) -> io::Result<Token> {
        self.reactor.adopt(fd)
    }

    /// As [`Reactor::is_ready`]: whether an operation on an adopted descriptor is worth trying.
    ///
    /// [`Hub::adopt`] shows an example.
    #[inline]
    pub fn is_ready(&self, token: Token, interest: Interest) -> bool {
        self.reactor.is_ready(token, interest)
    }

    /// As [`Reactor::take_ready`]: [`Hub::is_ready`], and clears the mark.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// # use eventlet::reactor::Interest;
    /// # use std::os::fd::AsRawFd;
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// let mut hub = Hub::<()>::new()?;
    /// let token = hub.adopt(here.as_raw_fd())?;
    /// assert!(hub.take_ready(token, Interest::Read));
    /// assert!(!hub.is_ready(token, Interest::Read));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn take_ready(&mut self, token: Token, interest: Interest) -> bool {
        self.reactor.take_ready(token, interest)
    }

    /// As [`Reactor::clear_ready`]: an operation saw `EAGAIN`, or did less than it was asked.
    ///
    /// [`Hub::adopt`] shows an example.
    #[inline]
    pub fn clear_ready(&mut self, token: Token, interest: Interest) {
        self.reactor.clear_ready(token, interest);
    }

    /// As [`Reactor::drained`]: a read from an adopted stream took less than it asked for.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// # use eventlet::reactor::Interest;
    /// # use std::os::fd::AsRawFd;
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// let mut hub = Hub::<()>::new()?;
    /// let token = hub.adopt(here.as_raw_fd())?;
    /// hub.drained(token);
    /// assert!(!hub.is_ready(token, Interest::Read));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn drained(&mut self, token: Token) {
        self.reactor.drained(token);
    }

    /// As [`Reactor::watch_token`]: `value` is ready once the adopted descriptor is.
    ///
    /// [`Hub::adopt`] shows an example.
    #[inline]
    pub fn watch_token(&mut self, token: Token, interest: Interest, value: T) -> WatchKey {
        self.stir();
        self.reactor.watch_token(token, interest, value)
    }

    /// Ends an adoption and wakes everyone who waits for the descriptor; answers how many.
    ///
    /// [`Hub::adopt`] shows an example.
    pub fn release(&mut self, token: Token) -> usize {
        let all = self.reactor.release(token);
        let count = all.len();
        self.ready.extend(all);
        self.stir();
        count
    }

    /// What [`Hub::next`] would pop. Begins a new turn if the present one is over.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// hub.wake('x');
    /// assert_eq!(hub.peek(), Some(&'x'));
    /// assert_eq!(hub.next(), Some('x'));
    /// assert_eq!(hub.peek(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn peek(&mut self) -> Option<&T> {
        if self.batch == 0 && self.io.is_empty() && !self.begin_turn() {
            return None;
        }
        if self.batch > 0 {
            self.ready.front()
        } else {
            self.io.front()
        }
    }

    /// Pops whose turn it is; `None` when the kernel has to be asked first ([`Hub::begin_wait`]).
    ///
    /// The type shows an example.
    #[inline(always)]
    #[allow(clippy::should_implement_trait, reason = "None is not the end")]
    pub fn next(&mut self) -> Option<T> {
        if self.batch == 0 {
            if !self.io.is_empty() {
                return self.io.pop_front();
            }
            if !self.begin_turn() {
                return None;
            }
            if self.batch == 0 {
                return self.io.pop_front();
            }
        }
        self.batch -= 1;
        self.ready.pop_front()
    }

    /// What [`Hub::next`] will pop after `skip` others, as far as the present turn goes.
    ///
    /// For drivers that want to have it in the cache by then.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// hub.wake('x');
    /// hub.wake('y');
    /// assert_eq!(hub.upcoming(1), None, "the turn has not begun");
    /// assert_eq!(hub.peek(), Some(&'x'));
    /// assert_eq!(hub.upcoming(1), Some(&'y'));
    /// assert_eq!(hub.upcoming(2), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn upcoming(&self, skip: usize) -> Option<&T> {
        if skip < self.batch {
            self.ready.get(skip)
        } else {
            self.io.get(skip - self.batch)
        }
    }

    /// Where the records lie that the next [`Hub::watch_token`] of this descriptor reads and writes, if there are any.
    ///
    /// As [`Hub::upcoming`] for drivers that want to have them in the cache by then; the addresses mean nothing else.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// # use std::os::fd::AsRawFd;
    /// let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// let mut hub = Hub::<()>::new()?;
    /// assert_eq!(hub.records(here.as_raw_fd()), [None, None]);
    /// hub.adopt(here.as_raw_fd())?;
    /// assert!(hub.records(here.as_raw_fd())[0].is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn records(&self, fd: RawFd) -> [Option<*const u8>; 2] {
        self.reactor.records(fd)
    }

    /// Has the kernel asked before the next turn, if nothing is ready and somebody waits for a descriptor.
    ///
    /// For who yields: the others that it lets run may be those whose descriptors are ready.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::<char>::new()?;
    /// hub.ask_if_idle(); // nobody waits
    /// hub.wake('x');
    /// assert_eq!(hub.next(), Some('x'));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn ask_if_idle(&mut self) {
        if self.ready.is_empty() && self.io.is_empty() && self.reactor.waiting() > 0 {
            self.since_poll = POLL_EVERY;
            self.flooded = false;
        }
    }

    /// Begins a turn, if anything is ready and the kernel need not be asked before.
    #[inline(always)]
    fn begin_turn(&mut self) -> bool {
        if !self.timers.is_empty()
            || self.since_poll >= POLL_EVERY
            || self.inbox.has_mail()
            || (self.reactor.waiting() > 0 && !self.ready.is_empty())
        {
            return self.begin_busy_turn();
        }
        self.batch = self.ready.len();
        self.since_poll += self.batch;
        self.batch > 0
    }

    /// The rest of `begin_turn`: there are timers or mail, or it may be time to ask the kernel.
    #[inline(never)]
    fn begin_busy_turn(&mut self) -> bool {
        let waited_for = self.reactor.waiting() > 0;
        if self.since_poll >= POLL_EVERY && !mem::take(&mut self.flooded) {
            if waited_for || self.is_turn_over() {
                return false;
            }
            self.since_poll = 0; // there is nothing to ask for
        }
        let mut now = None;
        if waited_for && !(self.ready.is_empty() && self.timers.is_empty()) {
            if self.turns % 8 == 0 || self.turns.is_power_of_two() {
                let looked = self.clock.now();
                let polled = *self.polled.get_or_insert(looked);
                if looked.saturating_since(polled) >= POLL_AFTER {
                    return false;
                }
                now = Some(looked);
            }
            self.turns += 1;
        }
        if !self.timers.is_empty() {
            let now = now.unwrap_or_else(|| self.clock.now());
            self.timers.take_due(now, &mut self.ready);
        }
        if self.inbox.has_mail() {
            self.take_mail();
        }
        self.batch = self.ready.len();
        self.since_poll += self.batch + self.io.len();
        self.batch > 0 || !self.io.is_empty()
    }

    /// Appends what other threads have sent to the second batch.
    #[cold]
    fn take_mail(&mut self) {
        self.inbox.drain(&mut self.mail);
        self.io.extend(self.mail.drain(..));
    }

    /// Prepares to ask the kernel. To be followed by [`Wait::block`] and [`Hub::end_wait`].
    ///
    /// The wait does not block if anything is ready, and otherwise until the next deadline, or for
    /// ever. From here on other threads ring the bell. The hub may be used while the wait is under
    /// way, but what is added to it does not shorten the wait.
    ///
    /// The type shows an example.
    pub fn begin_wait(&mut self) -> Wait {
        self.begin_wait_within(None)
    }

    /// As [`Hub::begin_wait`] for a wait that lasts no longer than `limit`.
    ///
    /// ```
    /// use eventlet::hub::Hub;
    /// use std::time::Duration;
    /// let mut hub = Hub::<()>::new()?;
    /// let mut wait = hub.begin_wait_within(Some(Duration::from_millis(1)));
    /// let result = wait.block();
    /// hub.end_wait(wait, result)?;
    /// assert!(hub.is_exhausted());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn begin_wait_within(&mut self, limit: Option<Duration>) -> Wait {
        let timeout = self.wait_timeout(limit);
        self.reactor.begin_wait(timeout)
    }

    /// As [`Hub::begin_wait`] for one who waits alone: what is ready and the timers do not shorten the wait.
    ///
    /// It lasts until the kernel or another thread has something new, `timeout` at most (`None`: no limit).
    ///
    /// ```
    /// use eventlet::hub::Hub;
    /// use std::time::{Duration, Instant};
    /// let mut hub = Hub::new()?;
    /// hub.wake("somebody else");
    /// let begun = Instant::now();
    /// let mut wait = hub.begin_wait_alone(Some(Duration::from_millis(5)));
    /// let result = wait.block();
    /// hub.end_wait(wait, result)?;
    /// assert!(begun.elapsed() >= Duration::from_millis(5));
    /// assert_eq!(hub.next(), Some("somebody else"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn begin_wait_alone(&mut self, timeout: Option<Duration>) -> Wait {
        let news = self.inbox.has_mail() || !self.inbox.sleep();
        self.reactor
            .begin_wait(if news { Some(Duration::ZERO) } else { timeout })
    }

    /// Takes the first ready item that is `wanted` out of its turn; the others keep their places.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// hub.wake('x');
    /// hub.wake('y');
    /// assert_eq!(hub.pick(|&item| item == 'y'), Some('y'));
    /// assert_eq!(hub.pick(|&item| item == 'y'), None);
    /// assert_eq!(hub.next(), Some('x'));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pick(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        if self.inbox.has_mail() {
            self.take_mail();
        }
        if let Some(index) = self.ready.iter().position(&wanted) {
            if index < self.batch {
                self.batch -= 1;
            }
            return self.ready.remove(index);
        }
        let index = self.io.iter().position(&wanted)?;
        self.io.remove(index)
    }

    /// How long a wait may take. Unless that is no time, other threads ring the bell from here on.
    fn wait_timeout(&mut self, limit: Option<Duration>) -> Option<Duration> {
        let ready = !self.ready.is_empty() || !self.io.is_empty() || self.reactor.has_instant();
        if ready {
            Some(Duration::ZERO)
        } else {
            let until = self.timers.next_deadline();
            let timeout = until.map(|deadline| deadline.saturating_since(self.clock.now()));
            let timeout = match (timeout, limit) {
                (Some(timeout), Some(limit)) => Some(timeout.min(limit)),
                (timeout, limit) => timeout.or(limit),
            };
            if timeout != Some(Duration::ZERO) && !self.inbox.sleep() {
                Some(Duration::ZERO)
            } else {
                timeout
            }
        }
    }

    /// To be called when something may have become ready, or is to be due.
    #[inline(always)]
    fn stir(&mut self) {
        if self.outer.outside {
            self.ring();
        }
    }

    /// Takes in what a wait has found, and mail: they are the second batch of the present turn.
    ///
    /// `result` is what [`Wait::block`] answered.
    ///
    /// # Errors
    /// That of `result`, unless a signal has interrupted the wait, which is no error here.
    ///
    /// The type shows an example.
    pub fn end_wait(&mut self, wait: Wait, result: io::Result<()>) -> io::Result<()> {
        self.inbox.awake();
        let io = &mut self.io;
        let ended = self
            .reactor
            .end_wait(wait, result, |value| io.push_back(value));
        if matches!(ended, Ok(true)) && self.reactor.bell_is_level() {
            self.inbox.hush();
        }
        if self.inbox.has_mail() {
            self.take_mail();
        }
        self.polled = None;
        self.turns = 0;
        self.since_poll = self.batch + self.io.len();
        self.flooded = self.since_poll >= POLL_EVERY;
        ended.map(drop)
    }

    /// The present instant of the hub's clock.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let hub = Hub::<()>::new()?;
    /// assert!(hub.now() <= hub.now());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The hub's clock.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let hub = Hub::<()>::new()?;
    /// assert!(hub.clock().now() <= hub.now());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The door for other threads.
    ///
    /// ```
    /// use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// let inbox = hub.inbox();
    /// std::thread::spawn(move || inbox.send("hello").unwrap()).join().unwrap();
    /// assert_eq!(hub.next(), Some("hello"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn inbox(&self) -> Arc<Inbox<T>>
    where
        T: Send,
    {
        self.inbox.clone()
    }

    /// How many timers are pending.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// hub.at(hub.now(), ());
    /// assert_eq!((hub.timers_len(), hub.waiting_len(), hub.ready_len()), (1, 0, 0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn timers_len(&self) -> usize {
        self.timers.len()
    }

    /// How many values wait for descriptors. [`Hub::timers_len`] shows an example.
    #[inline]
    pub fn waiting_len(&self) -> usize {
        self.reactor.waiting()
    }

    /// Takes the pending timers out, in the order in which they would be due.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// hub.at(hub.now(), 't');
    /// assert_eq!(hub.take_timers(), ['t']);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_timers(&mut self) -> Vec<T> {
        self.timers.drain()
    }

    /// The pending timers with their deadlines, in no particular order.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// let soon = hub.now();
    /// hub.at(soon, 't');
    /// assert_eq!(hub.timers().next(), Some((soon, &'t')));
    /// assert_eq!(hub.waiters().next(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn timers(&self) -> impl Iterator<Item = (Instant, &T)> {
        self.timers.iter()
    }

    /// The values that wait for descriptors, in no particular order. [`Hub::timers`] shows an example.
    pub fn waiters(&self) -> impl Iterator<Item = &T> {
        self.reactor.values()
    }

    /// The values that are ready, in the order of their turns, but for mail that has not been looked at.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// hub.wake('x');
    /// assert_eq!(hub.ready().collect::<Vec<_>>(), [&'x']);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ready(&self) -> impl Iterator<Item = &T> {
        let now = self.ready.range(..self.batch);
        let later = self.ready.range(self.batch..);
        now.chain(&self.io).chain(later)
    }

    /// Whether nothing but mail can make anything ready: no value, no timer, nobody at a descriptor.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// assert!(hub.is_exhausted());
    /// hub.at(hub.now(), ());
    /// assert!(!hub.is_exhausted());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_exhausted(&self) -> bool {
        self.ready_len() == 0
            && self.timers.is_empty()
            && self.reactor.waiting() == 0
            && !self.inbox.has_mail()
    }

    /// How many values are ready, but for mail that has not been looked at.
    ///
    /// [`Hub::timers_len`] shows an example.
    #[inline]
    pub fn ready_len(&self) -> usize {
        self.ready.len() + self.io.len()
    }

    /// When the earliest timer is due; `None` without timers.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// assert_eq!(hub.next_deadline(), None);
    /// let soon = hub.now();
    /// hub.at(soon, ());
    /// assert_eq!(hub.next_deadline(), Some(soon));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn next_deadline(&mut self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// The descriptor that an outer loop can watch for reading; `None` for the `poll` back end.
    ///
    /// It becomes readable when a descriptor is ready, and after [`Hub::begin_wait`] when there is
    /// mail.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// # #[cfg(target_os = "linux")]
    /// assert!(Hub::<()>::new()?.fd().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fd(&self) -> Option<RawFd> {
        self.reactor.fd()
    }

    /// Makes the hub of a forked child its own: nothing is shared with the parent's any more.
    ///
    /// To be called in the child before anything else. Everything that was ready or waiting still
    /// is.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when there is no descriptor left.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::<()>::new()?;
    /// hub.reinit_after_fork()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reinit_after_fork(&mut self) -> io::Result<()> {
        self.inbox.reinit()?;
        self.reactor.reinit()
    }

    /// Takes out what is ready or due later, but for what `keep` says yes to, and all that waits for a
    /// descriptor, and mail. For a forked child, in which most of it has no business.
    ///
    /// Keys of the timers that stay are valid; adopted descriptors stay adopted.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// hub.wake('a');
    /// hub.wake('b');
    /// let key = hub.at(hub.now(), 'b');
    /// assert_eq!(hub.retain(|&value| value == 'b'), ['a']);
    /// assert_eq!(hub.cancel(key), Some('b'));
    /// assert_eq!(hub.next(), Some('b'));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut gone = Vec::new();
        let mut batch = 0;
        for (index, value) in mem::take(&mut self.ready).into_iter().enumerate() {
            if keep(&value) {
                batch += usize::from(index < self.batch);
                self.ready.push_back(value);
            } else {
                gone.push(value);
            }
        }
        self.batch = batch;
        for value in mem::take(&mut self.io) {
            if keep(&value) {
                self.io.push_back(value);
            } else {
                gone.push(value);
            }
        }
        gone.extend(self.timers.retain(keep));
        gone.extend(self.reactor.drain());
        self.inbox.drain(&mut gone);
        gone
    }

    /// Takes everything out: ready, due, pending, waiting, mail. For the end of a thread.
    ///
    /// ```
    /// # use eventlet::hub::Hub;
    /// let mut hub = Hub::new()?;
    /// hub.at(hub.now(), 'b');
    /// hub.wake('a');
    /// assert_eq!(hub.drain(), ['a', 'b']);
    /// assert_eq!(hub.timers_len(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drain(&mut self) -> Vec<T> {
        self.batch = 0;
        let mut all: Vec<T> = self.ready.drain(..).collect();
        all.extend(self.io.drain(..));
        all.extend(self.timers.drain());
        all.extend(self.reactor.drain());
        self.inbox.drain(&mut all);
        all
    }
}

impl<T> Drop for Hub<T> {
    /// Closes the inbox: a later send gets its value back. Its descriptor is closed, whoever still has the inbox.
    fn drop(&mut self) {
        self.inbox.close(&mut Vec::new());
        self.inbox.hang_up();
    }
}
