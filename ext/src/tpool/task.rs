//! `Task`: one Python call made by a thread of the pool for a green thread that waits.
//!
//! The green thread and the OS thread share it; what is in it is touched with the GIL held. A task whose green
//! thread has gone is *abandoned*: if it has not begun it never does, else its result is dropped.

use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;

use super::pool::{Job, Pool};
use crate::error::{Pending, Raised};
use crate::gil::Gil;
use crate::gil_cell::GilCell;
use crate::greenthread::Call;
use crate::hub::{self, Letter, Reason, Waiter, Woken};
use crate::object::{Object, owned};

enum Stage {
    /// What to call, and the context to call it in.
    Queued(Call, Object),
    Running,
    Done(Result<Object, Pending>),
    Abandoned,
}

struct State {
    stage: Stage,
    /// Wakes the green thread in its present park.
    letter: Option<Letter>,
}

struct Task(GilCell<State>);

/// The task in the queue.
struct Errand(Arc<Task>);

impl Job for Errand {
    fn run(self: Box<Self>, gil: &Gil) -> Option<Letter> {
        // The GIL is free when the green thread is woken, so that it need not wait for it.
        gil.hold(|py| self.0.run(py))
    }
}

impl Task {
    fn replace(&self, py: Python<'_>, stage: Stage) -> Stage {
        self.0
            .with(py, |state| std::mem::replace(&mut state.stage, stage))
    }

    /// Makes the call; gives the wake-up of who waits for the result.
    fn run(&self, py: Python<'_>) -> Option<Letter> {
        let (call, context) = match self.replace(py, Stage::Running) {
            Stage::Queued(call, context) => (call, context),
            other => {
                drop(self.replace(py, other));
                return None;
            }
        };
        let outcome = run_in(&context, &call);
        drop((call, context)); // before anybody can look who still refers to the arguments
        let mut outcome = Some(outcome);
        let letter = self.0.with(py, |state| {
            if matches!(state.stage, Stage::Running)
                && let Some(outcome) = outcome.take()
            {
                state.stage = Stage::Done(outcome);
            }
            state.letter.take()
        });
        drop(outcome); // of an abandoned task
        letter
    }

    /// Takes the outcome if there is one.
    fn take(&self, py: Python<'_>) -> Option<Result<Object, Pending>> {
        self.0.with(py, |state| {
            match std::mem::replace(&mut state.stage, Stage::Abandoned) {
                Stage::Done(outcome) => Some(outcome),
                other => {
                    state.stage = other;
                    None
                }
            }
        })
    }

    /// Nobody waits for it any more.
    fn abandon(&self, py: Python<'_>) {
        let (stage, letter) = (Stage::Abandoned, None);
        drop(self.0.replace(py, State { stage, letter }));
    }
}

/// `call` in `context`, as `context.run` does.
fn run_in(context: &Object, call: &Call) -> Result<Object, Pending> {
    // SAFETY: a live context; the GIL is held.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
        return Err(Pending::take().normalized());
    }
    let result = call.run().map_err(|Raised| Pending::take().normalized());
    // SAFETY: entered above by this thread, and whatever was entered since has been left.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } < 0 {
        return Err(Pending::take().normalized());
    }
    result
}

/// Makes `call` in a thread of `pool` and waits for it; gives the call back if the pool has no thread.
/// May switch: yes.
pub fn execute(py: Python<'_>, pool: &Pool, call: Call) -> PyResult<Result<Object, Call>> {
    // SAFETY: the GIL is held.
    let context = unsafe { ffi::PyContext_CopyCurrent() };
    let context = owned(context).map_err(|raised| raised.into_err(py))?;
    let letter = Waiter::current(py)?.letter();
    if !pool.accepts() {
        return Ok(Err(call));
    }
    let task = Arc::new(Task(GilCell::new(State {
        stage: Stage::Queued(call, context),
        letter: Some(letter),
    })));
    pool.push(Box::new(Errand(Arc::clone(&task))));
    loop {
        let woken = hub::park(py, Reason::Other("call in the thread pool"), None);
        if let Err(raised) = woken {
            let error = raised.into_err(py);
            task.abandon(py);
            return Err(error);
        }
        if let Some(outcome) = task.take(py) {
            return outcome.map(Ok).map_err(|pending| {
                let error = pending.restore().into_err(py);
                super::report(py, &error);
                error
            });
        }
        if let Ok(Woken::Switched(value)) = woken {
            task.abandon(py);
            return Ok(Ok(value.into()));
        }
        let letter = Waiter::current(py)?.letter();
        drop(renew(py, &task, letter));
    }
}

/// Has the task wake its green thread in the next park; gives the former wake-up to be dropped.
fn renew(py: Python<'_>, task: &Task, letter: Letter) -> Option<Letter> {
    task.0.with(py, |state| state.letter.replace(letter))
}
