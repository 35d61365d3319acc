//! Channels: values from any number of senders to any number of receivers, in order.
//!
//! Invariants, between any two calls:
//! - The first `granted` of the `stored` values belong to receivers that were woken and have not come
//!   for them yet, in the order in which they were woken.
//! - Receivers wait only while every stored value is granted and nobody offers one.
//! - `offers` holds the values of the senders that wait, by the ticket under which each waits; there
//!   are some only while the channel is full. A sender that a kill or its deadline has woken takes
//!   its own offer back, so an offer is accepted only by waking its sender.
//!
//! No value is in two places, and no borrow of the state is alive while a thread waits.

use super::channel_error::{
    Disconnected, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use crate::clock::Instant;
use crate::rt::{self, WaitQueue, Waited};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

/// A channel that holds at most `capacity` values; senders wait while it is full.
///
/// With 0 it is a [`rendezvous`].
///
/// ```
/// let (sender, receiver) = eventlet::sync::bounded(1);
/// sender.try_send("one").unwrap();
/// assert!(sender.try_send("two").is_err());
/// assert_eq!(receiver.try_recv().unwrap(), "one");
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Rc::new(Channel {
        first: Cell::new(None),
        buffer: RefCell::new(VecDeque::new()),
        stored: Cell::new(0),
        granted: Cell::new(0),
        offers: RefCell::new(VecDeque::new()),
        offered: Cell::new(0),
        next_ticket: Cell::new(0),
        capacity,
        senders: Cell::new(1),
        receivers: Cell::new(1),
        wait_send: WaitQueue::new(),
        wait_recv: WaitQueue::new(),
    });
    (
        Sender {
            channel: Rc::clone(&channel),
        },
        Receiver { channel },
    )
}

/// A channel that holds any number of values; senders never wait.
///
/// ```
/// let (sender, receiver) = eventlet::sync::unbounded();
/// for n in 0..1000 {
///     sender.try_send(n).unwrap();
/// }
/// assert_eq!(receiver.len(), 1000);
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

/// A channel that holds nothing: a sender waits until a receiver takes its value.
///
/// ```
/// use eventlet::{rt, sync};
///
/// rt::run(|| {
///     let (sender, receiver) = sync::rendezvous();
///     assert!(sender.try_send(1).is_err()); // nobody waits for it
///     let taker = rt::spawn(move || receiver.recv());
///     sender.send(2).unwrap();
///     assert_eq!(taker.join().unwrap(), Ok(2));
/// });
/// ```
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    bounded(0)
}

/// `stored` and `granted` are kept apart: side by side they would be loaded as one vector right after
/// they were stored one by one, which stalls the processor for longer than all else takes.
#[repr(C)]
struct Channel<T> {
    /// Accepted values, in both places.
    stored: Cell<usize>,
    /// The oldest accepted value. The others are in `buffer`, which is empty if nothing is stored.
    first: Cell<Option<T>>,
    granted: Cell<usize>,
    wait_recv: WaitQueue,
    /// How many offers there are.
    offered: Cell<usize>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    capacity: usize,
    buffer: RefCell<VecDeque<T>>,
    offers: RefCell<VecDeque<(u64, T)>>,
    next_ticket: Cell<u64>,
    wait_send: WaitQueue,
}

/// Why a value could not be sent at once or in time.
enum Refusal {
    Full,
    Disconnected,
}

