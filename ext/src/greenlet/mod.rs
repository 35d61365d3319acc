//! `greenlet.greenlet`: the type.
//!
//! `PyGreenlet` has the layout that `greenlet.h` publishes (5 pointers, static type), so that types compiled
//! against upstream's header can derive from it. Everything else is in `Greenlet`, behind its last pointer.
//! Only `switch` moves between stacks; this file and `attributes` hold the state and what Python sees of it.
//!
//! Invariants: a `Greenlet` is only touched with the GIL held. Its fields are cells, so that no reference is
//! exclusive and none is alive across a switch. `thread` is set at the start and stays. A main greenlet is
//! `Active` for as long as its thread lives.
#![allow(unsafe_code)] // raw object layout

pub mod attributes;
pub mod lifetime;
pub mod switch;
mod unswitchable;

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use eventlet::fiber::Fiber;
use eventlet::stack::Stack;
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::{self, Raised, Result};
use crate::object::{Object, Slot};
use crate::pystate::{self, PyState};
use crate::thread::Thread;
pub use switch::Transfer;

/// What `greenlet.h` calls `PyGreenlet`.
#[repr(C)]
pub struct PyGreenlet {
    ob_base: ffi::PyObject,
    weakreflist: *mut ffi::PyObject,
    dict: *mut ffi::PyObject,
    greenlet: *mut Greenlet,
}

const _: () = assert!(size_of::<PyGreenlet>() == 5 * size_of::<*mut ()>());

/// Where a greenlet is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Made, never run: has no stack.
    New,
    /// Has run and not finished.
    Active,
    /// Finished, or killed before it began.
    Dead,
}

/// What a greenlet is to its thread's hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing: its parent gets its result.
    Plain,
    /// It was spawned by the hub or has parked in it: the hub gets its result, whichever greenlet that is by then.
    Child,
    /// The hub greenlet, from its making until another takes its place.
    Hub,
    /// It was the hub greenlet. Its parent is the one that came after it. Where it is the parent of a `Child`, it
    /// stands for the hub.
    FormerHub,
}

