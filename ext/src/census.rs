//! The census: every greenlet of every OS thread, what it does or waits for, since when, and who spawned it.
//!
//! Made on request only, from the stacks in use (`Stacks::owners`) and what the hubs hold (`hub::glance`);
//! `eventlet.debug` turns it into text. Invariant: all greenlets of the list are found and counted before any
//! Python object is made, since that may run code that ends some of them.
#![allow(unsafe_code)] // follows the addresses of what greenlets wait for

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::event::Event;
use crate::greenlet::{Gr, Phase};
use crate::greenthread::{is_green_thread, life_of};
use crate::hub::{self, Glance, Interest, Kind, Reason, Target};
use crate::object::Object;
use crate::queue::LightQueue;
use crate::semaphore::Semaphore;
use crate::thread::Thread;
use crate::thread_module::ThreadHandle;

/// One greenlet, kept alive while the list is made.
struct Member {
    object: Object,
    starts: Option<hub::Instant>,
}

impl Member {
    fn new(object: Object) -> Member {
        Member {
            object,
            starts: None,
        }
    }

    fn gr(&self) -> Gr {
        Gr::from_object(&self.object)
    }
}

/// The greenlets of one OS thread, the oldest first.
fn members(thread: &Thread, glance: Option<&Glance>) -> Vec<Member> {
    let main = Gr::from_ptr(thread.main.get()).object();
    let started: Vec<Gr> = thread.pool.borrow().owners().map(Gr::from_ptr).collect();
    let mut members: Vec<Member> = std::iter::once(main)
        .chain(started.into_iter().map(Gr::object))
        .map(Member::new)
        .collect();
    let unstarted = glance.into_iter().flat_map(|glance| &glance.unstarted);
    members.extend(
        unstarted
            .filter(|(object, _)| Gr::from_object(object).get().phase.get() == Phase::New)
            .map(|(object, starts)| Member {
                object: object.clone(),
                starts: *starts,
            }),
    );
    members.sort_by_key(|member| member.gr().get().serial);
    members
}

/// What a greenlet is doing.
fn state(thread: &Thread, glance: Option<&Glance>, g: Gr) -> &'static str {
    let greenlet = g.get();
    if greenlet.phase.get() == Phase::New {
        return "new";
    }
    if thread.current.get() == g {
        return "running";
    }
    match greenlet.reason.get() {
        Some(_) if glance.is_some_and(|seen| seen.ready.contains(&g.as_object_ptr())) => "ready",
        Some(_) => "waiting",
        None => "switched",
    }
}

/// The Python object that a greenlet waits for, and the serial of who holds it (0: nobody knows).
fn awaited<'py>(py: Python<'py>, g: Gr) -> PyResult<(Option<Bound<'py, PyAny>>, u32)> {
    Ok(match g.get().what.get().target() {
        Target::Nothing => (None, 0),
        Target::Object(object) => {
            // SAFETY: alive while the greenlet is parked for it, and it cannot go on while we run.
            let object = unsafe { Bound::from_borrowed_ptr(py, object) };
            let holder = Gr::check(object.as_ptr()).map_or(0, |g| g.get().serial);
            (Some(object), holder)
        }
        Target::Value(Kind::Event, value) => {
            // SAFETY: alive while the greenlet is parked for it; the kind says that it is one.
            let event = unsafe { &*value.cast::<Event>() };
            let sample = Bound::new(py, Event::fresh().in_object())?;
            let object = event
                .is_object()
                .then(|| around(&sample, sample.get(), value));
            (object, 0)
        }
        Target::Value(Kind::Semaphore, value) => {
            // SAFETY: as above.
            let semaphore = unsafe { &*value.cast::<Semaphore>() };
            let taken = semaphore.units(py) <= 0;
            let holder = if taken { semaphore.taker(py) } else { 0 };
            let sample = Bound::new(
                py,
                Semaphore::with_counter(0, Reason::Semaphore).in_object(),
            )?;
            let object = semaphore
                .is_object()
                .then(|| around(&sample, sample.get(), value));
            (object, holder)
        }
        Target::Value(Kind::LightQueue, value) => {
            let sample = py
                .get_type::<LightQueue>()
                .call0()?
                .cast_into::<LightQueue>()?;
            (Some(around(&sample, sample.get(), value)), 0)
        }
        Target::Value(Kind::ThreadHandle, value) => {
            let sample = Bound::new(py, ThreadHandle::fresh())?;
            (Some(around(&sample, sample.get(), value)), 0)
        }
    })
}

