//! The one door into a hub that other threads may use.
//!
//! Senders push onto a lock-free list; the owner takes the whole list at once and turns it round. A
//! sender writes to a descriptor (an eventfd, or a pipe where there is none) only if the owner has
//! declared that it sleeps, so that a busy owner costs senders no system call.
//!
//! Invariant: one atomic word tells all there is to know. It is null (empty), `ASLEEP` (empty, and
//! the owner waits for the descriptor), `CLOSED`, or the newest node of the list. There is no lock
//! that a `fork` could leave held for ever.
//!
//! The descriptor goes with the owner, though letters may never have been sent: a sender counts itself in
//! `ringers` before the exchange that makes it ring, so that whoever has closed the inbox sees the count.

#[cfg(loom)]
use loom::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::sync::Arc;

#[cfg(not(loom))]
mod bell;
#[cfg(loom)]
#[path = "inbox/loom_bell.rs"]
mod bell;

use bell::Bell;

/// A letter in the list; nodes are boxed, hence aligned, hence never equal to a marker below.
struct Node<T> {
    next: *mut Node<T>,
    value: T,
}

/// Empty, and the owner waits for the bell.
fn asleep<T>() -> *mut Node<T> {
    ptr::without_provenance_mut(1)
}

/// Nobody will ever look again.
fn closed<T>() -> *mut Node<T> {
    ptr::without_provenance_mut(2)
}

fn is_node<T>(head: *mut Node<T>) -> bool {
    head.addr() > 2
}

/// A queue from any thread to the one that owns it.
///
/// ```
/// use eventlet::inbox::Inbox;
/// use std::thread;
///
/// let inbox = Inbox::new()?;
/// let door = inbox.clone();
/// thread::spawn(move || door.send("hello")).join().unwrap().unwrap();
/// let mut mail = Vec::new();
/// inbox.drain(&mut mail);
/// assert_eq!(mail, ["hello"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Inbox<T> {
    head: AtomicPtr<Node<T>>,
    /// How many may be ringing now.
    ringers: AtomicUsize,
    bell: Bell,
}

// SAFETY: values only move through the inbox, from the sender to whoever drains it, so `T: Send`
// is enough; the list itself is touched by atomic operations alone.
unsafe impl<T: Send> Send for Inbox<T> {}
// SAFETY: as above; no `&T` is ever handed out.
unsafe impl<T: Send> Sync for Inbox<T> {}

impl<T> Inbox<T> {
    /// An empty, open inbox.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when there is no descriptor left.
    ///
    /// ```
    /// let inbox = eventlet::inbox::Inbox::<u8>::new()?;
    /// assert!(!inbox.has_mail());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    // Whoever makes an inbox of values that cannot be sent just cannot share it.
    #[allow(clippy::arc_with_non_send_sync)]
    pub fn new() -> io::Result<Arc<Inbox<T>>> {
        Ok(Arc::new(Inbox {
            head: AtomicPtr::new(ptr::null_mut()),
            ringers: AtomicUsize::new(0),
            bell: Bell::new()?,
        }))
    }

    /// Puts a value in, and wakes the owner if it sleeps. Callable from any thread, never blocks.
    ///
    /// # Errors
    /// Gives the value back if the inbox is closed.
    ///
    /// ```
    /// let inbox = eventlet::inbox::Inbox::new()?;
    /// assert_eq!(inbox.send(1), Ok(()));
    /// inbox.close(&mut Vec::new());
    /// assert_eq!(inbox.send(2), Err(2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send(&self, value: T) -> Result<(), T> {
        let node = Box::into_raw(Box::new(Node {
            next: ptr::null_mut(),
            value,
        }));
        let mut head = self.head.load(Ordering::Relaxed);
        let mut ringer = None;
        loop {
            if head == closed() {
                // SAFETY: the node came from `Box::into_raw` above and was never published.
                let node = unsafe { Box::from_raw(node) };
                return Err(node.value);
            }
            if head == asleep() && ringer.is_none() {
                ringer = Some(Ringer::of(self));
            }
            let next = if is_node(head) { head } else { ptr::null_mut() };
            // SAFETY: as long as the exchange below has not succeeded, the node is ours alone.
            unsafe { (*node).next = next };
            // Release publishes the node; acquire orders the ring after the owner's falling asleep.
            match self
                .head
                .compare_exchange_weak(head, node, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        if head == asleep() {
            self.bell.ring();
        }
        drop(ringer);
        Ok(())
    }

    /// Whether there is something to drain: one atomic load.
    ///
    /// ```
    /// let inbox = eventlet::inbox::Inbox::new()?;
    /// inbox.send('x').unwrap();
    /// assert!(inbox.has_mail());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn has_mail(&self) -> bool {
        is_node(self.head.load(Ordering::Acquire))
    }

