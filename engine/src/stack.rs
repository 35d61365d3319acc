//! C stacks: lazily committed, guarded, pooled.
//!
//! A *slot* is one stack with its guard and its tail; up to 64 of them make a *slab*, one mapping:
//!
//! ```text
//!   low                                                                    high
//!   | guard, 1 page | C stack, grows down from top | tail, grows up from top |
//!                   ^ limit                    top ^
//!                              one page: [ ... stack | tail ... ]
//! ```
//!
//! The top lies in the middle of a page, so that the hot ends of stack and tail share one page: a
//! parked flow costs 4 KiB of memory however large its stack may become. Tops differ by multiples of
//! 64 bytes from slot to slot ("colours"), or they would all compete for the same cache lines.
//!
//! Invariant: a slot's memory stays mapped until its [`Pool`] is dropped with no slot of that slab in
//! use. A stack that is never put back is leaked and counted ([`leaked`]), never unmapped: somebody
//! may still point into it.

mod guard;
mod trimmer;
mod valgrind;

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub use guard::Guards;
pub use trimmer::{KEEP_WARM, Memory, Parked, Rest, Trimmer, WINDOW};

/// The size of a stack, in bytes, where nobody asks for another: 256 KiB.
pub const DEFAULT_SIZE: usize = 256 * 1024;

/// The smallest size of a stack, in bytes: 16 KiB. Smaller wishes are raised to it.
pub const MIN_SIZE: usize = 16 * 1024;

/// Slots in one mapping, unless the address space is too short for so many.
const SLAB_SLOTS: usize = 64;

/// Tops are spread over this many positions…
const COLOURS: usize = 16;

/// …this many bytes apart: one cache line.
const COLOUR_STEP: usize = 64;

static LEAKED: AtomicUsize = AtomicUsize::new(0);

/// How many stacks of this process were dropped without [`Pool::put`], and are lost for good.
///
/// ```
/// use eventlet::stack::{Config, Pool, leaked};
/// let before = leaked();
/// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
/// drop(pool.take()?);
/// assert_eq!(leaked(), before + 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn leaked() -> usize {
    LEAKED.load(Relaxed)
}

/// What a pool's stacks look like.
///
/// ```
/// use eventlet::stack::{Config, Pool};
/// let mut pool = Pool::new(Config { size: 128 * 1024, tail: 16 * 1024 });
/// let stack = pool.take()?;
/// assert!(stack.size() >= 128 * 1024);
/// assert!(stack.tail().1 >= 16 * 1024);
/// # pool.put(stack);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of C stack, at least; raised to [`MIN_SIZE`]. Only what is touched becomes memory.
    pub size: usize,
    /// Bytes above the top for the owner's own use, at least; 0 for none.
    pub tail: usize,
}

/// Reads a stack size as users write it: bytes, or a number with `K`, `M` or `G` (powers of 1024).
///
/// `None`, the value of a variable that is not set, gives [`DEFAULT_SIZE`].
///
/// # Errors
/// `InvalidInput`, saying what is wrong, for anything else: empty text, signs, fractions, less than
/// [`MIN_SIZE`], or more than the address space.
///
/// ```
/// use eventlet::stack::{DEFAULT_SIZE, default_size};
/// assert_eq!(default_size(None)?, DEFAULT_SIZE);
/// assert_eq!(default_size(Some("512K"))?, 512 * 1024);
/// assert_eq!(default_size(Some("1m"))?, 1024 * 1024);
/// assert_eq!(default_size(Some("65536"))?, 65536);
/// assert!(default_size(Some("plenty")).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn default_size(var: Option<&str>) -> io::Result<usize> {
    let Some(text) = var else {
        return Ok(DEFAULT_SIZE);
    };
    let wrong = |why: &str| {
        let message = format!(
            "stack size {text:?} {why}; want bytes or a number with K, M or G, such as 256K"
        );
        io::Error::new(io::ErrorKind::InvalidInput, message)
    };
    let trimmed = text.trim();
    let digits = trimmed.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match trimmed[digits.len()..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => return Err(wrong("has an unknown unit")),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong("is not a whole number"));
    }
    let size = digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|&size| size <= (usize::MAX / 2) / SLAB_SLOTS)
        .ok_or_else(|| wrong("does not fit into the address space"))?;
    if size < MIN_SIZE {
        return Err(wrong("is less than the minimum of 16K"));
    }
    Ok(size)
}

