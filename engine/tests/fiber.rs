//! Switching between stacks: what must survive it, and that it is symmetric.
#![allow(unsafe_code, reason = "fibers are made and switched by hand")]

use eventlet::fiber::{Fiber, depart, switch, switch_plain};
use eventlet::stack::{Config, Pool, Stack};
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Body = Box<dyn FnOnce(&Flow)>;

/// One flow running a closure, and the flow that waits for it.
struct Flow {
    stack: Option<Stack>,
    own: Fiber,
    back: Fiber,
    body: UnsafeCell<Option<Body>>,
    ended: Cell<bool>,
}

impl Flow {
    fn new(pool: &mut Pool, body: impl FnOnce(&Flow) + 'static) -> Box<Flow> {
        let stack = pool.take().expect("address space");
        let top = stack.top();
        let mut flow = Box::new(Flow {
            stack: Some(stack),
            own: Fiber::running(),
            back: Fiber::running(),
            body: UnsafeCell::new(Some(Box::new(body))),
            ended: Cell::new(false),
        });
        let argument = (&raw mut *flow).cast();
        // SAFETY: the flow owns the stack until `end` puts it back; `run` never returns.
        flow.own = unsafe { Fiber::new(top, run, argument) };
        flow
    }

    fn enter(&self) {
        assert!(!self.ended.get(), "entered a flow that has ended");
        // SAFETY: `own` is suspended, since only `leave` and `run` switch to `back`.
        unsafe { switch(&raw const self.back, &raw const self.own) }
    }

    fn leave(&self) {
        // SAFETY: `back` was suspended by `enter`.
        unsafe { switch(&raw const self.own, &raw const self.back) }
    }

    fn end(mut self, pool: &mut Pool) {
        assert!(self.ended.get(), "its destructors have not run");
        pool.put(self.stack.take().expect("ended once"));
    }
}

unsafe extern "C" fn run(flow: *mut c_void) -> ! {
    // SAFETY: `Flow::new` passed a box that outlives the flow.
    let flow = unsafe { &*flow.cast_const().cast::<Flow>() };
    // SAFETY: only this line touches the body.
    let body = unsafe { (*flow.body.get()).take() };
    body.expect("runs once")(flow);
    flow.ended.set(true);
    // SAFETY: `back` is suspended in `enter`; nothing is left on this stack.
    unsafe { depart(&raw const flow.back) }
}

fn pool() -> Pool {
    Pool::new(Config {
        size: 256 * 1024,
        tail: 0,
    })
}

