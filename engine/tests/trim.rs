//! Memory that stacks do not need goes back in idle moments: portions, windows, and both drivers' promise.
#![cfg(target_os = "linux")]
#![allow(
    unsafe_code,
    reason = "writes into stacks and asks the kernel for their pages"
)]

mod watchdog;

use eventlet::clock::Instant;
use eventlet::rt;
use eventlet::stack::{Config, KEEP_WARM, Memory, Parked, Pool, Rest, Stack, Trimmer};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(1);

fn at(milliseconds: u64) -> Instant {
    Instant::from_nanos(milliseconds * 1_000_000)
}

fn short(milliseconds: u64) -> Rest {
    Rest::Short(Duration::from_millis(milliseconds))
}

/// Whether the page of an address is in memory.
fn is_resident(address: usize) -> bool {
    let page = address & !4095;
    let mut present = 0u8;
    // SAFETY: asks about one page that the caller's stack or pool keeps mapped.
    let result = unsafe { libc::mincore(page as *mut libc::c_void, 1, &mut present) };
    assert_eq!(result, 0);
    present & 1 == 1
}

/// One pool, and flows that are parked in it.
struct Driver {
    pool: Pool,
    parked: Vec<Option<(Stack, u8)>>,
}

impl Driver {
    fn new() -> Driver {
        let config = Config {
            size: 64 * 1024,
            tail: 0,
        };
        Driver {
            pool: Pool::new(config),
            parked: Vec::new(),
        }
    }

    /// So many stacks are used at once and put back.
    fn burst(&mut self, count: usize) {
        let stacks: Vec<_> = (0..count)
            .map(|_| {
                let stack = self.pool.take().expect("address space");
                // SAFETY: the lowest byte of a stack that nobody else uses.
                unsafe { stack.limit().write(1) };
                stack
            })
            .collect();
        stacks.into_iter().for_each(|stack| self.pool.put(stack));
    }

    /// A flow dirties its whole stack and parks near the top.
    fn park(&mut self) {
        let stack = self.pool.take().expect("address space");
        // SAFETY: as above.
        unsafe { stack.limit().write(1) };
        self.parked.push(Some((stack, 0)));
    }

    fn end(mut self) {
        for (stack, _) in self.parked.drain(..).flatten() {
            self.pool.put(stack);
        }
    }
}

impl Memory for Driver {
    fn pools(&mut self, act: &mut dyn FnMut(&mut Pool)) {
        act(&mut self.pool);
    }

    fn places(&self) -> usize {
        self.parked.len()
    }

    fn look(&mut self, place: usize) -> Parked {
        match &mut self.parked[place] {
            None => Parked::Settled,
            Some((stack, seen)) => {
                *seen += 1;
                match seen {
                    1 => Parked::Fresh,
                    2 => {
                        stack.trim_below(stack.top().wrapping_sub(100));
                        Parked::Trimmed
                    }
                    _ => Parked::Settled,
                }
            }
        }
    }
}

/// Rests until the trimmer has nothing more to do at this instant; how many portions that were, and the answer.
fn settle(trimmer: &mut Trimmer, now: Instant, driver: &mut Driver) -> (usize, Rest) {
    let mut portions = 0;
    loop {
        match trimmer.rest(now, driver) {
            Rest::None => portions += 1,
            rest => return (portions, rest),
        }
    }
}

#[test]
fn a_burst_is_forgotten_after_a_window_in_portions() {
    let mut driver = Driver::new();
    driver.burst(2000);
    let mut trimmer = Trimmer::new(WINDOW);
    assert_eq!(settle(&mut trimmer, at(0), &mut driver), (0, short(1000)));
    assert_eq!(settle(&mut trimmer, at(400), &mut driver), (0, short(600)));
    assert_eq!(driver.pool.warm(), 2000);
    let (portions, rest) = settle(&mut trimmer, at(1000), &mut driver);
    assert_eq!(driver.pool.warm(), KEEP_WARM);
    assert_eq!(rest, Rest::Long);
    assert!(portions > 5, "{portions} portions for 1744 stacks");
}

#[test]
fn what_was_needed_in_the_window_stays() {
    let mut driver = Driver::new();
    driver.burst(2000);
    let mut trimmer = Trimmer::new(WINDOW);
    settle(&mut trimmer, at(0), &mut driver);
    driver.burst(1500);
    let (_, rest) = settle(&mut trimmer, at(1000), &mut driver);
    assert_eq!(driver.pool.warm(), 1500, "500 were not needed");
    assert_eq!(rest, short(1000));
    driver.burst(2000);
    assert_eq!(driver.pool.warm(), 2000, "and they can be used again");
    let (_, rest) = settle(&mut trimmer, at(2000), &mut driver);
    assert_eq!((driver.pool.warm(), rest), (2000, short(1000)));
    let (_, rest) = settle(&mut trimmer, at(3000), &mut driver);
    assert_eq!((driver.pool.warm(), rest), (KEEP_WARM, Rest::Long));
}

