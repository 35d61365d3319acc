"""Green sockets and pipes: `GreenSocket`, `GreenPipe` and what programs use around them."""

from eventlet.greenio import base
from eventlet.greenio.base import (
    _GLOBAL_DEFAULT_TIMEOUT,
    BUFFER_SIZE,
    CONNECT_ERR,
    CONNECT_SUCCESS,
    SOCKET_BLOCKING,
    SOCKET_CLOSED,
    GreenSocket,
    _operation_on_closed_file,
    _original_socket,
    set_nonblocking,
    shutdown_safe,
    socket_accept,
    socket_checkerr,
    socket_connect,
    socket_timeout,
)
from eventlet.greenio.py3 import GreenFileIO, GreenPipe, _fileobject

__all__ = [
    "BUFFER_SIZE",
    "CONNECT_ERR",
    "CONNECT_SUCCESS",
    "GreenFileIO",
    "GreenPipe",
    "GreenSocket",
    "SOCKET_BLOCKING",
    "SOCKET_CLOSED",
    "_GLOBAL_DEFAULT_TIMEOUT",
    "_fileobject",
    "_operation_on_closed_file",
    "_original_socket",
    "set_nonblocking",
    "shutdown_safe",
    "socket_accept",
    "socket_checkerr",
    "socket_connect",
    "socket_timeout",
]


def __getattr__(name):
    if name == "SSL":
        return base.SSL
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