/// Native body of a greenlet that does not call `run`: green threads and the hub.
pub type Body = fn(Python<'_>, Gr, Transfer) -> Result<Object>;

/// The state behind a `PyGreenlet`.
pub struct Greenlet {
    /// Saved stack pointer while suspended.
    pub fiber: UnsafeCell<Fiber>,
    /// Saved interpreter state while suspended; the thread state points into it while running.
    pub state: UnsafeCell<PyState>,
    /// Where it is in its life.
    pub phase: Cell<Phase>,
    /// What it is to its thread's hub.
    pub role: Cell<Role>,
    /// Whether it runs on its thread's own stack.
    pub main: bool,
    /// The thread it belongs to, counted; null before its start.
    pub thread: ThreadSlot,
    /// Gets the result.
    pub parent: Slot,
    /// What to call; empty once started.
    pub run: Slot,
    /// Native body instead of `run`.
    pub body: Cell<Option<Body>>,
    /// What the next arrival here receives, if it is one value: the common case, kept apart because one word
    /// passes through registers and memory faster than a `Transfer`.
    pub value: Slot,
    /// What the next arrival here receives otherwise.
    pub transfer: Cell<Transfer>,
    /// Its stack while active (never for a main greenlet).
    pub stack: Cell<Option<Stack>>,
    /// How often it has parked in its hub; tells a stale wake-up from one that it waits for.
    pub parks: Cell<u64>,
    /// What the last sweep of the hub's trimmer has seen of its park; `hub/idle` knows how.
    pub swept: Cell<u32>,
    /// How its present park was ended.
    pub mark: Cell<crate::hub::Mark>,
    /// Why it is parked now; `None` when it is not.
    pub reason: Cell<Option<crate::hub::Reason>>,
    /// For which object it is parked, while `reason` is set.
    pub what: Cell<crate::hub::What>,
    /// What it uses first when it goes on after a wait for a descriptor. To be fetched ahead, never to be read: it may
    /// be gone.
    pub near: Cell<*const u8>,
    /// Tells it from every other greenlet of the process; names one that is gone.
    pub serial: u32,
    /// The serial of whoever spawned it; 0 for a greenlet that the hub did not start.
    pub spawner: Cell<u32>,
    /// When it was spawned and when it parked last, in ticks of `hub::Hub::tick`; 0 for never.
    pub born: Cell<u32>,
    #[allow(missing_docs, reason = "see `born`")]
    pub since: Cell<u32>,
    /// What `threading.get_ident` says; 0 until somebody asks (see `thread_ident`).
    pub ident: Cell<u64>,
}

/// The serial of the next greenlet.
static SERIALS: AtomicU32 = AtomicU32::new(1);

/// A counted `Thread` pointer that can be changed through a shared reference.
pub struct ThreadSlot(Cell<*const Thread>);

impl ThreadSlot {
    const fn empty() -> ThreadSlot {
        ThreadSlot(Cell::new(ptr::null()))
    }

    /// The borrowed pointer, or null.
    #[inline(always)]
    pub fn peek(&self) -> *const Thread {
        self.0.get()
    }

    /// The thread.
    #[inline(always)]
    pub fn get(&self) -> Option<&Thread> {
        // SAFETY: the slot holds a count while it is not null.
        unsafe { self.0.get().as_ref() }
    }

    /// Puts another one in.
    #[inline(always)]
    pub fn replace(&self, thread: Option<Rc<Thread>>) {
        let new = thread.map_or(ptr::null(), Rc::into_raw);
        let old = self.0.replace(new);
        if !old.is_null() {
            // SAFETY: the count that the slot held.
            drop(unsafe { Rc::from_raw(old) });
        }
    }
}

impl Drop for ThreadSlot {
    fn drop(&mut self) {
        self.replace(None);
    }
}

/// A borrowed, non-null pointer to a live greenlet. Whoever makes one sees to it that a reference is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Gr(*mut PyGreenlet);

impl Gr {
    /// Of a pointer known to be a greenlet.
    #[inline(always)]
    pub fn from_ptr(object: *mut ffi::PyObject) -> Gr {
        debug_assert!(!object.is_null());
        Gr(object.cast())
    }

    /// Of an object known to be a greenlet.
    #[inline(always)]
    pub fn from_object(object: &Object) -> Gr {
        Gr(object.as_ptr().cast())
    }

    /// Of any object, if it is a greenlet.
    pub fn check(object: *mut ffi::PyObject) -> Option<Gr> {
        // SAFETY: a live object and a ready type.
        let is_greenlet = unsafe { ffi::PyObject_TypeCheck(object, type_ptr()) } != 0;
        is_greenlet.then(|| Gr::from_ptr(object))
    }

    /// Its state.
    #[inline(always)]
    pub fn get<'a>(self) -> &'a Greenlet {
        // SAFETY: points to a live PyGreenlet (type contract).
        let greenlet = unsafe { (*self.0).greenlet };
        // SAFETY: set by `tp_new` before anybody sees the object, freed by its dealloc alone.
        unsafe { &*greenlet }
    }

    /// Its interpreter state.
    ///
    /// # Safety
    /// - the greenlet is at rest (suspended, new or dead) or its switch is being made by the caller
    /// - no other reference from here is alive
    #[inline(always)]
    pub unsafe fn state<'a>(self) -> &'a mut PyState {
        // SAFETY: the cell is alive as long as the greenlet, and nobody else uses it, by the caller's word.
        unsafe { &mut *self.get().state.get() }
    }

    /// The borrowed object pointer.
    #[inline(always)]
    pub fn as_object_ptr(self) -> *mut ffi::PyObject {
        self.0.cast()
    }

    /// A new reference.
    #[inline(always)]
    pub fn object(self) -> Object {
        // SAFETY: live (type contract).
        unsafe { Object::from_borrowed(self.as_object_ptr()) }.expect("a Gr is never null")
    }

    /// The parent, `None` for a main greenlet.
    #[inline(always)]
    pub fn parent(self) -> Option<Gr> {
        let parent = self.get().parent.peek();
        (!parent.is_null()).then(|| Gr::from_ptr(parent))
    }

    /// Who gets its result, `None` for a main greenlet: the parent, or for a child of the hub the present hub.
    #[inline]
    pub fn heir(self) -> Option<Gr> {
        let mut heir = self.parent()?;
        if self.get().role.get() != Role::Plain {
            while heir.get().role.get() == Role::FormerHub {
                heir = heir.parent()?;
            }
        }
        Some(heir)
    }

    /// Gives back the memory of its stack that it does not use while it is suspended.
    pub fn trim(self) {
        let greenlet = self.get();
        let stack = greenlet.stack.take();
        if let Some(stack) = &stack {
            // SAFETY: suspended, so nobody changes its fiber.
            let fiber = unsafe { &*greenlet.fiber.get() };
            stack.trim_below(fiber.stack_pointer());
        }
        greenlet.stack.set(stack);
    }

    /// Whether it is the running greenlet of its thread.
    #[inline]
    pub fn is_running(self) -> bool {
        self.get()
            .thread
            .get()
            .is_some_and(|thread| thread.alive.get() && thread.current.get() == self)
    }
}

impl Greenlet {
    #[inline(always)]
    fn fresh(main: bool) -> Greenlet {
        // A plain load and store: every greenlet is made with the GIL held.
        let serial = SERIALS.load(Ordering::Relaxed);
        SERIALS.store(serial.wrapping_add(1).max(1), Ordering::Relaxed);
        Greenlet {
            fiber: UnsafeCell::new(Fiber::running()),
            state: UnsafeCell::new(PyState::new()),
            phase: Cell::new(if main { Phase::Active } else { Phase::New }),
            role: Cell::new(Role::Plain),
            main,
            thread: ThreadSlot::empty(),
            parent: Slot::new(None),
            run: Slot::new(None),
            body: Cell::new(None),
            value: Slot::new(None),
            transfer: Cell::new(Transfer::Nothing),
            stack: Cell::new(None),
            parks: Cell::new(0),
            swept: Cell::new(0),
            mark: Cell::new(crate::hub::Mark::None),
            reason: Cell::new(None),
            what: Cell::new(crate::hub::What::NOTHING),
            near: Cell::new(ptr::null()),
            serial,
            spawner: Cell::new(0),
            born: Cell::new(0),
            since: Cell::new(0),
            ident: Cell::new(0),
        }
    }

    /// The greenlet of the calling thread's own stack.
    pub fn new_main() -> Option<Object> {
        let main = allocate(type_ptr(), true)?;
        // SAFETY: has no preconditions.
        let ident = unsafe { ffi::PyThread_get_thread_ident() };
        Gr::from_object(&main).get().ident.set(ident as u64);
        Some(main)
    }

    /// The thread of a main greenlet has ended.
    pub fn end_main(&self) {
        self.phase.set(Phase::Dead);
    }

    /// Whether it has run and not finished, in a thread that still lives.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.phase.get() == Phase::Active
            && self.thread.get().is_some_and(|thread| thread.alive.get())
    }

    /// Whether it has finished, or its thread has.
    pub fn is_dead(&self) -> bool {
        match self.phase.get() {
            Phase::Dead => true,
            Phase::New => false,
            Phase::Active => !self.is_active(),
        }
    }

    /// The thread in which it runs or would run: its own once started, else that of its nearest started ancestor.
    pub fn lineage(&self) -> *const Thread {
        let own = self.thread.peek();
        if !own.is_null() {
            return own;
        }
        let parent = self.parent.peek();
        if parent.is_null() {
            ptr::null()
        } else {
            Gr::from_ptr(parent).get().lineage()
        }
    }
}

