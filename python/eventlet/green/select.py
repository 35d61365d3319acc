"""The `select` module whose `select`, `poll` and `epoll` let other green threads run.

All three are native (`greenlet._core`). Unlike upstream's, this module takes nothing away: a patched
`select` keeps every name, and `select` reports everything that is ready. An OS thread without a hub
waits in the kernel.
"""

import select as _select

from greenlet import _core

from eventlet.patcher import original, slurp_properties

__patched__ = ["select", "poll", "epoll"]
__deleted__ = []

_original = original("select")
slurp_properties(_original, globals(), ignore=__patched__, srckeys=dir(_original))
error = _select.error

select = _core.select
if hasattr(_original, "poll"):
    poll = _core.poll
if hasattr(_core, "epoll"):
    epoll = _core.epoll


def get_fileno(obj):
    """Return the descriptor of *obj*, an int or an object with ``fileno()``. Raises TypeError.

    >>> get_fileno(3)
    3
    """
    method = getattr(obj, "fileno", None)
    fileno = obj if method is None else method()
    if not isinstance(fileno, int):
        raise TypeError(f"Expected int or long, got {type(fileno)}")
    return fileno
