//! The switch on AArch64, for the AAPCS64 ABI (Linux, the BSDs, macOS).
//!
//! A suspended flow's stack, from the saved pointer up:
//!
//! ```text
//!   +0   x29        a new flow: argument
//!   +8   x19        a new flow: entry
//!   +16  address to go on at
//!   +24  fpcr
//!   +32  ...        a new flow: `top`
//! ```
//!
//! x29 and x19 are stored because the compiler does not let inline assembly declare them; x20 to x28
//! and d8 to d15, which the ABI (AAPCS64, sections 6.1.1 and 6.1.2) calls callee-saved too, are
//! declared as clobbered, so that the compiler saves only those which hold something. x18 belongs to
//! the platform and is left alone. The jump is `br`: a `ret` would mislead the return predictor.
//!
//! fpcr holds the rounding mode and traps; writing it is slow, so it is written only if it differs.
//! `switch_plain` stores -1 in its place, which no fpcr is, to mark a flow that has none.
//! `hint #36` is `bti j`, a landing pad where branch targets are enforced and nothing elsewhere.

use super::Entry;
use std::arch::asm;
use std::ffi::c_void;

/// Writes a new flow's first frame below `top`; answers its stack pointer.
///
/// # Safety
/// - At least 64 writable bytes, used by nobody else, lie below `top`.
#[inline]
pub(super) unsafe fn prepare(top: *mut u8, entry: Entry, argument: *mut c_void) -> *mut u8 {
    #[cfg(eventlet_asan)]
    // SAFETY: the caller vouches for the stack, of which this takes a few bytes more.
    let (top, entry, argument) = unsafe { super::asan::wrap(top, entry, argument) };
    let pointer = top.wrapping_sub(32);
    // SAFETY: the four words written lie between `top - 32` and `top`, the caller's stack. The code
    // between 2: and 3: is jumped over here; it is where a new flow begins, at the resume address,
    // with sp at its frame. A zero frame pointer and a zero link register end backtraces.
    unsafe {
        asm!(
            "adr {root}, 2f",
            "b 3f",
            "2:",
            "hint #36",
            "ldp x0, x16, [sp], #32",
            "mov x29, xzr",
            "mov x30, xzr",
            "br x16",
            "3:",
            "mrs {fpcr}, fpcr",
            "stp {argument}, {entry}, [{frame}]",
            "stp {root}, {fpcr}, [{frame}, #16]",
            frame = in(reg) pointer,
            entry = in(reg) entry,
            argument = in(reg) argument,
            root = out(reg) _,
            fpcr = out(reg) _,
            options(nostack, preserves_flags),
        );
    }
    pointer
}

/// The stack pointer behind the word that a fiber saves: the word itself.
#[inline]
pub(super) fn stack_pointer(saved: *mut u8) -> *mut u8 {
    saved
}

/// Saves the running flow into `*from` and goes on with `*to`.
///
/// # Safety
/// - As for [`super::switch`].
#[inline(always)]
pub(super) unsafe fn switch(from: *mut *mut u8, to: *const *mut u8) {
    #[cfg(eventlet_asan)]
    // SAFETY: `to` holds a suspended flow, as the caller promises.
    let leave = super::asan::Leave::suspend(unsafe { to.read() });
    // SAFETY: the caller promises that `*to` was written by this function or by `prepare` and that
    // its stack is intact, so that the four words loaded are those drawn above. Whatever this flow
    // holds in registers is stored or declared clobbered.
    unsafe {
        asm!(
            "adr x9, 3f",
            "mrs x10, fpcr",
            "stp x29, x19, [sp, #-32]!",
            "stp x9, x10, [sp, #16]",
            "mov x11, sp",
            "str x11, [x0]",
            "ldr x12, [x1]",
            "mov sp, x12",
            "ldp x9, x13, [sp, #16]",
            "cmp x10, x13",
            "b.eq 2f",
            "cmn x13, #1",
            "b.eq 2f",
            "msr fpcr, x13",
            "2:",
            "br x9",
            "3:",
            "hint #36",
            "ldp x29, x19, [sp], #32",
            inout("x0") from => _,
            inout("x1") to => _,
            out("x20") _,
            out("x21") _,
            out("x22") _,
            out("x23") _,
            out("x24") _,
            out("x25") _,
            out("x26") _,
            out("x27") _,
            out("x28") _,
            out("v8") _,
            out("v9") _,
            out("v10") _,
            out("v11") _,
            out("v12") _,
            out("v13") _,
            out("v14") _,
            out("v15") _,
            clobber_abi("C"),
        );
    }
    #[cfg(eventlet_asan)]
    leave.resumed();
}

/// As [`switch`], without the control word.
///
/// # Safety
/// - As for [`super::switch`].
#[inline(always)]
pub(super) unsafe fn switch_plain(from: *mut *mut u8, to: *const *mut u8) {
    #[cfg(eventlet_asan)]
    // SAFETY: `to` holds a suspended flow, as the caller promises.
    let leave = super::asan::Leave::suspend(unsafe { to.read() });
    // SAFETY: as in `switch`.
    unsafe {
        asm!(
            "adr x9, 3f",
            "mov x10, #-1",
            "stp x29, x19, [sp, #-32]!",
            "stp x9, x10, [sp, #16]",
            "mov x11, sp",
            "str x11, [x0]",
            "ldr x12, [x1]",
            "mov sp, x12",
            "ldr x9, [sp, #16]",
            "br x9",
            "3:",
            "hint #36",
            "ldp x29, x19, [sp], #32",
            inout("x0") from => _,
            inout("x1") to => _,
            out("x20") _,
            out("x21") _,
            out("x22") _,
            out("x23") _,
            out("x24") _,
            out("x25") _,
            out("x26") _,
            out("x27") _,
            out("x28") _,
            out("v8") _,
            out("v9") _,
            out("v10") _,
            out("v11") _,
            out("v12") _,
            out("v13") _,
            out("v14") _,
            out("v15") _,
            clobber_abi("C"),
        );
    }
    #[cfg(eventlet_asan)]
    leave.resumed();
}

/// Goes on with `*to` and never comes back.
///
/// # Safety
/// - As for [`super::depart`].
#[inline(always)]
pub(super) unsafe fn depart(to: *const *mut u8) -> ! {
    #[cfg(eventlet_asan)]
    // SAFETY: `to` holds a suspended flow, as the caller promises.
    super::asan::leave_for_good(unsafe { to.read() });
    // SAFETY: as in `switch`; nothing of this flow is needed any more.
    unsafe {
        asm!(
            "ldr x12, [{to}]",
            "mov sp, x12",
            "ldp x9, x13, [sp, #16]",
            "cmn x13, #1",
            "b.eq 2f",
            "msr fpcr, x13",
            "2:",
            "br x9",
            to = in(reg) to,
            options(noreturn),
        );
    }
}
