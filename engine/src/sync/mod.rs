//! What green threads of one OS thread use to wait for each other.
//!
//! An [`Event`] says that something has happened, a [`Semaphore`] counts what is left of something,
//! a channel ([`bounded`], [`unbounded`], [`rendezvous`]) hands values over. Whoever waits first is
//! served first. A waiter that is killed, or whose time is over, takes nothing with it: what it was
//! just being given goes to the next.
//!
//! All may switch where they wait, and only there. They belong to one OS thread; share them between
//! its green threads with [`std::rc::Rc`].
//!
//! ```
//! use eventlet::{rt, sync};
//!
//! rt::run(|| {
//!     let (sender, receiver) = sync::bounded(2);
//!     rt::spawn(move || {
//!         for n in 0..5 {
//!             sender.send(n).unwrap();
//!         }
//!     });
//!     assert_eq!(receiver.iter().sum::<i32>(), 10);
//! });
//! ```

mod channel;
mod channel_error;
mod event;
mod semaphore;

pub use channel::{Iter, Receiver, Sender, bounded, rendezvous, unbounded};
pub use channel_error::{
    Disconnected, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use event::Event;
pub use semaphore::{Permit, Semaphore};
