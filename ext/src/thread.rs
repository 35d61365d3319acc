//! `Thread`: what one OS thread owns: its main and current greenlet, its stacks, its tracer.
//!
//! Found through a thread-local pointer. It is made at the first use of greenlets in a thread and ends when
//! CPython clears that thread's state: a capsule in the thread-state dictionary is dropped then, with the GIL
//! held. Started greenlets keep the `Thread` itself (not its contents) alive, so that a greenlet whose thread
//! has ended can tell. All access happens with the GIL held.
#![allow(unsafe_code)] // raw per-thread pointer

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_void};
use std::ptr;
use std::rc::Rc;

use eventlet::stack::{Config, Stack};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::gil_cell::GilCell;
use crate::greenlet::{Gr, Greenlet};
use crate::object::{Object, Slot};
use crate::pystate;
use crate::stacks::Stacks;

/// One OS thread as greenlets see it.
pub struct Thread {
    /// The interpreter's state of this thread.
    pub tstate: *mut ffi::PyThreadState,
    /// The running greenlet: an owned reference.
    pub current: Cell<Gr>,
    /// Where the last switch came from: an owned reference until the arriving side drops it.
    pub origin: Cell<*mut ffi::PyObject>,
    /// The greenlet of the thread's own stack: an owned reference; null after the thread's end.
    pub main: Cell<*mut ffi::PyObject>,
    /// `greenlet.settrace`'s callback.
    pub tracer: RefCell<Option<Object>>,
    /// `greenlet.add_trace`'s callbacks, in order.
    pub tracers: RefCell<Vec<Object>>,
    /// What an arrival or departure must see to besides switching: `TRACED | REAP | CONDEMNED`.
    pub attention: Cell<u8>,
    /// A finished greenlet's stack, put back by the side that was switched to.
    pub reap: Cell<Option<Stack>>,
    /// The stacks of this thread's greenlets.
    pub pool: RefCell<Stacks>,
    /// Suspended greenlets that lost their last reference in another thread.
    pub condemned: RefCell<Vec<Object>>,
    /// What the greenlet that starts next is to drop, from the last steps before its start.
    pub unwanted: Slot,
    /// False after the thread's end.
    pub alive: Cell<bool>,
    /// What `threading.get_ident()` calls it.
    pub ident: std::ffi::c_ulong,
    /// The thread's hub, `None` before its first use.
    pub hub: RefCell<Option<Rc<crate::hub::Hub>>>,
}

/// `attention`: a tracer is set.
pub const TRACED: u8 = 1;
/// `attention`: `reap` holds a stack.
pub const REAP: u8 = 2;
/// `attention`: `condemned` holds greenlets.
pub const CONDEMNED: u8 = 4;

thread_local! {
    /// The thread's own; a strong count of the `Rc` belongs to the capsule.
    static CURRENT: Cell<*const Thread> = const { Cell::new(ptr::null()) };
}

/// Threads that have a main greenlet now (`get_total_main_greenlets`).
static MAIN_GREENLETS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// The threads that have begun and not ended.
static ALL: GilCell<Vec<*const Thread>> = GilCell::new(Vec::new());

fn with_all<R>(f: impl FnOnce(&mut Vec<*const Thread>) -> R) -> R {
    // SAFETY: every caller holds the GIL.
    ALL.with(unsafe { Python::assume_attached() }, f)
}

unsafe extern "C" {
    fn PyThread_get_thread_ident() -> std::ffi::c_ulong;
}

const CAPSULE: &CStr = c"greenlet._thread";

/// What the stacks of a new pool look like.
fn config() -> Config {
    Config {
        size: crate::greenlet::stack_size(),
        tail: pystate::CHUNK_SIZE,
    }
}

