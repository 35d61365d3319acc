//! Timers against a model that sorts a list.

use eventlet::clock::Instant;
use eventlet::timers::{Key, Timers};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    Add(u64),
    Cancel(usize),
    /// Cancels the newest, which the heap treats in a way of its own.
    CancelLast,
    PopUntil(u64),
    NextDeadline,
    /// Many at once, to provoke compactions.
    CancelEverySecond,
}

fn step() -> impl Strategy<Value = Step> {
    // Few different deadlines, so that equal ones are common.
    prop_oneof![
        8 => (0_u64..40).prop_map(Step::Add),
        4 => any::<usize>().prop_map(Step::Cancel),
        2 => Just(Step::CancelLast),
        2 => (0_u64..50).prop_map(Step::PopUntil),
        1 => Just(Step::NextDeadline),
        1 => Just(Step::CancelEverySecond),
    ]
}

/// All timers ever added, in order; `None` once gone.
#[derive(Default)]
struct Model(Vec<Option<(u64, usize)>>);

impl Model {
    fn least(&self) -> Option<(u64, usize)> {
        self.0.iter().flatten().min().copied()
    }
}

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_sorted_list(steps in prop::collection::vec(step(), 1..400)) {
        let mut timers = Timers::new();
        let mut keys: Vec<Key> = Vec::new();
        let mut model = Model::default();
        let cancel = |n: usize, timers: &mut Timers<usize>, keys: &[Key], model: &mut Model| {
            let want = model.0[n].take().map(|(_, value)| value);
            assert_eq!(timers.cancel(keys[n]), want);
        };
        for step in steps {
            match step {
                Step::Add(deadline) => {
                    let value = keys.len();
                    keys.push(timers.add(at(deadline), value));
                    model.0.push(Some((deadline, value)));
                }
                Step::Cancel(n) if !keys.is_empty() => {
                    cancel(n % keys.len(), &mut timers, &keys, &mut model);
                }
                Step::CancelLast if !keys.is_empty() => {
                    cancel(keys.len() - 1, &mut timers, &keys, &mut model);
                }
                Step::CancelEverySecond => {
                    for n in (0..keys.len()).step_by(2) {
                        cancel(n, &mut timers, &keys, &mut model);
                    }
                }
                Step::PopUntil(now) => {
                    while let Some((deadline, value)) = model.least().filter(|&(d, _)| d <= now) {
                        prop_assert_eq!(timers.next_deadline(), Some(at(deadline)));
                        prop_assert_eq!(timers.pop_due(at(now)), Some(value));
                        model.0[value] = None;
                    }
                    prop_assert_eq!(timers.pop_due(at(now)), None);
                }
                Step::NextDeadline => {
                    let want = model.least().map(|(deadline, _)| at(deadline));
                    prop_assert_eq!(timers.next_deadline(), want);
                }
                Step::Cancel(_) | Step::CancelLast => {}
            }
            prop_assert_eq!(timers.len(), model.0.iter().flatten().count());
            prop_assert_eq!(timers.is_empty(), model.least().is_none());
        }
        let mut rest: Vec<_> = model.0.iter().flatten().copied().collect();
        rest.sort_unstable();
        let want: Vec<_> = rest.into_iter().map(|(_, value)| value).collect();
        prop_assert_eq!(timers.drain(), want);
    }
}

#[test]
fn equal_deadlines_keep_their_order_also_at_the_end_of_time() {
    let mut timers = Timers::new();
    let end = at(5).saturating_add(Duration::MAX);
    for n in 0..1000 {
        timers.add(end, n);
    }
    assert_eq!(timers.next_deadline(), Some(Instant::FAR_FUTURE));
    assert_eq!(timers.pop_due(at(u64::MAX - 1)), None);
    assert_eq!(timers.drain(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_key_never_names_a_later_timer() {
    let mut timers = Timers::new();
    let old = timers.add(at(1), "old");
    assert_eq!(timers.pop_due(at(1)), Some("old"));
    let new = timers.add(at(1), "new"); // in the same slot
    assert_eq!(timers.cancel(old), None);
    assert_eq!(timers.cancel(new), Some("new"));
    assert_eq!(timers.cancel(new), None);
}

#[test]
fn values_are_dropped_with_the_timers() {
    let value = std::rc::Rc::new(());
    let mut timers = Timers::new();
    for n in 0..10 {
        timers.add(at(n), value.clone());
    }
    let key = timers.add(at(3), value.clone());
    drop(timers.cancel(key));
    assert_eq!(std::rc::Rc::strong_count(&value), 11);
    drop(timers);
    assert_eq!(std::rc::Rc::strong_count(&value), 1);
}

#[test]
fn take_due_gives_few_and_many_in_the_order_of_pop_due() {
    for (count, now) in [(10_u64, 4), (1000, 30), (1000, 500), (5000, 5000)] {
        let mut ways = [Timers::new(), Timers::new()];
        for timers in &mut ways {
            let keys: Vec<Key> = (0..count)
                .map(|n| timers.add(at(n * 7919 % count / 3), n))
                .collect();
            for key in keys.iter().step_by(7) {
                timers.cancel(*key);
            }
        }
        let [mut popped, mut taken] = ways;
        let mut want = Vec::new();
        while let Some(value) = popped.pop_due(at(now)) {
            want.push(value);
        }
        let mut got = VecDeque::new();
        taken.take_due(at(now), &mut got);
        assert_eq!(got, want);
        assert_eq!(taken.len(), popped.len());
        assert_eq!(taken.drain(), popped.drain(), "what is left is a heap");
        assert_eq!(taken.add(at(1), 1), popped.add(at(1), 1), "keys go on");
    }
}

#[test]
fn a_key_of_before_the_last_timer_went_means_no_later_one() {
    let mut timers = Timers::new();
    let old = timers.add(at(1), 'a');
    assert_eq!(timers.pop_due(at(1)), Some('a'));
    let new = timers.add(at(2), 'b');
    assert_eq!(timers.cancel(old), None);
    assert_eq!(timers.cancel(new), Some('b'));
}
