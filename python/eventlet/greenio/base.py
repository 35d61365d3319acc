"""`GreenSocket` and the names that belong to it.

The class is native (`greenlet._core.Socket`, a subclass of `socket.socket`): its waiting calls run
in Rust. Here are names and policy only: wrapping of existing sockets, look-up of host names, and
upstream's module constants.
"""

import errno
import os
import socket
import warnings

from greenlet import _core

from eventlet.support import get_errno

__all__ = [
    "GreenSocket",
    "_GLOBAL_DEFAULT_TIMEOUT",
    "set_nonblocking",
    "SOCKET_BLOCKING",
    "SOCKET_CLOSED",
    "CONNECT_ERR",
    "CONNECT_SUCCESS",
    "shutdown_safe",
    "socket_timeout",
]

BUFFER_SIZE = 4096
CONNECT_ERR = {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK}
CONNECT_SUCCESS = {0, errno.EISCONN}
SOCKET_BLOCKING = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOTCONN}
SOCKET_CLOSED = {errno.ECONNRESET, errno.ESHUTDOWN, errno.EPIPE}

_GLOBAL_DEFAULT_TIMEOUT = socket._GLOBAL_DEFAULT_TIMEOUT
socket_timeout = socket.timeout

_Socket = _core.socket_class()
_original_socket = _Socket.__base__
# Whose instances have no attributes but those that every green socket inherits.
_ALL_INHERITED = (_original_socket, _original_socket.__base__)

# What a wrapping socket passes on to the wrapped one. Methods that wait are native and do it themselves.
_FORWARDED = (
    "bind",
    "fileno",
    "get_inheritable",
    "getpeername",
    "getsockname",
    "getsockopt",
    "ioctl",
    "listen",
    "set_inheritable",
    "setsockopt",
    "share",
    "shutdown",
)


class _Plain(super):
    """The methods of the class underneath, for one socket. Unlike `super` it takes weak references."""


class GreenSocket(_Socket):
    """A socket whose calls let other green threads run while they wait.

    ``GreenSocket(family=AF_INET, type=SOCK_STREAM, proto=0, fileno=None)`` opens a socket, or takes
    over the descriptor *fileno*. ``GreenSocket(sock)`` wraps a socket object, which keeps the
    descriptor and becomes non-blocking. ``set_nonblocking=False`` says that the descriptor is
    non-blocking already.

    Timeouts are seconds (float); None waits for ever, 0 does not wait. A timeout that is over
    raises `socket.timeout`. Closing the socket ends the wait of every green thread that uses it
    with OSError.

    May switch: accept, connect, connect_ex, recv*, send*.

    >>> from eventlet.green import socket
    >>> a, b = socket.socketpair()
    >>> a.send(b'ping')
    4
    >>> b.recv(10)
    b'ping'
    >>> a.close(); b.close()
    """

    def _wrap(self, sock, set_nonblocking):
        # Called by the constructor when its argument is a socket object.
        try:
            timeout = sock.gettimeout()
        except AttributeError:
            timeout = None
        fileno = sock.fileno()
        if set_nonblocking and fileno != -1:
            _set_nonblocking(sock)
        if timeout:
            self.settimeout(timeout)
        self._wrapped = sock
        if type(sock) not in _ALL_INHERITED:
            self.__class__ = _forwarding(type(self))
        for name in _FORWARDED:
            method = getattr(sock, name, None)
            if method is not None:
                setattr(self, name, method)

    @property
    def fd(self):
        """The plain, non-blocking socket underneath."""
        if self._wraps:
            return self.__dict__.get("_wrapped")
        return _Plain(_Socket, self)

    @property
    def _sock(self):
        return self

    @property
    def _accepts(self):
        # The class of what a wrapping listener accepts.
        return type(self)

    @property
    def family(self):
        return self._wrapped.family if self._wraps else super().family

    @property
    def type(self):
        return self._wrapped.type if self._wraps else super().type

    @property
    def proto(self):
        return self._wrapped.proto if self._wraps else super().proto

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    def __reduce_ex__(self, protocol):
        # Sockets cannot be pickled; protocols 0 and 1 would not say so, but wrap this one in another first.
        return super().__reduce_ex__(max(protocol, 2))

    def _mark_as_closed(self):
        """Remember that the descriptor is not ours any more."""
        self._closed = True

    def _resolve(self, address):
        # Called by connect and sendto for an Internet address whose host is a name.
        return _resolve(self, address)

    def dup(self):
        """Return a socket of the same class for a duplicate of the descriptor."""
        if self._wraps:
            new = type(self)(self._wrapped.dup(), set_nonblocking=False)
        else:
            new = type(self)(self.family, self.type, self.proto, fileno=os.dup(self.fileno()))
        new.settimeout(self.gettimeout())
        return new

    def makeGreenFile(self, *args, **kw):
        """Deprecated name of `makefile`."""
        warnings.warn(
            "makeGreenFile has been deprecated, please use makefile instead",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.makefile(*args, **kw)


class _Forwarding:
    """What a socket is, besides its class, when it wraps an object that may have attributes of its own.

    Not a part of `GreenSocket`: CPython looks the attributes of a class with `__getattr__` up the slow
    way, every method of every call.
    """

    __slots__ = ()

    def __getattr__(self, name):
        # Only what no class in the hierarchy has gets here: the wrapped object may.
        if name.startswith("__") or not self._wraps or name == "_wrapped":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._wrapped, name)


