//! The C stacks of one thread's greenlets: the usual ones, and deep ones for a raised recursion limit.
//!
//! CPython up to 3.11 counts levels of recursion, not bytes of stack. Whoever raises
//! `sys.setrecursionlimit()` beyond what the usual stack holds gets, for greenlets that start from then on,
//! stacks of the size that a thread has, so that the limit is met before the end of the stack. Later versions
//! check C recursion by itself and always use the usual ones.
//!
//! Each stack in use has an owner, a greenlet: this is how those of a thread are found. Invariant: an owner's
//! greenlet is alive, because it gives its stack back (or up) before it dies.

use std::io;
use std::ptr;

use eventlet::stack::{Config, Pool, Stack};
use pyo3::ffi;

/// Bytes of a deep stack: what Linux gives a thread by default.
const DEEP: usize = 8 << 20;

/// A pool, and by the number of the stack whose it is; null for nobody's.
struct Owned {
    pool: Pool,
    owners: Vec<*mut ffi::PyObject>,
}

impl Owned {
    fn new(config: Config) -> Owned {
        Owned {
            pool: Pool::new(config),
            owners: Vec::new(),
        }
    }

    #[inline(always)]
    fn take(&mut self, owner: *mut ffi::PyObject) -> io::Result<Stack> {
        let stack = self.pool.take()?;
        let number = stack.number();
        match self.owners.get_mut(number) {
            Some(place) => *place = owner,
            None => self.owners.resize(number + 1, owner), // stacks are numbered as they come
        }
        Ok(stack)
    }

    /// The stack's greenlet has no use for it any more.
    #[inline(always)]
    fn disown(&mut self, stack: &Stack) {
        if self.pool.owns(stack) {
            self.owners[stack.number()] = ptr::null_mut();
        }
    }

    #[inline(always)]
    fn put(&mut self, stack: Stack) {
        self.disown(&stack);
        self.pool.put(stack);
    }
}

/// The pools of one thread.
pub struct Stacks {
    usual: Owned,
    deep: Option<Owned>,
}

impl Stacks {
    /// Nothing is mapped before the first [`take`](Self::take).
    pub fn new(config: Config) -> Stacks {
        Stacks {
            usual: Owned::new(config),
            deep: None,
        }
    }

    /// A stack of `wanted` bytes as far as there are such, for the greenlet `owner`; a usual one where memory does
    /// not suffice.
    #[inline(always)]
    pub fn take(&mut self, wanted: usize, owner: *mut ffi::PyObject) -> io::Result<Stack> {
        let usual = self.usual.pool.config();
        if wanted > usual.size && usual.size < DEEP {
            self.take_deep(usual, owner)
        } else {
            self.usual.take(owner)
        }
    }

    /// Whether a usual stack is at hand that was used before.
    #[inline(always)]
    pub fn has_idle(&self) -> bool {
        self.usual.pool.idle() > 0
    }

    #[cold]
    fn take_deep(&mut self, usual: Config, owner: *mut ffi::PyObject) -> io::Result<Stack> {
        let config = Config {
            size: DEEP,
            ..usual
        };
        let deep = self.deep.get_or_insert_with(|| Owned::new(config));
        deep.take(owner).or_else(|_| self.usual.take(owner))
    }

    /// Takes a stack back that came from here.
    #[inline(always)]
    pub fn put(&mut self, stack: Stack) {
        match &mut self.deep {
            Some(deep) if stack.size() >= DEEP => deep.put(stack),
            _ => self.usual.put(stack),
        }
    }

    /// A stack that came from here is given up: it stays mapped for good, in nobody's use.
    pub fn give_up(&mut self, stack: Stack) {
        self.usual.disown(&stack);
        if let Some(deep) = &mut self.deep {
            deep.disown(&stack);
        }
        drop(stack);
    }

    /// The greenlets that own stacks, borrowed.
    pub fn owners(&self) -> impl Iterator<Item = *mut ffi::PyObject> {
        let deep = self.deep.iter().flat_map(|deep| &deep.owners);
        let all = self.usual.owners.iter().chain(deep);
        all.copied().filter(|owner| !owner.is_null())
    }

    /// Calls `act` with each pool.
    pub fn pools(&mut self, act: &mut dyn FnMut(&mut Pool)) {
        act(&mut self.usual.pool);
        if let Some(deep) = &mut self.deep {
            act(&mut deep.pool);
        }
    }

    /// How many stacks there are, in use or not.
    pub fn places(&self) -> usize {
        self.usual.owners.len() + self.deep.as_ref().map_or(0, |deep| deep.owners.len())
    }

    /// Whose stack number `place` of all is, borrowed.
    pub fn owner(&self, place: usize) -> Option<*mut ffi::PyObject> {
        let usual = self.usual.owners.len();
        let owner = match self.usual.owners.get(place) {
            Some(&owner) => owner,
            None => *self.deep.as_ref()?.owners.get(place - usual)?,
        };
        (!owner.is_null()).then_some(owner)
    }

    /// Gives the memory of idle stacks back to the kernel, but for the `keep_warm` warmest of each size.
    pub fn trim(&mut self, keep_warm: usize) {
        self.usual.pool.trim(keep_warm);
        if let Some(deep) = &mut self.deep {
            deep.pool.trim(keep_warm);
        }
    }

    /// Stacks that greenlets own now.
    pub fn in_use(&self) -> usize {
        self.usual.pool.in_use() + self.deep.as_ref().map_or(0, |deep| deep.pool.in_use())
    }

    /// Stacks that wait for a greenlet and may hold memory.
    pub fn warm(&self) -> usize {
        self.usual.pool.warm() + self.deep.as_ref().map_or(0, |deep| deep.pool.warm())
    }

    /// Stacks that wait for a greenlet.
    pub fn idle(&self) -> usize {
        self.usual.pool.idle() + self.deep.as_ref().map_or(0, |deep| deep.pool.idle())
    }
}
