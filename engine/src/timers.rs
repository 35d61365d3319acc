//! Deadlines, the earliest first; equal ones in the order they were added.
//!
//! A four-ary min-heap of (deadline, order, slot), packed into 128 bits each, beside a slab of values.
//! Cancelling empties the slab's entry and leaves the heap's behind; a stale entry is dropped when it
//! comes to the top, and all of them at once when they outnumber the living.
//!
//! Invariant: a heap entry is alive exactly if the slab entry it names holds the same order. Orders
//! are given out upwards; when 2^32 of them are used up, stale entries are dropped and the living ones
//! renumbered. Keys hold a number of 64 bits instead, which is never used twice, so that a key can
//! never mean somebody else's timer. When no timer is left everything starts again at the first slot, so
//! that a burst of timers fills memory in order and not as the last one came out.

use crate::clock::Instant;
use std::collections::VecDeque;

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
    id: u64,
    slot: u32,
}

/// Deadline, order and slot, from the highest bits down: entries compare as they shall fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u128);

impl Entry {
    #[inline]
    fn new(deadline: Instant, order: u32, slot: u32) -> Entry {
        let low = u64::from(order) << 32 | u64::from(slot);
        Entry(u128::from(deadline.as_nanos()) << 64 | u128::from(low))
    }

    #[inline]
    fn deadline(self) -> Instant {
        Instant::from_nanos((self.0 >> 64) as u64)
    }

    #[inline]
    fn order(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    fn slot(self) -> u32 {
        self.0 as u32
    }
}

#[derive(Debug)]
enum Slot<T> {
    /// The next free slot, or `u32::MAX`.
    Free(u32),
    Pending {
        id: u64,
        order: u32,
        value: T,
    },
}

impl<T> Slot<T> {
    /// Whether the slot holds the timer that got this order.
    #[inline]
    fn has(&self, order: u32) -> bool {
        matches!(self, Slot::Pending { order: own, .. } if *own == order)
    }
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
    order: u32,
    id: u64,
    /// Room for `take_due`.
    due: Vec<Entry>,
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
            order: 0,
            id: 0,
            due: Vec::new(),
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
        if self.order == u32::MAX {
            self.renumber();
        }
        let (id, order) = (self.id, self.order);
        self.id += 1;
        self.order += 1;
        let fresh = Slot::Pending { id, order, value };
        let slot = self.free;
        let slot = match self.slots.get_mut(slot as usize) {
            Some(entry) => {
                if let Slot::Free(next) = *entry {
                    self.free = next;
                }
                *entry = fresh;
                slot
            }
            None => {
                let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
                assert!(slot < u32::MAX - 1, "more than 2^32 - 2 timers");
                self.slots.push(fresh);
                slot
            }
        };
        self.live += 1;
        self.heap.push(Entry::new(deadline, order, slot));
        self.sift_up(self.heap.len() - 1);
        Key { id, slot }
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
        let slot = self.slots.get(key.slot as usize)?;
        let order = match slot {
            Slot::Pending { id, order, .. } if *id == key.id => *order,
            _ => return None,
        };
        let value = self.release(key.slot, order)?;
        if self.heap.last().is_some_and(|last| last.order() == order) {
            self.heap.pop();
        }
        if self.heap.len() > 2 * self.live + SLACK {
            self.compact();
        }
        self.begin_again();
        Some(value)
    }

