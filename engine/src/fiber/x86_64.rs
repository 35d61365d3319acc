//! The switch on x86-64, for the System V ABI (Linux, the BSDs, macOS).
//!
//! A suspended flow's stack, from the saved pointer up:
//!
//! ```text
//!   +0   mxcsr (4 bytes), x87 control word (2 bytes), 2 bytes unused
//!   +8   address to go on at
//!   +16  rbx        a new flow: entry
//!   +24  rbp        a new flow: argument
//!   +32  ...        a new flow: 0, its return address; `top` is at +40
//! ```
//!
//! rbx and rbp are pushed because the compiler does not let inline assembly declare them; r12 to r15
//! and all else are declared as clobbered, so that the compiler saves only those which hold
//! something. The jump is `pop` + `jmp`: a `ret` to another stack would mispredict every time, since
//! the processor predicts returns from its own stack of calls (17 ns against 2 ns, measured).
//!
//! The ABI (System V x86-64 psABI, section 3.2.3) calls the *control* bits of mxcsr and the x87
//! control word callee-saved. They are loaded only where they differ; mxcsr's six lowest bits are
//! sticky status, which nobody may rely on. Already `stmxcsr` is slow on some processors (5 ns on an
//! AMD EPYC, measured; about 1 ns on Intel's), hence `switch_plain`, which writes zeros instead. No
//! control word is zero, as bit 6 of the x87 one is always set: it marks a flow that has none.

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
    let pointer = top.wrapping_sub(40);
    // SAFETY: the five words written lie between `top - 40` and `top`, the caller's stack. The code
    // between 2: and 3: is jumped over here; it is where a new flow begins, at the resume address,
    // with rsp at its entry and argument. Leaving rsp at the zero return address gives `entry` the
    // alignment of a called function (rsp + 8 divisible by 16).
    unsafe {
        asm!(
            "lea {root}, [rip + 2f]",
            "jmp 3f",
            "2:",
            "pop rax",
            "pop rdi",
            "xor ebp, ebp",
            "jmp rax",
            "3:",
            "mov qword ptr [{frame}], 0",
            "stmxcsr dword ptr [{frame}]",
            "fnstcw word ptr [{frame} + 4]",
            "mov qword ptr [{frame} + 8], {root}",
            "mov qword ptr [{frame} + 16], {entry}",
            "mov qword ptr [{frame} + 24], {argument}",
            "mov qword ptr [{frame} + 32], 0",
            frame = in(reg) pointer,
            entry = in(reg) entry,
            argument = in(reg) argument,
            root = out(reg) _,
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
    // its stack is intact, so that the four words popped are those drawn above. Whatever this flow
    // holds in registers is pushed or declared clobbered.
    unsafe {
        asm!(
            "push rbp",
            "push rbx",
            "lea rax, [rip + 4f]",
            "push rax",
            "sub rsp, 8",
            "stmxcsr dword ptr [rsp]",
            "fnstcw word ptr [rsp + 4]",
            "mov eax, dword ptr [rsp]",
            "movzx ecx, word ptr [rsp + 4]",
            "mov qword ptr [rdi], rsp",
            "mov rsp, qword ptr [rsi]",
            "xor eax, dword ptr [rsp]",
            "test eax, 0xffffffc0",
            "jne 2f",
            "cmp cx, word ptr [rsp + 4]",
            "je 3f",
            "2:",
            "cmp word ptr [rsp + 4], 0",
            "je 3f",
            "ldmxcsr dword ptr [rsp]",
            "fldcw word ptr [rsp + 4]",
            "3:",
            "mov rax, qword ptr [rsp + 8]",
            "add rsp, 16",
            "jmp rax",
            "4:",
            "pop rbx",
            "pop rbp",
            inout("rdi") from => _,
            inout("rsi") to => _,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("sysv64"),
        );
    }
    #[cfg(eventlet_asan)]
    leave.resumed();
}

/// As [`switch`], without the control words.
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
            "push rbp",
            "push rbx",
            "lea rax, [rip + 2f]",
            "push rax",
            "push 0",
            "mov qword ptr [rdi], rsp",
            "mov rsp, qword ptr [rsi]",
            "mov rax, qword ptr [rsp + 8]",
            "add rsp, 16",
            "jmp rax",
            "2:",
            "pop rbx",
            "pop rbp",
            inout("rdi") from => _,
            inout("rsi") to => _,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("sysv64"),
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
            "mov rsp, qword ptr [{to}]",
            "cmp word ptr [rsp + 4], 0",
            "je 2f",
            "ldmxcsr dword ptr [rsp]",
            "fldcw word ptr [rsp + 4]",
            "2:",
            "mov rax, qword ptr [rsp + 8]",
            "add rsp, 16",
            "jmp rax",
            to = in(reg) to,
            options(noreturn),
        );
    }
}
