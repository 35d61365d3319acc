//! The hub of an OS thread: who runs next. Drives the engine's passive `Hub` for greenlets.
//!
//! `park` is the only way into the scheduler and `fire` the only way out of it. Whoever parks looks for the next
//! ready green thread itself and switches straight to it; the hub greenlet is entered only to wait, to poll, or to
//! run callbacks. If one of those parks, another greenlet becomes the hub (`resign`). Each park has a number, so that a wake-up meant for an earlier one is recognised as stale.
//!
//! Invariants. No borrow of the engine is alive while Python code runs or a switch happens. A `Wake` owns what it
//! wakes. Everything but the inbox is touched by the hub's own thread alone, with the GIL held.
#![allow(unsafe_code)] // releases the GIL around the wait

mod census;
mod deadlock;
mod descriptors;
mod fork;
mod hold;
mod idle;
mod outer;
mod report;
mod spin;
mod view;
mod warm;
mod why;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_int;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventlet::clock::Clock;
pub use eventlet::clock::Instant;
use eventlet::hub::{Hub as Engine, TimerKey, Wait};
use eventlet::inbox::Inbox;
pub use eventlet::reactor::{Interest, Token};
use eventlet::stack::{Rest, Trimmer};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

pub use census::{Glance, age, glance, record_spawn_stacks, records_spawn_stacks};
pub use deadlock::{patience, set_patience};
pub use descriptors::{
    io_closed_class, is_closed_error, notify_close, notify_opened, park_any, park_fd, park_token,
    prevent_multiple_readers, prevents_multiple_readers, release,
};
pub use fork::{after_fork, end_idle_child, forks, set_survive_fork, survive_fork};
pub use hold::hold_for;
pub use idle::trim_after;
pub use outer::{
    LISTENS, RUNS, SWITCHES, Step, descriptor, end_turn, next_due, overrides, set_overrides, step,
    wanted,
};
pub use report::{exception_reports, is_system, set_exception_reports, squelch};
pub use spin::before_lock;
pub use view::{
    Chooser, call_in, choose_class_by, detects_blocking, existing_object, greenlet_of_thread,
    is_in_hub, parked_on_descriptors, runs_here, set_blocking_detection, timer_arguments,
};

use crate::error::{self, Pending, Raised};
use crate::gil::Gil;
use crate::greenlet::{self, Gr, Phase, Role, Transfer, switch};
use crate::object::{Object, Slot};
use crate::thread::Thread;
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

/// Runs in the hub greenlet; an error is reported there. May park: another greenlet becomes the hub then.
pub type Callback = fn(Python<'_>, Py<PyAny>) -> PyResult<()>;

/// What the engine hands out: something to run.
pub enum Wake {
    /// Continue a parked greenlet if it is still in that park.
    Resume(Object, u64),
    /// As `Resume`, when its deadline has come.
    TimedOut(Object, u64),
    /// Start a green thread.
    Start(Object),
    /// Call natively, in the hub greenlet.
    Call(Callback, Py<PyAny>),
    /// Another thread closed a descriptor that this hub watches.
    Release(Token, c_int),
    /// Another thread cancelled a timer.
    Cancel(TimerKey),
}

// SAFETY: objects in it are touched with the GIL held only; the inbox merely carries them to their hub's thread.
unsafe impl Send for Wake {}

/// How a park was ended, left in the greenlet for it to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Not by the hub: by a plain switch.
    None,
    /// `Wake::Resume`.
    Woken,
    /// `Wake::TimedOut`.
    TimedOut,
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

/// Hubs that have ended: tells wait queues when to look for greenlets that never run again.
static ENDED_HUBS: AtomicU64 = AtomicU64::new(0);

/// Number of hubs of this process that have ended.
#[inline(always)]
pub fn ended_hubs() -> u64 {
    ENDED_HUBS.load(Ordering::Relaxed)
}

static SERIALS: AtomicU64 = AtomicU64::new(1);

/// Doors of all hubs, for threads that close descriptors or cancel timers of another one's.
static DOORS: Mutex<Option<HashMap<u64, Arc<Inbox<Wake>>>>> = Mutex::new(None);

fn doors<R>(f: impl FnOnce(&mut HashMap<u64, Arc<Inbox<Wake>>>) -> R) -> R {
    let mut doors = DOORS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    f(doors.get_or_insert_with(HashMap::new))
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.close_door());
    }
}

