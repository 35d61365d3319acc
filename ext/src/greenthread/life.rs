//! What a green thread calls, what became of it, and who is told.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::{OnExit, life_of};
use crate::error::{self, Pending, Raised};
use crate::greenlet::Gr;
use crate::hub::{self, Reason, Waiter, Woken};
use crate::object::{Object, Slot, tuple_len};

/// A call to be made: as a vectorcall, so that no tuple and no dictionary is needed.
pub struct Call {
    function: Object,
    /// Positional arguments, then the values of the keyword arguments.
    args: Box<[Object]>,
    /// Tuple of keyword names; `None` without keywords.
    names: Option<Object>,
}

impl Call {
    /// From a tuple and a dictionary.
    pub fn new(
        function: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Call> {
        let mut values: Vec<Object> = args.iter().map(Object::from).collect();
        let mut names = None;
        if let Some(kwargs) = kwargs.filter(|kwargs| !kwargs.is_empty()) {
            values.extend(kwargs.values().iter().map(Object::from));
            names = Some(kwargs.keys().to_tuple().into_any().into());
        }
        Ok(Call {
            function: Object::from_bound(function),
            args: values.into(),
            names,
        })
    }

    /// From a vectorcall's arguments, of which the first `skip` are not for the function.
    ///
    /// # Safety
    /// - `args` points to `count` positional arguments followed by one value per name in `kwnames`.
    pub unsafe fn from_vector(
        function: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        count: usize,
        skip: usize,
        kwnames: *mut ffi::PyObject,
    ) -> Call {
        let named = tuple_len(kwnames);
        let borrowed = |object: *mut ffi::PyObject| {
            // SAFETY: an argument of the call that is under way: live.
            unsafe { Object::from_borrowed(object) }.expect("arguments are never null")
        };
        let args = (skip..count + named)
            .map(|index| {
                // SAFETY: within the caller's array.
                let argument = unsafe { args.add(index) };
                // SAFETY: as above.
                borrowed(unsafe { *argument })
            })
            .collect();
        // SAFETY: null or a live tuple.
        let names = unsafe { Object::from_borrowed(kwnames) }.filter(|_| named > 0);
        Call {
            function: borrowed(function),
            args,
            names,
        }
    }

    /// Makes the call. May switch: if the function does.
    #[inline]
    pub fn run(&self) -> error::Result<Object> {
        let names = self.names.as_ref().map_or(ptr::null_mut(), Object::as_ptr);
        let named = tuple_len(names);
        crate::call::call_vector(&self.function, &self.args, named, names)
    }

    /// Visits what it keeps, for the cyclic collector.
    unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        let names = self.names.iter();
        for object in std::iter::once(&self.function)
            .chain(self.args.iter())
            .chain(names)
        {
            // SAFETY: the collector's arguments, passed on.
            let stop = unsafe { object.traverse(visit, arg) };
            if stop != 0 {
                return stop;
            }
        }
        0
    }
}

/// How a green thread ended.
#[derive(Clone)]
pub enum Outcome {
    /// What the function returned.
    Value(Object),
    /// The exception instance, and its traceback when it arrived here.
    Error(Object, Option<Object>),
}

impl Outcome {
    /// Returns or raises it.
    pub fn deliver(self) -> error::Result<Object> {
        match self {
            Outcome::Value(value) => Ok(value),
            Outcome::Error(exception, traceback) => {
                // SAFETY: an exception instance: its class, borrowed.
                let class = unsafe { ffi::PyExceptionInstance_Class(exception.as_ptr()) };
                // SAFETY: live while its instance is.
                let class = unsafe { Object::from_borrowed(class) }.expect("never null");
                Err(Pending::new(class, Some(exception), traceback).restore())
            }
        }
    }
}

/// A link: `function(green thread, *args, **kwargs)`.
pub struct Link {
    /// What is called.
    pub function: Object,
    /// Its further arguments.
    pub args: Object,
    /// Its keyword arguments, a dictionary.
    pub kwargs: Object,
}

/// The part of a green thread that a greenlet does not have.
#[derive(Default)]
pub struct Life {
    /// What it will call; taken at its start.
    pub call: Cell<Option<Call>>,
    /// How it ended.
    pub outcome: RefCell<Option<Outcome>>,
    /// Who waits for its end.
    pub waiters: RefCell<Vec<Waiter>>,
    /// What it will call at its end.
    pub links: RefCell<Vec<Link>>,
    /// The `Event` that tells of its end, if somebody asked for that.
    pub event: Slot,
    /// Native function of its end, with its data.
    pub exit: Cell<Option<(OnExit, Object)>>,
    /// Gets an exception instead of the hub.
    pub report: Cell<Option<super::Report>>,
    /// Whose death keeps it from starting (`spawn_after_local`).
    pub local_to: Slot,
    /// Its timer until it is due (`spawn_after`).
    pub timer: Cell<Option<hub::TimerHandle>>,
}

