//! corosensei's side: bare coroutines, without a scheduler.

use crate::stopwatch::Stopwatch;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, ScopedCoroutine};
use std::hint::black_box;

pub fn switch(n: u64) -> f64 {
    let mut coroutine = Coroutine::<(), (), ()>::new(move |yielder, ()| {
        for _ in 0..n {
            yielder.suspend(());
        }
    });
    let start = Stopwatch::start();
    for _ in 0..n {
        black_box(coroutine.resume(()));
    }
    let time = start.per(n);
    coroutine.force_unwind();
    time
}

/// Create, run and finish on a stack that is used again.
pub fn create_run(n: u64) -> f64 {
    let mut stack = DefaultStack::default();
    let start = Stopwatch::start();
    for k in 0..n {
        let coroutine = ScopedCoroutine::<(), (), u64, &mut DefaultStack>::with_stack(
            &mut stack,
            move |_, ()| k,
        );
        coroutine.scope(|mut coroutine| black_box(coroutine.as_mut().resume(())));
    }
    start.per(n)
}