#[test]
fn a_surplus_that_is_needed_after_all_is_not_trimmed_while_in_use() {
    let mut driver = Driver::new();
    driver.burst(1000);
    let mut trimmer = Trimmer::new(WINDOW);
    settle(&mut trimmer, at(0), &mut driver);
    assert_eq!(trimmer.rest(at(1000), &mut driver), Rest::None);
    let stacks: Vec<_> = (0..900)
        .map(|_| driver.pool.take().expect("address space"))
        .collect();
    let dirty = stacks.first().expect("900").limit().addr();
    assert!(is_resident(dirty));
    settle(&mut trimmer, at(1000), &mut driver);
    assert!(is_resident(dirty));
    assert_eq!(driver.pool.warm(), 0, "100 were left, all of them cold");
    stacks.into_iter().for_each(|stack| driver.pool.put(stack));
}

#[test]
fn a_parked_flow_gives_back_what_lies_below_once_it_has_been_parked_for_a_window() {
    let mut driver = Driver::new();
    driver.park();
    let dirty = driver.parked[0].as_ref().expect("parked").0.limit().addr();
    let mut trimmer = Trimmer::new(WINDOW);
    assert_eq!(settle(&mut trimmer, at(0), &mut driver), (0, short(1000)));
    assert_eq!(
        settle(&mut trimmer, at(1000), &mut driver),
        (0, short(1000))
    );
    assert!(is_resident(dirty));
    assert_eq!(settle(&mut trimmer, at(2000), &mut driver), (0, Rest::Long));
    assert!(!is_resident(dirty));
    driver.end();
}

#[test]
fn an_idle_driver_is_left_alone_until_something_stirs() {
    let mut driver = Driver::new();
    let mut trimmer = Trimmer::new(WINDOW);
    assert_eq!(trimmer.rest(at(0), &mut driver), short(1000));
    assert_eq!(trimmer.rest(at(1000), &mut driver), Rest::Long);
    // Woken by something else, much later: what it did may have left something.
    driver.park();
    assert_eq!(trimmer.rest(at(50_000), &mut driver), short(1000));
    assert_eq!(trimmer.rest(at(51_000), &mut driver), Rest::Long);
    // …or within the window.
    assert_eq!(trimmer.rest(at(51_300), &mut driver), short(700));
    assert_eq!(trimmer.rest(at(52_000), &mut driver), Rest::Long);
    driver.end();
}

#[test]
fn many_parked_flows_are_looked_at_in_portions() {
    let mut driver = Driver::new();
    for _ in 0..1500 {
        driver.park();
    }
    let mut trimmer = Trimmer::new(WINDOW);
    settle(&mut trimmer, at(0), &mut driver);
    let (portions, _) = settle(&mut trimmer, at(1000), &mut driver);
    assert_eq!(portions, 1, "1024 looks, then the others");
    let (portions, rest) = settle(&mut trimmer, at(2000), &mut driver);
    assert_eq!((portions, rest), (11, Rest::Long), "128 trims each");
    assert!(driver.parked.iter().flatten().all(|(_, seen)| *seen == 2));
    driver.end();
}

/// Dirties a quarter of a MiB of stack; the address of some of it.
#[inline(never)]
fn deep() -> usize {
    let mut room = [0u8; 200 * 1024];
    room[0] = 1;
    std::hint::black_box(&mut room).as_ptr().addr()
}

#[test]
fn the_runtime_trims_idle_and_parked_threads() {
    let _watchdog = watchdog::watch();
    let dirty = Rc::new(RefCell::new(Vec::new()));
    let intact = Rc::new(Cell::new(0));
    let (own, count) = (dirty.clone(), intact.clone());
    rt::run(move || {
        for _ in 0..600 {
            rt::spawn(|| {
                deep();
                rt::sleep(Duration::from_millis(1));
            });
        }
        rt::sleep(Duration::from_millis(300));
        let parked: Vec<_> = (0..3)
            .map(|number| {
                let (own, count) = (own.clone(), count.clone());
                rt::spawn(move || {
                    own.borrow_mut().push(deep());
                    rt::sleep(Duration::from_millis(3500));
                    count.set(count.get() + number);
                })
            })
            .collect();
        rt::sleep(Duration::from_millis(1));
        assert!(own.borrow().iter().all(|&page| is_resident(page)));
        rt::sleep(Duration::from_millis(3200));
        assert!(own.borrow().iter().all(|&page| !is_resident(page)));
        parked
            .into_iter()
            .for_each(|thread| thread.join().expect("ends"));
    });
    assert_eq!(intact.get(), 3);
}
