"""The `ssl` module with TLS sockets that let other green threads run while they wait.

The standard class does everything; its descriptor is non-blocking, and whenever OpenSSL wants to
read or write, the green thread waits for that. `monkey_patch` does not replace the class
`ssl.SSLContext` (its properties refer to it by name) but tells it to make sockets of the green
class.
"""

import ssl as _stdlib

from eventlet import greenio
from eventlet.patcher import slurp_properties

__patched__ = ["wrap_socket"]

slurp_properties(_stdlib, globals(), ignore=__patched__, srckeys=dir(_stdlib))


class GreenSSLSocket(_stdlib.SSLSocket, greenio.GreenSocket):
    """A green TLS socket, made by `wrap_socket` or by a context.

    May switch: the handshake, reads and writes, accept, connect, unwrap. Raises ssl.SSLError and
    OSError; a timeout raises `socket.timeout`.
    """

    def _until_done(self, call, *args):
        while True:
            try:
                return call(*args)
            except _stdlib.SSLWantReadError:
                if self.act_non_blocking:
                    raise
                write = False
            except _stdlib.SSLWantWriteError:
                if self.act_non_blocking:
                    raise
                write = True
            self._wait(write)

    def do_handshake(self, block=False):
        """Negotiate the connection; *block*: also if the socket is non-blocking."""
        if block and self.act_non_blocking:
            self.setblocking(True)
            try:
                return self._until_done(super().do_handshake)
            finally:
                self.setblocking(False)
        return self._until_done(super().do_handshake)

    def read(self, len=1024, buffer=None):
        """Return up to *len* bytes, or read into *buffer* and return the number of bytes."""
        try:
            return self._until_done(super().read, len, buffer)
        except ConnectionError as error:
            # A peer that is gone reads as the end, as it does without TLS.
            if self.act_non_blocking or error.errno not in greenio.SOCKET_CLOSED:
                raise
            return b"" if buffer is None else 0

    def write(self, data):
        """Write *data*; return the number of bytes taken."""
        return self._until_done(super().write, data)

    def send(self, data, flags=0):
        """Write *data*; return the number of bytes taken."""
        return self._until_done(super().send, data, flags)

    def unwrap(self):
        """End TLS and return the plain socket."""
        return self._until_done(super().unwrap)

    def accept(self):
        """Return (TLS socket, address). The handshake happens at the first use, in whose green
        thread it
        is: a client that never begins it holds up nobody else."""
        fd, address = self._accept()
        plain = greenio.GreenSocket(self.family, self.type, self.proto, fileno=fd)
        sock = self.context.wrap_socket(
            plain,
            server_side=True,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=self.suppress_ragged_eofs,
        )
        return sock, address

    def dup(self):
        """Not possible for a TLS socket."""
        raise NotImplementedError(f"Can't dup() {type(self).__name__} instances")


class GreenSSLContext(_stdlib.SSLContext):
    """A context that makes green TLS sockets."""

    sslsocket_class = GreenSSLSocket


SSLSocket = GreenSSLSocket
SSLContext = GreenSSLContext


def create_default_context(*args, **kwargs):
    """As `ssl.create_default_context`, for green sockets."""
    context = _stdlib.create_default_context(*args, **kwargs)
    context.sslsocket_class = GreenSSLSocket
    return context


def _create_default_https_context(*args, **kwargs):
    context = _stdlib._create_default_https_context(*args, **kwargs)
    context.sslsocket_class = GreenSSLSocket
    return context


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
    return context.wrap_socket(
        sock,
        server_side=server_side,
        do_handshake_on_connect=do_handshake_on_connect,
        suppress_ragged_eofs=suppress_ragged_eofs,
    )


def _patch_context():
    # Called by monkey_patch: every context of the process makes green sockets from now on.
    _stdlib.SSLContext.sslsocket_class = GreenSSLSocket