impl Hub {
    /// Nobody can send to this hub any more.
    fn close_door(&self) -> Vec<Wake> {
        doors(|doors| doors.remove(&self.serial));
        ENDED_HUBS.fetch_add(1, Ordering::Relaxed);
        let mut mail = Vec::new();
        self.inbox.close(&mut mail);
        mail
    }
}

/// Ends the hub of a thread that has ended, in which these greenlets are suspended: what waits in it is dropped, and
/// nobody can send to it any more. Unless it is the thread itself that ends, this is the child of a fork, where what
/// is referred to is the parent's.
pub fn end(hub: &Hub, suspended: &[Object], itself: bool) {
    if itself {
        outer::abandon(hub);
    }
    let wakes = hub.engine.borrow_mut().drain();
    for wake in &wakes {
        if let Wake::Start(g) = wake {
            crate::greenlet::lifetime::forsake(Gr::from_object(g));
        }
    }
    let mail = hub.close_door();
    if itself {
        for g in suspended {
            // SAFETY: hubs end with the GIL held.
            let py = unsafe { Python::assume_attached() };
            why::forget(py, Gr::from_object(g));
        }
        drop(mail);
        drop(wakes);
    } else {
        std::mem::forget(mail);
        std::mem::forget(wakes);
    }
}

/// Frees the hub of a thread that has ended, after `end`. `whole`: no code runs any more that uses it, but for greenlets
/// that are suspended for good. If not, its descriptors are closed and the rest is left alone.
pub fn free(hub: Rc<Hub>, whole: bool) {
    let hub = match Rc::try_unwrap(hub) {
        Ok(hub) => return drop(hub),
        Err(shared) => shared,
    };
    // The other counts are on the stacks of greenlets that were suspended when the thread ended. Those never
    // run again and are never unwound, so nobody comes back to what is dropped here.
    if whole {
        while Rc::strong_count(&hub) > 1 {
            // SAFETY: a count that lies on such a stack, or lay there until the stack was unmapped; `hub` is one more.
            unsafe { Rc::decrement_strong_count(Rc::as_ptr(&hub)) };
        }
        return;
    }
    // SAFETY: read once, and never used or dropped in its place again: the count of `hub` is given away.
    let engine = unsafe { std::ptr::read(hub.engine.as_ptr()) };
    // SAFETY: as above.
    let inbox = unsafe { std::ptr::read(&hub.inbox) };
    std::mem::forget(hub);
    drop(engine);
    drop(inbox);
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

/// Drops the calling thread's hub with all that waits in it; the next use makes a new one. May switch: yes.
///
/// RuntimeError in the hub greenlet if an outer loop runs in it.
pub fn discard(py: Python<'_>) -> PyResult<()> {
    let thread = Thread::get().ok_or_else(|| Raised.into_err(py))?;
    if in_hub_greenlet(thread) {
        // What it runs now ends as any greenlet does.
        get(thread)
            .and_then(|hub| hub.resign(thread))
            .map_err(|raised| raised.into_err(py))?;
    }
    let Some(hub) = thread.hub.take() else {
        return Ok(());
    };
    hub.close_door(); // it is nobody's any more, also for a loop that is slow to end
    hub.dismiss(py, thread)?;
    drop(hub);
    Ok(())
}

/// Unwinds the hub greenlet of a thread that is about to end: the last callback may have left it in the middle, with
/// references to whom it switched to. An outer loop is told of the end by `end` instead. May switch: yes.
pub fn wind_up(thread: &Thread) {
    let hub = thread.hub.borrow().clone();
    if let Some(hub) = hub.filter(|hub| !hub.overrides.has(RUNS)) {
        // SAFETY: a thread's end is told with the GIL held.
        let py = unsafe { Python::assume_attached() };
        if let Err(error) = hub.dismiss(py, thread) {
            error.write_unraisable(py, None);
        }
    }
}

impl Hub {
    /// Ends the loop here and now if it has begun: what the hub greenlet holds would otherwise live as long as the
    /// thread. The caller is not the hub greenlet. May switch: yes.
    fn dismiss(&self, py: Python<'_>, thread: &Thread) -> PyResult<()> {
        let running = self
            .greenlet
            .get()
            .filter(|greenlet| Gr::from_object(greenlet).get().phase.get() == Phase::Active);
        let Some(running) = running else {
            return Ok(());
        };
        let running = Gr::from_object(&running);
        let me = thread.current.get().object();
        drop(running.get().parent.replace(Some(me)));
        self.stopping.set(true); // also if a callback catches what is thrown
        self.hold.set(self.hold.get() | STOPS | LEAVES);
        let exit = greenlet::exit_object().bind(py).call0()?;
        let exit = Pending::from_err(py, PyErr::from_value(exit));
        let ended = switch::throw(running, exit);
        self.hold.set(self.hold.get() & !LEAVES);
        ended.map(drop).map_err(|raised| raised.into_err(py))
    }

    /// Whether the exception that is set is what `dismiss` has thrown.
    #[cold]
    fn is_dismissal(&self) -> bool {
        // SAFETY: an exception is set and the class is live.
        self.hold.get() & LEAVES != 0
            && unsafe { ffi::PyErr_ExceptionMatches(greenlet::exit_class()) } != 0
    }
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

/// Seconds of the hub's clock, as Python's `time.monotonic()` counts them.
pub fn seconds_of(instant: Instant) -> f64 {
    instant.as_nanos() as f64 / 1e9
}

/// The instant `seconds` from now; now for what is not positive. ValueError for NaN.
pub fn deadline_in(py: Python<'_>, seconds: f64) -> PyResult<Instant> {
    if seconds.is_nan() {
        return Err(PyValueError::new_err("Invalid value NaN (not a number)"));
    }
    let hub = this(py)?;
    let now = hub.engine.borrow().now();
    Ok(now.saturating_add(duration(seconds)))
}

/// Seconds as a duration: nothing for what is not positive, the longest for what does not fit.
pub fn duration(seconds: f64) -> Duration {
    if seconds <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// A timer that can be cancelled.
#[derive(Debug, Clone, Copy)]
pub struct TimerHandle {
    /// Not zero, so that `Option<TimerHandle>` is no larger.
    serial: NonZeroU64,
    key: TimerKey,
}

/// Calls `f(arg)` in the hub greenlet at `deadline`. May switch: no.
pub fn call_at(
    py: Python<'_>,
    deadline: Instant,
    f: Callback,
    arg: Py<PyAny>,
) -> PyResult<TimerHandle> {
    let hub = this(py)?;
    let key = hub.engine.borrow_mut().at(deadline, Wake::Call(f, arg));
    Ok(hub.handle(key))
}

/// Calls `f(arg)` in the hub greenlet in its next turn. May switch: no.
pub fn call_soon(py: Python<'_>, f: Callback, arg: Py<PyAny>) -> PyResult<()> {
    this(py)?.engine.borrow_mut().wake(Wake::Call(f, arg));
    Ok(())
}

/// Starts the green thread `g` at `deadline`. May switch: no.
pub fn start_at(py: Python<'_>, deadline: Instant, g: Object) -> PyResult<TimerHandle> {
    let hub = this(py)?;
    if let Some(thread) = Thread::existing() {
        hub.register_birth(thread, &g)
            .map_err(|raised| raised.into_err(py))?;
    }
    let key = hub.engine.borrow_mut().at(deadline, Wake::Start(g));
    Ok(hub.handle(key))
}

/// Takes a timer back. `None` if it has fired, or belongs to another thread's hub (which is told then).
pub fn cancel(py: Python<'_>, handle: TimerHandle) -> Option<Py<PyAny>> {
    let hub = Thread::existing().and_then(|thread| thread.hub.borrow().clone());
    let wake = match hub {
        Some(hub) if hub.serial == handle.serial.get() => {
            hub.engine.borrow_mut().cancel(handle.key)?
        }
        _ => {
            forward(handle.serial.get(), Wake::Cancel(handle.key));
            return None;
        }
    };
    match wake {
        Wake::Call(_, arg) => Some(arg),
        Wake::Start(g) | Wake::Resume(g, _) | Wake::TimedOut(g, _) => {
            Some(g.into_bound(py).unbind())
        }
        Wake::Release(..) | Wake::Cancel(_) => None,
    }
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

/// Who is to be woken: a greenlet in its next park.
#[derive(Clone)]
pub struct Waiter {
    greenlet: Object,
    park: u64,
    serial: u64,
    door: Arc<Inbox<Wake>>,
}

// SAFETY: used with the GIL held only, as every Object.
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

impl Waiter {
    /// The current greenlet in the park that it is about to begin.
    pub fn current(py: Python<'_>) -> PyResult<Waiter> {
        let thread = Thread::get().ok_or_else(|| Raised.into_err(py))?;
        let hub = get(thread).map_err(|raised| raised.into_err(py))?;
        let me = thread.current.get();
        let park = me.get().parks.get() + 1;
        Ok(Waiter {
            greenlet: me.object(),
            park,
            serial: hub.serial,
            door: Arc::clone(&hub.inbox),
        })
    }

    /// Continues the greenlet in its hub's next turn. False if it no longer waits for this. Any OS thread.
    pub fn wake(&self, py: Python<'_>) -> bool {
        if !self.is_waiting(py) {
            return false;
        }
        let wake = Wake::Resume(self.greenlet.clone(), self.park);
        if let Some(thread) = Thread::existing()
            && let Some(hub) = &*thread.hub.borrow()
            && hub.serial == self.serial
        {
            hub.engine.borrow_mut().wake(wake);
            return true;
        }
        self.door.send(wake).is_ok()
    }

    /// Whether the greenlet is in that park, or about to begin it, and will ever run again.
    pub fn is_waiting(&self, _py: Python<'_>) -> bool {
        if !self.door.is_open() {
            return false;
        }
        let greenlet = Gr::from_object(&self.greenlet).get();
        let parks = greenlet.parks.get();
        (parks == self.park && greenlet.reason.get().is_some()) || parks + 1 == self.park
    }

    /// The greenlet.
    pub fn greenlet(&self) -> &Object {
        &self.greenlet
    }

    /// Whether its hub has ended, so that the greenlet never runs again.
    pub fn is_lost(&self) -> bool {
        !self.door.is_open()
    }

    /// Whether it belongs to the calling thread's hub.
    pub fn is_local(&self, _py: Python<'_>) -> bool {
        let hub = Thread::existing().map(|thread| thread.hub.borrow());
        hub.is_some_and(|hub| hub.as_ref().is_some_and(|hub| hub.serial == self.serial))
    }

    /// Its wake-up, made ahead for a thread that will not hold the GIL.
    pub fn letter(&self) -> Letter {
        Letter {
            wake: Wake::Resume(self.greenlet.clone(), self.park),
            door: Arc::clone(&self.door),
        }
    }
}

/// A wake-up on its way to a hub. Any OS thread may send it, with or without the GIL; it is dropped with the GIL.
pub struct Letter {
    wake: Wake,
    door: Arc<Inbox<Wake>>,
}

impl Letter {
    /// Has the greenlet continue in its hub's next turn, if it still waits. Gives the letter back when the hub
    /// has ended.
    pub fn send(self) -> Result<(), Letter> {
        let Letter { wake, door } = self;
        door.send(wake).map_err(|wake| Letter { wake, door })
    }
}

/// Suspends the current greenlet until it is woken, the deadline comes, or somebody switches to it. May switch: yes.
/// What is thrown into the greenlet is returned as the error. In the hub greenlet, another one becomes the hub.
pub fn park(py: Python<'_>, why: impl Into<Why>, deadline: Option<Instant>) -> PyResult<Woken> {
    let outcome = park_here(why, deadline, |_, _| Ok(()), |_, ()| ());
    let (mark, value, ()) = outcome.map_err(|raised| raised.into_err(py))?;
    Ok(woken(py, mark, value))
}

fn woken(py: Python<'_>, mark: Mark, value: Object) -> Woken {
    match mark {
        Mark::Woken => Woken::Waker,
        Mark::TimedOut => Woken::TimedOut,
        Mark::None => Woken::Switched(value.into_bound(py).unbind()),
    }
}

/// `park` with what `before` arranges (given the hub and the park's wake-up) and `after` undoes.
#[inline(always)]
fn park_here<S, R>(
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
    let result = hub.hand_off(thread, me);
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
    fn handle(&self, key: TimerKey) -> TimerHandle {
        let serial = NonZeroU64::new(self.serial).expect("serials count from 1");
        TimerHandle { serial, key }
    }
}

/// Where a wake-up leads.
enum Next {
    /// To this greenlet: it only has to be switched to.
    Go(Object),
    /// To a green thread that starts.
    Begin(Object),
    /// Nowhere: it was stale.
    Stale,
}

impl Wake {
    /// Whether it can be acted on by whoever parks, without the hub greenlet.
    #[inline(always)]
    fn is_direct(&self) -> bool {
        matches!(self, Wake::Resume(..) | Wake::TimedOut(..) | Wake::Start(_))
    }

    #[inline(always)]
    fn resolve(self) -> Next {
        let (object, number, mark) = match self {
            Wake::Resume(object, number) => (object, number, Mark::Woken),
            Wake::TimedOut(object, number) => (object, number, Mark::TimedOut),
            Wake::Start(object) => {
                let fresh = Gr::from_object(&object).get().phase.get() == Phase::New;
                return if fresh {
                    Next::Begin(object)
                } else {
                    Next::Stale
                };
            }
            Wake::Call(..) | Wake::Release(..) | Wake::Cancel(_) => return Next::Stale,
        };
        let greenlet = Gr::from_object(&object).get();
        if greenlet.parks.get() != number || greenlet.reason.get().is_none() {
            return Next::Stale;
        }
        greenlet.reason.set(None); // a second wake-up of this park is stale from here on
        greenlet.mark.set(mark);
        Next::Go(object)
    }
}

impl Hub {
    /// The next thing that a parking greenlet can switch to by itself.
    #[inline(always)]
    fn next_direct(&self) -> Option<Wake> {
        if self.hold.get() != 0 {
            return None;
        }
        let mut engine = self.engine.borrow_mut();
        if engine.peek()?.is_direct() {
            warm::ahead(&engine);
            engine.next()
        } else {
            None
        }
    }

    /// Leaves the current greenlet for whoever is next. May switch: yes.
    #[inline(always)]
    fn hand_off(&self, thread: &Thread, me: Gr) -> error::Result<Object> {
        self.adopt_child(thread, me)?;
        while let Some(wake) = self.next_direct() {
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
    fn enter(&self, thread: &Thread) -> error::Result<Object> {
        // Nobody else is ready, as far as is known: from here on it may take long.
        thread.current.get().get().since.set(self.look());
        // Not kept from here: the hub greenlet may be another one when we return.
        let hub = Gr::from_object(&self.ensure_greenlet(thread)?);
        switch::deliver(thread, hub, Transfer::Nothing)
    }

    /// Makes the hub the parent of a greenlet that blocks, as upstream does: its result goes nowhere else.
    #[inline(always)]
    fn adopt_child(&self, thread: &Thread, me: Gr) -> error::Result<()> {
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
    fn adopt(&self, thread: &Thread, me: Gr) -> error::Result<()> {
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

    /// One wait for readiness, mail, the next deadline or the limit, with the GIL released if it blocks.
    fn wait(&self, thread: &Thread, me: Gr, limit: Option<Duration>) -> error::Result<()> {
        let suspicion = match limit {
            None => self.suspicion(thread),
            Some(_) => None, // an outer loop has other things to wait for
        };
        let limit = limit.or(suspicion.as_ref().map(deadlock::Suspicion::limit));
        let mut wait: Wait = self.engine.borrow_mut().begin_wait_within(limit);
        let result = if wait.would_block() {
            if wait.timeout().is_none() && self.main_is_left(thread) && self.is_done(thread, me) {
                // SAFETY: the GIL is held.
                self.end_of_child(unsafe { Python::assume_attached() }, Ok(()));
            }
            match self.rest(thread, me) {
                Rest::None => wait.limit(Duration::ZERO),
                Rest::Short(at_most) => wait.limit(at_most),
                Rest::Long => {}
            }
            // SAFETY: the GIL is held, and no borrow is alive.
            let py = unsafe { Python::assume_attached() };
            Gil::release(py, |_| wait.block())
        } else {
            wait.block()
        };
        let ended = self.engine.borrow_mut().end_wait(wait, result);
        self.ticker.expire();
        ended.map_err(|failure| {
            // SAFETY: the GIL is held.
            error::io_error(unsafe { Python::assume_attached() }, failure)
        })?;
        self.hold.set(self.hold.get() | IN_CALL);
        // SAFETY: the GIL is held; runs handlers in the main thread only.
        let handled = unsafe { ffi::PyErr_CheckSignals() };
        let examined = match handled {
            0 => self.examine(suspicion),
            _ => Err(Raised),
        };
        if !self.has_resigned(me) {
            self.hold.set(self.hold.get() & !IN_CALL);
        }
        examined
    }

    /// Acts on one wake-up in the hub greenlet. May switch: yes. An error ends the hub.
    fn fire(&self, py: Python<'_>, thread: &Thread, me: Gr, wake: Wake) -> error::Result<()> {
        if self.hold.get() & DETECTS == 0 {
            return self.act(py, thread, me, wake);
        }
        self.tell_detector(py, c"block_detect_pre")?;
        let result = self.act(py, thread, me, wake);
        if !self.has_resigned(me) {
            self.tell_detector(py, c"block_detect_post")?;
        }
        result
    }

    fn act(&self, py: Python<'_>, thread: &Thread, me: Gr, wake: Wake) -> error::Result<()> {
        match wake {
            Wake::Call(callback, arg) => {
                self.hold.set(self.hold.get() | IN_CALL);
                let called = callback(py, arg);
                if self.has_resigned(me) {
                    // The end of this greenlet reports it, as that of any green thread.
                    return called.map_err(|failure| Raised::from_err(py, failure));
                }
                self.hold.set(self.hold.get() & !IN_CALL);
                if let Err(failure) = called {
                    let raised = Raised::from_err(py, failure);
                    if self.is_dismissal() {
                        return Err(raised);
                    }
                    report::uncaught()?;
                }
            }
            Wake::Release(token, fd) => self.released(token, fd),
            Wake::Cancel(key) => {
                let cancelled = self.engine.borrow_mut().cancel(key);
                drop(cancelled);
            }
            wake => match wake.resolve() {
                // What arrives as an error was thrown at the hub, or belongs to the main greenlet: it ends the hub.
                Next::Go(target) => drop(switch::pass(thread, target)?),
                Next::Begin(target) => match switch::begin(thread, &target) {
                    Ok(()) => drop(switch::pass_first(thread, target)?),
                    Err(Raised) => report::failed_start(target),
                },
                Next::Stale => {}
            },
        }
        Ok(())
    }
}

/// Body of the hub greenlet: fires what is ready, waits, and begins again.
fn run(_py: Python<'_>, me: Gr, transfer: Transfer) -> error::Result<Object> {
    // PyO3's attach count stays above 0 while the hub lives, so that references which callbacks drop are
    // given back at once and not when the next function of PyO3's is entered.
    Python::attach(|py| {
        let thread = Thread::existing().expect("a greenlet runs in it");
        let hub = get(thread)?;
        if let Transfer::Error(pending) = transfer {
            hub.hold.set(hub.hold.get() | ENDED);
            let raised = pending.restore();
            if hub.main_is_left(thread) {
                hub.end_of_child(py, Err(raised));
            }
            return Err(raised);
        }
        hub.hold.set(hub.hold.get() & !IN_CALL);
        hub.running.set(true);
        let result = if hub.overrides.has(RUNS) {
            hub.run_outside(py)
        } else {
            hub.turn(py, thread, me)
        };
        if hub.has_resigned(me) {
            return result.map(|()| Object::none());
        }
        hub.running.set(false);
        if hub.stopping.get() {
            let timers = hub.engine.borrow_mut().take_timers();
            drop(timers);
        }
        hub.stopping.set(false);
        hub.hold.set(hub.hold.get() & !STOPS | ENDED);
        if hub.main_is_left(thread) {
            hub.end_of_child(py, result);
        }
        result.map(|()| Object::none())
    })
}

impl Hub {
    /// The loop. Returns when the hub is to end, or when `me` is not the hub any more.
    fn turn(&self, py: Python<'_>, thread: &Thread, me: Gr) -> error::Result<()> {
        while !self.stopping.get() {
            loop {
                let wake = {
                    let mut engine = self.engine.borrow_mut();
                    warm::ahead(&engine);
                    engine.next()
                };
                let Some(wake) = wake else { break };
                self.fire(py, thread, me, wake)?;
                if self.stopping.get() || self.has_resigned(me) {
                    return Ok(());
                }
            }
            if thread.attention.get() & crate::thread::CONDEMNED != 0 {
                thread.execute_condemned();
                if self.has_resigned(me) {
                    return Ok(());
                }
            }
            self.wait(thread, me, None)?;
            if self.has_resigned(me) {
                return Ok(());
            }
        }
        Ok(())
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

/// Where a finished green thread goes instead of its parent, the hub: straight to the next ready one.
///
/// Its exception is reported here and goes no further, unless it is one that belongs to the main greenlet.
/// May switch: if reporting does.
#[inline]
pub fn successor(thread: &Thread, me: Gr, transfer: &mut Transfer) -> Option<(Object, bool)> {
    let hub = thread.hub.borrow().clone()?;
    let mut parent = me.heir()?;
    while parent.get().phase.get() == Phase::Dead {
        parent = parent.heir()?; // a hub greenlet that has ended stands for the one after it
    }
    if parent.as_object_ptr() != hub.greenlet.peek() {
        return None;
    }
    match std::mem::take(transfer) {
        Transfer::Error(pending) => {
            hub.note_failure(me);
            pending.restore();
            if report::uncaught().is_err() {
                *transfer = Transfer::Error(Pending::take());
                return None;
            }
        }
        result => drop(result),
    }
    while let Some(wake) = hub.next_direct() {
        match wake.resolve() {
            Next::Go(target) if Gr::from_object(&target) != me => return Some((target, false)),
            Next::Begin(target) => match switch::begin(thread, &target) {
                Ok(()) => return Some((target, true)),
                Err(Raised) => report::failed_start(target),
            },
            _ => {}
        }
    }
    None
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
        let result = switch::throw(g, exception);
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
