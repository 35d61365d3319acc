"""Shortcuts for network programs: `connect`, `listen`, `serve`, `wrap_ssl`."""

import errno
import sys
import warnings

from greenlet import GreenletExit, getcurrent

from eventlet import greenpool, greenthread
from eventlet.green import socket

__all__ = [
    "ReusePortUnavailableWarning",
    "ReuseRandomPortWarning",
    "StopServe",
    "connect",
    "listen",
    "serve",
    "wrap_ssl",
]


def connect(addr, family=socket.AF_INET, bind=None):
    """Return a green stream socket connected to *addr*.

    *family*: address family. *bind*: local address, None for any. May switch: yes. Raises OSError.

    >>> server = listen(('127.0.0.1', 0))
    >>> connect(server.getsockname()).close()
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if bind is not None:
            sock.bind(bind)
        sock.connect(addr)
    except BaseException:
        sock.close()
        raise
    return sock


class ReuseRandomPortWarning(Warning):
    """SO_REUSEPORT was asked for together with port 0: others may share the port that the system picks."""


class ReusePortUnavailableWarning(Warning):
    """The system has SO_REUSEPORT by name but refuses it."""


def listen(addr, family=socket.AF_INET, backlog=50, reuse_addr=True, reuse_port=None):
    """Return a green stream socket that listens on *addr*.

    *backlog*: connections that may wait to be accepted. *reuse_addr*: set SO_REUSEADDR.
    *reuse_port*: set SO_REUSEPORT; None sets it unless the port is 0. May switch: no. Raises
    OSError.

    >>> server = listen(('127.0.0.1', 0))
    >>> server.getsockname()[0]
    '127.0.0.1'
    >>> server.close()
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if reuse_addr and sys.platform != "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family in (socket.AF_INET, socket.AF_INET6) and addr[1] == 0:
            if reuse_port:
                warnings.warn(
                    "listening on a port that the system picks (0) with SO_REUSEPORT may share it with "
                    "another program; see https://github.com/eventlet/eventlet/issues/411",
                    ReuseRandomPortWarning,
                    stacklevel=2,
                )
        elif reuse_port is None:
            reuse_port = family in (socket.AF_INET, socket.AF_INET6)
        if reuse_port and hasattr(socket, "SO_REUSEPORT"):
            _set_reuse_port(sock)
        sock.bind(addr)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_reuse_port(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP):
            warnings.warn(
                "socket.SO_REUSEPORT exists but the system refuses it; "
                "see https://github.com/eventlet/eventlet/issues/380",
                ReusePortUnavailableWarning,
                stacklevel=3,
            )


class StopServe(Exception):
    """Raise it in a handler (or throw it into the server's green thread) to end `serve`."""


def _stop_checker(t, server_gt, conn):
    # Linked to each handler: closes its connection and passes its error on to the server.
    try:
        try:
            t.wait()
        finally:
            conn.close()
    except GreenletExit:
        pass
    except Exception:
        greenthread.kill(server_gt, *sys.exc_info())


def serve(sock, handle, concurrency=1000):
    """Accept connections of *sock* and run ``handle(conn, addr)`` in a green thread for each, until
    told to stop.

    The connection is closed when *handle* returns. At *concurrency* running handlers no more are
    accepted. An exception in a handler ends the server with that exception; `StopServe` ends it
    quietly. May switch: yes.

    >>> import eventlet
    >>> def handle(conn, addr):
    ...     conn.sendall(b'bye')
    ...     raise eventlet.StopServe
    >>> server = eventlet.listen(('127.0.0.1', 0))
    >>> client = eventlet.spawn(lambda: eventlet.connect(server.getsockname()).recv(3))
    >>> eventlet.serve(server, handle); client.wait()
    b'bye'
    """
    pool = greenpool.GreenPool(concurrency)
    server_gt = getcurrent()
    while True:
        try:
            conn, addr = sock.accept()
            gt = pool.spawn(handle, conn, addr)
            gt.link(_stop_checker, server_gt, conn)
            conn = addr = gt = None
        except StopServe:
            return


def wrap_ssl(sock, *a, **kw):
    """Return a green TLS socket over *sock*; the arguments are those of
    `eventlet.green.ssl.wrap_socket`.

    May switch: yes (the handshake). Raises ssl.SSLError; ImportError where there is neither the module
    `ssl` nor PyOpenSSL (which then makes the connection, with any protocol version, and whose reads
    always take a peer that vanishes for the end of the stream).
    """
    return wrap_ssl_impl(sock, *a, **kw)


def wrap_ssl_impl(sock, *a, **kw):
    """What `wrap_ssl` calls. A Python without the module `ssl` takes PyOpenSSL's connections."""
    try:
        from eventlet.green import ssl
    except ImportError:
        return _wrap_by_openssl(sock, *a, **kw)
    return ssl.wrap_socket(sock, *a, **kw)


def _wrap_by_openssl(
    sock,
    keyfile=None,
    certfile=None,
    server_side=False,
    cert_reqs=None,
    ssl_version=None,
    ca_certs=None,
    do_handshake_on_connect=True,
    suppress_ragged_eofs=True,
    ciphers=None,
):
    try:
        from eventlet.green.OpenSSL import SSL
    except ImportError:
        raise ImportError(
            "eventlet.wrap_ssl needs a Python with the module ssl, or PyOpenSSL"
        ) from None
    context = SSL.Context(SSL.TLS_METHOD)
    if certfile is not None:
        context.use_certificate_chain_file(certfile)
        context.use_privatekey_file(keyfile or certfile)
    if ca_certs is not None:
        context.load_verify_locations(ca_certs)
    if ciphers is not None:
        context.set_cipher_list(ciphers.encode())
    # The numbers of ssl.CERT_NONE, CERT_OPTIONAL and CERT_REQUIRED.
    context.set_verify((SSL.VERIFY_NONE, SSL.VERIFY_PEER, 3)[cert_reqs or 0])
    conn = SSL.Connection(context, sock)
    if server_side:
        conn.set_accept_state()
    else:
        conn.set_connect_state()
        if do_handshake_on_connect:
            conn.do_handshake()
    return conn
