"""`OpenSSL.SSL` whose connections let other green threads run while they wait.

`GreenConnection` is a PyOpenSSL connection on a green socket. OpenSSL says when it wants to read or
write, and the green thread waits for that, within the socket's timeout.
"""

import socket as _socket

from OpenSSL import SSL as _original

from eventlet import greenio

__patched__ = ["Connection", "ConnectionType"]

__all__ = [*getattr(_original, "__all__", ()), "GreenConnection", "ConnectionType"]


def __getattr__(name):
    # Asked for one by one: some are deprecated, and warn.
    return getattr(_original, name)


def __dir__():
    return sorted({*dir(_original), *globals()})


_Connection = _original.Connection


class GreenConnection(_Connection):
    """A green connection: ``GreenConnection(context, sock)``, or an existing connection made green.

    *sock* is any socket; None makes a connection in memory, which never waits. May switch: the
    handshake, connect, accept, recv*, send*, shutdown. Raises OpenSSL's errors; a timeout raises
    `socket.timeout`. A peer that vanishes reads as the end of the stream.
    """

    def __new__(cls, ctx, sock=None):
        if isinstance(ctx, _Connection):
            ctx.__class__ = cls  # it stays the same object, with its state
            return ctx
        return super().__new__(cls)

    def __init__(self, ctx, sock=None):
        if ctx is not self:
            super().__init__(ctx, _green(sock))
        elif self._socket is not None:
            self._socket = _green(self._socket)

    @property
    def fd(self):
        """The connection itself."""
        return self

    @property
    def act_non_blocking(self):
        """Whether calls return at once; those that would have to wait raise WantReadError."""
        return self._socket is None or self._socket.act_non_blocking

    @act_non_blocking.setter
    def act_non_blocking(self, value):
        self._socket.act_non_blocking = value

    def _until_done(self, call, *args):
        while True:
            try:
                return call(*args)
            except _original.WantReadError:
                if self.act_non_blocking:
                    raise
                write = False
            except _original.WantWriteError:
                if self.act_non_blocking:
                    raise
                write = True
            self._socket._wait(write)

    def _until_read(self, end, call, *args):
        try:
            return self._until_done(call, *args)
        except _original.SysCallError:
            if self.act_non_blocking:
                raise
            return end  # the peer is gone

    def do_handshake(self):
        """Negotiate the connection."""
        return self._until_done(super().do_handshake)

    def renegotiate(self):
        """Negotiate again."""
        return self._until_done(super().renegotiate)

    def connect(self, addr):
        """Connect, and be the client of the handshake."""
        self._socket.connect(addr)
        self.set_connect_state()

    def connect_ex(self, addr):
        """As `connect`; returns the errno instead of raising it."""
        code = self._socket.connect_ex(addr)
        self.set_connect_state()
        return code

    def accept(self):
        """Return (green connection, address); the handshake happens at the first use."""
        client, address = self._socket.accept()
        conn = type(self)(self.get_context(), client)
        conn.set_accept_state()
        return conn, address

    def recv(self, bufsiz, flags=None):
        """Return up to *bufsiz* bytes. Raises ZeroReturnError when the peer has ended TLS."""
        return self._until_read(b"", super().recv, bufsiz, flags)

    read = recv

    def recv_into(self, buffer, nbytes=None, flags=None):
        """Read into *buffer*; return the number of bytes."""
        return self._until_read(0, super().recv_into, buffer, nbytes, flags)

    def send(self, buf, flags=0):
        """Write *buf*; return the number of bytes taken."""
        return self._until_done(super().send, buf, flags) if buf else 0

    write = send

    def sendall(self, buf, flags=0):
        """Write all of *buf*."""
        with memoryview(buf) as view, view.cast("B") as rest:
            done = 0
            while done < len(rest):
                done += self.send(rest[done:], flags)

    def shutdown(self):
        """Tell the peer that no more will be sent; true if it has said so, too."""
        return self._until_done(super().shutdown)

    def makefile(self, *args, **kwargs):
        """Not possible for an OpenSSL connection."""
        raise NotImplementedError("Cannot make file object of OpenSSL.SSL.Connection")

    def dup(self):
        """Not possible for an OpenSSL connection."""
        raise NotImplementedError("Cannot duplicate OpenSSL.SSL.Connection")


def _green(sock):
    """The green form of a socket object."""
    if (
        sock is None
        or isinstance(sock, greenio.GreenSocket)
        or not isinstance(sock, _socket.socket)
    ):
        return sock
    return greenio.GreenSocket(sock)


Connection = ConnectionType = GreenConnection
