//! When stacks give their memory back: in idle moments, and only what was not needed for a while.
//!
//! Time goes in windows. When one is over, the pooled stacks that nobody took in it are surplus, and
//! a sweep looks at the parked flows: one that was parked in the same park when the last sweep came
//! by gives back what lies below its stack pointer, once for each park. Both are done in small
//! portions, between which the driver looks for something ready.
//!
//! Invariant: [`Trimmer::rest`] answers [`Rest::Long`] only if there is nothing to give back, now or
//! in the next window, unless something runs in between. So an idle driver is not woken up for ever.

use super::Pool;
use crate::clock::Instant;
use std::time::Duration;

/// How long what is not needed stays, unless said otherwise.
pub const WINDOW: Duration = Duration::from_secs(1);

/// So many pooled stacks stay warm, however long nobody needs them.
pub const KEEP_WARM: usize = 256;

/// How many stacks give memory back in one portion, at about 1.5 µs each.
const PORTION: usize = 128;

/// How many places a portion looks at, at about 0.1 µs each.
const LOOKS: usize = 1024;

/// What a sweep found in a place.
///
/// ```
/// use eventlet::stack::Parked;
/// assert_ne!(Parked::Fresh, Parked::Settled);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// Nobody, or somebody who has given back what there was.
    Settled,
    /// Somebody who was not parked so when the last sweep came by.
    Fresh,
    /// Somebody who has given memory back just now.
    Trimmed,
}

/// The stacks of one driver.
///
/// [`Trimmer`] shows an example.
pub trait Memory {
    /// Calls `act` with each of its pools.
    fn pools(&mut self, act: &mut dyn FnMut(&mut Pool));

    /// How many places there are in which a flow may be parked.
    fn places(&self) -> usize;

    /// Looks at a place: the second look at the same park calls
    /// [`Stack::trim_below`](super::Stack::trim_below).
    fn look(&mut self, place: usize) -> Parked;
}

/// How long the driver may sleep.
///
/// [`Trimmer`] shows an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Not at all: there is more to give back. It looks for something ready, and comes again.
    None,
    /// At most so long, because then there may be something to give back.
    Short(Duration),
    /// As long as it likes.
    Long,
}

/// Decides for one driver when its stacks give memory back.
///
/// ```
/// use eventlet::clock::Instant;
/// use eventlet::stack::{Config, Memory, Parked, Pool, Rest, Trimmer};
/// use std::time::Duration;
///
/// struct OnePool(Pool);
/// impl Memory for OnePool {
///     fn pools(&mut self, act: &mut dyn FnMut(&mut Pool)) {
///         act(&mut self.0);
///     }
///     fn places(&self) -> usize {
///         0
///     }
///     fn look(&mut self, _place: usize) -> Parked {
///         Parked::Settled
///     }
/// }
///
/// let mut pool = Pool::new(Config { size: 64 * 1024, tail: 0 });
/// let stacks = (0..300).map(|_| pool.take()).collect::<Result<Vec<_>, _>>()?;
/// stacks.into_iter().for_each(|stack| pool.put(stack));
/// let mut memory = OnePool(pool);
///
/// let mut trimmer = Trimmer::new(Duration::from_secs(1));
/// let second = |n: u64| Instant::from_nanos(n * 1_000_000_000);
/// assert_eq!(trimmer.rest(second(5), &mut memory), Rest::Short(Duration::from_secs(1)));
/// assert_eq!(memory.0.warm(), 300);
/// assert_eq!(trimmer.rest(second(6), &mut memory), Rest::Long);
/// assert_eq!(memory.0.warm(), 256);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Trimmer {
    window: Duration,
    /// When the present window is over; `None` before the first.
    end: Option<Instant>,
    /// The next place of the sweep that is under way.
    next: Option<usize>,
    /// The last sweep, or the one that is under way, has found somebody fresh.
    fresh: bool,
    /// Something may have run since the last sweep began.
    stirred: bool,
    /// The last answer was [`Rest::None`]: the driver comes again, and nothing need have run.
    busy: bool,
}

impl Trimmer {
    /// Nothing that was needed within the last `window` is given back.
    ///
    /// The type shows an example.
    pub const fn new(window: Duration) -> Trimmer {
        Trimmer {
            window,
            end: None,
            next: None,
            fresh: false,
            stirred: false,
            busy: false,
        }
    }

    /// To be called whenever the driver is about to block; gives a portion back if it is time.
    ///
    /// The type shows an example.
    pub fn rest(&mut self, now: Instant, memory: &mut impl Memory) -> Rest {
        let end = match self.end {
            Some(end) if end <= now => {
                memory.pools(&mut Pool::begin_window);
                if self.next.is_none() && memory.places() > 0 {
                    self.next = Some(0);
                    self.fresh = false;
                }
                self.stirred = false;
                now.saturating_add(self.window)
            }
            Some(end) => {
                self.stirred |= !self.busy;
                end
            }
            None => {
                memory.pools(&mut Pool::begin_window);
                self.stirred = true;
                now.saturating_add(self.window)
            }
        };
        self.end = Some(end);
        let mut portion = PORTION;
        let (mut more, mut later) = (false, false);
        memory.pools(&mut |pool| {
            portion -= pool.trim_surplus(portion);
            more |= pool.has_surplus();
            later |= pool.warm() > KEEP_WARM;
        });
        self.sweep(portion, memory);
        self.busy = more || self.next.is_some();
        if self.busy {
            Rest::None
        } else if later || self.fresh || self.stirred {
            Rest::Short(end.saturating_since(now))
        } else {
            Rest::Long
        }
    }

    /// Goes on with a sweep that is under way.
    fn sweep(&mut self, mut portion: usize, memory: &mut impl Memory) {
        let Some(start) = self.next else { return };
        let places = memory.places();
        let mut place = start;
        while place < places && place < start + LOOKS && portion > 0 {
            match memory.look(place) {
                Parked::Settled => {}
                Parked::Fresh => self.fresh = true,
                Parked::Trimmed => portion -= 1,
            }
            place += 1;
        }
        self.next = (place < places).then_some(place);
    }
}