#[test]
fn values_and_order_survive_many_switches() {
    let mut pool = pool();
    let total = std::rc::Rc::new(Cell::new(0_u64));
    let inner = total.clone();
    let flow = Flow::new(&mut pool, move |flow| {
        let mut sum = 0_u64;
        for i in 0..1000 {
            sum += i;
            inner.set(sum);
            flow.leave();
        }
    });
    let mut sum = 0;
    for i in 0..1000 {
        flow.enter();
        sum += i;
        assert_eq!(total.get(), sum);
    }
    flow.enter();
    flow.end(&mut pool);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn callee_saved_registers_survive() {
    /// Enough live values that the compiler has to keep some in every callee-saved register.
    #[inline(never)]
    fn churn(seed: u64, mut pause: impl FnMut()) -> u64 {
        let mut v = [0_u64; 12];
        for (i, slot) in v.iter_mut().enumerate() {
            *slot = seed.wrapping_mul(i as u64 + 3);
        }
        let [
            mut a,
            mut b,
            mut c,
            mut d,
            mut e,
            mut f,
            mut g,
            mut h,
            i,
            j,
            k,
            l,
        ] = v;
        let mut x = seed as f64;
        for n in 0..200 {
            pause();
            a = a.wrapping_add(b ^ n);
            b = b.wrapping_add(c);
            c = c.rotate_left(3) ^ d;
            d = d.wrapping_add(e);
            e = e.wrapping_mul(f | 1);
            f ^= g;
            g = g.wrapping_add(h);
            h = h.wrapping_sub(i ^ j);
            x = x * 1.000_1 + (n as f64);
        }
        a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j ^ k ^ l ^ x.to_bits()
    }
    let want: Vec<u64> = (1..9).map(|seed| churn(seed, || ())).collect();
    let got = std::rc::Rc::new(std::cell::RefCell::new(vec![0; 8]));
    let mut pool = pool();
    let flows: Vec<_> = (0..8_usize)
        .map(|n| {
            let got = got.clone();
            Flow::new(&mut pool, move |flow| {
                let result = churn(n as u64 + 1, || flow.leave());
                got.borrow_mut()[n] = result;
            })
        })
        .collect();
    while flows.iter().any(|flow| !flow.ended.get()) {
        for flow in flows.iter().filter(|flow| !flow.ended.get()) {
            flow.enter();
        }
    }
    flows.into_iter().for_each(|flow| flow.end(&mut pool));
    assert_eq!(*got.borrow(), want);
}

#[test]
fn fibers_switch_to_each_other_without_passing_through_the_thread() {
    struct Ring {
        fibers: Vec<Fiber>,
        main: Fiber,
        hops: Cell<usize>,
        next: Cell<usize>,
    }
    unsafe extern "C" fn hop(ring: *mut c_void) -> ! {
        // SAFETY: the test keeps the ring alive.
        let ring = unsafe { &*ring.cast_const().cast::<Ring>() };
        let me = ring.next.get();
        loop {
            ring.hops.set(ring.hops.get() + 1);
            let target = if ring.hops.get() == 10_000 {
                &raw const ring.main
            } else {
                ring.next.set((me + 1) % ring.fibers.len());
                &raw const ring.fibers[ring.next.get()]
            };
            // SAFETY: all others are suspended or new.
            unsafe { switch(&raw const ring.fibers[me], target) };
        }
    }
    let mut pool = pool();
    let stacks: Vec<_> = (0..7).map(|_| pool.take().expect("space")).collect();
    let mut ring = Box::new(Ring {
        fibers: Vec::new(),
        main: Fiber::running(),
        hops: Cell::new(0),
        next: Cell::new(0),
    });
    let argument = (&raw mut *ring).cast::<c_void>();
    for stack in &stacks {
        // SAFETY: the stacks outlive the ring.
        ring.fibers
            .push(unsafe { Fiber::new(stack.top(), hop, argument) });
    }
    // SAFETY: fiber 0 is new.
    unsafe { switch(&raw const ring.main, &raw const ring.fibers[0]) };
    assert_eq!(ring.hops.get(), 10_000);
    for (stack, fiber) in stacks.iter().zip(&ring.fibers) {
        assert!(fiber.stack_pointer() > stack.limit() && fiber.stack_pointer() < stack.top());
    }
    stacks.into_iter().for_each(|stack| pool.put(stack));
}

#[test]
fn a_panic_is_caught_inside_the_fiber_and_backtraces_end() {
    let mut pool = pool();
    let lines = std::rc::Rc::new(Cell::new(0));
    let seen = lines.clone();
    let flow = Flow::new(&mut pool, move |flow| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            flow.leave();
            std::panic::resume_unwind(Box::new(7_u32));
        }));
        assert_eq!(
            *caught
                .expect_err("panicked")
                .downcast::<u32>()
                .expect("a number"),
            7
        );
        let trace = std::backtrace::Backtrace::force_capture().to_string();
        seen.set(trace.lines().count());
    });
    flow.enter();
    flow.enter();
    flow.end(&mut pool);
    assert!(
        (1..200).contains(&lines.get()),
        "{} lines of backtrace",
        lines.get()
    );
}

#[cfg(all(target_arch = "x86_64", not(eventlet_portable_fiber)))]
#[test]
fn floating_point_control_words_belong_to_the_flow() {
    use std::arch::asm;
    fn mxcsr() -> u32 {
        let mut word = 0_u32;
        // SAFETY: stores the register into a live variable.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack)) };
        word & !0x3f
    }
    fn set_mxcsr(word: u32) {
        // SAFETY: only rounding and flush bits are changed, and put back before other code runs.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack)) };
    }
    fn x87() -> u16 {
        let mut word = 0_u16;
        // SAFETY: stores the register into a live variable.
        unsafe { asm!("fnstcw [{}]", in(reg) &raw mut word, options(nostack)) };
        word
    }
    fn set_x87(word: u16) {
        // SAFETY: only the precision bits are changed.
        unsafe { asm!("fldcw [{}]", in(reg) &raw const word, options(nostack)) };
    }
    let (sse, fpu) = (mxcsr(), x87());
    let mut pool = pool();
    let flow = Flow::new(&mut pool, move |flow| {
        assert_eq!(
            (mxcsr(), x87()),
            (sse, fpu),
            "a new flow starts with its maker's words"
        );
        set_mxcsr(sse | 0x8040);
        set_x87(fpu & !0x0300);
        for _ in 0..3 {
            flow.leave();
            assert_eq!((mxcsr(), x87()), (sse | 0x8040, fpu & !0x0300));
        }
        set_mxcsr(sse);
        set_x87(fpu);
    });
    for _ in 0..4 {
        flow.enter();
        assert_eq!((mxcsr(), x87()), (sse, fpu));
    }
    assert!(flow.ended.get());
    flow.end(&mut pool);
}