impl Life {
    /// What it will call; `None` once it has started.
    pub fn function(&self) -> Option<Object> {
        // SAFETY: a plain read: nobody changes the cell meanwhile, and cloning a reference runs no code.
        let call = unsafe { &*self.call.as_ptr() };
        call.as_ref().map(|call| call.function.clone())
    }

    /// Visits what it keeps, for the cyclic collector.
    ///
    /// # Safety
    /// - `visit` and `arg` are those that `tp_traverse` was called with.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        // SAFETY: a plain read; the collector runs no Python code meanwhile.
        if let Some(call) = unsafe { &*self.call.as_ptr() } {
            // SAFETY: the collector's arguments, passed on.
            let stop = unsafe { call.traverse(visit, arg) };
            if stop != 0 {
                return stop;
            }
        }
        // SAFETY: as above.
        let exit = unsafe { &*self.exit.as_ptr() }
            .as_ref()
            .map(|(_, data)| data);
        let outcome = self.outcome.borrow();
        let (first, second) = match &*outcome {
            Some(Outcome::Value(value)) => (Some(value), None),
            Some(Outcome::Error(exception, traceback)) => (Some(exception), traceback.as_ref()),
            None => (None, None),
        };
        let links = self.links.borrow();
        let linked = links
            .iter()
            .flat_map(|link| [&link.function, &link.args, &link.kwargs]);
        for object in exit.into_iter().chain(first).chain(second).chain(linked) {
            // SAFETY: the collector's arguments, passed on.
            let stop = unsafe { object.traverse(visit, arg) };
            if stop != 0 {
                return stop;
            }
        }
        for slot in [&self.local_to, &self.event] {
            // SAFETY: the collector's arguments, passed on.
            let stop = unsafe { slot.traverse(visit, arg) };
            if stop != 0 {
                return stop;
            }
        }
        0
    }

    /// Lets go of what it keeps.
    pub fn clear(&self) {
        drop(self.call.take());
        drop(self.outcome.take());
        drop(self.links.take());
        drop(self.exit.take());
        drop(self.local_to.take());
        drop(self.event.take());
    }
}

/// Keeps the result (of a call that has just ended), tells everybody, and returns it. May switch: if a link does.
pub fn conclude(py: Python<'_>, me: Gr, result: error::Result<Object>) -> error::Result<Object> {
    let life = life_of(me);
    let outcome = match &result {
        Ok(value) => Outcome::Value(value.clone()),
        Err(Raised) => {
            let exception = Pending::take().into_instance().ok_or(Raised)?;
            // SAFETY: an exception instance.
            let traceback = unsafe { ffi::PyException_GetTraceback(exception.as_ptr()) };
            // SAFETY: a new reference or null.
            let traceback = unsafe { Object::from_owned(traceback) };
            Outcome::Error(exception, traceback)
        }
    };
    let first = life.outcome.borrow().is_none();
    if first {
        life.outcome.replace(Some(outcome.clone()));
    }
    if !life.waiters.borrow().is_empty() {
        for waiter in life.waiters.take() {
            waiter.wake(py);
        }
    }
    if first && let Some(event) = life.event.get() {
        tell(py, &event, &outcome).map_err(|error| Raised::from_err(py, error))?;
    }
    let linked = run_links(py, me).map_err(|Raised| in_context_of(&outcome));
    if let Some((on_exit, data)) = life.exit.take() {
        let data: Py<PyAny> = data.into_bound(py).unbind();
        let member = me.object().into_bound(py);
        if let Err(error) = on_exit(py, &data, &member) {
            error.write_unraisable(py, Some(&member));
        }
        // SAFETY of order: dropped through Bound, so that the reference is given back at once.
        drop(data.into_bound(py));
    }
    linked?;
    match (life.report.take(), outcome) {
        (Some(report), outcome @ Outcome::Error(..)) if !is_system(&outcome) => {
            let Err(raised) = outcome.deliver() else {
                unreachable!("an error")
            };
            let reported = report(py, raised.into_err(py));
            reported.map_err(|error| Raised::from_err(py, error))?;
            Ok(Object::none())
        }
        (_, outcome) => outcome.deliver(),
    }
}

/// Sends an outcome through an `Event`. May switch: no.
pub fn tell(py: Python<'_>, event: &Object, outcome: &Outcome) -> PyResult<()> {
    let event = event.bind(py);
    match outcome {
        Outcome::Value(value) => event.call_method1("send", (value.bind(py),)),
        Outcome::Error(exception, traceback) => {
            let exception = exception.bind(py);
            let traceback = traceback.as_ref().map(|traceback| traceback.bind(py));
            let parts = (exception.get_type(), exception, traceback);
            event.call_method1("send_exception", parts)
        }
    }
    .map(drop)
}

