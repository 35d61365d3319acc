//! Waiters, in doubly linked lists through one slab.
//!
//! Invariant: an occupied entry is in exactly one list, the one its key's `place` names, for as long as it is
//! occupied; its generation changes whenever the entry is given up, so that an old key finds nothing.

use super::Interest;

const NONE: u32 = u32::MAX;

/// Names one waiter of one reactor, also after it has been delivered.
///
/// ```
/// use eventlet::reactor::{Interest, Key, Reactor};
/// use std::os::fd::AsRawFd;
/// let (here, _there) = std::os::unix::net::UnixStream::pair()?;
/// let mut reactor = Reactor::new()?;
/// let key: Key = reactor.watch(here.as_raw_fd(), Interest::Read, ())?;
/// assert!(reactor.unwatch(key).is_some());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
    /// Not in the entry: who looks whether it was delivered finds an empty list, and need not fetch the entry.
    pub(super) place: Place,
}

/// Whose list a waiter is in; `None` for the list of those that are ready anyway.
pub(super) type Place = Option<(u32, Interest)>;

#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(super) const EMPTY: List = List {
        head: NONE,
        tail: NONE,
    };

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.head == NONE
    }
}

#[derive(Debug)]
struct Entry<T> {
    value: Option<T>,
    generation: u32,
    previous: u32,
    /// In a list: the next of the list. Free: the next free entry.
    next: u32,
}

#[derive(Debug)]
pub(super) struct Waiters<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
}

impl<T> Waiters<T> {
    pub(super) const fn new() -> Waiters<T> {
        Waiters {
            entries: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All values, in no particular order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|entry| entry.value.as_ref())
    }

    /// The entry that the next `push` takes, if one is free.
    #[inline]
    pub(super) fn upcoming(&self) -> Option<*const u8> {
        let entry = self.entries.get(self.free as usize)?;
        Some(std::ptr::from_ref(entry).cast())
    }

    /// Appends to `list`, which is the one that `place` names.
    #[inline]
    pub(super) fn push(&mut self, list: &mut List, place: Place, value: T) -> Key {
        let previous = list.tail;
        let index = self.free;
        let (index, generation) = match self.entries.get_mut(index as usize) {
            Some(entry) => {
                self.free = entry.next;
                entry.value = Some(value);
                entry.previous = previous;
                entry.next = NONE;
                (index, entry.generation)
            }
            None => {
                let index = u32::try_from(self.entries.len()).unwrap_or(NONE);
                assert!(index != NONE, "more than 2^32 - 2 waiters");
                let entry = Entry {
                    value: Some(value),
                    generation: 0,
                    previous,
                    next: NONE,
                };
                self.entries.push(entry);
                (index, 0)
            }
        };
        match self.entries.get_mut(previous as usize) {
            Some(last) => last.next = index,
            None => list.head = index,
        }
        list.tail = index;
        self.len += 1;
        Key {
            index,
            generation,
            place,
        }
    }

    /// Takes the first out of `list`.
    #[inline]
    pub(super) fn pop(&mut self, list: &mut List) -> Option<T> {
        self.take(list, list.head)
    }

    /// Takes a waiter out of `list`, which is the one that its key names.
    #[inline]
    pub(super) fn remove(&mut self, list: &mut List, key: Key) -> Option<T> {
        if list.is_empty() {
            return None;
        }
        let entry = self.entries.get(key.index as usize)?;
        let first = entry.previous == NONE;
        let last = entry.next == NONE;
        if entry.generation != key.generation
            || first && list.head != key.index
            || last && list.tail != key.index
        {
            return None; // delivered, or a key of another reactor
        }
        self.take(list, key.index)
    }

    /// Takes an entry out of the list that it is in; `None` if it is in none.
    #[inline]
    fn take(&mut self, list: &mut List, index: u32) -> Option<T> {
        let entry = self.entries.get_mut(index as usize)?;
        let value = entry.value.take()?;
        let (previous, next) = (entry.previous, entry.next);
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
        match self.entries.get_mut(previous as usize) {
            Some(entry) => entry.next = next,
            None => list.head = next,
        }
        match self.entries.get_mut(next as usize) {
            Some(entry) => entry.previous = previous,
            None => list.tail = previous,
        }
        Some(value)
    }
}