/// One stack, taken from a [`Pool`].
///
/// It goes back by [`Pool::put`]. Dropping it instead leaks the memory on purpose and counts it in
/// [`leaked`]: a flow that could not be unwound may still have pointers into it.
///
/// ```
/// use eventlet::stack::{Config, Pool};
/// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 512 });
/// let stack = pool.take()?;
/// let (tail, bytes) = stack.tail();
/// assert_eq!(tail, stack.top());
/// assert!(bytes >= 512);
/// pool.put(stack);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Stack {
    slot: Box<Slot>,
}

/// Where a slot lies, and whose it is.
#[derive(Debug)]
struct Slot {
    top: *mut u8,
    limit: *mut u8,
    end: *mut u8,
    /// Bytes of guard below the limit.
    guard: usize,
    /// Number of the pool that it belongs to, of the slab there, and of the slot among all of the pool.
    pool: usize,
    slab: usize,
    number: usize,
    /// In its pool, where nobody needs it.
    home: bool,
}

impl Slot {
    fn bytes(&self) -> usize {
        self.end.addr() - self.limit.addr()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.home {
            LEAKED.fetch_add(1, Relaxed);
        }
    }
}

impl Stack {
    /// Where the stack begins, and the tail too; a multiple of 16. A stack grows down from here.
    ///
    /// ```
    /// # use eventlet::stack::{Config, Pool};
    /// # let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// # let stack = pool.take()?;
    /// assert_eq!(stack.top().addr() % 16, 0);
    /// # pool.put(stack);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn top(&self) -> *mut u8 {
        self.slot.top
    }

    /// The lowest usable byte, just above the guard.
    ///
    /// ```
    /// # use eventlet::stack::{Config, Pool};
    /// # let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// # let stack = pool.take()?;
    /// assert_eq!(stack.top().addr() - stack.limit().addr(), stack.size());
    /// # pool.put(stack);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn limit(&self) -> *mut u8 {
        self.slot.limit
    }

    /// Bytes between [`Stack::limit`] and [`Stack::top`]; at least [`Config::size`].
    ///
    /// ```
    /// # use eventlet::stack::{Config, Pool};
    /// # let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// # let stack = pool.take()?;
    /// assert!(stack.size() >= 64 * 1024);
    /// # pool.put(stack);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn size(&self) -> usize {
        self.slot.top.addr() - self.slot.limit.addr()
    }

    /// The guard: its address and its size in bytes. Touching it kills the process with SIGSEGV.
    ///
    /// The size is 0 (and the address the limit) if the kernel would not give this slot one.
    ///
    /// ```
    /// # use eventlet::stack::{Config, Pool};
    /// # let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// # let stack = pool.take()?;
    /// let (start, bytes) = stack.guard();
    /// assert_eq!(start.addr() + bytes, stack.limit().addr());
    /// # pool.put(stack);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn guard(&self) -> (*mut u8, usize) {
        let bytes = self.slot.guard;
        (self.slot.limit.wrapping_sub(bytes), bytes)
    }

    /// The memory above the top: its address and its size in bytes, both multiples of 16.
    ///
    /// Its contents are unspecified when the stack is taken. The type shows an example.
    #[inline]
    pub fn tail(&self) -> (*mut u8, usize) {
        (self.slot.top, self.slot.end.addr() - self.slot.top.addr())
    }

    /// Tells this stack from the others of its pool: they are numbered from 0 as they are first handed out.
    ///
    /// ```
    /// # use eventlet::stack::{Config, Pool};
    /// # let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// let (first, second) = (pool.take()?, pool.take()?);
    /// assert_eq!((first.number(), second.number()), (0, 1));
    /// # pool.put(first);
    /// # pool.put(second);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn number(&self) -> usize {
        self.slot.number
    }

    /// Gives the memory well below `sp` back to the kernel: what a deep call once dirtied.
    ///
    /// For a stack that is parked at stack pointer `sp`. One page below the page of `sp` is spared,
    /// which is more than the ABI's red zone. Nothing happens if `sp` is not on this stack. The
    /// memory can be used again at any time, and reads as zero then.
    ///
    /// ```
    /// # use eventlet::stack::{Config, Pool};
    /// # let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// # let stack = pool.take()?;
    /// let deep = stack.limit();
    /// unsafe { deep.write(7) };
    /// stack.trim_below(stack.top().wrapping_sub(64));
    /// assert_eq!(unsafe { deep.read() }, 0);
    /// # pool.put(stack);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn trim_below(&self, sp: *mut u8) {
        let page = guard::page_size();
        let limit = self.slot.limit;
        if sp < limit || sp > self.slot.top {
            return;
        }
        let spare = (sp.addr() - limit.addr()) / page;
        if spare > 1 {
            discard(limit, (spare - 1) * page);
        }
    }
}

