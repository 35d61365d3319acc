//! corosensei's side: bare coroutines, without a scheduler.

use crate::per;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, ScopedCoroutine};
use std::hint::black_box;
use std::time::Instant;

pub fn switch(n: u64) -> f64 {
    let mut coroutine = Coroutine::<(), (), ()>::new(move |yielder, ()| {
        for _ in 0..n {
            yielder.suspend(());
        }
    });
    let start = Instant::now();
    for _ in 0..n {
        black_box(coroutine.resume(()));
    }
    let time = per(start.elapsed(), n);
    coroutine.force_unwind();
    time
}

/// Create, run and finish on a stack that is used again.
pub fn create_run(n: u64) -> f64 {
    let mut stack = DefaultStack::default();
    let start = Instant::now();
    for k in 0..n {
        let coroutine = ScopedCoroutine::<(), (), u64, &mut DefaultStack>::with_stack(
            &mut stack,
            move |_, ()| k,
        );
        coroutine.scope(|mut coroutine| black_box(coroutine.as_mut().resume(())));
    }
    per(start.elapsed(), n)
}
