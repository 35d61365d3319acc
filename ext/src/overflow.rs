//! Says what happened when a greenlet runs over the end of its C stack, before the process dies.
//!
//! The guard region below each stack turns an overflow into SIGSEGV. The handler, on a stack of its own, looks
//! whether the address lies in the guard of the greenlet that runs in this thread, prints one line with
//! async-signal-safe means only, and hands the signal to whoever had it before (faulthandler, or the default:
//! the process ends). Installed when the first greenlet of the process starts; each thread gets its alternate
//! stack then too, unless it has one.
#![allow(unsafe_code)] // a signal handler

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io::Write;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use crate::thread::Thread;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Bytes of the alternate signal stack: room for this handler and faulthandler's.
const ALT_STACK: usize = 64 * 1024;

/// Makes sure that overflows in this thread are reported.
#[inline(always)]
pub fn watch(_thread: &Thread) {
    if !WATCHED.get() {
        install();
    }
}

thread_local! {
    // The stack on which this thread's handler runs; null if it is somebody else's. Not a value with a destructor:
    // CPython before 3.14 may end a daemon thread wherever it is, and then nothing of ours should run in it.
    static ALTERNATE: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

fn alternate_stack() -> Option<libc::stack_t> {
    let mut now = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: asks only; a valid place for the answer.
    let failed = unsafe { libc::sigaltstack(ptr::null(), now.as_mut_ptr()) };
    // SAFETY: zeroed above, or filled in by the kernel.
    (failed == 0).then_some(unsafe { now.assume_init() })
}

/// Gives the signal stack of the calling thread back. For the end of its `Thread`.
pub fn unwatch() {
    let memory = ALTERNATE.replace(ptr::null_mut());
    WATCHED.set(false);
    if memory.is_null() {
        return;
    }
    if let Some(mut now) = alternate_stack()
        && ptr::eq(now.ss_sp.cast(), memory)
    {
        now.ss_flags = libc::SS_DISABLE;
        // SAFETY: takes the stack, which is not in use, away from this thread's handlers.
        unsafe { libc::sigaltstack(&now, ptr::null_mut()) };
    }
    let memory = ptr::slice_from_raw_parts_mut(memory, ALT_STACK);
    // SAFETY: what `install` took out of a box of this length, once; the kernel has let go of it above.
    drop(unsafe { Box::from_raw(memory) });
}

#[cold]
fn install() {
    WATCHED.set(true);
    if alternate_stack().is_some_and(|old| old.ss_flags & libc::SS_DISABLE != 0) {
        let memory = Box::into_raw(vec![0u8; ALT_STACK].into_boxed_slice()).cast::<u8>();
        ALTERNATE.set(memory);
        let stack = libc::stack_t {
            ss_sp: memory.cast(),
            ss_flags: 0,
            ss_size: ALT_STACK,
        };
        // SAFETY: memory of that size, which `unwatch` takes away from the kernel before it is freed.
        unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
    }
    PREVIOUS.get_or_init(|| {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: all-zero is a valid sigaction.
        let new = unsafe { action.assume_init_mut() };
        new.sa_sigaction = handler as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: a handler of the SA_SIGINFO form that only does async-signal-safe things.
        unsafe { libc::sigaction(libc::SIGSEGV, new, previous.as_mut_ptr()) };
        // SAFETY: zeroed (the default action), or filled in by the kernel.
        unsafe { previous.assume_init() }
    });
}

/// A line built without the allocator.
struct Line {
    bytes: [u8; 256],
    used: usize,
}

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let room = &mut self.bytes[self.used..];
        let count = text.len().min(room.len());
        room[..count].copy_from_slice(&text[..count]);
        self.used += count;
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

unsafe extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's siginfo of a SIGSEGV.
    let info_ref = unsafe { &*info };
    // SAFETY: as above: this signal has an address.
    let address = unsafe { info_ref.si_addr() } as usize;
    describe(address);
    let Some(previous) = PREVIOUS.get() else {
        return;
    };
    if previous.sa_sigaction == libc::SIG_DFL || previous.sa_sigaction == libc::SIG_IGN {
        // SAFETY: back to the former action; returning repeats the access, which then ends the process.
        unsafe { libc::sigaction(signal, previous, ptr::null_mut()) };
    } else if previous.sa_flags & libc::SA_SIGINFO != 0 {
        type Action = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
        // SAFETY: installed as this kind of handler by its owner.
        let action = unsafe { std::mem::transmute::<usize, Action>(previous.sa_sigaction) };
        // SAFETY: the arguments that the kernel gave us.
        unsafe { action(signal, info, context) };
    } else {
        // SAFETY: installed as this kind of handler by its owner.
        let action = unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn(c_int)>(previous.sa_sigaction)
        };
        // SAFETY: the argument that the kernel gave us.
        unsafe { action(signal) };
    }
}

/// Prints the line if `address` is in the guard of the running greenlet's stack.
fn describe(address: usize) {
    let Some(thread) = Thread::existing() else {
        return;
    };
    let greenlet = thread.current.get();
    let place = greenlet.get().stack.as_ptr();
    // SAFETY: the fault interrupted this very thread, in C code below the greenlet: nobody changes the cell now.
    let Some(stack) = (unsafe { (*place).as_ref() }) else {
        return;
    };
    let (guard, bytes) = stack.guard();
    if !(guard as usize..guard as usize + bytes).contains(&address) {
        return;
    }
    let mut line = Line {
        bytes: [0; 256],
        used: 0,
    };
    // Writing into a Line cannot fail.
    let _ = writeln!(
        line,
        "Fatal: greenlet stack overflow: <greenlet object at {:p}> used up its C stack of {} bytes \
         (fault at {address:#x}); a larger one can be had with GREENLET_STACK_SIZE",
        greenlet.as_object_ptr(),
        stack.size(),
    );
    // SAFETY: an initialized buffer; write(2) is async-signal-safe.
    unsafe { libc::write(2, line.bytes.as_ptr().cast(), line.used) };
}