    /// Whether what is sent may still be read: false for good after [`Inbox::close`].
    ///
    /// ```
    /// let inbox = eventlet::inbox::Inbox::<u8>::new()?;
    /// assert!(inbox.is_open());
    /// inbox.close(&mut Vec::new());
    /// assert!(!inbox.is_open());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn is_open(&self) -> bool {
        self.head.load(Ordering::Acquire) != closed()
    }

    /// Moves everything out, appending it to `mail` in the order in which it was sent.
    ///
    /// The owner counts as awake afterwards. The type shows an example.
    pub fn drain(&self, mail: &mut Vec<T>) {
        let mut head = self.head.load(Ordering::Relaxed);
        while head != closed() && !head.is_null() {
            match self.head.compare_exchange_weak(
                head,
                ptr::null_mut(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return unlink(head, mail),
                Err(now) => head = now,
            }
        }
    }

    /// Declares that the owner is about to wait for [`Inbox::fd`]; false if there is mail already.
    ///
    /// Between this and [`Inbox::awake`], the first send makes the descriptor readable.
    ///
    /// ```
    /// let inbox = eventlet::inbox::Inbox::new()?;
    /// assert!(inbox.sleep());
    /// inbox.send(1).unwrap(); // rings
    /// inbox.awake();
    /// assert!(!inbox.sleep(), "there is mail");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn sleep(&self) -> bool {
        let result = self.head.compare_exchange(
            ptr::null_mut(),
            asleep(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match result {
            Ok(_) => true,
            Err(head) => head == asleep(),
        }
    }

    /// Declares that the owner is awake again.
    ///
    /// [`Inbox::sleep`] shows an example.
    pub fn awake(&self) {
        // If it fails there is mail, or the inbox is closed: either way nobody sleeps.
        let _ = self.head.compare_exchange(
            asleep(),
            ptr::null_mut(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
    }

    /// Makes [`Inbox::fd`] readable without mail: for an owner that has something to say to itself.
    ///
    /// ```
    /// let inbox = eventlet::inbox::Inbox::<u8>::new()?;
    /// inbox.ring();
    /// assert!(!inbox.has_mail());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ring(&self) {
        let ringer = Ringer::of(self);
        let mut head = self.head.load(Ordering::Relaxed);
        while head != closed() {
            // Exchanged for itself: if that succeeds, whoever closes the inbox later sees the ringer.
            match self
                .head
                .compare_exchange_weak(head, head, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return self.bell.ring(),
                Err(now) => head = now,
            }
        }
        drop(ringer);
    }

    /// Makes [`Inbox::fd`] unreadable again, after it has been seen readable.
    ///
    /// ```
    /// let inbox = eventlet::inbox::Inbox::<u8>::new()?;
    /// inbox.hush();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn hush(&self) {
        self.bell.hush();
    }

    /// Waits for a ring, as the owner does through [`Inbox::fd`]; for the model checker.
    #[cfg(loom)]
    pub fn wait_for_ring(&self) {
        self.bell.wait();
    }

    /// Refuses all further mail, and moves out what has arrived so far.
    ///
    /// ```
    /// let inbox = eventlet::inbox::Inbox::new()?;
    /// inbox.send(1).unwrap();
    /// let mut rest = Vec::new();
    /// inbox.close(&mut rest);
    /// assert_eq!(rest, [1]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&self, mail: &mut Vec<T>) {
        let head = self.head.swap(closed(), Ordering::AcqRel);
        if is_node(head) {
            unlink(head, mail);
        }
    }

    /// Closes the descriptor of a closed inbox when its owner goes: senders may keep the inbox for ever. If one of
    /// them is ringing this very moment, the descriptor goes with the inbox.
    ///
    /// ```
    /// let inbox = eventlet::inbox::Inbox::<u8>::new()?;
    /// inbox.close(&mut Vec::new());
    /// inbox.hang_up();
    /// assert_eq!(inbox.fd(), -1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn hang_up(&self) {
        let unused = self.ringers.load(Ordering::Acquire) == 0;
        if !self.is_open() && unused {
            self.bell.close();
        }
    }

    /// The descriptor that becomes readable when mail arrives for a sleeping owner; -1 when the owner is gone.
    ///
    /// ```
    /// assert!(eventlet::inbox::Inbox::<u8>::new()?.fd() >= 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn fd(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Cuts the tie to the parent process after a `fork`, which shares the descriptor.
    ///
    /// The number stays the same. Mail that had arrived before the fork is kept.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when there is no descriptor left; nothing has changed then.
    ///
    /// ```
    /// let inbox = eventlet::inbox::Inbox::<u8>::new()?;
    /// let number = inbox.fd();
    /// inbox.reinit()?; // in the child
    /// assert_eq!(inbox.fd(), number);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reinit(&self) -> io::Result<()> {
        self.awake();
        self.ringers.store(0, Ordering::Relaxed); // they are the parent's
        self.bell.reinit()
    }
}

/// Somebody who may ring.
struct Ringer<'a>(&'a AtomicUsize);

impl Ringer<'_> {
    fn of<T>(inbox: &Inbox<T>) -> Ringer<'_> {
        inbox.ringers.fetch_add(1, Ordering::Relaxed);
        Ringer(&inbox.ringers)
    }
}

impl Drop for Ringer<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Frees a list, newest first, appending its values oldest first.
fn unlink<T>(mut head: *mut Node<T>, mail: &mut Vec<T>) {
    if !is_node(head) {
        return;
    }
    let from = mail.len();
    while !head.is_null() {
        // SAFETY: the list was taken out of `head` as a whole, so that its nodes, each of which came
        // from `Box::into_raw`, belong to this call alone.
        let node = unsafe { Box::from_raw(head) };
        head = node.next;
        mail.push(node.value);
    }
    mail[from..].reverse();
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.close(&mut Vec::new());
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("has_mail", &self.has_mail())
            .finish_non_exhaustive()
    }
}
