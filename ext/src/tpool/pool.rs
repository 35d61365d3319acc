//! `Pool`: OS threads that take jobs first in, first out. Knows nothing of Python but who may hold the GIL.
//!
//! A thread is wanted when a job comes for which none is idle or starting, up to the limit; it then stays. Stopping
//! lets the threads finish the queue first. Invariants: the mutex is never held while somebody waits for the GIL,
//! and jobs run outside of it. A `fork` may copy it locked: the child makes new pools and forgets these.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::gil::Gil;
use crate::hub::Letter;

/// What a thread of the pool does.
pub trait Job: Send {
    /// Runs in a thread of the pool, which does not hold the GIL and gets it from `gil`. Gives the wake-up of who
    /// waits for it, which is sent when the thread counts as idle again.
    fn run(self: Box<Self>, gil: &Gil) -> Option<Letter>;
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Box<dyn Job>>,
    /// Threads, those included that are only being started.
    threads: usize,
    starting: usize,
    idle: usize,
    stopping: bool,
    /// Who waits for the end of the last thread.
    mourners: Vec<Letter>,
}

/// OS threads and their queue.
pub struct Pool {
    limit: usize,
    state: Mutex<State>,
    work: Condvar,
    ended: Condvar,
}

thread_local! {
    static MEMBER: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling OS thread belongs to a pool.
pub fn is_member() -> bool {
    MEMBER.get()
}

static PENDING: AtomicUsize = AtomicUsize::new(0);

/// Number of jobs of all pools that wait for a thread or run.
pub fn pending() -> usize {
    PENDING.load(Ordering::Relaxed)
}

/// In a forked child: the jobs of the parent's threads are not its own.
pub fn forget_pending() {
    PENDING.store(0, Ordering::Relaxed);
}

/// Sends a letter from a thread without the GIL.
fn deliver(letter: Option<Letter>, gil: &Gil) {
    if let Some(Err(letter)) = letter.map(Letter::send) {
        gil.hold(|_| drop(letter)); // the hub has ended
    }
}

impl Pool {
    /// A pool without threads yet, of at most `limit`.
    pub fn new(limit: usize) -> Pool {
        Pool {
            limit,
            state: Mutex::default(),
            work: Condvar::new(),
            ended: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Most threads that it may have.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Number of jobs that wait for a thread.
    pub fn queued(&self) -> usize {
        self.state().jobs.len()
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.state().threads
    }

    /// Whether the caller should start a thread before its next `push`. If so the thread counts already:
    /// it must call `serve`, or the caller `not_started`.
    pub fn wants_thread(&self) -> bool {
        let mut state = self.state();
        let wanted = state.jobs.len() >= state.idle + state.starting && state.threads < self.limit;
        if wanted {
            state.threads += 1;
            state.starting += 1;
        }
        wanted
    }

    /// The thread that `wants_thread` asked for could not be started.
    pub fn not_started(&self) {
        let mut state = self.state();
        state.starting -= 1;
        state.threads -= 1;
    }

    /// Whether a thread will take what is pushed. Stays so while the caller holds the GIL and runs no Python code.
    pub fn accepts(&self) -> bool {
        let state = self.state();
        state.threads > 0 && !state.stopping
    }

    /// Gives it a job; it must accept jobs.
    pub fn push(&self, job: Box<dyn Job>) {
        let mut state = self.state();
        PENDING.fetch_add(1, Ordering::Relaxed);
        state.jobs.push_back(job);
        let wake = state.idle > 0;
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Makes the calling thread one of the pool's until it is stopped. `counted`: `wants_thread` asked for it.
    pub fn serve(&self, counted: bool, gil: &Gil) {
        let before = MEMBER.replace(true);
        let mut state = self.state();
        if counted {
            state.starting -= 1;
        } else {
            state.threads += 1;
        }
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                let letter = job.run(gil);
                PENDING.fetch_sub(1, Ordering::Relaxed);
                self.state().idle += 1;
                deliver(letter, gil);
                state = self.state();
                state.idle -= 1;
            } else if state.stopping {
                break;
            } else {
                state.idle += 1;
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                state.idle -= 1;
            }
        }
        MEMBER.set(before);
        state.threads -= 1;
        if state.threads > 0 {
            return;
        }
        let mourners = std::mem::take(&mut state.mourners);
        drop(state);
        self.ended.notify_all();
        for letter in mourners {
            deliver(Some(letter), gil);
        }
    }

    /// Has the threads end when the queue is empty.
    pub fn stop(&self) {
        self.state().stopping = true;
        self.work.notify_all();
    }

    /// Has `letter` sent when the last thread has ended. Gives it back if there is none any more.
    pub fn mourn(&self, letter: Letter) -> Option<Letter> {
        let mut state = self.state();
        if state.threads == 0 {
            return Some(letter);
        }
        state.mourners.push(letter);
        None
    }

    /// Waits for the end of the last thread, natively; false when the time is up first.
    pub fn wait_ended(&self, patience: Option<Duration>) -> bool {
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        let mut state = self.state();
        while state.threads > 0 {
            state = match deadline {
                None => self
                    .ended
                    .wait(state)
                    .unwrap_or_else(|poisoned| poisoned.into_inner()),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    let waited = self.ended.wait_timeout(state, left);
                    waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
                }
            };
        }
        true
    }
}
