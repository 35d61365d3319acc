//! The hub of an OS thread: who runs next. Drives the engine's passive `Hub` for greenlets.
//!
//! `park` is the only way into the scheduler and `fire` the only way out of it. Whoever parks looks for the next
//! ready green thread itself and switches straight to it; the hub greenlet is entered only to wait, to poll, or to
//! run callbacks. If one of those parks, another greenlet becomes the hub (`resign`). Each park has a number, so that
//! a wake-up meant for an earlier one is recognised as stale.
//!
//! Invariants. No borrow of the engine is alive while Python code runs or a switch happens. A `Wake` owns what it
//! wakes. Everything but the inbox is touched by the hub's own thread alone, with the GIL held.
#![allow(unsafe_code)] // assumes the GIL; frees what dead stacks refer to

mod census;
mod deadlock;
mod descriptors;
mod ending;
mod fork;
mod hold;
mod idle;
mod loops;
mod outer;
mod park;
mod report;
mod spin;
mod timer;
mod turn;
mod view;
mod waiter;
mod wake;
mod warm;
mod why;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_int;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use eventlet::clock::Clock;
pub use eventlet::clock::Instant;
use eventlet::hub::Hub as Engine;
use eventlet::inbox::Inbox;
pub use eventlet::reactor::Interest;
use eventlet::stack::Trimmer;
use pyo3::prelude::*;
use pyo3::types::PyDict;

pub use census::{Glance, age, glance, record_spawn_stacks, records_spawn_stacks};
pub use deadlock::{patience, set_patience};
pub use descriptors::{
    io_closed_class, is_closed_error, notify_close, notify_opened, park_any, park_fd, park_token,
    prevent_multiple_readers, prevents_multiple_readers, release,
};
pub use ending::{discard, end, ended_hubs, free, wind_up};
pub use fork::{after_fork, end_idle_child, forks, set_survive_fork, survive_fork};
pub use hold::hold_for;
pub use idle::trim_after;
pub use loops::learn_loops;
pub use outer::{
    LISTENS, RUNS, SWITCHES, Step, descriptor, end_turn, next_due, overrides, set_overrides, step,
    wanted,
};
pub use park::{park, sleep_until, switch_away, yield_now};
use park::{park_here, woken};
pub use report::{exception_reports, is_system, set_exception_reports, squelch};
pub use spin::interrupt_spinner;
pub use timer::{
    TimerHandle, call_at, call_soon, cancel, deadline_in, duration, seconds_of, start_at,
};
use turn::run;
pub use turn::successor;
pub use view::{
    Chooser, call_in, choose_class_by, detects_blocking, existing_object, greenlet_of_thread,
    is_in_hub, parked_on_descriptors, runs_here, set_blocking_detection, timer_arguments,
};

use crate::error::{self, Pending, Raised};
use crate::greenlet::{self, Gr, Phase, Role, switch};
use crate::object::{Object, Slot};
use crate::thread::Thread;
pub use waiter::{Letter, Waiter};
pub use wake::{Callback, Mark, Wake};
pub use why::{Kind, Target, Waitable, What, Why, forgets, forgets_by};

