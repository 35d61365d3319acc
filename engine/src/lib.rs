//! Green threads on their own stacks: fibers, timers, a reactor and a hub.

#[allow(
    unsafe_code,
    reason = "reads the kernel's clock, which std keeps to itself"
)]
pub mod clock;
#[allow(unsafe_code, reason = "the jump between stacks is assembly")]
pub mod fiber;
pub mod hub;
#[allow(
    unsafe_code,
    reason = "a lock-free list of boxes, and two system calls"
)]
pub mod inbox;
pub mod net;
#[allow(unsafe_code, reason = "system calls")]
pub mod reactor;
#[allow(
    unsafe_code,
    reason = "control blocks are shared by raw pointer, and fibers switched"
)]
pub mod rt;
#[allow(unsafe_code, reason = "maps, protects and unmaps memory")]
pub mod stack;
pub mod sync;
pub mod timers;
