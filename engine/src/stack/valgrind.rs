//! Telling valgrind about stacks, by its client requests.
//!
//! A client request is a sequence of instructions without effect, which valgrind recognises and any
//! other machine runs through in a few cycles ("The client request mechanism" in valgrind's manual,
//! and `valgrind.h`). Without it a switch looks like a huge push or pop, and memcheck marks live
//! frames as dead. A processor not listed here simply does not ask.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::arch::asm;

/// `VG_USERREQ__STACK_REGISTER`: lowest and highest address; answers a number.
const STACK_REGISTER: usize = 0x1501;
/// `VG_USERREQ__STACK_DEREGISTER`: the number.
const STACK_DEREGISTER: usize = 0x1502;

/// Declares a stack; answers its number, or 0 when the program does not run under valgrind.
pub(super) fn register(lowest: *mut u8, highest: *mut u8) -> usize {
    request([STACK_REGISTER, lowest.addr(), highest.addr(), 0, 0, 0])
}

/// Withdraws what [`register`] declared.
pub(super) fn deregister(number: usize) {
    request([STACK_DEREGISTER, number, 0, 0, 0, 0]);
}

#[cfg(target_arch = "x86_64")]
fn request(arguments: [usize; 6]) -> usize {
    let mut result = 0_usize;
    // SAFETY: the four rotations add up to 128 bits and the exchange is of rbx with itself, so
    // nothing changes but, under valgrind, rdx.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") &raw const arguments,
            inout("rdx") result,
            options(nostack),
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
fn request(arguments: [usize; 6]) -> usize {
    let mut result = 0_usize;
    // SAFETY: the four rotations add up to 128 bits and the `orr` is of x10 with itself, so nothing
    // changes but, under valgrind, x3.
    unsafe {
        asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            inout("x3") result,
            in("x4") &raw const arguments,
            options(nostack),
        );
    }
    result
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn request(_arguments: [usize; 6]) -> usize {
    0
}
