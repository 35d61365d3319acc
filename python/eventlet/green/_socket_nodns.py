"""The `socket` module with green sockets; names are looked up by the system, blocking."""

import os
import socket as _stdlib

from eventlet import greenio
from eventlet.patcher import slurp_properties

__all__ = list(_stdlib.__all__)
__patched__ = ["fromfd", "socketpair", "ssl", "socket", "timeout"]

slurp_properties(_stdlib, globals(), ignore=__patched__, srckeys=dir(_stdlib))

socket = greenio.GreenSocket
timeout = greenio.socket_timeout
_GLOBAL_DEFAULT_TIMEOUT = greenio._GLOBAL_DEFAULT_TIMEOUT

_original_socketpair = _stdlib.socketpair


def fromfd(fd, family, type, proto=0):
    """Return a green socket for a duplicate of the descriptor *fd*. Raises OSError."""
    return socket(family, type, proto, fileno=os.dup(fd))


def socketpair(family=None, type=_stdlib.SOCK_STREAM, proto=0):
    """Return two connected green sockets; *family* None means Unix where there is such. Raises OSError."""
    pair = _original_socketpair(family, type, proto)
    return tuple(socket(s.family, s.type, s.proto, fileno=s.detach()) for s in pair)
