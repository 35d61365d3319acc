//! What is known about each descriptor.
//!
//! Invariant: at most one source per descriptor number; a source's generation changes when its
//! number may come to mean another file, so that old tokens and late events find nothing.

use super::waiters::List;
use super::{Interest, READ, WRITE};
use std::os::fd::RawFd;

const NONE: u32 = u32::MAX;

/// Names one adoption of a descriptor.
///
/// ```
/// use eventlet::reactor::{Reactor, Token};
/// use std::os::fd::AsRawFd;
/// let (here, _there) = std::os::unix::net::UnixStream::pair()?;
/// let mut reactor = Reactor::<()>::new()?;
/// let token: Token = reactor.adopt(here.as_raw_fd())?;
/// reactor.release(token);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    pub(super) index: u32,
    generation: u32,
}

#[derive(Debug)]
pub(super) struct Source {
    pub(super) fd: RawFd,
    generation: u32,
    /// How often it has been adopted; 0 for a descriptor that is merely watched.
    pub(super) owners: u32,
    /// For adopted ones: the interests that may be ready.
    pub(super) ready: u8,
    readers: List,
    writers: List,
}

impl Source {
    #[inline]
    pub(super) fn list(&mut self, interest: Interest) -> &mut List {
        match interest {
            Interest::Read => &mut self.readers,
            Interest::Write => &mut self.writers,
        }
    }

    /// The interests that somebody waits for.
    #[inline]
    pub(super) fn wanted(&self) -> u8 {
        let read = if self.readers.is_empty() { 0 } else { READ };
        let write = if self.writers.is_empty() { 0 } else { WRITE };
        read | write
    }
}

#[derive(Debug, Default)]
pub(super) struct Sources {
    all: Vec<Source>,
    free: Vec<u32>,
    /// Descriptor number to index, or `NONE`.
    by_fd: Vec<u32>,
}

impl Sources {
    #[inline]
    pub(super) fn get(&self, index: u32) -> &Source {
        &self.all[index as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> &mut Source {
        &mut self.all[index as usize]
    }

    /// A list of the source that was at `index` when its waiter came; another's since, or none, for a key that is old
    /// or of another reactor.
    #[inline]
    pub(super) fn list(&mut self, index: u32, interest: Interest) -> Option<&mut List> {
        Some(self.all.get_mut(index as usize)?.list(interest))
    }

    /// The source of a descriptor.
    #[inline]
    pub(super) fn find(&self, fd: RawFd) -> Option<u32> {
        let place = usize::try_from(fd).ok()?;
        self.by_fd
            .get(place)
            .copied()
            .filter(|&index| index != NONE)
    }

    /// An index that nobody uses; it remains free until `occupy`.
    pub(super) fn reserve(&mut self) -> u32 {
        if let Some(&index) = self.free.last() {
            return index;
        }
        let index = u32::try_from(self.all.len()).unwrap_or(NONE);
        assert!(index != NONE, "more than 2^32 - 2 descriptors");
        self.all.push(Source {
            fd: -1,
            generation: 0,
            owners: 0,
            ready: 0,
            readers: List::EMPTY,
            writers: List::EMPTY,
        });
        self.free.push(index);
        index
    }

    /// Makes the index last reserved the source of `fd`.
    pub(super) fn occupy(&mut self, index: u32, fd: RawFd) {
        let taken = self.free.pop();
        debug_assert_eq!(taken, Some(index), "occupied what was reserved last");
        let place = usize::try_from(fd).expect("callers refuse negative descriptors");
        if place >= self.by_fd.len() {
            self.by_fd.resize(place + 1, NONE);
        }
        self.by_fd[place] = index;
        self.get_mut(index).fd = fd;
    }

    /// Gives an index up.
    pub(super) fn vacate(&mut self, index: u32) {
        self.renew(index);
        let source = self.get_mut(index);
        let fd = std::mem::replace(&mut source.fd, -1);
        if let Some(place) = usize::try_from(fd)
            .ok()
            .and_then(|fd| self.by_fd.get_mut(fd))
        {
            *place = NONE;
        }
        self.free.push(index);
    }

    /// Lets all tokens and pending events of a source die.
    pub(super) fn renew(&mut self, index: u32) {
        let source = self.get_mut(index);
        source.generation = source.generation.wrapping_add(1);
        source.owners = 0;
        source.ready = 0;
    }

    /// All indexes in use.
    pub(super) fn indexes(&self) -> Vec<u32> {
        self.by_fd
            .iter()
            .copied()
            .filter(|&index| index != NONE)
            .collect()
    }

    #[inline]
    pub(super) fn token(&self, index: u32) -> Token {
        Token {
            index,
            generation: self.get(index).generation,
        }
    }

    #[inline]
    pub(super) fn by_token(&self, token: Token) -> Option<&Source> {
        self.all
            .get(token.index as usize)
            .filter(|source| source.generation == token.generation)
    }

    #[inline]
    pub(super) fn by_token_mut(&mut self, token: Token) -> Option<&mut Source> {
        self.all
            .get_mut(token.index as usize)
            .filter(|source| source.generation == token.generation)
    }

    /// What the kernel shall hold for a source.
    #[inline]
    pub(super) fn data(&self, index: u32) -> u64 {
        u64::from(self.get(index).generation) << 32 | u64::from(index)
    }

    /// The source for which the kernel held `data`, if it is still the same.
    #[inline]
    pub(super) fn by_data(&self, data: u64) -> Option<u32> {
        let index = u32::try_from(data & u64::from(u32::MAX)).unwrap_or(NONE);
        let source = self.all.get(index as usize)?;
        (u64::from(source.generation) == data >> 32 && source.fd >= 0).then_some(index)
    }
}
