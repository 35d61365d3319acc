//! The C stacks of one thread's greenlets: the usual ones, and deep ones for a raised recursion limit.
//!
//! CPython up to 3.11 counts levels of recursion, not bytes of stack. Whoever raises
//! `sys.setrecursionlimit()` beyond what the usual stack holds gets, for greenlets that start from then on,
//! stacks of the size that a thread has, so that the limit is met before the end of the stack. Later versions
//! check C recursion by itself and always use the usual ones.

use std::io;

use eventlet::stack::{Config, Pool, Stack};

/// Bytes of a deep stack: what Linux gives a thread by default.
const DEEP: usize = 8 << 20;

/// The pools of one thread.
pub struct Stacks {
    usual: Pool,
    deep: Option<Pool>,
}

impl Stacks {
    /// Nothing is mapped before the first [`take`](Self::take).
    pub fn new(config: Config) -> Stacks {
        Stacks {
            usual: Pool::new(config),
            deep: None,
        }
    }

    /// A stack of `wanted` bytes as far as there are such; a usual one where memory does not suffice.
    #[inline(always)]
    pub fn take(&mut self, wanted: usize) -> io::Result<Stack> {
        let usual = self.usual.config();
        if wanted > usual.size && usual.size < DEEP {
            self.take_deep(usual)
        } else {
            self.usual.take()
        }
    }

    #[cold]
    fn take_deep(&mut self, usual: Config) -> io::Result<Stack> {
        let config = Config {
            size: DEEP,
            ..usual
        };
        let deep = self.deep.get_or_insert_with(|| Pool::new(config));
        deep.take().or_else(|_| self.usual.take())
    }

    /// Takes a stack back that came from here.
    #[inline(always)]
    pub fn put(&mut self, stack: Stack) {
        match &mut self.deep {
            Some(deep) if stack.size() >= DEEP => deep.put(stack),
            _ => self.usual.put(stack),
        }
    }

    /// Gives the memory of idle stacks back to the kernel, but for the `keep_warm` warmest of each size.
    pub fn trim(&mut self, keep_warm: usize) {
        self.usual.trim(keep_warm);
        if let Some(deep) = &mut self.deep {
            deep.trim(keep_warm);
        }
    }

    /// Stacks that greenlets own now.
    pub fn in_use(&self) -> usize {
        self.usual.in_use() + self.deep.as_ref().map_or(0, Pool::in_use)
    }

    /// Stacks that wait for a greenlet.
    pub fn idle(&self) -> usize {
        self.usual.idle() + self.deep.as_ref().map_or(0, Pool::idle)
    }
}