/// Why a greenlet is parked. `of` and `within` add for which object.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "each is the noun it waits for")]
pub enum Reason {
    Sleep,
    Fd { fd: c_int, interest: Interest },
    Event,
    Semaphore,
    Lock,
    Queue,
    Join,
    Pool,
    Other(&'static str),
}

/// What ended a park.
#[derive(Debug)]
pub enum Woken {
    /// `Waiter::wake`, or the descriptor is ready.
    Waker,
    /// The deadline.
    TimedOut,
    /// Somebody switched to the greenlet with this value.
    Switched(Py<PyAny>),
}

/// One OS thread's hub.
pub struct Hub {
    engine: RefCell<Engine<Wake>>,
    greenlet: Slot,
    serial: u64,
    inbox: Arc<Inbox<Wake>>,
    descriptors: RefCell<descriptors::Table>,
    running: Cell<bool>,
    stopping: Cell<bool>,
    /// Why nobody may be switched to but the hub: `IN_CALL | DETECTS | STOPS | ENDED`, and those of `outer`.
    hold: Cell<u8>,
    /// Waits for nothing and was looked at: that is no deadlock, or was reported.
    cleared: Cell<bool>,
    object: Slot,
    origin: fork::Origin,
    trimmer: RefCell<Trimmer>,
    overrides: outer::Overrides,
    ticker: census::Ticker,
    /// Whether the last wait has left a crowd ready, and how many wake-ups of crowds were taken; see `warm`.
    crowded: Cell<bool>,
    steps: Cell<usize>,
}

/// `Hub::hold`: a callback runs in the hub greenlet; whom it switches to comes back to it first.
const IN_CALL: u8 = 1;
/// `Hub::hold`: the blocking detector watches each step of the hub.
const DETECTS: u8 = 2;
/// `Hub::hold`: the hub was told to stop, which it does when it is next entered.
const STOPS: u8 = 8;
/// `Hub::hold`: the hub greenlet has ended. Children of it must find a new one when they finish.
const ENDED: u8 = 4;
/// `Hub::hold`: the hub greenlet is being ended by `dismiss`.
const LEAVES: u8 = 64;

static SERIALS: AtomicU64 = AtomicU64::new(1);

/// Doors of all hubs, for threads that close descriptors or cancel timers of another one's.
static DOORS: Mutex<Option<HashMap<u64, Arc<Inbox<Wake>>>>> = Mutex::new(None);

fn doors<R>(f: impl FnOnce(&mut HashMap<u64, Arc<Inbox<Wake>>>) -> R) -> R {
    let mut doors = DOORS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    f(doors.get_or_insert_with(HashMap::new))
}

/// The calling thread's hub, made on first use.
#[inline(always)]
pub fn get(thread: &Thread) -> error::Result<Rc<Hub>> {
    if let Some(hub) = &*thread.hub.borrow() {
        return Ok(Rc::clone(hub));
    }
    make(thread)
}

#[cold]
fn make(thread: &Thread) -> error::Result<Rc<Hub>> {
    // SAFETY: every caller holds the GIL.
    let py = unsafe { Python::assume_attached() };
    let backend = view::backend(py).map_err(|error| Raised::from_err(py, error))?;
    if let Some(hub) = &*thread.hub.borrow() {
        return Ok(Rc::clone(hub)); // choosing has used it
    }
    let engine = Engine::with_backend(backend, Clock::monotonic())
        .map_err(|failure| error::io_error(py, failure))?;
    let inbox = engine.inbox();
    let serial = SERIALS.fetch_add(1, Ordering::Relaxed);
    doors(|doors| doors.insert(serial, Arc::clone(&inbox)));
    let hub = Rc::new(Hub {
        engine: RefCell::new(engine),
        greenlet: Slot::new(None),
        serial,
        inbox,
        descriptors: RefCell::new(descriptors::Table::default()),
        running: Cell::new(false),
        stopping: Cell::new(false),
        hold: Cell::new(0),
        cleared: Cell::new(false),
        object: Slot::new(None),
        origin: fork::Origin::default(),
        trimmer: RefCell::new(idle::trimmer(py)),
        overrides: outer::Overrides::default(),
        ticker: census::Ticker::default(),
        crowded: Cell::new(false),
        steps: Cell::new(0),
    });
    thread.hub.replace(Some(Rc::clone(&hub)));
    if let Err(error) = view::begun(py) {
        drop(thread.hub.take());
        return Err(Raised::from_err(py, error));
    }
    Ok(hub)
}

fn this(py: Python<'_>) -> PyResult<Rc<Hub>> {
    let thread = Thread::get().ok_or_else(|| Raised.into_err(py))?;
    get(thread).map_err(|raised| raised.into_err(py))
}

/// Number that tells this thread's hub from every other of the process.
#[inline]
pub fn serial(py: Python<'_>) -> PyResult<u64> {
    if let Some(hub) =
        Thread::existing().and_then(|thread| thread.hub.borrow().as_ref().map(|hub| hub.serial))
    {
        return Ok(hub);
    }
    Ok(this(py)?.serial)
}

/// The Python object that stands for this thread's hub, if one was set.
pub fn object(py: Python<'_>) -> PyResult<Option<Object>> {
    Ok(this(py)?.object.get())
}

/// Sets the Python object that stands for this thread's hub.
pub fn set_object(py: Python<'_>, object: Object) -> PyResult<()> {
    drop(this(py)?.object.replace(Some(object)));
    Ok(())
}

/// Runs `f` on the engine. `f` must not run Python code.
pub fn with_hub<R>(py: Python<'_>, f: impl FnOnce(&mut Engine<Wake>) -> R) -> PyResult<R> {
    Ok(f(&mut this(py)?.engine.borrow_mut()))
}

/// As `with_hub`, if the calling thread's hub is the one with this number; `None` if it is not.
#[inline]
pub fn with_hub_of<R>(
    _py: Python<'_>,
    serial: u64,
    f: impl FnOnce(&mut Engine<Wake>) -> R,
) -> Option<R> {
    let hub = Thread::existing()?.hub.borrow();
    let hub = hub.as_ref().filter(|hub| hub.serial == serial)?;
    let mut engine = hub.engine.borrow_mut();
    Some(f(&mut engine))
}

/// The running greenlet.
pub fn current_greenlet(py: Python<'_>) -> PyResult<Object> {
    greenlet::current()
        .map(Gr::object)
        .map_err(|raised| raised.into_err(py))
}

/// Whether the hub of this number has not ended.
pub fn exists(serial: u64) -> bool {
    doors(|doors| doors.contains_key(&serial))
}

/// Sends `wake` to another thread's hub; what a hub that is gone would have done needs no doing.
pub fn forward(serial: u64, wake: Wake) {
    let door = doors(|doors| doors.get(&serial).cloned());
    if let Some(door) = door {
        drop(door.send(wake));
    }
}

/// Has `f(arg())` called in the hub of the OS thread that `g` belongs to, if that is not the calling one and has a
/// hub; else false, and nothing happens. May switch: no.
pub fn call_in_owner(
    g: Gr,
    f: Callback,
    arg: impl FnOnce() -> PyResult<Py<PyAny>>,
) -> PyResult<bool> {
    let owner = g.get().lineage();
    let here = Thread::existing().map_or(std::ptr::null(), std::ptr::from_ref);
    if owner == here {
        return Ok(false);
    }
    // SAFETY: null, or counted by `g` or by an ancestor of it.
    let Some(owner) = (unsafe { owner.as_ref() }) else {
        return Ok(false);
    };
    let door = owner
        .hub
        .borrow()
        .as_ref()
        .map(|hub| Arc::clone(&hub.inbox));
    match door {
        Some(door) => {
            let call = Wake::Call(f, arg()?);
            Ok(door.send(call).map_err(drop).is_ok())
        }
        None => Ok(false),
    }
}

/// Whether the current greenlet is its thread's hub.
pub fn in_hub_greenlet(thread: &Thread) -> bool {
    let current = thread.current.get().as_object_ptr();
    thread
        .hub
        .borrow()
        .as_ref()
        .is_some_and(|hub| hub.greenlet.peek() == current)
}

/// Puts `g`, which was never started, into the next turn. May switch: no.
#[inline]
pub fn start_soon(thread: &Thread, g: Object) -> error::Result<()> {
    let hub = get(thread)?;
    hub.register_birth(thread, &g)?;
    hub.engine.borrow_mut().wake(Wake::Start(g));
    Ok(())
}

/// The hub greenlet of the calling thread, made if need be: the parent of green threads.
#[inline]
pub fn hub_greenlet(thread: &Thread) -> error::Result<Object> {
    get(thread)?.ensure_greenlet(thread)
}

impl Hub {
    /// The hub greenlet; a new one if the last has ended (children of that one pass through it).
    #[inline(always)]
    fn ensure_greenlet(&self, thread: &Thread) -> error::Result<Object> {
        if let Some(hub) = self.greenlet.get()
            && Gr::from_object(&hub).get().phase.get() != Phase::Dead
        {
            return Ok(hub);
        }
        self.new_greenlet(thread)
    }

