//! Deadlines, the earliest first; equal ones in the order they were added.
//!
//! A four-ary min-heap of (deadline, sequence number) beside a slab of values. Cancelling empties the
//! slab's entry and leaves the heap's behind; a stale entry is dropped when it comes to the top, and
//! all of them at once when they outnumber the living.
//!
//! Invariant: a heap entry is alive exactly if the slab entry it names holds the same sequence
//! number. Sequence numbers are never reused, so they serve as generations too, and a key can never
//! mean somebody else's timer.

use crate::clock::Instant;

/// Children per node: shallower than a binary heap, and four entries lie in two cache lines.
const ARITY: usize = 4;

/// Fewer stale entries than this are not worth a compaction.
const SLACK: usize = 64;

/// Names one timer of one [`Timers`], also after it has fired.
///
/// ```
/// use eventlet::clock::Instant;
/// use eventlet::timers::{Key, Timers};
/// let mut timers = Timers::new();
/// let key: Key = timers.add(Instant::from_nanos(1), "tea");
/// assert_eq!(timers.cancel(key), Some("tea"));
/// assert_eq!(timers.cancel(key), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    sequence: u64,
    slot: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: Instant,
    sequence: u64,
    slot: u32,
}

impl Entry {
    #[inline]
    fn before(&self, other: &Entry) -> bool {
        (self.deadline, self.sequence) < (other.deadline, other.sequence)
    }
}

#[derive(Debug)]
enum Slot<T> {
    /// The next free slot, or `u32::MAX`.
    Free(u32),
    Pending(u64, T),
}

/// A set of values, each of which is due at some instant.
///
/// ```
/// use eventlet::clock::Instant;
/// use eventlet::timers::Timers;
///
/// let at = Instant::from_nanos;
/// let mut timers = Timers::new();
/// timers.add(at(30), "third");
/// timers.add(at(10), "first");
/// timers.add(at(10), "second");
/// assert_eq!(timers.next_deadline(), Some(at(10)));
/// assert_eq!(timers.pop_due(at(20)), Some("first"));
/// assert_eq!(timers.pop_due(at(20)), Some("second"));
/// assert_eq!(timers.pop_due(at(20)), None);
/// assert_eq!(timers.len(), 1);
/// ```
#[derive(Debug)]
pub struct Timers<T> {
    heap: Vec<Entry>,
    slots: Vec<Slot<T>>,
    free: u32,
    live: usize,
    sequence: u64,
}

impl<T> Timers<T> {
    /// No timers. Allocates nothing.
    ///
    /// ```
    /// assert!(eventlet::timers::Timers::<u8>::new().is_empty());
    /// ```
    pub const fn new() -> Timers<T> {
        Timers {
            heap: Vec::new(),
            slots: Vec::new(),
            free: u32::MAX,
            live: 0,
            sequence: 0,
        }
    }

    /// How many timers are pending.
    ///
    /// ```
    /// use eventlet::{clock::Instant, timers::Timers};
    /// let mut timers = Timers::new();
    /// timers.add(Instant::from_nanos(1), ());
    /// assert_eq!(timers.len(), 1);
    /// ```
    #[inline]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether no timer is pending.
    ///
    /// ```
    /// assert!(eventlet::timers::Timers::<u8>::new().is_empty());
    /// ```
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Adds a value that is due at `deadline`.
    ///
    /// # Panics
    /// With 2^32 - 1 timers pending, for which there is no memory.
    ///
    /// The type shows an example.
    #[inline]
    pub fn add(&mut self, deadline: Instant, value: T) -> Key {
        let sequence = self.sequence;
        self.sequence += 1;
        let slot = self.free;
        let slot = match self.slots.get_mut(slot as usize) {
            Some(entry) => {
                if let Slot::Free(next) = *entry {
                    self.free = next;
                }
                *entry = Slot::Pending(sequence, value);
                slot
            }
            None => {
                let fresh = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
                assert!(fresh != u32::MAX, "more than 2^32 - 2 timers");
                self.slots.push(Slot::Pending(sequence, value));
                fresh
            }
        };
        self.live += 1;
        self.heap.push(Entry {
            deadline,
            sequence,
            slot,
        });
        self.sift_up(self.heap.len() - 1);
        Key { sequence, slot }
    }

