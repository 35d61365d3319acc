//! `WaitQueue`: the one FIFO of parked greenlets behind every primitive.
//!
//! An entry is a `Waiter` and what the primitive wants to tell it. It is in one of two lists: *waiting*, in order
//! of arrival, or *woken* (it has been put into its hub's next batch and has not run since). Whoever parks pushes
//! its entry first and removes it itself when `park` returns, whatever the reason; so a greenlet that is killed
//! between its wake-up and its turn leaves the queue in order, and the primitive can pass on what it was given.
//! Greenlets whose hub has ended never come back for their entry: these are *lost*; `forget_lost` takes them out.
//!
//! In the child of a fork nobody who waited exists any more: the first operation there forgets them all, with what
//! they were told, and releases nothing of it.
//!
//! Every operation is O(1). The queue never runs Python code: entries are handed out to be dropped outside of the
//! cell that protects the queue, because dropping the last reference of a greenlet runs it.

use pyo3::prelude::*;

use crate::hub::{self, Waiter};

/// Index of "no entry".
const NONE: u32 = u32::MAX;

/// Names the entry of one parked greenlet.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    index: u32,
    serial: u32,
}

/// What one parked greenlet left in the queue.
pub struct Entry<T> {
    /// Wakes the greenlet.
    pub waiter: Waiter,
    /// What the primitive tells it.
    pub data: T,
}

struct Node<T> {
    entry: Option<Entry<T>>,
    /// Tells this entry from the next one in this place.
    serial: u32,
    woken: bool,
    previous: u32,
    next: u32,
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl List {
    const EMPTY: List = List {
        head: NONE,
        tail: NONE,
        len: 0,
    };
}

/// Parked greenlets in order of arrival.
pub struct WaitQueue<T> {
    nodes: Vec<Node<T>>,
    free: u32,
    serial: u32,
    /// How often the process had been forked when the entries were made.
    forks: u32,
    /// Hubs that had ended when lost entries were last looked for.
    ended_hubs: u64,
    waiting: List,
    woken: List,
}

impl<T> Default for WaitQueue<T> {
    fn default() -> WaitQueue<T> {
        WaitQueue::new()
    }
}

impl<T> WaitQueue<T> {
    /// An empty queue. Allocates nothing.
    pub const fn new() -> WaitQueue<T> {
        WaitQueue {
            nodes: Vec::new(),
            free: NONE,
            serial: 0,
            forks: 0,
            ended_hubs: 0,
            waiting: List::EMPTY,
            woken: List::EMPTY,
        }
    }