/// The exception of a link that is set, which hides the green thread's own: that one becomes its context, so that
/// a report shows both.
fn in_context_of(outcome: &Outcome) -> Raised {
    let pending = Pending::take().normalized();
    if let (Outcome::Error(own, _), Some(exception)) = (outcome, pending.instance())
        && !exception.is(own.as_ptr())
    {
        // SAFETY: an exception instance; a new reference or null.
        let known = unsafe { ffi::PyException_GetContext(exception.as_ptr()) };
        // SAFETY: as above.
        if unsafe { Object::from_owned(known) }.is_none() {
            // SAFETY: an exception instance, and a reference to another that is given away.
            unsafe { ffi::PyException_SetContext(exception.as_ptr(), own.clone().into_ptr()) };
        }
    }
    pending.restore()
}

/// Whether it is an exception that belongs to the main greenlet.
fn is_system(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Error(exception, _) if hub::is_system(exception.as_ptr()))
}

/// Calls the links in the order in which they were made, those made meanwhile included. Of the exceptions in them
/// one is raised after all have run, if possible one that belongs to the main greenlet; the others are reported.
pub fn run_links(py: Python<'_>, me: Gr) -> error::Result<()> {
    let life = life_of(me);
    let mut failed = None;
    loop {
        let link = {
            let mut links = life.links.borrow_mut();
            if links.is_empty() {
                None
            } else {
                Some(links.remove(0))
            }
        };
        let Some(link) = link else { break };
        if let Err(Raised) = call_link(py, me, &link) {
            let pending = Pending::take().normalized();
            let important = pending
                .instance()
                .is_some_and(|error| hub::is_system(error.as_ptr()));
            match failed.replace(pending) {
                Some(earlier) if important => hub::squelch(py, earlier),
                Some(earlier) => {
                    if let Some(later) = failed.replace(earlier) {
                        hub::squelch(py, later);
                    }
                }
                None => {}
            }
        }
    }
    failed.map_or(Ok(()), |pending| Err(pending.restore()))
}

/// Calls one link. May switch: if it does.
pub fn call_link(py: Python<'_>, me: Gr, link: &Link) -> error::Result<()> {
    let call = || -> PyResult<()> {
        let green_thread = me.object().into_bound(py);
        let rest = link.args.bind(py).cast_into::<PyTuple>()?;
        let args = PyTuple::new(
            py,
            std::iter::once(green_thread)
                .chain(rest.iter())
                .collect::<Vec<_>>(),
        )?;
        let kwargs = link.kwargs.bind(py).cast_into::<PyDict>()?;
        link.function.bind(py).call(args, Some(&kwargs)).map(drop)
    };
    call().map_err(|error| Raised::from_err(py, error))
}

/// If `object` is a green thread: those who wait for its end and never run again are forgotten.
pub fn forget_lost(_py: Python<'_>, object: *mut ffi::PyObject) {
    if !super::is_green_thread(object) {
        return;
    }
    let waiters = &life_of(Gr::from_ptr(object)).waiters;
    let (lost, rest): (Vec<Waiter>, Vec<Waiter>) =
        waiters.take().into_iter().partition(Waiter::is_lost);
    waiters.replace(rest);
    drop(lost);
}

/// Sets the exception of a green thread that nobody will ever run again.
#[cold]
fn lost(py: Python<'_>) -> Raised {
    let text = "the green thread has no result: its thread has ended, or it goes on in the parent process alone";
    let class = crate::greenlet::exit_object().bind(py);
    match class.call1((text,)) {
        Ok(exception) => Raised::from_err(py, PyErr::from_value(exception)),
        Err(error) => Raised::from_err(py, error),
    }
}

/// The result of a green thread, waited for if need be. May switch: yes.
pub fn wait(py: Python<'_>, me: Gr) -> error::Result<Object> {
    let life = life_of(me);
    loop {
        let outcome = life.outcome.borrow().clone();
        if let Some(outcome) = outcome {
            return outcome.deliver();
        }
        if me.get().is_dead() {
            return Err(lost(py));
        }
        let waiter = Waiter::current(py).map_err(|error| Raised::from_err(py, error))?;
        if life.outcome.borrow().is_some() || me.get().is_dead() {
            continue; // it ended while another OS thread ran: the first waiter of one makes its hub
        }
        // No reference to oneself on one's own stack: it would outlive the OS thread.
        let mine = waiter.greenlet().as_ptr();
        life.waiters.borrow_mut().push(waiter);
        let woken = hub::park(py, Reason::Join.of(me), None);
        if life.outcome.borrow().is_none() {
            life.waiters
                .borrow_mut()
                .retain(|other| !other.greenlet().is(mine));
        }
        match woken? {
            Woken::Switched(value) => return Ok(value.into()),
            Woken::Waker | Woken::TimedOut => {}
        }
    }
}
