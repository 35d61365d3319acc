"""The `socket` module with green sockets and look-ups that block only the green thread that asks."""

import socket as _stdlib
import types

from eventlet.green import _socket_nodns
from eventlet.patcher import slurp_properties
from eventlet.support import resolver

_LOOKUPS = ["getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"]
# Written in Python, on sockets and look-ups: the same code, with this module's names.
_COMPOSED = ["create_connection", "create_server", "getfqdn", "has_dualstack_ipv6"]

__all__ = list(_socket_nodns.__all__)
__patched__ = [*_socket_nodns.__patched__, *_LOOKUPS, *_COMPOSED]

slurp_properties(_socket_nodns, globals(), srckeys=dir(_socket_nodns))

getaddrinfo = resolver.getaddrinfo
gethostbyname = resolver.gethostbyname
gethostbyname_ex = resolver.gethostbyname_ex
gethostbyaddr = resolver.gethostbyaddr
getnameinfo = resolver.getnameinfo


def with_globals(function, names):
    """Return a function of the standard library with other global *names*, a dictionary, so that it
    uses green sockets."""
    if not isinstance(function, types.FunctionType):
        return function
    new = types.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    new.__kwdefaults__ = function.__kwdefaults__
    new.__module__ = names["__name__"]
    new.__doc__ = (
        f"As `{function.__module__}.{function.__name__}`, on green sockets. May switch: yes."
    )
    return new


for _name in _COMPOSED:
    globals()[_name] = with_globals(getattr(_stdlib, _name), globals())