    /// Number of greenlets in it, those included that were woken and have not run yet.
    pub fn len(&self) -> usize {
        self.waiting() + self.woken()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of greenlets that were woken and have not run yet.
    pub fn woken(&self) -> usize {
        if self.is_of_parent() {
            return 0;
        }
        self.woken.len as usize
    }

    /// Number of greenlets that nobody has woken.
    pub fn waiting(&self) -> usize {
        if self.is_of_parent() {
            return 0;
        }
        self.waiting.len as usize
    }

    /// Adds a greenlet that is about to park, at the end.
    pub fn push(&mut self, waiter: Waiter, data: T) -> Key {
        self.forget_parent();
        if self.is_empty() {
            self.ended_hubs = hub::ended_hubs(); // nobody in it can be lost
        }
        self.serial = self.serial.wrapping_add(1);
        let node = Node {
            entry: Some(Entry { waiter, data }),
            serial: self.serial,
            woken: false,
            previous: NONE,
            next: NONE,
        };
        let index = if self.free == NONE {
            if self.nodes.capacity() == 0 {
                self.nodes.reserve_exact(1); // most have one waiter at a time
            }
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 greenlets fit into memory")
        } else {
            let index = self.free;
            self.free = self.nodes[index as usize].next;
            self.nodes[index as usize] = node;
            index
        };
        self.attach_last(index, false);
        Key {
            index,
            serial: self.serial,
        }
    }

    fn node_mut(&mut self, key: Key) -> Option<&mut Node<T>> {
        self.forget_parent();
        let node = self.nodes.get_mut(key.index as usize)?;
        (node.serial == key.serial && node.entry.is_some()).then_some(node)
    }

    /// Takes the entry out; `None` if the queue was cleared meanwhile. The caller drops it outside of the cell.
    pub fn remove(&mut self, key: Key) -> Option<Entry<T>> {
        self.node_mut(key)?;
        self.unlink(key.index);
        let node = &mut self.nodes[key.index as usize];
        node.next = self.free;
        self.free = key.index;
        node.entry.take()
    }

    /// Has the entry wait for the next park of its greenlet, in the order in which they came. Gives the old waiter
    /// to be dropped. `Err` gives the new one back if the queue was cleared meanwhile.
    pub fn wait_again(&mut self, key: Key, waiter: Waiter) -> Result<Waiter, Waiter> {
        let Some(node) = self.node_mut(key) else {
            return Err(waiter);
        };
        if node.woken {
            self.unlink(key.index);
            self.insert_by_age(key.index);
        }
        let entry = self.nodes[key.index as usize].entry.as_mut();
        let entry = entry.expect("the key names a live entry");
        Ok(std::mem::replace(&mut entry.waiter, waiter))
    }

    /// Whether somebody in it may be lost: then `forget_lost` is called.
    #[inline(always)]
    pub fn may_have_lost(&self) -> bool {
        self.ended_hubs != hub::ended_hubs() && !self.is_empty()
    }

    /// Whether it holds an entry, with such data, of somebody who never runs again.
    pub fn has_lost(&self, wanted: impl Fn(&T) -> bool) -> bool {
        self.entries()
            .any(|entry| wanted(&entry.data) && entry.waiter.is_lost())
    }

    /// Takes the entries out of those who never run again. The caller drops them outside of the cell.
    #[must_use]
    #[cold]
    pub fn forget_lost(&mut self) -> Vec<Entry<T>> {
        self.forget_parent();
        self.ended_hubs = hub::ended_hubs();
        let mut lost = Vec::new();
        for index in 0..self.nodes.len() as u32 {
            let node = &self.nodes[index as usize];
            if node
                .entry
                .as_ref()
                .is_some_and(|entry| entry.waiter.is_lost())
            {
                let serial = node.serial;
                lost.extend(self.remove(Key { index, serial }));
            }
        }
        lost
    }

    /// Wakes the first waiting greenlet; `tell` changes its data. False if nobody could be woken.
    pub fn wake_one(&mut self, py: Python<'_>, mut tell: impl FnMut(&mut T)) -> bool {
        self.forget_parent();
        while self.waiting.head != NONE {
            if self.wake_at(py, self.waiting.head, &mut tell) {
                return true;
            }
        }
        false
    }

    /// Wakes this greenlet; `tell` changes its data. False if it cannot be woken.
    pub fn wake(&mut self, py: Python<'_>, key: Key, mut tell: impl FnMut(&mut T)) -> bool {
        let waits = self.node_mut(key).is_some_and(|node| !node.woken);
        waits && self.wake_at(py, key.index, &mut tell)
    }

    fn wake_at(&mut self, py: Python<'_>, index: u32, tell: &mut impl FnMut(&mut T)) -> bool {
        self.unlink(index);
        self.attach_last(index, true);
        let entry = self.nodes[index as usize].entry.as_mut();
        let entry = entry.expect("linked nodes have an entry");
        if entry.waiter.wake(py) {
            tell(&mut entry.data);
            return true;
        }
        // A waiter that is leaving for another reason (kill, timeout) is told nothing; it stays in the woken list
        // until it runs.
        false
    }

    /// Wakes every waiting greenlet in order of arrival; `tell` changes its data.
    pub fn wake_all(&mut self, py: Python<'_>, mut tell: impl FnMut(&mut T)) {
        while self.wake_one(py, &mut tell) {}
    }

    /// The entry of the first waiting greenlet that still waits and whose data are so.
    pub fn first_waiting(
        &mut self,
        py: Python<'_>,
        wanted: impl Fn(&T) -> bool,
    ) -> Option<(Key, &mut Entry<T>)> {
        self.forget_parent();
        let mut index = self.waiting.head;
        while index != NONE {
            let node = &self.nodes[index as usize];
            let entry = node.entry.as_ref().expect("linked nodes have an entry");
            if wanted(&entry.data) && entry.waiter.is_waiting(py) {
                let key = Key {
                    index,
                    serial: node.serial,
                };
                let entry = self.nodes[index as usize].entry.as_mut().expect("as above");
                return Some((key, entry));
            }
            index = node.next;
        }
        None
    }

    /// The entry of this greenlet.
    pub fn entry(&mut self, key: Key) -> Option<&mut Entry<T>> {
        self.node_mut(key)?.entry.as_mut()
    }

    /// The data of this greenlet.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entry(key).map(|entry| &mut entry.data)
    }