impl<T> Channel<T> {
    /// Makes room for one more value: for a receiver that waits, or in the buffer.
    #[inline]
    fn admit(&self) -> Result<(), Refusal> {
        if self.receivers.get() == 0 {
            return Err(Refusal::Disconnected);
        }
        if self.wait_recv.wake_one() {
            self.granted.set(self.granted.get() + 1);
        } else if self.stored.get() - self.granted.get() >= self.capacity {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    /// Appends an accepted value.
    #[inline]
    fn push(&self, value: T) {
        let stored = self.stored.get();
        self.stored.set(stored + 1);
        if stored == 0 {
            self.first.set(Some(value));
        } else {
            self.push_behind(value);
        }
    }

    #[inline(never)]
    fn push_behind(&self, value: T) {
        self.buffer.borrow_mut().push_back(value);
    }

    /// Takes the oldest accepted value out.
    #[inline]
    fn pop(&self) -> T {
        self.stored.set(self.stored.get() - 1);
        match self.first.take() {
            Some(value) => value,
            None => self.pop_behind(),
        }
    }

    #[inline(never)]
    fn pop_behind(&self) -> T {
        let value = self.buffer.borrow_mut().pop_front();
        value.expect("what is stored and is not the first is in the buffer")
    }

    /// Waits until the value is accepted; the first attempt has found the channel full.
    #[inline(never)]
    fn wait_to_send(&self, value: T, deadline: Option<Instant>) -> Result<(), (T, Refusal)> {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        self.offered.set(self.offered.get() + 1);
        self.offers.borrow_mut().push_back((ticket, value));
        // A kill unwinds from the wait: the offer must not stay behind.
        let offer = Offer {
            channel: self,
            ticket,
        };
        let refusal = match self.wait_send.wait_with(ticket, deadline) {
            Waited::Granted => {
                mem::forget(offer); // it has been accepted
                return Ok(());
            }
            Waited::GrantedToDying => rt::die(),
            Waited::Closed => Refusal::Disconnected,
            Waited::TimedOut => Refusal::Full,
        };
        let value = self.withdraw(ticket);
        Err((
            value.expect("an offer that was not accepted is still there"),
            refusal,
        ))
    }

    /// Takes a value out if one is there for somebody who has not waited.
    fn take(&self) -> Option<T> {
        if self.stored.get() == self.granted.get() {
            return if self.offered.get() == 0 {
                None
            } else {
                self.accept_offer()
            };
        }
        let value = if self.granted.get() == 0 {
            self.pop()
        } else {
            self.overtake()
        };
        if self.offered.get() != 0 {
            self.refill();
        }
        Some(value)
    }

    /// Takes the oldest value that is not granted, when some are.
    #[cold]
    fn overtake(&self) -> T {
        let first = self.first.take();
        let place = self.granted.get() - usize::from(first.is_some());
        self.first.set(first);
        self.stored.set(self.stored.get() - 1);
        let value = self.buffer.borrow_mut().remove(place);
        value.expect("more is stored than granted")
    }

    /// Takes the value of the longest waiting sender, and lets it go.
    fn accept_offer(&self) -> Option<T> {
        self.withdraw(self.wait_send.wake_ticket()?)
    }

    /// Takes the offer with this ticket out, if it is there.
    fn withdraw(&self, ticket: u64) -> Option<T> {
        let mut offers = self.offers.borrow_mut();
        let place = offers
            .binary_search_by_key(&ticket, |(ticket, _)| *ticket)
            .ok()?;
        self.offered.set(self.offered.get() - 1);
        offers.remove(place).map(|(_, value)| value)
    }

    /// Accepts the offers for which there is room.
    fn refill(&self) {
        while self.stored.get() - self.granted.get() < self.capacity {
            match self.accept_offer() {
                Some(value) => self.push(value),
                None => return,
            }
        }
    }

    /// Receives, waiting if need be.
    #[inline(always)]
    fn recv_until(
        &self,
        deadline: impl FnOnce() -> Option<Instant>,
    ) -> Result<T, RecvTimeoutError> {
        if self.stored.get() != self.granted.get() || self.offered.get() != 0 {
            if let Some(value) = self.take() {
                return Ok(value);
            }
        }
        if self.senders.get() == 0 {
            return Err(RecvTimeoutError::Disconnected);
        }
        let waited = self.wait_recv.wait(deadline());
        if waited == Waited::Granted {
            self.granted.set(self.granted.get() - 1);
            return Ok(self.pop());
        }
        Err(self.not_received(waited))
    }

    /// What to tell a receiver that waited in vain.
    #[cold]
    fn not_received(&self, waited: Waited) -> RecvTimeoutError {
        match waited {
            Waited::Closed => RecvTimeoutError::Disconnected,
            Waited::TimedOut => RecvTimeoutError::Timeout,
            Waited::Granted | Waited::GrantedToDying => {
                // It will not come for its value: the next one gets it.
                if !self.wait_recv.wake_one() {
                    self.granted.set(self.granted.get() - 1);
                }
                rt::die()
            }
        }
    }
}

/// A value that waits for room with its sender; taken back when the sender leaves first.
struct Offer<'a, T> {
    channel: &'a Channel<T>,
    ticket: u64,
}

impl<T> Drop for Offer<'_, T> {
    fn drop(&mut self) {
        drop(self.channel.withdraw(self.ticket));
    }
}