/// A new object of this type (greenlet or derived) with nothing set; `None` with MemoryError set.
#[inline]
pub fn allocate(kind: *mut ffi::PyTypeObject, main: bool) -> Option<Object> {
    // SAFETY: a ready type whose base is greenlet.
    let alloc = unsafe { (*kind).tp_alloc }.expect("a ready type has tp_alloc");
    // SAFETY: the type's own allocator.
    let object = unsafe { alloc(kind, 0) };
    // SAFETY: a new reference or null.
    let object = unsafe { Object::from_owned(object) }?;
    // Built where it stays: `Box::new` would build it on the stack and copy it.
    let mut place = Box::<Greenlet>::new_uninit();
    place.write(Greenlet::fresh(main));
    let greenlet = Box::into_raw(place).cast();
    let raw: *mut PyGreenlet = object.as_ptr().cast();
    // SAFETY: just allocated with at least the size of PyGreenlet; nobody else has it.
    unsafe { (*raw).greenlet = greenlet };
    Some(object)
}

/// A greenlet of `kind` with a native body and this parent.
///
/// The collector does not track it before it has ended: until then the hub holds it, or it is suspended, and in
/// neither case could it be collected. `switch::depart` has it tracked.
pub fn with_body(kind: *mut ffi::PyTypeObject, body: Body, parent: Object) -> Result<Object> {
    let object = allocate(kind, false).ok_or(Raised)?;
    let greenlet = Gr::from_object(&object).get();
    greenlet.body.set(Some(body));
    greenlet.parent.replace(Some(parent));
    // SAFETY: a new object that nobody else has.
    unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) };
    Ok(object)
}

/// Static storage for a type object.
pub struct StaticType(UnsafeCell<MaybeUninit<ffi::PyTypeObject>>);

// SAFETY: written once, by the import of the module; CPython's type machinery works on it under the GIL.
unsafe impl Sync for StaticType {}