    /// Takes a timer out again; `None` if it has fired or was cancelled before.
    ///
    /// ```
    /// use eventlet::{clock::Instant, timers::Timers};
    /// let mut timers = Timers::new();
    /// let key = timers.add(Instant::from_nanos(1), 'x');
    /// assert_eq!(timers.cancel(key), Some('x'));
    /// assert_eq!(timers.pop_due(Instant::from_nanos(9)), None);
    /// ```
    #[inline]
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        let value = self.release(key.slot, key.sequence)?;
        if self
            .heap
            .last()
            .is_some_and(|last| last.sequence == key.sequence)
        {
            self.heap.pop();
        }
        if self.heap.len() > 2 * self.live + SLACK {
            self.compact();
        }
        Some(value)
    }

    /// The earliest value whose deadline is not later than `now`.
    ///
    /// The type shows an example.
    #[inline]
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        loop {
            let top = *self.heap.first()?;
            if top.deadline > now {
                return None;
            }
            self.pop_top();
            if let Some(value) = self.release(top.slot, top.sequence) {
                return Some(value);
            }
        }
    }

    /// When the earliest timer is due; `None` without timers.
    ///
    /// The type shows an example.
    #[inline]
    pub fn next_deadline(&mut self) -> Option<Instant> {
        loop {
            let top = self.heap.first()?;
            if matches!(self.slots[top.slot as usize], Slot::Pending(s, _) if s == top.sequence) {
                return Some(top.deadline);
            }
            self.pop_top();
        }
    }

    /// Takes all timers out, in the order in which they would have fired.
    ///
    /// ```
    /// use eventlet::{clock::Instant, timers::Timers};
    /// let mut timers = Timers::new();
    /// timers.add(Instant::from_nanos(2), 'b');
    /// timers.add(Instant::from_nanos(1), 'a');
    /// assert_eq!(timers.drain(), ['a', 'b']);
    /// assert!(timers.is_empty());
    /// ```
    pub fn drain(&mut self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.live);
        while let Some(value) = self.pop_due(Instant::FAR_FUTURE) {
            all.push(value);
        }
        all
    }

    /// Empties a slot if it still belongs to this sequence number.
    #[inline]
    fn release(&mut self, slot: u32, sequence: u64) -> Option<T> {
        let entry = self.slots.get_mut(slot as usize)?;
        if !matches!(entry, Slot::Pending(s, _) if *s == sequence) {
            return None;
        }
        let taken = std::mem::replace(entry, Slot::Free(self.free));
        self.free = slot;
        self.live -= 1;
        match taken {
            Slot::Pending(_, value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// Removes the first heap entry.
    #[inline]
    fn pop_top(&mut self) {
        if let Some(last) = self.heap.pop() {
            if !self.heap.is_empty() {
                self.sift_down(0, last);
            }
        }
    }

    /// Moves the entry at `hole` up to its place.
    #[inline]
    fn sift_up(&mut self, mut hole: usize) {
        let entry = self.heap[hole];
        while hole > 0 {
            let parent = (hole - 1) / ARITY;
            if !entry.before(&self.heap[parent]) {
                break;
            }
            self.heap[hole] = self.heap[parent];
            hole = parent;
        }
        self.heap[hole] = entry;
    }

    /// Puts `entry` into the heap below `hole`, whose own entry is given up.
    #[inline]
    fn sift_down(&mut self, mut hole: usize, entry: Entry) {
        loop {
            let first = hole * ARITY + 1;
            let end = (first + ARITY).min(self.heap.len());
            let Some(children) = self.heap.get(first..end).filter(|range| !range.is_empty()) else {
                break;
            };
            let mut least = 0;
            for child in 1..children.len() {
                if children[child].before(&children[least]) {
                    least = child;
                }
            }
            if !children[least].before(&entry) {
                break;
            }
            self.heap[hole] = children[least];
            hole = first + least;
        }
        self.heap[hole] = entry;
    }

    /// Drops all stale heap entries, and memory that is not needed any more.
    #[cold]
    fn compact(&mut self) {
        let slots = &self.slots;
        self.heap
            .retain(|e| matches!(slots[e.slot as usize], Slot::Pending(s, _) if s == e.sequence));
        for hole in (0..self.heap.len().div_ceil(ARITY)).rev() {
            self.sift_down(hole, self.heap[hole]);
        }
        if self.heap.capacity() > 4 * (self.heap.len() + SLACK) {
            self.heap.shrink_to(2 * (self.heap.len() + SLACK));
        }
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers::new()
    }
}