/// The sending end of a channel; clones send into the same one.
///
/// ```
/// let (sender, receiver) = eventlet::sync::unbounded();
/// let second = sender.clone();
/// sender.try_send(1).unwrap();
/// second.try_send(2).unwrap();
/// assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
/// ```
pub struct Sender<T> {
    channel: Rc<Channel<T>>,
}

impl<T> Sender<T> {
    /// Sends `value`, once the channel has room for it.
    ///
    /// *May switch: yes*, while the channel is full.
    ///
    /// # Errors
    /// The value, if there is no receiver any more.
    ///
    /// ```
    /// use eventlet::{rt, sync};
    ///
    /// rt::run(|| {
    ///     let (sender, receiver) = sync::bounded(1);
    ///     sender.send(1).unwrap();
    ///     drop(receiver);
    ///     assert_eq!(sender.send(2).unwrap_err().0, 2);
    /// });
    /// ```
    #[inline(always)]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let sent = match self.channel.admit() {
            Ok(()) => {
                self.channel.push(value);
                return Ok(());
            }
            Err(Refusal::Full) => self.channel.wait_to_send(value, None),
            Err(refusal) => Err((value, refusal)),
        };
        sent.map_err(|(value, _)| SendError(value))
    }

    /// As [`Sender::send`], for at most `timeout`.
    ///
    /// *May switch: yes*, while the channel is full.
    ///
    /// # Errors
    /// The value, if there was no room in time or there is no receiver any more.
    ///
    /// ```
    /// use eventlet::{rt, sync};
    /// use std::time::Duration;
    ///
    /// rt::run(|| {
    ///     let (sender, _receiver) = sync::rendezvous();
    ///     let error = sender.send_timeout(1, Duration::from_millis(1)).unwrap_err();
    ///     assert_eq!(error, sync::SendTimeoutError::Timeout(1));
    /// });
    /// ```
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        let sent = match self.channel.admit() {
            Ok(()) => {
                self.channel.push(value);
                return Ok(());
            }
            Err(Refusal::Full) => self
                .channel
                .wait_to_send(value, Some(rt::deadline(timeout))),
            Err(refusal) => Err((value, refusal)),
        };
        sent.map_err(|(value, refusal)| match refusal {
            Refusal::Full => SendTimeoutError::Timeout(value),
            Refusal::Disconnected => SendTimeoutError::Disconnected(value),
        })
    }

    /// Sends `value` if that needs no wait. *May switch: no.*
    ///
    /// # Errors
    /// The value, if there is no room now or no receiver any more.
    ///
    /// ```
    /// let (sender, receiver) = eventlet::sync::bounded(1);
    /// assert!(sender.try_send('a').is_ok());
    /// assert!(sender.try_send('b').is_err());
    /// # drop(receiver);
    /// ```
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.channel.admit() {
            Ok(()) => {
                self.channel.push(value);
                Ok(())
            }
            Err(Refusal::Full) => Err(TrySendError::Full(value)),
            Err(Refusal::Disconnected) => Err(TrySendError::Disconnected(value)),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        let channel = Rc::clone(&self.channel);
        channel.senders.set(channel.senders.get() + 1);
        Sender { channel }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let left = self.channel.senders.get() - 1;
        self.channel.senders.set(left);
        if left == 0 {
            self.channel.wait_recv.close();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// The receiving end of a channel; clones share the values, each goes to one of them.
///
/// ```
/// use eventlet::{rt, sync};
///
/// rt::run(|| {
///     let (sender, receiver) = sync::unbounded();
///     let worker = rt::spawn(move || receiver.iter().count());
///     for n in 0..3 {
///         sender.send(n).unwrap();
///     }
///     drop(sender); // ends the iteration
///     assert_eq!(worker.join().unwrap(), 3);
/// });
/// ```
pub struct Receiver<T> {
    channel: Rc<Channel<T>>,
}

impl<T> Receiver<T> {
    /// Takes the next value, once there is one.
    ///
    /// *May switch: yes*, while the channel is empty.
    ///
    /// # Errors
    /// [`Disconnected`], if nothing is left and there is no sender any more.
    ///
    /// ```
    /// use eventlet::{rt, sync};
    ///
    /// rt::run(|| {
    ///     let (sender, receiver) = sync::unbounded();
    ///     rt::spawn(move || sender.send("hello"));
    ///     assert_eq!(receiver.recv(), Ok("hello"));
    ///     assert_eq!(receiver.recv(), Err(sync::Disconnected));
    /// });
    /// ```
    #[inline]
    pub fn recv(&self) -> Result<T, Disconnected> {
        self.channel.recv_until(|| None).map_err(|_| Disconnected)
    }

    /// As [`Receiver::recv`], for at most `timeout`.
    ///
    /// *May switch: yes*, while the channel is empty.
    ///
    /// # Errors
    /// If nothing came in time, or nothing is left and there is no sender any more.
    ///
    /// ```
    /// use eventlet::{rt, sync};
    /// use std::time::Duration;
    ///
    /// rt::run(|| {
    ///     let (_sender, receiver) = sync::unbounded::<u8>();
    ///     let nothing = receiver.recv_timeout(Duration::from_millis(1));
    ///     assert_eq!(nothing, Err(sync::RecvTimeoutError::Timeout));
    /// });
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.channel.recv_until(|| Some(rt::deadline(timeout)))
    }

    /// Takes the next value if there is one. *May switch: no.*
    ///
    /// # Errors
    /// If there is none now, or none is left and there is no sender any more.
    ///
    /// ```
    /// use eventlet::sync::{TryRecvError, unbounded};
    ///
    /// let (sender, receiver) = unbounded::<u8>();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.channel.take() {
            Some(value) => Ok(value),
            None if self.channel.senders.get() == 0 => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Values that can be had without waiting, those of waiting senders not counted.
    ///
    /// ```
    /// let (sender, receiver) = eventlet::sync::unbounded();
    /// sender.try_send(()).unwrap();
    /// assert_eq!(receiver.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.channel.stored.get() - self.channel.granted.get()
    }

    /// Whether [`Receiver::len`] is zero.
    ///
    /// ```
    /// let (_sender, receiver) = eventlet::sync::unbounded::<u8>();
    /// assert!(receiver.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values to come, until there is no sender any more; waits for each.
    ///
    /// ```
    /// use eventlet::{rt, sync};
    ///
    /// rt::run(|| {
    ///     let (sender, receiver) = sync::unbounded();
    ///     sender.send(1).unwrap();
    ///     drop(sender);
    ///     assert_eq!(receiver.iter().collect::<Vec<_>>(), [1]);
    /// });
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        let channel = Rc::clone(&self.channel);
        channel.receivers.set(channel.receivers.get() + 1);
        Receiver { channel }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = self.channel.receivers.get() - 1;
        self.channel.receivers.set(left);
        if left > 0 {
            return;
        }
        // Nobody will come for what is left. It is dropped when the channel is in order again and
        // no borrow is alive, since destructors may use it.
        self.channel.stored.set(0);
        let first = self.channel.first.take();
        let rest = self.channel.buffer.take();
        self.channel.wait_send.close();
        drop((first, rest));
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// The values to come through a channel; see [`Receiver::iter`].
///
/// ```
/// let (sender, receiver) = eventlet::sync::unbounded::<u8>();
/// drop(sender);
/// assert_eq!(receiver.iter().next(), None);
/// ```
#[derive(Debug)]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}
