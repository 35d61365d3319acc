//! Who comes when: the hub's order is the contract that everything above relies on.
#![allow(unsafe_code, reason = "forks by hand")]

use eventlet::clock::{Clock, Instant};
use eventlet::hub::{Hub, POLL_AFTER, POLL_EVERY, TimerKey, Wait};
use eventlet::reactor::{Backend, Interest};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// A hub whose clock stands at zero, and the clock.
fn still<T>(backend: Backend) -> (Hub<T>, Clock) {
    let clock = Clock::settable(at(0));
    let hub = Hub::with_backend(backend, clock.clone()).expect("a hub");
    (hub, clock)
}

fn backends() -> &'static [Backend] {
    if cfg!(target_os = "linux") {
        &[Backend::Epoll, Backend::Poll]
    } else {
        &[Backend::Poll]
    }
}

/// Asks the kernel without waiting.
fn poll<T>(hub: &mut Hub<T>) {
    let mut wait = hub.begin_wait();
    let result = wait.poll_now();
    hub.end_wait(wait, result).expect("polls");
}

/// Waits as a driver does, whether something is ready or not.
fn wait<T>(hub: &mut Hub<T>) {
    let mut wait = hub.begin_wait();
    let result = wait.block();
    hub.end_wait(wait, result).expect("waits");
}

fn all<T>(hub: &mut Hub<T>) -> Vec<T> {
    std::iter::from_fn(|| hub.next()).collect()
}

/// A file that is always ready, so that its waiters come in order with the next poll.
fn regular() -> File {
    File::open("/proc/self/exe").expect("opens")
}

#[test]
fn wakes_first_then_timers_by_deadline_and_age_then_descriptors() {
    for &backend in backends() {
        let (mut hub, clock) = still(backend);
        let file = regular();
        hub.at(at(20), "timer 20");
        hub.at(at(10), "timer 10, first");
        hub.at(at(10), "timer 10, second");
        hub.at(at(99), "later");
        hub.watch(file.as_raw_fd(), Interest::Read, "file")
            .expect("watches");
        hub.wake("wake 1");
        hub.wake("wake 2");
        clock.set(at(20));
        let want = [
            "wake 1",
            "wake 2",
            "timer 10, first",
            "timer 10, second",
            "timer 20",
        ];
        assert_eq!(all(&mut hub), want);
        poll(&mut hub);
        assert_eq!(all(&mut hub), ["file"]);
        assert_eq!(
            (hub.timers_len(), hub.waiting_len(), hub.ready_len()),
            (1, 0, 0)
        );
    }
}

#[test]
fn what_is_added_during_a_batch_waits_for_the_next_turn() {
    for &backend in backends() {
        let (mut hub, clock) = still(backend);
        let file = regular();
        hub.wake("a");
        hub.wake("b");
        hub.at(at(5), "timer");
        clock.set(at(5));
        assert_eq!(hub.next(), Some("a"));
        hub.wake("c"); // behind everything of this turn
        hub.at(at(1), "overdue"); // older than "timer", but too late for this turn
        hub.watch(file.as_raw_fd(), Interest::Read, "file")
            .expect("watches");
        assert_eq!(hub.next(), Some("b"));
        assert_eq!(hub.next(), Some("timer"));
        poll(&mut hub); // the end of the first batch
        assert_eq!(hub.next(), Some("file"));
        hub.wake("d");
        assert_eq!(all(&mut hub), ["c", "d", "overdue"]);
    }
}

#[test]
fn a_thread_that_always_yields_does_not_starve_others() {
    for &backend in backends() {
        let (mut hub, clock) = still(backend);
        let (mut a, b) = UnixStream::pair().expect("a pair");
        hub.watch(b.as_raw_fd(), Interest::Read, "reader")
            .expect("watches");
        a.write_all(b"x").expect("writes");
        hub.at(at(1), "timer");
        clock.set(at(1));
        hub.wake("yielder");
        let mut log = Vec::new();
        for _ in 0..200 {
            match hub.next() {
                Some("yielder") => {
                    log.push("yielder");
                    hub.wake("yielder");
                }
                Some(other) => log.push(other),
                None => wait(&mut hub),
            }
        }
        assert_eq!(log[1], "timer");
        let reader = log
            .iter()
            .position(|&name| name == "reader")
            .expect("not starved");
        assert!(reader <= POLL_EVERY + 1, "after {reader}");
    }
}