/// Tells the kernel that the contents of whole pages are not needed any more.
fn discard(start: *mut u8, bytes: usize) {
    // SAFETY: the range lies within one slot, of which the caller knows that its contents are dead.
    // Failure (a locked page) leaves the contents, which is harmless.
    unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) };
}

/// How the slots of a pool are cut, in bytes. Worked out once.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    page: usize,
    /// From the slot's start to its first colour's top.
    top: usize,
    /// Tops of higher colours lie higher.
    slot: usize,
}

impl Geometry {
    /// `None` if no address space is large enough.
    fn new(config: Config, page: usize) -> Option<Geometry> {
        let spread = (COLOURS - 1) * COLOUR_STEP;
        let tail = config.tail.checked_next_multiple_of(COLOUR_STEP)?;
        // A small tail goes to the end of the page, which leaves the stack the most of it.
        let within = page
            .saturating_sub(spread.saturating_add(tail))
            .max(page / 2);
        let size = config.size.max(MIN_SIZE);
        let below = size.saturating_sub(within).checked_next_multiple_of(page)?;
        let top = page.checked_add(below)?.checked_add(within)?;
        let slot = top
            .checked_add(spread)?
            .checked_add(tail)?
            .checked_next_multiple_of(page)?;
        slot.checked_mul(SLAB_SLOTS)
            .filter(|&bytes| bytes <= (usize::MAX / 2))?;
        Some(Geometry { page, top, slot })
    }
}

/// One mapping, cut into slots.
#[derive(Debug)]
struct Slab {
    base: *mut u8,
    slots: usize,
    /// How many slots have been handed out at least once; the others are untouched.
    carved: usize,
    /// How many of its guards were made by `mprotect`.
    protected: usize,
    /// What valgrind calls its stacks; empty without valgrind.
    registered: Vec<usize>,
}

/// Hands out stacks of one [`Config`], the warmest first.
///
/// ```
/// use eventlet::stack::{Config, Pool};
/// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
/// let first = pool.take()?;
/// let top = first.top();
/// pool.put(first);
/// let again = pool.take()?;
/// assert_eq!(again.top(), top, "last in, first out");
/// assert_eq!((pool.in_use(), pool.idle()), (1, 0));
/// # pool.put(again);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    id: usize,
    config: Config,
    guards: Guards,
    geometry: Option<Geometry>,
    /// Slots that were used before; the warmest is the last.
    idle: Vec<Stack>,
    /// The first so many idle slots hold no memory.
    cold: usize,
    /// The first so many were idle all the time since the window began…
    unused: usize,
    /// …and these all through the window before: they are to give memory back.
    surplus: usize,
    in_use: usize,
    /// How many slots were handed out at least once.
    carved: usize,
    slabs: Vec<Slab>,
}

impl Pool {
    /// A pool of stacks that look like `config`. Maps nothing yet.
    ///
    /// ```
    /// use eventlet::stack::{Config, Pool};
    /// let pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// assert_eq!((pool.in_use(), pool.idle()), (0, 0));
    /// ```
    pub fn new(config: Config) -> Pool {
        Pool::with_guards(config, Guards::Auto)
    }

