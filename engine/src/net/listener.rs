//! A listening TCP socket.
//!
//! Invariant: an accepted connection is non-blocking from the start.

use super::source::{Left, Source};
use super::stream::TcpStream;
use crate::reactor::Interest;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{self, SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// A socket that accepts connections.
///
/// ```
/// use eventlet::net::{TcpListener, TcpStream};
/// use eventlet::rt;
///
/// rt::run(|| -> std::io::Result<()> {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let address = listener.local_addr()?;
///     let client = rt::spawn(move || TcpStream::connect(address)?.local_addr());
///     let (_stream, peer) = listener.accept()?;
///     assert_eq!(client.join().unwrap()?, peer);
///     Ok(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpListener {
    source: Source<net::TcpListener>,
    timeout: Cell<Option<Duration>>,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be had; port 0 lets the system choose one.
    ///
    /// A host name is looked up by the system, which blocks the OS thread. *May switch: no.*
    ///
    /// # Errors
    /// The system's, for the last address tried; `InvalidInput` if there is none.
    ///
    /// ```
    /// let listener = eventlet::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind<A: ToSocketAddrs>(address: A) -> io::Result<TcpListener> {
        TcpListener::from_std(net::TcpListener::bind(address)?)
    }

    /// Takes over a listening socket of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    /// The system's.
    ///
    /// ```
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = eventlet::net::TcpListener::from_std(listener)?;
    /// # drop(listener);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener {
            source: Source::new(listener),
            timeout: Cell::new(None),
        })
    }

    /// Waits for a connection; answers it and the address of its other end.
    ///
    /// *May switch: yes.*
    ///
    /// # Errors
    /// The system's; `TimedOut` after the time set by [`TcpListener::set_timeout`]; "bad file
    /// descriptor" if the listener is closed, before or meanwhile.
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    /// use eventlet::rt;
    ///
    /// rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let client = TcpStream::connect(listener.local_addr()?)?;
    ///     let (stream, peer) = listener.accept()?;
    ///     assert_eq!((peer, stream.peer_addr()?), (client.local_addr()?, peer));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) =
            self.source
                .attempt(Interest::Read, self.timeout.get(), |listener| {
                    accept_nonblocking(listener).map(|accepted| (accepted, Left::Perhaps))
                })?;
        Ok((TcpStream::nonblocking(stream), peer))
    }

    /// The connections to come, one after the other; never ends by itself.
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    /// use eventlet::rt;
    ///
    /// rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let _client = TcpStream::connect(listener.local_addr()?)?;
    ///     for stream in listener.incoming() {
    ///         println!("{:?}", stream?);
    ///         break;
    ///     }
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// How long [`TcpListener::accept`] waits at most; `None`, as at first, is for ever.
    ///
    /// ```
    /// use eventlet::{net::TcpListener, rt};
    /// use std::time::Duration;
    ///
    /// rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     listener.set_timeout(Some(Duration::from_millis(1)));
    ///     assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.timeout.set(timeout);
    }

    /// The address that the socket listens on.
    ///
    /// # Errors
    /// The system's.
    ///
    /// ```
    /// let listener = eventlet::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(listener.local_addr()?.ip().is_loopback());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(net::TcpListener::local_addr)
    }

    /// Closes the socket now; a green thread that waits in [`TcpListener::accept`] gets an error.
    ///
    /// Dropping the listener closes it too. *May switch: no.*
    ///
    /// ```
    /// let listener = eventlet::net::TcpListener::bind("127.0.0.1:0")?;
    /// listener.close();
    /// assert!(listener.local_addr().is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&self) {
        self.source.close();
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener")
            .field("address", &self.local_addr().ok())
            .finish()
    }
}

/// The connections to come; see [`TcpListener::incoming`].
///
/// ```
/// let listener = eventlet::net::TcpListener::bind("127.0.0.1:0")?;
/// listener.close();
/// assert!(listener.incoming().next().unwrap().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

/// Accepts a connection in non-blocking mode, in one system call where there is one for it.
#[cfg(target_os = "linux")]
fn accept_nonblocking(listener: &net::TcpListener) -> io::Result<(net::TcpStream, SocketAddr)> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let (socket, peer) = socket2::SockRef::from(listener).accept4(flags)?;
    let peer = peer
        .as_socket()
        .ok_or_else(|| io::Error::other("the peer has no IP address"))?;
    Ok((socket.into(), peer))
}

/// Accepts a connection in non-blocking mode.
#[cfg(not(target_os = "linux"))]
fn accept_nonblocking(listener: &net::TcpListener) -> io::Result<(net::TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((stream, peer))
}
