//! Green threads on their own stacks: fibers, timers, a reactor and a hub.
//!
//! Ordinary blocking code, run by thousands of green threads on one OS thread: a thread that would
//! have to wait for a socket, a timer or another thread lets the next one run. There is no `async`,
//! no executor and no coloured function; a switch costs a few nanoseconds at any depth of calls.
//!
//! ```
//! use eventlet::net::{TcpListener, TcpStream};
//! use eventlet::rt;
//! use std::io::{Read, Write};
//!
//! rt::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
//!     let address = listener.local_addr().unwrap();
//!     rt::spawn(move || {
//!         while let Ok((mut stream, _)) = listener.accept() {
//!             rt::spawn(move || {
//!                 let mut buffer = [0; 512];
//!                 while let Ok(count @ 1..) = stream.read(&mut buffer) {
//!                     stream.write_all(&buffer[..count]).unwrap();
//!                 }
//!             });
//!         }
//!     });
//!     let mut client = TcpStream::connect(address).unwrap();
//!     client.write_all(b"echo").unwrap();
//!     let mut answer = [0; 4];
//!     client.read_exact(&mut answer).unwrap();
//!     assert_eq!(&answer, b"echo");
//! });
//! ```
//!
//! # What is where
//!
//! Green threads for Rust programs: [`rt`] runs them, [`net`] has their sockets, [`sync`] what they
//! wait for among themselves. Beneath lie the parts, each usable alone, none of which calls out or
//! knows who uses it (the Python packages `greenlet` and `eventlet` are built on the same ones):
//!
//! | module | holds | costs (AMD EPYC, ns) |
//! |---|---|---|
//! | [`fiber`] | a flow of control on a stack of its own, and the switch | 2.7 a round trip; 13 with the floating-point control words |
//! | [`stack`] | guarded, lazily committed, pooled stacks | 1.9 for take and put |
//! | [`timers`] | values due at an instant | 8 for add and cancel among 100k, 54 to 95 for add and fire |
//! | [`inbox`] | the one door for other OS threads | 13 for send and drain |
//! | [`reactor`] | who waits for which descriptor | no system call per wait on an adopted one |
//! | [`hub`] | who is next, in turns that starve nobody | 4 for wake and next |
//! | [`clock`] | the time, or a test's idea of it | 23, once per turn and only with timers |
//!
//! # Platforms
//!
//! | system | processor | switch | descriptors | guards | state |
//! |---|---|---|---|---|---|
//! | Linux | x86-64 | assembly | `epoll`, `poll` | `MADV_GUARD_INSTALL` (6.13), `mprotect` | tested; also under AddressSanitizer and valgrind |
//! | Linux | AArch64 | assembly | `epoll`, `poll` | the same | tested under emulation |
//! | Linux | others | corosensei | `epoll`, `poll` | the same | the switch is tested on x86-64 |
//! | other Unix | any | as above | `poll` | `mprotect` | not tested |
//!
//! Three configuration flags exist, for `RUSTFLAGS`: `--cfg eventlet_portable_fiber` takes corosensei
//! everywhere, `--cfg eventlet_asan` goes with `-Zsanitizer=address`, and `--cfg loom` makes a model
//! of the inbox. Linux features newer than 3.10 are probed for at run time.

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

pub use clock::{Clock, Instant};
pub use hub::Hub;
pub use rt::{run, sleep, spawn};
