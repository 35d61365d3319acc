//! `WaitQueue`: the one FIFO of parked greenlets behind every primitive.
//!
//! An entry is a `Waiter` and what the primitive wants to tell it. It is in one of two lists: *waiting*, in order
//! of arrival, or *woken* (it has been put into its hub's next batch and has not run since). Whoever parks pushes
//! its entry first and removes it itself when `park` returns, whatever the reason; so a greenlet that is killed
//! between its wake-up and its turn leaves the queue in order, and the primitive can pass on what it was given.
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
    epoch: u32,
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
    epoch: u32,
    /// How often the process had been forked when the entries were made.
    forks: u32,
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
            epoch: 0,
            forks: 0,
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
        let node = Node {
            entry: Some(Entry { waiter, data }),
            woken: false,
            previous: NONE,
            next: NONE,
        };
        let index = if self.free == NONE {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 greenlets fit into memory")
        } else {
            let index = self.free;
            self.free = self.nodes[index as usize].next;
            self.nodes[index as usize] = node;
            index
        };
        self.append(index);
        Key {
            index,
            epoch: self.epoch,
        }
    }

    /// Takes the entry out; `None` if the queue was cleared meanwhile. The caller drops it outside of the cell.
    pub fn remove(&mut self, key: Key) -> Option<Entry<T>> {
        self.forget_parent();
        if key.epoch != self.epoch {
            return None;
        }
        self.unlink(key.index);
        let node = &mut self.nodes[key.index as usize];
        node.next = self.free;
        self.free = key.index;
        node.entry.take()
    }

    /// Puts an entry back to the front of the waiting ones with a waiter for its next park; gives the old waiter
    /// to be dropped. `Err` gives the new one back if the queue was cleared meanwhile.
    pub fn wait_again(&mut self, key: Key, waiter: Waiter) -> Result<Waiter, Waiter> {
        self.forget_parent();
        if key.epoch != self.epoch {
            return Err(waiter);
        }
        self.unlink(key.index);
        self.prepend(key.index);
        let entry = self.nodes[key.index as usize]
            .entry
            .as_mut()
            .expect("the key names a live entry");
        Ok(std::mem::replace(&mut entry.waiter, waiter))
    }

    /// Wakes the first waiting greenlet; `tell` changes its data. False if nobody could be woken.
    pub fn wake_one(&mut self, py: Python<'_>, mut tell: impl FnMut(&mut T)) -> bool {
        self.forget_parent();
        while self.waiting.head != NONE {
            let index = self.waiting.head;
            self.unlink(index);
            self.append_woken(index);
            let entry = self.nodes[index as usize]
                .entry
                .as_mut()
                .expect("linked nodes have an entry");
            // A waiter that is leaving for another reason (kill, timeout) is told nothing; it stays in the woken
            // list until it runs.
            if entry.waiter.wake(py) {
                tell(&mut entry.data);
                return true;
            }
        }
        false
    }

    /// Wakes every waiting greenlet in order of arrival; `tell` changes its data.
    pub fn wake_all(&mut self, py: Python<'_>, mut tell: impl FnMut(&mut T)) {
        while self.wake_one(py, &mut tell) {}
    }

    /// The entry of the first waiting greenlet that still waits.
    pub fn first_waiting(&mut self, py: Python<'_>) -> Option<(Key, &mut Entry<T>)> {
        self.forget_parent();
        let mut index = self.waiting.head;
        while index != NONE {
            let node = &self.nodes[index as usize];
            let entry = node.entry.as_ref().expect("linked nodes have an entry");
            if entry.waiter.is_waiting(py) {
                let key = Key {
                    index,
                    epoch: self.epoch,
                };
                let entry = self.nodes[index as usize].entry.as_mut().expect("as above");
                return Some((key, entry));
            }
            index = node.next;
        }
        None
    }

    /// The entry of this greenlet.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.forget_parent();
        if key.epoch != self.epoch {
            return None;
        }
        self.nodes[key.index as usize]
            .entry
            .as_mut()
            .map(|entry| &mut entry.data)
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
        let epoch = self.epoch.wrapping_add(1);
        let old = std::mem::replace(
            self,
            WaitQueue {
                epoch,
                ..WaitQueue::new()
            },
        );
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

    fn append(&mut self, index: u32) {
        self.attach_last(index, false);
    }

    fn append_woken(&mut self, index: u32) {
        self.attach_last(index, true);
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

    fn prepend(&mut self, index: u32) {
        let list = self.list(false);
        let head = std::mem::replace(&mut list.head, index);
        list.len += 1;
        if head == NONE {
            list.tail = index;
        } else {
            self.nodes[head as usize].previous = index;
        }
        let node = &mut self.nodes[index as usize];
        (node.woken, node.previous, node.next) = (false, NONE, head);
    }

    fn unlink(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let (woken, previous, next) = (node.woken, node.previous, node.next);
        if previous == NONE {
            self.list(woken).head = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
        if next == NONE {
            self.list(woken).tail = previous;
        } else {
            self.nodes[next as usize].previous = previous;
        }
        self.list(woken).len -= 1;
    }
}
