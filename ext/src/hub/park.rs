//! The only way into the scheduler: a greenlet parks and leaves for whoever is next.

use eventlet::clock::Instant;
use pyo3::prelude::*;

use super::wake::Next;
use super::{Hub, Mark, Reason, Wake, Why, Woken, get, hold, loops, outer, report, warm};
use crate::error::{self, Raised};
use crate::greenlet::{Gr, Role, Transfer, switch};
use crate::object::Object;
use crate::thread::Thread;

/// Suspends the current greenlet until it is woken, the deadline comes, or somebody switches to it. May switch: yes.
/// What is thrown into the greenlet is the error. In the hub greenlet, another one becomes the hub.
pub fn park(
    py: Python<'_>,
    why: impl Into<Why>,
    deadline: Option<Instant>,
) -> error::Result<Woken> {
    let (mark, value, ()) = park_here(why, deadline, |_, _| Ok(()), |_, ()| ())?;
    Ok(woken(py, mark, value))
}

pub(super) fn woken(py: Python<'_>, mark: Mark, value: Object) -> Woken {
    match mark {
        Mark::Woken => Woken::Waker,
        Mark::TimedOut => Woken::TimedOut,
        Mark::None => Woken::Switched(value.into_bound(py).unbind()),
    }
}

/// `park` with what `before` arranges (given the hub and the park's wake-up) and `after` undoes.
#[inline(always)]
pub(super) fn park_here<S, R>(
    why: impl Into<Why>,
    deadline: Option<Instant>,
    before: impl FnOnce(&Hub, Wake) -> error::Result<S>,
    after: impl FnOnce(&Hub, S) -> R,
) -> error::Result<(Mark, Object, R)> {
    let thread = Thread::get().ok_or(Raised)?;
    let hub = get(thread)?;
    let me = thread.current.get();
    if hold::applies() {
        return hub.park_alone(me, why.into(), deadline, before, after);
    }
    if hub.greenlet.peek() == me.as_object_ptr() {
        hub.resign(thread)?;
    }
    let greenlet = me.get();
    let number = greenlet.parks.get() + 1;
    let why = why.into();
    greenlet.parks.set(number);
    greenlet.reason.set(Some(why.reason));
    greenlet.what.set(why.what);
    greenlet.mark.set(Mark::None);
    let arranged = match before(&hub, Wake::Resume(me.object(), number)) {
        Ok(arranged) => arranged,
        Err(raised) => {
            greenlet.reason.set(None);
            return Err(raised);
        }
    };
    let timer = deadline.map(|deadline| {
        hub.engine
            .borrow_mut()
            .at(deadline, Wake::TimedOut(me.object(), number))
    });
    if deadline.is_some() || !why.is_turn() {
        greenlet.since.set(hub.tick());
    }
    let running = loops::leave(&hub);
    let result = hub.hand_off(thread, me);
    loops::come_back(running);
    greenlet.reason.set(None);
    let mark = greenlet.mark.replace(Mark::None);
    if let Some(timer) = timer
        && mark != Mark::TimedOut
    {
        let left = hub.engine.borrow_mut().cancel(timer);
        drop(left);
    }
    let undone = after(&hub, arranged);
    Ok((mark, result?, undone))
}

/// Lets every other ready green thread run once. May switch: yes.
#[inline]
pub fn yield_now() -> error::Result<Object> {
    park_here(
        Reason::Sleep,
        None,
        |hub, wake| {
            let mut engine = hub.engine.borrow_mut();
            engine.ask_if_idle();
            engine.wake(wake);
            Ok(())
        },
        |_, ()| (),
    )
    .map(|(_, value, ())| value)
}

/// Sleeps until `deadline`; ends early if somebody switches to the greenlet. May switch: yes.
pub fn sleep_until(deadline: Instant) -> error::Result<Object> {
    park_here(Reason::Sleep, Some(deadline), |_, _| Ok(()), |_, ()| ()).map(|(_, value, ())| value)
}