def _forwarding(cls):
    """Return the class of those sockets of class *cls* that look attributes up in the object which they
    wrap: one for each class, under the same name. What they accept is of class *cls*."""
    if issubclass(cls, _Forwarding):
        return cls
    found = cls.__dict__.get("_wrapping")
    if found is None:
        names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
        names |= {"__slots__": (), "__doc__": cls.__doc__, "_accepts": cls}
        found = cls._wrapping = type(cls)(cls.__name__, (cls, _Forwarding), names)
    return found


def _resolve(sock, address):
    """The address with the host looked up; *sock* may be any socket. May switch: yes. Raises socket.gaierror,
    TypeError for a host that no look-up can be asked for."""
    from eventlet.green import socket as green_socket

    host, port = address[:2]
    if isinstance(host, str):
        if "\0" in host:
            raise TypeError("host name must not contain null character")
        if (
            host.isascii()
        ):  # as it is: what the codec for international names refuses, the resolver may know
            host = host.encode()
    found = green_socket.getaddrinfo(
        bytes(host) if isinstance(host, bytearray) else host, port, sock.family, sock.type
    )
    return found[0][4][:2] + tuple(address[2:])


def socket_connect(descriptor, address):
    """Try to connect without waiting: the descriptor on success, None if it must wait. Raises OSError."""
    code = descriptor.connect_ex(address)
    if code in CONNECT_ERR:
        return None
    if code not in CONNECT_SUCCESS:
        raise OSError(code, os.strerror(code))
    return descriptor


def socket_checkerr(descriptor):
    """Raise the OSError that waits on the descriptor, if there is one."""
    code = descriptor.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code not in CONNECT_SUCCESS:
        raise OSError(code, os.strerror(code))


def socket_accept(descriptor):
    """Accept without waiting: (socket, address), or None if nobody has connected. Raises OSError."""
    try:
        return descriptor.accept()
    except BlockingIOError:
        return None


def set_nonblocking(fd):
    """Make a socket, or an object with a descriptor, non-blocking. Raises OSError."""
    setblocking = getattr(fd, "setblocking", None)
    if setblocking is not None:
        setblocking(False)
    else:
        os.set_blocking(fd.fileno(), False)


_set_nonblocking = set_nonblocking


def shutdown_safe(sock):
    """Shut a socket down in both directions; one that is closed or not connected is left alone.

    Takes plain and TLS sockets, and PyOpenSSL connections (whose ``shutdown`` has no argument).
    Raises the other OSErrors of ``shutdown``.
    """
    try:
        try:
            return sock.shutdown(socket.SHUT_RDWR)
        except TypeError:
            return sock.shutdown()
    except OSError as error:
        if get_errno(error) not in (errno.ENOTCONN, errno.EBADF, errno.ENOTSOCK):
            raise


def _operation_on_closed_file(*args, **kwargs):
    raise ValueError("I/O operation on closed file")


class _NoOpenSSL:
    """Exceptions of PyOpenSSL for programs that name them where it is not installed."""

    class WantWriteError(Exception):
        pass

    class WantReadError(Exception):
        pass

    class ZeroReturnError(Exception):
        pass

    class SysCallError(Exception):
        pass


def __getattr__(name):
    # PyOpenSSL takes 50 ms to import: not before somebody asks.
    if name != "SSL":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from OpenSSL import SSL
    except ImportError:
        SSL = _NoOpenSSL
    globals()["SSL"] = SSL
    return SSL