/// The object around a value, which lies in it as in `sample`.
fn around<'py, T>(sample: &Bound<'py, T>, inner: &T, value: *const ()) -> Bound<'py, PyAny> {
    let offset = std::ptr::from_ref(inner).addr() - sample.as_ptr().addr();
    let object = value.wrapping_byte_sub(offset).cast_mut();
    // SAFETY: the value is that of a Python object (`is_object`; queues always are), at the same place in each of a
    // class and of what derives from it; this one is alive while a greenlet is parked for it.
    unsafe { Bound::from_borrowed_ptr(sample.py(), object.cast()) }
}

/// Everything about one greenlet.
fn describe<'py>(
    py: Python<'py>,
    thread: &Thread,
    glance: Option<&Glance>,
    member: &Member,
) -> PyResult<Bound<'py, PyDict>> {
    let g = member.gr();
    let greenlet = g.get();
    let state = state(thread, glance, g);
    let is_hub = glance.is_some_and(|seen| {
        seen.greenlet
            .as_ref()
            .is_some_and(|hub| hub.is(g.as_object_ptr()))
    });
    let now = glance.map(|seen| seen.now);
    let age = |tick: u32| {
        now.and_then(|now| hub::age(now, tick))
            .map(|age| age.as_secs_f64())
    };
    let left = |due: hub::Instant| {
        now.map_or(Duration::ZERO, |now| due.saturating_since(now))
            .as_secs_f64()
    };
    let info = PyDict::new(py);
    info.set_item("greenlet", member.object.bind(py))?;
    info.set_item("number", greenlet.serial)?;
    let ident = Some(greenlet.ident.get()).filter(|n| *n != 0);
    info.set_item("ident", ident.or(greenlet.main.then_some(thread.ident)))?;
    let kind = match () {
        () if greenlet.main => "main greenlet",
        () if is_hub => "hub",
        () if greenlet.born.get() != 0 || is_green_thread(g.as_object_ptr()) => "green thread",
        () => "greenlet",
    };
    info.set_item("kind", kind)?;
    info.set_item("state", state)?;
    info.set_item("age", age(greenlet.born.get()))?;
    info.set_item("spawner", Some(greenlet.spawner.get()).filter(|n| *n != 0))?;
    let starts = member.starts.map(left);
    let due = glance.and_then(|seen| seen.due.get(&g.as_object_ptr()));
    info.set_item("seconds_left", starts.or(due.copied().map(left)))?;
    let function = match greenlet.phase.get() {
        Phase::New if is_green_thread(g.as_object_ptr()) => life_of(g).function(),
        _ => greenlet.run.get(),
    };
    info.set_item("function", function.map(|function| function.into_bound(py)))?;
    let reason = greenlet.reason.get().filter(|_| state == "waiting");
    info.set_item("waits_for", reason.map(hub::noun_of))?;
    let parked = reason.and_then(|_| age(greenlet.since.get()));
    info.set_item("parked", parked)?;
    let (fd, write) = match reason {
        Some(Reason::Fd { fd, interest }) => (Some(fd), interest == Interest::Write),
        _ => (None, false),
    };
    info.set_item("descriptor", fd)?;
    info.set_item("to_write", write)?;
    let (object, holder) = match reason {
        Some(_) => awaited(py, g)?,
        None => (None, 0),
    };
    info.set_item("object", object)?;
    info.set_item("holder", Some(holder).filter(|n| *n != 0))?;
    Ok(info)
}

