//! A hub inside an outer loop: its descriptor and its deadline tell all that the loop has to know.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "polls by hand")]

use eventlet::clock::{Clock, Instant};
use eventlet::hub::{Hub, POLL_EVERY};
use eventlet::reactor::{Backend, Interest};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

const TURN: Duration = Duration::from_micros(200);

/// A hub whose clock stands at 1 ns, outside of a turn, and the clock.
fn outside<T>() -> (Hub<T>, Clock) {
    let clock = Clock::settable(Instant::from_nanos(1));
    let mut hub = Hub::with_backend(Backend::Epoll, clock.clone()).expect("a hub");
    assert_eq!(hub.leave(), None);
    (hub, clock)
}

/// Whether the hub's descriptor is readable.
fn rings<T>(hub: &Hub<T>) -> bool {
    let mut poll = libc::pollfd {
        fd: hub.fd().expect("epoll has one"),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one live pollfd.
    let count = unsafe { libc::poll(&raw mut poll, 1, 0) };
    count == 1
}

/// One turn: what came out, and how long until the next is wanted.
fn turn<T>(hub: &mut Hub<T>) -> (Vec<T>, Option<Duration>) {
    hub.enter(TURN);
    let mut wait = hub.begin_wait();
    let result = wait.poll_now();
    hub.end_wait(wait, result).expect("polls");
    let mut all = Vec::new();
    while let Some(value) = hub.next() {
        all.push(value);
    }
    let wanted = hub.leave();
    (all, wanted)
}

#[test]
fn whatever_becomes_ready_outside_of_a_turn_rings_once() {
    let (mut hub, _) = outside();
    assert!(!rings(&hub));
    hub.wake('a');
    hub.wake('b');
    assert!(rings(&hub));
    assert_eq!(turn(&mut hub), (vec!['a', 'b'], None));
    assert!(!rings(&hub), "the turn has taken it in");
}

#[test]
fn a_timer_that_is_set_outside_of_a_turn_rings_so_that_the_loop_hears_of_the_deadline() {
    let (mut hub, clock) = outside();
    hub.at(Instant::from_nanos(101), 't');
    assert!(rings(&hub));
    assert_eq!(turn(&mut hub), (vec![], Some(Duration::from_nanos(100))));
    clock.advance(Duration::from_nanos(100));
    assert_eq!(turn(&mut hub), (vec!['t'], None));
}

#[test]
fn a_descriptor_rings_when_it_is_ready() {
    let (mut hub, _) = outside();
    let (here, mut there) = UnixStream::pair().expect("a pair");
    hub.watch(here.as_raw_fd(), Interest::Read, 'r')
        .expect("watched");
    assert_eq!(turn(&mut hub), (vec![], None));
    assert!(!rings(&hub));
    there.write_all(b"!").expect("written");
    assert!(rings(&hub));
    assert_eq!(turn(&mut hub), (vec!['r'], None));
}

#[test]
fn mail_rings() {
    let (mut hub, _) = outside();
    let inbox = hub.inbox();
    thread::spawn(move || inbox.send('m').expect("open"))
        .join()
        .expect("sent");
    assert!(rings(&hub));
    assert_eq!(turn(&mut hub), (vec!['m'], None));
}

#[test]
fn what_is_left_over_rings_at_once() {
    let (mut hub, _) = outside();
    hub.enter(TURN);
    hub.wake('x');
    assert_eq!(hub.leave(), Some(Duration::ZERO));
    assert!(rings(&hub));
    assert_eq!(turn(&mut hub), (vec!['x'], None));
}

#[test]
fn a_turn_ends_when_enough_were_handed_out_and_its_time_is_over() {
    let (mut hub, clock) = outside();
    hub.enter(TURN);
    hub.wake(0);
    let mut count = 0;
    // Each wakes the next: without a limit it would go on for ever.
    while let Some(n) = hub.next() {
        hub.wake(n + 1);
        count += 1;
        assert!(count <= 2 * POLL_EVERY, "the turn does not end");
        if count == POLL_EVERY {
            clock.advance(TURN);
        }
    }
    assert_eq!(count, POLL_EVERY, "not before its time was over");
    assert!(hub.is_turn_over());
    assert_eq!(hub.leave(), Some(Duration::ZERO));
}

#[test]
fn descriptors_that_are_always_ready_starve_neither_wakes_nor_the_outer_loop() {
    let (mut hub, clock) = outside();
    let file = File::open("/proc/self/exe").expect("opens"); // ready at every poll
    for _ in 0..POLL_EVERY {
        hub.watch(file.as_raw_fd(), Interest::Read, "busy")
            .expect("watched");
    }
    hub.wake("woken");
    let mut log = Vec::new();
    hub.enter(TURN);
    // As a driver takes its turn; each descriptor is watched again at once, and time is over soon.
    for polls in 0.. {
        assert!(polls < 3, "the turn does not end");
        let mut wait = hub.begin_wait();
        let result = wait.poll_now();
        hub.end_wait(wait, result).expect("polls");
        while let Some(name) = hub.next() {
            log.push(name);
            clock.advance(TURN);
            if name == "busy" {
                hub.watch(file.as_raw_fd(), Interest::Read, name)
                    .expect("watched");
            }
        }
        if hub.is_turn_over() {
            break;
        }
    }
    assert_eq!(log.last(), Some(&"woken"), "its turn comes in any case");
    assert_eq!(log.len(), POLL_EVERY + 1);
}

#[test]
fn a_hub_without_an_outer_loop_has_no_turns() {
    let mut hub = Hub::new().expect("a hub");
    for n in 0..10 * POLL_EVERY {
        hub.wake(n);
        assert_eq!(hub.next(), Some(n));
    }
    assert!(!hub.is_turn_over() && !rings(&hub));
}