    #[cold]
    fn new_greenlet(&self, thread: &Thread) -> error::Result<Object> {
        let old = self.greenlet.get();
        let main = Gr::from_ptr(thread.main.get()).object();
        let parent = old
            .as_ref()
            .and_then(|old| Gr::from_object(old).get().parent.get())
            .unwrap_or(main);
        let hub = greenlet::with_body(greenlet::type_ptr(), run, parent)?;
        Gr::from_object(&hub).get().role.set(Role::Hub);
        if let Some(old) = old {
            let old = Gr::from_object(&old).get();
            old.role.set(Role::FormerHub);
            drop(old.parent.replace(Some(hub.clone())));
        }
        drop(self.greenlet.replace(Some(hub.clone())));
        self.hold.set(self.hold.get() & !ENDED);
        Ok(hub)
    }

    /// The code that runs in the hub greenlet is about to park: another greenlet becomes the hub, and this one ends
    /// when that code returns. May switch: no, unless the blocking detector does.
    #[cold]
    #[inline(never)]
    fn resign(&self, thread: &Thread) -> error::Result<()> {
        if self.overrides.has(RUNS) {
            return Err(outer::in_loop());
        }
        self.new_greenlet(thread)?;
        self.hold.set(self.hold.get() & !IN_CALL);
        if self.hold.get() & DETECTS != 0 {
            // SAFETY: the GIL is held by every caller.
            let py = unsafe { Python::assume_attached() };
            self.tell_detector(py, c"block_detect_post")?;
        }
        Ok(())
    }