/// census() -> list of (ident, list of dict)
///
/// Every greenlet that runs, is ready, waits, or is about to start, of every OS thread: for each thread its
/// `threading.get_ident()` and its greenlets, the oldest first. The keys of a greenlet's dictionary are:
/// `greenlet`; `number`, which no other has; `ident`, which `threading` knows it by, or None; `kind` ("main greenlet", "hub", "green thread" or "greenlet"); `state`
/// ("running", "ready", "waiting", "new" or "switched"); `age` and `parked` in seconds, None where not known;
/// `spawner`, a number or None; `seconds_left` until the timeout or the start, or None; `function` before the
/// start; `waits_for`, a noun or None, with `descriptor` and `to_write`, or `object` and the number of its
/// `holder`. May switch: no.
///
/// >>> import eventlet
/// >>> from greenlet import _core
/// >>> [(ident, members)] = _core.census()
/// >>> [info["state"] for info in members if info["kind"] == "main greenlet"]
/// ['running']
#[pyfunction]
fn census(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let threads: Vec<_> = Thread::all()
        .into_iter()
        .filter(|thread| thread.alive.get())
        .map(|thread| {
            let glance = hub::glance(&thread);
            let members = members(&thread, glance.as_ref());
            (thread, glance, members)
        })
        .collect();
    let list = PyList::empty(py);
    for (thread, glance, members) in &threads {
        let infos = PyList::empty(py);
        for member in members {
            infos.append(describe(py, thread, glance.as_ref(), member)?)?;
        }
        list.append((thread.ident, infos))?;
    }
    Ok(list)
}

/// current_frames() -> dict of frames by identity
///
/// What `sys._current_frames` tells, with green threads for threads: the innermost frame of each that runs or is
/// suspended, of every OS thread, if its identity was ever asked for. May switch: no.
///
/// >>> import eventlet
/// >>> from greenlet import _core
/// >>> idents = []
/// >>> def cook():
/// ...     idents.append(_core.get_ident())
/// ...     eventlet.sleep()
/// >>> thread = eventlet.spawn(cook)
/// >>> eventlet.sleep()
/// >>> _core.current_frames()[idents[0]].f_code.co_name
/// 'cook'
#[pyfunction]
fn current_frames(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let mut found = Vec::new();
    for thread in Thread::all() {
        if !thread.alive.get() {
            continue;
        }
        let current = thread.current.get();
        for member in members(&thread, None) {
            let greenlet = member.gr().get();
            let ident = match greenlet.main {
                true => thread.ident,
                false => greenlet.ident.get(),
            };
            found.push((thread.ident, ident, member.gr() == current, member));
        }
    }
    let told = py
        .import(pyo3::intern!(py, "sys"))?
        .call_method0(pyo3::intern!(py, "_current_frames"))?
        .cast_into::<PyDict>()?;
    let frames = told.copy()?;
    for (thread, ident, runs, member) in &found {
        let frame = match runs {
            true => told.get_item(thread)?, // a hub has none
            false => Some(
                member
                    .object
                    .bind(py)
                    .getattr(pyo3::intern!(py, "gr_frame"))?,
            ),
        };
        if let Some(frame) = frame.filter(|frame| *ident != 0 && !frame.is_none()) {
            frames.set_item(ident, frame)?;
        }
    }
    Ok(frames)
}

/// record_spawn_stacks(state) -> bool
///
/// Have each green thread that is spawned from now on keep the stack of its spawner, as its attribute
/// `_spawn_stack`: a list of (code, line), the innermost first. Returns what was set before. May switch: no.
///
/// >>> from greenlet import _core
/// >>> _core.record_spawn_stacks(False)
/// False
#[pyfunction]
fn record_spawn_stacks(state: bool) -> bool {
    let before = hub::records_spawn_stacks();
    hub::record_spawn_stacks(state);
    before
}

/// deadlock_patience([seconds]) -> float or None
///
/// How long a hub that waits for nothing may do so before all threads are looked at; None for as long as it likes.
/// `seconds`, if given, is the new value, for the whole process. Returns the old one. May switch: no. Raises
/// ValueError for what is not positive.
///
/// >>> from greenlet import _core
/// >>> _core.deadlock_patience()
/// 1.0
#[pyfunction]
#[pyo3(signature = (*seconds))]
fn deadlock_patience(seconds: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<Option<f64>> {
    let before = hub::patience().map(|patience| patience.as_secs_f64());
    if seconds.is_empty() {
        return Ok(before);
    }
    let (seconds,): (Option<f64>,) = seconds.extract()?;
    if seconds.is_some_and(|seconds| seconds.is_nan() || seconds <= 0.0) {
        return Err(PyValueError::new_err("seconds must be positive"));
    }
    hub::set_patience(seconds.map(hub::duration));
    Ok(before)
}

/// Adds what this file defines.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(census, module)?)?;
    module.add_function(wrap_pyfunction!(deadlock_patience, module)?)?;
    module.add_function(wrap_pyfunction!(current_frames, module)?)?;
    module.add_function(wrap_pyfunction!(record_spawn_stacks, module)?)
}
