//! Channels: values from any number of senders to any number of receivers, in order.
//!
//! Invariants, between any two calls:
//! - `buffer` holds what has been accepted; its first `granted` values belong to receivers that were
//!   woken and have not come for them yet, in the order in which they were woken.
//! - Receivers wait only while every value in the buffer is granted and nobody offers one.
//! - `offers` holds the values of the senders that wait, by the ticket under which each waits; there
//!   are some only while the buffer is full. A sender that a kill or its deadline has woken takes
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
        state: RefCell::new(State {
            buffer: VecDeque::with_capacity(capacity.min(64)),
            granted: 0,
            offers: VecDeque::new(),
            next_offer: 0,
        }),
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

struct State<T> {
    buffer: VecDeque<T>,
    granted: usize,
    offers: VecDeque<(u64, T)>,
    next_offer: u64,
}

impl<T> State<T> {
    /// Takes the offer with this ticket out, if it is there.
    fn withdraw(&mut self, ticket: u64) -> Option<T> {
        let place = self
            .offers
            .binary_search_by_key(&ticket, |(ticket, _)| *ticket)
            .ok()?;
        self.offers.remove(place).map(|(_, value)| value)
    }
}

struct Channel<T> {
    state: RefCell<State<T>>,
    capacity: usize,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    wait_send: WaitQueue,
    wait_recv: WaitQueue,
}

/// Why a value could not be sent at once or in time.
enum Refusal {
    Full,
    Disconnected,
}

impl<T> Channel<T> {
    /// Takes `value` in if that needs no wait.
    #[inline]
    fn accept(&self, value: T) -> Result<(), (T, Refusal)> {
        if self.receivers.get() == 0 {
            return Err((value, Refusal::Disconnected));
        }
        let mut state = self.state.borrow_mut();
        if self.wait_recv.wake_one() {
            state.buffer.push_back(value);
            state.granted += 1;
            Ok(())
        } else if state.buffer.len() - state.granted < self.capacity {
            state.buffer.push_back(value);
            Ok(())
        } else {
            Err((value, Refusal::Full))
        }
    }

    fn send_until(&self, value: T, deadline: Option<Instant>) -> Result<(), (T, Refusal)> {
        let value = match self.accept(value) {
            Err((value, Refusal::Full)) => value,
            done => return done,
        };
        let ticket = {
            let mut state = self.state.borrow_mut();
            let ticket = state.next_offer;
            state.next_offer += 1;
            state.offers.push_back((ticket, value));
            ticket
        };
        // A kill unwinds from the wait: the offer must not stay behind.
        let offer = Offer {
            channel: self,
            ticket,
        };
        match self.wait_send.wait_with(ticket, deadline) {
            Waited::Granted => {
                mem::forget(offer); // it has been accepted
                Ok(())
            }
            Waited::GrantedToDying => rt::die(),
            Waited::Closed => offer
                .withdraw()
                .map_or(Ok(()), |v| Err((v, Refusal::Disconnected))),
            Waited::TimedOut => offer.withdraw().map_or(Ok(()), |v| Err((v, Refusal::Full))),
        }
    }

    /// Takes a value out if one is there for somebody who has not waited.
    #[inline]
    fn take(&self) -> Option<T> {
        let mut state = self.state.borrow_mut();
        if state.granted == state.buffer.len() {
            return self.accept_offer(&mut state); // a rendezvous
        }
        let granted = state.granted;
        let value = if granted == 0 {
            state.buffer.pop_front()
        } else {
            state.buffer.remove(granted)
        };
        self.refill(&mut state);
        value
    }

    /// Takes the value of the longest waiting sender, and lets it go.
    #[inline]
    fn accept_offer(&self, state: &mut State<T>) -> Option<T> {
        if state.offers.is_empty() {
            return None;
        }
        state.withdraw(self.wait_send.wake_ticket()?)
    }

    /// Moves the offers for which there is room into the buffer.
    #[inline]
    fn refill(&self, state: &mut State<T>) {
        while state.buffer.len() - state.granted < self.capacity {
            match self.accept_offer(state) {
                Some(value) => state.buffer.push_back(value),
                None => return,
            }
        }
    }

    fn recv_until(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        if let Some(value) = self.take() {
            return Ok(value);
        }
        if self.senders.get() == 0 {
            return Err(RecvTimeoutError::Disconnected);
        }
        match self.wait_recv.wait(deadline) {
            Waited::Granted => {
                let mut state = self.state.borrow_mut();
                state.granted -= 1;
                Ok(state
                    .buffer
                    .pop_front()
                    .expect("a granted value waits in the buffer"))
            }
            Waited::GrantedToDying => {
                self.return_grant();
                rt::die()
            }
            Waited::Closed => Err(RecvTimeoutError::Disconnected),
            Waited::TimedOut => Err(RecvTimeoutError::Timeout),
        }
    }

    /// A receiver that was given a value will not come for it: the next one gets it.
    fn return_grant(&self) {
        if !self.wait_recv.wake_one() {
            self.state.borrow_mut().granted -= 1;
        }
    }
}

/// A value that waits for room with its sender; taken back when the sender leaves first.
struct Offer<'a, T> {
    channel: &'a Channel<T>,
    ticket: u64,
}

impl<T> Offer<'_, T> {
    fn withdraw(&self) -> Option<T> {
        self.channel.state.borrow_mut().withdraw(self.ticket)
    }
}

impl<T> Drop for Offer<'_, T> {
    fn drop(&mut self) {
        // The value's destructor runs after the borrow has ended.
        drop(self.withdraw());
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
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        match self.channel.accept(value) {
            Ok(()) => Ok(()),
            Err((value, _)) => self
                .channel
                .send_until(value, None)
                .map_err(|(value, _)| SendError(value)),
        }
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
        let sent = match self.channel.accept(value) {
            Err((value, Refusal::Full)) => {
                self.channel.send_until(value, Some(rt::deadline(timeout)))
            }
            done => done,
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
        self.channel
            .accept(value)
            .map_err(|(value, refusal)| match refusal {
                Refusal::Full => TrySendError::Full(value),
                Refusal::Disconnected => TrySendError::Disconnected(value),
            })
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
        self.channel.recv_until(None).map_err(|_| Disconnected)
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
        match self.channel.take() {
            Some(value) => Ok(value),
            None => self.channel.recv_until(Some(rt::deadline(timeout))),
        }
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
        let state = self.channel.state.borrow();
        state.buffer.len() - state.granted
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
        // Nobody will come for what is left. It is dropped once the borrow has ended, since
        // destructors may use the channel.
        let rest = mem::take(&mut self.channel.state.borrow_mut().buffer);
        self.channel.wait_send.close();
        drop(rest);
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