/// What comes out of a hub in which `busy` descriptors are ready at every poll, until `end` does, and how much came
/// before it. Each descriptor is watched again when it comes out.
fn before(hub: &mut Hub<&'static str>, file: &File, busy: usize, end: &str) -> usize {
    for count in 0..10 * busy {
        match hub.next() {
            Some("busy") => {
                hub.watch(file.as_raw_fd(), Interest::Read, "busy")
                    .expect("watches");
            }
            Some(name) if name == end => return count,
            Some(other) => panic!("{other} is not in there"),
            None => poll(hub),
        }
    }
    panic!("{end} starves");
}

#[test]
fn descriptors_that_are_always_ready_starve_neither_wakes_nor_timers() {
    for &backend in backends() {
        for busy in [POLL_EVERY - 1, POLL_EVERY, 3 * POLL_EVERY] {
            let (mut hub, clock) = still(backend);
            let file = regular();
            for _ in 0..busy {
                hub.watch(file.as_raw_fd(), Interest::Read, "busy")
                    .expect("watches");
            }
            poll(&mut hub);
            hub.wake("woken"); // while the second batch is under way
            let waited = before(&mut hub, &file, busy, "woken");
            assert_eq!(waited, busy, "its turn is the next one");
            hub.at(at(1), "timer");
            clock.set(at(1));
            let waited = before(&mut hub, &file, busy, "timer");
            assert!(waited <= busy + 1, "after {waited}"); // one is None
        }
    }
}

#[test]
fn who_computes_for_long_does_not_keep_descriptors_waiting() {
    for &backend in backends() {
        let (mut hub, clock) = still(backend);
        let file = regular();
        let descriptor = file.as_raw_fd();
        hub.watch(descriptor, Interest::Read, "file")
            .expect("watches");
        hub.wake("worker");
        for _ in 0..3 {
            assert_eq!(hub.next(), Some("worker"));
            clock.advance(POLL_AFTER / 4);
            hub.wake("worker");
        }
        assert_eq!(hub.next(), Some("worker"), "just within the time");
        clock.advance(POLL_AFTER / 4);
        hub.wake("worker");
        assert_eq!(hub.next(), None, "the kernel is to be asked");
        assert_eq!(hub.next(), None, "and is not forgotten");
        poll(&mut hub);
        assert_eq!(hub.next(), Some("file"));
        // A first batch comes between two polls, however long that takes.
        hub.watch(descriptor, Interest::Read, "file")
            .expect("watches");
        clock.advance(2 * POLL_AFTER);
        assert_eq!(hub.next(), Some("worker"));
        hub.at(hub.now(), "timer");
        clock.advance(POLL_AFTER);
        assert_eq!(hub.next(), None, "due timers are something to do as well");
        poll(&mut hub);
        assert_eq!(hub.next(), Some("file"));
        clock.advance(2 * POLL_AFTER);
        assert_eq!(
            all(&mut hub),
            ["timer"],
            "nobody waits for the kernel any more"
        );
    }
}

#[test]
fn nobody_is_asked_to_poll_for_nothing() {
    for &backend in backends() {
        let (mut hub, _clock) = still(backend);
        hub.wake(());
        for _ in 0..10 * POLL_EVERY {
            hub.next()
                .expect("nothing is watched, so there is nothing to ask for");
            hub.wake(());
        }
    }
}

#[test]
fn peeking_shows_what_comes_and_changes_nothing() {
    let (mut hub, clock) = still(Backend::Poll);
    assert_eq!(hub.peek(), None);
    hub.wake(1);
    hub.at(at(1), 2);
    clock.set(at(1));
    assert_eq!(hub.peek(), Some(&1));
    hub.wake(3); // the turn has begun
    assert_eq!(hub.peek(), Some(&1));
    assert_eq!(hub.next(), Some(1));
    assert_eq!(hub.peek(), Some(&2));
    assert_eq!(all(&mut hub), [2, 3]);
    hub.inbox().send(4).expect("open");
    assert_eq!(hub.peek(), Some(&4));
    assert_eq!(hub.next(), Some(4));
}