    /// Whether `me` runs the hub's loop but is not the hub any more: what it called has parked.
    #[inline(always)]
    fn has_resigned(&self, me: Gr) -> bool {
        self.greenlet.peek() != me.as_object_ptr()
    }
}

/// What a greenlet waits for, in words; `None` when it is not parked.
pub fn reason_text(g: Gr) -> Option<String> {
    let reason = g.get().reason.get()?;
    Some(match reason {
        Reason::Fd { fd, .. } => format!("{} on descriptor {fd}", noun_of(reason)),
        _ => noun_of(reason).to_owned(),
    })
}

/// What a reason is called.
pub fn noun_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Sleep => "sleep",
        Reason::Fd { interest, .. } => match interest {
            Interest::Read => "read",
            Interest::Write => "write",
        },
        Reason::Event => "event",
        Reason::Semaphore => "semaphore",
        Reason::Lock => "lock",
        Reason::Queue => "queue",
        Reason::Join => "end of a green thread",
        Reason::Pool => "place in a pool",
        Reason::Other(noun) => noun,
    }
}

/// Whether the hub's loop runs.
pub fn is_running(py: Python<'_>) -> PyResult<bool> {
    Ok(this(py)?.running.get())
}

/// Whether the hub was told to stop.
pub fn is_stopping(py: Python<'_>) -> PyResult<bool> {
    Ok(this(py)?.stopping.get())
}

/// Tells the hub's loop to end after what it does now.
pub fn stop(py: Python<'_>) -> PyResult<()> {
    let hub = this(py)?;
    hub.stopping.set(true);
    hub.hold.set(hub.hold.get() | STOPS);
    Ok(())
}

/// Raises `exception` in `g` at once; the caller continues in its hub's next turn. May switch: yes.
pub fn kill(g: Gr, exception: Pending) -> error::Result<()> {
    let thread = Thread::get().ok_or(Raised)?;
    let hub = get(thread)?;
    let me = thread.current.get();
    if me != g && hub.greenlet.peek() != me.as_object_ptr() {
        let greenlet = me.get();
        hub.adopt_child(thread, me)?;
        let number = greenlet.parks.get() + 1;
        greenlet.parks.set(number);
        greenlet.reason.set(Some(Reason::Other("kill")));
        greenlet.what.set(What::NOTHING);
        greenlet.since.set(hub.tick());
        hub.engine
            .borrow_mut()
            .wake(Wake::Resume(me.object(), number));
        let running = loops::leave(&hub);
        let result = switch::throw(g, exception);
        loops::come_back(running);
        greenlet.reason.set(None);
        greenlet.mark.set(Mark::None);
        return result.map(drop);
    }
    switch::throw(g, exception).map(drop)
}

/// How many stacks the hub greenlet of `thread` uses: 0 or 1.
pub fn own_stacks(thread: &Thread) -> usize {
    let hub = thread.hub.borrow().clone();
    let greenlet = hub.and_then(|hub| hub.greenlet.get());
    let runs = greenlet
        .is_some_and(|greenlet| Gr::from_object(&greenlet).get().phase.get() == Phase::Active);
    usize::from(runs)
}

/// Adds the hub's counters to `greenlet._core._statistics()`.
pub fn statistics(_py: Python<'_>, statistics: &Bound<'_, PyDict>) -> PyResult<()> {
    let Some(hub) = Thread::existing().and_then(|thread| thread.hub.borrow().clone()) else {
        return Ok(());
    };
    let (timers, waiting, ready) = {
        let engine = hub.engine.borrow();
        (
            engine.timers_len(),
            engine.waiting_len(),
            engine.ready_len(),
        )
    };
    statistics.set_item("timers", timers)?;
    statistics.set_item("waiting", waiting)?;
    statistics.set_item("ready", ready)
}
