//! The inbox under every interleaving that loom can find.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p eventlet --test loom_inbox`.
#![cfg(loom)]
#![allow(unsafe_code, reason = "reads cells that loom watches")]

use eventlet::inbox::Inbox;
use loom::cell::UnsafeCell;
use loom::thread;

/// A letter whose contents loom watches: reading it without seeing it written is reported.
struct Letter(UnsafeCell<u32>);

impl Letter {
    fn new(text: u32) -> Letter {
        let cell = UnsafeCell::new(0);
        // SAFETY: nobody else has the cell yet.
        cell.with_mut(|place| unsafe { *place = text });
        Letter(cell)
    }

    fn read(&self) -> u32 {
        // SAFETY: loom checks that the write happened before.
        self.0.with(|place| unsafe { *place })
    }
}

fn read_all(inbox: &Inbox<Letter>, all: &mut Vec<u32>) {
    let mut mail = Vec::new();
    inbox.drain(&mut mail);
    all.extend(mail.iter().map(Letter::read));
}

#[test]
fn a_sleeping_owner_is_always_woken() {
    let mut model = loom::model::Builder::new();
    // Three threads and a condition: without a bound it runs for hours.
    model.preemption_bound = Some(3);
    model.check(|| {
        let inbox = Inbox::new().expect("a model");
        let senders: Vec<_> = (0..2)
            .map(|who| {
                let inbox = inbox.clone();
                thread::spawn(move || assert!(inbox.send(Letter::new(who)).is_ok()))
            })
            .collect();
        let mut all = Vec::new();
        while all.len() < 2 {
            // As the hub does: block only if there is no mail; a lost ring would be a deadlock.
            if inbox.sleep() {
                inbox.wait_for_ring();
            }
            inbox.awake();
            if inbox.has_mail() {
                read_all(&inbox, &mut all);
            }
        }
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
        senders
            .into_iter()
            .for_each(|sender| sender.join().expect("no panic"));
    });
}

#[test]
fn one_senders_letters_keep_their_order() {
    loom::model(|| {
        let inbox = Inbox::new().expect("a model");
        let door = inbox.clone();
        let sender = thread::spawn(move || {
            for text in 0..3 {
                assert!(door.send(Letter::new(text)).is_ok());
            }
        });
        let mut all = Vec::new();
        read_all(&inbox, &mut all);
        read_all(&inbox, &mut all);
        sender.join().expect("no panic");
        read_all(&inbox, &mut all);
        assert_eq!(all, [0, 1, 2]);
    });
}

#[test]
fn closing_loses_nothing_and_refuses_the_rest() {
    loom::model(|| {
        let inbox = Inbox::new().expect("a model");
        let senders: Vec<_> = (0..2)
            .map(|who| {
                let inbox = inbox.clone();
                thread::spawn(move || inbox.send(Letter::new(who)).is_ok())
            })
            .collect();
        inbox.sleep();
        let mut rest = Vec::new();
        inbox.close(&mut rest);
        let taken = rest.iter().map(Letter::read).count();
        let sent = senders
            .into_iter()
            .map(|sender| sender.join().expect("no panic"));
        assert_eq!(sent.filter(|&accepted| accepted).count(), taken);
        assert!(inbox.send(Letter::new(9)).is_err());
        assert!(!inbox.has_mail() && !inbox.sleep());
    });
}

#[test]
fn giving_up_sleep_does_not_hide_mail() {
    loom::model(|| {
        let inbox = Inbox::new().expect("a model");
        let door = inbox.clone();
        inbox.sleep();
        let sender = thread::spawn(move || assert!(door.send(Letter::new(1)).is_ok()));
        inbox.awake(); // a timer was due, say
        sender.join().expect("no panic");
        assert!(inbox.has_mail());
        let mut all = Vec::new();
        read_all(&inbox, &mut all);
        assert_eq!(all, [1]);
    });
}

#[test]
fn nobody_rings_after_the_descriptor_was_closed() {
    for rings in [false, true] {
        loom::model(move || {
            let inbox = Inbox::new().expect("a model");
            let door = inbox.clone();
            inbox.sleep();
            let sender = thread::spawn(move || {
                if rings {
                    door.ring();
                } else {
                    drop(door.send(Letter::new(1)));
                }
            });
            inbox.close(&mut Vec::new());
            inbox.hang_up(); // the model's bell does not let itself be rung from here on
            sender.join().expect("no panic");
        });
    }
}