#[test]
fn the_wait_is_as_long_as_nothing_happens() {
    for &backend in backends() {
        let (mut hub, clock) = still(backend);
        assert_eq!(hub.begin_wait().timeout(), None, "nothing at all: for ever");
        let key = hub.at(at(50), 'x');
        hub.at(Instant::FAR_FUTURE, 'y');
        clock.set(at(20));
        let prepared = hub.begin_wait();
        assert_eq!(prepared.timeout(), Some(Duration::from_nanos(30)));
        assert!(prepared.would_block());
        drop(prepared); // a wait may be given up
        clock.set(at(50));
        assert!(!hub.begin_wait().would_block(), "due");
        assert_eq!(hub.cancel(key), Some('x'));
        assert!(hub.begin_wait().would_block());
        hub.wake('z');
        assert!(!hub.begin_wait().would_block(), "ready");
        assert_eq!(hub.next(), Some('z'));
        hub.inbox().send('m').expect("open");
        assert!(!hub.begin_wait().would_block(), "mail");
        assert_eq!(hub.next(), Some('m'));
        let file = regular();
        hub.watch(file.as_raw_fd(), Interest::Read, 'f')
            .expect("watches");
        wait(&mut hub);
        assert_eq!(hub.next(), Some('f'));
        assert_eq!(hub.next_deadline(), Some(Instant::FAR_FUTURE));
    }
}

#[test]
fn real_time_passes_and_no_timer_fires_early() {
    for &backend in backends() {
        let mut hub = Hub::with_backend(backend, Clock::monotonic()).expect("a hub");
        let start = hub.now();
        for micros in [3000, 100, 1500] {
            hub.at(start.saturating_add(Duration::from_micros(micros)), micros);
        }
        let mut fired = Vec::new();
        while fired.len() < 3 {
            match hub.next() {
                Some(micros) => {
                    assert!(hub.now().saturating_since(start) >= Duration::from_micros(micros));
                    fired.push(micros);
                }
                None => wait(&mut hub),
            }
        }
        assert_eq!(fired, [100, 1500, 3000]);
    }
}

#[test]
fn interrupted_waits_are_no_error_and_real_errors_lose_nothing() {
    let (mut hub, _clock) = still(Backend::default());
    let prepared = hub.begin_wait();
    hub.inbox().send(1).expect("open");
    hub.end_wait(prepared, Err(ErrorKind::Interrupted.into()))
        .expect("a signal is no error");
    assert_eq!(hub.next(), Some(1));
    let prepared = hub.begin_wait();
    hub.inbox().send(2).expect("open");
    let broken = io::Error::from_raw_os_error(libc::EBADF);
    let error = hub.end_wait(prepared, Err(broken)).expect_err("passed on");
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    assert_eq!(hub.next(), Some(2));
}

#[test]
fn a_wait_may_block_elsewhere() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    let (mut hub, _clock) = still(Backend::default());
    let (mut a, b) = UnixStream::pair().expect("a pair");
    hub.watch(b.as_raw_fd(), Interest::Read, "read")
        .expect("watches");
    let mut prepared: Wait = sendable(hub.begin_wait());
    a.write_all(b"x").expect("writes");
    let (prepared, result) = thread::spawn(move || {
        let result = prepared.block();
        (prepared, result)
    })
    .join()
    .expect("no panic");
    hub.end_wait(prepared, result).expect("waits");
    assert_eq!(hub.next(), Some("read"));
}

#[test]
fn mail_wakes_a_sleeping_hub_and_joins_the_second_batch() {
    for &backend in backends() {
        let (mut hub, _clock) = still(backend);
        let inbox = hub.inbox();
        for round in 0..20 {
            let inbox = inbox.clone();
            let sender = thread::spawn(move || inbox.send(round).expect("open"));
            while hub.peek().is_none() {
                wait(&mut hub); // for ever, but for the bell
            }
            assert_eq!(all(&mut hub), [round]);
            sender.join().expect("no panic");
        }
        hub.wake(100);
        inbox.send(300).expect("open");
        hub.wake(200);
        assert_eq!(all(&mut hub), [100, 200, 300]);
    }
}