    /// As [`Pool::new`], choosing how guards are made.
    ///
    /// ```
    /// use eventlet::stack::{Config, Guards, Pool};
    /// let config = Config { size: 64 * 1024, tail: 0 };
    /// let mut pool = Pool::with_guards(config, Guards::Protect);
    /// let stack = pool.take()?;
    /// assert!(stack.guard().1 > 0);
    /// # pool.put(stack);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_guards(config: Config, guards: Guards) -> Pool {
        /// The number of the next pool.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Pool {
            id: NEXT.fetch_add(1, Relaxed),
            config,
            guards,
            geometry: Geometry::new(config, guard::page_size()),
            idle: Vec::new(),
            cold: 0,
            unused: 0,
            surplus: 0,
            in_use: 0,
            carved: 0,
            slabs: Vec::new(),
        }
    }

    /// What the stacks look like, as it was given to [`Pool::new`].
    ///
    /// ```
    /// use eventlet::stack::{Config, Pool};
    /// let config = Config { size: 64 * 1024, tail: 0 };
    /// assert_eq!(Pool::new(config).config(), config);
    /// ```
    pub fn config(&self) -> Config {
        self.config
    }

    /// A stack: the one put back last, or a fresh one.
    ///
    /// A few nanoseconds for a used one. A fresh one costs its guard, and a mapping per 64.
    ///
    /// # Errors
    /// `ENOMEM` when the address space is exhausted; nothing has changed then.
    ///
    /// The type shows an example.
    #[inline]
    pub fn take(&mut self) -> io::Result<Stack> {
        match self.idle.pop() {
            Some(mut stack) => {
                let idle = self.idle.len();
                self.cold = self.cold.min(idle);
                self.unused = self.unused.min(idle);
                self.in_use += 1;
                stack.slot.home = false;
                Ok(stack)
            }
            None => self.take_fresh(),
        }
    }

    /// Takes a stack back. Nobody may use its memory any more.
    ///
    /// A stack of another pool is not accepted: it is leaked, as if dropped.
    ///
    /// The type shows an example.
    #[inline]
    pub fn put(&mut self, mut stack: Stack) {
        if stack.slot.pool != self.id {
            return; // the stack is dropped here, which leaks and counts it
        }
        stack.slot.home = true;
        self.in_use -= 1;
        self.idle.push(stack);
    }

    /// Gives the memory of idle stacks back to the kernel, but for the `keep_warm` warmest.
    ///
    /// Answers how many stacks gave some. The address space stays reserved. Costs about 1.5 µs for
    /// each such stack, so it is work for idle moments.
    ///
    /// ```
    /// use eventlet::stack::{Config, Pool};
    /// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// let stacks = (0..10).map(|_| pool.take()).collect::<Result<Vec<_>, _>>()?;
    /// stacks.into_iter().for_each(|stack| pool.put(stack));
    /// assert_eq!(pool.trim(4), 6);
    /// assert_eq!(pool.trim(4), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn trim(&mut self, keep_warm: usize) -> usize {
        let until = self.idle.len().saturating_sub(keep_warm);
        self.cool(until)
    }

    /// The coldest idle stacks, up to number `until`, give their memory back; answers how many did.
    fn cool(&mut self, until: usize) -> usize {
        let Some(warm) = self.idle.get(self.cold..until) else {
            return 0;
        };
        for stack in warm {
            discard(stack.slot.limit, stack.slot.bytes());
        }
        let cooled = warm.len();
        self.cold = until;
        cooled
    }

    /// A window of time is over and the next begins: what nobody took in it is surplus, but for the
    /// [`KEEP_WARM`] warmest.
    fn begin_window(&mut self) {
        let idle = self.idle.len();
        self.surplus = self.unused.min(idle.saturating_sub(KEEP_WARM));
        self.unused = idle;
    }

    /// At most `portion` of the surplus stacks give their memory back; answers how many did.
    fn trim_surplus(&mut self, portion: usize) -> usize {
        let surplus = self.surplus.min(self.idle.len());
        self.cool(surplus.min(self.cold + portion))
    }

    /// Whether there is surplus left.
    fn has_surplus(&self) -> bool {
        self.surplus.min(self.idle.len()) > self.cold
    }

    /// How many idle stacks may hold memory.
    ///
    /// ```
    /// use eventlet::stack::{Config, Pool};
    /// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// let stack = pool.take()?;
    /// pool.put(stack);
    /// assert_eq!((pool.idle(), pool.warm()), (1, 1));
    /// pool.trim(0);
    /// assert_eq!((pool.idle(), pool.warm()), (1, 0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn warm(&self) -> usize {
        self.idle.len() - self.cold
    }

    /// Whether the stack was taken from here.
    ///
    /// ```
    /// use eventlet::stack::{Config, Pool};
    /// let config = Config { size: 64 * 1024, tail: 0 };
    /// let (mut pool, other) = (Pool::new(config), Pool::new(config));
    /// let stack = pool.take()?;
    /// assert!(pool.owns(&stack) && !other.owns(&stack));
    /// # pool.put(stack);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn owns(&self, stack: &Stack) -> bool {
        stack.slot.pool == self.id
    }

    /// How many stacks are taken and not put back, leaked ones included.
    ///
    /// ```
    /// use eventlet::stack::{Config, Pool};
    /// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// let stack = pool.take()?;
    /// assert_eq!(pool.in_use(), 1);
    /// # pool.put(stack);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// How many used stacks wait to be taken again.
    ///
    /// ```
    /// use eventlet::stack::{Config, Pool};
    /// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
    /// let stack = pool.take()?;
    /// pool.put(stack);
    /// assert_eq!(pool.idle(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Carves the next slot that nobody has used, mapping another slab if need be.
    #[cold]
    fn take_fresh(&mut self) -> io::Result<Stack> {
        let out_of_memory = || io::Error::from_raw_os_error(libc::ENOMEM);
        let geometry = self.geometry.ok_or_else(out_of_memory)?;
        if self
            .slabs
            .last()
            .is_none_or(|slab| slab.carved == slab.slots)
        {
            let slab = Slab::map(geometry)?;
            self.slabs.push(slab);
        }
        let number = self.slabs.len() - 1;
        let slab = &mut self.slabs[number];
        let index = slab.carved;
        let start = slab.base.wrapping_add(index * geometry.slot);
        let guard = match guard::install(start, geometry.page, self.guards, index == 0) {
            guard::Made::None => 0,
            guard::Made::Marked => geometry.page,
            guard::Made::Protected => {
                slab.protected += 1;
                geometry.page
            }
        };
        slab.carved += 1;
        let top = start.wrapping_add(geometry.top + index % COLOURS * COLOUR_STEP);
        let limit = start.wrapping_add(geometry.page);
        let end = start.wrapping_add(geometry.slot);
        let id = valgrind::register(limit, top);
        if id != 0 {
            slab.registered.push(id);
        }
        #[cfg(all(eventlet_asan, not(eventlet_portable_fiber)))]
        crate::fiber::asan::register(limit, top);
        self.in_use += 1;
        let (pool, slab, number) = (self.id, number, self.carved);
        self.carved += 1;
        let slot = Slot {
            top,
            limit,
            end,
            guard,
            pool,
            slab,
            number,
            home: false,
        };
        Ok(Stack {
            slot: Box::new(slot),
        })
    }
}