/// Suspends until somebody switches to the greenlet: what `hub.switch()` is. May switch: yes.
///
/// A class's `switch()` that parks get here through calls it with the park under way: it only has to leave then.
pub fn switch_away() -> error::Result<Object> {
    let thread = Thread::get().ok_or(Raised)?;
    let hub = get(thread)?;
    if thread.current.get().get().reason.get().is_some() {
        return hub.enter(thread);
    }
    hub.overrides.send();
    park_here(Reason::Other("switch"), None, |_, _| Ok(()), |_, ()| ()).map(|(_, value, ())| value)
}

impl Hub {
    /// The next thing that a greenlet that leaves can switch to by itself; a start only if it `may_start` one.
    ///
    /// Who parks starts others on stacks that are at hand. To make one needs some 500 bytes of its own stack, more
    /// than anything else on the way here: for half of the green threads that only wait it would be a page each.
    #[inline(always)]
    pub(super) fn next_direct(&self, may_start: impl FnOnce() -> bool) -> Option<Wake> {
        if self.hold.get() != 0 {
            return None;
        }
        let mut engine = self.engine.borrow_mut();
        let wake = engine.peek()?;
        if wake.is_direct() && (!matches!(wake, Wake::Start(_)) || may_start()) {
            warm::ahead(self, &engine);
            engine.next()
        } else {
            None
        }
    }

    /// Leaves the current greenlet for whoever is next. May switch: yes.
    #[inline(always)]
    pub(super) fn hand_off(&self, thread: &Thread, me: Gr) -> error::Result<Object> {
        self.adopt_child(thread, me)?;
        while let Some(wake) = self.next_direct(|| thread.pool.borrow().has_idle()) {
            match wake.resolve() {
                Next::Go(target) => {
                    if Gr::from_object(&target) == me {
                        return Ok(Object::none());
                    }
                    return switch::pass(thread, target);
                }
                Next::Begin(target) => match switch::begin(thread, &target) {
                    Ok(()) => return switch::pass_first(thread, target),
                    Err(Raised) => report::failed_start(target),
                },
                Next::Stale => {}
            }
        }
        if self.hold.get() & outer::SWITCHED != 0 && !self.overrides.is_sent() {
            return self.switch_through();
        }
        self.enter(thread)
    }

    /// Leaves the current greenlet for the hub greenlet. May switch: yes.
    pub(super) fn enter(&self, thread: &Thread) -> error::Result<Object> {
        // Nobody else is ready, as far as is known: from here on it may take long.
        thread.current.get().get().since.set(self.look());
        // Not kept from here: the hub greenlet may be another one when we return.
        let hub = Gr::from_object(&self.ensure_greenlet(thread)?);
        switch::deliver(thread, hub, Transfer::Nothing)
    }

    /// Makes the hub the parent of a greenlet that blocks, as upstream does: its result goes nowhere else.
    #[inline(always)]
    pub(super) fn adopt_child(&self, thread: &Thread, me: Gr) -> error::Result<()> {
        let greenlet = me.get();
        if greenlet.main
            || greenlet.role.get() != Role::Plain
                && greenlet.parent.peek() == self.greenlet.peek()
                && self.greenlet.is_some()
        {
            return Ok(());
        }
        self.adopt(thread, me)
    }

    #[cold]
    pub(super) fn adopt(&self, thread: &Thread, me: Gr) -> error::Result<()> {
        let greenlet = me.get();
        let hub = self.ensure_greenlet(thread)?;
        // A greenlet that the hub descends from keeps its parent.
        let mut ancestor = Gr::from_object(&hub).parent();
        while let Some(current) = ancestor {
            if current == me {
                return Ok(());
            }
            ancestor = current.parent();
        }
        if greenlet.role.get() == Role::Plain {
            greenlet.role.set(Role::Child);
        }
        drop(greenlet.parent.replace(Some(hub)));
        Ok(())
    }
}
