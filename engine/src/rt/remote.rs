//! The door of a runtime for other OS threads.
//!
//! Invariant: what passes is a whole control block with a `Send` closure, which the sender does not
//! touch again; so no reference count is ever changed by two OS threads.

use super::block::Task;
use super::runtime::{Runtime, discard_remote};
use crate::inbox::Inbox;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Lets other OS threads start green threads in the runtime that made it.
///
/// While one exists, a runtime in which everybody waits goes on waiting: somebody may come through
/// this door.
///
/// ```
/// use eventlet::rt;
///
/// let sum = rt::run(|| {
///     let (main, remote) = (rt::current(), rt::remote());
///     let sum = std::rc::Rc::new(std::cell::Cell::new(0));
///     // A closure from another OS thread reaches our data through a channel or thread-local.
///     let thread = std::thread::spawn(move || remote.spawn(|| println!("hello from outside")));
///     rt::sleep(std::time::Duration::from_millis(1));
///     thread.join().unwrap().unwrap();
///     sum.set(1);
///     drop(main);
///     sum.get()
/// });
/// assert_eq!(sum, 1);
/// ```
#[derive(Clone)]
pub struct Remote {
    inbox: Arc<Inbox<Task>>,
    /// Tells the runtime that somebody may still come.
    _alive: Arc<()>,
}

impl Remote {
    /// Starts a green thread in the runtime; it runs after what is ready there now.
    ///
    /// May be called from any OS thread. *May switch: no.*
    ///
    /// # Errors
    /// [`Ended`] if the runtime has ended; the closure is then dropped.
    ///
    /// ```
    /// use eventlet::rt;
    ///
    /// let remote = rt::run(|| rt::remote());
    /// assert!(remote.spawn(|| ()).is_err());
    /// ```
    pub fn spawn<F>(&self, body: F) -> Result<(), Ended>
    where
        F: FnOnce() + Send + 'static,
    {
        self.inbox.send(Task::remote(body)).map_err(|task| {
            discard_remote(task);
            Ended
        })
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// The runtime that a [`Remote`] belongs to has ended.
///
/// ```
/// use eventlet::rt::{self, Ended};
///
/// let remote = rt::run(|| rt::remote());
/// assert_eq!(remote.spawn(|| ()), Err(Ended));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the green-thread runtime has ended")
    }
}

impl Error for Ended {}

/// A door through which other OS threads may start green threads in the present runtime.
///
/// # Panics
/// Outside [`super::run`].
///
/// ```
/// use eventlet::rt;
///
/// rt::run(|| {
///     let (remote, main) = (rt::remote(), rt::current());
///     std::thread::spawn(move || remote.spawn(|| println!("from outside"))).join().unwrap().unwrap();
///     drop(main);
/// });
/// ```
pub fn remote() -> Remote {
    let runtime = Runtime::current();
    Remote {
        inbox: runtime.inbox(),
        _alive: Arc::clone(&runtime.remotes),
    }
}