#[cfg(all(target_arch = "aarch64", not(eventlet_portable_fiber)))]
#[test]
fn floating_point_control_words_belong_to_the_flow() {
    use std::arch::asm;
    fn fpcr() -> u64 {
        let word: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nostack)) };
        word
    }
    fn set_fpcr(word: u64) {
        // SAFETY: only the rounding mode is changed, and put back before other code runs.
        unsafe { asm!("msr fpcr, {}", in(reg) word, options(nostack)) };
    }
    const TOWARDS_ZERO: u64 = 3 << 22;
    let usual = fpcr();
    let mut pool = pool();
    let flow = Flow::new(&mut pool, move |flow| {
        assert_eq!(fpcr(), usual, "a new flow starts with its maker's word");
        set_fpcr(usual | TOWARDS_ZERO);
        for _ in 0..3 {
            flow.leave();
            assert_eq!(fpcr(), usual | TOWARDS_ZERO);
        }
        set_fpcr(usual);
    });
    for _ in 0..4 {
        flow.enter();
        assert_eq!(fpcr(), usual);
    }
    assert!(flow.ended.get());
    flow.end(&mut pool);
}

#[test]
fn plain_and_full_switches_may_be_mixed() {
    struct Trio {
        main: Fiber,
        child: Fiber,
        rounds: Cell<u32>,
    }
    unsafe extern "C" fn alternate(trio: *mut c_void) -> ! {
        // SAFETY: the test keeps it alive.
        let trio = unsafe { &*trio.cast_const().cast::<Trio>() };
        loop {
            trio.rounds.set(trio.rounds.get() + 1);
            let (from, to) = (&raw const trio.child, &raw const trio.main);
            match trio.rounds.get() % 3 {
                // SAFETY: the test is suspended in `main`.
                0 => unsafe { switch(from, to) },
                // SAFETY: likewise.
                _ => unsafe { switch_plain(from, to) },
            }
        }
    }
    let mut pool = pool();
    let stack = pool.take().expect("address space");
    let mut trio = Box::new(Trio {
        main: Fiber::running(),
        child: Fiber::running(),
        rounds: Cell::new(0),
    });
    let argument = (&raw mut *trio).cast::<c_void>();
    // SAFETY: the stack outlives the fiber.
    trio.child = unsafe { Fiber::new(stack.top(), alternate, argument) };
    for round in 0..20_u32 {
        let (from, to) = (&raw const trio.main, &raw const trio.child);
        if round % 2 == 0 {
            // SAFETY: the child is new or suspended.
            unsafe { switch(from, to) };
        } else {
            // SAFETY: likewise.
            unsafe { switch_plain(from, to) };
        }
        assert_eq!(trio.rounds.get(), round + 1);
    }
    pool.put(stack);
}

#[test]
fn every_thread_has_its_own_flows() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let mut pool = pool();
                let count = std::rc::Rc::new(Cell::new(0));
                let flows: Vec<_> = (0..10)
                    .map(|_| {
                        let count = count.clone();
                        Flow::new(&mut pool, move |flow| {
                            for _ in 0..100 {
                                count.set(count.get() + 1);
                                flow.leave();
                            }
                        })
                    })
                    .collect();
                for _ in 0..101 {
                    flows.iter().for_each(|flow| flow.enter());
                }
                flows.into_iter().for_each(|flow| flow.end(&mut pool));
                count.get()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().expect("no panic"), 1000);
    }
}