impl Thread {
    /// The calling thread's, made on first use. `None` with a Python exception set if that fails.
    #[inline(always)]
    pub fn get() -> Option<&'static Thread> {
        let thread = CURRENT.get();
        if thread.is_null() {
            return Thread::begin();
        }
        // SAFETY: CURRENT is cleared (by `end`) before the capsule's count is given back, and callers do not
        // keep the reference past the call that brought them here.
        Some(unsafe { &*thread })
    }

    /// The calling thread's if it has one already.
    #[inline(always)]
    pub fn existing() -> Option<&'static Thread> {
        let thread = CURRENT.get();
        // SAFETY: as in `get`.
        unsafe { thread.as_ref() }
    }

    /// A counted pointer to this thread.
    #[inline(always)]
    pub fn counted(&self) -> Rc<Thread> {
        // SAFETY: `self` lives in an Rc (made only in `begin`), so one more count may be taken.
        unsafe { Rc::increment_strong_count(self) };
        // SAFETY: consumes the count just taken.
        unsafe { Rc::from_raw(self) }
    }

    /// Those of all OS threads, the oldest first.
    pub fn all() -> Vec<Rc<Thread>> {
        with_all(|all| {
            all.iter()
                // SAFETY: in the list from its beginning to its end, so its capsule's count is alive.
                .map(|thread| unsafe { &**thread }.counted())
                .collect()
        })
    }

    #[cold]
    fn begin() -> Option<&'static Thread> {
        // SAFETY: the GIL is held by every caller, so there is a current thread state.
        let tstate = unsafe { ffi::PyThreadState_Get() };
        let main = Greenlet::new_main()?;
        let thread = Rc::new(Thread {
            tstate,
            current: Cell::new(Gr::from_object(&main)),
            origin: Cell::new(ptr::null_mut()),
            main: Cell::new(main.clone().into_ptr()),
            tracer: RefCell::new(None),
            tracers: RefCell::new(Vec::new()),
            attention: Cell::new(0),
            reap: Cell::new(None),
            pool: RefCell::new(Stacks::new(config())),
            condemned: RefCell::new(Vec::new()),
            unwanted: Slot::new(None),
            alive: Cell::new(true),
            // SAFETY: no preconditions.
            ident: unsafe { PyThread_get_thread_ident() },
            hub: RefCell::new(None),
        });
        Gr::from_object(&main)
            .get()
            .thread
            .replace(Some(Rc::clone(&thread)));
        std::mem::forget(main); // `current` owns it
        let raw = Rc::into_raw(thread);
        // SAFETY: the name is static and the destructor matches the pointer.
        let capsule = unsafe {
            ffi::PyCapsule_New(raw as *mut c_void, CAPSULE.as_ptr(), Some(thread_cleared))
        };
        // SAFETY: a new reference or null.
        let capsule = unsafe { Object::from_owned(capsule) };
        // SAFETY: GIL held; borrowed.
        let dict = unsafe { ffi::PyThreadState_GetDict() };
        CURRENT.set(raw);
        MAIN_GREENLETS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match capsule {
            Some(capsule) if !dict.is_null() => {
                // SAFETY: both live; the dictionary takes its own reference.
                let failed =
                    unsafe { ffi::PyDict_SetItemString(dict, CAPSULE.as_ptr(), capsule.as_ptr()) };
                if failed < 0 {
                    return None; // dropping the capsule has ended the Thread again
                }
            }
            // Interpreter teardown: no dictionary any more. The Thread then stays until the process ends.
            Some(capsule) => std::mem::forget(capsule),
            None => {
                // SAFETY: `raw` carries the count that no capsule took.
                drop(unsafe { Rc::from_raw(raw) });
                return None;
            }
        }
        with_all(|all| all.push(raw));
        // SAFETY: counted by the capsule.
        Some(unsafe { &*raw })
    }

    /// The thread has ended (or its state is being cleared): whatever is still suspended in it never runs again.
    fn end(&self) {
        // The thread clears its own state (not the child of a fork that of the others): what others dropped and it
        // has not killed yet still can be.
        let itself = ptr::eq(CURRENT.get(), self);
        let in_main = ptr::eq(self.current.get().as_object_ptr(), self.main.get());
        if itself && !crate::process::finalizing() {
            self.execute_condemned();
            self.settle(TRACED);
            if in_main {
                crate::hub::wind_up(self);
            }
        }
        self.alive.set(false);
        if itself {
            CURRENT.set(ptr::null());
        }
        MAIN_GREENLETS.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        with_all(|all| all.retain(|other| !ptr::eq(*other, self)));
        self.attention.set(0);
        drop(self.tracer.take());
        drop(self.tracers.take());
        let condemned = self.condemned.take();
        drop(condemned); // their dealloc sees the dead thread and abandons their frames
        let hub = self.hub.take();
        let suspended = self.suspended();
        if let Some(hub) = &hub {
            crate::hub::end(hub, &suspended, itself);
        }
        let current = self.current.get().as_object_ptr();
        let main = self.main.replace(ptr::null_mut());
        // Not in the child of a fork, where what suspended greenlets hold is the parent's.
        let for_good = itself && !crate::process::finalizing() && in_main;
        if for_good {
            for greenlet in &suspended {
                crate::greenlet::lifetime::retire(Gr::from_object(greenlet));
            }
        }
        if let Some(hub) = hub {
            crate::hub::free(hub, for_good);
        }
        drop(suspended);
        Gr::from_ptr(main).get().end_main();
        self.release_stacks();
        // SAFETY: `current` held an owned reference; nothing runs in this thread any more.
        unsafe { ffi::Py_DECREF(current) };
        // SAFETY: as above, for `main`.
        unsafe { ffi::Py_DECREF(main) };
        if itself {
            crate::overflow::unwatch();
        }
    }

    /// The greenlets that have begun and not ended, but for the main one.
    fn suspended(&self) -> Vec<Object> {
        let pool = self.pool.borrow();
        pool.owners()
            // SAFETY: the owner of a stack is alive.
            .filter_map(|owner| unsafe { Object::from_borrowed(owner) })
            .collect()
    }

    /// Gives the memory of unused stacks back, after the thread's end: something that the thread has leaked may
    /// keep this structure for ever.
    pub fn release_stacks(&self) {
        if !self.renew_pool() && self.pool.borrow().idle().is_multiple_of(64) {
            self.pool.borrow_mut().trim(0);
        }
    }

    /// Exchanges the pool for one of the present stack size, which unmaps the idle stacks. False if any is in use.
    pub fn renew_pool(&self) -> bool {
        let unused = self.pool.borrow().in_use() == 0;
        if unused {
            self.pool.replace(Stacks::new(config()));
        }
        unused
    }

    /// Sets a bit of `attention`.
    #[inline(always)]
    pub fn note(&self, bit: u8) {
        self.attention.set(self.attention.get() | bit);
    }

    /// Clears a bit of `attention`.
    #[inline(always)]
    pub fn settle(&self, bit: u8) {
        self.attention.set(self.attention.get() & !bit);
    }

    /// Number of threads that have a main greenlet.
    pub fn main_greenlets() -> usize {
        MAIN_GREENLETS.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Queues a suspended greenlet that was dropped in another thread; its own thread kills it.
    pub fn condemn(&self, greenlet: Object) {
        self.condemned.borrow_mut().push(greenlet);
        self.note(CONDEMNED);
    }

    /// Kills the greenlets that other threads dropped. May switch.
    #[cold]
    pub fn execute_condemned(&self) {
        self.settle(CONDEMNED);
        let take = || self.condemned.borrow_mut().pop();
        while let Some(greenlet) = take() {
            drop(greenlet); // back in its own thread: its dealloc throws GreenletExit
        }
    }
}

/// Capsule destructor: runs in `PyThreadState_Clear`, GIL held.
unsafe extern "C" fn thread_cleared(capsule: *mut ffi::PyObject) {
    // SAFETY: the capsule is alive in its destructor and has this name.
    let raw = unsafe { ffi::PyCapsule_GetPointer(capsule, CAPSULE.as_ptr()) } as *const Thread;
    // SAFETY: the capsule carries one count of the Rc.
    let thread = unsafe { Rc::from_raw(raw) };
    thread.end();
}
