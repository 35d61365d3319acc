//! TCP for green threads: calls that block only the green thread that makes them.
//!
//! Every call has one shape: try the system call; if the kernel would block, park until the
//! descriptor is ready, the timeout is over or somebody closes the socket; try again. A socket is
//! registered with the runtime once, when it first has to wait, and stays so until it is closed.
//!
//! Sockets belong to the OS thread that made them. Green threads share one by reference
//! ([`std::rc::Rc`]); reading and writing at the same time from two of them is fine.
//!
//! ```
//! use eventlet::net::{TcpListener, TcpStream};
//! use eventlet::rt;
//! use std::io::{Read, Write};
//!
//! rt::run(|| -> std::io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     let server = rt::spawn(move || -> std::io::Result<()> {
//!         let (mut stream, _) = listener.accept()?;
//!         stream.write_all(b"hello")
//!     });
//!     let mut text = String::new();
//!     TcpStream::connect(address)?.read_to_string(&mut text)?;
//!     assert_eq!(text, "hello");
//!     server.join().unwrap()
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod listener;
mod source;
mod stream;

pub use listener::{Incoming, TcpListener};
pub use stream::TcpStream;
