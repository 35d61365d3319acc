//! What AddressSanitizer has to be told about stacks that it did not see being made.
//!
//! Compiled only under `--cfg eventlet_asan`, which goes with `-Zsanitizer=address`. The sanitizer
//! keeps bounds and a "fake stack" per flow; the two `__sanitizer_*_switch_fiber` calls around a
//! switch exchange them. The bounds of a stack are looked up by address in a registry that
//! [`crate::stack`] fills; an address it does not hold lies on a thread's own stack.

use super::Entry;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

unsafe extern "C" {
    fn __sanitizer_start_switch_fiber(
        fake_stack_save: *mut *mut c_void,
        bottom: *const c_void,
        size: usize,
    );
    fn __sanitizer_finish_switch_fiber(
        fake_stack_save: *mut c_void,
        bottom_old: *mut *const c_void,
        size_old: *mut usize,
    );
    fn __asan_unpoison_memory_region(address: *const c_void, size: usize);
}

/// Known stacks: highest address to lowest.
static STACKS: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

fn stacks() -> MutexGuard<'static, BTreeMap<usize, usize>> {
    STACKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the stack from `limit` to `top` known.
pub(crate) fn register(limit: *mut u8, top: *mut u8) {
    stacks().insert(top.addr(), limit.addr());
}

/// Forgets the stack that ends at `top`.
pub(crate) fn unregister(top: *mut u8) {
    stacks().remove(&top.addr());
}

/// Clears the redzones that abandoned frames left on a stack, before it is used again.
pub(crate) fn clean(limit: *mut u8, top: *mut u8) {
    // SAFETY: only the sanitizer's shadow of that range is written, and the range is mapped.
    unsafe { __asan_unpoison_memory_region(limit.cast(), top.addr() - limit.addr()) }
}

/// The lowest address and the size of the stack on which `pointer` lies.
fn bounds(pointer: *mut u8) -> (*const c_void, usize) {
    let address = pointer.addr();
    let found = stacks()
        .range(address..)
        .next()
        .map(|(&top, &limit)| (limit, top));
    match found {
        Some((limit, top)) if limit <= address => {
            (ptr::with_exposed_provenance(limit), top - limit)
        }
        _ => thread_bounds(),
    }
}

/// The bounds of the running thread's own stack.
fn thread_bounds() -> (*const c_void, usize) {
    let mut attributes = mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut bottom = ptr::null_mut();
    let mut size = 0;
    // SAFETY: the attribute object is initialised by this call.
    unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) };
    // SAFETY: it was initialised above, and both results are valid to write to.
    unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut bottom, &raw mut size) };
    // SAFETY: it was initialised above and is not used after this.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    (bottom.cast_const(), size)
}

/// A flow that has announced its leave and will come back.
pub(super) struct Leave(*mut c_void);

impl Leave {
    /// Announces a switch from the running flow to the one suspended at `to`.
    #[inline(always)]
    pub(super) fn suspend(to: *mut u8) -> Leave {
        let (bottom, size) = bounds(to);
        let mut leave = Leave(ptr::null_mut());
        // SAFETY: the switch follows at once, and `resumed` is called when it comes back.
        unsafe { __sanitizer_start_switch_fiber(&raw mut leave.0, bottom, size) };
        leave
    }

    /// Tells that the flow runs again.
    #[inline(always)]
    pub(super) fn resumed(self) {
        // SAFETY: the word was filled by the matching start on this same flow.
        unsafe { __sanitizer_finish_switch_fiber(self.0, ptr::null_mut(), ptr::null_mut()) };
    }
}

/// Announces the last switch of the running flow, to the one suspended at `to`.
#[inline(always)]
pub(super) fn leave_for_good(to: *mut u8) {
    let (bottom, size) = bounds(to);
    // SAFETY: null says that the flow ends, and the switch follows at once.
    unsafe { __sanitizer_start_switch_fiber(ptr::null_mut(), bottom, size) };
}

/// What a new flow really runs first: it needs to report its arrival.
#[repr(C)]
struct First {
    entry: Entry,
    argument: *mut c_void,
}

/// Wraps an entry so that it reports its arrival; answers the new top, entry and argument.
///
/// # Safety
/// - At least 128 writable bytes, used by nobody else, lie below `top`.
pub(super) unsafe fn wrap(
    top: *mut u8,
    entry: Entry,
    argument: *mut c_void,
) -> (*mut u8, Entry, *mut c_void) {
    let (bottom, size) = bounds(top.wrapping_sub(1));
    if (bottom.addr()..bottom.addr() + size).contains(&top.addr().wrapping_sub(1)) {
        clean(bottom.cast_mut().cast(), top);
    }
    let first = top.wrapping_sub(mem::size_of::<First>()).cast::<First>();
    // SAFETY: the caller vouches for the memory, and `top` is aligned to 16.
    unsafe { first.write(First { entry, argument }) };
    (first.cast(), arrive, first.cast())
}

/// Reports the arrival on a new stack, then runs the entry.
unsafe extern "C" fn arrive(first: *mut c_void) -> ! {
    // SAFETY: the flow is new, so there is no fake stack to bring back.
    unsafe { __sanitizer_finish_switch_fiber(ptr::null_mut(), ptr::null_mut(), ptr::null_mut()) };
    // SAFETY: `wrap` wrote it above everything this flow will push.
    let First { entry, argument } = unsafe { first.cast::<First>().read() };
    // SAFETY: this is the call that the creator of the fiber asked for.
    unsafe { entry(argument) }
}
