//! Processor time of this process: what other programs do to the machine does not count.

use std::mem::MaybeUninit;

/// Runs from its creation.
pub struct Stopwatch {
    start: u64,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch { start: used() }
    }

    /// Nanoseconds for each of `operations`.
    pub fn per(&self, operations: u64) -> f64 {
        (used() - self.start) as f64 / operations as f64
    }
}

/// Nanoseconds of processor time that all threads of the process have used.
fn used() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the kernel fills the place, which has the right type.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, time.as_mut_ptr()) };
    assert_eq!(answer, 0, "every system has this clock");
    // SAFETY: filled by the successful call.
    let time = unsafe { time.assume_init() };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
