"""The `ssl` module with TLS sockets that let other green threads run while they wait.

The standard class does everything; its descriptor is non-blocking, and whenever OpenSSL wants to
read or write, the green thread waits for that. `monkey_patch` does not replace the class
`ssl.SSLContext` (its properties refer to it by name) but tells it to make sockets of the green
class.
"""

import ssl as _stdlib

from greenlet import _core

from eventlet import greenio
from eventlet.green.socket import create_connection, with_globals
from eventlet.patcher import slurp_properties

__patched__ = ["wrap_socket"]

slurp_properties(
    _stdlib, globals(), ignore=[*__patched__, create_connection.__name__], srckeys=dir(_stdlib)
)


_Socket = _core.socket_class()


class GreenSSLSocket(_stdlib.SSLSocket, greenio.GreenSocket):
    """A green TLS socket, made by a context, by `wrap_socket`, or by calling the class with the
    arguments of `wrap_socket`.

    May switch: the handshake, reads and writes, accept, connect, unwrap. Raises ssl.SSLError and
    OSError; a timeout raises `socket.timeout`. A peer that is gone reads as the end of the stream.
    """

    def __new__(cls, sock=None, *args, **kwargs):
        if sock is None:  # how a context makes one: the constructor gets the rest
            return super().__new__(cls)
        return wrap_socket(sock, *args, _class=cls, **kwargs)

    def __init__(self, sock=None, *args, **kwargs):
        if sock is None:
            super().__init__(*args, **kwargs)  # which says that it is not to be called

    _until_done = _Socket._until_done
    read = _Socket._tls_read
    write = _Socket._tls_write
    recv = _Socket._tls_recv
    recv_into = _Socket._tls_recv_into
    send = _Socket._tls_send
    sendall = _Socket._tls_sendall

    def do_handshake(self, block=False):
        """Negotiate the connection; *block*: also if the socket is non-blocking. The timeout counts
        for all of it."""
        self._check_connected()
        handshake = self._sslobj.do_handshake
        if block and self.act_non_blocking:
            self.setblocking(True)
            try:
                return self._until_done(handshake)
            finally:
                self.setblocking(False)
        return self._until_done(handshake)

    def unwrap(self):
        """End TLS and return the plain socket."""
        return self._until_done(super().unwrap)

    def accept(self):
        """Return (TLS socket, address).

        The handshake happens at the first use, in whose green thread it is: a client that never
        begins it holds up nobody else.
        """
        fd, address = self._accept()
        plain = greenio.GreenSocket(self.family, self.type, self.proto, fileno=fd)
        try:
            sock = self.context.wrap_socket(
                plain,
                server_side=True,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=self.suppress_ragged_eofs,
            )
        except BaseException:
            plain.close()
            raise
        return sock, address

    def dup(self):
        """Not possible for a TLS socket."""
        raise NotImplementedError(f"Can't dup() {type(self).__name__} instances")


_core.tls_class(GreenSSLSocket)


class GreenSSLContext(_stdlib.SSLContext):
    """A context that makes green TLS sockets."""

    sslsocket_class = GreenSSLSocket


SSLSocket = GreenSSLSocket
SSLContext = GreenSSLContext


# Written in Python on contexts and connections: the same code, with this module's names.
for _name in (
    "create_default_context",
    "_create_unverified_context",
    "_create_stdlib_context",
    "_create_default_https_context",
    "get_server_certificate",
):
    globals()[_name] = with_globals(getattr(_stdlib, _name), globals())


def wrap_socket(
    sock,
    keyfile=None,
    certfile=None,
    server_side=False,
    cert_reqs=_stdlib.CERT_NONE,
    ssl_version=None,
    ca_certs=None,
    do_handshake_on_connect=True,
    suppress_ragged_eofs=True,
    ciphers=None,
    *,
    _class=None,
):
    """Return a green TLS socket over *sock*, which is used up.

    The arguments are those that `ssl.wrap_socket` had; *ssl_version* None takes the best that both
    sides know. May switch: yes. Raises ssl.SSLError, OSError, ValueError for a certificate without
    key or the reverse.
    """
    if server_side and not certfile:
        raise ValueError("certfile must be specified for server-side operations")
    if keyfile and not certfile:
        raise ValueError("certfile must be specified")
    if ssl_version is None:
        side = _stdlib.PROTOCOL_TLS_SERVER if server_side else _stdlib.PROTOCOL_TLS_CLIENT
        context = GreenSSLContext(side)
        context.check_hostname = False
    else:
        context = GreenSSLContext(ssl_version)
    context.verify_mode = cert_reqs
    if ca_certs:
        context.load_verify_locations(ca_certs)
    if certfile:
        context.load_cert_chain(certfile, keyfile)
    if ciphers:
        context.set_ciphers(ciphers)
    if _class is not None:
        context.sslsocket_class = _class
    return context.wrap_socket(
        sock,
        server_side=server_side,
        do_handshake_on_connect=do_handshake_on_connect,
        suppress_ragged_eofs=suppress_ragged_eofs,
    )


def _patch_context():
    # Called by monkey_patch: every context of the process makes green sockets from now on.
    _stdlib.SSLContext.sslsocket_class = GreenSSLSocket
