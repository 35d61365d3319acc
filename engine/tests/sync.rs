//! Event, Semaphore, channels: order, timeouts, and that the dying take nothing with them.

mod watchdog;

use eventlet::rt::{self, Builder, JoinHandle};
use eventlet::sync::{
    self, Disconnected, Event, RecvTimeoutError, Semaphore, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use watchdog::watch;

const SECOND: Duration = Duration::from_secs(1);

/// Runs `main` with time that jumps.
fn virtually<R>(main: impl FnOnce() -> R) -> R {
    Builder::new().virtual_time().run(main).expect("a runtime")
}

/// Starts one thread per name; each notes what `body` answers. All have run once on return.
fn start<R: ToString + 'static>(
    log: &Rc<RefCell<Vec<String>>>,
    names: &[&'static str],
    body: impl Fn() -> R + Clone + 'static,
) -> Vec<JoinHandle<()>> {
    let all = names
        .iter()
        .map(|&name| {
            let (log, body) = (Rc::clone(log), body.clone());
            rt::spawn(move || {
                let result = body().to_string();
                log.borrow_mut().push(format!("{name}:{result}"));
            })
        })
        .collect();
    rt::yield_now();
    all
}

fn join(all: Vec<JoinHandle<()>>) {
    for thread in all {
        thread.join().expect("no panic");
    }
}

#[test]
fn an_event_lets_everybody_go_in_order_and_again_after_a_reset() {
    let _watchdog = watch();
    virtually(|| {
        let (event, log) = (Rc::new(Event::new()), Rc::default());
        for _ in 0..2 {
            let waits = Rc::clone(&event);
            let all = start(&log, &["a", "b", "c"], move || waits.wait_timeout(SECOND));
            event.set();
            event.set();
            join(all);
            assert_eq!(log.take(), ["a:true", "b:true", "c:true"]);
            event.wait();
            event.reset();
            assert!(!event.wait_timeout(SECOND));
        }
    });
}

#[test]
fn a_killed_waiter_leaves_the_event_to_the_others() {
    let _watchdog = watch();
    rt::run(|| {
        let (event, log) = (Rc::new(Event::default()), Rc::default());
        let waits = Rc::clone(&event);
        let mut all = start(&log, &["a", "b", "c"], move || {
            waits.wait();
            1
        });
        all[1].kill();
        event.set(); // b is killed and set in the same turn
        assert!(all.remove(1).join().is_err());
        join(all);
        assert_eq!(log.take(), ["a:1", "c:1"]);
    });
}

#[test]
fn permits_go_round_in_order_of_arrival_and_nobody_overtakes() {
    let _watchdog = watch();
    rt::run(|| {
        let (lock, log) = (Rc::new(Semaphore::new(1)), Rc::default());
        let held = lock.acquire();
        let takes = Rc::clone(&lock);
        let all = start(&log, &["a", "b"], move || {
            let _permit = takes.acquire();
            rt::yield_now();
            "held"
        });
        drop(held);
        assert_eq!(lock.permits(), 0, "the permit belongs to a");
        assert!(lock.try_acquire().is_none());
        drop(lock.acquire()); // after a and b
        assert_eq!(log.take(), ["a:held", "b:held"]);
        join(all);
        assert_eq!(lock.permits(), 1);
    });
}

#[test]
fn a_permit_given_to_a_dying_thread_goes_to_the_next() {
    let _watchdog = watch();
    rt::run(|| {
        let (lock, log) = (Rc::new(Semaphore::new(0)), Rc::default());
        let takes = Rc::clone(&lock);
        let mut all = start(&log, &["a", "b"], move || {
            takes.acquire().forget();
            "got it"
        });
        lock.release(1); // to a …
        all[0].kill(); // … which dies before it runs
        let dying = all.remove(0);
        assert!(dying.join().is_err());
        join(all);
        assert_eq!(log.take(), ["b:got it"]);
        assert_eq!(lock.permits(), 0);

        let takes = Rc::clone(&lock);
        let mut all = start(&log, &["a"], move || {
            takes.acquire().forget();
            "got it"
        });
        all[0].kill(); // killed first, then released: it never gets the permit
        lock.release(1);
        assert!(all.remove(0).join().is_err());
        assert_eq!(lock.permits(), 1);
    });
}

#[test]
fn a_semaphore_times_out_and_counts() {
    let _watchdog = watch();
    virtually(|| {
        let semaphore = Rc::new(Semaphore::new(2));
        let (one, two) = (semaphore.acquire(), semaphore.try_acquire().unwrap());
        assert!(semaphore.acquire_timeout(SECOND).is_none());
        assert_eq!(semaphore.permits(), 0);
        let releaser = Rc::clone(&semaphore);
        rt::spawn_after(SECOND, move || releaser.release(1));
        assert!(semaphore.acquire_timeout(2 * SECOND).is_some());
        drop((one, two));
        assert_eq!(semaphore.permits(), 3);
        semaphore.acquire().forget();
        assert_eq!(semaphore.permits(), 2);
        semaphore.release(0);
        assert_eq!(semaphore.permits(), 2);
    });
}

#[test]
fn a_permit_given_in_the_turn_of_the_deadline_is_not_lost() {
    let _watchdog = watch();
    virtually(|| {
        for releaser_first in [true, false] {
            let semaphore = Rc::new(Semaphore::new(0));
            let takes = Rc::clone(&semaphore);
            let gives = Rc::clone(&semaphore);
            let spawn_giver = move || rt::spawn_after(SECOND, move || gives.release(1));
            let giver = if releaser_first {
                Some(spawn_giver.clone()())
            } else {
                None
            };
            let taker = rt::spawn(move || takes.acquire_timeout(SECOND).map(sync::Permit::forget));
            rt::yield_now();
            let giver = giver.unwrap_or_else(spawn_giver);
            giver.join().unwrap();
            let taken = taker.join().unwrap().is_some();
            assert_eq!(semaphore.permits(), usize::from(!taken));
        }
    });
}

#[test]
fn values_leave_a_channel_in_order_and_receivers_are_served_in_order() {
    let _watchdog = watch();
    rt::run(|| {
        let (sender, receiver) = sync::unbounded();
        for n in 0..5 {
            sender.send(n).unwrap();
        }
        assert_eq!(receiver.len(), 5);
        assert_eq!(
            (0..5).map(|_| receiver.recv().unwrap()).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
        let (log, takes) = (Rc::default(), receiver.clone());
        let all = start(&log, &["a", "b"], move || takes.recv().unwrap());
        sender.send(10).unwrap();
        sender.send(11).unwrap();
        sender.send(12).unwrap();
        assert_eq!(receiver.len(), 1, "two belong to a and b");
        assert_eq!(receiver.recv(), Ok(12), "a newcomer does not overtake");
        join(all);
        assert_eq!(log.take(), ["a:10", "b:11"]);
        assert!(receiver.is_empty());
    });
}

#[test]
fn a_bounded_channel_makes_senders_wait_in_order() {
    let _watchdog = watch();
    rt::run(|| {
        let (sender, receiver) = sync::bounded(2);
        let log = Rc::default();
        let counter = Rc::new(Cell::new(0));
        let puts = sender.clone();
        let all = start(&log, &["a", "b", "c", "d"], move || {
            counter.set(counter.get() + 1);
            puts.send(counter.get()).is_ok()
        });
        assert_eq!(*log.borrow(), ["a:true", "b:true"]);
        assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.len(), 2, "c's value has taken the place");
        rt::yield_now();
        assert_eq!(log.borrow().last().unwrap(), "c:true");
        for n in 2..5 {
            assert_eq!(receiver.recv(), Ok(n));
        }
        join(all);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn at_a_rendezvous_nobody_goes_on_alone() {
    let _watchdog = watch();
    virtually(|| {
        let (sender, receiver) = sync::rendezvous();
        assert_eq!(sender.try_send(0), Err(TrySendError::Full(0)));
        assert_eq!(
            sender.send_timeout(0, SECOND),
            Err(SendTimeoutError::Timeout(0))
        );
        assert_eq!(
            receiver.recv_timeout(SECOND),
            Err(RecvTimeoutError::Timeout)
        );
        let (log, puts) = (Rc::default(), sender.clone());
        let all = start(&log, &["a", "b"], move || puts.send(1).is_ok());
        assert!(log.borrow().is_empty());
        assert_eq!(receiver.try_recv(), Ok(1), "taken from a sender that waits");
        assert_eq!(receiver.recv(), Ok(1));
        join(all);
        let takes = receiver.clone();
        let all = start(&log, &["c"], move || takes.recv().unwrap());
        sender.try_send(3).unwrap();
        join(all);
        assert_eq!(log.take(), ["a:true", "b:true", "c:3"]);
    });
}

#[test]
fn a_dying_receiver_leaves_its_value_to_the_next() {
    let _watchdog = watch();
    rt::run(|| {
        for capacity in [0, 1, usize::MAX] {
            let (sender, receiver) = sync::bounded(capacity);
            let (log, takes) = (Rc::default(), receiver.clone());
            let mut all = start(&log, &["a", "b"], move || takes.recv().unwrap());
            sender.try_send(1).unwrap(); // to a …
            all[0].kill(); // … which dies before it runs
            assert!(all.remove(0).join().is_err());
            join(all);
            assert_eq!(log.take(), ["b:1"]);

            let takes = receiver.clone();
            let mut all = start(&log, &["c"], move || takes.recv().unwrap());
            sender.try_send(2).unwrap();
            all[0].kill(); // nobody else waits: the value stays
            assert!(all.remove(0).join().is_err());
            assert_eq!(receiver.try_recv(), Ok(2));
        }
    });
}

#[test]
fn a_dying_sender_takes_only_its_own_value_back() {
    let _watchdog = watch();
    rt::run(|| {
        let (sender, receiver) = sync::rendezvous();
        let token = Rc::new(());
        let senders: Vec<_> = (0..3)
            .map(|n| {
                let (sender, token) = (sender.clone(), Rc::clone(&token));
                rt::spawn(move || sender.send((n, token)).is_ok())
            })
            .collect();
        rt::yield_now();
        senders[0].kill();
        // The first is dying but has not unwound: the second is served, with its own value.
        assert_eq!(receiver.recv().unwrap().0, 1);
        assert_eq!(receiver.recv().unwrap().0, 2);
        let ends: Vec<_> = senders
            .into_iter()
            .map(|thread| thread.join().ok())
            .collect();
        assert_eq!(ends, [None, Some(true), Some(true)]);
        assert_eq!(
            Rc::strong_count(&token),
            1,
            "the value of the dead sender is dropped"
        );
        assert_eq!(receiver.try_recv().map(|_| ()), Err(TryRecvError::Empty));
    });
}

#[test]
fn a_sender_that_times_out_gets_its_value_back() {
    let _watchdog = watch();
    virtually(|| {
        let (sender, receiver) = sync::bounded(1);
        sender.send("first").unwrap();
        let error = sender.send_timeout("second", SECOND).unwrap_err();
        assert_eq!(error, SendTimeoutError::Timeout("second"));
        assert_eq!(receiver.recv_timeout(SECOND), Ok("first"));
        assert_eq!(
            receiver.recv_timeout(SECOND),
            Err(RecvTimeoutError::Timeout)
        );
    });
}

#[test]
fn either_end_learns_that_the_other_is_gone() {
    let _watchdog = watch();
    rt::run(|| {
        let (sender, receiver) = sync::bounded(1);
        let (log, takes) = (Rc::default(), receiver.clone());
        let all = start(&log, &["a", "b"], move || format!("{:?}", takes.recv()));
        let second = sender.clone();
        drop(sender);
        rt::yield_now();
        assert!(log.borrow().is_empty(), "there is another sender");
        second.send(1).unwrap();
        drop(second);
        join(all);
        assert_eq!(log.take(), ["a:Ok(1)", "b:Err(Disconnected)"]);
        assert_eq!(receiver.recv(), Err(Disconnected));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(
            receiver.recv_timeout(SECOND),
            Err(RecvTimeoutError::Disconnected)
        );

        let (sender, receiver) = sync::bounded(1);
        let value = Rc::new(());
        sender.send(Rc::clone(&value)).unwrap();
        let puts = sender.clone();
        let waiting = rt::spawn({
            let value = Rc::clone(&value);
            move || puts.send(value).is_err()
        });
        rt::yield_now();
        drop(receiver);
        assert!(waiting.join().unwrap());
        assert_eq!(
            Rc::strong_count(&value),
            1,
            "what nobody can take is dropped"
        );
        assert_eq!(
            sender.send(Rc::clone(&value)),
            Err(SendError(value.clone()))
        );
        let refused = sender.send_timeout(Rc::clone(&value), SECOND);
        assert_eq!(refused, Err(SendTimeoutError::Disconnected(value.clone())));
        assert_eq!(
            sender.try_send(value.clone()),
            Err(TrySendError::Disconnected(value))
        );
    });
}

#[test]
fn values_whose_destructors_use_the_channel_do_no_harm() {
    let _watchdog = watch();
    struct Loud(sync::Sender<u32>);
    impl Drop for Loud {
        fn drop(&mut self) {
            self.0.try_send(7).unwrap();
        }
    }
    rt::run(|| {
        let (sender, receiver) = sync::unbounded();
        let (inner, heard) = sync::unbounded();
        sender.send(Loud(inner.clone())).unwrap();
        sender.send(Loud(inner)).unwrap();
        drop(receiver);
        assert_eq!(heard.iter().collect::<Vec<_>>(), [7, 7]);
    });
}

#[test]
fn many_to_many_nothing_is_lost_or_doubled() {
    let _watchdog = watch();
    rt::run(|| {
        for capacity in [0, 1, 3, usize::MAX] {
            let (sender, receiver) = sync::bounded(capacity);
            let takers: Vec<_> = (0..7)
                .map(|_| {
                    let receiver = receiver.clone();
                    rt::spawn(move || {
                        let mut sum = 0;
                        for value in &receiver {
                            sum += value;
                            if value % 3 == 0 {
                                rt::yield_now();
                            }
                        }
                        sum
                    })
                })
                .collect();
            for n in 0..5u64 {
                let sender = sender.clone();
                rt::spawn(move || {
                    for k in 0..100 {
                        sender.send(n * 100 + k).unwrap();
                        if k % 7 == 0 {
                            rt::yield_now();
                        }
                    }
                });
            }
            drop((sender, receiver));
            let total: u64 = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
            assert_eq!(total, (0..500).sum());
        }
    });
}
