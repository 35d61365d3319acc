"""`MySQLdb` (mysqlclient) whose connections work in native threads: other green threads go on."""

import sys
import types

import MySQLdb as _stdlib
from MySQLdb import connections as _original_connections  # the package imports it late

from eventlet import tpool
from eventlet.patcher import slurp_properties

__patched__ = ["connect", "Connect", "Connection", "connections"]

slurp_properties(_stdlib, globals(), ignore=__patched__, srckeys=dir(_stdlib))

__all__ = list(_stdlib.__all__)

_original_connect = _original_connections.Connection


def Connection(*args, **kw):
    """Connect in a native thread: a `tpool.Proxy` of a MySQLdb connection, and of its cursors.

    The arguments are those of `MySQLdb.connect`. Raises what that raises. *May switch: yes.*
    """
    connection = tpool.execute(_original_connect, *args, **kw)
    return tpool.Proxy(connection, autowrap_names=("cursor",))


connect = Connect = Connection

connections = types.ModuleType("MySQLdb.connections", _original_connections.__doc__)
slurp_properties(
    _original_connections,
    vars(connections),
    ignore=("Connection",),
    srckeys=dir(_original_connections),
)
connections.Connection = Connection
sys.modules[f"{__name__}.connections"] = connections