#[test]
fn who_waits_alone_takes_its_own_and_leaves_the_others_in_order() {
    for &backend in backends() {
        let (mut hub, clock) = still(backend);
        let (mut here, there) = UnixStream::pair().expect("a pair");
        for item in ["a", "mine", "b", "mine"] {
            hub.wake(item);
        }
        assert_eq!(hub.next(), Some("a"));
        assert_eq!(hub.pick(|&item| item == "mine"), Some("mine"));
        hub.wake("next turn");
        assert_eq!(hub.pick(|&item| item == "mine"), Some("mine"));
        assert_eq!(hub.pick(|&item| item == "mine"), None);
        hub.at(at(5), "timer");
        clock.set(at(5));
        hub.watch(there.as_raw_fd(), Interest::Read, "reader")
            .expect("watches");
        here.write_all(b"x").expect("writes");
        // Neither what is ready nor the timer that is due ends the wait, but mail does.
        let inbox = hub.inbox();
        let sender = thread::spawn(move || inbox.send("mine").expect("open"));
        let picked = loop {
            let mut wait = hub.begin_wait_alone(None);
            let result = wait.block();
            hub.end_wait(wait, result).expect("waits");
            if let Some(item) = hub.pick(|&item| item == "mine") {
                break item;
            }
        };
        sender.join().expect("no panic");
        assert_eq!(picked, "mine");
        if hub.waiting_len() > 0 {
            poll(&mut hub); // the mail was faster
        }
        assert_eq!(all(&mut hub), ["b", "reader", "next turn", "timer"]);
    }
}