    /// All entries: the woken ones, then the waiting ones, each in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        let mut index = if self.is_of_parent() {
            NONE
        } else if self.woken.head == NONE {
            self.waiting.head
        } else {
            self.woken.head
        };
        std::iter::from_fn(move || {
            if index == NONE {
                return None;
            }
            let node = &self.nodes[index as usize];
            index = if node.next == NONE && node.woken {
                self.waiting.head
            } else {
                node.next
            };
            node.entry.as_ref()
        })
    }

    /// Whether the entries were made before this process was forked from its parent.
    #[inline(always)]
    fn is_of_parent(&self) -> bool {
        self.forks != hub::forks()
    }

    #[inline(always)]
    fn forget_parent(&mut self) {
        if self.is_of_parent() {
            self.forget_all();
        }
    }

    #[cold]
    fn forget_all(&mut self) {
        std::mem::forget(self.clear());
        self.forks = hub::forks();
    }

    /// Forgets everybody; gives the entries to be dropped.
    #[must_use]
    pub fn clear(&mut self) -> Vec<Entry<T>> {
        let serial = self.serial;
        let empty = WaitQueue {
            serial,
            ..WaitQueue::new()
        };
        let old = std::mem::replace(self, empty);
        old.nodes
            .into_iter()
            .filter_map(|node| node.entry)
            .collect()
    }

    fn list(&mut self, woken: bool) -> &mut List {
        if woken {
            &mut self.woken
        } else {
            &mut self.waiting
        }
    }

    fn attach_last(&mut self, index: u32, woken: bool) {
        let list = self.list(woken);
        let tail = std::mem::replace(&mut list.tail, index);
        list.len += 1;
        if tail == NONE {
            list.head = index;
        } else {
            self.nodes[tail as usize].next = index;
        }
        let node = &mut self.nodes[index as usize];
        (node.woken, node.previous, node.next) = (woken, tail, NONE);
    }

    /// Into the waiting list, behind those that came before it: few or none, since those are woken first.
    fn insert_by_age(&mut self, index: u32) {
        let serial = self.nodes[index as usize].serial;
        let (mut previous, mut next) = (NONE, self.waiting.head);
        while next != NONE {
            let other = &self.nodes[next as usize];
            if serial.wrapping_sub(other.serial) > u32::MAX / 2 {
                break; // the other one is younger
            }
            (previous, next) = (next, other.next);
        }
        self.waiting.len += 1;
        match previous {
            NONE => self.waiting.head = index,
            previous => self.nodes[previous as usize].next = index,
        }
        match next {
            NONE => self.waiting.tail = index,
            next => self.nodes[next as usize].previous = index,
        }
        let node = &mut self.nodes[index as usize];
        (node.woken, node.previous, node.next) = (false, previous, next);
    }

    fn unlink(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let (woken, previous, next) = (node.woken, node.previous, node.next);
        let list = self.list(woken);
        list.len -= 1;
        if previous == NONE {
            list.head = next;
        }
        if next == NONE {
            list.tail = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].next = next;
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
    }
}