impl Slab {
    /// Maps as many slots as the address space has room for, but at most [`SLAB_SLOTS`].
    fn map(geometry: Geometry) -> io::Result<Slab> {
        let mut slots = SLAB_SLOTS;
        loop {
            let bytes = slots * geometry.slot;
            // SAFETY: a new private mapping at an address of the kernel's choice touches nothing.
            let base = unsafe {
                libc::mmap(
                    ptr::null_mut(),
                    bytes,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                    -1,
                    0,
                )
            };
            if base != libc::MAP_FAILED {
                // Where huge pages are used for everything, one touched byte would cost 2 MiB.
                #[cfg(target_os = "linux")]
                // SAFETY: the range was mapped just now; the advice changes no contents. A kernel
                // without huge pages refuses it, which is as good.
                unsafe {
                    libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE)
                };
                let base = base.cast();
                return Ok(Slab {
                    base,
                    slots,
                    carved: 0,
                    protected: 0,
                    registered: Vec::new(),
                });
            }
            let error = io::Error::last_os_error();
            if slots == 1 {
                return Err(error);
            }
            slots /= 2;
        }
    }

    /// Unmaps the slab. No slot of it may be in use.
    fn unmap(self, geometry: Geometry) {
        for &id in &self.registered {
            valgrind::deregister(id);
        }
        #[cfg(all(eventlet_asan, not(eventlet_portable_fiber)))]
        for index in 0..self.carved {
            let start = self.base.wrapping_add(index * geometry.slot);
            let top = start.wrapping_add(geometry.top + index % COLOURS * COLOUR_STEP);
            crate::fiber::asan::clean(start.wrapping_add(geometry.page), top);
            crate::fiber::asan::unregister(top);
        }
        guard::release(self.protected);
        // SAFETY: the mapping is ours, made with this size, and the pool that goes away found all
        // its slots idle.
        unsafe { libc::munmap(self.base.cast(), self.slots * geometry.slot) };
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let Some(geometry) = self.geometry else {
            return;
        };
        let mut idle = vec![0; self.slabs.len()];
        for stack in &self.idle {
            idle[stack.slot.slab] += 1;
        }
        for (slab, idle) in self.slabs.drain(..).zip(idle) {
            if slab.carved == idle {
                slab.unmap(geometry);
            }
        }
    }
}