#[test]
fn many_senders_lose_nothing_and_keep_their_own_order() {
    for &backend in backends() {
        let mut hub = Hub::with_backend(backend, Clock::monotonic()).expect("a hub");
        let senders: Vec<_> = (0..4_usize)
            .map(|who| {
                let inbox = hub.inbox();
                thread::spawn(move || {
                    (0..2000_usize).for_each(|n| inbox.send((who, n)).expect("open"))
                })
            })
            .collect();
        let mut next = [0; 4];
        while next.iter().sum::<usize>() < 8000 {
            match hub.next() {
                Some((who, n)) => {
                    assert_eq!(n, next[who]);
                    next[who] += 1;
                }
                None => wait(&mut hub),
            }
        }
        senders
            .into_iter()
            .for_each(|sender| sender.join().expect("no panic"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_outer_loop_can_watch_the_hub() {
    let readable = |fd| {
        let mut entry = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one live entry.
        unsafe { libc::poll(&raw mut entry, 1, 0) == 1 }
    };
    let (mut hub, _clock) = still(Backend::Epoll);
    let fd = hub.fd().expect("epoll has one");
    let (mut a, b) = UnixStream::pair().expect("a pair");
    hub.watch(b.as_raw_fd(), Interest::Read, "read")
        .expect("watches");
    let mut prepared = hub.begin_wait();
    assert!(!readable(fd));
    hub.inbox().send("mail").expect("open");
    assert!(readable(fd), "for mail");
    let result = prepared.poll_now();
    hub.end_wait(prepared, result).expect("polls");
    assert_eq!(hub.next(), Some("mail"));
    assert!(!readable(fd));
    a.write_all(b"x").expect("writes");
    assert!(readable(fd), "for a descriptor");
    poll(&mut hub);
    assert_eq!(hub.next(), Some("read"));
    assert!(!readable(fd));
}

#[test]
fn closing_a_descriptor_wakes_its_waiters_in_the_next_batch() {
    for &backend in backends() {
        let (mut hub, _clock) = still(backend);
        let (_a, b) = UnixStream::pair().expect("a pair");
        hub.wake("before");
        hub.watch(b.as_raw_fd(), Interest::Read, "read")
            .expect("watches");
        hub.watch(b.as_raw_fd(), Interest::Write, "write")
            .expect("watches");
        assert_eq!(hub.forget(b.as_raw_fd()), 2);
        drop(b);
        hub.wake("after");
        assert_eq!(all(&mut hub), ["before", "read", "write", "after"]);
        assert_eq!(hub.waiting_len(), 0);
    }
}

#[test]
fn a_forked_child_goes_on_alone() {
    for &backend in backends() {
        let mut hub = Hub::with_backend(backend, Clock::monotonic()).expect("a hub");
        let (mut a, b) = UnixStream::pair().expect("a pair");
        hub.watch(b.as_raw_fd(), Interest::Read, 1)
            .expect("watches");
        hub.at(hub.now(), 2);
        hub.wake(3);
        let inbox = hub.inbox();
        // SAFETY: the child makes system calls and uses its own memory, then exits.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let mut good = hub.reinit_after_fork().is_ok();
            good &= hub.next() == Some(3) && hub.next() == Some(2);
            // A ring in the child must not be heard by the parent.
            let prepared = hub.begin_wait();
            good &= inbox.send(4).is_ok();
            good &= hub.end_wait(prepared, Ok(())).is_ok() && hub.next() == Some(4);
            good &= hub.forget(b.as_raw_fd()) == 1;
            // SAFETY: ends the child without running the test harness's cleanup.
            unsafe { libc::_exit(if good { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: the child is ours, and the status is live.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0);
        assert_eq!(all(&mut hub), [3, 2]);
        poll(&mut hub);
        assert_eq!(hub.next(), None);
        a.write_all(b"x").expect("writes");
        wait(&mut hub);
        assert_eq!(hub.next(), Some(1), "still registered in the parent");
    }
}

#[test]
fn a_dropped_hub_refuses_mail_and_frees_everything() {
    let value = std::sync::Arc::new(());
    let mut hub = Hub::new().expect("a hub");
    let (_a, b) = UnixStream::pair().expect("a pair");
    hub.wake(value.clone());
    hub.at(hub.now(), value.clone());
    hub.watch(b.as_raw_fd(), Interest::Read, value.clone())
        .expect("watches");
    let inbox = hub.inbox();
    inbox.send(value.clone()).expect("open");
    assert_eq!(std::sync::Arc::strong_count(&value), 5);
    assert!(inbox.fd() >= 0);
    drop(hub);
    assert_eq!(inbox.fd(), -1, "its descriptor is closed");
    assert_eq!(std::sync::Arc::strong_count(&value), 1);
    assert!(inbox.send(value.clone()).is_err());
}

#[test]
fn draining_takes_everything_once() {
    let (mut hub, clock) = still(Backend::default());
    let (_a, b) = UnixStream::pair().expect("a pair");
    hub.at(at(1), 2);
    hub.at(at(1), 3);
    clock.set(at(1));
    hub.wake(1);
    assert_eq!(hub.next(), Some(1)); // 2 and 3 are ready now
    hub.wake(4);
    hub.at(at(9), 5);
    hub.watch(b.as_raw_fd(), Interest::Read, 6)
        .expect("watches");
    hub.inbox().send(7).expect("open");
    assert_eq!(hub.drain(), [2, 3, 4, 5, 6, 7]);
    assert_eq!(hub.next(), None);
    hub.wake(8);
    assert_eq!(all(&mut hub), [8]);
}

#[derive(Clone, Debug)]
enum Step {
    Wake,
    WakeMany(u8),
    At(u64),
    Cancel(usize),
    Advance(u64),
    Watch,
    Unwatch(usize),
    Send,
    Peek,
    Next,
    NextMany(u8),
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Wake),
        1 => (0_u8..100).prop_map(Step::WakeMany),
        4 => (0_u64..20).prop_map(Step::At),
        2 => any::<usize>().prop_map(Step::Cancel),
        3 => (0_u64..10).prop_map(Step::Advance),
        1 => (0_u64..60_000).prop_map(Step::Advance),
        3 => Just(Step::Watch),
        1 => any::<usize>().prop_map(Step::Unwatch),
        2 => Just(Step::Send),
        1 => Just(Step::Peek),
        12 => Just(Step::Next),
        1 => (0_u8..100).prop_map(Step::NextMany),
        2 => Just(Step::Poll),
    ]
}

/// The contract, written down as plainly as possible.
#[derive(Default)]
struct Model {
    now: u64,
    woken: Vec<u32>,
    timers: Vec<(u64, u32)>,
    waiting: Vec<u32>,
    mail: Vec<u32>,
    first: VecDeque<u32>,
    second: VecDeque<u32>,
    since_poll: usize,
    /// The last poll gave so much that the next would be due before the next turn, which must come first.
    flooded: bool,
    /// When the first turn since the last poll began with somebody waiting.
    polled: Option<u64>,
    /// Turns since then; the clock is not looked at in each.
    turns: usize,
}

impl Model {
    fn peek(&mut self) -> Option<u32> {
        if self.first.is_empty() && self.second.is_empty() {
            if self.since_poll >= POLL_EVERY && !std::mem::take(&mut self.flooded) {
                if !self.waiting.is_empty() {
                    return None;
                }
                self.since_poll = 0; // with nobody waiting there was nothing to ask
            }
            let busy = !self.woken.is_empty() || !self.timers.is_empty();
            if busy && !self.waiting.is_empty() {
                if [0, 1, 2, 4].contains(&self.turns) || self.turns % 8 == 0 {
                    let polled = *self.polled.get_or_insert(self.now);
                    if u128::from(self.now - polled) >= POLL_AFTER.as_nanos() {
                        return None;
                    }
                }
                self.turns += 1;
            }
            self.first.extend(self.woken.drain(..));
            let mut due: Vec<_> = self
                .timers
                .iter()
                .copied()
                .filter(|&(deadline, _)| deadline <= self.now)
                .collect();
            self.timers.retain(|&(deadline, _)| deadline > self.now);
            due.sort_unstable(); // values grow with age
            self.first.extend(due.into_iter().map(|(_, value)| value));
            self.second.extend(self.mail.drain(..));
        }
        self.first.front().or(self.second.front()).copied()
    }

    fn next(&mut self) -> Option<u32> {
        self.peek()?;
        self.since_poll += 1;
        self.first.pop_front().or_else(|| self.second.pop_front())
    }

    fn poll(&mut self) {
        self.second.extend(self.waiting.drain(..));
        self.second.extend(self.mail.drain(..));
        self.since_poll = 0;
        self.polled = None;
        self.turns = 0;
        self.flooded = self.first.len() + self.second.len() >= POLL_EVERY;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_hub_follows_the_model(
        steps in prop::collection::vec(step(), 1..200),
        backend in prop::sample::select(backends()),
    ) {
        let (mut hub, clock) = still::<u32>(backend);
        let inbox = hub.inbox();
        let file = regular();
        let mut model = Model::default();
        let mut fresh = 0..;
        let mut timers: Vec<(TimerKey, u32)> = Vec::new();
        let mut watches = Vec::new();
        for step in steps {
            match step {
                Step::Wake | Step::WakeMany(_) => {
                    let count = if let Step::WakeMany(count) = step { count } else { 1 };
                    for value in fresh.by_ref().take(count.into()) {
                        hub.wake(value);
                        model.woken.push(value);
                    }
                }
                Step::At(delay) => {
                    let value = fresh.next().expect("endless");
                    let deadline = model.now.saturating_sub(5) + delay;
                    timers.push((hub.at(at(deadline), value), value));
                    model.timers.push((deadline, value));
                }
                Step::Cancel(n) => if !timers.is_empty() {
                    let (key, value) = timers[n % timers.len()];
                    let pending = model.timers.iter().any(|&(_, v)| v == value);
                    model.timers.retain(|&(_, v)| v != value);
                    prop_assert_eq!(hub.cancel(key), pending.then_some(value));
                },
                Step::Advance(by) => {
                    model.now += by;
                    clock.advance(Duration::from_nanos(by));
                }
                Step::Watch => {
                    let value = fresh.next().expect("endless");
                    let key = hub.watch(file.as_raw_fd(), Interest::Read, value);
                    watches.push((key.expect("watches"), value));
                    model.waiting.push(value);
                }
                Step::Unwatch(n) => if !watches.is_empty() {
                    let (key, value) = watches[n % watches.len()];
                    let waiting = model.waiting.contains(&value);
                    model.waiting.retain(|&v| v != value);
                    prop_assert_eq!(hub.unwatch(key), waiting.then_some(value));
                },
                Step::Send => {
                    let value = fresh.next().expect("endless");
                    prop_assert!(inbox.send(value).is_ok());
                    model.mail.push(value);
                }
                Step::Peek => prop_assert_eq!(hub.peek().copied(), model.peek()),
                Step::Next | Step::NextMany(_) => {
                    let count = if let Step::NextMany(count) = step { count } else { 1 };
                    for _ in 0..count {
                        let got = hub.next();
                        prop_assert_eq!(got, model.next());
                        if got.is_none() {
                            break;
                        }
                    }
                }
                Step::Poll => {
                    poll(&mut hub);
                    model.poll();
                }
            }
            prop_assert_eq!(hub.waiting_len(), model.waiting.len());
            prop_assert_eq!(hub.timers_len(), model.timers.len());
        }
        // Everything comes out in the end, in the model's order, and then nothing more.
        model.now += 1000;
        clock.advance(Duration::from_nanos(1000));
        for _ in 0..10 {
            loop {
                let got = hub.next();
                prop_assert_eq!(got, model.next());
                if got.is_none() {
                    break;
                }
            }
            poll(&mut hub);
            model.poll();
        }
        prop_assert_eq!((hub.ready_len(), hub.waiting_len(), hub.timers_len()), (0, 0, 0));
    }
}
