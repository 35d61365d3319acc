//! The engine against its peers, in one run: `cargo bench -p eventlet`.
//!
//! Each row is one kind of work, written for every contender as that contender's users would write
//! it: this crate, tokio's current-thread runtime, `may` with one worker, corosensei where it has
//! something to compare, and plain system calls as the floor. All work happens on one OS thread (two
//! for `may`, whose main thread waits). The contenders take turns, so that what else the machine
//! does hits all of them; a cell is the median of the repeats, in nanoseconds of processor time per
//! operation.
//!
//! `cargo bench -p eventlet -- WORD…` runs the rows whose name contains one of the words;
//! `--quick` does a tenth of the work.

mod corosensei_side;
#[allow(unsafe_code, reason = "may calls spawning unsafe")]
mod may_side;
#[allow(unsafe_code, reason = "a bare switch between fibers is unsafe")]
mod ours;
mod plain;
#[allow(unsafe_code, reason = "asks the system for processor time")]
mod stopwatch;
mod table;
mod tokio_side;

use table::Row;

fn main() {
    may::config().set_workers(1).set_stack_size(0x8000);
    let rows = [
        Row::new("switch, there and back", 5_000_000)
            .reach(5.0)
            .ours(ours::switch)
            .corosensei(corosensei_side::switch),
        Row::new("yield among 2", 2_000_000)
            .ours(|n| ours::yield_among(2, n))
            .tokio(|n| tokio_side::yield_among(2, n))
            .may(|n| may_side::yield_among(2, n)),
        Row::new("yield among 1000", 2_000_000)
            .reach(12.0)
            .ours(|n| ours::yield_among(1000, n))
            .tokio(|n| tokio_side::yield_among(1000, n))
            .may(|n| may_side::yield_among(1000, n)),
        Row::new("spawn + join", 500_000)
            .reach(50.0)
            .ours(ours::spawn_join)
            .tokio(tokio_side::spawn_join)
            .may(may_side::spawn_join)
            .corosensei(corosensei_side::create_run),
        Row::new("spawn 1000, join all", 500_000)
            .ours(ours::spawn_many)
            .tokio(tokio_side::spawn_many)
            .may(may_side::spawn_many),
        Row::new("channel, there and back", 1_000_000)
            .reach(30.0)
            .ours(ours::channel)
            .tokio(tokio_side::channel)
            .may(may_side::channel),
        Row::new("channel with timeout, there and back", 500_000)
            .ours(ours::channel_timeout)
            .tokio(tokio_side::channel_timeout),
        Row::new("semaphore handed over", 1_000_000)
            .ours(ours::semaphore)
            .tokio(tokio_side::semaphore)
            .may(may_side::semaphore),
        Row::new("sleep, 10,000 threads at once, each", 10_000)
            .ours(ours::sleeps)
            .tokio(tokio_side::sleeps)
            .may(may_side::sleeps),
        Row::new("TCP echo of 64 bytes, 1 connection", 20_000)
            .ours(|n| ours::echo(1, n))
            .tokio(|n| tokio_side::echo(1, n))
            .may(|n| may_side::echo(1, n))
            .plain(plain::echo),
        Row::new("TCP echo of 64 bytes, 100 connections", 50_000)
            .ours(|n| ours::echo(100, n))
            .tokio(|n| tokio_side::echo(100, n))
            .may(|n| may_side::echo(100, n)),
    ];
    table::run(&rows, 9);
}
