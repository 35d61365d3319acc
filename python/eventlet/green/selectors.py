"""The `selectors` module on the green `select`: all its classes, and the same default as the standard one.

They extend the standard ones, so that keys, masks and base classes are the same.
"""

import selectors as _stdlib

from eventlet.green import select
from eventlet.patcher import slurp_properties

__patched__ = ["DefaultSelector", "SelectSelector", "PollSelector", "EpollSelector"]
__deleted__ = []

slurp_properties(_stdlib, globals(), ignore=[*__patched__, "select"], srckeys=dir(_stdlib))


class SelectSelector(_stdlib.SelectSelector):
    """A selector over the green `select.select`. May switch: `select`."""

    _select = select.select


DefaultSelector = SelectSelector

if hasattr(select, "poll") and hasattr(_stdlib, "PollSelector"):

    class PollSelector(_stdlib.PollSelector):
        """A selector over the green `select.poll`. May switch: `select`."""

        _selector_cls = select.poll

    DefaultSelector = PollSelector

if hasattr(select, "epoll") and hasattr(_stdlib, "EpollSelector"):

    class EpollSelector(_stdlib.EpollSelector):
        """A selector over the green `select.epoll`. May switch: `select`."""

        _selector_cls = select.epoll

    DefaultSelector = EpollSelector
