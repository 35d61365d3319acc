//! Waiting for descriptors: every test runs on both back ends.
#![allow(
    unsafe_code,
    reason = "descriptors are closed, doubled and forked by hand"
)]

use eventlet::reactor::{Backend, Interest, Reactor};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Once;
use std::time::{Duration, Instant};

use Interest::{Read as R, Write as W};

const NOW: Option<Duration> = Some(Duration::ZERO);
/// Long enough for anything that is going to happen.
const SOON: Option<Duration> = Some(Duration::from_secs(20));

/// Makes each test into one per back end.
macro_rules! on_both {
    ($($(#[$meta:meta])* fn $name:ident($reactor:ident: Reactor<$t:ty>) $body:block)*) => {
        $(mod $name {
            use super::*;
            fn body(mut $reactor: Reactor<$t>) $body
            #[cfg(target_os = "linux")]
            $(#[$meta])*
            #[test]
            fn epoll() {
                body(Reactor::with_backend(Backend::Epoll).expect("a reactor"));
            }
            $(#[$meta])*
            #[test]
            fn poll() {
                body(Reactor::with_backend(Backend::Poll).expect("a reactor"));
            }
        })*
    };
}

fn pair() -> (UnixStream, UnixStream) {
    static PLENTY: Once = Once::new();
    PLENTY.call_once(allow_plenty);
    let (a, b) = UnixStream::pair().expect("a pair");
    a.set_nonblocking(true).expect("non-blocking");
    b.set_nonblocking(true).expect("non-blocking");
    (a, b)
}

/// Raises the soft limit of open descriptors to the hard one.
fn allow_plenty() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is valid to write to.
    let status = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(status, 0);
    limit.rlim_cur = limit.rlim_max.min(100_000);
    // SAFETY: the structure is valid.
    let status = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(status, 0);
}

fn block<T>(reactor: &mut Reactor<T>, timeout: Option<Duration>) -> Vec<T> {
    let mut ready = Vec::new();
    let count = reactor.block(&mut ready, timeout).expect("blocks");
    assert_eq!(count, ready.len());
    ready
}

fn fill(stream: &mut UnixStream) {
    while stream.write(&[0; 65_536]).is_ok() {}
}

fn empty(stream: &mut UnixStream) {
    while matches!(stream.read(&mut [0; 65_536]), Ok(n) if n > 0) {}
}

/// A number that no descriptor of this process ever has.
const CLOSED: RawFd = 900_000;

fn close(fd: RawFd) {
    // SAFETY: the callers own the descriptor.
    assert_eq!(unsafe { libc::close(fd) }, 0);
}

/// Puts `what` under the number `place`, closing what was there.
fn put(what: &impl AsRawFd, place: RawFd) {
    // SAFETY: the callers own both.
    assert_eq!(unsafe { libc::dup2(what.as_raw_fd(), place) }, place);
}

/// Moves a stream to a number that no other test's descriptor can take when it is closed.
fn moved(stream: UnixStream, least: RawFd) -> RawFd {
    // SAFETY: doubles a descriptor of ours; the old one is closed on return.
    let fd = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) };
    assert!(fd >= least, "{}", io::Error::last_os_error());
    fd
}

on_both! {
    fn readable_when_data_arrives(reactor: Reactor<&'static str>) {
        let (mut a, b) = pair();
        reactor.watch(b.as_raw_fd(), R, "b").expect("watches");
        assert!(block(&mut reactor, NOW).is_empty());
        assert_eq!(reactor.waiting(), 1);
        a.write_all(b"x").expect("writes");
        assert_eq!(block(&mut reactor, None), ["b"]);
        assert_eq!(reactor.waiting(), 0);
        assert!(block(&mut reactor, NOW).is_empty(), "once only");
        reactor.watch(b.as_raw_fd(), R, "again").expect("watches");
        assert_eq!(block(&mut reactor, None), ["again"], "there is still data");
    }

    fn writable_when_there_is_room(reactor: Reactor<u8>) {
        let (mut a, mut b) = pair();
        reactor.watch(a.as_raw_fd(), W, 1).expect("watches");
        assert_eq!(block(&mut reactor, None), [1]);
        fill(&mut a);
        reactor.watch(a.as_raw_fd(), W, 2).expect("watches");
        assert!(block(&mut reactor, NOW).is_empty());
        empty(&mut b);
        assert_eq!(block(&mut reactor, None), [2]);
    }

    fn all_waiters_of_one_interest_come_out_in_order(reactor: Reactor<u8>) {
        let (mut a, mut b) = pair();
        fill(&mut b);
        for n in 0..5 {
            reactor.watch(b.as_raw_fd(), R, n).expect("watches");
            reactor.watch(b.as_raw_fd(), W, 10 + n).expect("watches");
        }
        a.write_all(b"x").expect("writes");
        assert_eq!(block(&mut reactor, None), [0, 1, 2, 3, 4]);
        assert!(block(&mut reactor, NOW).is_empty());
        empty(&mut a);
        assert_eq!(block(&mut reactor, None), [10, 11, 12, 13, 14], "still armed for writing");
    }

    fn hang_up_concerns_both_interests(reactor: Reactor<u8>) {
        let (a, mut b) = pair();
        fill(&mut b);
        reactor.watch(b.as_raw_fd(), R, 1).expect("watches");
        reactor.watch(b.as_raw_fd(), W, 2).expect("watches");
        drop(a);
        assert_eq!(block(&mut reactor, None), [1, 2]);
    }

    fn a_refused_connection_is_reported(reactor: Reactor<()>) {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
            listener.local_addr().expect("address")
        };
        // SAFETY: takes no pointers.
        let fd = unsafe {
            libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)
        };
        // SAFETY: the descriptor is new.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let sockaddr = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        let size = size_of_val(&sockaddr) as libc::socklen_t;
        // SAFETY: the address is live and of the stated size.
        unsafe { libc::connect(fd, (&raw const sockaddr).cast(), size) };
        reactor.watch(socket.as_raw_fd(), W, ()).expect("watches");
        assert_eq!(block(&mut reactor, SOON).len(), 1);
        let stream = TcpStream::from(socket);
        let error = stream.take_error().expect("asks").expect("an error");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }

    fn unwatched_waiters_stay_silent_and_the_others_come(reactor: Reactor<u8>) {
        let (mut a, b) = pair();
        let keys: Vec<_> =
            (0..5).map(|n| reactor.watch(b.as_raw_fd(), R, n).expect("watches")).collect();
        assert_eq!(reactor.unwatch(keys[0]), Some(0));
        assert_eq!(reactor.unwatch(keys[2]), Some(2));
        assert_eq!(reactor.unwatch(keys[4]), Some(4));
        assert_eq!(reactor.unwatch(keys[4]), None);
        a.write_all(b"x").expect("writes");
        assert_eq!(block(&mut reactor, None), [1, 3]);
        assert_eq!(reactor.unwatch(keys[1]), None, "delivered");
        let fresh = reactor.watch(b.as_raw_fd(), R, 9).expect("watches");
        assert_eq!(reactor.unwatch(keys[3]), None, "an old key does not name a new waiter");
        assert_eq!(reactor.unwatch(fresh), Some(9));
        assert!(block(&mut reactor, NOW).is_empty(), "an event without waiters is dropped");
    }

    fn a_key_of_another_reactor_breaks_no_list(reactor: Reactor<u8>) {
        let (_a, b) = pair();
        let (_c, d) = pair();
        let mut other = Reactor::with_backend(reactor.backend()).expect("a reactor");
        other.watch(d.as_raw_fd(), W, 0).expect("watches");
        let keys: Vec<_> =
            (1..4).map(|n| other.watch(b.as_raw_fd(), R, n).expect("watches")).collect();
        for _ in 0..3 {
            reactor.watch(d.as_raw_fd(), R, 7).expect("watches");
        }
        assert_eq!(reactor.unwatch(keys[2]), None, "it has no such descriptor");
        reactor.watch(b.as_raw_fd(), R, 8).expect("watches");
        assert_eq!(reactor.unwatch(keys[1]), None, "it is the last of another list");
        assert_eq!(reactor.drain(), [8, 7, 7, 7], "by descriptor");
        assert_eq!(reactor.waiting(), 0);
    }

    fn forgetting_brings_all_out_and_frees_the_number(reactor: Reactor<u8>) {
        let (a, b) = pair();
        let (mut c, d) = pair();
        let place = moved(b, 950);
        reactor.watch(place, R, 1).expect("watches");
        reactor.watch(place, W, 2).expect("watches");
        assert_eq!(reactor.forget(place), [1, 2]);
        assert_eq!(reactor.forget(place), []);
        assert_eq!(reactor.waiting(), 0);
        put(&d, place);
        reactor.watch(place, R, 3).expect("watches");
        drop(a);
        assert!(block(&mut reactor, NOW).is_empty(), "the old file does not matter");
        c.write_all(b"x").expect("writes");
        assert_eq!(block(&mut reactor, None), [3]);
        close(place);
    }

    fn a_number_reused_without_forgetting_still_works(reactor: Reactor<u8>) {
        let (_a, b) = pair();
        let (mut c, d) = pair();
        let place = moved(b, 1000);
        let stale = reactor.watch(place, R, 1).expect("watches");
        put(&d, place); // closes the watched file and takes its number
        reactor.watch(place, R, 2).expect("watches");
        c.write_all(b"x").expect("writes");
        assert_eq!(block(&mut reactor, None), [1, 2], "both look again");
        assert_eq!(reactor.unwatch(stale), None);
        // The same after a waiter was taken back: what the kernel is armed for is not known.
        let (mut e, f) = pair();
        let key = reactor.watch(place, R, 3).expect("watches");
        assert_eq!(reactor.unwatch(key), Some(3));
        put(&f, place);
        reactor.watch(place, R, 4).expect("watches");
        e.write_all(b"x").expect("writes");
        assert_eq!(block(&mut reactor, None), [4]);
        close(place);
    }

    fn a_doubled_descriptor_does_not_confuse(reactor: Reactor<u8>) {
        let (mut a, b) = pair();
        let (mut c, d) = pair();
        let place = moved(b.try_clone().expect("doubles"), 1050);
        reactor.watch(place, R, 1).expect("watches");
        put(&d, place); // the file lives on through `b`, registered under a number that is now d's
        reactor.watch(place, R, 2).expect("watches");
        a.write_all(b"x").expect("writes");
        let mut all = block(&mut reactor, Some(Duration::from_millis(20)));
        c.write_all(b"x").expect("writes");
        if all.is_empty() {
            all = block(&mut reactor, None);
        }
        assert_eq!(all, [1, 2], "each exactly once");
        reactor.watch(place, R, 3).expect("watches");
        assert_eq!(block(&mut reactor, None), [3]);
        close(place);
    }

    fn bad_descriptors_are_errors(reactor: Reactor<u8>) {
        for fd in [-1, RawFd::MIN, CLOSED, RawFd::MAX] {
            let error = reactor.watch(fd, R, 1).expect_err("not open");
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{fd}");
            let error = reactor.adopt(fd).expect_err("not open");
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{fd}");
            assert!(reactor.forget(fd).is_empty());
        }
        assert_eq!(reactor.waiting(), 0);
        assert!(block(&mut reactor, NOW).is_empty());
    }

    fn regular_files_are_always_ready(reactor: Reactor<u8>) {
        let file = File::open("/proc/self/exe").expect("opens");
        let key = reactor.watch(file.as_raw_fd(), R, 1).expect("watches");
        reactor.watch(file.as_raw_fd(), R, 2).expect("watches");
        assert_eq!(reactor.unwatch(key), Some(1));
        reactor.watch(file.as_raw_fd(), W, 3).expect("watches");
        assert_eq!(reactor.waiting(), 2);
        assert_eq!(block(&mut reactor, None), [2, 3]);
        assert_eq!(reactor.waiting(), 0);
    }

    fn descriptors_beyond_1024(reactor: Reactor<RawFd>) {
        let (mut a, b) = pair();
        let high = moved(b, 3000);
        reactor.watch(high, R, high).expect("watches");
        a.write_all(b"x").expect("writes");
        assert_eq!(block(&mut reactor, None), [high]);
        close(high);
    }

    fn timeouts_are_kept_and_not_cut_short(reactor: Reactor<()>) {
        let (_a, b) = pair();
        reactor.watch(b.as_raw_fd(), R, ()).expect("watches");
        for micros in [200, 1500, 10_000] {
            let timeout = Duration::from_micros(micros);
            let start = Instant::now();
            assert!(block(&mut reactor, Some(timeout)).is_empty());
            assert!(start.elapsed() >= timeout, "{:?} of {timeout:?}", start.elapsed());
        }
        let (mut c, d) = pair();
        c.write_all(b"x").expect("writes");
        reactor.watch(d.as_raw_fd(), R, ()).expect("watches");
        assert_eq!(block(&mut reactor, Some(Duration::MAX)).len(), 1, "no overflow");
    }

    fn signals_end_the_wait_without_error(reactor: Reactor<()>) {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: all zero is a valid start: no flags (so no SA_RESTART), an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        // SAFETY: the handler does nothing, which is safe at any time.
        unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
        // SAFETY: asks for the thread's own name.
        let me = unsafe { libc::pthread_self() } as usize;
        let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stop = done.clone();
        let sender = std::thread::spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                // SAFETY: the thread is alive until it sets `done`.
                unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let (_a, b) = pair();
        reactor.watch(b.as_raw_fd(), R, ()).expect("watches");
        let ready = block(&mut reactor, SOON); // an EINTR would be an error here
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        sender.join().expect("no panic");
        assert!(ready.is_empty());
        assert_eq!(reactor.waiting(), 1, "and nothing is lost");
    }

    fn adopted_descriptors_need_no_arming(reactor: Reactor<u8>) {
        let (mut a, mut b) = pair();
        let token = reactor.adopt(b.as_raw_fd()).expect("adopts");
        assert!(reactor.is_ready(token, R) && reactor.is_ready(token, W), "try first");
        for round in 0..3 {
            reactor.clear_ready(token, R); // as after EAGAIN
            let reader = reactor.watch_token(token, R, round);
            let unwanted = reactor.watch_token(token, R, 99);
            assert_eq!(reactor.unwatch(unwanted), Some(99));
            assert!(block(&mut reactor, NOW).is_empty());
            a.write_all(b"xy").expect("writes");
            assert_eq!(block(&mut reactor, None), [round]);
            assert_eq!(reactor.unwatch(reader), None);
            assert!(reactor.is_ready(token, R));
            empty(&mut b);
        }
        fill(&mut b);
        assert!(reactor.take_ready(token, W), "as far as it knows");
        assert!(!reactor.take_ready(token, W));
        reactor.watch_token(token, W, 7);
        assert!(block(&mut reactor, NOW).is_empty());
        empty(&mut a);
        assert_eq!(block(&mut reactor, None), [7]);
        assert_eq!(reactor.release(token), []);
    }

    fn a_token_marked_ready_does_not_wait(reactor: Reactor<u8>) {
        let (_a, b) = pair();
        let token = reactor.adopt(b.as_raw_fd()).expect("adopts");
        reactor.watch_token(token, R, 1);
        assert_eq!(block(&mut reactor, None), [1], "look again");
        reactor.watch_token(token, R, 2);
        assert!(block(&mut reactor, NOW).is_empty(), "but only once");
        assert_eq!(reactor.release(token), [2]);
        assert!(reactor.is_ready(token, R), "released: try, and see the error");
        reactor.watch_token(token, R, 3);
        assert_eq!(block(&mut reactor, None), [3]);
        assert_eq!(reactor.release(token), []);
    }

    fn released_tokens_do_not_name_the_next_file(reactor: Reactor<u8>) {
        let (_a, b) = pair();
        let (mut c, d) = pair();
        let place = moved(b, 1100);
        let old = reactor.adopt(place).expect("adopts");
        reactor.clear_ready(old, R);
        reactor.watch_token(old, R, 1);
        reactor.clear_ready(old, W);
        reactor.watch_token(old, W, 2);
        assert_eq!(reactor.release(old), [1, 2]);
        put(&d, place);
        let new = reactor.adopt(place).expect("adopts");
        assert_ne!(old, new);
        reactor.clear_ready(new, R);
        reactor.take_ready(old, R);
        reactor.watch_token(new, R, 3);
        assert_eq!(reactor.release(old), [], "dead");
        c.write_all(b"x").expect("writes");
        assert_eq!(block(&mut reactor, None), [3]);
        assert_eq!(reactor.release(new), []);
        close(place);
    }

    fn an_adopted_number_reused_without_release(reactor: Reactor<u8>) {
        let (_a, b) = pair();
        let (mut c, d) = pair();
        let place = moved(b, 1150);
        let old = reactor.adopt(place).expect("adopts");
        reactor.clear_ready(old, R);
        reactor.watch_token(old, R, 1);
        put(&d, place);
        let new = reactor.adopt(place).expect("adopts");
        reactor.clear_ready(new, R);
        reactor.watch_token(new, R, 2);
        c.write_all(b"x").expect("writes");
        let mut all = block(&mut reactor, None);
        if all.len() < 2 {
            all.extend(block(&mut reactor, SOON));
        }
        assert_eq!(all, [1, 2], "the stranded one looks again, the new one works");
        close(place);
    }

    fn two_owners_of_one_descriptor(reactor: Reactor<u8>) {
        let (mut a, b) = pair();
        let one = reactor.adopt(b.as_raw_fd()).expect("adopts");
        let two = reactor.adopt(b.as_raw_fd()).expect("adopts");
        reactor.clear_ready(two, R);
        reactor.watch_token(two, R, 2);
        assert_eq!(reactor.release(one), [2], "it may be about to be closed: look again");
        reactor.clear_ready(two, R);
        reactor.watch_token(two, R, 3);
        a.write_all(b"x").expect("writes");
        assert_eq!(block(&mut reactor, None), [3]);
        reactor.release(two);
    }

    fn watching_an_adopted_descriptor_asks_for_its_present_state(reactor: Reactor<u8>) {
        let (mut a, b) = pair();
        let token = reactor.adopt(b.as_raw_fd()).expect("adopts");
        block(&mut reactor, NOW);
        a.write_all(b"xy").expect("writes");
        reactor.clear_ready(token, R);
        reactor.watch_token(token, R, 1);
        assert_eq!(block(&mut reactor, None), [1]);
        // The edge is used up, but there is data: a stranger must be told.
        reactor.watch(b.as_raw_fd(), R, 2).expect("watches");
        assert_eq!(block(&mut reactor, SOON), [2]);
        reactor.release(token);
    }

    fn adopting_a_watched_descriptor_keeps_its_waiters(reactor: Reactor<u8>) {
        let (mut a, b) = pair();
        reactor.watch(b.as_raw_fd(), R, 1).expect("watches");
        let token = reactor.adopt(b.as_raw_fd()).expect("adopts");
        a.write_all(b"x").expect("writes");
        assert_eq!(block(&mut reactor, None), [1]);
        reactor.release(token);
        reactor.watch(b.as_raw_fd(), R, 2).expect("watches");
        assert_eq!(block(&mut reactor, SOON), [2], "and it can be watched afterwards");
    }

    fn the_end_of_a_pipe_behind_its_last_data(reactor: Reactor<u8>) {
        let mut ends = [0; 2];
        // SAFETY: there is room for two.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        // SAFETY: the descriptors are new.
        let (mut read, mut write) = unsafe { (File::from_raw_fd(ends[0]), ends[1]) };
        // SAFETY: likewise.
        let mut writer = unsafe { File::from_raw_fd(std::mem::replace(&mut write, -1)) };
        let token = reactor.adopt(read.as_raw_fd()).expect("adopts");
        reactor.clear_ready(token, R);
        reactor.watch_token(token, R, 1);
        writer.write_all(b"last").expect("writes");
        drop(writer);
        assert_eq!(block(&mut reactor, None), [1]);
        assert_eq!(read.read(&mut [0; 10]).expect("reads"), 4);
        reactor.drained(token);
        if !reactor.is_ready(token, R) {
            reactor.watch_token(token, R, 2);
            assert_eq!(block(&mut reactor, SOON), [2], "the end is not missed");
        }
        assert_eq!(read.read(&mut [0; 10]).expect("reads"), 0);
        reactor.release(token);
    }

    fn everything_comes_out_exactly_once_under_load(reactor: Reactor<usize>) {
        // More descriptors than one wait takes events.
        let mut pairs: Vec<_> = (0..700).map(|_| pair()).collect();
        for round in 0..3 {
            for (n, (_, b)) in pairs.iter().enumerate() {
                reactor.watch(b.as_raw_fd(), R, n).expect("watches");
            }
            for (a, _) in &mut pairs {
                a.write_all(b"x").expect("writes");
            }
            let mut seen = vec![0; pairs.len()];
            while reactor.waiting() > 0 {
                for n in block(&mut reactor, None) {
                    seen[n] += 1;
                    assert_eq!(pairs[n].1.read(&mut [0; 8]).expect("reads"), 1, "{n}");
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "round {round}");
        }
    }

    fn drained_at_the_end(reactor: Reactor<u8>) {
        let (_a, b) = pair();
        let file = File::open("/proc/self/exe").expect("opens");
        reactor.watch(b.as_raw_fd(), R, 1).expect("watches");
        reactor.watch(file.as_raw_fd(), R, 2).expect("watches");
        let mut all = reactor.drain();
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
        assert_eq!(reactor.waiting(), 0);
    }

    fn a_forked_child_has_its_own_registrations(reactor: Reactor<u8>) {
        let (mut a, mut b) = pair();
        let (mut c, d) = pair();
        let (mut signal, mut wait) = pair();
        reactor.watch(b.as_raw_fd(), R, 1).expect("watches");
        let token = reactor.adopt(d.as_raw_fd()).expect("adopts");
        reactor.clear_ready(token, R);
        reactor.watch_token(token, R, 2);
        // SAFETY: the child only makes system calls and uses memory of its own, then exits.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let good = reactor.reinit().is_ok()
                && signal.write_all(b"!").is_ok()
                && { // gone from the child's reactor, which must not concern the parent's
                    let gone = reactor.forget(b.as_raw_fd());
                    gone == [1]
                }
                && {
                    let mut ready = Vec::new();
                    while ready.is_empty() {
                        if reactor.block(&mut ready, SOON).is_err() {
                            break;
                        }
                    }
                    ready == [2]
                };
            // SAFETY: ends the child without running the test harness's cleanup.
            unsafe { libc::_exit(if good { 0 } else { 1 }) };
        }
        wait.set_nonblocking(false).expect("blocking");
        wait.read_exact(&mut [0]).expect("the child has its own reactor");
        c.write_all(b"x").expect("writes");
        let mut status = 0;
        // SAFETY: the child is ours, and the status is live.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0, "the child was not told, or told wrongly");
        assert_eq!(block(&mut reactor, None), [2], "the parent sees its own event");
        a.write_all(b"x").expect("writes");
        assert_eq!(block(&mut reactor, SOON), [1], "the child's forgetting was its own");
        empty(&mut b);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn exhausted_descriptors_are_an_error() {
    let status = std::process::Command::new(std::env::current_exe().expect("own path"))
        .args(["exhaust", "--exact", "--ignored", "--test-threads=1"])
        .output()
        .expect("starts")
        .status;
    assert!(status.success(), "{status}");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "limits the whole process; run by exhausted_descriptors_are_an_error"]
fn exhaust() {
    let mut spare = Vec::new();
    let mut reactor = Reactor::new().expect("a reactor");
    let (a, _b) = pair();
    // SAFETY: the structure is valid; this process is ours alone.
    let limit = libc::rlimit {
        rlim_cur: 64,
        rlim_max: 64,
    };
    // SAFETY: as above.
    let status = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(status, 0);
    while let Ok(file) = File::open("/dev/null") {
        spare.push(file.into_raw_fd());
    }
    let error = Reactor::<()>::new().expect_err("no descriptor left");
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    let error = eventlet::hub::Hub::<()>::new().expect_err("no descriptor left");
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    reactor.watch(a.as_raw_fd(), W, 'w').expect("needs none");
    assert_eq!(
        reactor.reinit().expect_err("needs one").raw_os_error(),
        Some(libc::EMFILE)
    );
    assert_eq!(block(&mut reactor, None), ['w'], "nothing has changed");
    spare.into_iter().for_each(close);
}
