//! Why a channel did not take or give a value; what was not taken comes back.

use std::error::Error;
use std::fmt;

/// Nothing is left in the channel, and no sender either.
///
/// ```
/// use eventlet::{rt, sync};
///
/// rt::run(|| {
///     let (sender, receiver) = sync::unbounded::<u8>();
///     drop(sender);
///     assert_eq!(receiver.recv(), Err(sync::Disconnected));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnected;

/// There is no receiver any more; here is the value.
///
/// ```
/// use eventlet::{rt, sync};
///
/// rt::run(|| {
///     let (sender, receiver) = sync::unbounded();
///     drop(receiver);
///     assert_eq!(sender.send(7), Err(sync::SendError(7)));
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// Why [`super::Sender::send_timeout`] gives the value back.
///
/// ```
/// use eventlet::{rt, sync};
/// use std::time::Duration;
///
/// rt::run(|| {
///     let (sender, receiver) = sync::unbounded();
///     drop(receiver);
///     let error = sender.send_timeout(7, Duration::ZERO).unwrap_err();
///     assert_eq!(error, sync::SendTimeoutError::Disconnected(7));
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// The channel stayed full.
    Timeout(T),
    /// There is no receiver any more.
    Disconnected(T),
}

/// Why [`super::Sender::try_send`] gives the value back.
///
/// ```
/// use eventlet::sync::{TrySendError, bounded};
///
/// let (sender, _receiver) = bounded(0);
/// assert_eq!(sender.try_send(7), Err(TrySendError::Full(7)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The channel is full now.
    Full(T),
    /// There is no receiver any more.
    Disconnected(T),
}

/// Why [`super::Receiver::recv_timeout`] gives no value.
///
/// ```
/// use eventlet::{rt, sync};
/// use std::time::Duration;
///
/// rt::run(|| {
///     let (_sender, receiver) = sync::unbounded::<u8>();
///     let error = receiver.recv_timeout(Duration::ZERO).unwrap_err();
///     assert_eq!(error, sync::RecvTimeoutError::Timeout);
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// Nothing came in time.
    Timeout,
    /// Nothing is left, and no sender either.
    Disconnected,
}

/// Why [`super::Receiver::try_recv`] gives no value.
///
/// ```
/// use eventlet::sync::{TryRecvError, unbounded};
///
/// let (_sender, receiver) = unbounded::<u8>();
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// There is nothing now.
    Empty,
    /// Nothing is left, and no sender either.
    Disconnected,
}

const FULL: &str = "the channel is full";
const NO_RECEIVER: &str = "the channel has no receiver any more";
const NO_SENDER: &str = "the channel is empty and has no sender any more";

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NO_SENDER)
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NO_RECEIVER)
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "the channel stayed full for too long",
            SendTimeoutError::Disconnected(_) => NO_RECEIVER,
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => FULL,
            TrySendError::Disconnected(_) => NO_RECEIVER,
        })
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvTimeoutError::Timeout => "nothing came through the channel in time",
            RecvTimeoutError::Disconnected => NO_SENDER,
        })
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "the channel is empty",
            TryRecvError::Disconnected => NO_SENDER,
        })
    }
}

// The values need not be printable: these say only what happened.

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendError({self})")
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendTimeoutError({self})")
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrySendError({self})")
    }
}

impl Error for Disconnected {}
impl<T> Error for SendError<T> {}
impl<T> Error for SendTimeoutError<T> {}
impl<T> Error for TrySendError<T> {}
impl Error for RecvTimeoutError {}
impl Error for TryRecvError {}