    /// The earliest value whose deadline is not later than `now`.
    ///
    /// The type shows an example.
    #[inline]
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        loop {
            let top = *self.heap.first()?;
            if top.deadline() > now {
                return None;
            }
            self.pop_top();
            if let Some(value) = self.release(top.slot(), top.order()) {
                self.begin_again();
                return Some(value);
            }
        }
    }

    /// Appends the values of all timers that are due by `now`, the earliest first.
    ///
    /// Cheaper than [`Timers::pop_due`] for many: the heap is gone through before any value is fetched,
    /// so that fetching one does not wait for finding the next.
    ///
    /// ```
    /// use eventlet::{clock::Instant, timers::Timers};
    /// use std::collections::VecDeque;
    /// let at = Instant::from_nanos;
    /// let mut timers = Timers::new();
    /// for deadline in [30, 10, 20, 40] {
    ///     timers.add(at(deadline), deadline);
    /// }
    /// let mut due = VecDeque::new();
    /// timers.take_due(at(30), &mut due);
    /// assert_eq!(due, [10, 20, 30]);
    /// assert_eq!(timers.len(), 1);
    /// ```
    pub fn take_due(&mut self, now: Instant, values: &mut VecDeque<T>) {
        let mut due = std::mem::take(&mut self.due);
        while let Some(&top) = self.heap.first() {
            if top.deadline() > now {
                break;
            }
            if due.len() > SLACK + self.heap.len() / 16 {
                self.sort_out(now, &mut due);
                break;
            }
            self.pop_top();
            due.push(top);
        }
        for entry in due.drain(..) {
            values.extend(self.release(entry.slot(), entry.order()));
        }
        self.due = due;
        self.begin_again();
    }

    /// When the earliest timer is due; `None` without timers.
    ///
    /// The type shows an example.
    #[inline]
    pub fn next_deadline(&mut self) -> Option<Instant> {
        loop {
            let top = *self.heap.first()?;
            if self.slots[top.slot() as usize].has(top.order()) {
                return Some(top.deadline());
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

    /// Takes the timers out of which `keep` says no, in no particular order. Keys of the others stay.
    ///
    /// ```
    /// use eventlet::{clock::Instant, timers::Timers};
    /// let mut timers = Timers::new();
    /// let key = timers.add(Instant::from_nanos(1), 'a');
    /// timers.add(Instant::from_nanos(2), 'b');
    /// assert_eq!(timers.retain(|&value| value == 'a'), ['b']);
    /// assert_eq!(timers.cancel(key), Some('a'));
    /// ```
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) -> Vec<T> {
        let unwanted = |(slot, entry): (usize, &Slot<T>)| match entry {
            Slot::Pending { id, value, .. } if !keep(value) => Some(Key {
                id: *id,
                slot: u32::try_from(slot).expect("slots are numbered by 32 bits"),
            }),
            _ => None,
        };
        let keys: Vec<Key> = self.slots.iter().enumerate().filter_map(unwanted).collect();
        keys.into_iter()
            .filter_map(|key| self.cancel(key))
            .collect()
    }

    /// The pending timers with their deadlines, in no particular order.
    ///
    /// ```
    /// use eventlet::{clock::Instant, timers::Timers};
    /// let mut timers = Timers::new();
    /// timers.add(Instant::from_nanos(1), 'a');
    /// assert_eq!(timers.iter().next(), Some((Instant::from_nanos(1), &'a')));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (Instant, &T)> {
        self.heap
            .iter()
            .filter_map(|entry| match self.slots.get(entry.slot() as usize)? {
                Slot::Pending { order, value, .. } if *order == entry.order() => {
                    Some((entry.deadline(), value))
                }
                _ => None,
            })
    }

    /// Empties a slot if it still belongs to this order.
    #[inline]
    fn release(&mut self, slot: u32, order: u32) -> Option<T> {
        let entry = self.slots.get_mut(slot as usize)?;
        if !entry.has(order) {
            return None;
        }
        let taken = std::mem::replace(entry, Slot::Free(self.free));
        self.free = slot;
        self.live -= 1;
        match taken {
            Slot::Pending { value, .. } => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// Moves what is due from the heap to `due`, in order: for a good part of the heap, sorting is cheaper
    /// than popping.
    #[cold]
    fn sort_out(&mut self, now: Instant, due: &mut Vec<Entry>) {
        let popped = due.len();
        self.heap.retain(|&entry| {
            let later = entry.deadline() > now;
            if !later {
                due.push(entry);
            }
            later
        });
        due[popped..].sort_unstable();
        self.heapify();
    }

    /// Makes a heap of entries in any order.
    fn heapify(&mut self) {
        for hole in (0..self.heap.len().div_ceil(ARITY)).rev() {
            self.sift_down(hole);
        }
    }

    /// Forgets the places of timers that are gone, if none is left.
    #[inline]
    fn begin_again(&mut self) {
        if self.live == 0 {
            self.heap.clear();
            self.slots.clear();
            self.free = u32::MAX;
        }
    }

    /// Removes the first heap entry.
    #[inline]
    fn pop_top(&mut self) {
        if let Some(last) = self.heap.pop() {
            if !self.heap.is_empty() {
                self.heap[0] = last;
                self.sift_down(0);
            }
        }
    }

    /// Moves the entry at `hole` up to its place.
    #[inline]
    fn sift_up(&mut self, mut hole: usize) {
        let entry = self.heap[hole];
        while hole > 0 {
            let parent = (hole - 1) / ARITY;
            if entry >= self.heap[parent] {
                break;
            }
            self.heap[hole] = self.heap[parent];
            hole = parent;
        }
        self.heap[hole] = entry;
    }

    /// Moves the entry at `hole` down to its place.
    #[inline]
    fn sift_down(&mut self, mut hole: usize) {
        let heap = self.heap.as_mut_slice();
        let entry = heap[hole];
        loop {
            let first = hole * ARITY + 1;
            let (child, least) = match heap.get(first..) {
                // All four: chosen without branches, which could not be predicted.
                Some(&[a, b, c, d, ..]) => {
                    let (ab, left) = if b < a { (1, b) } else { (0, a) };
                    let (cd, right) = if d < c { (3, d) } else { (2, c) };
                    if right < left {
                        (first + cd, right)
                    } else {
                        (first + ab, left)
                    }
                }
                Some(rest) => match rest.iter().copied().enumerate().min_by_key(|&(_, e)| e) {
                    Some((nth, least)) => (first + nth, least),
                    None => break,
                },
                None => break,
            };
            if entry <= least {
                break;
            }
            heap[hole] = least;
            hole = child;
        }
        heap[hole] = entry;
    }

    /// Drops all stale heap entries, and memory that is not needed any more.
    #[cold]
    fn compact(&mut self) {
        let slots = &self.slots;
        self.heap
            .retain(|entry| slots[entry.slot() as usize].has(entry.order()));
        self.heapify();
        if self.heap.capacity() > 4 * (self.heap.len() + SLACK) {
            self.heap.shrink_to(2 * (self.heap.len() + SLACK));
        }
    }

    /// Gives the living entries the lowest orders again, in the order in which they will fire.
    #[cold]
    fn renumber(&mut self) {
        let slots = &mut self.slots;
        self.heap
            .retain(|entry| slots[entry.slot() as usize].has(entry.order()));
        self.heap.sort_unstable(); // a sorted list is a heap
        self.order = 0;
        for entry in &mut self.heap {
            if let Slot::Pending { order, .. } = &mut slots[entry.slot() as usize] {
                *order = self.order;
            }
            *entry = Entry::new(entry.deadline(), self.order, entry.slot());
            self.order += 1;
        }
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_start_again_when_they_are_used_up() {
        let at = Instant::from_nanos;
        let mut timers = Timers::new();
        timers.order = u32::MAX - 5;
        let keys: Vec<_> = (0..20).map(|n| timers.add(at(7), n)).collect();
        assert!(timers.order < 30, "renumbered");
        assert_eq!(timers.cancel(keys[3]), Some(3));
        assert_eq!(timers.cancel(keys[15]), Some(15));
        let want: Vec<_> = (0..20).filter(|n| ![3, 15].contains(n)).collect();
        assert_eq!(timers.drain(), want);
    }

    #[test]
    fn memory_is_bounded_when_everything_is_cancelled() {
        let mut timers = Timers::new();
        let keep = timers.add(Instant::FAR_FUTURE, 0);
        let mut pending = std::collections::VecDeque::new();
        for n in 0..100_000 {
            pending.push_back(timers.add(Instant::from_nanos(1_000_000 - n), n));
            if pending.len() > 10 {
                let key = pending.pop_front().expect("eleven");
                assert!(timers.cancel(key).is_some());
            }
            assert!(timers.heap.len() <= 2 * timers.len() + SLACK + 1);
        }
        assert!(timers.slots.len() <= 12);
        assert!(timers.heap.capacity() < 1000);
        assert_eq!(timers.cancel(keep), Some(0));
    }
}
