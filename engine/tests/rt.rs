//! Green threads: order, results, kills, deadlines, the end of the runtime, other OS threads.

mod watchdog;

use eventlet::reactor::Backend;
use eventlet::rt::{self, Builder, GreenThread, JoinError};
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};
use watchdog::watch;

const SECOND: Duration = Duration::from_secs(1);

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn note(&self, text: impl ToString) {
        self.0.borrow_mut().push(text.to_string());
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Notes that it is dropped.
struct Noisy(Log, &'static str);

impl Drop for Noisy {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

/// Runs `main` with time that jumps.
fn virtually<R>(main: impl FnOnce() -> R) -> R {
    Builder::new().virtual_time().run(main).expect("a runtime")
}

/// The text of the panic of `body`.
fn panic_text(body: impl FnOnce()) -> String {
    let payload = panic::catch_unwind(AssertUnwindSafe(body)).expect_err("it panics");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast::<&str>().expect("text").to_string(),
    }
}

#[test]
fn ready_threads_run_in_order_and_all_before_the_one_that_yields() {
    let _watchdog = watch();
    let log = Log::default();
    rt::run(|| {
        for n in 0..3 {
            let log = log.clone();
            rt::spawn(move || {
                log.note(format!("{n}a"));
                rt::yield_now();
                log.note(format!("{n}b"));
            });
        }
        rt::yield_now();
        log.note("main");
        rt::yield_now();
    });
    assert_eq!(log.take(), ["0a", "1a", "2a", "main", "0b", "1b", "2b"]);
}

#[test]
fn a_chain_of_spawns_uses_one_stack_after_the_other() {
    let _watchdog = watch();
    fn down(depth: u32) -> u32 {
        if depth == 0 {
            0
        } else {
            1 + rt::spawn(move || down(depth - 1)).join().unwrap()
        }
    }
    assert_eq!(rt::run(|| down(200)), 200);
}

#[test]
fn results_of_every_size_reach_the_joiner() {
    let _watchdog = watch();
    rt::run(|| {
        assert_eq!(rt::spawn(|| ()).join().unwrap(), ());
        assert_eq!(rt::spawn(|| [7u64; 8]).join().unwrap(), [7; 8]);
        let large = [3u64; 1000];
        assert_eq!(rt::spawn(move || large).join().unwrap(), large);
        assert_eq!(rt::spawn(|| vec!["a"; 3]).join().unwrap().len(), 3);
        #[derive(Debug, PartialEq)]
        #[repr(align(64))]
        struct Aligned(u8);
        let aligned = rt::spawn(|| {
            let value = Aligned(9);
            assert_eq!((&raw const value).addr() % 64, 0);
            value
        });
        assert_eq!(aligned.join().unwrap(), Aligned(9));
    });
}

#[test]
fn what_is_captured_is_dropped_when_the_thread_ends_and_results_when_nobody_wants_them() {
    let _watchdog = watch();
    let log = Log::default();
    rt::run(|| {
        let captured = Noisy(log.clone(), "captured");
        let result = log.clone();
        let thread = rt::spawn(move || {
            let _captured = captured;
            Noisy(result, "result")
        });
        rt::yield_now();
        assert_eq!(log.take(), ["captured"]);
        drop(thread);
        assert_eq!(log.take(), ["result"]);

        let result = log.clone();
        drop(rt::spawn(move || Noisy(result, "unwanted")));
        rt::yield_now();
        assert_eq!(log.take(), ["unwanted"]);
    });
}

#[test]
fn a_panic_reaches_the_join_handle_with_its_payload_and_nobody_else() {
    let _watchdog = watch();
    rt::run(|| {
        let other = rt::spawn(|| {
            rt::yield_now();
            "fine"
        });
        let error = rt::spawn(|| panic::resume_unwind(Box::new(42u32))).join();
        let Err(JoinError::Panicked(panic)) = error else {
            panic!("{error:?}")
        };
        assert_eq!(*panic.into_payload().downcast::<u32>().unwrap(), 42);
        assert_eq!(other.join().unwrap(), "fine");
    });
}

#[test]
fn a_panic_of_a_detached_thread_and_of_its_payload_is_forgotten() {
    let _watchdog = watch();
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic::resume_unwind(Box::new("again"));
        }
    }
    rt::run(|| {
        drop(rt::spawn(|| panic::resume_unwind(Box::new(Bomb))));
        rt::yield_now();
        let bomb_as_result = rt::spawn(|| Bomb);
        drop(bomb_as_result);
        rt::yield_now();
        assert_eq!(rt::spawn(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn a_kill_unwinds_a_parked_thread_where_it_waits() {
    let _watchdog = watch();
    let log = Log::default();
    rt::run(|| {
        let inner = log.clone();
        let thread = rt::spawn(move || {
            let _outer = Noisy(inner.clone(), "outer");
            let _inner = Noisy(inner.clone(), "inner");
            rt::park();
            inner.note("never");
        });
        rt::yield_now();
        thread.kill();
        assert!(!thread.is_finished(), "it unwinds in its own turn");
        thread.kill(); // once more changes nothing
        assert!(matches!(thread.join(), Err(JoinError::Killed)));
    });
    assert_eq!(log.take(), ["inner", "outer"]);
}

#[test]
fn a_kill_before_the_start_drops_the_closure_at_once() {
    let _watchdog = watch();
    let log = Log::default();
    rt::run(|| {
        let captured = Noisy(log.clone(), "dropped");
        let thread = rt::spawn(move || drop(captured));
        thread.kill();
        assert_eq!(log.take(), ["dropped"]);
        assert!(thread.is_finished());
        assert!(matches!(thread.join(), Err(JoinError::Killed)));
        rt::yield_now(); // its place in the queue is passed over
        // The block is used again while the hub still names the old thread.
        let first = rt::spawn(|| 1);
        first.kill();
        drop(first);
        let second = rt::spawn(|| 2);
        assert_eq!(second.join().unwrap(), 2);
    });
}

#[test]
fn a_kill_reaches_sleepers_joiners_ready_and_delayed_threads() {
    let _watchdog = watch();
    virtually(|| {
        let sleeper = rt::spawn(|| rt::sleep(3600 * SECOND));
        let parked = rt::spawn(rt::park);
        let joiner = rt::spawn(move || parked.join().is_ok());
        let ready = rt::spawn(rt::yield_now);
        let delayed = rt::spawn_after(3600 * SECOND, || ());
        rt::yield_now();
        for kill in [
            sleeper.thread(),
            joiner.thread(),
            ready.thread(),
            delayed.thread(),
        ] {
            kill.kill();
        }
        assert!(sleeper.join().is_err());
        assert!(joiner.join().is_err());
        assert!(ready.join().is_err());
        assert!(delayed.join().is_err());
    });
}

#[test]
fn a_thread_can_kill_itself_and_catching_a_kill_shows_nothing_but_that() {
    let _watchdog = watch();
    rt::run(|| {
        let suicide = rt::spawn(|| {
            rt::current().kill();
            unreachable!("a thread that kills itself does not come back")
        });
        assert!(matches!(suicide.join(), Err::<(), _>(JoinError::Killed)));
        let survivor = rt::spawn(|| {
            let payload = panic::catch_unwind(rt::park).expect_err("killed");
            assert!(rt::is_kill(&*payload));
            assert!(!payload.is::<String>() && !payload.is::<&str>());
            rt::yield_now(); // one kill unwinds once
            "survived"
        });
        rt::yield_now();
        survivor.kill();
        assert_eq!(survivor.join().unwrap(), "survived");
        let ordinary = panic::catch_unwind(|| panic::resume_unwind(Box::new(()))).unwrap_err();
        assert!(!rt::is_kill(&*ordinary));
    });
}

#[test]
fn killing_a_thread_that_waits_in_a_destructor_while_unwinding_waits_for_it() {
    let _watchdog = watch();
    struct Slow(Log);
    impl Drop for Slow {
        fn drop(&mut self) {
            rt::sleep(SECOND);
            self.0.note("cleaned up");
        }
    }
    let log = Log::default();
    virtually(|| {
        let inner = log.clone();
        let thread = rt::spawn(move || {
            let _slow = Slow(inner);
            panic::resume_unwind(Box::new("first"));
        });
        rt::yield_now();
        assert!(!thread.is_finished());
        thread.kill(); // a second panic here would abort the process
        let other = rt::spawn(rt::park);
        rt::yield_now();
        other.kill(); // while somebody unwinds: delivered at the latest when that is over
        let Err(JoinError::Panicked(panic)) = thread.join() else {
            panic!("killed")
        };
        assert_eq!(panic.message(), Some("first"));
        assert!(matches!(other.join(), Err(JoinError::Killed)));
    });
    assert_eq!(log.take(), ["cleaned up"]);
}

#[test]
fn cancel_takes_back_only_what_has_not_started() {
    let _watchdog = watch();
    rt::run(|| {
        let fresh = rt::spawn(|| ());
        assert!(fresh.cancel());
        assert!(!fresh.cancel());
        let started = rt::spawn(|| {
            rt::yield_now();
            5
        });
        rt::yield_now();
        assert!(!started.cancel());
        assert_eq!(started.join().unwrap(), 5);
    });
}

#[test]
fn sleepers_wake_by_deadline_and_equal_ones_in_order() {
    let _watchdog = watch();
    let log = Log::default();
    virtually(|| {
        let mut all = Vec::new();
        for (n, seconds) in [(0, 3), (1, 1), (2, 2), (3, 1)] {
            let log = log.clone();
            all.push(rt::spawn(move || {
                rt::sleep(seconds * SECOND);
                log.note(n);
            }));
        }
        let late = log.clone();
        all.push(rt::spawn_after(2 * SECOND, move || late.note("after")));
        for thread in all {
            thread.join().unwrap();
        }
    });
    // spawn_after was asked for before the sleepers had started.
    assert_eq!(log.take(), ["1", "3", "after", "2", "0"]);
}

#[test]
fn real_time_passes_too() {
    let _watchdog = watch();
    let before = Instant::now();
    rt::run(|| rt::sleep(Duration::from_millis(3)));
    assert!(before.elapsed() >= Duration::from_millis(3));
}

#[test]
fn join_timeout_gives_the_handle_back() {
    let _watchdog = watch();
    virtually(|| {
        let thread = rt::spawn(|| {
            rt::sleep(3 * SECOND);
            "done"
        });
        let thread = thread.join_timeout(SECOND).expect_err("too early");
        let thread = thread.join_timeout(SECOND).expect_err("too early");
        assert_eq!(
            thread.join_timeout(2 * SECOND).expect("in time").unwrap(),
            "done"
        );
    });
}

#[test]
fn unpark_before_park_is_not_lost_and_wakes_only_from_park() {
    let _watchdog = watch();
    virtually(|| {
        let me = rt::current();
        me.unpark();
        me.unpark();
        assert!(rt::park_timeout(SECOND), "at once");
        assert!(!rt::park_timeout(SECOND), "two unparks are one");
        let sleeper = rt::spawn(|| {
            rt::sleep(2 * SECOND);
            rt::park_timeout(SECOND)
        });
        rt::yield_now();
        sleeper.thread().unpark(); // it sleeps, it is not parked
        assert!(!sleeper.is_finished());
        assert!(
            sleeper.join().unwrap(),
            "the unpark has waited for the park"
        );
    });
}

#[test]
fn a_wake_and_a_deadline_in_the_same_turn_wake_once() {
    let _watchdog = watch();
    virtually(|| {
        // The waker runs in the very turn in which the waiter's own timer is due.
        let waiter = rt::spawn(|| {
            let woken = rt::park_timeout(SECOND);
            for _ in 0..3 {
                rt::yield_now(); // a wake too many would show here
            }
            (woken, rt::park_timeout(SECOND))
        });
        let target = waiter.thread();
        rt::spawn_after(SECOND, move || target.unpark());
        let (first, second) = waiter.join().unwrap();
        assert!(!second);
        let _ = first; // either may come first
        // The other way round: the waker's timer is older and comes first.
        let slot: Rc<RefCell<Option<GreenThread>>> = Rc::default();
        let target = Rc::clone(&slot);
        rt::spawn_after(SECOND, move || target.take().expect("set below").unpark());
        let waiter = rt::spawn(|| {
            let woken = rt::park_timeout(SECOND);
            (woken, rt::park_timeout(SECOND))
        });
        slot.replace(Some(waiter.thread()));
        assert_eq!(waiter.join().unwrap(), (true, false));
    });
}

#[test]
fn the_end_of_main_kills_and_unwinds_everybody() {
    let _watchdog = watch();
    let log = Log::default();
    let handle = virtually(|| {
        for (name, work) in [
            ("parked", 0),
            ("sleeping", 1),
            ("yielding", 2),
            ("fresh", 3),
        ] {
            let guard = Noisy(log.clone(), name);
            rt::spawn(move || {
                let _guard = guard;
                match work {
                    0 => rt::park(),
                    1 => rt::sleep(SECOND),
                    _ => loop {
                        rt::yield_now();
                    },
                }
            });
            if work == 2 {
                rt::yield_now();
            }
        }
        rt::spawn(rt::park)
    });
    let mut names = log.take();
    names.sort();
    assert_eq!(names, ["fresh", "parked", "sleeping", "yielding"]);
    // The handle has outlived its runtime.
    assert!(handle.is_finished());
    handle.kill();
    assert!(matches!(handle.join(), Err(JoinError::Killed)));
}

#[test]
fn a_panic_of_main_comes_out_of_run_after_the_others_have_ended() {
    let _watchdog = watch();
    let log = Log::default();
    let guard = Noisy(log.clone(), "unwound");
    let text = panic_text(|| {
        rt::run(|| {
            rt::spawn(move || {
                let _guard = guard;
                rt::park();
            });
            rt::yield_now();
            panic!("main {}", "fell");
        })
    });
    assert_eq!(text, "main fell");
    assert_eq!(log.take(), ["unwound"]);
    assert_eq!(rt::run(|| 1), 1, "the OS thread can run another");
}

#[test]
fn destructors_may_wait_at_the_end_and_what_they_spawn_does_not_start() {
    let _watchdog = watch();
    struct Waits(Log);
    impl Drop for Waits {
        fn drop(&mut self) {
            rt::sleep(5 * SECOND);
            let log = self.0.clone();
            let late = rt::spawn(move || log.note("late"));
            self.0.note(late.join().is_err());
        }
    }
    let log = Log::default();
    virtually(|| {
        let waits = Waits(log.clone());
        rt::spawn(move || {
            let _waits = waits;
            rt::park();
        });
        rt::yield_now();
    });
    assert_eq!(log.take(), ["true"]);
}

#[test]
#[cfg_attr(eventlet_asan, ignore = "leaks on purpose")]
fn a_thread_that_survives_every_kill_is_abandoned() {
    let _watchdog = watch();
    let swallowed = Rc::new(Cell::new(0));
    let count = Rc::clone(&swallowed);
    rt::run(|| {
        rt::spawn(move || {
            loop {
                let _kill = panic::catch_unwind(rt::park);
                count.set(count.get() + 1);
            }
        });
        rt::yield_now();
    });
    assert!(swallowed.get() > 0);
}

#[test]
fn main_that_nobody_can_wake_panics_instead_of_hanging() {
    let _watchdog = watch();
    let text = panic_text(|| rt::run(rt::park));
    assert!(text.contains("deadlock"), "{text}");
    let text = panic_text(|| rt::run(|| rt::spawn(rt::park).join().unwrap()));
    assert!(text.contains("deadlock"), "{text}");
}

#[test]
fn misuse_is_told() {
    let _watchdog = watch();
    let text = panic_text(|| drop(rt::spawn(|| ())));
    assert!(text.contains("rt::run"), "{text}");
    let nested = rt::run(|| Builder::new().run(|| ()).unwrap_err());
    assert_eq!(nested.kind(), io::ErrorKind::Other);
    let text = rt::run(|| panic_text(|| rt::run(|| ())));
    assert!(text.contains("already"), "{text}");
    let text = panic_text(|| rt::run(|| rt::current().kill()));
    assert!(text.contains("killed"), "{text}");
}

#[test]
fn threads_keep_what_identifies_them() {
    let _watchdog = watch();
    rt::run(|| {
        let handle = rt::spawn(rt::current);
        let (named, inside) = (handle.thread(), handle.thread());
        assert!(!named.is_finished());
        let seen = handle.join().unwrap();
        assert_eq!((seen.clone(), named.id()), (inside, seen.id()));
        assert!(named.is_finished());
        named.kill();
        named.unpark();
        assert_ne!(rt::spawn(rt::current).join().unwrap(), named);
        assert!(format!("{named:?}").contains("finished: true"));
    });
}

#[test]
fn other_os_threads_start_green_threads() {
    let _watchdog = watch();
    thread_local! { static SEEN: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) } }
    rt::run(|| {
        let remote = rt::remote();
        let sender = thread::spawn(move || {
            for n in 0..100 {
                remote
                    .spawn(move || SEEN.with_borrow_mut(|seen| seen.push(n)))
                    .unwrap();
            }
        });
        while SEEN.with_borrow(Vec::len) < 100 {
            rt::sleep(Duration::from_millis(1));
        }
        sender.join().unwrap();
        SEEN.with_borrow(|seen| assert!(seen.is_sorted()));
    });
}

#[test]
fn a_remote_wakes_a_runtime_that_waits_for_nothing_else() {
    let _watchdog = watch();
    thread_local! { static MAIN: RefCell<Option<GreenThread>> = const { RefCell::new(None) } }
    for backend in [Backend::default(), Backend::Poll] {
        Builder::new()
            .backend(backend)
            .run(|| {
                MAIN.set(Some(rt::current()));
                let remote = rt::remote();
                thread::spawn(move || {
                    remote
                        .spawn(|| MAIN.take().expect("set above").unpark())
                        .unwrap();
                });
                rt::park(); // no deadlock: somebody may come through the door
            })
            .unwrap();
    }
}

#[test]
fn mail_that_comes_too_late_is_dropped_and_told() {
    let _watchdog = watch();
    struct Flag(std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let dropped = std::sync::Arc::default();
    let flag = Flag(std::sync::Arc::clone(&dropped));
    let remote = rt::run(|| {
        let remote = rt::remote();
        remote.spawn(move || drop(flag)).unwrap(); // main ends before it can start
        remote
    });
    assert!(dropped.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(remote.spawn(|| ()), Err(rt::Ended));
}

#[test]
fn no_stack_is_an_error_of_the_thread_that_needs_one() {
    let _watchdog = watch();
    // More than the address space has: the first thread cannot start, the runtime goes on.
    let impossible = Builder::new().stack_size(1 << 48);
    let result = impossible.run(|| {
        let text = Log::default();
        let captured = Noisy(text.clone(), "dropped");
        let error = rt::spawn(move || drop(captured))
            .join()
            .expect_err("no room");
        assert_eq!(text.take(), ["dropped"]);
        assert!(matches!(error, JoinError::NoStack(_)), "{error}");
        rt::yield_now();
    });
    result.expect("the runtime itself needs no such stack");
}

#[test]
fn a_hundred_thousand_threads_live_at_once() {
    let _watchdog = watch();
    virtually(|| {
        let gate = rt::current();
        let count = Rc::new(Cell::new(0u32));
        let all: Vec<_> = (0..100_000)
            .map(|_| {
                let count = Rc::clone(&count);
                rt::spawn(move || {
                    count.set(count.get() + 1);
                    rt::sleep(SECOND);
                    count.set(count.get() - 1);
                })
            })
            .collect();
        rt::yield_now();
        assert_eq!(count.get(), 100_000);
        for thread in all {
            thread.join().unwrap();
        }
        assert_eq!(count.get(), 0);
        drop(gate);
    });
}

#[test]
fn runtimes_of_several_os_threads_do_not_meet() {
    let _watchdog = watch();
    let workers: Vec<_> = (0..4)
        .map(|n| {
            thread::spawn(move || {
                rt::run(|| {
                    let all: Vec<_> = (0..1000)
                        .map(|k| {
                            rt::spawn(move || {
                                rt::yield_now();
                                k * n
                            })
                        })
                        .collect();
                    all.into_iter()
                        .map(|thread| thread.join().unwrap())
                        .sum::<u64>()
                })
            })
        })
        .collect();
    for (n, worker) in (0..).zip(workers) {
        assert_eq!(worker.join().unwrap(), n * 499_500);
    }
}
