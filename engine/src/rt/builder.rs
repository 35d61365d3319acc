//! How a runtime is made: the knobs, and the entry that turns an OS thread into one.
//!
//! Invariant: the runtime lives in the frame of [`Builder::run`] and is known to the OS thread for
//! just as long; it is taken down in order (threads, then mail, then blocks) however `main` ends.

use super::runtime::Runtime;
use crate::clock::{Clock, Instant};
use crate::hub::Hub;
use crate::reactor::Backend;
use crate::stack::{Config, Pool};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers the runtimes of the process.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// Bytes of C stack of a green thread, unless said otherwise.
const STACK_SIZE: usize = 256 * 1024;

/// Sets up a runtime that differs from [`super::run`]'s.
///
/// ```
/// use eventlet::rt::{self, Builder};
///
/// let answer = Builder::new().stack_size(1 << 20).run(|| rt::spawn(|| 42).join().unwrap())?;
/// assert_eq!(answer, 42);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    stack_size: usize,
    backend: Backend,
    virtual_time: bool,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// The defaults: stacks of 256 KiB, the system's best readiness interface, its monotonic clock.
    ///
    /// ```
    /// eventlet::rt::Builder::new().run(|| ())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> Builder {
        Builder {
            stack_size: STACK_SIZE,
            backend: Backend::default(),
            virtual_time: false,
        }
    }

    /// Bytes of stack for each green thread but the main one, which uses the OS thread's.
    ///
    /// It is address space: memory is only taken for the pages that a thread touches.
    ///
    /// ```
    /// use eventlet::rt::Builder;
    ///
    /// Builder::new().stack_size(64 * 1024).run(|| ())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = bytes;
        self
    }

    /// The readiness interface to use.
    ///
    /// ```
    /// use eventlet::reactor::Backend;
    /// use eventlet::rt::Builder;
    ///
    /// Builder::new().backend(Backend::Poll).run(|| ())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn backend(mut self, backend: Backend) -> Builder {
        self.backend = backend;
        self
    }

    /// Time stands still while a green thread can run, and jumps to the next deadline when all wait.
    ///
    /// Programs that sleep for hours are tested in microseconds, and always with the same result.
    /// While a green thread waits for a descriptor, time passes as usual but in such jumps.
    ///
    /// ```
    /// use eventlet::rt::{self, Builder};
    /// use std::time::{Duration, Instant};
    ///
    /// let before = Instant::now();
    /// Builder::new().virtual_time().run(|| rt::sleep(Duration::from_secs(3600)))?;
    /// assert!(before.elapsed() < Duration::from_secs(60));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn virtual_time(mut self) -> Builder {
        self.virtual_time = true;
        self
    }

    /// As [`super::run`].
    ///
    /// # Errors
    /// If this OS thread already has a runtime, the stack size is impossible, or the kernel refuses
    /// the descriptors that a runtime needs.
    ///
    /// # Panics
    /// With the panic of `main`, if it panics.
    ///
    /// ```
    /// use eventlet::rt::Builder;
    ///
    /// let nested = Builder::new().run(|| Builder::new().run(|| ()))?;
    /// assert!(nested.is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn run<F, R>(&self, main: F) -> io::Result<R>
    where
        F: FnOnce() -> R,
    {
        if Runtime::try_current().is_some() {
            return Err(io::Error::other(
                "this OS thread already has a green-thread runtime",
            ));
        }
        let clock = if self.virtual_time {
            Clock::settable(Instant::from_nanos(0))
        } else {
            Clock::monotonic()
        };
        let hub = Hub::with_backend(self.backend, clock)?;
        let pool = Pool::new(Config {
            size: self.stack_size,
            tail: 0,
        });
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let runtime = Runtime::new(hub, pool, serial, self.virtual_time);
        runtime.enter();
        let result = panic::catch_unwind(AssertUnwindSafe(main));
        let abandoned = runtime.finish();
        runtime.dissolve();
        if abandoned > 0 {
            eprintln!(
                "eventlet: {abandoned} green threads did not end when killed; their stacks are leaked"
            );
        }
        match result {
            Ok(result) => Ok(result),
            Err(payload) if super::is_kill(&*payload) => panic!("the main green thread was killed"),
            Err(payload) => panic::resume_unwind(payload),
        }
    }
}