impl StaticType {
    /// Zeroed storage.
    pub const fn new() -> StaticType {
        StaticType(UnsafeCell::new(MaybeUninit::zeroed()))
    }

    /// The type.
    #[inline(always)]
    pub const fn get(&self) -> *mut ffi::PyTypeObject {
        self.0.get().cast()
    }
}

static TYPE: StaticType = StaticType::new();

/// `greenlet.greenlet`.
#[inline(always)]
pub fn type_ptr() -> *mut ffi::PyTypeObject {
    TYPE.get()
}

/// The two exception classes.
pub struct Exceptions {
    /// `greenlet.error`.
    pub error: Py<PyAny>,
    /// `greenlet.GreenletExit`.
    pub exit: Py<PyAny>,
}

static EXCEPTIONS: OnceLock<Exceptions> = OnceLock::new();

/// `greenlet.error`, borrowed.
pub fn error_class() -> *mut ffi::PyObject {
    EXCEPTIONS.get().expect("set by the import").error.as_ptr()
}

/// `greenlet.GreenletExit`, borrowed.
pub fn exit_class() -> *mut ffi::PyObject {
    EXCEPTIONS.get().expect("set by the import").exit.as_ptr()
}

/// `greenlet.GreenletExit`.
pub fn exit_object() -> &'static Py<PyAny> {
    &EXCEPTIONS.get().expect("set by the import").exit
}

static STACK_SIZE: AtomicUsize = AtomicUsize::new(pystate::DEFAULT_STACK_SIZE);

/// Bytes of C stack of a greenlet.
pub fn stack_size() -> usize {
    STACK_SIZE.load(Ordering::Relaxed)
}

/// Sets it for pools made from now on: bytes, or a number with K, M or G.
pub fn set_stack_size(text: &str) -> std::io::Result<()> {
    let size = eventlet::stack::default_size(Some(text))?;
    STACK_SIZE.store(size, Ordering::Relaxed);
    Ok(())
}

/// The current greenlet of the calling thread, borrowed; RuntimeError once the interpreter finalizes.
#[inline]
pub fn current() -> Result<Gr> {
    let thread = Thread::get().ok_or(Raised)?;
    if thread.attention.get() & crate::thread::CONDEMNED != 0 {
        thread.execute_condemned();
    }
    Ok(thread.current.get())
}

/// The serial of the running greenlet.
#[inline(always)]
pub fn current_serial() -> u32 {
    Thread::existing().map_or_else(first_serial, |thread| thread.current.get().get().serial)
}

/// `current_serial` in a thread that has not used greenlets yet; 0 without memory for its main greenlet.
#[cold]
fn first_serial() -> u32 {
    let Some(thread) = Thread::get() else {
        drop(error::Pending::take());
        return 0;
    };
    thread.current.get().get().serial
}

/// Adds the type, the exceptions and the functions that belong to them.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    if let Ok(text) = std::env::var("GREENLET_STACK_SIZE") {
        set_stack_size(&text)
            .map_err(|error| PyValueError::new_err(format!("GREENLET_STACK_SIZE: {error}")))?;
    }
    let class = |name: &std::ffi::CStr, base: *mut ffi::PyObject| -> PyResult<Py<PyAny>> {
        // SAFETY: a dotted name, an exception class of the interpreter, no dictionary.
        let class = unsafe { ffi::PyErr_NewException(name.as_ptr(), base, ptr::null_mut()) };
        // SAFETY: a new reference or null with an exception set.
        Ok(unsafe { Bound::from_owned_ptr_or_err(py, class) }?.unbind())
    };
    // SAFETY: a static of the interpreter.
    let exception = unsafe { ffi::PyExc_Exception };
    // SAFETY: a static of the interpreter.
    let base_exception = unsafe { ffi::PyExc_BaseException };
    let error = class(c"greenlet.error", exception)?;
    let exit = class(c"greenlet.GreenletExit", base_exception)?;
    let exceptions = EXCEPTIONS.get_or_init(|| Exceptions { error, exit });
    attributes::ready(py)?;
    // SAFETY: the type is ready and never freed.
    let kind = unsafe { Bound::from_borrowed_ptr(py, type_ptr().cast()) };
    module.add("greenlet", kind)?;
    module.add("error", exceptions.error.bind(py))?;
    module.add("GreenletExit", exceptions.exit.bind(py))?;
    unswitchable::register(module)
}

/// Sets `greenlet.error(text)`.
pub fn greenlet_error(text: &std::ffi::CStr) -> Raised {
    error::raise(error_class(), text)
}
