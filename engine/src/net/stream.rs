//! A TCP connection.
//!
//! Invariant: a call that transferred less than asked has emptied (or filled) the kernel's buffer,
//! so that the next one parks without asking the kernel again.

use super::source::{Left, Source};
use crate::reactor::Interest;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown, SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// A connection, to be read and written.
///
/// [`Read`] and [`Write`] are there for `TcpStream` and for `&TcpStream`, so that two green threads
/// may use one stream in both directions.
///
/// ```
/// use eventlet::net::{TcpListener, TcpStream};
/// use eventlet::rt;
/// use std::io::{Read, Write};
///
/// rt::run(|| -> std::io::Result<()> {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = TcpStream::connect(listener.local_addr()?)?;
///     let (mut server, _) = listener.accept()?;
///     client.write_all(b"ping")?;
///     let mut buffer = [0; 4];
///     server.read_exact(&mut buffer)?;
///     assert_eq!(&buffer, b"ping");
///     Ok(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpStream {
    source: Source<net::TcpStream>,
    read_timeout: Cell<Option<Duration>>,
    write_timeout: Cell<Option<Duration>>,
}

impl TcpStream {
    /// Connects to the first of the addresses that answers.
    ///
    /// A host name is looked up by the system, which blocks the OS thread. *May switch: yes.*
    ///
    /// # Errors
    /// The system's, for the last address tried; `InvalidInput` if there is none.
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    ///
    /// eventlet::rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let stream = TcpStream::connect(listener.local_addr()?)?;
    ///     assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect<A: ToSocketAddrs>(address: A) -> io::Result<TcpStream> {
        let mut last = None;
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_one(&address, None) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to")
        }))
    }

    /// Connects to `address` within `timeout`.
    ///
    /// *May switch: yes.*
    ///
    /// # Errors
    /// The system's; `TimedOut` if the other end has not answered in time.
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// eventlet::rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_secs(5))?;
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        TcpStream::connect_one(address, Some(timeout))
    }

    /// Takes over a connection of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    /// The system's.
    ///
    /// ```
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let stream = eventlet::net::TcpStream::from_std(stream)?;
    /// # drop(stream);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream::nonblocking(stream))
    }

    /// Wraps a connection that is in non-blocking mode.
    pub(super) fn nonblocking(stream: net::TcpStream) -> TcpStream {
        TcpStream {
            source: Source::new(stream),
            read_timeout: Cell::new(None),
            write_timeout: Cell::new(None),
        }
    }

    fn connect_one(address: &SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream> {
        let socket = Socket::new(
            Domain::for_address(*address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        let started = socket.connect(&SockAddr::from(*address));
        let stream = TcpStream::nonblocking(socket.into());
        match started {
            Ok(()) => return Ok(stream),
            // The kernel goes on with the connection by itself after either.
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        let mut deadline = None;
        loop {
            stream
                .source
                .park(Interest::Write, timeout, &mut deadline)?;
            let settled = stream.source.with(|socket| {
                if let Some(error) = socket.take_error()? {
                    return Err(error);
                }
                // A wake-up may be early: only a connected socket has a peer.
                match socket.peer_addr() {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
                    Err(error) => Err(error),
                }
            })?;
            if settled {
                return Ok(stream);
            }
            stream.source.not_ready(Interest::Write);
        }
    }

    /// Receives what is there without taking it out, once there is something.
    ///
    /// Answers how many bytes; 0 if the other end has shut its side down. *May switch: yes.*
    ///
    /// # Errors
    /// As for [`Read::read`].
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    /// use std::io::Write;
    ///
    /// eventlet::rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let client = TcpStream::connect(listener.local_addr()?)?;
    ///     let (server, _) = listener.accept()?;
    ///     (&client).write_all(b"x")?;
    ///     let mut buffer = [0; 8];
    ///     assert_eq!(server.peek(&mut buffer)?, 1);
    ///     assert_eq!(server.peek(&mut buffer)?, 1);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source
            .attempt(Interest::Read, self.read_timeout.get(), |socket| {
                socket.peek(buffer).map(|count| (count, Left::Perhaps))
            })
    }

    /// How long a read waits at most; `None`, as at first, is for ever.
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    /// use std::{io::Read, time::Duration};
    ///
    /// eventlet::rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let mut stream = TcpStream::connect(listener.local_addr()?)?;
    ///     stream.set_read_timeout(Some(Duration::from_millis(1)));
    ///     let error = stream.read(&mut [0]).unwrap_err();
    ///     assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.read_timeout.set(timeout);
    }

    /// How long a write waits at most; `None`, as at first, is for ever.
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// eventlet::rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let stream = TcpStream::connect(listener.local_addr()?)?;
    ///     stream.set_write_timeout(Some(Duration::from_secs(5)));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.write_timeout.set(timeout);
    }

    /// Whether small writes are sent at once instead of being collected (`TCP_NODELAY`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    ///
    /// eventlet::rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     TcpStream::connect(listener.local_addr()?)?.set_nodelay(true)
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.with(|socket| socket.set_nodelay(nodelay))
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// The system's.
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    ///
    /// eventlet::rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let stream = TcpStream::connect(listener.local_addr()?)?;
    ///     assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(net::TcpStream::peer_addr)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// The system's.
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    ///
    /// eventlet::rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let stream = TcpStream::connect(listener.local_addr()?)?;
    ///     assert!(stream.local_addr()?.ip().is_loopback());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(net::TcpStream::local_addr)
    }

    /// Ends one or both directions of the connection; the other end reads the end of the stream.
    ///
    /// *May switch: no.*
    ///
    /// # Errors
    /// The system's.
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    /// use std::{io::Read, net::Shutdown};
    ///
    /// eventlet::rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let client = TcpStream::connect(listener.local_addr()?)?;
    ///     let (mut server, _) = listener.accept()?;
    ///     client.shutdown(Shutdown::Write)?;
    ///     assert_eq!(server.read(&mut [0; 8])?, 0);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.with(|socket| socket.shutdown(how))
    }

    /// Closes the connection now; a green thread that waits in a read or write gets an error.
    ///
    /// Dropping the stream closes it too. *May switch: no.*
    ///
    /// ```
    /// use eventlet::net::{TcpListener, TcpStream};
    ///
    /// eventlet::rt::run(|| -> std::io::Result<()> {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let stream = TcpStream::connect(listener.local_addr()?)?;
    ///     stream.close();
    ///     assert!(stream.peer_addr().is_err());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&self) {
        self.source.close();
    }

    fn receive(
        &self,
        room: usize,
        mut act: impl FnMut(&net::TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.source
            .attempt(Interest::Read, self.read_timeout.get(), |socket| {
                let count = act(socket)?;
                // After the end of the stream the kernel tells nothing any more: no waiting for it.
                let left = if count < room && count > 0 {
                    Left::Nothing
                } else {
                    Left::Perhaps
                };
                Ok((count, left))
            })
    }

    fn transmit(
        &self,
        length: usize,
        mut act: impl FnMut(&net::TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.source
            .attempt(Interest::Write, self.write_timeout.get(), |socket| {
                let count = act(socket)?;
                Ok((
                    count,
                    if count < length {
                        Left::Nothing
                    } else {
                        Left::Perhaps
                    },
                ))
            })
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer.len(), |mut socket| socket.read(buffer))
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let room = buffers.iter().map(|buffer| buffer.len()).sum();
        self.receive(room, |mut socket| socket.read_vectored(buffers))
    }
}

impl Write for &TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.transmit(data.len(), |mut socket| socket.write(data))
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let length = data.iter().map(|part| part.len()).sum();
        self.transmit(length, |socket| send_vectored(socket, data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream")
            .field("local", &self.local_addr().ok())
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}

/// Sends without the signal that a closed connection would bring.
fn send_vectored(socket: &net::TcpStream, data: &[IoSlice<'_>]) -> io::Result<usize> {
    SockRef::from(socket).send_vectored_with_flags(data, libc::MSG_NOSIGNAL)
}
